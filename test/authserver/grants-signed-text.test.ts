/** Reading texts that anybody may send: never a throw, never a half. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readScopes, readSignedText, theOnly } from '../../src/authserver/grants/signed-text.ts';
import { ruleMatches, workloadProblem } from '../../src/authserver/grants/workload.ts';
import { chainWith, subjectTokenProblem } from '../../src/authserver/grants/token-exchange.ts';
import type { SubjectFacts } from '../../src/authserver/grants/token-exchange.ts';
import type { WorkloadFacts } from '../../src/authserver/grants/workload.ts';
import type { Json, JsonObject } from '../../src/lib/json.ts';

const RUNS = { numRuns: 300, seed: 7523 };
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>;
const claims = fc.dictionary(
  fc.constantFrom(
    'iss',
    'sub',
    'aud',
    'exp',
    'iat',
    'nbf',
    'jti',
    'client_id',
    'scope',
    'act',
    'cnf',
    'may_act',
    'grant_id',
  ),
  json,
) as fc.Arbitrary<JsonObject>;

test('whatever text comes is read or refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.tuple(json, json, fc.string()).map(([a, b, c]) => `${encode(a)}.${encode(b)}.${c}`),
      ),
      (text) => {
        const read = readSignedText(text);
        if (read.ok) expect(typeof read.value.keyId).toBe('string');
      },
    ),
    RUNS,
  );
});

test('whatever a platform or a token says passes no table by chance', () => {
  const rule = {
    issuer: 'https://w.example',
    algorithms: ['ES256'],
    allowedNetworks: [],
    organisation: 'default',
    clockSkewSeconds: 10,
    reuse: 'once',
    maxLifetimeSeconds: 3_600,
    rules: [],
  } as unknown as WorkloadFacts['rule'];
  const subject = {
    type: 'at+jwt',
    issuer: 'https://us.example',
    clientId: 'c',
    now: 1_795_000_000,
    maxDepth: 2,
    proof: null,
  } satisfies Omit<SubjectFacts, 'claims'>;
  fc.assert(
    fc.property(claims, (said) => {
      expect(
        workloadProblem({ type: 'JWT', claims: said, rule, issuer: 'https://us.example', now: subject.now }),
      ).not.toBe(null);
      expect(subjectTokenProblem({ ...subject, claims: said })).not.toBe(null);
      const named = ruleMatches({ subject: { startsWith: 'a:' }, claims: [], principal: 'p', may: [] }, said);
      expect(named).toBe(typeof said['sub'] === 'string' && said['sub'].startsWith('a:') && said['sub'].length > 2);
      expect(chainWith('taker', said)['sub']).toBe('taker');
    }),
    RUNS,
  );
});

test('scopes are a list of printable words or nothing', () => {
  fc.assert(
    fc.property(json, (value) => {
      const scopes = readScopes(value);
      if (scopes === null) return;
      expect(typeof value === 'string' && scopes.every((scope) => value.split(' ').includes(scope))).toBe(true);
      expect(new Set(scopes).size).toBe(scopes.length);
    }),
    RUNS,
  );
  expect(readScopes('a  b')).toBe(null);
  expect(readScopes('a b a')).toEqual(['a', 'b']);
  expect([theOnly(['a']), theOnly(['a', 'b']), theOnly([]), theOnly('a'), theOnly(undefined)]).toEqual([
    'a',
    null,
    null,
    'a',
    null,
  ]);
});
