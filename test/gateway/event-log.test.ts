/** Events kept for resuming: order, no holes, bounds, ids; over a real SQLite exchange. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventLogs, newStream, readEventId } from '../../src/gateway/event-log.ts';
import type { EventLogs } from '../../src/gateway/event-log.ts';
import { sealedExchange } from '../../src/gateway/exchange-box.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { ExchangeFault } from '../../src/store/exchange.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { until } from '../support/upstreams/open.ts';

const dir = mkdtempSync(join(tmpdir(), 'remit-event-log-'));
const keys = [randomBytes(32)];
let exchange: Exchange;
let logs: EventLogs;
beforeAll(async () => {
  exchange = await openSqliteExchange(join(dir, 'exchange.db'));
  logs = eventLogs(sealedExchange(exchange, keys), systemClock);
});
afterAll(async () => {
  await exchange.close();
  rmSync(dir, { recursive: true, force: true });
});

const ABOUT = { server: 'notes', tool: 'read_note' };
const NEVER = new AbortController().signal;

async function read(from: EventLogs, session: string, id: string, idleMs = 50) {
  const seen: string[] = [];
  const name = readEventId(id)!;
  const how = await from.follow(
    session,
    name,
    async (item, at) => void (item.kind === 'event' && seen.push(`${at.split('.')[1]} ${item.data}`)),
    NEVER,
    idleMs,
  );
  return { how, seen };
}

test('L7: what was kept is read from any event on, in order, with the ids that were given out, up to the end', async () => {
  const stream = newStream('call');
  const writer = logs.open('session-a', stream, ABOUT);
  const ids = [writer.append(''), writer.append('one'), writer.append('two')];
  expect(ids).toEqual([`${stream}.2`, `${stream}.3`, `${stream}.4`]);
  writer.end();
  expect(await read(logs, 'session-a', ids[0]!, 5_000)).toEqual({ how: 'over', seen: ['3 one', '4 two'] });
  expect(await read(logs, 'session-a', ids[2]!, 5_000)).toEqual({ how: 'over', seen: [] });
  expect(await logs.find('session-a', stream)).toEqual(ABOUT);
});

test('AZ-09: under the nonce of another session there is no such stream', async () => {
  const stream = newStream('call');
  const writer = logs.open('session-b', stream, ABOUT);
  const id = writer.append('secret');
  writer.end();
  await until('kept', async () => (await logs.find('session-b', stream)) !== null);
  expect(await logs.find('session-a', stream)).toBeNull();
  expect(await read(logs, 'session-a', id)).toEqual({ how: 'quiet', seen: [] });
});

test('what the exchange holds tells nobody what was said', async () => {
  const stream = newStream('call');
  const writer = logs.open('session-c', stream, ABOUT);
  writer.append('a very particular sentence');
  writer.end();
  await until('kept', async () => (await logs.find('session-c', stream)) !== null);
  const items = await exchange.read(`stream/session-c/${stream}`, 0, 10);
  expect(JSON.stringify(items)).not.toContain('particular');
});

test('1000 events of one turn are kept in order', async () => {
  const stream = newStream('call');
  const writer = logs.open('session-d', stream, ABOUT);
  const first = writer.append('0');
  for (let n = 1; n < 1000; n++) writer.append(String(n));
  writer.end();
  const { how, seen } = await read(logs, 'session-d', first, 5_000);
  expect(how).toBe('over');
  expect(seen).toEqual(Array.from({ length: 999 }, (_, n) => `${n + 3} ${n + 1}`));
});

test.each([
  ['an exchange that fails once', { failAt: 2, big: false }],
  ['more than may wait', { failAt: 0, big: true }],
])('INVARIANT: after %s nothing more is kept: a hole is never replayed', async (_what, { failAt, big }) => {
  let appends = 0;
  const failing: Exchange = {
    ...exchange,
    append(topic, texts, options) {
      if (texts.length > 0 && ++appends === failAt)
        return Promise.reject(new ExchangeFault('exchange_unavailable', 'no'));
      return exchange.append(topic, texts, options);
    },
  };
  const own = eventLogs(sealedExchange(failing, keys), systemClock);
  const stream = newStream('call');
  const session = `session-${String(big)}`;
  const writer = own.open(session, stream, ABOUT);
  writer.append('first');
  await until('kept', async () => (await own.find(session, stream)) !== null);
  for (let n = 0; n < 3; n++) writer.append(big ? 'x'.repeat(5 * 1_048_576) : `event ${n}`);
  await until('it is given up', async () => (await own.find(session, stream)) === null);
  writer.append('last');
  writer.end();
  await new Promise((resolve) => setImmediate(resolve));
  const { seen } = await read(own, session, `${stream}.1`);
  expect(seen).toEqual([]);
});

test('whoever follows is told to stop by a signal', async () => {
  const stream = newStream('call');
  const writer = logs.open('session-e', stream, ABOUT);
  writer.append('one');
  const stop = new AbortController();
  const following = logs.follow('session-e', { stream, seq: 0 }, () => Promise.resolve(), stop.signal, 60_000);
  stop.abort();
  expect(await following).toBe('stopped');
  writer.end();
});

test('reads its own event ids and nothing else, whatever it is given', () => {
  const kinds = fc.constantFrom('call' as const, 'session' as const);
  fc.assert(
    fc.property(kinds, fc.integer({ min: 0, max: 999_999_999 }), (kind, seq) => {
      const stream = newStream(kind);
      expect(readEventId(`${stream}.${seq}`)).toEqual({ kind, stream, seq });
    }),
    { seed: 8, numRuns: 100 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), (text) => {
      const read = readEventId(text);
      expect(read === null || /^[cs][A-Za-z0-9_-]{16}$/.test(read.stream)).toBe(true);
    }),
    { seed: 9, numRuns: 1_000 },
  );
});
