/** Facts that policy tests share. */
import type { PolicySet, PolicySource } from '../../src/policy/compile.ts';
import { compilePolicies } from '../../src/policy/compile.ts';
import type { PersonFacts, Question } from '../../src/policy/decide.ts';
import { NO_FLOW } from '../../src/policy/labels.ts';
import type { ToolFacts } from '../../src/policy/schema.ts';

export const tool = (over: Partial<ToolFacts> = {}): ToolFacts => ({
  server: 'files',
  name: 'read_file',
  kind: 'tool',
  risk: 'read',
  scope: 'files:read',
  environment: 'production',
  dataClasses: ['internal'],
  ...over,
});

export function setOf(policies: readonly PolicySource[], tools: readonly ToolFacts[]): PolicySet {
  const compiled = compilePolicies({ policies, tools });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  return compiled.value;
}

export const person = (id: string, roles: readonly string[], groups: readonly string[] = []): PersonFacts => ({
  id,
  roles,
  groups,
});

export const question = (over: Partial<Question> = {}): Question => ({
  org: 'default',
  person: person('person_a', ['developer']),
  agent: 'client-a',
  tool: tool(),
  scopes: new Set(['files:read']),
  approved: false,
  ...NO_FLOW,
  arguments: {},
  signIn: { authTime: null, amr: [], acr: null },
  alone: false,
  actors: [],
  at: 1_800_000_000_000,
  ...over,
});
