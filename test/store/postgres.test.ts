/** PostgreSQL: both contracts on a real server, and what only several gateways or a lost connection can do wrong. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from 'pg';
import type { Clock } from '../../src/lib/clock.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openPostgresLedger } from '../../src/store/postgres/ledger.ts';
import { openPostgresState } from '../../src/store/postgres/state.ts';
import { ledgerContract } from '../contracts/ledger.ts';
import { by, server, stateStoreContract } from '../contracts/state-store.ts';
import type { Postgres } from '../support/postgres.ts';
import { startPostgres } from '../support/postgres.ts';

let postgres: Postgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

let schemas = 0;
const newSchema = (): string => `test_${++schemas}`;
const dropSchema = (schema: string) => postgres.query(`drop schema if exists "${schema}" cascade`);

stateStoreContract('PostgreSQL', async () => {
  const schema = newSchema();
  return {
    open: (clock: Clock) => openPostgresState(postgres.url, { clock, schema }),
    remove: async () => void (await dropSchema(schema)),
  };
});

ledgerContract('PostgreSQL', async () => {
  const schema = newSchema();
  return {
    open: (options) => openPostgresLedger(postgres.url, { ...options, schema }),
    remove: async () => void (await dropSchema(schema)),
  };
});

describe('several gateways on one PostgreSQL', () => {
  test('that start on an empty database at the same time all come up', async () => {
    const schema = newSchema();
    const opened = await Promise.all([
      ...Array.from({ length: 3 }, () => openPostgresState(postgres.url, { schema })),
      ...Array.from({ length: 3 }, () => openPostgresLedger(postgres.url, { schema })),
    ]);
    await Promise.all(opened.map((one) => one.close()));
  });

  test('commit concurrently: revisions are consecutive, and whoever sees one has seen all before it', async () => {
    const schema = newSchema();
    const stores = await Promise.all(Array.from({ length: 3 }, () => openPostgresState(postgres.url, { schema })));
    const [first, ...writers] = stores;
    const writing = { done: false };
    const reader = (async () => {
      let after = 0;
      while (!writing.done || after < 60) {
        const changes = await first?.changesAfter(after, 1000);
        for (const change of changes ?? []) expect(change.revision).toBe(++after);
      }
    })();
    await Promise.all(
      writers.map((store, w) =>
        Promise.all(Array.from({ length: 30 }, (_, i) => store.commit(by('ann', server(`${w}-${i}`, {}))))),
      ),
    );
    writing.done = true;
    await reader;
    await Promise.all(stores.map((store) => store.close()));
  });

  test('twin: revisions drawn from a sequence instead of the head row become visible out of order', async () => {
    await postgres.query('create sequence twin_revision; create table twin_change (revision bigint)');
    const [slow, fast] = await Promise.all([connect(), connect()]);
    const draw = "insert into twin_change values (nextval('twin_revision'))";
    await slow.query('begin');
    await slow.query(draw);
    await fast.query(draw);
    expect(await postgres.query('select revision from twin_change')).toEqual([{ revision: '2' }]);
    await slow.query('commit');
    await Promise.all([slow.end(), fast.end()]);
  });

  test('append concurrently to one log: indexes are unique, without gaps, and tiles are there', async () => {
    const schema = newSchema();
    const ledgers = await Promise.all(Array.from({ length: 3 }, () => openPostgresLedger(postgres.url, { schema })));
    const landed = await Promise.all(
      ledgers.flatMap((ledger, g) =>
        Array.from({ length: 200 }, (_, i) => ledger.append('log', `{"g":${g},"i":${i}}`)),
      ),
    );
    expect(landed.map((at) => at.index).sort((a, b) => a - b)).toEqual(Array.from({ length: 600 }, (_, i) => i));
    expect(await ledgers[0]?.hashes('log', 1, 0, 10)).toHaveLength(2);
    await Promise.all(ledgers.map((ledger) => ledger.close()));
  });

  test('a commit on one gateway wakes the listeners of another', async () => {
    const schema = newSchema();
    const [a, b] = await Promise.all([
      openPostgresState(postgres.url, { schema }),
      openPostgresState(postgres.url, { schema }),
    ]);
    const subscribed = async () => {
      const rows = await postgres.query(
        `select 1 from pg_stat_activity where query = 'listen "remit_state_${schema}"'`,
      );
      return rows.length;
    };
    await expect.poll(subscribed, { timeout: 5000 }).toBe(2);
    const woken = Promise.withResolvers<void>();
    b.onCommit(() => woken.resolve());
    await a.commit(by('ann', server('x', {})));
    await woken.promise;
    await Promise.all([a.close(), b.close()]);
  });
});

describe('a server that is not safe or not there', () => {
  test.each([
    ['synchronous_commit', 'off'],
    ['synchronous_commit', 'local'],
  ])('a default of %s = %s does not weaken our sessions', async (setting, value) => {
    const schema = newSchema();
    await postgres.query(`alter role remit set ${setting} to ${value}`);
    const store = await openPostgresState(postgres.url, { schema });
    await store.commit(by('ann', server('x', {})));
    await store.close();
    await postgres.query(`alter role remit reset ${setting}`);
  });

  test('refuses a session that cannot write', async () => {
    await postgres.query('alter role remit set default_transaction_read_only to on');
    try {
      await expect(openPostgresLedger(postgres.url, { schema: 'x' })).rejects.toMatchObject({
        code: 'ledger_unavailable',
        message: 'PostgreSQL runs with transaction_read_only = on; Remit needs off',
      });
    } finally {
      await postgres.query('set transaction_read_only to off; alter role remit reset default_transaction_read_only');
    }
  });

  test('refuses a schema name that would need quoting', async () => {
    await expect(openPostgresState(postgres.url, { schema: 'x"; drop' })).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringMatching(/1 to 40 lower-case/),
    });
  });

  test('refuses a schema that a newer version wrote', async () => {
    const schema = newSchema();
    await (await openPostgresState(postgres.url, { schema })).close();
    await postgres.query(`insert into "${schema}".state_migration values ('0099_from_the_future', '2030-01-01')`);
    await expect(openPostgresState(postgres.url, { schema })).rejects.toMatchObject({
      code: 'store_newer',
      message: expect.stringMatching(/newer Remit \(schema 0099_from_the_future\)/),
    });
  });

  test('says store_unavailable when nobody answers', async () => {
    await expect(openPostgresState('postgresql://remit@127.0.0.1:1/none')).rejects.toMatchObject({
      code: 'store_unavailable',
      message: expect.stringMatching(/^PostgreSQL: .*ECONNREFUSED/),
    });
  });

  test('RL-06: after a crash of the server everything acknowledged is there, and both stores go on', async () => {
    const schema = newSchema();
    const store = await openPostgresState(postgres.url, { schema, clock: systemClock });
    const ledger = await openPostgresLedger(postgres.url, { schema });
    const promised: { index: number; text: string }[] = [];
    const running = { on: true };
    const load = Array.from({ length: 8 }, async (_, caller) => {
      for (let i = 0; running.on; i++) {
        const text = `{"caller":${caller},"i":${i}}`;
        await ledger.append('log', text).then(
          ({ index }) => promised.push({ index, text }),
          (fault: unknown) => expect(fault).toMatchObject({ code: 'ledger_unavailable' }),
        );
      }
    });
    await expect.poll(() => promised.length, { timeout: 10_000 }).toBeGreaterThan(200);
    await store.commit(by('ann', server('before', {})));
    await postgres.crashAndRestart();
    const before = promised.length;
    await expect.poll(() => promised.length, { timeout: 10_000 }).toBeGreaterThan(before + 100);
    running.on = false;
    await Promise.all(load);

    const entries = await ledger.read('log', 0, 1_000_000);
    expect(entries.map((entry) => entry.index)).toEqual(Array.from(entries, (_, i) => i));
    for (const { index, text } of promised) expect(entries[index]?.text).toBe(text);
    expect(ledger.fatal).toBeNull();
    expect((await store.load()).records.map((record) => record.id)).toEqual(['before']);
    const woken = Promise.withResolvers<void>();
    store.onCommit(() => woken.resolve());
    await store.commit(by('ann', server('after', {})));
    await woken.promise;
    await Promise.all([store.close(), ledger.close()]);
  });

  test('a duplicate index, which only a write around us can cause, is fatal', async () => {
    const schema = newSchema();
    const ledger = await openPostgresLedger(postgres.url, { schema });
    await ledger.append('log', '{}');
    await postgres.query(`insert into "${schema}".ledger_entry values ('log', 1, '{"forged":1}', '\\x00')`);
    await expect(ledger.append('log', '{}')).rejects.toMatchObject({ code: 'ledger_corrupt' });
    await expect(ledger.append('other', '{}')).rejects.toMatchObject({ code: 'ledger_corrupt' });
    expect(ledger.fatal).toMatchObject({ code: 'ledger_corrupt' });
    await ledger.close();
  });
});

async function connect(): Promise<Client> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  return client;
}
