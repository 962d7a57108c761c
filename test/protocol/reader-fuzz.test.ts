/**
 * The reader of posted bodies under generated messages: nothing crashes it, and what it hands over is what was sent, in single messages,
 * responses and batches alike. The oracle is the message as it was generated, never the reader itself.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { methodRules } from '../../src/protocol/methods.ts';
import { type InboundMessage, readBody } from '../../src/protocol/read-request.ts';
import { MODERN } from '../../src/protocol/versions.ts';
import { BASE_HEADERS, CALL_HEADERS, ENVELOPE, readPosted } from './requests.ts';

const LIMITS = { maxBytes: 20_000, maxDepth: 16, maxMembers: 500 };
const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const id = fc.oneof(text, fc.integer());
/** JSON that strict parsing takes: no forbidden key, no integer two readers disagree on. */
const json = fc.jsonValue({ maxDepth: 3 }).map((value) => tame(JSON.parse(JSON.stringify(value)) as Json));
const open = fc.dictionary(
  text.filter((key) => !/[\0_]/.test(key)),
  json,
  { maxKeys: 3 },
);

function tame(value: Json): Json {
  if (typeof value === 'number') return Number.isInteger(value) && !Number.isSafeInteger(value) ? 0 : value;
  if (Array.isArray(value)) return (value as readonly Json[]).map(tame);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value as JsonObject)
      .filter(([key]) => key !== '__proto__' && !key.includes('\0'))
      .map(([key, child]) => [key, tame(child)]),
  );
}

const VALUES = { string: text, id, object: open, any: json } as const;
const legacyMethods = methodRules().filter(([method, rule]) => rule.eras.includes('legacy') && method !== 'initialize');

/** A legacy message of the table, with every member it needs and perhaps those it may have. */
const message: fc.Arbitrary<JsonObject> = fc.constantFrom(...legacyMethods).chain(([method, rule]) => {
  const members = Object.fromEntries(
    Object.entries(rule.members).map(([key, { type, required }]) => [
      key,
      required ? VALUES[type] : fc.option(VALUES[type] as fc.Arbitrary<Json>, { nil: undefined }),
    ]),
  );
  return fc.record({
    jsonrpc: fc.constant('2.0'),
    method: fc.constant(method),
    params: fc.record(members as Record<string, fc.Arbitrary<Json>>),
    ...(rule.kind === 'request' ? { id } : {}),
  }) as fc.Arbitrary<JsonObject>;
});
const reply: fc.Arbitrary<JsonObject> = fc.oneof(
  fc.record({ jsonrpc: fc.constant('2.0'), id: text, result: open }),
  fc.record({
    jsonrpc: fc.constant('2.0'),
    id: text,
    error: fc.record({ code: fc.integer(), message: text, data: json }),
  }),
) as fc.Arbitrary<JsonObject>;
const posted = fc.oneof({ weight: 4, arbitrary: message }, { weight: 1, arbitrary: reply });

/** What JSON says of a message: members that are undefined are not there. */
const sent = (value: Json): Json => JSON.parse(JSON.stringify(value)) as Json;

function expectRead(read: InboundMessage, raw: JsonObject): void {
  const said = sent(raw) as JsonObject;
  if (read.kind === 'reply') {
    expect(read.id).toBe(said['id']);
    expect(read.outcome).toEqual(
      said['error'] === undefined
        ? { kind: 'result', result: said['result'] }
        : { kind: 'error', error: said['error'] },
    );
    return;
  }
  expect(read.method).toBe(said['method']);
  expect(read.params).toEqual(said['params'] ?? {});
  if (read.kind === 'request') expect(read.id).toBe(said['id']);
  else expect(said).not.toHaveProperty('id');
}

test('a message that is read is the message that was sent', () => {
  fc.assert(
    fc.property(posted, (raw) => {
      const read = readPosted(raw);
      if (!read.ok) throw new Error(`${read.error.message}: ${JSON.stringify(raw)}`);
      if (read.value.kind === 'batch') throw new Error('no batch was sent');
      expectRead(read.value, raw);
    }),
    { seed: 11, numRuns: 500 },
  );
});

test('a batch that is read has every message that was sent, in order, and each as if it had come alone', () => {
  const broken = fc.oneof(json, fc.record({ jsonrpc: fc.constant('2.0'), method: json, id: fc.constant('broken') }));
  const element = fc.oneof(
    { weight: 5, arbitrary: posted },
    { weight: 1, arbitrary: broken as fc.Arbitrary<JsonObject> },
  );
  fc.assert(
    fc.property(fc.array(element, { minLength: 1, maxLength: 8 }), (elements) => {
      const read = readPosted(elements);
      if (!read.ok) {
        // The one way for a batch of well-formed JSON to fail as a whole.
        expect(read.error.message).toBe('A batch has two requests with the same id');
        return;
      }
      if (read.value.kind !== 'batch') throw new Error('a batch was sent');
      expect(read.value.elements).toHaveLength(elements.length);
      for (const [i, one] of read.value.elements.entries()) {
        const raw = elements[i] as Json;
        if (!Array.isArray(raw)) expect(one).toEqual(readPosted(JSON.stringify(raw)));
        if (one.ok) expectRead(one.value, raw as JsonObject);
      }
    }),
    { seed: 12, numRuns: 300 },
  );
});

test('no body crashes the reader: bytes changed, cut, doubled, inserted, under either era’s headers', () => {
  const modern: JsonObject = {
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'read_file', arguments: {}, _meta: ENVELOPE },
  };
  const base = fc.oneof(posted, fc.array(posted, { maxLength: 3 }), fc.constant(modern));
  const edit = fc.tuple(fc.constantFrom('set', 'cut', 'double', 'insert'), fc.nat(), fc.nat(255));
  const body = fc.tuple(base, fc.array(edit, { maxLength: 4 })).map(([value, edits]) => {
    let bytes = Buffer.from(JSON.stringify(value));
    for (const [how, where, byte] of edits) {
      const at = where % (bytes.length + 1);
      const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
      if (how === 'cut') bytes = Buffer.from(head);
      else if (how === 'double') bytes = Buffer.concat([head, head, tail]);
      else bytes = Buffer.concat([head, Buffer.from([byte]), tail.subarray(how === 'set' ? 1 : 0)]);
    }
    return bytes;
  });
  const headers = fc.constantFrom(BASE_HEADERS, CALL_HEADERS, { ...BASE_HEADERS, 'mcp-protocol-version': MODERN });
  fc.assert(
    fc.property(body, headers, (bytes, with_) => {
      const read = readBody(bytes, with_, LIMITS);
      if (!read.ok) {
        expect(read.error.message.length).toBeLessThan(500);
        return;
      }
      const elements = read.value.kind === 'batch' ? read.value.elements : [read];
      // Another parser, which keeps the last of two equal keys and takes any number, must not have seen another message.
      const naive = JSON.parse(bytes.toString('utf8')) as JsonObject | JsonObject[];
      const raws = Array.isArray(naive) ? naive : [naive];
      expect(elements).toHaveLength(raws.length);
      for (const [i, one] of elements.entries()) if (one.ok) expectRead(one.value as InboundMessage, raws[i]!);
    }),
    { seed: 13, numRuns: 2000 },
  );
});
