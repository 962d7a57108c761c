import { expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { explain } from '../../src/policy/explain.ts';
import { person, question, setOf, tool } from './fixtures.ts';

const removal = tool({ name: 'delete', risk: 'destructive', scope: 'files:delete' });
const set = setOf(BASELINE, [tool(), removal, tool({ name: 'r', risk: 'regulated', environment: 'development' })]);

test('names the policy that allowed, in words, and nothing to change', () => {
  expect(explain(set, question())).toEqual({
    decision: { verdict: 'allow', reason: null, rules: ['baseline.developer'], errors: [] },
    policies: [
      {
        id: 'baseline.developer',
        effect: 'permit',
        description: "Developers read and write with the tool's scope, where no regulated data is held.",
      },
    ],
    nearest: [],
  });
});
test('names the scope that is missing', () => {
  expect(explain(set, question({ scopes: new Set() })).nearest).toEqual([
    { change: 'scope', value: 'files:read', verdict: 'allow' },
  ]);
});
test('names the role that would lead to an approval', () => {
  const asked = question({ tool: removal, scopes: new Set(['files:delete']) });
  expect(explain(set, asked).nearest).toEqual([{ change: 'role', value: 'operator', verdict: 'hold' }]);
});
test('names the forbid, and that nothing helps', () => {
  const asked = question({
    person: person('o', ['operator']),
    tool: { server: 'files', name: 'r' },
    approved: true,
  });
  expect(explain(set, asked)).toMatchObject({
    decision: { verdict: 'deny', reason: 'forbidden' },
    policies: [{ id: 'baseline.regulated-environments', effect: 'forbid' }],
    nearest: [],
  });
});
