/** What events bring about, and that no token, however made, makes the reader throw or act on less than was checked. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { effectOf } from '../../../src/directory/events/effect.ts';
import { readEventClaims } from '../../../src/identity/security-event.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { EVENT_TYPES, eventName } from '../../../src/lib/security-event.ts';
import type { EventName, EventSubject, SecurityEvent } from '../../../src/lib/security-event.ts';

const NOW = 1_800_000_000_000;
const DANA: EventSubject = { format: 'iss_sub', issuer: 'https://idp.example', subject: 'dana' };
const event = (name: EventName, subject: EventSubject | null = DANA, members: JsonObject = {}): SecurityEvent => ({
  tokenId: 'j1',
  issuedAt: NOW,
  type: EVENT_TYPES[name],
  name,
  subject,
  happenedAt: null,
  members,
});

describe('effects', () => {
  test('every type that we know has one, and those that take something away do so for a person', () => {
    const acts = Object.keys(EVENT_TYPES).map((name) => [name, effectOf(event(name as EventName)).act]);
    expect(Object.fromEntries(acts)).toEqual({
      'session-revoked': 'void',
      'token-claims-change': 'void',
      'credential-change': 'void',
      'assurance-level-change': 'void',
      'device-compliance-change': 'record',
      'session-established': 'record',
      'session-presented': 'record',
      'risk-level-change': 'record',
      'account-disabled': 'disable',
      'account-enabled': 'enable',
      'account-purged': 'disable',
      'account-credential-change-required': 'void',
      'credential-compromise': 'void',
      'identifier-changed': 'record',
      'identifier-recycled': 'record',
      'opt-in': 'record',
      'opt-out-initiated': 'record',
      'opt-out-cancelled': 'record',
      'opt-out-effective': 'record',
      'recovery-activated': 'record',
      'recovery-information-changed': 'record',
      'sessions-revoked': 'void',
      'token-revoked': 'no_subject',
      'tokens-revoked': 'void',
      'client-disabled': 'no_subject',
      'client-enabled': 'record',
      'client-credential-changed': 'no_subject',
      verification: 'contact',
      'stream-updated': 'record',
    });
  });

  test('what cannot be read in favour of somebody is read against them', () => {
    expect(effectOf(event('credential-change', DANA, { change_type: 'made-up' })).act).toBe('void');
    expect(effectOf(event('assurance-level-change', DANA, { change_direction: 7 })).act).toBe('void');
  });

  test('nobody is disabled by the id of a token', () => {
    const token: EventSubject = { format: 'jwt_id', issuer: 'https://idp.example', tokenId: 't' };
    expect(effectOf(event('account-disabled', token)).act).toBe('no_subject');
  });

  test('names of types are compared whole', () => {
    for (const type of ['', 'toString', '__proto__', `${EVENT_TYPES['session-revoked']}/`])
      expect(eventName(type)).toBeNull();
  });
});

describe('reading claims', () => {
  const honest: JsonObject = {
    iss: 'https://idp.example',
    aud: 'us',
    jti: 'j1',
    iat: NOW / 1_000,
    sub_id: { format: 'iss_sub', iss: 'https://idp.example', sub: 'dana' },
    events: { [EVENT_TYPES['session-revoked']]: { event_timestamp: NOW / 1_000 - 60 } },
  };

  test('the honest one', () => {
    expect(readEventClaims(honest, 'us', NOW)).toEqual({
      ok: true,
      value: expect.objectContaining({ name: 'session-revoked', subject: DANA, happenedAt: NOW - 60_000 }),
    });
  });

  test.for([
    ['in milliseconds', NOW - 60_000, NOW - 60_000],
    ['as text', '1800000000', null],
    ['negative', -5, null],
    ['beyond all dates', 1e300, null],
  ] as const)('event_timestamp %s', ([, given, read]) => {
    const events = { [EVENT_TYPES['session-revoked']]: { event_timestamp: given } };
    const result = readEventClaims({ ...honest, events }, 'us', NOW);
    expect(result.ok && result.value.happenedAt).toBe(read);
  });

  test('toe stands in for event_timestamp', () => {
    const events = { [EVENT_TYPES['session-revoked']]: {} };
    const result = readEventClaims({ ...honest, events, toe: NOW / 1_000 - 5 }, 'us', NOW);
    expect(result.ok && result.value.happenedAt).toBe(NOW - 5_000);
  });

  test('whatever the claims are: no throw, one event, a known audience, an id', () => {
    const value = fc.jsonValue({ maxDepth: 4 });
    const claims = fc.record(
      {
        aud: fc.oneof(fc.constant('us'), value),
        jti: fc.oneof(fc.string(), value),
        iat: fc.oneof(fc.constant(NOW / 1_000), value),
        toe: value,
        sub_id: value,
        events: fc.oneof(fc.dictionary(fc.constantFrom(...Object.values(EVENT_TYPES)), value), value),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(claims, (made) => {
        const result = readEventClaims(made as JsonObject, 'us', NOW);
        if (!result.ok)
          return ['invalid_request', 'invalid_audience'].includes(
            result.error.kind === 'refused' ? result.error.code : '',
          );
        effectOf(result.value);
        return (
          [made.aud].flat().length === 1 &&
          [made.aud].flat()[0] === 'us' &&
          result.value.tokenId !== '' &&
          Object.keys(made.events as object).length === 1
        );
      }),
      { seed: 20_261_122, numRuns: 3_000 },
    );
  });

  test('whatever the subject is: read into one of the formats, or refused', () => {
    const text = fc.oneof(
      fc.constantFrom('iss_sub', 'iss-sub', 'email', 'opaque', 'complex', 'aliases', 'jwt_id', 'phone_number'),
      fc.string(),
    );
    const simple = fc.record(
      { format: text, subject_type: text, iss: text, sub: text, email: text, id: text, jti: text },
      { requiredKeys: [] },
    );
    const subject = fc.oneof(
      simple,
      fc.record(
        {
          format: fc.constantFrom('complex', 'aliases'),
          user: simple,
          session: simple,
          device: simple,
          identifiers: fc.array(simple, { maxLength: 20 }),
        },
        { requiredKeys: ['format'] },
      ),
    );
    fc.assert(
      fc.property(subject, (made) => {
        const result = readEventClaims({ ...honest, sub_id: made }, 'us', NOW);
        return !result.ok || effectOf(result.value).act !== 'unknown_type';
      }),
      { seed: 20_261_122, numRuns: 3_000 },
    );
  });
});
