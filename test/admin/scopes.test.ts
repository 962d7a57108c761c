/** Which scopes include others: less at once, more by two people. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPlane, type Plane } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const REASON = { reason: 'TICKET-1' };
const path = '/scopes/files%3Aadmin';
const put = async (by: string, includes: readonly string[]) => {
  const { headers } = await plane.as('ada', 'GET', path);
  const etag = headers.get('etag');
  const body = { ...REASON, scope: { title: 'Everything', includes } };
  return plane.as(by, 'PUT', path, body, etag === null ? {} : { 'if-match': etag });
};
const code = (reply: { status: number; body: { error?: Record<string, unknown> } }) => [
  reply.status,
  reply.body.error?.['code'],
];
const approve = (by: string, digest: unknown) => plane.as(by, 'POST', `${path}/approve`, { ...REASON, digest });
const read = async () =>
  (await plane.as('ada', 'GET', path)).body as { readonly includes: unknown; readonly proposed?: { digest: string } };
const held = async (): Promise<unknown> => (await read()).includes;

test('AZ-11: a wider scope waits until somebody else agrees to exactly that; a narrower one holds at once', async () => {
  const first = await put('sven', ['files:read']);
  const { digest: early } = first.body['proposed'] as { readonly digest: string };
  expect([first.status, await held()]).toEqual([201, []]);
  // What was read is not what is proposed by now.
  expect((await put('sven', ['files:write', 'files:read'])).status).toBe(200);
  const digest = (await read()).proposed?.digest;
  const { scopes } = (await plane.as('ada', 'GET', '/scopes')).body;
  expect(scopes).toMatchObject([{ proposed: { digest } }]);
  expect(code(await approve('sven', digest))).toEqual([403, 'scope_author']);
  expect(code(await approve('ada', early))).toEqual([409, 'scope_moved']);
  expect(code(await approve('ada', undefined))).toEqual([422, 'invalid']);
  expect(await held()).toEqual([]);
  expect((await approve('ada', digest)).status).toBe(200);
  expect(await read()).not.toHaveProperty('proposed');
  expect(await held()).toEqual(['files:read', 'files:write']);
  expect(code(await approve('ada', digest))).toEqual([409, 'scope_state']);

  expect((await put('sven', ['files:read', 'files:purge'])).status).toBe(200);
  expect(await held()).toEqual(['files:read']);
  expect((await put('sven', [])).status).toBe(200);
  expect(await held()).toEqual([]);
  expect((await plane.as('sven', 'DELETE', path, REASON)).status).toBe(200);
  expect((await plane.as('ada', 'GET', path)).status).toBe(404);
});

test('who neither reviews nor administers changes none, and what is no scope is refused', async () => {
  expect((await put('omar', ['files:read'])).status).toBe(403);
  expect((await put('sven', ['files read'])).status).toBe(422);
  expect(
    (await plane.as('sven', 'PUT', '/scopes/a%20b', { ...REASON, scope: { title: 'x', includes: [] } })).status,
  ).toBe(422);
  const proposed = { includes: ['files:read'], by: 'ada', at: 0 };
  const body = { ...REASON, scope: { title: 'x', includes: [], proposed } };
  expect((await plane.as('sven', 'PUT', path, body)).status).toBe(422);
});
