import { describe, expect, test } from 'vitest';
import { BASELINE } from '../../src/policy/baseline.ts';
import { decide } from '../../src/policy/decide.ts';
import { question, setOf, tool } from './fixtures.ts';

describe('verdicts', () => {
  const removal = tool({ name: 'delete', risk: 'destructive', scope: 'files:delete' });
  const set = setOf(BASELINE, [tool(), removal]);
  const operator = { id: 'person_o', roles: ['operator'] };

  test('allows what a policy permits, and names it', () => {
    expect(decide(set, question())).toEqual({
      verdict: 'allow',
      reason: null,
      rules: ['baseline.developer'],
      errors: [],
    });
  });
  test('challenges with exactly the scope of the tool', () => {
    expect(decide(set, question({ scopes: new Set(['other']) }))).toMatchObject({
      verdict: 'challenge',
      reason: 'scope_missing',
      requiredScopes: ['files:read'],
    });
  });
  test('holds what an approval would allow', () => {
    const asked = question({ person: operator, tool: removal, scopes: new Set(['files:delete']) });
    expect(decide(set, asked)).toMatchObject({ verdict: 'hold', reason: 'approval_missing' });
    expect(decide(set, { ...asked, approved: true })).toMatchObject({
      verdict: 'allow',
      rules: ['baseline.operator-approved'],
    });
  });
  test('with both missing the scope is asked for first, so a step-up never loops', () => {
    const asked = question({ person: operator, tool: removal, scopes: new Set() });
    expect(decide(set, asked)).toMatchObject({ verdict: 'challenge', requiredScopes: ['files:delete'] });
  });
  test('denies what neither scope nor approval would change', () => {
    expect(decide(set, question({ tool: removal, scopes: new Set() }))).toMatchObject({
      verdict: 'deny',
      reason: 'not_permitted',
    });
  });
});
