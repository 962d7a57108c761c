/**
 * A container engine for tests, where one works: an image made of this host's own files (no registry is asked), and the words for why not.
 * Whether it works is found out by the engine's own command line, not by the code under test: a backend that breaks is not skipped.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

export interface TestEngine {
  readonly engine: 'podman';
  readonly runtime?: string;
  /** `sha256:…` */
  readonly image: string;
  /** Of what this file made. */
  remove(): void;
}

const PROGRAMS = 'cat env false hostname ls mount readlink setsid sleep true umount'.split(' ');
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

const podman = (args: readonly string[], input?: Buffer) =>
  spawnSync('podman', args, {
    env: { PATH, HOME: process.env['HOME'] ?? '/' },
    timeout: 60_000,
    ...(input && { input }),
  });

/** What the dynamic loader says a program needs. */
const needs = (program: string): string[] =>
  spawnSync('ldd', [program], { env: { PATH } })
    .stdout.toString()
    .match(/\/[^\s)]+/g) ?? [];

/** Imports a root of this host's files with these programs; `shell`: which one is /bin/sh, null for none. Returns its id. */
export function importImage(shell: string | null = '/bin/sh', more: (root: string) => void = () => {}): string {
  const root = mkdtempSync(join(tmpdir(), 'remit-image-'));
  try {
    for (const folder of ['usr/bin', 'usr/lib', 'usr/lib64', 'etc', 'proc', 'dev', 'tmp', 'sys', 'run'])
      mkdirSync(join(root, folder), { recursive: true });
    for (const [link, to] of [
      ['bin', 'usr/bin'],
      ['sbin', 'usr/bin'],
      ['lib', 'usr/lib'],
      ['lib64', 'usr/lib64'],
    ] as const)
      symlinkSync(to, join(root, link));
    const programs: Array<readonly [from: string, name: string]> = PROGRAMS.map((name) => [`/usr/bin/${name}`, name]);
    if (shell !== null) programs.push([shell, 'sh']);
    const libraries = new Set(needs(process.execPath));
    for (const [from, name] of programs) {
      cpSync(realpathSync(from), join(root, 'usr/bin', name));
      for (const library of needs(from)) libraries.add(library);
    }
    for (const library of libraries) {
      const place = join(root, realpathSync(dirname(library)));
      mkdirSync(place, { recursive: true });
      cpSync(realpathSync(library), join(place, basename(library)));
    }
    chmodSync(join(root, 'tmp'), 0o1777);
    more(root);
    const { stdout } = spawnSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 256 * 1_048_576 });
    const { stdout: id, stderr } = podman(['import', '-'], stdout);
    const digest = /[0-9a-f]{64}/.exec(id.toString())?.[0];
    if (digest === undefined) throw new Error(`podman import: ${stderr.toString()}`);
    return `sha256:${digest}`;
  } finally {
    rmSync(root, { recursive: true });
  }
}

export const removeImage = (image: string): void => void podman(['rmi', '-f', image]);

/** An engine that runs containers here, or why there is none. */
export function testEngine(): TestEngine | string {
  const found = lookForEngine();
  if (typeof found === 'string') console.warn(`tests of containers are skipped: ${found}`);
  return found;
}

function lookForEngine(): TestEngine | string {
  if (podman(['--version']).status !== 0) return 'podman is not installed';
  let image: string;
  try {
    image = importImage();
  } catch (error) {
    return (error as Error).message;
  }
  const remove = (): void => removeImage(image);
  let said = '';
  for (const runtime of existsSync('/usr/sbin/runc') ? ['runc', undefined] : [undefined]) {
    const { status, stderr } = podman([
      ...(runtime === undefined ? [] : ['--runtime', runtime]),
      ...'run --rm --network=none --memory=64m --pids-limit=8 --ulimit=nofile=64:64 --ulimit=nproc=64:64'.split(' '),
      image,
      '/bin/true',
    ]);
    if (status === 0) return { engine: 'podman', image, remove, ...(runtime !== undefined && { runtime }) };
    said = stderr.toString().trim();
  }
  remove();
  return `podman cannot run a container here: ${said}`;
}
