/**
 * The queue in front of an exchange: appends that arrive together become one transaction, and while it is written the next one gathers.
 * Bounded in appends and in bytes; beyond that it refuses instead of holding what the database cannot take. It knows no database.
 */
import { toExchangeFault } from './engine-fault.ts';
import { ExchangeFault } from './exchange.ts';
import type { PendingAppend } from './exchange-queries.ts';

/** All waiting and being written, at most. */
const QUEUE_APPENDS = 8192;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** One transaction, at most; a single append may be larger than that. */
const BATCH_APPENDS = 512;
const BATCH_BYTES = 4 * 1024 * 1024;

interface Waiting extends PendingAppend {
  readonly bytes: number;
  readonly resolve: (number: number | null) => void;
  readonly reject: (fault: ExchangeFault) => void;
}

/**
 * @param write Makes all of them durable or none; what each append is answered. In the order they came.
 * @returns how to append. @throws ExchangeFault `exchange_unavailable`, also when too much waits.
 */
export function appendQueue(
  write: (appends: readonly PendingAppend[]) => Promise<readonly (number | null)[]>,
): (append: PendingAppend, bytes: number) => Promise<number | null> {
  let waiting: Waiting[] = [];
  let count = 0;
  let bytes = 0;
  let running = false;

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      const batch = takeBatch();
      try {
        const numbers = await write(
          batch.map(({ topic, texts, expiresAt, expect, replaces }) => ({ topic, texts, expiresAt, expect, replaces })),
        );
        batch.forEach((one, i) => one.resolve(numbers[i] ?? null));
      } catch (error) {
        const fault = toExchangeFault(error);
        for (const one of batch) one.reject(fault);
      }
      count -= batch.length;
      for (const one of batch) bytes -= one.bytes;
    }
    running = false;
  }

  function takeBatch(): Waiting[] {
    let size = 0;
    let end = 0;
    while (end < waiting.length && end < BATCH_APPENDS && size < BATCH_BYTES) size += waiting[end++]!.bytes;
    const batch = waiting.slice(0, end);
    waiting = waiting.slice(end);
    return batch;
  }

  return (append, size) => {
    if (count >= QUEUE_APPENDS || (count > 0 && bytes + size > QUEUE_BYTES)) {
      const message = `${count} messages of ${bytes} bytes wait for the exchange; try again later`;
      return Promise.reject(new ExchangeFault('exchange_unavailable', message));
    }
    count++;
    bytes += size;
    return new Promise((resolve, reject) => {
      waiting.push({ ...append, bytes: size, resolve, reject });
      if (running) return;
      running = true;
      setImmediate(() => void run());
    });
  };
}
