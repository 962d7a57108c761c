import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { compilePolicies } from '../../src/policy/compile.ts';
import type { CompiledPolicy, PolicySet } from '../../src/policy/compile.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import { compileGrant } from '../../src/policy/grant-policies.ts';
import { Grant } from '../../src/policy/grants.ts';
import type { GrantCondition } from '../../src/policy/grants.ts';
import { preparedAt } from '../../src/policy/prepare.ts';
import { CEDAR_SCHEMA, POLICY_RISKS } from '../../src/policy/schema.ts';
import type { ToolFacts } from '../../src/policy/schema.ts';
import { person, question, tool } from './fixtures.ts';

const AT = 1_800_000_000_000;
const MEMBER = ['member'];

const grant = (over: Partial<Grant> = {}): Grant =>
  Grant.parse({
    who: { kind: 'person', id: 'ana' },
    what: { server: 'files', items: ['read_file'] },
    conditions: [],
    approval: 'by_risk',
    justification: 'TICKET-1',
    expiresAt: null,
    state: 'active',
    requestedBy: 'omar',
    requestedAt: 0,
    decidedBy: 'sven',
    decidedAt: 0,
    note: null,
    ...over,
  });

const compiled = (id: string, over: Partial<Grant> = {}): CompiledPolicy => {
  const result = compileGrant(id, grant(over));
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

const setOf = (grants: readonly CompiledPolicy[], tools: readonly ToolFacts[] = [tool()], previous?: PolicySet) => {
  const set = compilePolicies({ policies: BASELINE, tools, grants, ...(previous && { previous }) });
  if (!set.ok) throw new Error(JSON.stringify(set.error));
  return set.value;
};

const ask = (set: PolicySet, over: Parameters<typeof question>[0] = {}) =>
  decide(set, question({ person: person('ana', MEMBER), at: AT, ...over }));

describe('who a grant is for', () => {
  const set = setOf([
    compiled('g1', { who: { kind: 'person', id: 'ana' } }),
    compiled('g2', { who: { kind: 'group', id: 'group_pay' } }),
    compiled('g3', { who: { kind: 'agent', id: 'agent_7' } }),
  ]);
  test.each([
    [person('ana', MEMBER), 'allow', ['grant.g1']],
    [person('bo', MEMBER), 'deny', []],
    [person('bo', MEMBER, ['group_pay']), 'allow', ['grant.g2']],
    [person('ana', MEMBER, ['group_pay']), 'allow', ['grant.g1', 'grant.g2']],
    [person('agent/agent_7', MEMBER), 'allow', ['grant.g3']],
    [person('agent_7', MEMBER), 'deny', []],
    [person('ana', []), 'deny', []],
  ])('%j: %s', (who, verdict, rules) =>
    expect(ask(set, { person: who })).toMatchObject({ verdict, rules, errors: [] }),
  );
  test('not without the scope, and the challenge names it', () => {
    expect(ask(set, { scopes: new Set() })).toMatchObject({ verdict: 'challenge', requiredScopes: ['files:read'] });
  });
  test('only through the client that it names', () => {
    const through = setOf([compiled('g', { through: 'client-a' })]);
    expect(ask(through).verdict).toBe('allow');
    expect(ask(through, { agent: 'client-b' }).verdict).toBe('deny');
  });
  test('a forbid wins over it', () => {
    const policies = [...BASELINE, { id: 'no', text: `forbid (principal == Remit::Person::"ana", action, resource);` }];
    const both = compilePolicies({ policies, tools: [tool()], grants: [compiled('g')] });
    expect(both.ok && ask(both.value)).toMatchObject({ verdict: 'deny', reason: 'forbidden', rules: ['no'] });
  });
});

describe('what a grant is about', () => {
  const tools = [
    tool(),
    tool({ name: 'write_file', risk: 'write' }),
    tool({ name: 'delete_file', risk: 'destructive' }),
    tool({ server: 'mail', name: 'read_file' }),
  ];
  const verdicts = (over: Partial<Grant>): string[] => {
    const set = setOf([compiled('g', over)], tools);
    return tools.map((one) => ask(set, { tool: one }).verdict);
  };
  test.each<[Partial<Grant>, string[]]>([
    [{}, ['allow', 'deny', 'deny', 'deny']],
    [{ what: { server: 'files', items: ['read_file', 'delete_file'] } }, ['allow', 'deny', 'hold', 'deny']],
    [
      { what: { server: 'files', items: ['read_file', 'write_file'], risks: ['write'] } },
      ['deny', 'allow', 'deny', 'deny'],
    ],
    [
      { what: { server: 'files', risks: ['read', 'destructive'] }, expiresAt: AT + 1 },
      ['allow', 'deny', 'hold', 'deny'],
    ],
    [{ approval: 'always' }, ['hold', 'deny', 'deny', 'deny']],
    [{ what: { server: 'mail', items: ['read_file'] } }, ['deny', 'deny', 'deny', 'allow']],
  ])('%j: %j', (over, expected) => expect(verdicts(over)).toEqual(expected));

  test('AZ-05: a whole server without risk classes or without an end compiles to nothing', () => {
    const why = 'is for a whole server without risk classes and an end';
    expect(compileGrant('g', grant({ what: { server: 'files' }, expiresAt: AT }))).toEqual({ ok: false, error: why });
    expect(compileGrant('g', grant({ what: { server: 'files', risks: ['read'] } }))).toEqual({ ok: false, error: why });
  });
  test('text that is not well-formed compiles to nothing', () => {
    expect(compileGrant('g', grant({ who: { kind: 'person', id: '\uD800' } })).ok).toBe(false);
  });
});

describe('AZ-07: a grant begins and ends by itself', () => {
  test('AZ-07: at the moment, in lists and in calls, with nothing done in between', () => {
    const set = setOf([compiled('g', { startsAt: AT, expiresAt: AT + 1_000 })]);
    const at = (moment: number): unknown => [
      ask(set, { at: moment }).verdict,
      visible(set, { person: person('ana', MEMBER), agent: 'client-a', at: moment }, tool()),
    ];
    expect([AT - 1, AT, AT + 999, AT + 1_000, AT - 1, AT].map(at)).toEqual([
      ['deny', false],
      ['allow', true],
      ['allow', true],
      ['deny', false],
      ['deny', false],
      ['allow', true],
    ]);
  });
  test('AZ-07: an elevation ends so long after the yes, even where nobody wrote the end down', () => {
    const set = setOf([compiled('g', { lastsMs: 60_000, decidedAt: AT })]);
    expect([ask(set, { at: AT + 59_999 }).verdict, ask(set, { at: AT + 60_000 }).verdict]).toEqual(['allow', 'deny']);
  });
  test('with 2,000 ends the moment is a look-up, and outdated answers are dropped', () => {
    const many = Array.from({ length: 2_000 }, (_, index) =>
      compiled(`g${index}`, { who: { kind: 'person', id: `p${index}` }, expiresAt: AT + index }),
    );
    const set = setOf(many);
    for (let index = 0; index < 2_000; index += 100) {
      const who = person(`p${index}`, MEMBER);
      expect(ask(set, { person: who, at: AT + index - 1 }).verdict).toBe('allow');
      expect(ask(set, { person: who, at: AT + index }).verdict).toBe('deny');
    }
    expect(set.prepared.size).toBeLessThanOrEqual(2);
    expect(preparedAt(set, AT)).toBe(preparedAt(set, AT + 0.5));
  });
});

describe('AZ-02: a change of one grant', () => {
  test('AZ-02: is the next decision, and leaves the others compiled', () => {
    const [one, two] = [compiled('one'), compiled('two', { who: { kind: 'person', id: 'bo' } })];
    const before = setOf([one, two]);
    expect(ask(before).verdict).toBe('allow');
    const after = setOf(
      [compiled('one', { conditions: [{ argument: '/x', is: 'one_of', values: ['y'] }] }), two],
      [tool()],
      before,
    );
    expect(ask(after).verdict).toBe('deny');
    expect(ask(after, { person: person('bo', MEMBER) }).verdict).toBe('allow');
    const gone = setOf([two], [tool()], after);
    expect(ask(gone, { arguments: { x: 'y' } }).verdict).toBe('deny');
    expect(ask(setOf([one, two], [tool()], gone)).verdict).toBe('allow');
    expect(after.policies.filter((policy) => before.policies.includes(policy))).toHaveLength(BASELINE.length + 1);
  });
});

describe('AZ-03: conditions on arguments', () => {
  const typed = tool({
    parameters: {
      '/path': 'path',
      '/url': 'url',
      '/to': 'domain',
      '/sum': 'amount',
      '/paths': 'path',
      '/rows/file': 'path',
    },
  });
  const under: GrantCondition = { argument: '/path', is: 'path_under', values: ['/data/pub/', '/tmp'] };
  const hosts = (argument: string): GrantCondition => ({
    argument,
    is: 'host_in',
    values: ['Example.com', '.b.example'],
  });
  const most: GrantCondition = { argument: '/sum', is: 'at_most', value: 5_000 };
  const rows: GrantCondition = { argument: '/limit', is: 'at_most', value: 100 };
  test.each<[GrantCondition[], object, string]>([
    [[under], { path: '/data/pub/x' }, 'allow'],
    [[under], { path: '/data/pub' }, 'allow'],
    [[under], { path: '/tmp/../tmp/x' }, 'allow'],
    [[under], { path: '/data/pub/../secret' }, 'deny'],
    [[under], { path: '/data/public' }, 'deny'],
    [[under], { path: '/data/pub/%2e%2e/secret' }, 'deny'],
    [[under], { path: 'data/pub' }, 'deny'],
    [[under], {}, 'deny'],
    [[under], { path: null }, 'deny'],
    [[under], { path: [] }, 'deny'],
    [[under], { 'path#under': ['/tmp'] }, 'deny'],
    [[under], { other: '/tmp/x' }, 'deny'],
    [[{ ...under, argument: '/paths' }], { paths: ['/tmp/a', '/tmp/b'] }, 'allow'],
    [[{ ...under, argument: '/paths' }], { paths: ['/tmp/a', '/etc/b'] }, 'deny'],
    [[{ ...under, argument: '/rows/file' }], { rows: [{ file: '/tmp/a' }, { file: '/tmp/b' }] }, 'allow'],
    [[{ ...under, argument: '/rows/file' }], { rows: [{ file: '/tmp/a' }, { file: '/etc/b' }] }, 'deny'],
    [[{ ...under, argument: '/untyped' }], { untyped: '/tmp/a' }, 'deny'],
    [[hosts('/url')], { url: 'https://EXAMPLE.com./x' }, 'allow'],
    [[hosts('/url')], { url: 'https://a.b.example:8443/' }, 'allow'],
    [[hosts('/url')], { url: 'https://b.example/' }, 'deny'],
    [[hosts('/url')], { url: 'https://sub.example.com/' }, 'deny'],
    [[hosts('/url')], { url: 'https://example.com.evil.org/' }, 'deny'],
    [[hosts('/url')], { url: 'https://notb.example/' }, 'deny'],
    [[hosts('/url')], { url: 'https://example.com@evil.org/' }, 'deny'],
    [[hosts('/to')], { to: 'ana@example.com' }, 'allow'],
    [[hosts('/to')], { to: ['ana@example.com', 'bo@EXAMPLE.com'] }, 'allow'],
    [[hosts('/to')], { to: ['ana@x.b.example', 'bo@y.b.example'] }, 'allow'],
    [[hosts('/to')], { to: ['ana@example.com', 'eve@evil.org'] }, 'deny'],
    [[hosts('/to')], { to: [] }, 'deny'],
    [[most], { sum: '50.00' }, 'allow'],
    [[most], { sum: 50 }, 'allow'],
    [[most], { sum: '50.01' }, 'deny'],
    [[most], { sum: '-1' }, 'deny'],
    [[most], { sum: [1] }, 'deny'],
    [[most, { argument: '/sum', is: 'at_least', value: -100 }], { sum: '-1' }, 'allow'],
    [[most, { argument: '/sum', is: 'at_least', value: -100 }], { sum: '-1.01' }, 'deny'],
    [[rows], { limit: 100 }, 'allow'],
    [[rows], { limit: 101 }, 'deny'],
    [[rows], { limit: -1 }, 'deny'],
    [[rows], { limit: '5' }, 'deny'],
    [[rows], { limit: 5.5 }, 'deny'],
    [[{ argument: '/a#b', is: 'one_of', values: ['x', '7'] }], { 'a#b': 'x' }, 'allow'],
    [[{ argument: '/a', is: 'one_of', values: ['x', '7'] }], { a: 7 }, 'allow'],
    [[{ argument: '/a', is: 'one_of', values: ['x', 'y'] }], { a: ['x', 'y', 'x'] }, 'allow'],
    [[{ argument: '/a', is: 'one_of', values: ['x', 'y'] }], { a: ['x', 'z'] }, 'deny'],
    [[{ argument: '/a', is: 'one_of', values: ['x', 'y'] }], { a: 'X' }, 'deny'],
    [[under, rows], { path: '/tmp/x', limit: 1 }, 'allow'],
    [[under, rows], { path: '/tmp/x' }, 'deny'],
    [[{ argument: '/a', is: 'one_of', values: ['") || true || ("'] }], { a: 'x' }, 'deny'],
  ])('AZ-03: %j over %j: %s', (conditions, args, verdict) => {
    const set = setOf([compiled('g', { conditions })], [typed]);
    expect(ask(set, { tool: typed, arguments: args as never })).toMatchObject({ verdict });
  });
});

describe('every grant', () => {
  const texts = fc.oneof(
    fc.constantFrom(
      'files',
      'mail',
      'read_file',
      'prompt x',
      'ana',
      'a"b',
      "') || (true",
      '\\u{0}',
      '/data',
      '.b.example',
      '😀',
      '-7',
    ),
    fc.string({ minLength: 1, maxLength: 12 }),
  );
  const pointer = fc.constantFrom('/a', '/a/b', '/a~1b', '/a#minor', '/😀', '/"', "/') || true");
  const conditions = fc.array(
    fc.oneof(
      fc.record({
        argument: pointer,
        is: fc.constantFrom('path_under', 'host_in', 'one_of'),
        values: fc.array(texts, { minLength: 1, maxLength: 3 }),
      }),
      fc.record({ argument: pointer, is: fc.constantFrom('at_most', 'at_least'), value: fc.maxSafeInteger() }),
    ),
    { maxLength: 4 },
  );
  const grants = fc.record({
    id: fc.stringMatching(/^[a-z0-9_]{1,10}$/),
    kind: fc.constantFrom('person', 'group', 'agent'),
    who: texts,
    server: texts,
    items: fc.option(fc.array(texts, { minLength: 1, maxLength: 3 }), { nil: undefined }),
    risks: fc.option(fc.subarray([...POLICY_RISKS], { minLength: 1 }), { nil: undefined }),
    through: fc.option(texts, { nil: undefined }),
    approval: fc.constantFrom('by_risk', 'always'),
    conditions,
  });

  test('AZ-05: is a policy that validates strictly, and says in full what its link says', () => {
    fc.assert(
      fc.property(grants, ({ id, kind, who, server, items, risks, through, approval, conditions: asked }) => {
        const result = compileGrant(
          id,
          grant({
            who: { kind, id: who },
            what: { server, ...(items && { items }), ...(risks && { risks }) },
            ...(through !== undefined && { through }),
            approval,
            conditions: asked,
            expiresAt: AT,
          }),
        );
        if (!result.ok) return;
        const { link, json } = result.value;
        const { annotations: _, ...plain } = json;
        const linked = {
          staticPolicies: {},
          templates: { t: link!.template },
          templateLinks: [{ templateId: 't', newId: 'g', values: { ...link!.values } }],
        };
        for (const policies of [linked, { staticPolicies: { g: plain } }]) {
          const checked = cedar.validate({ schema: CEDAR_SCHEMA, policies, validationSettings: { mode: 'strict' } });
          expect(checked).toMatchObject({ type: 'success', validationErrors: [] });
        }
      }),
      { seed: 9, numRuns: 150 },
    );
  });
});
