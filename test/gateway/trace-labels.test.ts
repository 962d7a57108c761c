/** Labels of traces over the real embedded exchange: bounds, window, nodes, and a plain model of what they must be at least. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { z } from 'zod';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sealedExchange } from '../../src/gateway/exchange-box.ts';
import {
  ALL_BITS,
  LABELS,
  NO_LABELS,
  UNTRUSTED as UNTRUSTED_BIT,
  combinationsOf,
  labelsOf,
} from '../../src/policy/labels.ts';
import type { Label } from '../../src/policy/labels.ts';
import { MAX_SESSIONS, MAX_TRACES, traceLabels } from '../../src/gateway/trace-labels.ts';
import type { Trace, TraceLabels } from '../../src/gateway/trace-labels.ts';
import { SESSION_MS } from '../../src/gateway/session-book.ts';
import { sha256Hex } from '../../src/lib/bytes.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';

const WINDOW_MS = 60_000;
const SLACK_MS = WINDOW_MS / 8;
const KEYS = [new Uint8Array(32).fill(1)];
const NONE = NO_LABELS;
const UNTRUSTED = { ...NONE, untrusted: true };
const PRIVATE = { ...NONE, private: true };
const BOTH = { ...NONE, untrusted: true, private: true };

const folder = mkdtempSync(join(tmpdir(), 'remit-labels-'));
const clock = manualClock(1_800_000_000_000);
let below: Exchange;
let appends = 0;
let broken = false;
let person = '';
let people = 0;
const node = (): TraceLabels => {
  const exchange: Exchange = {
    ...below,
    append: (...given) => {
      appends++;
      return broken ? Promise.reject(new Error('gone')) : below.append(...given);
    },
    latest: (topic) => (broken ? Promise.reject(new Error('gone')) : below.latest(topic)),
  };
  return traceLabels(sealedExchange(exchange, KEYS), clock, WINDOW_MS);
};
const trace = (more: Partial<Trace> = {}): Trace => ({
  person,
  agent: 'a',
  actors: [],
  session: null,
  joins: [],
  ...more,
});

beforeAll(async () => {
  below = await openSqliteExchange(join(folder, 'exchange.db'), { clock });
});
afterAll(async () => {
  await below.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  person = `p${++people}`;
  appends = 0;
  broken = false;
});

test('AZ-10: a label is there once `mark` has resolved, on every node, and on one that starts later', async () => {
  const [one, other] = [node(), node()];
  await one.mark(trace(), UNTRUSTED);
  expect(one.peek(trace()).labels).toEqual(UNTRUSTED);
  expect((await other.load(trace())).labels).toEqual(UNTRUSTED);
  await other.mark(trace(), PRIVATE);
  expect((await one.load(trace())).labels).toEqual(BOTH);
  expect((await node().load(trace())).labels).toEqual(BOTH);
});

test('AZ-10: it is the person with the agent, and nobody else', async () => {
  const labels = node();
  await labels.mark(trace({ session: 's' }), BOTH);
  for (const other of [trace({ agent: 'b' }), trace({ person: 'somebody' }), trace({ agent: 'b', session: 's' })])
    expect((await labels.load(other)).labels).toEqual(NONE);
  expect((await labels.load(trace({ session: 'another' }))).labels).toEqual(BOTH);
  expect((await labels.load(trace({ agent: 'b', actors: ['a'] }))).labels).toEqual(BOTH);
});

test('AZ-10: who acts for an agent labels both', async () => {
  const labels = node();
  await labels.mark(trace({ agent: 'hand', actors: ['planner'] }), UNTRUSTED);
  expect((await labels.load(trace({ agent: 'planner' }))).labels).toEqual(UNTRUSTED);
  expect((await labels.load(trace({ agent: 'hand' }))).labels).toEqual(UNTRUSTED);
});

test('AZ-10: it lasts for the window after the last output, a little longer, and in its session as long as a session', async () => {
  const labels = node();
  await labels.mark(trace({ session: 's' }), BOTH);
  clock.advance(WINDOW_MS);
  expect((await labels.load(trace())).labels).toEqual(BOTH);
  clock.advance(SLACK_MS);
  expect((await labels.load(trace())).labels).toEqual(NONE);
  expect((await node().load(trace({ session: 's' }))).labels).toEqual(BOTH);
  clock.advance(SESSION_MS - WINDOW_MS - SLACK_MS);
  expect((await labels.load(trace({ session: 's' }))).labels).toEqual(NONE);
});

test('AZ-10: labelled already, nothing is written and nothing waited for', async () => {
  const labels = node();
  expect(labels.mark(trace({ session: 's' }), BOTH)).not.toBeNull();
  await labels.mark(trace({ session: 's' }), BOTH);
  expect(appends).toBe(1);
  clock.advance(SLACK_MS / 2);
  expect(labels.mark(trace({ session: 's' }), UNTRUSTED)).toBeNull();
  await Promise.all(Array.from({ length: 50 }, async () => labels.mark(trace({ agent: 'b' }), BOTH)));
  expect(appends).toBe(2);
  clock.advance(SLACK_MS);
  await labels.mark(trace({ session: 's' }), UNTRUSTED);
  expect(appends).toBe(3);
});

test('AZ-10: of many sessions the oldest is forgotten, and all they do is labelled for as long as that one could last', async () => {
  const labels = node();
  await labels.mark(trace({ session: 'first' }), BOTH);
  for (let at = 0; at < MAX_SESSIONS; at++) await labels.mark(trace({ session: `s${at}` }), UNTRUSTED);
  clock.advance(SESSION_MS - 1);
  expect((await labels.load(trace({ session: 'first' }))).labels).toEqual(BOTH);
  expect((await labels.load(trace({ session: 'never seen' }))).labels).toEqual(BOTH);
  clock.advance(1);
  expect((await labels.load(trace({ session: 'first' }))).labels).toEqual(NONE);
});

describe('without the exchange', () => {
  test('AZ-10: nobody is labelled, so nothing may leave, and who is not known to be labelled cannot be known not to be', async () => {
    const labels = node();
    broken = true;
    await expect(labels.mark(trace(), UNTRUSTED)).rejects.toThrow('gone');
    await expect(labels.load(trace())).rejects.toThrow('gone');
    broken = false;
    await labels.mark(trace(), UNTRUSTED);
    expect((await labels.load(trace())).labels).toEqual(UNTRUSTED);
  });
});

test('AZ-10: two nodes in any order know at least what a model knows, and nothing of others', async () => {
  const step = fc.oneof(
    fc.record({
      what: fc.constant('mark' as const),
      at: fc.nat(1),
      agent: fc.constantFrom('a', 'b'),
      session: fc.constantFrom(null, 's', 't'),
      join: fc.constantFrom(null, '1', '2'),
      given: fc.constantFrom(...combinationsOf(ALL_BITS).slice(1).map(labelsOf)),
    }),
    fc.record({ what: fc.constant('wait' as const), ms: fc.constantFrom(1, WINDOW_MS / 2, WINDOW_MS, WINDOW_MS * 2) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      person = `p${++people}`;
      const nodes = [node(), node()];
      /** Per agent: what came when, in which session and W3C trace. */
      const came: Array<{
        agent: string;
        session: string | null;
        join: string | null;
        label: Label;
        at: number;
      }> = [];
      for (const one of steps) {
        if (one.what === 'wait') clock.advance(one.ms);
        else {
          const { agent, session, join, given } = one;
          await nodes[one.at]!.mark(
            trace({ agent, session, joins: join === null ? [] : [`${person}\n${join}`] }),
            given,
          );
          for (const label of LABELS) if (given[label]) came.push({ agent, session, join, label, at: clock.now() });
        }
        for (const agent of ['a', 'b'])
          for (const session of [null, 's', 't']) {
            const now = clock.now();
            const since = (label: Label, ms: number): boolean =>
              came.some(
                (it) =>
                  it.agent === agent &&
                  it.label === label &&
                  (now - it.at < ms || (it.session !== null && it.session === session)),
              );
            for (const asked of nodes) {
              const known = (await asked.load(trace({ agent, session }))).labels;
              for (const label of LABELS) {
                if (since(label, WINDOW_MS)) expect(known[label]).toBe(true);
                if (!since(label, WINDOW_MS + SLACK_MS)) expect(known[label]).toBe(false);
              }
            }
          }
        // Somebody to whom nothing came knows what came in the trace they name.
        for (const join of ['1', '2'])
          for (const asked of nodes) {
            const known = (await asked.load(trace({ agent: 'c', joins: [`${person}\n${join}`] }))).labels;
            for (const label of LABELS) {
              const since = (ms: number): boolean =>
                came.some((it) => it.join === join && it.label === label && clock.now() - it.at < ms);
              if (since(WINDOW_MS)) expect(known[label]).toBe(true);
              if (!since(WINDOW_MS + SLACK_MS)) expect(known[label]).toBe(false);
            }
          }
      }
    }),
    { numRuns: 25, seed: 20261122 },
  );
});

test('AZ-10: confidential, regulated and secret data are private data, too', async () => {
  const [one, other] = [node(), node()];
  for (const label of ['confidential', 'regulated', 'secret'] as const) {
    person = `p${++people}`;
    await one.mark(trace(), { [label]: true });
    expect((await other.load(trace())).labels).toEqual({ ...NONE, private: true, [label]: true });
  }
});

test('AZ-10: what an earlier release wrote is read, and written on', async () => {
  const until = clock.now() + WINDOW_MS;
  const ends = { untrusted: until, private: 0 };
  const topic = sealedExchange(below, KEYS).topicOf(`labels/${sha256Hex(`${person}\na`)}`, z.json());
  await topic.append([{ ...ends, sessions: [{ id: 's', ...ends }] }], { expiresAt: until, replaces: true });
  const labels = node();
  expect((await labels.load(trace())).labels).toEqual(UNTRUSTED);
  await labels.mark(trace(), { secret: true });
  expect((await node().load(trace())).labels).toEqual({ ...BOTH, secret: true });
});

test('AZ-10: only what matters is asked for: what this node knows of it already is not read again', async () => {
  const labels = node();
  await labels.mark(trace(), UNTRUSTED);
  await node().mark(trace(), { regulated: true });
  broken = true;
  expect((await labels.load(trace(), UNTRUSTED_BIT)).labels).toEqual(UNTRUSTED);
  await expect(labels.load(trace())).rejects.toThrow('gone');
});

describe('a W3C trace joins agents', () => {
  /** Each test in one of its own. */
  let join = '';
  beforeEach(() => void (join = `org\n${person}`));
  const other = (more: Partial<Trace> = {}): Trace => trace({ person: `other-${person}`, agent: 'b', ...more });
  const reader = { from: null, remembered: true };

  test('AZ-10: what one of them received, all of them received, on every node, and on one that starts later', async () => {
    const [one, another] = [node(), node()];
    await one.mark(trace({ joins: [join] }), BOTH);
    const named = other({ joins: [join] });
    const expected = { labels: BOTH, joined: { labels: BOTH, from: [] } };
    expect(one.peek(named)).toMatchObject(expected);
    for (const asked of [one, another, node()]) expect(await asked.load(named)).toMatchObject(expected);
    // Who received it did not receive it from others.
    for (const asked of [one, another])
      expect(await asked.load(trace({ joins: [join] }))).toMatchObject({ labels: BOTH, joined: null });
  });

  test('AZ-10: twin: who names none, another one, or that of another organisation, has what the agent has', async () => {
    const labels = node();
    await labels.mark(trace({ joins: [join] }), BOTH);
    for (const joins of [[], [`${join}1`], [`an${join}`]])
      expect(await labels.load(other({ joins }))).toMatchObject({ labels: NONE, joined: null });
    for (const joins of [[], [`${join}1`]]) expect((await labels.load(trace({ joins }))).labels).toEqual(BOTH);
  });

  test('AZ-10: it adds to what an agent has, takes nothing away, and ends with the window, whatever a session does', async () => {
    const labels = node();
    await labels.mark(other(), PRIVATE);
    await labels.mark(trace({ session: 's', joins: [join] }), BOTH);
    await labels.mark(other({ joins: [join] }), { secret: true });
    const all = { ...BOTH, secret: true };
    expect(await labels.load(other({ joins: [join] }))).toMatchObject({
      labels: all,
      joined: { labels: UNTRUSTED, from: [] },
    });
    clock.advance(WINDOW_MS - 1);
    expect((await node().load(other({ joins: [join] }))).labels).toEqual(all);
    clock.advance(SLACK_MS + 1);
    expect(await labels.load(other({ joins: [join] }))).toMatchObject({ labels: NONE, joined: null });
    expect((await labels.load(trace({ session: 's' }))).labels).toEqual(BOTH);
  });

  test('AZ-10: what only this agent received is never said to have come from another one', async () => {
    const labels = node();
    await labels.mark(trace(), BOTH, { from: 'crm', remembered: false });
    clock.advance(SLACK_MS - 1);
    // The agent is labelled for long enough, its trace is not yet.
    await labels.mark(trace({ joins: [join] }), BOTH, { from: 'crm', remembered: false });
    expect(appends).toBe(2);
    for (const ms of [0, WINDOW_MS, 1, 1, SLACK_MS]) {
      clock.advance(ms);
      expect((await labels.load(trace({ joins: [join] }))).joined).toBeNull();
    }
  });

  test('AZ-10: servers are told by who received something from them', async () => {
    const labels = node();
    await labels.mark(trace({ joins: [join] }), UNTRUSTED, { from: 'tracker', remembered: false });
    await labels.mark(other({ joins: [join] }), PRIVATE, { from: 'crm', remembered: false });
    expect(await node().load(other({ joins: [join] }))).toMatchObject({
      labels: BOTH,
      from: ['crm', 'tracker'],
      joined: { labels: UNTRUSTED, from: ['tracker'] },
    });
  });

  test('AZ-10: labelled already, nothing is written; where it cannot be written, nothing may leave', async () => {
    const labels = node();
    await labels.mark(trace(), BOTH);
    broken = true;
    await expect(labels.mark(trace({ joins: [join] }), BOTH)).rejects.toThrow('gone');
    await expect(labels.load(other({ joins: [join] }))).rejects.toThrow('gone');
    broken = false;
    await labels.mark(trace({ joins: [join] }), BOTH);
    expect(labels.mark(trace({ joins: [join] }), BOTH)).toBeNull();
    // What another node wrote is not written again.
    const before = appends;
    await node().mark(trace({ joins: [join] }), BOTH);
    expect(appends).toBe(before);
  });

  test('AZ-10: who names a new one with every call fills a share that takes nothing from others', async () => {
    const labels = node();
    await labels.mark(trace({ joins: [join] }), UNTRUSTED);
    for (let at = 0; at < MAX_TRACES; at++) await labels.mark(other({ joins: [`${join} ${at}`] }), PRIVATE);
    const before = appends;
    for (let at = 0; at < 10; at++) await labels.mark(other({ joins: [`${join} more ${at}`] }), PRIVATE);
    expect(appends).toBe(before);
    const third = (id: string): Trace => trace({ person: `third-${person}`, joins: [id] });
    expect(labels.peek(third(`${join} ${MAX_TRACES - 1}`)).labels).toEqual(PRIVATE);
    expect((await labels.load(third(`${join} more 1`))).labels).toEqual(NONE);
    // The trace of others is in memory still, and who has no share left adds to it all the same.
    expect(labels.peek(third(join)).labels).toEqual(UNTRUSTED);
    await labels.mark(other({ joins: [join] }), PRIVATE);
    expect(labels.peek(third(join)).labels).toEqual(BOTH);
    // Others have a share of their own; so has this one after a window.
    await labels.mark(trace({ joins: [`${join} mine`] }), PRIVATE);
    expect(labels.peek(third(`${join} mine`)).labels).toEqual(PRIVATE);
    clock.advance(WINDOW_MS);
    await labels.mark(other({ joins: [`${join} later`] }), PRIVATE);
    expect(labels.peek(third(`${join} later`)).labels).toEqual(PRIVATE);
  });

  test('CI-08: what one of them read is recognised in what another one sends, where it was read', async () => {
    const text = 'Anna Berg, born 12 March 1971, has not paid since June; the lawyers have the file.';
    const source = { server: 'crm', confidential: true, regulated: false };
    const labels = node();
    await labels.mark(trace({ joins: [join] }), { confidential: true }, reader);
    labels.remember(trace({ joins: [join] }), source, text, {});
    const here = await labels.load(other({ joins: [join] }));
    expect(here.unknownText).toBe(false);
    expect(labels.recognise(here.books, { text })).toEqual([source]);
    expect(labels.recognise(here.books, { text: 'nothing of anybody, but long enough to be compared' })).toEqual([]);
    expect(labels.recognise((await labels.load(other())).books, { text })).toEqual([]);
    // Another node knows that it does not know.
    expect((await node().load(other({ joins: [join] }))).unknownText).toBe(true);
    // So does this one of what nobody asked it to remember.
    await labels.mark(other({ joins: [join] }), { confidential: true });
    expect((await labels.load(trace({ person: 'third', joins: [join] }))).unknownText).toBe(true);
  });

  test('CI-08: text of more agents than are told apart counts as text that is not known', async () => {
    const labels = node();
    const third = trace({ person: 'third', joins: [join] });
    for (let at = 0; at < 8; at++) {
      await labels.mark(trace({ agent: `a${at}`, joins: [join] }), { confidential: true }, reader);
      expect((await labels.load(third)).unknownText).toBe(false);
    }
    await labels.mark(trace({ agent: 'a8', joins: [join] }), { confidential: true }, reader);
    expect((await labels.load(third)).unknownText).toBe(true);
    const before = appends;
    for (const agent of ['a0', 'a7', 'a8'])
      expect(labels.mark(trace({ agent, joins: [join] }), { confidential: true }, reader)).toBeNull();
    expect(appends).toBe(before);
  });
});
