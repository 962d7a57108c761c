/**
 * Records that cannot be read, where reading them would have kept somebody out: a mapping that names our tenant, a source whose silence closes
 * the door. And what a void of an agent is worth when the agent stands further down in the chain.
 */
import { describe, expect, test } from 'vitest';
import { principalOf } from '../../src/gateway/principal.ts';
import type { Caller } from '../../src/identity/caller.ts';
import type { StoredRecord } from '../../src/store/state.ts';
import { BASE, ISSUER, NOW, agent, person, pictureOf, stored } from '../gateway/state.ts';
import { callerLike } from '../support/caller.ts';

const DANA = callerLike({ issuer: ISSUER, subject: 'dana@corp', issuedAt: NOW / 1_000 - 60 });
const others = BASE.filter(({ kind, id }) => kind !== 'person' || id !== 'dana');
const reasonOf = (records: readonly StoredRecord[], caller: Caller = DANA): string => {
  const found = principalOf(pictureOf(records), caller, NOW);
  return found.ok ? 'admitted' : found.error.reason;
};

describe('ID-01: a mapping that cannot be read', () => {
  const tenant = { claim: 'tid', value: 'ours' };
  const ours = { issuer: ISSUER, newcomers: 'refuse', rules: [], tenant };
  const stranger = { ...DANA, attributes: { tid: ['theirs'] } };

  test('does not let the other tenants of its issuer in, although it is the only one', () => {
    expect(reasonOf([...BASE, stored('mapping', 'm', ours)], stranger)).toBe('tenant_unknown');
    expect(reasonOf([...BASE, stored('mapping', 'm', { ...ours, ofALaterVersion: true })], stranger)).toBe(
      'tenant_unknown',
    );
    expect(reasonOf([...BASE, stored('mapping', 'm', { tenant })], stranger)).toBe('tenant_unknown');
  });
});

describe('R6: a source of identity that cannot be read', () => {
  const heard = stored('contact', 'corp', { at: NOW });
  const connection = {
    title: 'Corp',
    state: 'active',
    identities: [{ issuer: ISSUER, subject: '{userName}' }],
    tokens: [],
    silenceAfterMs: 60_000,
    whenSilent: 'refuse',
  };
  const provisioned = person('dana', ['developer'], { provisioned: { connection: 'corp' } });

  test('closes the door for the people it provisions, as if it had been silent', () => {
    const silent = stored('contact', 'corp', { at: NOW - 60_001 });
    const read = stored('scim_connection', 'corp', connection);
    const unread = stored('scim_connection', 'corp', { ...connection, ofALaterVersion: true });
    expect(reasonOf([...others, provisioned, read, heard])).toBe('admitted');
    expect(reasonOf([...others, provisioned, read, silent])).toBe('source_silent');
    expect(reasonOf([...others, provisioned, unread, silent])).toBe('source_silent');
    // Nobody of another source pays for it.
    expect(reasonOf([...BASE, unread, silent])).toBe('admitted');
  });

  test('is no reason where it is there no more', () => {
    expect(reasonOf([...others, provisioned])).toBe('admitted');
  });

  test('closes it for the people of the issuers that a stream speaks of', () => {
    const stream = {
      title: 'Events',
      state: 'active',
      issuer: ISSUER,
      jwksUri: 'https://issuer.example/jwks',
      algorithms: ['RS256'],
      audience: 'us',
      allowedNetworks: [],
      delivery: { method: 'push', tokens: [] },
      silenceAfterMs: 60_000,
      whenSilent: 'refuse',
    };
    const silent = stored('contact', 'corp', { at: NOW - 60_001 });
    expect(reasonOf([...BASE, stored('event_stream', 'corp', stream), heard])).toBe('admitted');
    expect(reasonOf([...BASE, stored('event_stream', 'corp', stream), silent])).toBe('source_silent');
    expect(reasonOf([...BASE, stored('event_stream', 'corp', { ...stream, ofALaterVersion: true }), silent])).toBe(
      'source_silent',
    );
    const elsewhere = { ...stream, issuers: { [ISSUER]: 'https://other.example' }, ofALaterVersion: true };
    expect(reasonOf([...BASE, stored('event_stream', 'corp', elsewhere), silent])).toBe('admitted');
  });
});

describe('R5: a void of an agent', () => {
  const voided = stored('void', 'v', {
    subject: { kind: 'client', value: 'inner' },
    before: NOW,
    reason: 'stolen',
    by: 'ada',
    until: NOW + 1,
  });
  const chain = [...BASE, agent('inner')];
  const handedOn = { ...DANA, actChain: ['inner'] };

  test('falls on what was handed on by it, not only on what it presents itself', () => {
    expect(reasonOf(chain, handedOn)).toBe('admitted');
    expect(reasonOf([...chain, voided], handedOn)).toBe('token_void');
    expect(reasonOf([...chain, voided], { ...handedOn, issuedAt: NOW / 1_000 + 1 })).toBe('admitted');
  });
});
