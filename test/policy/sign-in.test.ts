/** What policies see of a sign-in, and what is asked for where a better one would do (RFC 9470). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SECOND_FACTOR_ACR } from '../../src/lib/second-factor.ts';
import { BASELINE } from '../../src/policy/baseline.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import type { Decision, Question } from '../../src/policy/decide.ts';
import { explain } from '../../src/policy/explain.ts';
import { NEVER_SIGNED_IN, signInAt } from '../../src/policy/sign-in.ts';
import type { SignIn } from '../../src/policy/sign-in.ts';
import { person, question, setOf, tool } from './fixtures.ts';

const NOW = 1_800_000_000;
const HEAD = `permit (principal, action, resource)`;
const signIn = (age: number | null, amr: readonly string[] = [], acr: string | null = null): SignIn => ({
  authTime: age === null ? null : NOW - age,
  amr,
  acr,
});

describe('the facts', () => {
  test.each<[string, SignIn, object]>([
    ['a good one', signIn(30, ['pwd', 'otp'], 'urn:gold'), { age: 30, secondFactor: true, acr: 'urn:gold' }],
    ['the token does not say', signIn(null), { age: NEVER_SIGNED_IN, factors: [], secondFactor: false, acr: '' }],
    ['a clock that is a little ahead', signIn(-60), { age: 0 }],
    ['a sign-in in the future is none', signIn(-61), { age: NEVER_SIGNED_IN }],
    ['no number', { ...signIn(0), authTime: Number.NaN }, { age: NEVER_SIGNED_IN }],
    ['no finite number', { ...signIn(0), authTime: Number.NEGATIVE_INFINITY }, { age: NEVER_SIGNED_IN }],
    ['a fraction of a second', { ...signIn(0), authTime: NOW - 9.5 }, { age: 10 }],
    ['text that is not well-formed', signIn(1, ['pwd', '\uD800'], '\uD800'), { factors: ['pwd'], acr: '' }],
  ])('%s', (_title, given, facts) => {
    expect(signInAt(given, NOW * 1_000 + 999)).toMatchObject(facts);
  });

  test('a policy reads each of them, and the chain of who acts', () => {
    const set = (condition: string) => setOf([{ id: 'p', text: `${HEAD} when { ${condition} };` }], [tool()]);
    const asked = question({
      signIn: signIn(30, ['pwd', 'otp'], 'urn:gold'),
      actors: ['planner', 'writer'],
    });
    for (const [condition, verdict] of [
      ['context.signIn.age == 30', 'allow'],
      ['context.signIn.factors == ["otp", "pwd"]', 'allow'],
      ['context.signIn.secondFactor', 'allow'],
      ['context.signIn.acr == "urn:gold"', 'allow'],
      ['context.actors.contains("writer")', 'allow'],
      ['context.actors.contains("other")', 'deny'],
      ['context.alone', 'deny'],
    ] as const)
      expect([condition, decide(set(condition), asked).verdict]).toEqual([condition, verdict]);
    expect(decide(set('context.alone'), { ...asked, alone: true }).verdict).toBe('allow');
  });

  test('a policy that reads none of the arguments is not stopped by arguments that cannot be read', () => {
    const many = Object.fromEntries(Array.from({ length: 2001 }, (_, i) => [`k${i}`, 1]));
    const set = setOf([{ id: 'p', text: `${HEAD} when { context.signIn.age < 60 };` }], [tool()]);
    expect(decide(set, question({ signIn: signIn(30), arguments: many })).verdict).toBe('allow');
  });
});

type Row = [string, string, Partial<Question>, Decision['verdict'], object?];
describe('step-up', () => {
  const fresh = `${HEAD} when { context.signIn.age <= 900 };`;
  const strong = `${HEAD} when { context.signIn.secondFactor };`;
  const both = `${HEAD} when { context.signIn.age <= 900 && context.signIn.secondFactor };`;
  const gold = `${HEAD} when { ["urn:gold", "urn:silver"].contains(context.signIn.acr) };`;
  const held = `${HEAD} when { context.signIn.age < 60 && context.approved };`;
  const scoped = `${HEAD} when { context.signIn.age < 60 && context.scopeHeld };`;
  const old = { signIn: signIn(3_600, ['pwd']) };

  test.each<Row>([
    ['fresh enough', fresh, { signIn: signIn(900) }, 'allow'],
    ['too old', fresh, { signIn: signIn(901) }, 'step_up', { maxAgeSeconds: 900, acrValues: [] }],
    ['of no known age', fresh, { signIn: signIn(null) }, 'step_up', { maxAgeSeconds: 900 }],
    ['one factor', strong, old, 'step_up', { maxAgeSeconds: null, acrValues: [SECOND_FACTOR_ACR] }],
    ['two factors', strong, { signIn: signIn(3_600, ['pwd', 'otp']) }, 'allow'],
    ['both missing', both, old, 'step_up', { maxAgeSeconds: 900, acrValues: [SECOND_FACTOR_ACR] }],
    ['only the factor missing', both, { signIn: signIn(1) }, 'step_up', { maxAgeSeconds: null }],
    ['only too old', both, { signIn: signIn(3_600, ['mfa']) }, 'step_up', { maxAgeSeconds: 900, acrValues: [] }],
    [
      'another acr',
      gold,
      { signIn: signIn(5, [], 'urn:lead') },
      'step_up',
      { maxAgeSeconds: null, acrValues: ['urn:gold', 'urn:silver'] },
    ],
    [
      'a value that would not do is not asked for',
      `${HEAD} when { context.signIn.acr != "urn:lead" && ["urn:lead", "urn:gold"].contains(context.signIn.acr) };`,
      old,
      'step_up',
      { acrValues: ['urn:gold'] },
    ],
    [
      'a value that a header cannot carry is not named',
      `${HEAD} when { ["urn:gold", "two words"].contains(context.signIn.acr) };`,
      old,
      'step_up',
      { acrValues: ['urn:gold'] },
    ],
    [
      'of several policies in the way the strictest',
      `${HEAD}; forbid (principal, action, resource) unless { context.signIn.age < 600 }; forbid (principal, action, resource) when { 120 < context.signIn.age };`,
      old,
      'step_up',
      { maxAgeSeconds: 120 },
    ],
    [
      'a policy for other tools does not count',
      `${fresh} permit (principal, action, resource == Remit::Tool::"files/other") when { context.signIn.age < 5 };`,
      old,
      'step_up',
      { maxAgeSeconds: 900 },
    ],
    [
      'a policy for other people does not count',
      `${fresh} permit (principal in Remit::Role::"auditor", action, resource) when { context.signIn.age < 5 };`,
      old,
      'step_up',
      { maxAgeSeconds: 900 },
    ],
    [
      'an age that is compared with no literal: now',
      `${HEAD} when { context.signIn.age * 2 < 100 };`,
      old,
      'step_up',
      { maxAgeSeconds: 0 },
    ],
    [
      'a method that must not have been used',
      `${HEAD} when { !context.signIn.factors.contains("sms") };`,
      { signIn: signIn(5, ['pwd', 'sms']) },
      'step_up',
    ],
    ['nothing that a sign-in would change', `${HEAD} when { context.signIn.age < 60 && context.at < 5 };`, old, 'deny'],
    ['an agent alone has nobody who could sign in', both, { ...old, alone: true }, 'deny'],
    ['the scope comes first', scoped, { ...old, scopes: new Set<string>() }, 'challenge'],
    ['then the sign-in', scoped, old, 'step_up', { maxAgeSeconds: 60, after: 'allow' }],
    ['the sign-in comes before the approval', held, old, 'step_up', { maxAgeSeconds: 60, after: 'hold' }],
    ['then the approval', held, { signIn: signIn(5) }, 'hold'],
    ['an approval does not make the sign-in younger', held, { ...old, approved: true }, 'step_up', { after: 'allow' }],
    [
      'who may also be approved is not asked to sign in for that',
      `${HEAD} when { context.approved }; ${held}`,
      old,
      'hold',
    ],
    [
      'what the person can do alone comes before what needs another',
      `${HEAD} when { context.approved }; ${fresh}`,
      old,
      'step_up',
    ],
  ])('%s', (_title, texts, over, verdict, stepUp) => {
    const policies = texts.split(/(?<=;) (?=permit|forbid)/).map((text, i) => ({ id: `p${i}`, text }));
    const set = setOf(policies, [tool(), tool({ name: 'other' })]);
    const decision = decide(set, question(over));
    expect(decision).toMatchObject({ verdict, errors: [], ...(stepUp && { stepUp }) });
    expect(decision.stepUp === undefined).toBe(verdict !== 'step_up');
    if (verdict === 'step_up') expect(decision.reason).toBe('sign_in_insufficient');
    if (verdict !== 'deny')
      expect(visible(set, { person: question().person, agent: 'client-a', at: 0 }, tool())).toBe(true);
  });

  test('AZ-12: a policy that errs over the sign-in denies, and nobody is sent to sign in for it', () => {
    const errs = `forbid (principal, action, resource) when { context.signIn.age * 9223372036854775807 > 5 };`;
    const set = setOf(
      [
        { id: 'p', text: fresh },
        { id: 'errs', text: errs },
      ],
      [tool()],
    );
    expect(decide(set, question(old))).toMatchObject({ verdict: 'deny', reason: 'policy_error' });
  });

  test('the answer for one sign-in is not the answer for the next', () => {
    const set = setOf([{ id: 'p', text: both }], [tool()]);
    const verdicts = [signIn(5, ['mfa']), signIn(901, ['mfa']), signIn(5), signIn(5, ['mfa'])].map(
      (one) => decide(set, question({ signIn: one })).verdict,
    );
    expect(verdicts).toEqual(['allow', 'step_up', 'step_up', 'allow']);
  });

  test('explain names the sign-in that would help, and what is said then', () => {
    const set = setOf([{ id: 'p', text: held }], [tool()]);
    expect(explain(set, question(old)).nearest[0]).toEqual({ change: 'sign_in', value: 'max_age=60', verdict: 'hold' });
    const strongSet = setOf([{ id: 'p', text: both }], [tool()]);
    expect(explain(strongSet, question(old)).nearest[0]).toEqual({
      change: 'sign_in',
      value: `max_age=900, acr_values=${SECOND_FACTOR_ACR}`,
      verdict: 'allow',
    });
  });
});

describe("the guide's example", () => {
  const guide = readFileSync(new URL('../../docs/guides/policy.md', import.meta.url), 'utf8');
  const text = /```cedar\n(@description\("Writes in production[^`]+)```/.exec(guide)?.[1] ?? '';
  const write = { name: 'write_file', risk: 'write', scope: 'files:write' } as const;
  const tools = [tool(), tool(write), tool({ ...write, name: 'draft', environment: 'development' })];
  const set = setOf([...BASELINE, { id: 'team.fresh-writes', text }], tools);
  const verdict = (name: string, over: Partial<Question> = {}): string =>
    decide(set, question({ tool: { server: 'files', name }, scopes: new Set(['files:read', 'files:write']), ...over }))
      .verdict;
  const good = signIn(900, ['pwd', 'otp']);

  test.each<[string, string, Partial<Question>, string]>([
    ['reading asks for nothing', 'read_file', {}, 'allow'],
    ['writing elsewhere asks for nothing', 'draft', {}, 'allow'],
    ['a recent sign-in with two factors', 'write_file', { signIn: good }, 'allow'],
    ['too long ago', 'write_file', { signIn: { ...good, authTime: NOW - 901 } }, 'step_up'],
    ['a password only', 'write_file', { signIn: signIn(5, ['pwd']) }, 'step_up'],
    ['a token that does not say', 'write_file', {}, 'step_up'],
    ['an agent alone', 'write_file', { alone: true }, 'deny'],
    ['somebody who may not write at all', 'write_file', { person: person('p', ['auditor']) }, 'deny'],
    ['without the scope', 'write_file', { scopes: new Set<string>() }, 'challenge'],
  ])('%s: %s', (_title, name, over, expected) => {
    expect(verdict(name, over)).toBe(expected);
  });
});
