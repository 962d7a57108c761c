/** PostgreSQL: the contracts on a real server, and what only several gateways or a lost connection can do wrong. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Client } from 'pg';
import type { Clock } from '../../src/lib/clock.ts';
import { manualClock, systemClock } from '../../src/lib/clock.ts';
import type { Exchange, ExchangeItem } from '../../src/store/exchange.ts';
import type { PostgresExchangeOptions } from '../../src/store/postgres/exchange.ts';
import { openPostgresExchange } from '../../src/store/postgres/exchange.ts';
import { openPostgresLedger } from '../../src/store/postgres/ledger.ts';
import { openPostgresState } from '../../src/store/postgres/state.ts';
import { exchangeContract } from '../contracts/exchange.ts';
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

exchangeContract('PostgreSQL', async () => {
  const schema = newSchema();
  return {
    open: (options) => openPostgresExchange(postgres.url, { ...options, schema }),
    rows: async () => {
      const [row] = await postgres.query(
        `select (select count(*)::int from "${schema}".exchange_topic) as topics,
                (select count(*)::int from "${schema}".exchange_item) as items`,
      );
      return row as { topics: number; items: number };
    },
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
    await expect.poll(subscribed, { timeout: 30_000 }).toBe(2);
    const woken = Promise.withResolvers<void>();
    b.onCommit(() => woken.resolve());
    await a.commit(by('ann', server('x', {})));
    await woken.promise;
    await Promise.all([a.close(), b.close()]);
  });
});

describe('several gateways on one exchange', () => {
  const LATER = { expiresAt: Date.now() + 3_600_000 };
  let schema: string;
  const opened: Exchange[] = [];
  const openNode = async (options: PostgresExchangeOptions = {}): Promise<Exchange> => {
    const exchange = await openPostgresExchange(postgres.url, { ...options, schema });
    opened.push(exchange);
    return exchange;
  };
  const listening = async (): Promise<number> =>
    (await postgres.query(`select 1 from pg_stat_activity where query = 'listen "remit_exchange_${schema}"'`)).length;
  beforeEach(() => {
    schema = newSchema();
  });
  afterEach(async () => {
    for (const exchange of opened.splice(0)) await exchange.close();
    await dropSchema(schema);
  });

  test('number without gaps and in one order', async () => {
    const nodes = await Promise.all([openNode(), openNode(), openNode()]);
    const landed = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const seq = await nodes[i % 3]!.append('t', [`${i}`, `${i}`], LATER);
        return { seq: seq!, text: `${i}` };
      }),
    );
    const items = await nodes[0].read('t', 0, 1000);
    expect(items.map((item) => item.seq)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    for (const { seq, text } of landed) expect([items[seq - 2]?.text, items[seq - 1]?.text]).toEqual([text, text]);
  });

  test('that write to the same topics in opposite orders do not wait for each other in a circle', async () => {
    const nodes = await Promise.all([openNode(), openNode()]);
    // More than one statement takes: between two of them other batches get their turn.
    const topics = Array.from({ length: 150 }, (_, i) => `${i}`.padStart(3, '0'));
    const orders = [topics, topics.toReversed()];
    const load = nodes.map(async (node, n) => {
      for (let round = 0; round < 15; round++)
        await Promise.all(orders[n]!.map((topic) => node.append(topic, ['x'], LATER)));
    });
    await Promise.all(load);
    for (const topic of topics) expect((await nodes[0].latest(topic))?.seq).toBe(30);
  });

  test('of all that expect the same, one gets a number', async () => {
    const nodes = await Promise.all([openNode(), openNode(), openNode()]);
    for (let expected = 0; expected < 10; expected++) {
      const landed = await Promise.all(
        nodes.map((node, n) => node.append('t', [`${n}`], { ...LATER, expect: expected })),
      );
      expect(landed.filter((seq) => seq !== null)).toEqual([expected + 1]);
    }
    expect(await nodes[0].read('t', 0, 100)).toHaveLength(10);
  });

  test('whoever sees an item has seen all before it', async () => {
    const [reader, ...writers] = (await Promise.all([openNode(), openNode(), openNode()])) as [Exchange, ...Exchange[]];
    const writing = { done: false };
    const reading = (async () => {
      let after = 0;
      while (!writing.done || after < 80)
        for (const { seq } of await reader.read('t', after, 1000)) expect(seq).toBe(++after);
    })();
    await Promise.all(
      writers.map(async (node, n) => {
        for (let i = 0; i < 40; i++) await node.append('t', [`${n}.${i}`], LATER);
      }),
    );
    writing.done = true;
    await reading;
  });

  test('an append on one node wakes the watchers of another by NOTIFY', async () => {
    const never = 3_600_000;
    const [a, b] = await Promise.all([openNode({ pollMs: never }), openNode({ pollMs: never })]);
    await expect.poll(listening, { timeout: 30_000 }).toBe(2);
    const called: string[] = [];
    for (const topic of ['t', 'u']) b.watch(topic, () => called.push(topic));
    // A topic name that would end a string in SQL is a name like any other.
    const odd = `o'"; drop table exchange_item; --`;
    b.watch(odd, () => called.push(odd));
    await Promise.all([a.append('t', ['x'], LATER), a.append(odd, ['x'], LATER)]);
    await expect.poll(() => called.toSorted(), { timeout: 30_000 }).toEqual([odd, 't']);
    expect(await b.latest(odd)).toEqual({ seq: 1, text: 'x' });
  });

  test('a node whose LISTEN is lost still calls its watchers, by asking; and listens again', async () => {
    const [a, b] = await Promise.all([openNode(), openNode({ pollMs: 20 })]);
    await expect.poll(listening, { timeout: 30_000 }).toBe(2);
    let calls = 0;
    b.watch('t', () => calls++);
    await expect.poll(() => calls, { timeout: 30_000 }).toBeGreaterThan(0);
    await a.append('t', ['x'], LATER);
    await expect.poll(() => calls, { timeout: 30_000 }).toBeGreaterThan(1);
    const before = calls;
    // Written around the product, so that no NOTIFY is sent.
    await postgres.query(
      `insert into "${schema}".exchange_item values ('t', 2, 1, 'y');
       update "${schema}".exchange_topic set last = 2 where topic = 't'`,
    );
    await expect.poll(() => calls, { timeout: 30_000 }).toBeGreaterThan(before);
    await postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen "remit_exchange_${schema}"'`,
    );
    await expect.poll(listening, { timeout: 30_000 }).toBe(2);
    expect(await b.read('t', 0, 10)).toHaveLength(2);
  });

  test('nodes that sweep at the same time delete each topic once and wait for nobody', async () => {
    const clock = manualClock(Date.now());
    const nodes = await Promise.all([openNode({ clock, sweepMs: 5 }), openNode({ clock, sweepMs: 5 })]);
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => nodes[i % 2]!.append(`t${i}`, ['x'], { expiresAt: clock.now() + 1000 })),
    );
    const holder = await connect();
    await holder.query(
      `begin; set search_path to "${schema}"; select * from exchange_topic where topic = 't7' for update`,
    );
    clock.advance(1000);
    const left = async () =>
      (await postgres.query(`select topic from "${schema}".exchange_item`)).map((row) => row['topic']);
    await expect.poll(left, { timeout: 30_000 }).toEqual(['t7']);
    await holder.query('commit');
    await holder.end();
    await expect.poll(left, { timeout: 30_000 }).toEqual([]);
  });

  test('after a crash of the server everything acknowledged is there, and the exchange goes on', async () => {
    const exchange = await openNode();
    const promised: { seq: number; text: string }[] = [];
    const running = { on: true };
    const load = Array.from({ length: 4 }, async (_, caller) => {
      for (let i = 0; running.on; i++) {
        const text = `${caller}.${i}`;
        await exchange.append('t', [text], LATER).then(
          (seq) => promised.push({ seq: seq!, text }),
          (fault: unknown) => expect(fault).toMatchObject({ code: 'exchange_unavailable' }),
        );
      }
    });
    await expect.poll(() => promised.length, { timeout: 30_000 }).toBeGreaterThan(100);
    await postgres.crashAndRestart();
    const afterCrash = promised.length;
    await expect.poll(() => promised.length, { timeout: 30_000 }).toBeGreaterThan(afterCrash + 20);
    running.on = false;
    await Promise.all(load);
    const items: ExchangeItem[] = [];
    for (;;) {
      const page = await exchange.read('t', items.length, 1000);
      if (page.length === 0) break;
      items.push(...page);
    }
    for (const { seq, text } of promised) expect(items[seq - 1]).toEqual({ seq, text });
  });

  test('says exchange_unavailable when nobody answers', async () => {
    await expect(openPostgresExchange('postgresql://remit@127.0.0.1:1/none')).rejects.toMatchObject({
      code: 'exchange_unavailable',
      message: expect.stringMatching(/^PostgreSQL: .*ECONNREFUSED/),
    });
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
    await expect.poll(() => promised.length, { timeout: 30_000 }).toBeGreaterThan(200);
    await store.commit(by('ann', server('before', {})));
    await postgres.crashAndRestart();
    const before = promised.length;
    await expect.poll(() => promised.length, { timeout: 30_000 }).toBeGreaterThan(before + 100);
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
