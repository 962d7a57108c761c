/** Mappings as a way to roles of one's own: by another identity, and by taking a mapping away from the issuer that it reads. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { personKey } from '../../src/directory/records.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane, Reply } from '../admin/plane.ts';

const SECOND = 'https://second.example';
let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  const { issuer } = plane.issuer;
  const ada = { issuer, subject: 'ada', name: 'ada', state: 'active', roles: ['administrator'] };
  await plane.seed([
    plane.put('organisation', 'default', { title: 'Test', issuers: [issuer, SECOND], newAgents: 'active' }),
    plane.put('person', 'ada', { ...ada, also: [{ issuer: SECOND, subject: 'ada' }] }, personKey(issuer, 'ada')),
  ]);
});
afterAll(() => plane?.close());

const code = (reply: Reply) => [reply.status, reply.body.error?.['code']];
const reason = 'x';
const approvers = {
  issuer: SECOND,
  newcomers: 'refuse',
  rules: [{ claim: 'department', value: 'finance', roles: ['approver'] }],
};
const put = (who: string, id: string, mapping: object, headers: Record<string, string> = { 'if-none-match': '*' }) =>
  plane.as(who, 'PUT', `/mappings/${id}`, { reason, mapping }, headers);

test('AZ-11: nobody gives roles to claims of an identity of theirs under another issuer', async () => {
  expect(code(await put('ada', 'second', approvers))).toEqual([403, 'own_standing']);
  // What gives nobody a role is no matter of standing.
  expect((await put('ada', 'second', { ...approvers, rules: [] })).status).toBe(201);
  const read = await plane.as('ada', 'GET', '/mappings/second');
  const seen = { 'if-match': read.headers.get('etag') ?? '' };
  expect(code(await put('ada', 'second', approvers, seen))).toEqual([403, 'own_standing']);
  expect((await put('abel', 'second', approvers, seen)).status).toBe(200);
  expect(code(await plane.as('ada', 'DELETE', '/mappings/second', { reason }))).toEqual([403, 'own_standing']);
  expect((await plane.as('abel', 'DELETE', '/mappings/second', { reason })).status).toBe(200);
});

test('ID-01: a mapping that keeps other tenants out is not turned to another issuer', async () => {
  const { issuer } = plane.issuer;
  const tenant = { claim: 'tid', value: 'ours' };
  await plane.seed([plane.put('mapping', 'tenants', { ...approvers, rules: [], tenant }, SECOND)]);
  const read = await plane.as('abel', 'GET', '/mappings/tenants');
  const turned = { issuer, newcomers: 'refuse', rules: [] };
  const reply = await put('abel', 'tenants', turned, { 'if-match': read.headers.get('etag') ?? '' });
  expect([...code(reply), reply.body.error?.['field']]).toEqual([422, 'invalid', 'mapping.issuer']);
  expect(plane.snapshot().mappings.get(SECOND)?.tenant).toEqual(tenant);
});
