import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compilePolicies } from '../../src/policy/compile.ts';
import { decide } from '../../src/policy/decide.ts';
import { holds, scopeIndex } from '../../src/policy/scopes.ts';
import { person, question, tool } from './fixtures.ts';

const index = scopeIndex([
  { id: 'files:admin', includes: ['files:write'] },
  { id: 'files:write', includes: ['files:read'] },
  { id: 'a', includes: ['b'] },
  { id: 'b', includes: ['c'] },
  { id: 'c', includes: ['a', 'c'] },
]);

describe('holds', () => {
  test.each([
    [['files:read'], 'files:read', true],
    [['files:write'], 'files:read', true],
    [['files:admin'], 'files:read', true],
    [['files:read'], 'files:write', false],
    [['files:*'], 'files:read', false],
    [['files'], 'files:read', false],
    [['FILES:READ'], 'files:read', false],
    [[], 'files:read', false],
    [['a'], 'c', true],
    [['c'], 'b', true],
    [['c'], 'd', false],
  ])('%j for %s: %s', (scopes, wanted, expected) => expect(holds(new Set(scopes), wanted, index)).toBe(expected));

  test('is what walking the records says, whatever the circles', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const graph = fc.array(fc.tuple(fc.constantFrom(...names), fc.subarray(names)), { maxLength: 6 });
    fc.assert(
      fc.property(graph, fc.subarray(names), fc.constantFrom(...names), (edges, scopes, wanted) => {
        const includes = new Map(edges);
        // Independent: one step at a time until nothing is new.
        const walk = (have: readonly string[]): readonly string[] => {
          const more = [...new Set([...have, ...have.flatMap((one) => includes.get(one) ?? [])])];
          return more.length === have.length ? have : walk(more);
        };
        const built = scopeIndex([...includes].map(([id, to]) => ({ id, includes: to })));
        expect(holds(new Set(scopes), wanted, built)).toBe(walk(scopes).includes(wanted));
      }),
      { seed: 4, numRuns: 500 },
    );
  });
});

test('the challenge names the scope of the tool, not one that includes it', () => {
  const policies = [
    { id: 'p', text: `permit (principal in Remit::Role::"developer", action, resource) when { context.scopeHeld };` },
  ];
  const set = compilePolicies({ policies, tools: [tool()], scopes: index });
  if (!set.ok) throw new Error('does not compile');
  const ask = (scopes: readonly string[]) =>
    decide(set.value, question({ person: person('p', ['developer']), scopes: new Set(scopes) }));
  expect(ask(['files:admin'])).toMatchObject({ verdict: 'allow' });
  expect(ask(['other'])).toMatchObject({ verdict: 'challenge', requiredScopes: ['files:read'] });
});
