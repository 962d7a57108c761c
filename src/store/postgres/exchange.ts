/**
 * The exchange in PostgreSQL, shared by several gateways (the port is ../exchange.ts).
 * Durable means: COMMIT returned with synchronous_commit on. Watchers on other gateways are woken by NOTIFY, sent inside the commit
 * with the name of the topic; behind it watched topics are polled, so that a lost connection delays a wake-up and loses none.
 */
import type { Kysely, RawBuilder } from 'kysely';
import { sql } from 'kysely';
import { toExchangeFault } from '../engine-fault.ts';
import type { Exchange } from '../exchange.ts';
import { ExchangeFault } from '../exchange.ts';
import type { PendingAppend } from '../exchange-queries.ts';
import { exchangeWrites, readItems, readLatest, readMarks } from '../exchange-queries.ts';
import type { ExchangeOptions } from '../exchange-store.ts';
import { exchangeOver } from '../exchange-store.ts';
import { exchangeMigrations } from '../migrations/exchange.ts';
import type { ExchangeTables } from '../schema.ts';
import type { Statements } from '../statements.ts';
import { transactOver } from '../statements.ts';
import { toPostgresFault } from './fault.ts';
import { listen } from './listen.ts';
import type { PostgresOptions } from './open.ts';
import { DEFAULT_SCHEMA, openDatabase } from './open.ts';

/** One for appends, the others for readers, sweeps and polls. */
const CONNECTIONS = 4;

/** What an item takes besides its text: names, numbers and index entries, roughly. */
const ROW_BYTES = 256;

export interface PostgresExchangeOptions extends ExchangeOptions, PostgresOptions {
  /** How often watched topics are looked at in case a NOTIFY was missed. Default 1000. */
  readonly pollMs?: number;
}

/** @throws ExchangeFault `exchange_unavailable` (not reachable, not durable, schema of a newer Remit). */
export async function openPostgresExchange(url: string, options: PostgresExchangeOptions = {}): Promise<Exchange> {
  const schema = options.schema ?? DEFAULT_SCHEMA;
  const channel = `remit_exchange_${schema}`;
  const db = await faulting(openDatabase<ExchangeTables>(url, schema, CONNECTIONS, 'exchange', exchangeMigrations));
  const { append, remove, sweep } = exchangeWrites(db);
  const transact = <R>(statements: Statements<R>): Promise<R> => faulting(transactOver(db, statements));

  function* appendAndNotify(appends: readonly PendingAppend[], now: number) {
    const appended = yield* append(appends, now);
    if (appended.changed.length > 0) {
      const topics = sql`unnest(${appended.changed}::text[]) as topic`;
      yield sql`select pg_notify(${channel}, topic) from ${topics}`.compile(db);
    }
    return appended;
  }

  const { exchange, watching } = exchangeOver(
    {
      append: (appends, now) => transact(appendAndNotify(appends, now)),
      read: (topic, after, limit, now) => faulting(readItems(db, topic, after, limit, now)),
      latest: (topic, now) => faulting(readLatest(db, topic, now)),
      remove: (topic) => transact(remove(topic)),
      sweep: (now) => transact(sweep(now, true)),
      size: (atMost) => faulting(usedBytes(db, atMost)),
      async close() {
        clearInterval(poller);
        await stopListening();
        await polling;
        await db.destroy();
      },
    },
    options,
  );

  let polling: Promise<void> | null = null;
  function poll(): void {
    // What could not be asked now is asked again by the next poll.
    polling ??= watching
      .poll((topics) => readMarks(db, topics))
      .catch(() => undefined)
      .finally(() => (polling = null));
  }
  const poller = setInterval(poll, options.pollMs ?? 1000);
  poller.unref();
  const stopListening = listen(url, schema, channel, (topic) => (topic === null ? poll() : watching.wake([topic])));
  return exchange;
}

/**
 * The relations do not shrink when rows go, or the exchange would stay full until somebody vacuums it: once they are large, the rows count.
 * The space of dead rows is left to autovacuum.
 */
async function usedBytes(db: Kysely<ExchangeTables>, atMost: number): Promise<number> {
  const bytesOf = async (query: RawBuilder<{ bytes: string | number }>): Promise<number> =>
    Number((await query.execute(db)).rows[0]!.bytes);
  const total = await bytesOf(
    sql<{
      bytes: string;
    }>`select pg_total_relation_size('exchange_item') + pg_total_relation_size('exchange_topic') as bytes`,
  );
  if (total < atMost) return total;
  return bytesOf(
    sql<{ bytes: string }>`select coalesce(sum(size + ${ROW_BYTES}::bigint), 0) as bytes from exchange_item`,
  );
}

async function faulting<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof ExchangeFault ? error : toExchangeFault(toPostgresFault(error));
  }
}
