/** Whose rights a verified token brings: every way there is nobody, and what is left of a person when agents act for them. */
import { describe, expect, test } from 'vitest';
import { principalOf } from '../../src/gateway/principal.ts';
import type { NoPrincipal } from '../../src/gateway/principal.ts';
import type { Caller } from '../../src/identity/caller.ts';
import type { StoredRecord } from '../../src/store/state.ts';
import { callerLike } from '../support/caller.ts';
import { BASE, ISSUER, NOW, agent, lock, person, pictureOf, stored } from './state.ts';

const DANA = callerLike({ issuer: ISSUER, subject: 'dana@corp', issuedAt: NOW / 1_000 - 60 });
const group = (id: string, roles: readonly string[]): StoredRecord => stored('group', id, { name: id, roles });
const mapping = (body: object): StoredRecord =>
  stored('mapping', 'm', { issuer: ISSUER, newcomers: 'refuse', rules: [], ...body });
const voided = (kind: string, value: string, before = NOW): StoredRecord =>
  stored('void', `v-${kind}`, { subject: { kind, value }, before, reason: 'test', by: 'ada', until: NOW + 1 });
const without = (kind: string, id?: string): readonly StoredRecord[] =>
  BASE.filter((record) => record.kind !== kind || (id !== undefined && record.id !== id));
const source = (whenSilent: string, contactAt: number | null): readonly StoredRecord[] => [
  stored('scim_connection', 'corp', {
    title: 'Corp',
    state: 'active',
    identities: [{ issuer: ISSUER, subject: '{userName}' }],
    tokens: [],
    silenceAfterMs: 60_000,
    whenSilent,
  }),
  ...(contactAt === null ? [] : [stored('contact', 'corp', { at: contactAt })]),
];
const provisioned = person('dana', ['developer'], { provisioned: { connection: 'corp' } });
const ALONE = callerLike({
  issuer: ISSUER,
  subject: 'robot',
  clientId: 'robot',
  alone: true,
  issuedAt: NOW / 1_000 - 60,
});
const robot = (more: object = {}): StoredRecord =>
  agent('robot', { kind: 'autonomous', owner: 'omar', roles: ['developer'], ...more });

const REFUSED: ReadonlyArray<readonly [string, readonly StoredRecord[], Caller, NoPrincipal]> = [
  ['ID-03: nobody knows them', without('person', 'dana'), DANA, { reason: 'person_unknown' }],
  [
    'another issuer of the same subject',
    BASE,
    { ...DANA, issuer: 'https://other.example' },
    { reason: 'person_unknown' },
  ],
  ['no organisation', without('organisation'), DANA, { reason: 'person_unknown' }],
  [
    'inactive, with every role',
    [...without('person', 'dana'), person('dana', ['administrator'], { state: 'inactive' })],
    DANA,
    { reason: 'person_inactive' },
  ],
  ['ID-03: no role', [...without('person', 'dana'), person('dana', [])], DANA, { reason: 'person_without_role' }],
  [
    'ID-08: only a group that is gone',
    [...without('person', 'dana'), person('dana', [], { groups: ['gone'] })],
    DANA,
    { reason: 'person_without_role' },
  ],
  [
    'ID-01: a token of another tenant of the issuer',
    [...BASE, mapping({ tenant: { claim: 'tid', value: 'ours' } })],
    { ...DANA, attributes: { tid: ['theirs'] } },
    { reason: 'tenant_unknown' },
  ],
  [
    'ID-01: a token that does not say its tenant',
    [...BASE, mapping({ tenant: { claim: 'tid', value: 'ours' } })],
    DANA,
    { reason: 'tenant_unknown' },
  ],
  [
    'ID-01: a token that says two tenants',
    [...BASE, mapping({ tenant: { claim: 'tid', value: 'ours' } })],
    { ...DANA, attributes: { tid: ['ours', 'theirs'] } },
    { reason: 'tenant_unknown' },
  ],
  [
    'ID-01: two mappings claim the issuer',
    [...BASE, mapping({}), stored('mapping', 'n', { issuer: ISSUER, newcomers: 'refuse', rules: [] })],
    DANA,
    { reason: 'tenant_unknown' },
  ],
  [
    'ID-01: a mapping that cannot be read makes the issuers with one untrusted',
    [...BASE, mapping({}), stored('mapping', 'n', { issuer: 1 })],
    DANA,
    { reason: 'tenant_unknown' },
  ],
  ['ID-06: an agent nobody knows', without('agent'), DANA, { reason: 'agent_unknown', client: 'agent-1' }],
  [
    'ID-06: an actor in the chain that nobody knows',
    BASE,
    { ...DANA, actChain: ['agent-1', 'stranger'] },
    { reason: 'agent_unknown', client: 'stranger' },
  ],
  ...(['pending', 'suspended', 'retired'] as const).map(
    (state) =>
      [
        `ID-06: an agent that is ${state}`,
        [...without('agent'), agent('agent-1', { state })],
        DANA,
        { reason: 'agent_not_active', state },
      ] as const,
  ),
  [
    'ID-06: a suspended actor behind an active client',
    [...BASE, agent('inner', { state: 'suspended' })],
    { ...DANA, actChain: ['inner'] },
    { reason: 'agent_not_active', state: 'suspended' },
  ],
  [
    'alone, but made for people',
    [...BASE, agent('robot')],
    ALONE,
    { reason: 'agent_not_active', state: 'not_autonomous' },
  ],
  ['alone, and nobody answers for it', [...BASE, robot({ owner: 'nobody' })], ALONE, { reason: 'agent_without_owner' }],
  [
    'NH-05: alone, and its owner left',
    [...without('person', 'omar'), person('omar', ['operator'], { state: 'inactive' }), robot()],
    ALONE,
    { reason: 'agent_without_owner' },
  ],
  ['alone, without a role', [...BASE, robot({ roles: [] })], ALONE, { reason: 'person_without_role' }],
  [
    'a lock on an actor deep in the chain',
    [...BASE, agent('inner'), lock('l', 'agent', 'inner')],
    { ...DANA, actChain: ['inner'] },
    { reason: 'locked', lock: 'l', on: 'agent' },
  ],
  [
    'a lock on the agent that acts alone',
    [...BASE, robot(), lock('l', 'agent', 'robot')],
    ALONE,
    { reason: 'locked', lock: 'l', on: 'agent' },
  ],
  [
    'alone, and its owner is locked',
    [...BASE, robot(), lock('l', 'user', 'omar')],
    ALONE,
    { reason: 'locked', lock: 'l', on: 'user' },
  ],
  [
    'R5: everything issued to the person',
    [...BASE, voided('person', 'dana')],
    DANA,
    { reason: 'token_void', by: 'person' },
  ],
  [
    'R5: everything issued to the client',
    [...BASE, voided('client', 'agent-1')],
    DANA,
    { reason: 'token_void', by: 'client' },
  ],
  [
    'R5: the grant',
    [...BASE, voided('grant', `${ISSUER} g`)],
    { ...DANA, grantId: 'g' },
    { reason: 'token_void', by: 'grant' },
  ],
  [
    'R5: the sign-in',
    [...BASE, voided('session', `${ISSUER} s`)],
    { ...DANA, sessionId: 's' },
    { reason: 'token_void', by: 'session' },
  ],
  ['R5: this token', [...BASE, voided('token', `${ISSUER} jti-1`)], DANA, { reason: 'token_void', by: 'token' }],
  [
    'a void that cannot be read falls on all',
    [...BASE, stored('void', 'v', {})],
    DANA,
    { reason: 'token_void', by: 'token' },
  ],
  [
    'R6: their directory is silent and the connection says to refuse',
    [...without('person', 'dana'), provisioned, ...source('refuse', NOW - 60_001)],
    DANA,
    { reason: 'source_silent', source: 'corp' },
  ],
  [
    'R6: their directory was never heard of',
    [...without('person', 'dana'), provisioned, ...source('refuse', null)],
    DANA,
    { reason: 'source_silent', source: 'corp' },
  ],
];

test.each(REFUSED)('nobody: %s', (_title, records, caller, expected) => {
  const found = principalOf(pictureOf(records), caller, NOW);
  expect(found.ok ? found.value.person : found.error).toEqual(expected);
});

describe('somebody', () => {
  const rolesOf = (records: readonly StoredRecord[], caller: Caller = DANA): readonly string[] => {
    const found = principalOf(pictureOf(records), caller, NOW);
    return found.ok ? found.value.person.roles : [found.error.reason];
  };

  test('has their own roles and those of their groups', () => {
    const records = [
      ...without('person', 'dana'),
      person('dana', ['developer'], { groups: ['ops', 'empty', 'gone'] }),
      group('ops', ['operator', 'developer']),
      group('empty', []),
      group('others', ['administrator']),
    ];
    expect(rolesOf(records)).toEqual(['developer', 'operator']);
  });

  const claims = mapping({ rules: [{ claim: 'groups', value: 'ops', roles: ['operator'] }] });
  const inOps = { ...DANA, attributes: { groups: ['ops', 'x'] } };

  test('has what a mapping gives for a claim, and nothing for a claim that only looks like it', () => {
    expect(rolesOf([...BASE, claims], inOps)).toEqual(['developer', 'operator']);
    expect(rolesOf([...BASE, claims], { ...DANA, attributes: { groups: ['ops2'], roles: ['ops'] } })).toEqual([
      'developer',
    ]);
    expect(rolesOf(BASE, inOps)).toEqual(['developer']);
  });

  test('ID-08: whom a directory provisions gets nothing from claims: a token must not bring back what the directory took away', () => {
    expect(rolesOf([...without('person', 'dana'), provisioned, claims], inOps)).toEqual(['developer']);
  });

  test('ID-06: an agent that acts alone stands in the place of a person, and its owner is named', () => {
    const found = principalOf(pictureOf([...BASE, robot()]), ALONE, NOW);
    expect(found.ok && [found.value.person.id, found.value.person.roles, found.value.owner]).toEqual([
      'agent/robot',
      ['developer'],
      'omar',
    ]);
  });

  test('ID-06: the ceilings of all agents in the chain meet', () => {
    const records = [
      ...without('agent'),
      agent('agent-1', { ceiling: { servers: ['notes', 'mail'] } }),
      agent('inner', { ceiling: { servers: ['notes'], risks: ['read'] } }),
    ];
    const found = principalOf(pictureOf(records), { ...DANA, actChain: ['inner'] }, NOW);
    expect(found.ok && found.value.ceiling).toEqual({ servers: ['notes'], risks: ['read'] });
  });

  test('a silent directory that only raises an alarm stops nobody, one that spoke lately neither', () => {
    expect(rolesOf([...without('person', 'dana'), provisioned, ...source('alarm', null)])).toEqual(['developer']);
    expect(rolesOf([...without('person', 'dana'), provisioned, ...source('refuse', NOW - 60_000)])).toEqual([
      'developer',
    ]);
  });

  test('what was worked out for a token is not used for another picture of the state', () => {
    expect(rolesOf(BASE)).toEqual(['developer']);
    expect(rolesOf([...without('person', 'dana'), person('dana', ['auditor'])])).toEqual(['auditor']);
    expect(rolesOf(BASE)).toEqual(['developer']);
  });
});
