/**
 * A process for the fault tests to kill or to run on a failing disk: `node writer.ts <what> <database> <load> [acks]`.
 * what: `state`, `ledger`, `exchange`, `postgres-ledger` (the product; the last takes a URL); `state-twin`, `ledger-twin`: the same queries on
 * the same file without the latch that a disk error closes.
 * load: `idle`; `endless` (16 callers, for ever); `one-by-one` (50 small writes); `large-then-small` (60 kB until one is refused, then 20 small).
 * Every acknowledgement and refusal is a line in the file `acks`, written with a plain write(2): what it holds survives kill -9.
 */
import { openSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isFault } from '../../src/lib/fault.ts';
import { prepareCommit } from '../../src/store/commit-request.ts';
import { ledgerAppender } from '../../src/store/ledger-queries.ts';
import { ledgerMigrations } from '../../src/store/migrations/ledger.ts';
import { stateMigrations } from '../../src/store/migrations/state.ts';
import { openPostgresLedger } from '../../src/store/postgres/ledger.ts';
import type { LedgerTables, StateTables } from '../../src/store/schema.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { openDatabase } from '../../src/store/sqlite/open.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { transactAtOnce } from '../../src/store/sqlite/transact.ts';
import { oneWriter } from '../../src/store/sqlite/writer.ts';
import { commitState } from '../../src/store/state-queries.ts';

/** Stores a text and returns the position it was promised. */
type Write = (text: string) => Promise<number>;

const LOG = 'log';
const commitOf = (text: string) => ({
  actor: 'writer',
  reason: 'load',
  writes: [{ kind: 'note', org: 'default', id: text.slice(0, 24), body: { text } }],
});

const targets: Record<string, (path: string) => Promise<Write>> = {
  async ledger(path) {
    const ledger = await openSqliteLedger(path);
    return async (text) => (await ledger.append(LOG, text)).index;
  },
  async 'postgres-ledger'(url) {
    const ledger = await openPostgresLedger(url);
    return async (text) => (await ledger.append(LOG, text)).index;
  },
  async exchange(path) {
    const exchange = await openSqliteExchange(path);
    const expiresAt = Date.now() + 3_600_000;
    return async (text) => (await exchange.append('topic', [text, text], { expiresAt }))!;
  },
  async state(path) {
    const store = await openSqliteState(path);
    return async (text) => (await store.commit(commitOf(text))).revision;
  },
  async 'ledger-twin'(path) {
    const { db, file } = await openDatabase<LedgerTables>(path, 'ledger', ledgerMigrations('blob'));
    const append = ledgerAppender(db);
    const transact = transactAtOnce(file);
    const write = oneWriter(() => false);
    return async (text) => (await write(async () => transact(append([{ log: LOG, texts: [text] }]))))[0] as number;
  },
  async 'state-twin'(path) {
    const { db } = await openDatabase<StateTables>(path, 'state', stateMigrations);
    const write = oneWriter(() => false);
    return (text) => write(() => commitState(db, prepareCommit(commitOf(text), 0)));
  },
};

const [what = '', database = '', load = '', acksFile = '/dev/null'] = process.argv.slice(2);
const acks = openSync(acksFile, 'a');
const write = await (targets[what] as (path: string) => Promise<Write>)(database);
process.stdout.write('open\n');

const newText = (size = 40): string => `${process.pid}.${counter++}.`.padEnd(size, '.');
let counter = 0;

async function attempt(text: string): Promise<boolean> {
  try {
    writeSync(acks, `ok ${await write(text)} ${text.slice(0, 40)}\n`);
    return true;
  } catch (error) {
    writeSync(acks, `refused ${isFault(error) ? error.code : ''}\n`);
    return false;
  }
}

const loads: Record<string, () => Promise<void>> = {
  async idle() {
    await sleep(60_000);
  },
  async endless() {
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (await attempt(newText()));
      }),
    );
  },
  async 'one-by-one'() {
    for (let i = 0; i < 50; i++) await attempt(newText());
  },
  async 'large-then-small'() {
    while (await attempt(newText(60_000)));
    for (let i = 0; i < 20; i++) await attempt(newText());
  },
};
await (loads[load] as () => Promise<void>)();
process.exit(0);
