/** The one table of lives: which step is there, what a working state asks for, and all of what is missing at once. */
import { describe, expect, test } from 'vitest';
import { AGENT_STATES } from '../../src/inventory/agents.ts';
import { mayMeet } from '../../src/inventory/environments.ts';
import { LIFE, LIFE_KINDS, checkTransition, missingFor, takesTwo } from '../../src/inventory/lifecycle.ts';
import type { Identity, LifeKind } from '../../src/inventory/lifecycle.ts';
import { ENVIRONMENTS, SERVER_STATES } from '../../src/inventory/records.ts';

const NOW = 1_790_000_000_000;
const FACTS = { now: NOW, ownerStands: (owner: string) => owner === 'omar' || owner === 'group/desk' };
const DIGEST = `sha256:${'a'.repeat(64)}`;

const SERVER: Identity = {
  owner: 'omar',
  purpose: 'reads the docs folder',
  environment: 'development',
  dataClasses: ['internal'],
  riskTier: 'low',
  source: { vendor: 'Example', version: '1.2.3', digest: DIGEST },
  revocation: 'remove its service account at the identity provider',
  reviewBy: NOW + 1,
  upstream: { transport: 'stdio' },
};
const { dataClasses: _d, source: _s, upstream: _u, ...CREDENTIAL } = SERVER;
const AGENT: Identity = { ...CREDENTIAL, kind: 'autonomous', roles: ['developer'] };

const fields = (kind: LifeKind, to: string, record: Identity): string[] =>
  missingFor(kind, to, record, FACTS).map(({ field }) => field);
function without(record: Identity, field: string): Identity {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== field));
}

describe('steps', () => {
  const statesOf = { server: SERVER_STATES, credential: SERVER_STATES, agent: AGENT_STATES } as const;

  test.each(LIFE_KINDS)('of a %s: the table names every state, nothing else, and nothing leaves retired', (kind) => {
    const states = statesOf[kind];
    expect(Object.keys(LIFE[kind].steps).toSorted()).toEqual([...states].toSorted());
    for (const from of states) {
      for (const to of states)
        expect(checkTransition(kind, from, to) === null, `${kind} ${from} to ${to}`).toBe(
          from === to || LIFE[kind].steps[from]!.includes(to),
        );
    }
    expect(LIFE[kind].steps['retired']).toEqual([]);
  });

  test.each(LIFE_KINDS)(
    'a %s works only after a review: no way leads into its working state from the beginning',
    (kind) => {
      const { begins, works } = LIFE[kind];
      expect(begins).not.toContain(works);
      expect(checkTransition(kind, null, works)).not.toBeNull();
    },
  );

  test('a refusal says what can follow instead', () => {
    expect(checkTransition('server', null, 'enabled')).toBe(
      'a new server cannot become enabled; it can become draft or in_review',
    );
    expect(checkTransition('credential', 'retired', 'enabled')).toBe(
      'a retired credential cannot become enabled; that state is final',
    );
    expect(checkTransition('agent', 'active', 'pending')).toBe(
      'an active agent cannot become pending; it can become suspended or retired',
    );
    expect(checkTransition('server', 'made up', 'enabled')).not.toBeNull();
  });
});

describe('NH-01: what a working state asks for', () => {
  const REQUIRED = {
    server: ['owner', 'purpose', 'environment', 'dataClasses', 'riskTier', 'source', 'revocation', 'reviewBy'],
    credential: ['owner', 'purpose', 'environment', 'riskTier', 'revocation', 'reviewBy'],
    agent: ['owner', 'purpose', 'environment', 'riskTier', 'revocation', 'reviewBy', 'roles'],
  } as const;
  const whole = { server: SERVER, credential: CREDENTIAL, agent: AGENT } as const;
  const cases = LIFE_KINDS.flatMap((kind) => REQUIRED[kind].map((field) => [kind, field] as const));

  test.each(LIFE_KINDS)('NH-01: a whole %s lacks nothing', (kind) => {
    expect(fields(kind, LIFE[kind].works, whole[kind])).toEqual([]);
  });

  test.each(cases)('NH-01: a %s without %s may not work, and the remedy names the field', (kind, field) => {
    const [missing, ...more] = missingFor(kind, LIFE[kind].works, without(whole[kind], field), FACTS);
    expect([missing?.field, more]).toEqual([field, []]);
    expect(missing!.remedy).toContain(field);
    expect(missing!.message.endsWith('.')).toBe(true);
  });

  test('NH-01: all that is missing is said at once', () => {
    expect(fields('server', 'enabled', {})).toEqual(REQUIRED.server);
    expect(fields('credential', 'enabled', {})).toEqual(REQUIRED.credential);
    expect(fields('agent', 'active', { kind: 'autonomous' })).toEqual(REQUIRED.agent);
  });

  test.each<[string, Identity, string]>([
    ['an owner who is gone', { ...SERVER, owner: 'left' }, 'owner'],
    ['a group with nobody in it', { ...SERVER, owner: 'group/empty' }, 'owner'],
    ['an owner of blanks', { ...SERVER, owner: '  ' }, 'owner'],
    ['a purpose of blanks', { ...SERVER, purpose: ' ' }, 'purpose'],
    ['a way to revoke of blanks', { ...SERVER, revocation: '\t' }, 'revocation'],
    ['a review that is over', { ...SERVER, reviewBy: NOW }, 'reviewBy'],
    ['stdio without a digest', { ...SERVER, source: { vendor: 'Example', version: '1.2.3' } }, 'source.digest'],
  ])('NH-01: %s counts as missing', (_title, record, field) => {
    expect(fields('server', 'enabled', record)).toEqual([field]);
  });

  test('a group with an active member is an owner; a server elsewhere needs no digest', () => {
    const elsewhere = { ...SERVER, source: { vendor: 'Example', version: '2' }, upstream: { transport: 'http' } };
    expect(fields('server', 'enabled', { ...elsewhere, owner: 'group/desk' })).toEqual([]);
  });

  test('an agent that acts for people needs who answers for it and what it is for, and has no roles', () => {
    expect(fields('agent', 'active', { kind: 'delegate' })).toEqual(['owner', 'purpose']);
    expect(fields('agent', 'active', { kind: 'delegate', owner: 'omar', purpose: 'x', roles: ['developer'] })).toEqual([
      'roles',
    ]);
  });

  test('every other state asks for nothing: what lacks something can always be stopped', () => {
    for (const kind of LIFE_KINDS)
      for (const state of Object.keys(LIFE[kind].steps))
        if (state !== LIFE[kind].works) expect(fields(kind, state, {})).toEqual([]);
  });

  test('two people stand behind all but agents that act for people', () => {
    expect([takesTwo('server', {}), takesTwo('credential', {}), takesTwo('agent', { kind: 'autonomous' })]).toEqual([
      true,
      true,
      true,
    ]);
    expect(takesTwo('agent', { kind: 'delegate' })).toBe(false);
  });
});

test('NH-07: production meets production only, and everything else everything else', () => {
  for (const one of ENVIRONMENTS)
    for (const other of ENVIRONMENTS)
      expect(mayMeet(one, other), `${one} and ${other}`).toBe((one === 'production') === (other === 'production'));
});
