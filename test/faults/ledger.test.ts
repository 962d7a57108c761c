/**
 * AE-03 at the disk: what the ledger acknowledged is there after kill -9, and after the first disk error nothing is acknowledged.
 * The oracle is a file of acknowledgements against the database that is found afterwards. Twins run without the latch.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { leafHash } from '../../src/verify/merkle.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';

const WRITER = join(import.meta.dirname, 'writer.ts');

let folder: string;
let database: string;
let acksFile: string;
let running: ChildProcess | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remit-faults-'));
  database = join(folder, 'test.db');
  acksFile = join(folder, 'acks');
});
afterEach(async () => {
  if (running !== undefined && running.exitCode === null && running.signalCode === null) {
    running.kill('SIGKILL');
    await once(running, 'exit');
  }
  rmSync(folder, { recursive: true });
});

function start(what: string, load: string, ...wrapper: string[]): ChildProcess {
  const argv = [...wrapper, process.execPath, WRITER, what, database, load, acksFile];
  running = spawn(argv[0] as string, argv.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] });
  return running;
}

async function runToEnd(what: string, load: string, ...wrapper: string[]): Promise<Ack[]> {
  const [code] = (await once(start(what, load, ...wrapper), 'exit')) as [number | null];
  expect(code).toBe(0);
  return readAcks();
}

/** `position` is null for a refusal. */
interface Ack {
  readonly position: number | null;
  readonly detail: string;
}

function readAcks(): Ack[] {
  if (!existsSync(acksFile)) return [];
  const lines = readFileSync(acksFile, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => {
    const [word, first = '', detail = ''] = line.split(' ');
    return word === 'ok' ? { position: Number(first), detail } : { position: null, detail: first };
  });
}

async function killAfter(process: ChildProcess, acks: number): Promise<void> {
  await expect.poll(() => readAcks().length, { timeout: 30_000, interval: 5 }).toBeGreaterThan(acks);
  process.kill('SIGKILL');
  await once(process, 'exit');
}

/** Everything that was acknowledged stands where it was promised; the log has no gaps; hashes belong to texts. */
async function expectSoundLedger(acks: readonly Ack[]): Promise<number> {
  const ledger = await openSqliteLedger(database);
  const size = await ledger.size('log');
  const entries = await ledger.read('log', 0, size + 1);
  expect(entries.map((entry) => entry.index)).toEqual(Array.from({ length: size }, (_, i) => i));
  for (const { position, detail } of acks) {
    if (position !== null) expect(entries[position]?.text.slice(0, 40)).toBe(detail);
  }
  const leaves = await ledger.hashes('log', 0, 0, size);
  expect(leaves.map((leaf) => Buffer.from(leaf))).toEqual(entries.map((entry) => leafHash(entry.text)));
  expect(await ledger.hashes('log', 1, 0, size + 1)).toHaveLength(Math.floor(size / 256));
  await ledger.close();
  return size;
}

test('AE-03: every acknowledged entry is there after kill -9, without gaps, three times in a row', async () => {
  for (const acks of [300, 1500, 2200]) {
    await killAfter(start('ledger', 'endless'), acks);
    expect(await expectSoundLedger(readAcks())).toBeGreaterThan(acks);
  }
}, 120_000);

test('every acknowledged commit of the state is there after kill -9, and records are the fold of the history', async () => {
  for (const acks of [200, 500]) {
    await killAfter(start('state', 'endless'), acks);
    const store = await openSqliteState(database);
    const changes = await store.changesAfter(0, 1_000_000);
    expect(changes.map((change) => change.revision)).toEqual(Array.from(changes, (_, i) => i + 1));
    for (const { position, detail } of readAcks()) {
      expect(changes[(position as number) - 1]?.body).toEqual({ text: detail });
    }
    const { revision, records } = await store.load();
    expect(revision).toBe(changes.length);
    const fold = new Map(changes.map((change) => [change.id, change.body]));
    expect(new Map(records.map((record) => [record.id, record.body]))).toEqual(fold);
    await store.close();
  }
}, 120_000);

/** Splits at the first refusal. */
function aroundFirstRefusal(acks: readonly Ack[]): { before: Ack[]; after: Ack[] } {
  const first = acks.findIndex((ack) => ack.position === null);
  expect(first, 'the disk error was met').toBeGreaterThan(0);
  return { before: acks.slice(0, first), after: acks.slice(first) };
}

const accepted = (acks: readonly Ack[]): number => acks.filter((ack) => ack.position !== null).length;

/** A file may not grow beyond this: write(2) answers EFBIG, as a full disk answers ENOSPC. Runs on every machine. */
const SMALL_DISK = ['bash', '-c', 'ulimit -f 512 && exec "$@"', 'bash'];

describe('on a disk that is full', () => {
  test('AE-03: after the first refusal by the disk no append is acknowledged', async () => {
    const acks = await runToEnd('ledger', 'large-then-small', ...SMALL_DISK);
    const { before, after } = aroundFirstRefusal(acks);
    expect(accepted(before)).toBeGreaterThan(2);
    expect(after).toHaveLength(21);
    expect(new Set(after.map((ack) => ack.detail))).toEqual(new Set(['ledger_failed']));
    expect(accepted(after)).toBe(0);
    await expectSoundLedger(acks);
  });

  test('twin: without the latch SQLite carries on and acknowledges after the error', async () => {
    const { after } = aroundFirstRefusal(await runToEnd('ledger-twin', 'large-then-small', ...SMALL_DISK));
    expect(accepted(after)).toBeGreaterThan(0);
  });

  test('after the first refusal by the disk no commit of the state is acknowledged', async () => {
    const { after } = aroundFirstRefusal(await runToEnd('state', 'large-then-small', ...SMALL_DISK));
    expect(accepted(after)).toBe(0);
    expect(new Set(after.map((ack) => ack.detail))).toEqual(new Set(['store_unavailable']));
  });

  test('after the first refusal by the disk no append to the exchange is acknowledged, and what was is there', async () => {
    const acks = await runToEnd('exchange', 'large-then-small', ...SMALL_DISK);
    const { before, after } = aroundFirstRefusal(acks);
    expect(accepted(before)).toBeGreaterThan(1);
    expect(accepted(after)).toBe(0);
    expect(new Set(after.map((ack) => ack.detail))).toEqual(new Set(['exchange_unavailable']));
    const exchange = await openSqliteExchange(database);
    const items = await exchange.read('topic', 0, 1000);
    for (const { position, detail } of before) expect(items[position! - 1]?.text.slice(0, 40)).toBe(detail);
    expect(items).toHaveLength(accepted(before) * 2);
    await exchange.close();
  });

  test('twin: without the latch the state carries on', async () => {
    const { after } = aroundFirstRefusal(await runToEnd('state-twin', 'large-then-small', ...SMALL_DISK));
    expect(accepted(after)).toBeGreaterThan(0);
  });
});

/** Fails exactly one fsync of each thread; those of opening and migrating come earlier. */
const ONE_BAD_FSYNC =
  'strace -f -qq --seccomp-bpf -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:error=EIO:when=30'.split(
    ' ',
  );
const canTrace = spawnSync('strace', ['-f', '-qq', '--seccomp-bpf', '-e', 'trace=none', 'true']).status === 0;

describe.runIf(canTrace)('when one fsync fails', () => {
  test('AE-03: after an fsync that returned EIO no append is acknowledged, although the next fsync would succeed', async () => {
    const acks = await runToEnd('ledger', 'one-by-one', ...ONE_BAD_FSYNC);
    const { before, after } = aroundFirstRefusal(acks);
    expect(accepted(before)).toBeGreaterThan(5);
    expect(after.length).toBeGreaterThan(5);
    expect(new Set(after.map((ack) => ack.detail))).toEqual(new Set(['ledger_failed']));
    await expectSoundLedger(acks);
  });

  test('twin: without the latch SQLite acknowledges everything after the failed fsync', async () => {
    const { after } = aroundFirstRefusal(await runToEnd('ledger-twin', 'one-by-one', ...ONE_BAD_FSYNC));
    expect(accepted(after)).toBe(after.length - 1);
  });

  test('after an fsync that returned EIO no commit of the state is acknowledged', async () => {
    const { after } = aroundFirstRefusal(await runToEnd('state', 'one-by-one', ...ONE_BAD_FSYNC));
    expect(after.length).toBeGreaterThan(5);
    expect(accepted(after)).toBe(0);
  });
});
