import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/lib/canonical-json.ts';
import { definitionDigest, readDefinition } from '../../src/integrity/definition.ts';
import type { SeenDefinition } from '../../src/integrity/definition.ts';
import type { ToolRecord } from '../../src/integrity/records.ts';
import { approve, observe, vanish, withdraw } from '../../src/integrity/review.ts';
import { suggestRisk } from '../../src/integrity/risk-hint.ts';
import { recordIsSound, toolStanding } from '../../src/integrity/standing.ts';

const AT = 1_800_000_000_000;

function seen(definition: object): SeenDefinition {
  const read = readDefinition('tool', definition);
  if (!read.ok) throw new Error(read.error.code);
  return read.value;
}

const first = seen({
  name: 'read',
  description: 'Reads',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } } },
});
const second = seen({ ...first.definition, description: 'Reads, and more' });
const review = (digest: Digest) =>
  ({
    risk: 'read',
    scope: 'files:read',
    justification: 'needed',
    by: 'person_r',
    at: AT,
    expectedDigest: digest,
  }) as const;

function must<T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}
const observed = observe(undefined, 'files', first, AT) as ToolRecord;
const approved = must(approve(observed, review(first.digest)));
const changed = observe(approved, 'files', second, AT + 1) as ToolRecord;

describe('TD-03: nothing unreviewed stands', () => {
  const gone = vanish(approved, AT + 3) as ToolRecord;
  test.each([
    ['no record', undefined, undefined, 'unknown'],
    ['seen, never reviewed', observed, undefined, 'unreviewed'],
    ['seen live, never reviewed', observed, first.digest, 'unreviewed'],
    ['approved', approved, undefined, 'approved'],
    ['approved and just seen again', approved, first.digest, 'approved'],
    ['approved, the live list says something else', approved, second.digest, 'changed'],
    ['approved, the live list lacks it', approved, null, 'gone'],
    ['approved, then a different sighting was recorded', changed, undefined, 'changed'],
    ['different sighting recorded, the live list shows the old one only to us', changed, first.digest, 'changed'],
    ['approved, no longer offered', gone, undefined, 'gone'],
    ['approval withdrawn', withdraw(approved), first.digest, 'unreviewed'],
    ['neither seen nor approved', { ...observed, observed: null }, undefined, 'unknown'],
  ] as const)('TD-03: %s', (_title, record, live, standing) => {
    expect(toolStanding(record, live)).toBe(standing);
  });

  test('TD-03: twin: a rule that looks only at the presence of an approval would let a changed tool stand', () => {
    const careless = (record: ToolRecord): string => (record.approved ? 'approved' : 'unreviewed');
    expect(careless(changed)).toBe('approved');
    expect(toolStanding(changed)).toBe('changed');
  });

  test('going back to the approved definition makes the tool stand again, without a new review', () => {
    const back = observe(changed, 'files', first, AT + 2) as ToolRecord;
    expect(toolStanding(back)).toBe('approved');
  });
});

describe('observe', () => {
  test('says null when nothing is new, whatever the key order', () => {
    const reordered = seen(Object.fromEntries(Object.entries(first.definition).toReversed()));
    expect(observe(observed, 'files', reordered, AT + 5)).toBeNull();
  });
  test('keeps the approval when the definition changes, so that the difference can be shown', () => {
    expect(changed.approved).toEqual(approved.approved);
    expect(changed.observed).toMatchObject({ digest: second.digest, seenAt: AT + 1 });
  });
});

describe('approve', () => {
  test('AP-01: refuses when the definition moved between reading and approving', () => {
    expect(approve(changed, review(first.digest))).toEqual({
      ok: false,
      error: { code: 'definition_moved', expected: first.digest, observed: second.digest },
    });
  });
  test('refuses when the tool is gone', () => {
    expect(approve({ ...approved, observed: null }, review(first.digest))).toEqual({
      ok: false,
      error: { code: 'nothing_to_review' },
    });
  });
  test('AP-01: refuses an empty justification and names the field', () => {
    expect(approve(observed, { ...review(first.digest), justification: '' })).toMatchObject({
      ok: false,
      error: { code: 'review_invalid', field: 'justification' },
    });
  });
  test('refuses a scope that is no OAuth scope-token', () => {
    expect(approve(observed, { ...review(first.digest), scope: 'a b' })).toMatchObject({
      ok: false,
      error: { code: 'review_invalid', field: 'scope', message: 'use RFC 6749 scope-token characters' },
    });
  });
  test('TD-05: refuses a definition that hides characters, with path and span', () => {
    const poisoned = seen({ ...first.definition, description: 'Reads\u{E0041}\u{E0042} files' });
    const record = observe(undefined, 'files', poisoned, AT) as ToolRecord;
    expect(approve(record, review(poisoned.digest))).toMatchObject({
      ok: false,
      error: {
        code: 'definition_refused',
        findings: [{ code: 'hidden_tag', path: '/description', span: [5, 7] }, { span: [7, 9] }],
      },
    });
  });
  test('TD-06: refuses a schema with an external reference', () => {
    const hostile = seen({
      name: 'x',
      inputSchema: { type: 'object', properties: { a: { $ref: 'http://127.0.0.1/s' } } },
    });
    const record = observe(undefined, 'files', hostile, AT) as ToolRecord;
    expect(approve(record, review(hostile.digest))).toMatchObject({
      ok: false,
      error: {
        code: 'definition_refused',
        findings: [{ code: 'external_reference', path: '/inputSchema/properties/a/$ref' }],
      },
    });
  });
  test('refuses a definition without an inputSchema', () => {
    const bare = seen({ name: 'x' });
    const record = observe(undefined, 'files', bare, AT) as ToolRecord;
    expect(approve(record, review(bare.digest))).toEqual({
      ok: false,
      error: { code: 'schema_refused', message: 'the definition has no inputSchema object' },
    });
  });
});

test('a record whose digest is not that of its definition is not sound', () => {
  expect(recordIsSound(approved)).toBe(true);
  const swapped = { ...approved, approved: { ...approved.approved, definition: second.definition } } as ToolRecord;
  expect(recordIsSound(swapped)).toBe(false);
});

describe('suggestRisk', () => {
  test.each([
    ['read_file', {}, 'read'],
    ['deleteUser', { readOnlyHint: true }, 'destructive'],
    ['get_and_delete', {}, 'destructive'],
    ['run-shell', {}, 'execute'],
    ['frobnicate', { readOnlyHint: true }, 'write'],
    ['list_things', { destructiveHint: true }, 'destructive'],
  ] as const)('AZ-06: %s with annotations %o is suggested as %s', (name, annotations, risk) => {
    expect(suggestRisk('tool', { name, annotations }).risk).toBe(risk);
  });
});

describe('readDefinition', () => {
  let deep: unknown = 'x';
  for (let i = 0; i < 70; i++) deep = { a: deep };
  test.each([
    ['text', 'definition_not_object'],
    [{}, 'definition_name'],
    [{ name: '' }, 'definition_name'],
    [{ name: 'a b' }, 'definition_name'],
    [{ name: 'rea\u200Bd' }, 'definition_name'],
    [{ name: 'x'.repeat(513) }, 'definition_name'],
    [{ name: 'x', deep }, 'definition_too_deep'],
    [{ name: 'x', description: 'y'.repeat(262_144) }, 'definition_too_large'],
    [{ name: 'x', description: '\uD800' }, 'definition_not_canonical'],
  ])('refuses %#: %s', (value, code) => {
    expect(readDefinition('tool', value)).toMatchObject({ ok: false, error: { code } });
  });
  test('digest is that of the whole definition', () => {
    expect(first.digest).toBe(definitionDigest(first.definition));
  });
});
