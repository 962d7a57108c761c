/**
 * The admin plane against people who have, or had, a right there: a request begun before a lock and ended after it,
 * and one person doing alone what takes two.
 */
import { request } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startPlane } from '../admin/plane.ts';
import type { Plane } from '../admin/plane.ts';

let plane: Plane;
beforeEach(async () => void (plane = await startPlane()));
afterEach(() => plane.close());

/** Sends the head of a request now, and its body when told to. */
function begun(who: string, method: string, path: string, body: object) {
  const text = JSON.stringify(body);
  const outgoing = request(`${plane.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${plane.tokenOf(who)}`,
      'content-type': 'application/json',
      'content-length': text.length,
    },
  });
  const status = new Promise<number>((resolve, reject) => {
    outgoing.on('response', (response) => (response.resume(), resolve(response.statusCode ?? 0)));
    outgoing.on('error', reject);
  });
  outgoing.flushHeaders();
  outgoing.write(text.slice(0, 1));
  return { status, finish: (): Promise<number> => (outgoing.end(text.slice(1)), status) };
}

const ACCOMPLICE = (issuer: string): object => ({
  reason: 'x',
  person: { issuer, subject: 'accomplice', name: 'accomplice', state: 'active', roles: ['administrator'] },
});

test.each([
  ['locked', () => plane.as('abel', 'POST', '/locks', { kind: 'user', value: 'ada', reason: 'x' })],
  [
    'made inactive',
    async () => {
      const read = await plane.as('abel', 'GET', '/people/ada');
      const { id: _id, revision: _revision, ...person } = read.body;
      const headers = { 'if-match': read.headers.get('etag') ?? '' };
      return plane.as('abel', 'PUT', '/people/ada', { reason: 'x', person: { ...person, state: 'inactive' } }, headers);
    },
  ],
])('PH-09: a request whose body was held back until after its sender was %s changes nothing', async (_what, revoke) => {
  const late = begun('ada', 'POST', '/people', ACCOMPLICE(plane.issuer.issuer));
  // The head was read and its sender found in order once a later request of the same kind was answered.
  expect((await plane.as('ada', 'GET', '/me')).status).toBe(200);
  expect((await revoke()).status).toBeLessThan(300);
  expect(await late.finish()).toBe(403);
  expect([...plane.snapshot().people.all()].map((person) => person.subject)).not.toContain('accomplice');
});

test('AZ-11: a policy that was in force before is no second person: it does not take the place of a forbid', async () => {
  const forbid = 'baseline.regulated-environments';
  expect((await plane.as('sven', 'POST', '/policies/baseline.operator/deactivate', { reason: 'x' })).status).toBe(200);
  const read = await plane.as('sven', 'GET', '/policies/baseline.operator');
  const { description, text } = read.body;
  const etag = { 'if-match': read.headers.get('etag') ?? '' };
  const longer = { reason: 'x', policy: { description, text, replaces: [forbid] } };
  expect((await plane.as('sven', 'PUT', '/policies/baseline.operator', longer, etag)).status).toBe(200);
  // Neither alone, nor with somebody who sees an old friend come back.
  for (const [who, problem] of [
    ['sven', 'policy_author'],
    ['ada', 'policy_forbids'],
  ] as const) {
    const answer = await plane.as(who, 'POST', '/policies/baseline.operator/activate', { reason: 'x' });
    expect([who, answer.status, answer.body.error?.['code']]).toEqual([who, 403, problem]);
  }
  expect(plane.snapshot().policies?.policies.map(({ id }) => id)).toContain(forbid);
});

test('AZ-11: what was in force and was not touched comes back by one person', async () => {
  expect((await plane.as('sven', 'POST', '/policies/baseline.operator/deactivate', { reason: 'x' })).status).toBe(200);
  expect((await plane.activate('sven', 'baseline.operator')).status).toBe(200);
});
