import { describe, expect, test } from 'vitest';
import { Agent, agentIndex, commonCeiling, withinCeiling } from '../../src/inventory/agents.ts';
import type { Ceiling } from '../../src/inventory/agents.ts';

const ITEM = { server: 'notes', risk: 'write', scope: 'notes:write', environment: 'production' };

describe('ID-06: what several agents in a chain may is what each of them may', () => {
  test.each<[string, Ceiling[], Ceiling | null]>([
    ['nobody bounds anything', [{}, {}], null],
    ['one bounds the risks', [{}, { risks: ['read'] }], { risks: ['read'] }],
    ['two bound the servers', [{ servers: ['a', 'b'] }, { servers: ['b', 'c'] }], { servers: ['b'] }],
    ['bounds that have nothing in common', [{ scopes: ['x'] }, { scopes: ['y'] }], { scopes: [] }],
    [
      'each bounds something else',
      [{ servers: ['a'] }, { risks: ['read'] }, { scopes: ['x'] }],
      { servers: ['a'], risks: ['read'], scopes: ['x'] },
    ],
  ])('%s', (_title, ceilings, expected) => {
    expect(commonCeiling(ceilings.map((ceiling) => ({ ceiling })))).toEqual(expected);
  });

  test.each<[string, Ceiling | null, boolean]>([
    ['no ceiling', null, true],
    ['the server, the risk and the scope', { servers: ['notes'], risks: ['write'], scopes: ['notes:write'] }, true],
    ['another server', { servers: ['mail'] }, false],
    ['only reading', { risks: ['read'] }, false],
    ['another scope', { scopes: ['notes:read'] }, false],
    ['no server at all', { servers: [] }, false],
    ['its environment', { environments: ['staging', 'production'] }, true],
    ['another environment (NH-07)', { environments: ['development'] }, false],
  ])('an item under a ceiling of %s', (_title, ceiling, within) => {
    expect(withinCeiling(ceiling, ITEM)).toBe(within);
  });
});

test('an agent can have no role that decides or administers', () => {
  const agent = {
    issuer: 'https://i.example',
    clientId: 'c',
    title: 'c',
    kind: 'autonomous',
    state: 'active',
    ceiling: {},
  };
  expect(Agent.safeParse({ ...agent, roles: ['developer', 'operator'] }).success).toBe(true);
  for (const role of ['approver', 'security_reviewer', 'auditor', 'administrator'])
    expect(Agent.safeParse({ ...agent, roles: [role] }).success).toBe(false);
});

test('two records of one client stand for nobody', () => {
  const agent = Agent.parse({
    issuer: 'https://i.example',
    clientId: 'c',
    title: 'c',
    kind: 'delegate',
    state: 'active',
    roles: [],
    ceiling: {},
  });
  const index = agentIndex([
    { ...agent, id: '1' },
    { ...agent, id: '2' },
  ]);
  expect(index.get('https://i.example c')).toBeNull();
});
