/** Letters between nodes: taken once, by who they are for, while somebody waits; over a real SQLite exchange. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sealedExchange } from '../../src/gateway/exchange-box.ts';
import { mail } from '../../src/gateway/mail.ts';
import type { Mail, Take } from '../../src/gateway/mail.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { until } from '../support/upstreams/open.ts';

const clock = manualClock(Date.UTC(2026, 0, 1));
const keys = [randomBytes(32)];
const dir = mkdtempSync(join(tmpdir(), 'remit-mail-'));
const faults: unknown[] = [];
let exchange: Exchange;
let post: Mail;
beforeAll(async () => {
  exchange = await openSqliteExchange(join(dir, 'exchange.db'), { clock });
  post = mail(sealedExchange(exchange, keys), clock, (error) => void faults.push(error));
});
afterAll(async () => {
  await exchange.close();
  rmSync(dir, { recursive: true, force: true });
});

const collecting =
  (bodies: JsonObject[]): Take =>
  (body) => {
    bodies.push(body);
    return Promise.resolve(null);
  };
const periodTopic = (node: string): string => `node/${node}/${Math.floor(clock.now() / 600_000)}`;

test('a question is answered by the node it is for, and by no other', async () => {
  const taken: string[] = [];
  const take =
    (name: string) =>
    async (body: JsonObject): Promise<JsonObject> => {
      taken.push(name);
      return { by: name, what: body['what']! };
    };
  const stops = await Promise.all([post.attend('a', take('a')), post.attend('b', take('b'))]);
  expect(await post.ask('b', { what: 'this' }, 5_000, null)).toEqual({ by: 'b', what: 'this' });
  expect(taken).toEqual(['b']);
  for (const stop of stops) stop();
});

test('a node that does not exist gets no more than its time, and no rejection', async () => {
  expect(await post.ask('nobody', {}, 100, null)).toBeNull();
  expect(await post.ask('\0', {}, 100, null)).toBeNull();
  expect(faults.splice(0)).toHaveLength(1);
});

test('whoever took a question is told when nobody waits any more', async () => {
  const bodies: JsonObject[] = [];
  let letter = '';
  const stop = await post.attend('c', (body, id) => {
    bodies.push(body);
    if (body['kind'] === 'gone') return Promise.resolve(null);
    letter = id;
    return new Promise(() => undefined);
  });
  const waiting = new AbortController();
  const asked = post.ask('c', { what: 'slow' }, 60_000, waiting.signal);
  await until('it is taken', () => bodies.length === 1);
  waiting.abort();
  expect(await asked).toBeNull();
  await until('it is told', () => bodies.length === 2);
  expect(bodies[1]).toEqual({ kind: 'gone', letter });
  stop();
});

test('a letter is taken once, however often it stands in the database', async () => {
  const bodies: JsonObject[] = [];
  const stop = await post.attend('d', collecting(bodies));
  await post.tell('d', { n: 1 });
  await until('it is taken', () => bodies.length === 1);
  const [item] = await exchange.read(periodTopic('d'), 0, 10);
  await exchange.append(periodTopic('d'), [item!.text, item!.text], { expiresAt: clock.now() + 60_000 });
  await post.tell('d', { n: 2 });
  await until('the next one is taken', () => bodies.length > 1);
  expect(bodies).toEqual([{ n: 1 }, { n: 2 }]);
  stop();
});

test('a letter that was not sealed for this topic is no letter', async () => {
  const bodies: JsonObject[] = [];
  const stop = await post.attend('e', collecting(bodies));
  await post.tell('f', { n: 'for another' });
  const [item] = await exchange.read(periodTopic('f'), 0, 10);
  await exchange.append(periodTopic('e'), [item!.text, '{"id":"x","sentAt":0,"body":{}}'], {
    expiresAt: clock.now() + 60_000,
  });
  await post.tell('e', { n: 1 });
  await until('the one is taken', () => bodies.length > 0);
  expect(bodies).toEqual([{ n: 1 }]);
  stop();
});

test('what was sent before a node lived, or too long ago, is not taken', async () => {
  const bodies: JsonObject[] = [];
  await post.tell('g', { n: 'before' });
  const stop = await post.attend('g', collecting(bodies));
  await post.tell('g', { n: 'in time' });
  await until('the one is taken', () => bodies.length > 0);
  expect(bodies).toEqual([{ n: 'in time' }]);
  stop();
});
