/**
 * The thread that owns the exchange's database file: the only writer there is. Started by exchange.ts; speaks the protocol of worker.ts.
 * One message is one transaction; no fsync (synchronous=NORMAL), see exchange.ts for what that means.
 */
import type { DatabaseSync } from 'node:sqlite';
import { toExchangeFault } from '../engine-fault.ts';
import { ExchangeFault } from '../exchange.ts';
import type { PendingAppend } from '../exchange-queries.ts';
import { exchangeWrites, readItems, readLatest } from '../exchange-queries.ts';
import { exchangeMigrations } from '../migrations/exchange.ts';
import type { ExchangeTables } from '../schema.ts';
import type { Statements } from '../statements.ts';
import { toSqliteFault } from './fault.ts';
import type { OpenDatabase } from './open.ts';
import { openDatabase } from './open.ts';
import { transactAtOnce } from './transact.ts';
import { serveDatabase } from './worker.ts';
import { isDiskError, oneWriter } from './writer.ts';

export type ExchangeMethods = ReturnType<typeof exchangeMethods>;

function exchangeMethods({ db, file }: OpenDatabase<ExchangeTables>) {
  const write = oneWriter(isDiskError);
  const transact = transactAtOnce(file);
  const { append, remove, sweep } = exchangeWrites(db);
  const writing = <R>(statements: () => Statements<R>): Promise<R> => write(async () => transact(statements()));
  return {
    append: (appends: readonly PendingAppend[], now: number) => writing(() => append(appends, now)),
    read: (topic: string, after: number, limit: number, now: number) => readItems(db, topic, after, limit, now),
    latest: (topic: string, now: number) => readLatest(db, topic, now),
    remove: (topic: string) => writing(() => remove(topic)),
    sweep: (now: number) => writing(() => sweep(now, false)),
    size: async () => usedBytes(file),
    close: () => db.destroy(),
  };
}

/** The file does not shrink: freed pages are used again, and do not count. */
function usedBytes(file: DatabaseSync): number {
  const pragma = (name: string): number => Number(Object.values(file.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
  return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
}

async function open(path: string): Promise<ExchangeMethods> {
  return exchangeMethods(await openDatabase<ExchangeTables>(path, 'exchange', exchangeMigrations, 'NORMAL'));
}

await serveDatabase(open, (error) => (error instanceof ExchangeFault ? error : toExchangeFault(toSqliteFault(error))));
