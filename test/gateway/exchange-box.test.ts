/** The sealed exchange over the real embedded one. The oracle is the exchange below it: what stands there, and what others put there. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { SealedExchange } from '../../src/gateway/exchange-box.ts';
import { sealedExchange } from '../../src/gateway/exchange-box.ts';
import { sealedBox } from '../../src/lib/sealed-box.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { EXCHANGE_TEXT_BYTES } from '../../src/store/exchange.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const LATER = { expiresAt: Date.now() + 3_600_000 };
const Note = z.strictObject({ said: z.string() });
const folder = mkdtempSync(join(tmpdir(), 'remit-exchange-box-'));
const file = join(folder, 'exchange.db');
let below: Exchange;
let sealed: SealedExchange;
let names = 0;
let name: string;

beforeAll(async () => {
  below = await openSqliteExchange(file);
  sealed = sealedExchange(below, [key(1)]);
});
afterAll(async () => {
  await below.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  name = `stream/${++names}`;
});

/** The sealed text of one value, as it stands in the database. */
async function sealedText(said: string, topic = name): Promise<string> {
  await sealed.topicOf(topic, Note).append([{ said }], LATER);
  return (await below.latest(topic))!.text;
}

test('values come back typed, numbered and in order; append, expect and remove are those of the exchange', async () => {
  const topic = sealed.topicOf(name, Note);
  expect(await topic.latest()).toBeNull();
  expect(await topic.append([{ said: 'a' }, { said: 'b' }], LATER)).toBe(2);
  expect(await topic.append([{ said: 'x' }], { ...LATER, expect: 1 })).toBeNull();
  expect(await topic.append([{ said: 'c' }], { ...LATER, expect: 2 })).toBe(3);
  expect(await topic.read(1, 10)).toEqual([
    { seq: 2, value: { said: 'b' } },
    { seq: 3, value: { said: 'c' } },
  ]);
  expect(await topic.read(3, 10)).toEqual([]);
  expect(await topic.latest()).toEqual({ seq: 3, value: { said: 'c' } });
  await topic.remove();
  expect(await topic.read(0, 10)).toEqual([]);
});

test('a watcher is called when something was appended', async () => {
  const topic = sealed.topicOf(name, Note);
  const called = Promise.withResolvers<void>();
  const stop = topic.watch(() => called.resolve());
  await topic.append([{ said: 'a' }], LATER);
  await called.promise;
  stop();
});

test('nothing of a conversation stands in the database or its write-ahead log', async () => {
  const canary = 'canary-5f0c1e77';
  expect(await sealedText(canary)).not.toContain(canary);
  // The twin: the same value put there without the box is found by the same search.
  await below.append(`${name}/twin`, ['canary-twin-5f0c'], LATER);
  const stored = [file, `${file}-wal`].map((path) => readFileSync(path, 'latin1')).join('');
  expect([stored.includes(canary), stored.includes('canary-twin-5f0c')]).toEqual([false, true]);
});

test('keys may rotate: the first seals, all open, and a key taken away makes its items absent', async () => {
  await sealed.topicOf(name, Note).append([{ said: 'old' }], LATER);
  const rotated = sealedExchange(below, [key(2), key(1)]).topicOf(name, Note);
  await rotated.append([{ said: 'new' }], LATER);
  expect((await rotated.read(0, 9)).map(({ value }) => value.said)).toEqual(['old', 'new']);
  const later = sealedExchange(below, [key(2)]).topicOf(name, Note);
  expect(await later.read(0, 9)).toEqual([{ seq: 2, value: { said: 'new' } }]);
});

describe('what is not ours, or not for this topic, is absent', () => {
  test('a text moved from another topic', async () => {
    const text = await sealedText('for the other', `${name}/other`);
    await below.append(name, [text], LATER);
    expect(await sealed.topicOf(name, Note).latest()).toBeNull();
    expect(await sealed.topicOf(name, Note).read(0, 9)).toEqual([]);
    // The twin: in a box that does not bind the name, a text opens wherever it was moved to.
    const unbound = sealedBox([key(1)], 'exchange');
    await below.append(`${name}/from`, [unbound.seal('moved')], LATER);
    await below.append(`${name}/to`, [(await below.latest(`${name}/from`))!.text], LATER);
    expect(unbound.open((await below.latest(`${name}/to`))!.text)).toBe('moved');
  });

  test('a text of this topic sealed for another purpose with the same key', async () => {
    await below.append(name, [sealedBox([key(1)], 'session').seal('{"said":"x"}', name)], LATER);
    expect(await sealed.topicOf(name, Note).latest()).toBeNull();
  });

  test('a text in clear', async () => {
    await below.append(name, ['{"said":"x"}', ''], LATER);
    expect(await sealed.topicOf(name, Note).read(0, 9)).toEqual([]);
  });

  test('a value that does not fit the schema; the newest one is not replaced by an older one', async () => {
    await sealed.topicOf(name, Note).append([{ said: 'fits' }], LATER);
    await sealed.topicOf(name, z.number()).append([7], LATER);
    expect(await sealed.topicOf(name, Note).latest()).toBeNull();
    expect(await sealed.topicOf(name, Note).read(0, 9)).toEqual([{ seq: 1, value: { said: 'fits' } }]);
  });

  test('any number of absent items hides nothing that stands behind them', async () => {
    await below.append(
      name,
      Array.from({ length: 25 }, () => 'noise'),
      LATER,
    );
    const topic = sealed.topicOf(name, Note);
    await topic.append([{ said: 'behind' }], LATER);
    expect(await topic.read(0, 10)).toEqual([{ seq: 26, value: { said: 'behind' } }]);
    await below.append(
      name,
      Array.from({ length: 25 }, () => 'noise'),
      LATER,
    );
    expect(await topic.read(26, 10)).toEqual([]);
  });

  test('any text with any one bit changed, moved to any other topic, cut or lengthened', async () => {
    const original = await sealedText('hello');
    const bytes = Buffer.from(original, 'base64url');
    let runs = 0;
    const holds = async (topic: string, text: string) => {
      await below.append(topic, [text], LATER);
      expect(await sealed.topicOf(topic, Note).latest()).toBeNull();
    };
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), fc.string({ maxLength: 20 }), async (bit, other) => {
        runs++;
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        await holds(name, flipped.toString('base64url'));
        await holds(name, original.slice(0, bit % original.length));
        await holds(name, original + original[bit % original.length]!);
        const elsewhere = `${other.replaceAll('\0', '').toWellFormed()}#${runs}`;
        await holds(elsewhere, original);
      }),
      { seed: 3, numRuns: 150 },
    );
    // The oracle is not blind: unchanged and in its place the text is read.
    await below.append(name, [original], LATER);
    expect((await sealed.topicOf(name, Note).latest())?.value).toEqual({ said: 'hello' });
  });
});

test('a value that cannot fit is refused, and nothing of its append is written', async () => {
  const topic = sealed.topicOf(name, Note);
  const large = { said: 'x'.repeat((EXCHANGE_TEXT_BYTES / 4) * 3) };
  await expect(topic.append([{ said: 'small' }, large], LATER)).rejects.toMatchObject({
    code: 'sealed_too_large',
    message: 'exchange: the text does not fit',
  });
  expect(await topic.read(0, 9)).toEqual([]);
});
