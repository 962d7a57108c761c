/** Labels as bits: what they can be together, what a policy reads of them, and that a label nobody reads costs nothing. */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { decide, labelsMatter } from '../../src/policy/decide.ts';
import {
  ALL_BITS,
  BIT,
  CONFIDENTIAL,
  COPIED,
  FROM,
  LABELS,
  PRIVATE,
  REGULATED,
  SECRET,
  UNTRUSTED,
  combinationsOf,
  labelBits,
  labelsOf,
} from '../../src/policy/labels.ts';
import { labelsRead, readsOf } from '../../src/policy/reads.ts';
import { CEDAR_SCHEMA } from '../../src/policy/schema.ts';
import { person, question, setOf, tool } from './fixtures.ts';

test('AZ-10: every label is one bit of its own, and goes to bits and back', () => {
  expect(LABELS.reduce((all, label) => all + BIT[label], 0)).toBe(ALL_BITS);
  for (const label of LABELS) expect(labelsOf(BIT[label])[label]).toBe(true);
  for (const bits of combinationsOf(ALL_BITS)) expect(labelBits(labelsOf(bits))).toBe(bits);
});

test('AZ-10: who received confidential, regulated or secret data received private data', () => {
  for (const label of ['confidential', 'regulated', 'secret'] as const)
    expect(labelBits({ [label]: true })).toBe(BIT[label] | PRIVATE);
  expect(labelBits({ untrusted: true })).toBe(UNTRUSTED);
  expect(labelBits({ private: true })).toBe(PRIVATE);
  expect(labelBits({})).toBe(0);
});

test('AZ-10: combinations are those that can be, none first, each once', () => {
  expect(combinationsOf(0)).toEqual([0]);
  expect(combinationsOf(UNTRUSTED | PRIVATE)).toEqual([0, UNTRUSTED | PRIVATE, UNTRUSTED, PRIVATE]);
  expect(combinationsOf(CONFIDENTIAL | PRIVATE)).toEqual([0, CONFIDENTIAL | PRIVATE, PRIVATE]);
  expect(combinationsOf(ALL_BITS)).toHaveLength(18);
});

const policy = (when: string): string =>
  `forbid (principal, action == Remit::Action::"callTool", resource) when { ${when} };`;

test.each([
  ['context.untrusted', UNTRUSTED],
  ['context.confidential || context["regulated"]', CONFIDENTIAL | REGULATED],
  ['context.secret', SECRET],
  ['context has secret', SECRET],
  ['context == context', ALL_BITS | COPIED | FROM],
  ['context.copied', COPIED],
  ['context.copiedFrom.contains("a")', COPIED],
  ['context.receivedFrom.contains("a")', FROM],
  ['context.approved', 0],
  ['resource.outward', 0],
])('AZ-10: a policy that says %s reads these labels', (when, mask) => {
  const parsed = cedar.policyToJson(policy(when));
  if (parsed.type === 'failure') throw new Error(JSON.stringify(parsed.errors));
  const reads = readsOf(parsed.json);
  expect(labelsRead(reads)).toBe(mask);
  expect(reads.perCall).toBe(when.includes('==') || when.includes('From'));
});

test('AZ-10: the schema has every label', () => {
  for (const label of LABELS) expect(CEDAR_SCHEMA).toContain(`${label}: Bool`);
});

describe('AZ-10: only what some policy reads matters', () => {
  const rule = { id: 'no-secrets-out', text: policy('context.secret && resource.outward') };
  const tools = [tool({ name: 'post', risk: 'write', outward: true, scope: 'files:read' }), tool({ risk: 'write' })];
  const operator = person('p', ['operator']);
  const asked = (name: string) => question({ person: operator, tool: { server: 'files', name } });
  test.each([
    ['the baseline', BASELINE, UNTRUSTED | PRIVATE | COPIED],
    ['a rule about secrets beside it', [...BASELINE, rule], UNTRUSTED | PRIVATE | COPIED | SECRET],
    ['that rule alone', [...BASELINE.filter(({ id }) => !id.endsWith('-flow')), rule], SECRET],
  ] as const)('AZ-10: with %s', (_title, policies, mask) => {
    const set = setOf(policies, tools);
    expect(labelsMatter(set, asked('post'))).toBe(mask);
    expect(labelsMatter(set, asked('read_file'))).toBe(mask & COPIED);
  });
  test('AZ-10: what a policy says of a new label is decided, and kept apart', () => {
    const set = setOf([...BASELINE, rule], tools);
    for (let turn = 0; turn < 2; turn++) {
      expect(decide(set, asked('post')).verdict).toBe('allow');
      const found = decide(set, { ...asked('post'), secret: true });
      expect([found.verdict, found.reason, found.rules]).toEqual(['deny', 'forbidden', ['no-secrets-out']]);
      expect(decide(set, { ...asked('post'), regulated: true }).verdict).toBe('allow');
      expect(decide(set, { ...asked('post'), secret: true, untrusted: true }).verdict).toBe('deny');
      expect(decide(set, { ...asked('post'), regulated: true, untrusted: true }).verdict).toBe('hold');
    }
  });
});
