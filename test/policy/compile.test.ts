import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { compilePolicies, withTools } from '../../src/policy/compile.ts';
import { decide } from '../../src/policy/decide.ts';
import { lintPolicy } from '../../src/policy/lint.ts';
import { question, setOf, tool } from './fixtures.ts';

const HEAD = `permit (principal in Remit::Role::"developer", action, resource)`;

describe('compilePolicies refuses', () => {
  test.each([
    ['no policy at all', 'hello', 'policy_syntax', 'unexpected'],
    ['two policies in one text', `${HEAD}; ${HEAD};`, 'policy_syntax', 'unexpected token'],
    ['a template', `permit (principal == ?principal, action, resource);`, 'policy_syntax', 'template'],
    ['an unknown attribute', `${HEAD} when { resource.owner == "x" };`, 'policy_invalid', 'owner'],
    [
      'a misspelt risk class',
      `${HEAD} when { resource.risk == Remit::Risk::"raed" };`,
      'policy_invalid',
      'not declared',
    ],
    [
      'a misspelt role',
      `permit (principal in Remit::Role::"root", action, resource);`,
      'policy_invalid',
      'not declared',
    ],
    ['an impossible condition', `${HEAD} when { resource.risk == resource.environment };`, 'policy_invalid', ''],
    ['an impossible policy', `${HEAD} when { false };`, 'policy_invalid', 'impossible'],
    [
      'an argument read before it is asked for',
      `${HEAD} when { context.arguments.strings.getTag("/p") == "x" };`,
      'policy_invalid',
      '',
    ],
    ['a date that is none', `@until("soon") ${HEAD};`, 'policy_until', 'ISO 8601'],
  ])('%s', (_title, text, code, words) => {
    const compiled = compilePolicies({ policies: [{ id: 'x', text }], tools: [] });
    expect(compiled.ok).toBe(false);
    if (compiled.ok) return;
    expect(compiled.error.map((problem) => problem.code)).toContain(code);
    expect(compiled.error.map((problem) => problem.message).join(' ')).toContain(words);
  });

  test.each(['', '-x', 'a b', '__proto__', 'x'.repeat(129)])('the id %j', (id) => {
    expect(compilePolicies({ policies: [{ id, text: `${HEAD};` }], tools: [] })).toMatchObject({
      ok: false,
      error: [{ code: 'policy_id' }],
    });
  });

  test('a second policy of the same id, and says all problems at once', () => {
    const policies = [
      { id: 'a', text: `${HEAD};` },
      { id: 'a', text: `${HEAD};` },
      { id: 'b', text: 'oops' },
    ];
    const compiled = compilePolicies({ policies, tools: [] });
    expect(compiled.ok ? [] : compiled.error.map(({ policy, code }) => [policy, code])).toEqual([
      ['a', 'policy_id'],
      ['b', 'policy_syntax'],
    ]);
  });
});

test('the digest names the policies and not their order', () => {
  expect(setOf(BASELINE.toReversed(), []).digest).toBe(setOf(BASELINE, []).digest);
  expect(setOf(BASELINE.slice(1), []).digest).not.toBe(setOf(BASELINE, []).digest);
});

describe('AZ-02: no decision outlives a change', () => {
  const permit = { id: 'p', text: `${HEAD} when { context.scopeHeld };` };
  const forbid = { id: 'f', text: `forbid (principal, action, resource == Remit::Tool::"files/read_file");` };

  test('AZ-02: the next set decides by the new policies, the old one is not changed by it', () => {
    const before = setOf([permit], [tool()]);
    expect(decide(before, question()).verdict).toBe('allow');
    const after = setOf([permit, forbid], [tool()]);
    expect(decide(after, question())).toMatchObject({ verdict: 'deny', reason: 'forbidden', rules: ['f'] });
    expect(decide(before, question()).verdict).toBe('allow');
    expect(decide(after, question()).verdict).toBe('deny');
  });
  test('AZ-02: a new risk class counts at once, with the same policies', () => {
    const before = setOf(BASELINE, [tool()]);
    expect(decide(before, question()).verdict).toBe('allow');
    const after = withTools(before, [tool({ risk: 'execute' })]);
    expect(decide(after, question()).verdict).toBe('deny');
    expect(after.digest).toBe(before.digest);
    // Twin: a set that carried its answers over would still say yes.
    expect(after.prepared).not.toBe(before.prepared);
  });
  test('AZ-02: the scope that is asked for is the one of the new review', () => {
    const before = setOf(BASELINE, [tool()]);
    const after = withTools(before, [tool({ scope: 'files:read2' })]);
    expect(decide(before, question()).verdict).toBe('allow');
    expect(decide(after, question())).toMatchObject({ verdict: 'challenge', requiredScopes: ['files:read2'] });
  });
  test('AZ-02: two hundred sets in turn each answer for themselves, though the engine has fewer places', () => {
    const sets = Array.from({ length: 200 }, (_, i) =>
      setOf(
        [permit, { id: `f${i}`, text: `forbid (principal, action, resource) when { context.at == ${i} };` }],
        [tool()],
      ),
    );
    for (const at of [3, 150, 3]) {
      expect(
        sets.map((set) => decide(set, question({ at })).verdict === 'deny').flatMap((denied, i) => (denied ? [i] : [])),
      ).toEqual([at]);
    }
  });
});

describe('AZ-05: sweeping permits are refused', () => {
  const AT = Date.UTC(2027, 0, 1);
  const ROLE = 'principal in Remit::Role::"operator"';
  const lint = (text: string): string[] =>
    setOf([{ id: 'x', text }], []).policies.flatMap((policy) => lintPolicy(policy, AT).map(({ code }) => code));

  test.each([
    [`permit (principal, action, resource);`, ['any_principal', 'every_tool', 'without_scope']],
    [
      `permit (principal is Remit::Person, action, resource is Remit::Tool);`,
      ['any_principal', 'every_tool', 'without_scope'],
    ],
    [`permit (${ROLE}, action, resource) when { context.scopeHeld };`, ['every_tool']],
    [`permit (principal, action, resource in Remit::Server::"s") when { context.scopeHeld };`, ['any_principal']],
    [`permit (${ROLE}, action, resource in Remit::Server::"s");`, ['without_scope']],
    [
      `permit (${ROLE}, action, resource in Remit::Server::"s") when { context.scopeHeld || context.approved };`,
      ['without_scope'],
    ],
    [`permit (${ROLE}, action, resource in Remit::Server::"s") unless { context.scopeHeld };`, ['without_scope']],
    [
      `permit (${ROLE}, action, resource) when { context.scopeHeld && resource.risk != Remit::Risk::"read" };`,
      ['every_tool'],
    ],
    [
      `permit (${ROLE}, action, resource) when { context.scopeHeld } unless { resource.risk == Remit::Risk::"read" };`,
      ['every_tool'],
    ],
    [
      `permit (${ROLE}, action, resource) when { context.scopeHeld && (resource.risk == Remit::Risk::"read" || context.approved) };`,
      ['every_tool'],
    ],
    [`permit (${ROLE}, action, resource) when { context.scopeHeld && resource.risk == Remit::Risk::"read" };`, []],
    [
      `permit (principal, action, resource) when { context.scopeHeld && principal in Remit::Role::"operator" && resource in Remit::Server::"s" };`,
      [],
    ],
    [`forbid (principal, action, resource);`, []],
    [`@until("2027-06-01") forbid (principal, action, resource);`, ['until_on_forbid']],
    [`@exception("why") permit (principal, action, resource);`, ['exception_incomplete']],
    [`@exception("") @until("2027-06-01") permit (principal, action, resource);`, ['exception_incomplete']],
    [`@exception("why") @until("2026-12-31") permit (principal, action, resource);`, ['exception_over']],
    [`@exception("why") @until("2029-01-01") permit (principal, action, resource);`, ['exception_too_long']],
    [`@exception("why") @until("2027-06-01") permit (principal, action, resource);`, []],
    [`@until("2027-06-01") permit (principal, action, resource);`, ['any_principal', 'every_tool', 'without_scope']],
  ])('AZ-05: %s', (text, codes) => {
    expect(lint(text)).toEqual(codes);
  });

  test('AZ-05: an exception stops permitting at its end by itself, in the set that is in force', () => {
    const set = setOf(
      [{ id: 'x', text: `@exception("why") @until("2027-06-01T12:00Z") permit (principal, action, resource);` }],
      [tool()],
    );
    const end = Date.UTC(2027, 5, 1, 12);
    expect([end - 1, end, end + 1, end - 1].map((at) => decide(set, question({ at })).verdict)).toEqual([
      'allow',
      'deny',
      'deny',
      'allow',
    ]);
  });
});
