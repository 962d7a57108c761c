/**
 * LISTEN on a connection of its own, opened again whenever it is lost. A wake-up is a hint: what was missed while the connection
 * was down is found by whoever polls behind it, and each new connection wakes once for the same reason.
 */
import type { Client } from 'pg';
import { openSession } from './open.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5000;

/**
 * @param wake Is given what NOTIFY carried; null after a new connection: anything may have happened before it.
 * @returns how to stop.
 */
export function listen(
  url: string,
  schema: string,
  channel: string,
  wake: (payload: string | null) => void,
): () => Promise<void> {
  let stopped = false;
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = FIRST_RETRY_MS;
  let connecting: Promise<void> = connect();

  async function connect(): Promise<void> {
    let session: Client;
    try {
      session = await openSession(url, schema);
    } catch {
      retry();
      return;
    }
    session.on('notification', ({ payload }) => wake(payload ?? ''));
    session.once('end', retry);
    client = session;
    try {
      await session.query(`listen "${channel}"`);
      retryMs = FIRST_RETRY_MS;
      wake(null);
    } catch {
      await session.end().catch(() => undefined); // its `end` tries again
    }
  }

  function retry(): void {
    client = undefined;
    if (stopped) return;
    timer = setTimeout(() => {
      connecting = connect();
    }, retryMs);
    timer.unref();
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  }

  return async () => {
    stopped = true;
    clearTimeout(timer);
    await connecting;
    clearTimeout(timer);
    await client?.end();
  };
}
