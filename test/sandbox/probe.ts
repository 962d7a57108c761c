/**
 * Runs inside (and, as the twin, outside) the sandbox and tries what a hostile server would try. Prints one JSON object:
 * for each attempt `ok` or the error it met. Arguments: a JSON object of what to aim at.
 * INVARIANT: no attempt harms a host on which it succeeds. The twin runs as root on somebody's machine, and a broken sandbox
 * is no better: writing is asked for and not done, except to files made for this test.
 */
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  appendFileSync,
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';

export interface Aim {
  readonly hostFile: string;
  readonly hostPort: number;
  readonly hostPid: number;
}

const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);

function attempt(action: () => unknown): string {
  try {
    const result = action();
    return typeof result === 'string' ? result : 'ok';
  } catch (error) {
    return code(error);
  }
}

function program(path: string, ...args: string[]): string {
  const { status, error } = spawnSync(path, args, { timeout: 5_000, env: {} });
  return error === undefined ? (status === 0 ? 'ok' : `exit ${status}`) : code(error);
}

function reach(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2_000 });
    socket
      .once('connect', () => resolve('ok'))
      .once('error', (error) => resolve(code(error)))
      .once('timeout', () => resolve('timeout'));
  });
}

/** How much fits into a folder, up to 200 MB; leaves nothing behind. */
function fill(folder: string): string {
  const file = join(mkdtempSync(join(folder, 'remit-probe-')), 'file');
  const block = Buffer.alloc(1_048_576);
  try {
    for (let mb = 0; mb < 200; mb++) {
      try {
        appendFileSync(file, block);
      } catch (error) {
        return `${code(error)} after ${mb} MB`;
      }
    }
    return 'no end';
  } finally {
    rmSync(dirname(file), { recursive: true });
  }
}

/** Mounts something harmless on a folder made for it. */
function mount(): string {
  const folder = mkdtempSync('/tmp/remit-probe-');
  const outcome = program('/usr/bin/mount', '-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', folder);
  if (outcome === 'ok') program('/usr/bin/umount', folder);
  rmSync(folder, { recursive: true, force: true });
  return outcome;
}

async function probe(aim: Aim): Promise<Record<string, unknown>> {
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? '';
  return {
    uids: field('Uid').split('\t'),
    groups: field('Groups').trim(),
    capabilities: ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(field),
    noNewPrivs: field('NoNewPrivs'),
    environment: process.env,
    rootFolders: readdirSync('/').sort(),
    processes: readdirSync('/proc').filter((name) => /^\d+$/.test(name)).length,
    interfaces: Object.keys(networkInterfaces()),
    openFiles: /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1],
    coreSize: /^Max core file size\s+(\d+)\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.slice(1),
    commandLines: readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => attempt(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))),
    readHostFile: attempt(() => void readFileSync(aim.hostFile)),
    writeHostFile: attempt(() => appendFileSync(aim.hostFile, 'written by the probe')),
    readShadow: attempt(() => void readFileSync('/etc/shadow')),
    writeSystem: ['/', '/usr', '/etc', '/remit', '/dev', '/repo'].map((path) =>
      attempt(() => accessSync(path, constants.W_OK)),
    ),
    writeKernel: attempt(() => closeSync(openSync('/proc/sys/kernel/core_pattern', 'r+'))),
    readDeclared: attempt(() => readFileSync('/declared/read/file', 'utf8')),
    writeDeclaredReadOnly: attempt(() => writeFileSync('/declared/read/x', 'x')),
    writeDeclaredWritable: attempt(() => writeFileSync('/declared/write/x', 'x')),
    fillTmp: fill('/tmp'),
    fillShm: fill('/dev/shm'),
    reachHost: await reach(aim.hostPort),
    signalHost: attempt(() => process.kill(aim.hostPid, 0)),
    becomeRoot: attempt(() => process.setuid?.(0)),
    mount: mount(),
    setHostname: program('/usr/bin/hostname', hostname()),
    sockets: ['/run/docker.sock', '/var/run/docker.sock', '/run/systemd/private'].filter((path) => existsSync(path)),
  };
}

process.stdout.write(JSON.stringify(await probe(JSON.parse(process.argv[2] ?? '{}') as Aim)));
