import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { inputRequiredResult, readInputRequired } from '../../src/protocol/input-required.ts';
import type { Facing } from '../../src/protocol/results.ts';
import { MODERN } from '../../src/protocol/versions.ts';

const serverInfo = { name: 'remit', version: '0.1.0' };
const NEW: Facing = { era: 'modern', version: MODERN, serverInfo };
const OLD: Facing = { era: 'legacy', version: '2025-11-25', serverInfo };
const _meta = { 'io.modelcontextprotocol/serverInfo': serverInfo };
const roots = { method: 'roots/list', params: {} };

describe('what we ask', () => {
  test.each<[string, JsonObject | null, string | null, JsonObject]>([
    ['questions and a state', { q: roots }, 's', { inputRequests: { q: roots }, requestState: 's' }],
    ['questions alone', { q: roots }, null, { inputRequests: { q: roots } }],
    ['a state alone', null, '', { requestState: '' }],
    ['no question among questions', {}, 's', { requestState: 's' }],
  ])('%s, never with cache hints (M10)', (_title, asks, state, members) => {
    expect(inputRequiredResult(NEW, asks, state)).toEqual({ resultType: 'input_required', ...members, _meta });
  });

  test('with a member of our own', () => {
    expect(inputRequiredResult(NEW, null, 's', { 'remit/reference': 'r' })['_meta']).toEqual({
      'remit/reference': 'r',
      ..._meta,
    });
  });

  test('nothing at all, or anything to a legacy client, is a fault of ours (L11, M19)', () => {
    expect(() => inputRequiredResult(NEW, {}, null)).toThrow(
      expect.objectContaining({ code: 'input_required', message: 'neither a question nor a state' }),
    );
    expect(() => inputRequiredResult(OLD, null, 's')).toThrow(
      expect.objectContaining({ code: 'input_required', message: 'a legacy client takes this for a result' }),
    );
  });
});

describe('what a server asks', () => {
  const asked = (more: JsonObject): JsonObject => ({ resultType: 'input_required', ...more });

  test('questions in their order, under their own keys, and its state byte for byte', () => {
    const elicit = { method: 'elicitation/create', params: { message: 'm' } };
    const state = '\u{1f600} {"a":1} ';
    expect(
      readInputRequired(asked({ inputRequests: { b: elicit, a: { method: 'roots/list' } }, requestState: state })),
    ).toEqual({
      ok: true,
      value: { inputRequests: new Map(Object.entries({ b: elicit, a: roots })), requestState: state },
    });
  });

  test('a state alone is a question to wait', () => {
    expect(readInputRequired(asked({ requestState: '' }))).toEqual({
      ok: true,
      value: { inputRequests: new Map(), requestState: '' },
    });
  });

  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`q${i}`, roots]));
  test('twenty questions pass', () => {
    expect(readInputRequired(asked({ inputRequests: many(20) })).ok).toBe(true);
  });

  test.each<[string, JsonObject, string]>([
    ['neither question nor state', {}, 'neither inputRequests nor requestState'],
    ['no questions', { inputRequests: {} }, 'neither inputRequests nor requestState'],
    ['21 questions', { inputRequests: many(21) }, 'inputRequests has more than 20 questions'],
    ['questions in a list', { inputRequests: [roots] }, 'inputRequests is not an object'],
    ['a question that is text', { inputRequests: { q: 'x' } }, 'a question is not an object'],
    ['a question of no method', { inputRequests: { q: {} } }, 'a question has an unknown method'],
    [
      'a call in disguise',
      { inputRequests: { q: { method: 'tools/call', params: {} } } },
      'a question has an unknown method',
    ],
    ['params in a list', { inputRequests: { q: { ...roots, params: [] } } }, 'params of a question are not an object'],
    ['a long key', { inputRequests: { ['k'.repeat(257)]: roots } }, 'a key of inputRequests is too long'],
    ['a state that is no text', { requestState: {} }, 'requestState is not a string'],
    [
      'a state of 128 KiB and one byte',
      { requestState: 'x'.repeat(131_073) },
      'requestState is larger than 131072 bytes',
    ],
  ])('refuses %s', (_title, more, problem) => {
    expect(readInputRequired(asked(more))).toEqual({ ok: false, error: { reason: 'shape', problem } });
  });

  test.each<[JsonObject, string]>([
    [{ inputRequests: { q: roots } }, 'none'],
    [{ resultType: 'complete', inputRequests: { q: roots } }, 'complete'],
    [{ resultType: 1 }, 'none'],
  ])('%j does not say that it asks', (upstream, resultType) => {
    expect(readInputRequired(upstream)).toEqual({ ok: false, error: { reason: 'result_type', resultType } });
  });

  test('never throws, and what is read can be asked again as it is', () => {
    const question = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(roots));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), question, { maxKeys: 5 }), fc.option(fc.string()), (requests, state) => {
        const given = asked({ inputRequests: requests as Json, ...(state === null ? {} : { requestState: state }) });
        const read = readInputRequired(given);
        if (!read.ok) return;
        const again = inputRequiredResult(
          NEW,
          Object.fromEntries(read.value.inputRequests) as unknown as JsonObject,
          read.value.requestState,
        );
        expect(readInputRequired(again)).toEqual(read);
      }),
      { seed: 8, numRuns: 300 },
    );
  });
});
