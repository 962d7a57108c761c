/** The embedded engine: its contracts, and what only a file can do wrong (permissions, a second process, a newer schema, damage). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Kysely } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { openDatabase, openDatabaseFile } from '../../src/store/sqlite/open.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { exchangeContract } from '../contracts/exchange.ts';
import { ledgerContract } from '../contracts/ledger.ts';
import { by, server, stateStoreContract } from '../contracts/state-store.ts';

const WRITER = join(import.meta.dirname, '..', 'faults', 'writer.ts');
const newFolder = (): string => mkdtempSync(join(tmpdir(), 'remit-store-'));

stateStoreContract('SQLite', async () => {
  const folder = newFolder();
  return {
    open: (clock) => openSqliteState(join(folder, 'state.db'), { clock }),
    remove: async () => rmSync(folder, { recursive: true }),
  };
});

ledgerContract('SQLite', async () => {
  const folder = newFolder();
  return {
    open: (options) => openSqliteLedger(join(folder, 'ledger.db'), options),
    remove: async () => rmSync(folder, { recursive: true }),
  };
});

exchangeContract('SQLite', async () => {
  const folder = newFolder();
  const file = join(folder, 'exchange.db');
  return {
    open: (options) => openSqliteExchange(file, options),
    rows: async () => {
      const database = new DatabaseSync(file);
      const count = (table: string) => Number(database.prepare(`select count(*) as n from ${table}`).get()?.['n']);
      const rows = { topics: count('exchange_topic'), items: count('exchange_item') };
      database.close();
      return rows;
    },
    remove: async () => rmSync(folder, { recursive: true }),
  };
});

describe('an embedded database file', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = newFolder();
    file = join(folder, 'data', 'state.db');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

  test('is readable by its owner only, and so are its folder and its write-ahead log', async () => {
    const store = await openSqliteState(file);
    await store.commit(by('ann', server('x', {})));
    expect([modeOf(join(folder, 'data')), modeOf(file), modeOf(`${file}-wal`)]).toEqual(['700', '600', '600']);
    await store.close();
  });

  test('that others could read is closed to them on open', async () => {
    await (await openSqliteState(file)).close();
    chmodSync(file, 0o644);
    const store = await openSqliteState(file);
    expect(modeOf(file)).toBe('600');
    await store.close();
  });

  test('is opened with WAL, synchronous=FULL and an exclusive lock', () => {
    const database = openDatabaseFile(file);
    const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
    expect([pragma('journal_mode'), pragma('synchronous'), pragma('locking_mode')]).toEqual(['wal', 2, 'exclusive']);
    database.close();
  });

  test('of the exchange is opened with synchronous=NORMAL, and with the rest as it is', () => {
    const database = openDatabaseFile(file, 'NORMAL');
    const pragma = (name: string) => Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
    expect([pragma('journal_mode'), pragma('synchronous'), pragma('locking_mode')]).toEqual(['wal', 1, 'exclusive']);
    database.close();
  });

  test('leaves no shared-memory file: no other process can join', async () => {
    const store = await openSqliteState(file);
    await store.commit(by('ann', server('x', {})));
    expect(existsSync(`${file}-shm`)).toBe(false);
    await store.close();
  });

  const owners = [
    ['state', openSqliteState, 'store_locked', 'store_newer', 'store_corrupt'],
    ['ledger', openSqliteLedger, 'ledger_locked', 'ledger_newer', 'ledger_corrupt'],
    ['exchange', openSqliteExchange, 'exchange_locked', 'exchange_unavailable', 'exchange_unavailable'],
  ] as const;
  describe.each(owners)('as %s', (name, open, code, newer, corrupt) => {
    const refusal = {
      code,
      message: expect.stringMatching(/state\.db is in use: another gateway is running on it\. Use the remit commands/),
    };

    test('refuses a second opener in the same process, and lets the next one in after close', async () => {
      const first = await open(file);
      await expect(open(file)).rejects.toMatchObject(refusal);
      await first.close();
      await (await open(file)).close();
    });

    test('refuses a second process while the first one lives, and not after it was killed', async () => {
      const owner = spawn(process.execPath, [WRITER, name, file, 'idle'], { stdio: ['ignore', 'pipe', 'inherit'] });
      const exited = once(owner, 'exit');
      try {
        expect(String(await Promise.race([once(owner.stdout, 'data'), exited]))).toBe('open\n');
        await expect(open(file)).rejects.toMatchObject(refusal);
        owner.kill('SIGKILL');
        await exited;
        await (await open(file)).close();
      } finally {
        owner.kill('SIGKILL');
      }
    });

    test('refuses a schema that a newer version wrote, and does not touch it', async () => {
      await (await open(file)).close();
      const database = new DatabaseSync(file);
      database.exec(`INSERT INTO ${name}_migration (name, timestamp) VALUES ('0099_from_the_future', '2030-01-01')`);
      database.close();
      await expect(open(file)).rejects.toMatchObject({
        code: newer,
        message: expect.stringMatching(/written by a newer Remit \(schema 0099_from_the_future\)/),
      });
    });

    test('refuses a file that is no database', async () => {
      await (await open(file)).close();
      writeFileSync(file, 'this is not a database, and it is long enough to be read as a header of one. '.repeat(20));
      await expect(open(file)).rejects.toMatchObject({ code: corrupt });
    });

    test('says what to look at when the path cannot be a file', async () => {
      await expect(open(folder)).rejects.toMatchObject({
        message: expect.stringMatching(/^cannot open .*remit-store-/),
      });
    });
  });

  test('an exchange that cannot be read says that it may be deleted', async () => {
    await (await openSqliteExchange(file)).close();
    writeFileSync(file, 'this is not a database, and it is long enough to be read as a header of one. '.repeat(20));
    await expect(openSqliteExchange(file)).rejects.toMatchObject({
      message: expect.stringMatching(/^cannot open .*conversations only; with the gateway stopped it may be deleted$/),
    });
  });

  test('a migration that does not come to its end leaves nothing, and the next start does it whole', async () => {
    let dies = true;
    const migrations = {
      '0001_two_tables': {
        async up(db: Kysely<unknown>) {
          await db.schema.createTable('first').addColumn('x', 'text').execute();
          if (dies) throw new Error('power failure');
          await db.schema.createTable('second').addColumn('x', 'text').execute();
        },
      },
    };
    await expect(openDatabase(file, 'state', migrations)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'cannot bring the state database to this schema',
    });
    dies = false;
    const { db } = await openDatabase<Record<'first' | 'second', { x: string }>>(file, 'state', migrations);
    expect(await db.selectFrom('second').selectAll().execute()).toEqual([]);
    await db.destroy();
  });

  test('a body that was damaged in the file is reported as such', async () => {
    const store = await openSqliteState(file);
    await store.commit(by('ann', server('x', { v: 1 })));
    await store.close();
    const database = new DatabaseSync(file);
    database.exec(`UPDATE state_record SET body = '{"v":'`);
    database.close();
    const damaged = await openSqliteState(file, { clock: systemClock });
    await expect(damaged.load()).rejects.toMatchObject({
      code: 'store_corrupt',
      message: 'the body of server default/x at revision 1 is not JSON',
    });
    await damaged.close();
  });

  test('of an exchange that is killed in the middle keeps every acknowledged item, and of the others all or nothing', async () => {
    const acks = join(folder, 'acks');
    const owner = spawn(process.execPath, [WRITER, 'exchange', file, 'endless', acks], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(owner, 'exit');
    try {
      await expect
        .poll(() => (existsSync(acks) ? statSync(acks).size : 0), { timeout: 30_000 })
        .toBeGreaterThan(20_000);
    } finally {
      owner.kill('SIGKILL');
      await exited;
    }
    const exchange = await openSqliteExchange(file);
    const items: { seq: number; text: string }[] = [];
    for (;;) {
      const page = await exchange.read('topic', items.length, 1000);
      if (page.length === 0) break;
      items.push(...page);
    }
    expect(items.map((item) => item.seq)).toEqual(items.map((_, i) => i + 1));
    // The writer appends each text twice in one append.
    for (let i = 0; i < items.length; i += 2) expect(items[i + 1]?.text).toBe(items[i]?.text);
    const promised = readFileSync(acks, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('ok ') && line.length >= 40);
    expect(promised.length).toBeGreaterThan(100);
    for (const line of promised.slice(0, -1)) {
      const [, seq, text] = line.split(' ');
      expect(items[Number(seq) - 1]?.text).toBe(text);
    }
    await exchange.close();
  });
});
