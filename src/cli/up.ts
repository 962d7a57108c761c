/**
 * `remit up`: everything on one machine for the first five minutes and for a small team. The gateway runs in this process,
 * the authorization server in a child of its own, the sample HTTP server in the sandbox. State is kept in one folder across starts.
 * Evaluation sign-in (local users) exists only here. Whatever ends this process ends the children: none outlives it.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import { stringify } from 'yaml';
import { EventStream, Person, personKey } from '../directory/records.ts';
import type { Role } from '../directory/records.ts';
import { sha256Hex } from '../lib/bytes.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import { Fault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import type { StateStore, StoredRecord, Write } from '../store/state.ts';
import { loadConfig } from './config.ts';
import type { Config } from './config.ts';
import { CliFailure, configFailure } from './failure.ts';
import { openPrivateFolder } from './private-folder.ts';
import { approveSamples, sampleFiles, sampleServers, startEverything } from './samples.ts';
import { loadOrCreateText } from './secret-file.ts';
import { runGateway } from './serve.ts';
import type { RunningGateway } from './serve.ts';
import type { LocalView } from './state-view.ts';
import type { AuthServerFailed, AuthServerReady } from './up-authserver.ts';

export interface UpOptions {
  /** Folder for everything; made when missing. Closed to others when it is ours, refused when it is open and not ours. */
  readonly dir: string;
  /** First of four neighbouring ports; null takes the defaults on the first start and what the folder says later. 0: any free ones. */
  readonly port: number | null;
  readonly progress?: (line: string) => void;
}

export interface EvaluationUser {
  readonly username: string;
  readonly name: string;
  readonly roles: readonly Role[];
  /** Only on the start that made the user. */
  readonly password: string | null;
}

export interface RunningUp {
  readonly dir: string;
  readonly configFile: string;
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly issuer: string;
  readonly servers: ReadonlyArray<{
    readonly id: string;
    readonly title: string;
    readonly url: string;
    readonly tools: number;
    readonly others: number;
    readonly problem: string | null;
  }>;
  readonly users: readonly EvaluationUser[];
  readonly filesDir: string;
  readonly logFiles: readonly string[];
  readonly verifierKey: string;
  /** Calls in flight when the last run ended without a word. */
  readonly unknown: RunningGateway['unknown'];
  /** Rejects when a part ended by itself. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

const DEFAULT_PORT = 8787;
/** What listens on the four neighbouring ports, in order. */
const PORTS = ['MCP', 'the admin API', 'the authorization server', 'the sample server "everything"'] as const;
const PEOPLE: ReadonlyArray<{ readonly username: string; readonly name: string; readonly roles: readonly Role[] }> = [
  { username: 'dana', name: 'Dana Developer', roles: ['developer'] },
  { username: 'omar', name: 'Omar Operator', roles: ['operator'] },
  { username: 'petra', name: 'Petra Approver', roles: ['approver'] },
  { username: 'sven', name: 'Sven Security', roles: ['security_reviewer'] },
  { username: 'aiko', name: 'Aiko Auditor', roles: ['auditor'] },
  { username: 'ada', name: 'Ada Administrator', roles: ['administrator'] },
];

/** @throws CliFailure or Fault with a message an operator can act on; nothing is left running then. */
export async function runUp(options: UpOptions): Promise<RunningUp> {
  const dir = resolve(options.dir);
  const progress = options.progress ?? (() => undefined);
  openPrivateFolder(dir, 'remit.yaml');
  const configFile = join(dir, 'remit.yaml');
  const first = !existsSync(configFile);
  if (first) {
    const base = options.port === 0 ? await freePorts(4) : (options.port ?? DEFAULT_PORT);
    // Before anything is written: a file with ports that are taken would be read by every later start.
    await assertFree(
      PORTS.map((what, offset) => ({ what, port: base + offset })),
      'or name others: remit up --port 9000 (0 takes free ones)',
    );
    writeFileSync(configFile, firstConfig(base, eventTokens(dir)), { mode: 0o600 });
  }
  const loaded = loadConfig(configFile, process.env);
  if (!loaded.ok) throw configFailure(loaded.error);
  const config = loaded.value;
  const elsewhere = 'or start in another folder with other ports: remit up --dir ./remit-other --port 9000';
  if (!first && options.port !== null && options.port !== 0 && options.port !== config.public.port)
    throw new CliFailure(
      'usage',
      `${dir} was set up with port ${config.public.port}; --port counts on the first start only.`,
      `Leave it out, ${elsewhere}.`,
    );

  const closers: Array<() => Promise<void>> = [];
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      for (const step of closers) await step().catch(() => undefined);
    })());
  let fail: (fault: Error) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => (fail = reject));
  failed.catch(() => undefined);

  try {
    progress('starting the authorization server');
    const [gatewayLog, authLog] = [join(dir, 'gateway.log'), join(dir, 'authserver.log')];
    const auth = await startChild(configFile, authLog, () => {
      if (closing === null) fail(new Fault('authserver_ended', `the authorization server ended; see ${authLog}`));
    });
    if ('fault' in auth) throw authFailure(auth, dir, elsewhere);
    closers.unshift(auth.close);

    const everythingPort = config.public.port + 3;
    await assertFree(
      [
        { what: PORTS[0], port: config.public.port },
        { what: PORTS[1], port: config.admin.port },
        { what: PORTS[3], port: everythingPort },
      ],
      elsewhere,
    );
    const filesDir = sampleFiles(join(dir, 'files'));
    progress('starting the sample servers');
    const everything = await startEverything(everythingPort);
    closers.unshift(everything.close);

    progress('starting the gateway');
    const gateway = await runGateway(config, {
      log: pino(
        { name: 'remit-gateway', level: config.log.level },
        pino.destination({ dest: gatewayLog, mkdir: false, sync: true, mode: 0o600 }),
      ),
      prepare: async (parts) =>
        prepare(
          config,
          dir,
          parts,
          auth.ready,
          await sampleServers({ filesDir, everythingUrl: `http://127.0.0.1:${everythingPort}/mcp`, owner: 'ada' }),
        ),
    });
    closers.unshift(() => gateway.close());
    gateway.failed.catch(fail);

    progress('looking at what the sample servers offer');
    const servers = await approveSamples(
      gateway,
      config.organisation,
      new Map(everything.problem === null ? [] : [['everything', everything.problem]]),
    );
    return {
      dir,
      configFile,
      mcpUrl: gateway.mcpUrl,
      adminUrl: gateway.adminUrl,
      issuer: auth.ready.issuer,
      servers,
      users: PEOPLE.map((person) => ({
        ...person,
        password: auth.ready.created.find(({ username }) => username === person.username)?.password ?? null,
      })),
      filesDir,
      logFiles: [gatewayLog, authLog],
      verifierKey: gateway.verifierKey,
      unknown: gateway.unknown,
      failed,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The configuration of a new folder: complete, so that `remit gateway` and `remit authserver` can run from the same file later. */
function firstConfig(base: number, tokens: EventTokens): string {
  const at = (offset: number): string => `http://127.0.0.1:${base + offset}`;
  const values = {
    dataDir: './gateway',
    public: { host: '127.0.0.1', port: base, publicUrl: at(0) },
    // Evaluation users have a password and nothing else.
    admin: {
      host: '127.0.0.1',
      port: base + 1,
      publicUrl: at(1),
      signIn: { unsafeNoSecondFactor: true },
    },
    issuers: [{ issuer: at(2), algorithms: ['ES256'], allowedNetworks: ['127.0.0.1/32'] }],
    governance: { newAgents: 'active' },
    telemetry: { prometheus: true },
    events: {
      authorizationServers: [
        {
          issuer: at(2),
          url: `${at(2)}/events`,
          token: { secret: `file:${tokens.toAuthserver}` },
          allowedNetworks: ['127.0.0.1/32'],
        },
      ],
    },
    authserver: {
      issuer: at(2),
      listen: { host: '127.0.0.1', port: base + 2 },
      dataDir: './authserver',
      trustedGateways: [{ origin: at(0) }, { origin: at(1) }],
      evaluationUsers: true,
      events: {
        gateways: [
          {
            issuer: at(1),
            receive: { token: `file:${tokens.toAuthserver}` },
            send: { url: `${at(1)}/events/${OWN_STREAM}`, token: `file:${tokens.toGateway}` },
          },
        ],
      },
    },
  };
  return `# Written by \`remit up\` on its first start and read on every later one.\n# Every key: docs/guides/configuration.md. evaluationUsers is for trying Remit, never for production.\n${stringify(values)}`;
}

/** Files with the bearer tokens by which gateway and authorization server tell each other what ended. */
interface EventTokens {
  readonly toAuthserver: string;
  readonly toGateway: string;
}

/** Id of the event stream of our own authorization server. */
/** Who wrote what this command makes. */
const UP = 'remit:up';
const OWN_STREAM = 'authserver';

function eventTokens(dir: string): EventTokens {
  const made = (name: string): string => {
    const path = join(dir, 'events', name);
    loadOrCreateText(path, () => randomBytes(32).toString('base64url'));
    return path;
  };
  return { toAuthserver: made('to-authserver.token'), toGateway: made('to-gateway.token') };
}

const DAY_MS = 86_400_000;

/** The stream's record while the file tells both ways; null when it is there and its token lasts, or when nothing is told. */
function ownStream(config: Config, dir: string, issuer: string, known: JsonObject | undefined): JsonObject | null {
  if (config.events.authorizationServers.length === 0) return null;
  const before = EventStream.safeParse(known).data;
  const now = Date.now();
  const tokens = before?.delivery.method === 'push' ? before.delivery.tokens : [];
  if (before !== undefined && tokens.every(({ expiresAt }) => expiresAt > now + 30 * DAY_MS)) return null;
  const sha256 = sha256Hex(readFileSync(eventTokens(dir).toGateway, 'utf8').trim());
  const token = { id: 'tok_up', sha256, createdAt: now, expiresAt: now + 365 * DAY_MS, by: UP };
  return EventStream.parse({
    title: 'The authorization server of this installation',
    state: 'active',
    issuer,
    jwksUri: `${issuer}/jwks`,
    algorithms: ['ES256'],
    audience: config.admin.publicUrl,
    allowedNetworks: ['127.0.0.1/32'],
    // It says something when something ends, which may be never.
    silenceAfterMs: null,
    whenSilent: 'alarm',
    ...before,
    delivery: { method: 'push', tokens: [token] },
  });
}

/** @throws CliFailure that names every port that is taken and what it is for. */
async function assertFree(wanted: ReadonlyArray<{ what: string; port: number }>, other: string): Promise<void> {
  const free = await Promise.all(wanted.map(async ({ port }) => port === 0 || (await listenOnce(port)) !== null));
  const taken = wanted.filter((_, i) => !free[i]).map(({ what, port }) => `port ${port}, for ${what}, is taken`);
  if (taken.length > 0) throw new CliFailure('failed', `${taken.join('; ')}.`, `Stop what listens there, ${other}.`);
}

/** What a start that failed in the other process means to the person at this terminal. */
function authFailure({ code, fault }: AuthServerFailed, dir: string, elsewhere: string): Error {
  switch (code) {
    case 'authserver_database_locked':
      return new CliFailure(
        'failed',
        `Remit is already running on ${dir}.`,
        `Use that one, or stop it first, ${elsewhere}.`,
      );
    case 'authserver_listen_failed':
      return new CliFailure(
        'failed',
        `${fault}, for the authorization server.`,
        `Stop what listens there, ${elsewhere}.`,
      );
    default:
      return new Fault(code, fault);
  }
}

/** First of `count` neighbouring ports that were free a moment ago. */
async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const first = await listenOnce(0);
    if (first === null || first + count > 65_535) continue;
    const others = await Promise.all(Array.from({ length: count - 1 }, (_, i) => listenOnce(first + i + 1)));
    if (others.every((port) => port !== null)) return first;
  }
  throw new Fault('no_free_ports', 'no neighbouring free ports were found; name one with --port');
}

function listenOnce(port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(typeof address === 'object' && address ? address.port : null));
    });
  });
}

interface AuthChild {
  readonly ready: AuthServerReady;
  close(): Promise<void>;
}

async function startChild(
  configFile: string,
  logFile: string,
  onExit: () => void,
): Promise<AuthChild | AuthServerFailed> {
  const module = new URL(`./up-authserver${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
  const people = JSON.stringify(
    PEOPLE.map(({ username, name }) => ({ username, name, email: `${username}@example.com` })),
  );
  const child: ChildProcess = fork(module, [configFile, logFile, people], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  });
  const exited = once(child, 'exit');
  const first = await Promise.race([
    once(child, 'message').then(([message]) => message as AuthServerReady | AuthServerFailed),
    exited.then(() => ({ code: 'authserver_start', fault: `the authorization server did not start; see ${logFile}` })),
  ]);
  if ('fault' in first) {
    await exited;
    return first;
  }
  void exited.then(onExit);
  return {
    ready: first,
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      // The child leaves when this channel closes, whoever closes it: us in good order, or the kernel when we die.
      child.disconnect();
      const hurry = setTimeout(() => child.kill('SIGKILL'), 8_000);
      await exited;
      clearTimeout(hurry);
    },
  };
}

/** People and sample servers of a new folder. What exists is left alone: somebody may have changed it. */
/** A sample that only this command ever wrote follows the package that came with this release; what a person touched stays. */
async function isOtherRelease(state: StateStore, org: string, known: StoredRecord, body: JsonObject): Promise<boolean> {
  if (body['source'] === undefined || canonicalJson(known.body['source'] ?? null) === canonicalJson(body['source']))
    return false;
  return (await state.history('server', org, known.id)).every(({ actor }) => actor === UP);
}

async function prepare(
  config: Config,
  dir: string,
  { state, view }: { state: StateStore; view: LocalView },
  auth: AuthServerReady,
  servers: ReadonlyMap<string, JsonObject>,
): Promise<void> {
  const org = config.organisation;
  const writes: Write[] = [];
  for (const { username, name, roles } of PEOPLE) {
    const subject = auth.subjects[username];
    if (subject === undefined || view.get('person', org, username)) continue;
    const person = Person.parse({
      issuer: auth.issuer,
      subject,
      name,
      email: `${username}@example.com`,
      state: 'active',
      roles,
    });
    writes.push({
      kind: 'person',
      org,
      id: username,
      key: personKey(auth.issuer, subject),
      body: person,
      expectedRevision: null,
    });
  }
  for (const [id, body] of servers) {
    const known = view.get('server', org, id);
    if (!known) writes.push({ kind: 'server', org, id, body, expectedRevision: null });
    else if (await isOtherRelease(state, org, known, body))
      writes.push({
        kind: 'server',
        org,
        id,
        body: { ...body, ...known.body, source: body['source']! },
        expectedRevision: known.revision,
      });
  }
  const stream = ownStream(config, dir, auth.issuer, view.get('event_stream', org, OWN_STREAM)?.body);
  if (stream !== null) writes.push({ kind: 'event_stream', org, id: OWN_STREAM, body: stream });
  if (writes.length === 0) return;
  const { revision } = await state.commit({
    actor: UP,
    reason: 'evaluation people and sample servers',
    writes,
  });
  await view.advanceTo(revision);
}
