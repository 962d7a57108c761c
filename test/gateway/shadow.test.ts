/** A policy in shadow decides nothing: the oracle is what the server received. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, type Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ admin: true });
});
afterAll(() => rig.stop());

const FORBID = `forbid (principal, action == Remit::Action::"callTool", resource == Remit::Tool::"notes/write_note");`;
const PERMIT = `permit (principal in Remit::Role::"auditor", action == Remit::Action::"callTool", resource == Remit::Tool::"notes/read_note") when { context.scopeHeld };`;

const policy = (id: string, text: string, state: string, replaces: readonly string[] = []) => ({
  kind: 'policy',
  org: 'default',
  id,
  body: { description: id, text, state, replaces },
});
async function report(id: string): Promise<JsonObject> {
  await rig.gateway.shadows.idle();
  return (await rig.admin('sven', 'GET', `/policies/${id}/shadow`)).body;
}

test('AZ-08: a forbid in shadow stops nothing, and every call that it would have stopped is counted with its reference', async () => {
  await rig.commit([policy('shade.writes', FORBID, 'shadow')]);
  const before = rig.sink().calls().length;
  const answers = [];
  for (let at = 0; at < 3; at++) answers.push(await rig.call('notes', 'write_note', { text: `${at}` }, { as: 'dana' }));
  await rig.call('notes', 'read_note', { text: 'x' }, { as: 'dana' });
  expect(rig.sink().calls()).toHaveLength(before + 4);
  expect(await report('shade.writes')).toMatchObject({
    evaluated: 4,
    unchanged: 1,
    dropped: 0,
    changes: [{ from: 'allow', to: 'deny', calls: 3 }],
    rows: [{ person: 'dana', item: 'notes/write_note', from: 'allow', to: 'deny', count: 3 }],
  });
  const [row] = (await report('shade.writes'))['rows'] as JsonObject[];
  expect((await rig.admin('sven', 'GET', `/audit/calls/${row!['call'] as string}`)).status).toBe(200);
});

test('twin: the same policy in force stops the call', async () => {
  await rig.commit([policy('shade.writes', FORBID, 'active')]);
  const before = rig.sink().calls().length;
  await rig.call('notes', 'write_note', { text: 'x' }, { as: 'dana' });
  expect(rig.sink().calls()).toHaveLength(before);
  expect((await rig.admin('sven', 'GET', '/policies/shade.writes/shadow')).status).toBe(409);
  await rig.commit([policy('shade.writes', FORBID, 'draft')]);
});

test('a permit in shadow opens nothing, not even in a list; who would get in is counted', async () => {
  await rig.commit([policy('shade.auditors', PERMIT, 'shadow')]);
  const before = rig.sink().calls().length;
  await rig.call('notes', 'read_note', { text: 'x' }, { as: 'aiko' });
  expect(rig.sink().calls()).toHaveLength(before);
  expect(await rig.names('notes', { as: 'aiko' })).toEqual([]);
  expect((await report('shade.auditors'))['rows']).toMatchObject([
    { person: 'aiko', item: 'notes/read_note', from: 'deny', to: 'allow', count: 1 },
  ]);
});

test('what it replaces is not counted in, and counting begins anew on demand', async () => {
  await rig.commit([
    policy('shade.auditors', PERMIT, 'draft'),
    policy('shade.none', PERMIT, 'shadow', ['baseline.developer']),
  ]);
  await rig.call('notes', 'read_note', { text: 'x' }, { as: 'dana' });
  expect((await report('shade.none'))['rows']).toMatchObject([{ person: 'dana', from: 'allow', to: 'deny' }]);
  expect((await rig.admin('sven', 'POST', '/policies/shade.none/shadow/reset', {})).status).toBe(200);
  expect(await report('shade.none')).toMatchObject({ evaluated: 0, rows: [] });
});

test('a flood is dropped and counted, never queued without end', async () => {
  await rig.commit([policy('shade.none', PERMIT, 'draft'), policy('shade.writes', FORBID, 'shadow')]);
  const text = 'x'.repeat(9_000);
  const calls = 40;
  await Promise.all(Array.from({ length: calls }, () => rig.call('notes', 'write_note', { text }, { as: 'dana' })));
  const { evaluated, dropped } = (await report('shade.writes')) as { evaluated: number; dropped: number };
  expect(evaluated + dropped).toBe(calls);
});

test('entering and leaving take one person and are recorded; a sixth one is refused', async () => {
  for (const id of ['shade.writes']) await rig.commit([policy(id, FORBID, 'draft')]);
  for (let at = 0; at < 6; at++) await rig.commit([policy(`shade.${at}`, PERMIT, 'draft')]);
  const enter = (who: string, id: string) => rig.admin(who, 'POST', `/policies/${id}/shadow`, { reason: 'watching' });
  for (let at = 0; at < 5; at++) expect((await enter('sven', `shade.${at}`)).status).toBe(200);
  const sixth = await enter('sven', 'shade.5');
  expect([sixth.status, sixth.body['error']]).toMatchObject([409, { code: 'shadow_too_many' }]);
  expect((await enter('omar', 'shade.5')).status).toBe(403);
  expect((await rig.admin('sven', 'DELETE', '/policies/shade.0/shadow', { reason: 'seen enough' })).body).toMatchObject(
    { state: 'draft' },
  );
  const entries = await rig.entries('admin');
  expect(
    entries.filter(({ event }) => ['policy.shadowed', 'policy.unshadowed'].includes(String(event?.['what']))),
  ).toHaveLength(6);
});
