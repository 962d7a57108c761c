/** Scopes from files, what follows a server that ends, ids that are kept for grants, and emergencies that no file asks for. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SERVER, startPlane, type Plane } from '../plane.ts';
import { actions, applied, plan, policy, problems, server } from './files.ts';

let plane: Plane;
const told: string[] = [];
beforeAll(async () => {
  plane = await startPlane({
    wrap: (ctx) => ({
      ...ctx,
      accounts: {
        ...ctx.accounts,
        revoke: (id) => (told.push(`revoke ${id}`), Promise.resolve({ revoked: 0, left: 0 })),
        forget: (id) => (told.push(`forget ${id}`), Promise.resolve()),
      },
    }),
  });
});
afterAll(() => plane.close());
beforeEach(() => void told.splice(0));

const stored = async (kind: string, id: string) =>
  (await plane.state.load()).records.find((record) => record.kind === kind && record.id === id);
const scope = (id: string, includes: readonly string[], title = 'All notes') => ({
  kind: 'scope',
  id,
  spec: { title, includes },
});

describe('a server that ends by files', () => {
  test('NH-04: is retired with its accounts, once the commit is in force and not before', async () => {
    await applied(plane, 'ada', [server('ends')], { set: 'ends' });
    await plane.seed([plane.put('server', 'ends', { ...SERVER, state: 'enabled' })]);
    const planned = await plan(plane, 'ada', [], { set: 'ends', prune: true });
    expect([actions(planned), told]).toEqual([['retire server/ends'], []]);
    const reply = await applied(plane, 'ada', [], { set: 'ends', prune: true });
    expect(reply.status, reply.text).toBe(200);
    expect((await stored('server', 'ends'))?.body['state']).toBe('retired');
    expect(told).toEqual(['revoke ends', 'forget ends']);
  });

  test('the route does the same', async () => {
    await plane.seed([plane.put('server', 'routed', { ...SERVER, state: 'enabled' })]);
    const reply = await plane.as('ada', 'POST', '/servers/routed/retire', { reason: 'x' });
    expect([reply.status, told]).toEqual([200, ['revoke routed', 'forget routed']]);
  });

  test('a plan that is refused forgets nothing', async () => {
    await applied(plane, 'ada', [server('stays')], { set: 'stays' });
    await plane.seed([plane.put('server', 'stays', { ...SERVER, state: 'enabled' })]);
    const reply = await applied(plane, 'ada', [policy('grant.bad')], { set: 'stays', prune: true });
    expect([problems(reply).length > 0, told]).toEqual([true, []]);
    expect((await stored('server', 'stays'))?.body['state']).toBe('enabled');
  });
});

describe('scopes from files', () => {
  test('AZ-11: what includes more waits for somebody else, is not asked for again, and goes with the file', async () => {
    const file = [scope('notes:all', ['notes:write', 'notes:read', 'notes:read'])];
    expect(actions(await plan(plane, 'sven', file, { set: 'scopes' }))).toEqual(['create scope/notes:all']);
    expect((await applied(plane, 'sven', file, { set: 'scopes' })).status).toBe(200);
    const waiting = await stored('scope', 'notes:all');
    expect(waiting?.body).toMatchObject({
      includes: [],
      proposed: { by: 'sven', includes: ['notes:read', 'notes:write'] },
    });
    expect(actions(await plan(plane, 'ada', file, { set: 'scopes' }))).toEqual(['unchanged scope/notes:all']);
    const read = await plane.as('ada', 'GET', '/scopes/notes:all');
    const agreed = { reason: 'x', digest: (read.body['proposed'] as { digest: string }).digest };
    const approve = (by: string) =>
      plane.as(by, 'POST', '/scopes/notes:all/approve', agreed, { 'if-match': read.headers.get('etag') ?? '' });
    expect((await approve('sven')).status).toBe(403);
    expect((await approve('ada')).status).toBe(200);
    expect(actions(await plan(plane, 'sven', file, { set: 'scopes' }))).toEqual(['unchanged scope/notes:all']);
    const drift = await plane.as('sven', 'GET', '/apply/sets/scopes/drift');
    expect(drift.text).not.toContain('"changed"');
    expect((await applied(plane, 'sven', [scope('notes:all', ['notes:read'])], { set: 'scopes' })).status).toBe(200);
    expect((await stored('scope', 'notes:all'))?.body).toEqual({ title: 'All notes', includes: ['notes:read'] });
    expect((await applied(plane, 'sven', [], { set: 'scopes', prune: true })).status).toBe(200);
    expect(await stored('scope', 'notes:all')).toBeUndefined();
  });

  test('a file cannot say who agreed, and an operator applies none', async () => {
    const bold = { kind: 'scope', id: 'bold', spec: { title: 'x', includes: ['a'], proposed: { includes: [] } } };
    expect(problems(await plan(plane, 'sven', [bold]))).toEqual(['scope/bold spec.proposed: unknown_member']);
    expect(problems(await plan(plane, 'omar', [scope('mine', ['a'])]))).toHaveLength(1);
    expect(problems(await plan(plane, 'sven', [scope('with space', ['a'])]))).toHaveLength(1);
  });
});

describe('ids that begin with grant.', () => {
  const body = policy('grant.x').spec as { readonly text: string };
  const refusal = { code: 'invalid', message: 'Ids that begin with "grant." are those of grants.' };

  test('NH-09: no written policy has one, whichever way it comes', async () => {
    const put = await plane.as('sven', 'PUT', '/policies/grant.x', { reason: 'x', policy: body });
    expect([put.status, put.body.error]).toEqual([422, expect.objectContaining({ ...refusal, field: 'policy' })]);
    const check = await plane.as('sven', 'POST', '/policies/check', { id: 'grant.x', text: body.text });
    expect(check.body.error).toMatchObject(refusal);
    const planned = await plan(plane, 'sven', [policy('grant.x')]);
    expect([problems(planned).length, planned.body['digest']]).toEqual([1, null]);
    expect(planned.text).toContain('are those of grants');
    expect(await stored('policy', 'grant.x')).toBeUndefined();
    // The twin: nothing but the id is wrong with it.
    expect((await plane.as('sven', 'PUT', '/policies/grants.x', { reason: 'x', policy: body })).status).toBe(201);
  });
});

describe('emergencies', () => {
  const wanted = {
    who: { kind: 'person', id: 'dana' },
    what: { server: 'files', items: ['x'] },
    justification: 'x',
    lastsMs: 60_000,
  };
  test.each([
    [{ breakGlass: true }, 'grant/g1 spec.breakGlass: unknown_member'],
    [{ approval: 'waived' }, 'grant/g1 spec.approval: invalid'],
  ])('AP-03: no file asks for %j', async (more, problem) => {
    expect(problems(await plan(plane, 'sven', [{ kind: 'grant', id: 'g1', spec: { ...wanted, ...more } }]))).toContain(
      problem,
    );
  });

  test('AP-08: one that was open is in the register of exceptions, with whoever asked, why and until when', async () => {
    const now = Date.now();
    const record = (more: object) => ({
      ...wanted,
      conditions: [],
      approval: 'waived',
      breakGlass: true,
      expiresAt: now + 60_000,
      state: 'active',
      requestedBy: 'omar',
      requestedAt: now,
      decidedBy: 'sven',
      decidedAt: now,
      note: null,
      ...more,
    });
    await plane.seed([
      plane.put('grant', 'grant_open', record({})),
      plane.put('grant', 'grant_ended', record({ state: 'ended' })),
      plane.put(
        'grant',
        'grant_asked',
        record({ state: 'requested', decidedAt: null, decidedBy: null, expiresAt: null }),
      ),
    ]);
    const { body } = await plane.as('aiko', 'GET', '/exceptions?standing=all&kind=grant');
    expect(body['exceptions']).toEqual([
      expect.objectContaining({
        id: 'grant_open',
        owner: 'omar',
        reason: 'x',
        until: now + 60_000,
        inForce: true,
        title: 'emergency, no approvals: person dana: x on files',
      }),
      expect.objectContaining({ id: 'grant_ended', inForce: false }),
    ]);
  });
});
