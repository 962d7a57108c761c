/** The baseline three times over: as the table of the guide, as a naive model in plain code, and as compiled policies. */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { decide, labelsMatter, visible } from '../../src/policy/decide.ts';
import type { Decision } from '../../src/policy/decide.ts';
import { COPIED, PRIVATE, UNTRUSTED } from '../../src/policy/labels.ts';
import { lintPolicy } from '../../src/policy/lint.ts';
import type { Risk, ToolFacts } from '../../src/policy/schema.ts';
import {
  POLICY_DATA_CLASSES,
  POLICY_ENVIRONMENTS,
  POLICY_KINDS,
  POLICY_RISKS,
  POLICY_ROLES,
} from '../../src/policy/schema.ts';
import { person as someone, question, setOf, tool } from './fixtures.ts';

/** What the guide's cells mean, as the verdicts without anything, with the scope, with the approval, with both. */
const CELLS: Record<string, readonly Decision['verdict'][]> = {
  scope: ['challenge', 'allow', 'challenge', 'allow'],
  'scope + approval': ['challenge', 'hold', 'challenge', 'allow'],
  no: ['deny', 'deny', 'deny', 'deny'],
};

const GUIDE = readFileSync(new URL('../../docs/guides/policy.md', import.meta.url), 'utf8');
const rows = GUIDE.split('\n')
  .filter((line) => POLICY_ROLES.some((role) => line.startsWith(`| ${role} |`)))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, role = '', ...cells]) => ({ role, cells: cells.slice(0, 5) }));
const matrix = rows.flatMap(({ role, cells }) => POLICY_RISKS.map((risk, i) => ({ role, risk, cell: cells[i] ?? '' })));

describe('AZ-01: role x risk, as the guide says', () => {
  const tools = POLICY_RISKS.map((risk) => tool({ name: risk, risk, scope: `s:${risk}` }));
  const set = setOf(BASELINE, tools);

  test('AZ-01: the guide has a row for every role', () => {
    expect(rows.map(({ role }) => role)).toEqual(POLICY_ROLES);
  });
  test.each(matrix)('AZ-01: $role, $risk: $cell', ({ role, risk, cell }) => {
    const ask = (scopes: string[], approved: boolean): Decision =>
      decide(
        set,
        question({
          person: someone('p', [role]),
          tool: { server: 'files', name: risk },
          scopes: new Set(scopes),
          approved,
        }),
      );
    const verdicts = [ask([], false), ask([`s:${risk}`], false), ask([], true), ask([`s:${risk}`], true)];
    expect(verdicts.map(({ verdict }) => verdict)).toEqual(CELLS[cell]);
    const listed = visible(set, { person: someone('p', [role]), agent: 'a', at: 0 }, { server: 'files', name: risk });
    expect(listed).toBe(cell !== 'no');
    for (const decision of verdicts.filter(({ verdict }) => verdict === 'challenge')) {
      expect(decision.requiredScopes).toEqual([`s:${risk}`]);
    }
  });
});

interface Facts {
  roles: string[];
  tool: ToolFacts;
  scopeHeld: boolean;
  approved: boolean;
  untrusted: boolean;
  private: boolean;
}

/** The baseline as somebody would write it in an afternoon. */
function naiveAllows({ roles, tool: { outward, ...tool }, scopeHeld, approved, ...trace }: Facts): boolean {
  const { risk, environment, dataClasses } = tool;
  if (!scopeHeld) return false;
  const harmful = outward === true || risk === 'destructive' || risk === 'execute';
  if (harmful && trace.untrusted && trace.private && !approved) return false;
  const regulatedData = dataClasses.includes('regulated');
  if (risk === 'regulated' && environment !== 'staging' && environment !== 'production') return false;
  if (roles.includes('operator')) return risk === 'read' || risk === 'write' || approved;
  if (roles.includes('developer') && !regulatedData && (risk === 'read' || risk === 'write')) return true;
  return roles.includes('security_reviewer') && !regulatedData && risk === 'read';
}

function naiveVerdict(facts: Facts): Decision['verdict'] {
  if (naiveAllows(facts)) return 'allow';
  const withScope = { ...facts, scopeHeld: true };
  if (!facts.scopeHeld && (naiveAllows(withScope) || naiveAllows({ ...withScope, approved: true }))) return 'challenge';
  return naiveAllows({ ...facts, approved: true }) ? 'hold' : 'deny';
}

const facts = fc.record({
  roles: fc.subarray([...POLICY_ROLES]),
  tool: fc.record({
    server: fc.constantFrom('files', 'mail'),
    name: fc.constantFrom('a', 'b'),
    kind: fc.constantFrom(...POLICY_KINDS),
    risk: fc.constantFrom(...POLICY_RISKS),
    scope: fc.constant('x:y'),
    environment: fc.constantFrom(...POLICY_ENVIRONMENTS),
    dataClasses: fc.subarray([...POLICY_DATA_CLASSES], { minLength: 1 }),
    outward: fc.boolean(),
  }),
  scopeHeld: fc.boolean(),
  approved: fc.boolean(),
  untrusted: fc.boolean(),
  private: fc.boolean(),
});

test('AZ-01: compiled policies and a naive model agree on every question, and lists agree with calls', () => {
  fc.assert(
    fc.property(fc.array(facts, { minLength: 1, maxLength: 20 }), (many) => {
      const set = setOf(
        BASELINE,
        many.map(({ tool }, i) => ({ ...tool, name: `${tool.name}${i}` })),
      );
      for (const [i, one] of many.entries()) {
        const named = { server: one.tool.server, name: `${one.tool.name}${i}` };
        const person = someone('p', one.roles);
        const scopes = new Set(one.scopeHeld ? ['x:y', 'other'] : ['other']);
        const decision = decide(set, question({ ...one, person, tool: named, scopes }));
        expect(decision.errors).toEqual([]);
        expect(decision.verdict).toBe(naiveVerdict(one));
        const best = naiveAllows({ ...one, scopeHeld: true, approved: true });
        expect(visible(set, { person, agent: 'a', at: 0 }, named)).toBe(best);
      }
    }),
    { numRuns: 60, seed: 20261121 },
  );
});

describe('AZ-10: role x label, with the scope', () => {
  const post = tool({ name: 'post', risk: 'write', outward: true });
  const set = setOf(BASELINE, [
    post,
    tool({ name: 'draft', risk: 'write' }),
    tool({ name: 'wipe', risk: 'destructive' }),
  ]);
  const said = (name: string, untrusted: boolean, reserved: boolean, approved = false): string =>
    decide(
      set,
      question({
        person: someone('p', ['operator']),
        tool: { server: 'files', name },
        untrusted,
        private: reserved,
        approved,
      }),
    ).verdict;
  test.each([
    ['post', ['allow', 'allow', 'allow', 'hold'], 'allow'],
    ['draft', ['allow', 'allow', 'allow', 'allow'], 'allow'],
    ['wipe', ['hold', 'hold', 'hold', 'hold'], 'allow'],
  ])('AZ-10: %s', (name, verdicts, approved) => {
    expect([
      said(name, false, false),
      said(name, true, false),
      said(name, false, true),
      said(name, true, true),
    ]).toEqual(verdicts);
    expect(said(name, true, true, true)).toBe(approved);
  });
  test('AZ-10: whether labels matter is known before they are', () => {
    const asks = (name: string) =>
      labelsMatter(set, question({ person: someone('p', ['operator']), tool: { server: 'files', name } }));
    expect([asks('post'), asks('draft'), asks('wipe')]).toEqual([
      UNTRUSTED | PRIVATE | COPIED,
      COPIED,
      UNTRUSTED | PRIVATE | COPIED,
    ]);
  });
});

test('AZ-01: a tool that does not exist and one that may not be called differ in nothing a caller could be told', () => {
  const set = setOf(BASELINE, [tool({ risk: 'destructive' })]);
  const hidden = decide(set, question());
  const absent = decide(set, question({ tool: { server: 'files', name: 'nope' } }));
  expect([hidden.verdict, absent.verdict]).toEqual(['deny', 'deny']);
  expect([hidden.requiredScopes, absent.requiredScopes]).toEqual([undefined, undefined]);
});

test('ID-03: somebody without a role sees nothing and may call nothing, even if a policy names them', () => {
  const personal = {
    id: 'personal',
    text: `permit (principal == Remit::Person::"p", action, resource) when { context.scopeHeld };`,
  };
  const set = setOf([personal], [tool()]);
  const person = someone('p', []);
  expect(decide(set, question({ person }))).toMatchObject({ verdict: 'deny', reason: 'role_missing' });
  expect(visible(set, { person, agent: 'a', at: 0 }, tool())).toBe(false);
  expect(decide(set, question({ person: someone('p', ['auditor']) })).verdict).toBe('allow');
});

test('a role that the schema does not know denies', () => {
  const set = setOf(BASELINE, [tool()]);
  const person = someone('p', ['developer', 'root']);
  expect(decide(set, question({ person }))).toMatchObject({ verdict: 'deny', reason: 'role_unknown' });
});

test('AZ-05: the baseline itself passes the lint, and every policy says what it is for', () => {
  const set = setOf(BASELINE, []);
  expect(set.policies.flatMap((policy) => lintPolicy(policy, 0))).toEqual([]);
  expect(set.policies.every(({ json }) => (json.annotations?.['description'] ?? '').length > 20)).toBe(true);
});

test('AZ-06: nothing a server claims about a tool is a fact of the decision', () => {
  // The server calls its delete tool read-only; the reviewer classed it destructive.
  const claims = {
    ...tool({ name: 'delete', risk: 'destructive' as Risk }),
    annotations: { readOnlyHint: true },
    risk_: 'read',
  };
  const honest = setOf(BASELINE, [tool({ name: 'delete', risk: 'destructive' })]);
  const lying = setOf(BASELINE, [claims]);
  for (const roles of [['developer'], ['operator'], ['security_reviewer']]) {
    const asked = question({ person: someone('p', roles), tool: { ...claims, risk: 'read' } as ToolFacts });
    expect(decide(lying, asked)).toEqual(decide(honest, asked));
    expect(decide(lying, asked).verdict).not.toBe('allow');
  }
  // Twin: had the claim been believed, a developer would be let in.
  expect(decide(setOf(BASELINE, [{ ...claims, risk: 'read' }]), question({ tool: claims })).verdict).toBe('allow');
});
