/**
 * RL-06: several gateway processes append to one log in PostgreSQL; one is killed in the middle of its work.
 * The oracle is each process's own file of acknowledgements against the log that the survivor leaves.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openPostgresLedger } from '../../src/store/postgres/ledger.ts';
import { leafHash } from '../../src/verify/merkle.ts';
import type { Postgres } from '../support/postgres.ts';
import { startPostgres } from '../support/postgres.ts';

const WRITER = join(import.meta.dirname, 'writer.ts');
const folder = mkdtempSync(join(tmpdir(), 'remit-gateways-'));
const gateways: ChildProcess[] = [];
let postgres: Postgres;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  for (const gateway of gateways) gateway.kill('SIGKILL');
  await postgres.stop();
  rmSync(folder, { recursive: true });
});

function start(name: string): { process: ChildProcess; acks: () => { index: number; text: string }[] } {
  const file = join(folder, name);
  const process = spawn(globalThis.process.execPath, [WRITER, 'postgres-ledger', postgres.url, 'endless', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  gateways.push(process);
  const acks = () => {
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    return lines.map((line) => {
      const [word, index, text = ''] = line.split(' ');
      expect(word).toBe('ok');
      return { index: Number(index), text };
    });
  };
  return { process, acks };
}

async function kill(process: ChildProcess): Promise<void> {
  const exited = once(process, 'exit');
  process.kill('SIGKILL');
  await exited;
}

test('RL-06: killing one gateway loses nothing that any of them acknowledged and does not stop the others', async () => {
  const [one, two] = [start('one'), start('two')];
  await expect.poll(() => Math.min(one.acks().length, two.acks().length), { timeout: 30_000 }).toBeGreaterThan(200);
  await kill(one.process);
  const before = two.acks().length;
  await expect.poll(() => two.acks().length, { timeout: 30_000 }).toBeGreaterThan(before + 200);
  await kill(two.process);

  const ledger = await openPostgresLedger(postgres.url);
  const size = await ledger.size('log');
  const entries = await ledger.read('log', 0, size + 1);
  expect(entries.map((entry) => entry.index)).toEqual(Array.from({ length: size }, (_, i) => i));
  for (const { index, text } of [...one.acks(), ...two.acks()]) expect(entries[index]?.text).toBe(text);
  const leaves = await ledger.hashes('log', 0, 0, size);
  expect(leaves.map((leaf) => Buffer.from(leaf))).toEqual(entries.map((entry) => leafHash(entry.text)));
  expect(await ledger.hashes('log', 1, 0, size)).toHaveLength(Math.floor(size / 256));
  await ledger.close();
}, 120_000);
