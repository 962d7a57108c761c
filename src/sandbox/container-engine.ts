/**
 * A container engine by its command line: argument arrays, no shell on the host, nothing of our environment but where its own things lie.
 * What an engine prints is text of another program: it is parsed strictly, and shown to operators only.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { z } from 'zod';
import type { EngineKind } from './container-arguments.ts';

export interface Engine {
  readonly kind: EngineKind;
  readonly program: string;
  readonly runtime?: string;
}

const ANSWER_MS = 30_000;
const ANSWER_BYTES = 1_048_576;
/** Where root's programs lie, too: engines look for their helpers there. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Only what says where this user's engine is. A proxy, a remote engine or a secret of ours is not passed on. */
export function environment(own: NodeJS.ProcessEnv): Record<string, string> {
  const env: Record<string, string> = { PATH };
  for (const name of [
    'HOME',
    'USER',
    'XDG_RUNTIME_DIR',
    'XDG_DATA_HOME',
    'XDG_CONFIG_HOME',
    'DBUS_SESSION_BUS_ADDRESS',
  ]) {
    if (own[name] !== undefined) env[name] = own[name];
  }
  if (own['DOCKER_HOST']?.startsWith('unix:///') === true) env['DOCKER_HOST'] = own['DOCKER_HOST'];
  return env;
}

/** A session of its own: a signal to our terminal is not for it. */
export function spawnEngine(engine: Engine, argv: readonly string[]): ChildProcess {
  const global = engine.kind === 'podman' && engine.runtime !== undefined ? ['--runtime', engine.runtime] : [];
  return spawn(engine.program, [...global, ...argv], {
    env: environment(process.env),
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    detached: true,
  });
}

/** Runs to the end and returns what it printed. @throws Error with the last line of its complaint. */
export async function ask(engine: Engine, argv: readonly string[]): Promise<string> {
  const child = spawnEngine(engine, argv);
  const timer = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS);
  let out = '';
  let complaint = '';
  child.stdin?.on('error', () => {}).end();
  child.stdout?.on('data', (chunk: Buffer) => (out = (out + chunk.toString('utf8')).slice(0, ANSWER_BYTES)));
  child.stderr?.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString('utf8')).slice(-4_096)));
  try {
    // `once` rejects with the error of a program that cannot be executed.
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(lastLine(complaint) || `${argv[0] ?? ''} ended with code ${code}`);
    return out;
  } finally {
    clearTimeout(timer);
  }
}

export const lastLine = (text: string): string => (text.trim().split('\n').pop() ?? '').slice(0, 500);

const Images = z.array(
  z.looseObject({
    Id: z.string().regex(/^(?:sha256:)?[0-9a-f]{64}$/),
    RepoDigests: z.array(z.string()).nullish(),
    Config: z.looseObject({ Volumes: z.record(z.string(), z.unknown()).nullish() }).nullish(),
  }),
);

export interface Image {
  /** `sha256:…`, of the configuration and thereby of every layer. */
  readonly id: string;
  readonly digests: readonly string[];
  readonly volumes: readonly string[];
}

/** What the engine has under this reference. @throws Error when it has nothing. */
export async function inspectImage(engine: Engine, reference: string): Promise<Image> {
  const [image] = Images.parse(JSON.parse(await ask(engine, ['image', 'inspect', reference])));
  if (image === undefined) throw new Error('the engine does not know it');
  return {
    id: image.Id.startsWith('sha256:') ? image.Id : `sha256:${image.Id}`,
    digests: (image.RepoDigests ?? []).map((name) => name.slice(name.indexOf('@') + 1)),
    volumes: Object.keys(image.Config?.Volumes ?? {}),
  };
}

const Containers = z.array(
  z.looseObject({
    Id: z.string().regex(/^[0-9a-f]{64}$/),
    Image: z.string(),
    State: z.looseObject({
      Pid: z.int().min(0),
      ExitCode: z.int(),
      OOMKilled: z.boolean().optional(),
    }),
  }),
);

export interface ContainerState {
  readonly id: string;
  readonly imageId: string;
  /** On the host; 0: it does not run. */
  readonly pid: number;
  readonly exitCode: number;
  readonly outOfMemory: boolean;
}

/** @throws Error when there is no such container. */
export async function inspectContainer(engine: Engine, name: string): Promise<ContainerState> {
  const [found] = Containers.parse(JSON.parse(await ask(engine, ['container', 'inspect', name])));
  if (found === undefined) throw new Error('the engine does not know it');
  const { Id: id, Image, State } = found;
  return {
    id,
    imageId: Image.startsWith('sha256:') ? Image : `sha256:${Image}`,
    pid: State.Pid,
    exitCode: State.ExitCode,
    outOfMemory: State.OOMKilled === true,
  };
}

/** Names and values of labels of the containers, running or not, that carry this label. */
export async function labelled(
  engine: Engine,
  label: string,
  wanted: string,
): Promise<ReadonlyArray<{ readonly id: string; readonly value: string }>> {
  const format = `{{.ID}} {{index .Labels "${wanted}"}}`;
  const dockerFormat = `{{.ID}} {{.Label "${wanted}"}}`;
  const text = await ask(engine, [
    'ps',
    '-a',
    '--no-trunc',
    '--filter',
    `label=${label}`,
    '--format',
    engine.kind === 'podman' ? format : dockerFormat,
  ]);
  return text
    .split('\n')
    .map((line) => /^([0-9a-f]{12,64}) (\S*)$/.exec(line.trim()))
    .flatMap((match) => (match === null ? [] : [{ id: match[1]!, value: match[2]! }]));
}

/** Ends and removes; what is not there is no error. @throws Error when it is still there. */
export async function remove(engine: Engine, ...names: readonly string[]): Promise<void> {
  if (names.length > 0) await ask(engine, ['rm', '-f', '-v', ...names]);
}
