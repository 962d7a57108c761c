import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exposeArguments } from '../../src/policy/arguments.ts';
import type { PolicySource } from '../../src/policy/compile.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import type { Decision, Question, StepUp } from '../../src/policy/decide.ts';
import { CEDAR_SCHEMA } from '../../src/policy/schema.ts';
import type { ToolFacts } from '../../src/policy/schema.ts';
import type { SignInFacts } from '../../src/policy/sign-in.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { person, question, setOf, tool } from './fixtures.ts';

function tags(args: JsonObject): Record<string, unknown> {
  const exposed = exposeArguments(args);
  if (!exposed.ok) throw new Error(exposed.error);
  return Object.fromEntries(exposed.value.map(({ uid, tags: map }) => [(uid as { type: string }).type.slice(7), map]));
}

describe('exposeArguments', () => {
  test('puts every leaf under its JSON Pointer, in the map of its type', () => {
    expect(
      tags({ path: '/x', n: -0, deep: { 'a/b': [true, 'y'], '~': ['p', 'q'] }, none: null, half: 0.5, big: 2 ** 60 }),
    ).toEqual({
      Strings: { '/path': '/x', '/deep/a~1b/1': 'y', '/deep/~0/0': 'p', '/deep/~0/1': 'q' },
      Numbers: { '/n': 0 },
      Flags: { '/deep/a~1b/0': true },
      Lists: { '/deep/~0': ['p', 'q'] },
    });
  });
  test('a name cannot pass itself off as one of the engine or of the language', () => {
    const args = JSON.parse(
      '{"__proto__":"a","__entity":{"type":"Remit::Role","id":"operator"},"__extn":"b"}',
    ) as JsonObject;
    expect(tags(args)['Strings']).toEqual({
      '/__proto__': 'a',
      '/__entity/type': 'Remit::Role',
      '/__entity/id': 'operator',
      '/__extn': 'b',
    });
    const policy = {
      id: 'p',
      text: `permit (principal, action, resource) when { context.arguments.strings.hasTag("/__extn") };`,
    };
    expect(decide(setOf([policy], [tool()]), question({ arguments: args }))).toMatchObject({
      verdict: 'allow',
      errors: [],
    });
  });
  test('text that is not well-formed is in no map, rather than changed', () => {
    expect(tags({ a: '\uD800', b: ['ok', '\uDC00'] })).toEqual({ Strings: { '/b/0': 'ok' } });
  });
  test('a map with nothing in it is not there, and asking it is no error', () => {
    const text = `permit (principal, action == Remit::Action::"callTool", resource)
      when { !context.arguments.numbers.hasTag("/n") && !context.arguments.lists.hasTag("/l") };`;
    const set = setOf([{ id: 'absent', text }], [tool({})]);
    expect(decide(set, question({ arguments: {} }))).toMatchObject({ verdict: 'allow', rules: ['absent'], errors: [] });
    expect(decide(set, question({ arguments: { n: 1 } })).verdict).toBe('deny');
  });
  test('refuses too many leaves and too deep nesting', () => {
    const many = Object.fromEntries(Array.from({ length: 2001 }, (_, i) => [`k${i}`, 1]));
    let deep: JsonObject = {};
    for (let i = 0; i < 70; i++) deep = { a: deep };
    expect(exposeArguments(many)).toEqual({ ok: false, error: 'arguments_not_readable' });
    expect(exposeArguments(deep)).toEqual({ ok: false, error: 'arguments_not_readable' });
  });
});

describe('policies that read the call', () => {
  const below = {
    id: 'below',
    text: `permit (principal in Remit::Role::"developer", action, resource in Remit::Server::"files") when { context.scopeHeld }
      when { context.arguments.strings.hasTag("/path") && context.arguments.strings.getTag("/path") like "/work/*" };`,
  };
  const set = setOf([below], [tool(), tool({ server: 'mail', name: 'send' })]);

  test.each([
    [{ path: '/work/a' }, 'allow'],
    [{ path: '/etc/passwd' }, 'deny'],
    [{}, 'deny'],
    [{ path: ['/work/a'] }, 'deny'],
    [{ path: null }, 'deny'],
  ])('%j: %s', (args, verdict) => {
    expect(decide(set, question({ arguments: args })).verdict).toBe(verdict);
  });
  test('step-up is offered only when the arguments would pass', () => {
    const without = { scopes: new Set<string>() };
    expect(decide(set, question({ ...without, arguments: { path: '/work/a' } })).verdict).toBe('challenge');
    expect(decide(set, question({ ...without, arguments: { path: '/etc' } })).verdict).toBe('deny');
  });
  test('a list shows the tool to whom some argument would be allowed, and to nobody else', () => {
    const sees = (roles: string[], named: Pick<ToolFacts, 'server' | 'name'>): boolean =>
      visible(set, { person: person('p', roles), agent: 'a', at: 0 }, named);
    expect(sees(['developer'], tool())).toBe(true);
    expect(sees(['auditor'], tool())).toBe(false);
    expect(sees(['developer'], { server: 'mail', name: 'send' })).toBe(false);
  });
});

describe('AZ-12: an error is a no', () => {
  const allow = {
    id: 'allow',
    text: `permit (principal in Remit::Role::"developer", action, resource) when { context.scopeHeld };`,
  };
  const errs = {
    id: 'errs',
    text: `forbid (principal, action, resource) when { context.arguments.numbers.hasTag("/n") && context.arguments.numbers.getTag("/n") + 9223372036854775807 > 0 };`,
  };
  const errsAlways = {
    id: 'errs',
    text: `forbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 && context.approved };`,
  };

  test('AZ-12: a forbid that errs denies, though the engine would have skipped it', () => {
    const set = setOf([allow, errs], [tool()]);
    expect(decide(set, question({ arguments: {} })).verdict).toBe('allow');
    const decision = decide(set, question({ arguments: { n: 1 } }));
    expect(decision).toMatchObject({ verdict: 'deny', reason: 'policy_error' });
    expect(decision.errors.join()).toContain('errs: integer overflow');
    // Twin: the engine by itself says allow.
    expect(
      plainCedar([allow, errs], tool(), question({ arguments: { n: 1 } }), true, false, naiveSignIn(question())),
    ).toMatchObject({
      decision: 'allow',
    });
  });
  test('AZ-12: a kept answer with an error stays a no', () => {
    const set = setOf([allow, errsAlways], [tool()]);
    for (let i = 0; i < 3; i++)
      expect(decide(set, question())).toMatchObject({ verdict: 'deny', reason: 'policy_error' });
    expect(visible(set, { person: person('p', ['developer']), agent: 'a', at: 0 }, tool())).toBe(false);
  });
  test('AZ-12: arguments that cannot be read deny where a policy reads them', () => {
    const many = Object.fromEntries(Array.from({ length: 2001 }, (_, i) => [`k${i}`, 1]));
    expect(decide(setOf([allow, errs], [tool()]), question({ arguments: many }))).toMatchObject({
      verdict: 'deny',
      reason: 'policy_error',
      errors: ['arguments_not_readable'],
    });
  });
  test('AZ-12: a question that is not one denies instead of throwing', () => {
    const set = setOf([allow], [tool()]);
    for (const broken of [
      null,
      undefined,
      7,
      {},
      { person: null },
      { tool: null },
      question({ person: person('p', [null as unknown as string]) }),
    ]) {
      expect(decide(set, broken as Question).verdict).toBe('deny');
    }
  });
  test('AZ-12: no policy at all denies', () => {
    expect(decide(setOf([], [tool()]), question())).toMatchObject({
      verdict: 'deny',
      reason: 'not_permitted',
      rules: [],
    });
  });
});

let plainSet = '';

/** Cedar, the plain way: all policies at once, all that is known of the person, nothing kept. */
function plainCedar(
  policies: readonly PolicySource[],
  facts: ToolFacts,
  asked: Question,
  scopeHeld: boolean,
  approved: boolean,
  signIn: SignInFacts,
) {
  const exposed = exposeArguments(asked.arguments);
  if (!exposed.ok) throw new Error('unreadable');
  const uid = (type: string, id: string) => ({ type: `Remit::${type}`, id });
  const ref = (type: string, id: string) => ({ __entity: uid(type, id) });
  const scopes = [...new Set([...asked.scopes, ...(scopeHeld ? [facts.scope] : [])])];
  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  if (plainSet !== JSON.stringify(staticPolicies)) {
    cedar.preparseSchema('plain', CEDAR_SCHEMA);
    cedar.preparsePolicySet('plain', { staticPolicies });
    plainSet = JSON.stringify(staticPolicies);
  }
  const answer = cedar.statefulIsAuthorized({
    preparsedSchemaName: 'plain',
    preparsedPolicySetId: 'plain',
    validateRequest: true,
    principal: uid('Person', asked.person.id),
    action: uid('Action', 'callTool'),
    resource: uid('Tool', `${facts.server}/${facts.name}`),
    context: {
      agent: ref('Agent', asked.agent),
      scopeHeld,
      approved,
      untrusted: asked.untrusted,
      // The union: who received one of the three received private data.
      private: asked.private || asked.confidential || asked.regulated || asked.secret,
      confidential: asked.confidential,
      regulated: asked.regulated,
      secret: asked.secret,
      copied: asked.copied,
      copiedFrom: [...asked.copiedFrom],
      receivedFrom: [...asked.receivedFrom],
      scopes,
      at: asked.at,
      signIn: { ...signIn, factors: [...signIn.factors] },
      alone: asked.alone,
      actors: [...asked.actors],
      arguments: {
        strings: ref('Strings', 'arguments'),
        numbers: ref('Numbers', 'arguments'),
        flags: ref('Flags', 'arguments'),
        lists: ref('Lists', 'arguments'),
      },
    },
    entities: [
      {
        uid: uid('Person', asked.person.id),
        attrs: {},
        parents: [
          ...asked.person.roles.map((role) => uid('Role', role)),
          ...asked.person.groups.map((group) => uid('Group', group)),
        ],
      },
      {
        uid: uid('Tool', `${facts.server}/${facts.name}`),
        attrs: {
          kind: ref('Kind', facts.kind),
          risk: ref('Risk', facts.risk),
          environment: ref('Environment', facts.environment),
          dataClasses: facts.dataClasses.map((name) => ref('DataClass', name)),
          outward: facts.outward === true,
        },
        parents: [uid('Server', facts.server)],
      },
      ...exposed.value,
    ],
  });
  if (answer.type === 'failure') throw new Error(JSON.stringify(answer.errors));
  return { decision: answer.response.decision, errors: answer.response.diagnostics.errors.length };
}

/** Only the methods that the questions below use. */
function naiveSignIn({ signIn: { authTime, amr, acr }, at }: Question): SignInFacts {
  const kinds = new Set(amr.map((method) => (method === 'pwd' ? 'knows' : 'has')));
  return {
    age: authTime === null ? 1e12 : at / 1_000 - authTime,
    factors: amr,
    secondFactor: amr.includes('mfa') || kinds.size > 1,
    acr: acr ?? '',
  };
}

/** Every sign-in that anybody could make. */
function naiveBetter(now: SignInFacts): SignInFacts[] {
  const strong = [[...now.factors, 'mfa', 'hwk'], [...now.factors, 'mfa', 'hwk', 'sms'], ['mfa']].flatMap((factors) =>
    [now.acr, 'urn:gold'].map((acr) => ({ ...now, factors, secondFactor: true, acr })),
  );
  return [...strong, ...[now, ...strong].map((facts) => ({ ...facts, age: 0 }))];
}

function plainVerdict(policies: readonly PolicySource[], facts: ToolFacts, asked: Question): Decision['verdict'] {
  const held = asked.scopes.has(facts.scope);
  const now = naiveSignIn(asked);
  const better = asked.alone || !policies.some(({ text }) => text.includes('signIn')) ? [] : naiveBetter(now);
  const allows = (scopeHeld: boolean, approved: boolean, signIn = now): boolean => {
    const { decision, errors } = plainCedar(policies, facts, asked, scopeHeld, approved, signIn);
    return decision === 'allow' && errors === 0;
  };
  if (allows(held, asked.approved)) return 'allow';
  if (plainCedar(policies, facts, asked, held, asked.approved, now).errors > 0) return 'deny';
  if (!held && [now, ...better].some((s) => allows(true, asked.approved, s) || allows(true, true, s)))
    return 'challenge';
  if (better.some((signIn) => allows(held, asked.approved, signIn))) return 'step_up';
  if (!asked.approved && allows(held, true)) return 'hold';
  return !asked.approved && better.some((signIn) => allows(held, true, signIn)) ? 'step_up' : 'deny';
}

const POOL = [
  `permit (principal in Remit::Role::"developer", action, resource) when { context.scopeHeld };`,
  `permit (principal == Remit::Person::"anna", action, resource) when { context.approved };`,
  `permit (principal, action, resource in Remit::Server::"files") when { context.scopeHeld && principal in Remit::Role::"operator" };`,
  `permit (principal, action, resource is Remit::Tool in Remit::Server::"mail") when { context.agent == Remit::Agent::"ci" };`,
  `permit (principal, action, resource == Remit::Tool::"files/a") when { context.approved && context.scopeHeld };`,
  `forbid (principal, action, resource) when { context.untrusted && context.private && resource.outward } unless { context.approved };`,
  `permit (principal, action, resource in Remit::Server::"files") when { context.private && context.scopeHeld };`,
  `forbid (principal, action, resource) when { context.untrusted && context.arguments.strings.hasTag("/p") };`,
  `forbid (principal, action, resource) when { context.confidential && !context.regulated && resource.outward };`,
  `forbid (principal, action, resource) when { context.secret } unless { context.approved };`,
  `forbid (principal, action, resource) when { context.copied && resource.outward } unless { context.approved };`,
  `forbid (principal, action, resource) when { context.copiedFrom.contains("vault") };`,
  `forbid (principal, action, resource in Remit::Server::"mail") when { context.receivedFrom.contains("crm") && !context.untrusted };`,
  `permit (principal, action, resource) when { context.scopes.contains("extra") };`,
  `permit (principal, action, resource) when { context.at < 1800000000000 };`,
  `permit (principal, action, resource) when { context has scopes && resource.risk == Remit::Risk::"read" };`,
  `permit (principal, action, resource) when { context.arguments.strings.hasTag("/p") && context.arguments.strings.getTag("/p") like "/w/*" } when { context.scopeHeld };`,
  `forbid (principal, action, resource) when { context.arguments.flags.hasTag("/f") && context.arguments.flags.getTag("/f") } unless { context.approved };`,
  `forbid (principal, action, resource) when { [Remit::Tool::"mail/b"].contains(resource) };`,
  `forbid (principal, action, resource) when { resource.kind == Remit::Kind::"prompt" } unless { context.approved };`,
  `forbid (principal, action, resource) when { [Remit::Person::"bert", Remit::Person::"anna"].contains(principal) && resource.risk == Remit::Risk::"write" };`,
  `forbid (principal, action, resource) when { context.agent != Remit::Agent::"ci" && resource.environment == Remit::Environment::"staging" };`,
  `forbid (principal, action, resource) when { context.arguments.numbers.hasTag("/n") && context.arguments.numbers.getTag("/n") + 9223372036854775800 > 9 };`,
  `permit (principal in Remit::Group::"payments", action, resource) when { context.scopeHeld };`,
  `permit (principal, action, resource in Remit::Server::"mail") when { principal in [Remit::Group::"payments", Remit::Group::"leads"] && context.approved };`,
  `forbid (principal in Remit::Group::"interns", action, resource) when { resource.risk == Remit::Risk::"write" };`,
  `permit (principal in Remit::Role::"operator", action, resource) when { context.signIn.age <= 900 && context.signIn.secondFactor && context.scopeHeld };`,
  `permit (principal in Remit::Group::"leads", action, resource) when { context.signIn.acr == "urn:gold" };`,
  `permit (principal, action, resource in Remit::Server::"mail") when { context.signIn.age * 2 < 120 && context.approved };`,
  `forbid (principal, action, resource) when { resource.environment == Remit::Environment::"staging" } unless { context.signIn.age < 300 };`,
  `forbid (principal, action, resource == Remit::Tool::"mail/b") unless { context.signIn.factors.contains("hwk") };`,
  `forbid (principal, action, resource) when { context.signIn.factors.contains("sms") && resource.risk == Remit::Risk::"write" };`,
  `forbid (principal, action, resource) when { context.alone && resource.risk == Remit::Risk::"write" };`,
  `permit (principal, action, resource) when { context.actors.contains("planner") && context.scopeHeld };`,
];

/** What a person may come back with who did as they were asked, no more. */
function signedInAgain({ signIn, at }: Question, { maxAgeSeconds, acrValues }: StepUp): Question['signIn'][] {
  const authTime = maxAgeSeconds === null ? signIn.authTime : at / 1_000 - Math.max(0, maxAgeSeconds - 1);
  if (acrValues.length === 0) return [{ ...signIn, authTime }];
  return [['mfa'], [...signIn.amr, 'mfa', 'hwk']].flatMap((amr) => acrValues.map((acr) => ({ authTime, amr, acr })));
}

test('kept answers, slices and classes change nothing: every question is answered as by the whole set, evaluated from scratch', () => {
  const tools = ['files', 'mail'].flatMap((server) =>
    // d differs from b in nothing but its name, e from b in name and kind.
    ['a', 'b', 'c', 'd', 'e'].map((name, i) =>
      tool({
        server,
        name,
        kind: i === 4 ? 'prompt' : 'tool',
        risk: i === 0 ? 'write' : 'read',
        environment: i === 2 ? 'staging' : 'production',
        scope: i > 2 ? 's:1' : `s:${i}`,
        outward: i === 2,
      }),
    ),
  );
  const asked = fc.record({
    person: fc.record({
      id: fc.constantFrom('anna', 'bert', 'carl'),
      roles: fc.subarray(['developer', 'operator', 'auditor'], { minLength: 1 }),
      groups: fc.shuffledSubarray(['payments', 'leads', 'interns', 'named nowhere']),
    }),
    agent: fc.constantFrom('ci', 'ide'),
    tool: fc.constantFrom(...tools),
    scopes: fc.subarray(['s:0', 's:1', 's:2', 'extra']).map((list) => new Set(list)),
    approved: fc.boolean(),
    arguments: fc.record(
      { p: fc.constantFrom('/w/x', '/e'), f: fc.boolean(), n: fc.constantFrom(1, 100) },
      { requiredKeys: [] },
    ),
    signIn: fc.record({
      authTime: fc.constantFrom(null, 1_699_999_990, 1_699_999_500, 1_600_000_000),
      amr: fc.constantFrom([], ['pwd'], ['pwd', 'otp'], ['mfa'], ['pwd', 'sms'], ['hwk']),
      acr: fc.constantFrom(null, 'urn:gold', 'urn:lead'),
    }),
    alone: fc.boolean(),
    untrusted: fc.boolean(),
    private: fc.boolean(),
    confidential: fc.boolean(),
    regulated: fc.boolean(),
    secret: fc.boolean(),
    copied: fc.boolean(),
    copiedFrom: fc.subarray(['crm', 'vault']),
    receivedFrom: fc.subarray(['crm', 'wiki']),
    actors: fc.subarray(['planner', 'writer']),
    at: fc.constantFrom(1_700_000_000_000, 1_900_000_000_000),
  });
  fc.assert(
    fc.property(
      fc.subarray(POOL, { minLength: 1 }),
      fc.array(asked, { minLength: 1, maxLength: 4 }),
      (texts, questions) => {
        const policies = texts.map((text, i) => ({ id: `p${i}`, text }));
        const set = setOf(policies, tools);
        for (const one of questions) {
          const full = question(one);
          const verdict = plainVerdict(policies, one.tool, full);
          const decision = decide(set, full);
          expect(decision.verdict).toBe(verdict);
          if (decision.stepUp) {
            const verdicts = signedInAgain(full, decision.stepUp).map(
              (signIn) => decide(set, { ...full, signIn }).verdict,
            );
            expect(verdicts).toContain(decision.stepUp.after);
          }
          expect(decide(set, full).verdict).toBe(verdict); // now from what was kept
          if (verdict !== 'deny')
            expect(visible(set, { person: one.person, agent: one.agent, at: one.at }, one.tool)).toBe(true);
        }
      },
    ),
    { numRuns: 60, seed: 20261121 },
  );
});

test('ID-08: people who differ in nothing but their groups are told apart wherever a policy tells them apart', () => {
  const pool = POOL.filter((text) => text.includes('Group') && !text.includes('signIn'));
  const groups = fc.shuffledSubarray(['payments', 'leads', 'interns', 'named nowhere']);
  const tools = [tool({ server: 'files', name: 'a', risk: 'write' }), tool({ server: 'mail', name: 'b' })];
  fc.assert(
    fc.property(
      fc.subarray(pool, { minLength: 1 }),
      fc.array(fc.tuple(groups, fc.constantFrom(...tools), fc.boolean()), { minLength: 8, maxLength: 16 }),
      (texts, asked) => {
        const policies = texts.map((text, i) => ({ id: `p${i}`, text }));
        const set = setOf(policies, tools);
        for (const [of, named, approved] of asked) {
          const full = question({ person: person('p', ['developer'], of), tool: named, approved });
          expect(decide(set, full).verdict).toBe(plainVerdict(policies, named, full));
        }
      },
    ),
    { numRuns: 40, seed: 20261122 },
  );
});
