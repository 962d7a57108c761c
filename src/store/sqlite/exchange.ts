/**
 * The exchange in one embedded database file of its own (the port is ../exchange.ts), owned by one worker thread of one process.
 * Durable means less here than in the ledger: no fsync per append (WAL, synchronous=NORMAL). An acknowledged append survives the end
 * of the process, also kill -9. A power failure may take back the newest appends, whole transactions from the end and never one in
 * the middle: conversations go back a moment, no right and no record does.
 */
import type { ExchangeFaultCode, Exchange } from '../exchange.ts';
import { ExchangeFault } from '../exchange.ts';
import type { ExchangeOptions } from '../exchange-store.ts';
import { exchangeOver } from '../exchange-store.ts';
import type { ExchangeMethods } from './exchange-worker.ts';
import { workerModule } from '../../lib/worker-module.ts';
import { startDatabase } from './worker.ts';

/**
 * Opens or creates the database at `path` and brings it to this schema.
 * @throws ExchangeFault `exchange_locked` (another process has it), `exchange_unavailable` (also: damaged, or of a newer Remit).
 */
export async function openSqliteExchange(path: string, options: ExchangeOptions = {}): Promise<Exchange> {
  const thread = workerModule('./exchange-worker', import.meta.url);
  const database = await startDatabase<ExchangeMethods>(thread, path, (code, text) => {
    return new ExchangeFault((code ?? 'exchange_unavailable') as ExchangeFaultCode, text);
  });
  const backend = {
    append: database.method('append'),
    read: database.method('read'),
    latest: database.method('latest'),
    remove: database.method('remove'),
    sweep: database.method('sweep'),
    size: database.method('size'),
    close: () => database.end(new ExchangeFault('exchange_closed', 'the exchange is closed')),
  };
  return exchangeOver(backend, options).exchange;
}
