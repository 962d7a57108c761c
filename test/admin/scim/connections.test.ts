/** Connections by the admin API: who may make one, what of a token is ever shown, when it ends. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPlane, type Plane, type Reply } from '../plane.ts';
import { DAY, idpOver } from './support.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const ABSENT = { 'if-none-match': '*' };
const wanted = (more: object = {}) => ({
  title: 'Entra ID',
  state: 'active',
  identities: [{ issuer: plane.issuer.issuer, subject: 'entra|{externalId}' }],
  silenceAfterMs: 7_200_000,
  whenSilent: 'alarm',
  ...more,
});
const put = (who: 'ada' | 'aiko' | 'omar', id: string, connection: object, headers: Record<string, string> = ABSENT) =>
  plane.as(who, 'PUT', `/scim-connections/${id}`, { reason: 'asked for', connection }, headers);
const rotate = (id: string, more: object = {}) =>
  plane.as('ada', 'POST', `/scim-connections/${id}/tokens`, { reason: 'asked for', ...more });
const asks = async (id: string, token: unknown): Promise<number> =>
  (await idpOver(plane, id, token as string)('GET', '/Users?count=0')).status;
const code = (reply: Reply): unknown[] => [reply.status, reply.body.error?.['code'], reply.body.error?.['field']];

test('a connection is added, gets a token that is shown once, and is refused when it is disabled', async () => {
  expect((await put('ada', 'entra', wanted())).status).toBe(201);
  const made = await rotate('entra');
  expect(made.status).toBe(201);
  expect(made.body['token']).toMatch(/^remit_scim_[\w-]{43}$/);
  expect(made.body['expiresAt'] as number).toBeGreaterThan(Date.now() + 179 * DAY);
  expect(await asks('entra', made.body['token'])).toBe(200);

  const read = await plane.as('aiko', 'GET', '/scim-connections/entra');
  expect(read.body).toMatchObject({ title: 'Entra ID', state: 'active', path: '/scim/v2', silent: false });
  expect(read.body['contactAt'] as number).toBeGreaterThan(0);
  const list = await plane.as('aiko', 'GET', '/scim-connections');
  for (const { text } of [read, list]) {
    expect(text).not.toContain(made.body['token'] as string);
    expect(text).not.toContain('sha256');
  }
  expect(JSON.stringify(await plane.entries('admin'))).not.toContain(made.body['token'] as string);

  expect((await plane.as('ada', 'POST', '/scim-connections/entra/disable', { reason: 'incident' })).status).toBe(200);
  expect(await asks('entra', made.body['token'])).toBe(401);
  await plane.as('ada', 'POST', '/scim-connections/entra/enable', { reason: 'over' });
  expect(await asks('entra', made.body['token'])).toBe(200);
});

test('a new token leaves the old ones the time that was said', async () => {
  await put('ada', 'okta', wanted({ identities: [{ issuer: plane.issuer.issuer, subject: 'okta|{userName}' }] }));
  const first = (await rotate('okta')).body['token'];
  const second = (await rotate('okta', { days: 30, oldTokensEndAt: Date.now() + 3_600_000 })).body['token'];
  expect([await asks('okta', first), await asks('okta', second)]).toEqual([200, 200]);
  const third = (await rotate('okta', { oldTokensEndAt: Date.now() - 1 })).body['token'];
  expect([await asks('okta', first), await asks('okta', second), await asks('okta', third)]).toEqual([401, 401, 200]);
  expect(code(await rotate('okta', { days: 731 }))).toEqual([422, 'invalid', 'days']);
});

test('only administrators change connections, overseers see them', async () => {
  expect(code(await put('omar', 'x', wanted()))).toEqual([403, 'role_missing', undefined]);
  expect(code(await put('aiko', 'x', wanted()))).toEqual([403, 'role_missing', undefined]);
  expect((await plane.as('omar', 'GET', '/scim-connections')).status).toBe(403);
});

test.each<[string, string, () => object, unknown[]]>([
  [
    'an issuer that nobody trusts',
    'x',
    () => ({ identities: [{ issuer: 'https://evil.example', subject: '{id}' }] }),
    [422, 'invalid', 'connection.identities.0.issuer'],
  ],
  [
    'one subject for everybody',
    'x',
    () => ({ identities: [{ issuer: plane.issuer.issuer, subject: 'root' }] }),
    [422, 'invalid', 'connection.identities.0.subject'],
  ],
  ['tokens of the caller', 'x', () => ({ tokens: [] }), [422, 'invalid', 'connection']],
  ['an id that is none', 'X Y', () => ({}), [422, 'invalid', 'connection']],
])('%s is refused', async (_, id, more, expected) => {
  expect(code(await put('ada', encodeURIComponent(id), wanted(more())))).toEqual(expected);
});
