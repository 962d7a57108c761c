import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { BASELINE } from '../../src/policy/baseline.ts';
import { compilePolicies } from '../../src/policy/compile.ts';
import { decide, visible } from '../../src/policy/decide.ts';
import { person, question, setOf, tool } from './fixtures.ts';

describe('verdicts', () => {
  const removal = tool({ name: 'delete', risk: 'destructive', scope: 'files:delete' });
  const set = setOf(BASELINE, [tool(), removal]);
  const operator = person('person_o', ['operator']);

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

describe('kinds of items', () => {
  const prompt = tool({ name: 'prompt greeting', kind: 'prompt' });
  const same = tool({ name: 'greeting' });
  const scopes = new Set(['files:read']);

  test('AZ-02: a tool and a prompt of the same risk, scope and server are told apart by their kind', () => {
    const id = 'team.no-prompts';
    const text = `forbid (principal, action == Remit::Action::"callTool", resource)
when { resource.kind == Remit::Kind::"prompt" };`;
    const set = setOf([...BASELINE, { id, text }], [same, prompt, tool()]);
    // Asked in both orders: an answer kept for the one must not serve the other.
    for (const _ of [1, 2]) {
      expect(decide(set, question({ tool: same, scopes })).verdict).toBe('allow');
      expect(decide(set, question({ tool: prompt, scopes }))).toMatchObject({ verdict: 'deny', rules: [id] });
    }
    const who = { person: question().person, agent: 'a', at: 0 };
    expect([visible(set, who, same), visible(set, who, prompt)]).toEqual([true, false]);
  });

  test('an item is named by its key', () => {
    const text = `forbid (principal, action == Remit::Action::"callTool", resource == Remit::Tool::"files/prompt greeting");`;
    const set = setOf([...BASELINE, { id: 'team.one', text }], [same, prompt]);
    expect(decide(set, question({ tool: prompt, scopes })).verdict).toBe('deny');
    expect(decide(set, question({ tool: same, scopes })).verdict).toBe('allow');
  });

  test('a kind that does not exist is an error when it is saved', () => {
    const text = `forbid (principal, action == Remit::Action::"callTool", resource) when { resource.kind == Remit::Kind::"toool" };`;
    expect(compilePolicies({ policies: [{ id: 'x', text }], tools: [] })).toMatchObject({
      ok: false,
      error: [{ policy: 'x', code: 'policy_invalid' }],
    });
  });

  test("the guide's example reads the variables of a template", () => {
    const guide = readFileSync(new URL('../../docs/guides/policy.md', import.meta.url), 'utf8');
    const text = /```cedar\n(@description\("Everybody else[^`]+)```/.exec(guide)?.[1] ?? '';
    const docs = tool({ server: 'docs', name: 'template docs://{+path}', kind: 'template' });
    const set = setOf([...BASELINE, { id: 'team.docs', text }], [docs]);
    const verdict = (args: JsonObject, roles = ['developer']): string =>
      decide(set, question({ tool: docs, scopes, arguments: args, person: person('p', roles) })).verdict;
    expect(verdict({ uri: 'docs://public/a', path: 'public/a' })).toBe('allow');
    expect(verdict({ uri: 'docs://board/a', path: 'board/a' })).toBe('deny');
    expect(verdict({ uri: 'docs://board/a' })).toBe('deny');
    expect(verdict({ uri: 'docs://board/a', path: 'board/a' }, ['operator'])).toBe('allow');
  });
});
