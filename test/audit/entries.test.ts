/** Entry builders and the canonical text: every kind reads back through the verifier, which shares no code with them. */
import { describe, expect, test } from 'vitest';
import {
  adminEntry,
  callEntry,
  clockEntry,
  denialEntry,
  gateEntry,
  intentEntry,
  keyEntry,
  outcomeEntry,
} from '../../src/audit/entries.ts';
import type { Stamp } from '../../src/audit/entries.ts';
import { entryText, MAX_ENTRY_BYTES } from '../../src/audit/entry-text.ts';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { sha256Hex } from '../../src/lib/bytes.ts';
import { readEntry } from '../../src/verify/entry.ts';
import { actor, allow, callFacts, DAY_MS, deny, fine } from './fixtures.ts';

const stamp: Stamp = {
  timeMs: DAY_MS,
  node: 'node-a',
  org: 'acme',
  ref: 'ref_1',
  trace: '0af7651916cd43dd8448eb211c80319c',
};
const call = callFacts('call_1');

const BUILT: readonly [string, AuditEntry][] = [
  ['intent', intentEntry(stamp, { actor, call, decision: allow })],
  ['outcome', outcomeEntry(stamp, { actor, call, outcome: fine, prev: 0 })],
  ['call', callEntry(stamp, { actor, call, decision: allow, outcome: fine })],
  ['denial', denialEntry(stamp, { actor, call, decision: deny })],
  ['denial', denialEntry(stamp, { decision: { ...deny, verdict: 'challenge', reason: 'token_missing' } })],
  ['denial', denialEntry(stamp, { actor, call, decision: { ...deny, verdict: 'hold' }, prev: 3 })],
  ['admin', adminEntry(stamp, { what: 'lock.added', revision: 9, tools: ['a', 'b'], note: null }, actor)],
  ['key', keyEntry(stamp, { what: 'created', vkey: 'a+00000000+AA==' })],
  ['clock', clockEntry(stamp)],
  ['gate', gateEntry(stamp, { what: 'recovered', unknown: 0, calls: [] })],
];

test.each(BUILT)('AE-01: an entry of kind %s is canonical, complete and known to the verifier', (kind, entry) => {
  const text = entryText(entry);
  expect(readEntry(Buffer.from(text))).toMatchObject({
    ok: true,
    unknown: [],
    entry: { kind, org: 'acme', timeMs: DAY_MS },
  });
  expect(JSON.parse(text)).toEqual(entry);
});

test('AE-01: a call entry carries the person, agent, token, definition, digests, policy revision, rules, reference and trace', () => {
  expect(JSON.parse(entryText(callEntry(stamp, { actor, call, decision: allow, outcome: fine })))).toMatchObject({
    time: '2026-03-01T09:00:00.000Z',
    ref: 'ref_1',
    trace: stamp.trace,
    actor: { subject: 'u-1001', person: 'person_ada', client: actor.client, token: 'tok-77', chain: ['agent-build'] },
    call: { id: 'call_1', definition: call.definition, args: call.args },
    decision: { revision: 12, rules: ['baseline-developer-write'], policy: allow.policy, approval: null },
    outcome: { status: 'ok', result: fine.result },
  });
});

describe('AE-11: the outcome says what looked at the result', () => {
  test.each([[['secrets@1', 'text']], [['uninspected:image']], [[]]])('inspected by %j', (inspected) => {
    const text = entryText(outcomeEntry(stamp, { actor, call, outcome: { ...fine, inspected }, prev: 0 }));
    expect((JSON.parse(text) as AuditEntry).outcome?.inspected).toEqual(inspected);
  });
});

describe('texts and lists over the limit', () => {
  const long = 'x'.repeat(20_000);

  test('a refused name of 20,000 letters is recorded by its beginning and its digest', () => {
    const text = entryText(denialEntry(stamp, { actor, call: { ...call, tool: long }, decision: deny }));
    const { tool } = (JSON.parse(text) as { call: { tool: string } }).call;
    expect(tool.endsWith(`…sha256:${sha256Hex(long)}`)).toBe(true);
    expect(tool.length).toBe(512);
  });

  test('the worst names a client can send still fit: every letter needs six bytes', () => {
    const worst = '\u0001'.repeat(100_000);
    const hostile = { ...call, id: 'call_1', method: worst, server: worst, tool: worst };
    const text = entryText(denialEntry(stamp, { actor, call: hostile, decision: deny }));
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_ENTRY_BYTES);
    expect(readEntry(Buffer.from(text))).toMatchObject({ ok: true });
  });

  test('a text at the limit stays as it is', () => {
    const exact = 'y'.repeat(512);
    expect(entryText(adminEntry(stamp, { what: 'x', note: exact }))).toContain(`"${exact}"`);
  });

  test('a lone surrogate and a cut surrogate pair become U+FFFD and stay recordable', () => {
    const text = entryText(
      denialEntry(stamp, { call: { ...call, tool: 'a\ud800b', server: '😀'.repeat(400) }, decision: deny }),
    );
    expect(readEntry(Buffer.from(text))).toMatchObject({ ok: true });
    expect(text).toContain('"a\ufffdb"');
  });

  test('a long list keeps its beginning and says how much it left out', () => {
    const rules = Array.from({ length: 500 }, (_, i) => `r${i}`);
    const text = entryText(denialEntry(stamp, { decision: { ...deny, rules } }));
    const kept = (JSON.parse(text) as AuditEntry).decision?.rules;
    expect(kept).toHaveLength(129);
    expect(kept?.at(-1)).toBe('…and 372 more');
  });

  test('the same entry always gives the same text', () => {
    const make = () => entryText(denialEntry(stamp, { call: { ...call, tool: long }, decision: deny }));
    expect(make()).toBe(make());
  });

  test('what does not fit even then is refused, so that the call is', () => {
    const event = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`k${i}`, long]));
    expect(() => entryText(adminEntry(stamp, { what: 'x', ...event }))).toThrow(
      expect.objectContaining({ code: 'ledger_entry_too_large', message: 'an entry of kind admin is over 8192 bytes' }),
    );
  });
});
