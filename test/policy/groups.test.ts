/** Groups in policies: ID-08 for the decision by itself; on the wire in on-the-wire.test.ts. */
import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import type { Question } from '../../src/policy/decide.ts';
import { explain } from '../../src/policy/explain.ts';
import { lintPolicy, warningsOf } from '../../src/policy/lint.ts';
import { preparedAt } from '../../src/policy/prepare.ts';
import type { PolicySet } from '../../src/policy/compile.ts';
import { person, question, setOf, tool } from './fixtures.ts';

const AUDITOR = ['auditor'];
const payments = {
  id: 'team.payments',
  text: `permit (principal in Remit::Group::"group_pay", action, resource in Remit::Server::"files") when { context.scopeHeld };`,
};
const interns = { id: 'team.interns', text: `forbid (principal in Remit::Group::"group_int", action, resource);` };
const set = setOf([...BASELINE, payments, interns], [tool(), tool({ server: 'mail' })]);
const ask = (groups: readonly string[], over: Partial<Question> = {}) =>
  decide(set, question({ person: person('p', AUDITOR, groups), ...over }));

const kept = (of: PolicySet): number =>
  [...preparedAt(of, 0).classes.values()].reduce((sum, cls) => sum + cls.standings.size, 0);

describe('who is in a group', () => {
  test.each<[readonly string[], string]>([
    [[], 'deny'],
    [['group_pay'], 'allow'],
    [['group_other', 'group_pay'], 'allow'],
    [['group_pay', 'group_int'], 'deny'],
    [['group_pay2', 'pay', 'Remit::Group::"group_pay"'], 'deny'],
  ])('%j: %s', (groups, verdict) => {
    expect(ask(groups).verdict).toBe(verdict);
  });

  test('ID-08: the same person out of the group is refused with the next question, and is shown the tool no more', () => {
    const sees = (groups: readonly string[]): boolean =>
      visible(set, { person: person('p', AUDITOR, groups), agent: 'a', at: 0 }, tool());
    for (const _ of [1, 2]) {
      expect([ask(['group_pay']).verdict, sees(['group_pay'])]).toEqual(['allow', true]);
      expect([ask([]).verdict, sees([])]).toEqual(['deny', false]);
    }
    // Twin: an answer kept by roles alone would say yes to both.
    const naive = new Map<string, string>();
    const byRoles = (groups: readonly string[]): string => {
      const key = AUDITOR.join();
      naive.set(key, naive.get(key) ?? ask(groups).verdict);
      return naive.get(key)!;
    };
    expect([byRoles(['group_pay']), byRoles([])]).toEqual(['allow', 'allow']);
  });

  test('a group that the token or the name of a role could be mistaken for is only a group', () => {
    const named = setOf(
      [
        {
          id: 'x',
          text: `permit (principal in Remit::Group::"operator", action, resource) when { context.scopeHeld };`,
        },
      ],
      [tool()],
    );
    expect(decide(named, question({ person: person('p', ['operator']) })).verdict).toBe('deny');
    expect(decide(named, question({ person: person('operator', AUDITOR) })).verdict).toBe('deny');
    const role = setOf(BASELINE, [tool()]);
    expect(decide(role, question({ person: person('p', AUDITOR, ['operator', 'developer']) })).verdict).toBe('deny');
  });

  test('an agent that acts alone can be named, but is in no group', () => {
    const alone = {
      id: 'team.night',
      text: `permit (principal == Remit::Person::"agent/agent_1", action, resource in Remit::Server::"files") when { context.scopeHeld };`,
    };
    const one = setOf([alone], [tool()]);
    const asked = question({ person: person('agent/agent_1', AUDITOR), alone: true });
    expect(decide(one, asked).verdict).toBe('allow');
    expect(decide(one, { ...asked, person: person('agent/agent_2', AUDITOR) }).verdict).toBe('deny');
  });
});

describe('what is kept', () => {
  test('people in groups that no policy names share one answer; the order of a record makes no second one', () => {
    const fresh = setOf([...BASELINE, payments, interns], [tool()]);
    for (let i = 0; i < 50; i++)
      decide(fresh, question({ person: person(`p${i}`, AUDITOR, [`group_${i}`, `group_${i + 1}`]) }));
    expect(kept(fresh)).toBe(1);
    for (const groups of [
      ['group_pay', 'group_int'],
      ['group_int', 'group_9', 'group_pay'],
      ['group_int', 'group_int', 'group_pay', 'group_int'],
    ])
      decide(fresh, question({ person: person('p', AUDITOR, groups) }));
    expect(kept(fresh)).toBe(2);
  });

  test('a policy for one server names groups for the tools of that server only', () => {
    const fresh = setOf([...BASELINE, payments], [tool({ server: 'mail' })]);
    decide(fresh, question({ tool: tool({ server: 'mail' }), person: person('p', AUDITOR, ['group_pay']) }));
    decide(fresh, question({ tool: tool({ server: 'mail' }), person: person('p', AUDITOR) }));
    expect(kept(fresh)).toBe(1);
  });

  test('more memberships than are kept: what is kept is dropped and worked out anew, the same', () => {
    const fresh = setOf([...BASELINE, payments, interns], [tool()]);
    const verdict = (groups: readonly string[]): string =>
      decide(fresh, question({ person: person('p', AUDITOR, groups) })).verdict;
    expect([verdict(['group_pay']), verdict(['group_int']), verdict([])]).toEqual(['allow', 'deny', 'deny']);
    const prepared = preparedAt(fresh, 0);
    expect(prepared.ofGroups).toBeGreaterThan(0);
    prepared.ofGroups = 1_000_000;
    expect([verdict(['group_int', 'group_pay']), kept(fresh)]).toEqual(['deny', 1]);
    expect(prepared.ofGroups).toBeLessThan(10);
    expect([verdict(['group_pay']), verdict(['group_int']), verdict([])]).toEqual(['allow', 'deny', 'deny']);
  });

  test('a name of somebody cannot be made to look like a membership', () => {
    const both = setOf(
      [payments, { id: 'x', text: `permit (principal == Remit::Person::"a", action, resource);` }],
      [tool()],
    );
    const verdict = (id: string, groups: readonly string[]): string =>
      decide(both, question({ person: person(id, AUDITOR, groups), scopes: new Set(['files:read']) })).verdict;
    expect([
      verdict('a', []),
      verdict('b', ['group_pay']),
      verdict('b', []),
      verdict('["","","group_pay"]', []),
    ]).toEqual(['allow', 'allow', 'deny', 'deny']);
  });
});

describe('lint', () => {
  const policyOf = (text: string) => setOf([{ id: 'x', text }], []).policies[0]!;
  test('a group narrows a permit', () => {
    expect(lintPolicy(policyOf(payments.text), 0)).toEqual([]);
    const condition = `permit (principal, action, resource in Remit::Server::"s") when { context.scopeHeld && principal in Remit::Group::"g" };`;
    expect(lintPolicy(policyOf(condition), 0)).toEqual([]);
    const negated = condition.replace('principal in Remit::Group::"g"', '!(principal in Remit::Group::"g")');
    expect(lintPolicy(policyOf(negated), 0).map(({ code }) => code)).toEqual(['any_principal']);
  });
  test('a group that does not exist is warned of, by its id', () => {
    const groups = new Map([['group_pay', {}]]);
    expect(warningsOf(policyOf(payments.text), { groups })).toEqual([]);
    expect(warningsOf(policyOf(interns.text), { groups })).toMatchObject([
      { policy: 'x', code: 'group_unknown', message: expect.stringContaining('"group_int"') as string },
    ]);
  });
});

test('explain names the group that would help', () => {
  const asked = question({ person: person('p', AUDITOR) });
  expect(explain(set, asked).nearest).toContainEqual({ change: 'group', value: 'group_pay', verdict: 'allow' });
  expect(explain(set, asked).nearest.map(({ value }) => value)).not.toContain('group_int');
});
