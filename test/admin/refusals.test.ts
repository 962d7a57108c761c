/** Bad input to the admin API: refused whole, with every reason, nothing changed, and in the log with who it was and why, up to a bound. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { refusals } from '../../src/admin/refusals.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { everything } from './apply/files.ts';
import { SERVER, seenTool, startPlane, type Plane, type Reply } from './plane.ts';

let plane: Plane;
const ABSENT = { 'if-none-match': '*' };
const HOSTILE = seenTool('drafted', {
  name: 'peek',
  description: 'Peeks.',
  inputSchema: { type: 'object', properties: { a: { $ref: 'https://evil.example/schema' } } },
});
beforeAll(async () => {
  plane = await startPlane();
  await plane.seed([
    plane.put('server', 'drafted', { ...SERVER, state: 'draft' }),
    plane.put('server', 'waiting', { ...SERVER, owner: 'nobody-there', revocation: undefined, state: 'in_review' }),
    plane.put('server', 'mine', { ...SERVER, state: 'enabled' }),
    plane.put('tool', HOSTILE.id, HOSTILE.body),
  ]);
});
afterAll(() => plane.close());

const SECRET = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`;
const BAD_POLICY = 'permit (principal, action, resource) when { resource.colour == "red" && principal.shoe > 7 };';
const grant = (who: object, what: object) => ({ grant: { who, what, justification: 'x' } });
const put = (who: string, id: string, server: object, headers: Record<string, string> = ABSENT) =>
  plane.as(who, 'PUT', `/servers/${id}`, { reason: 'x', server }, headers);

// prettier-ignore
const BAD: ReadonlyArray<readonly [title: string, who: string, status: number, code: string, says: readonly string[], send: () => Promise<Reply>]> = [
  ['a transition that does not exist', 'sven', 409, 'server_transition', ['draft'],
    () => plane.afterReading('sven', '/servers/drafted', 'POST', '/servers/drafted/enable', { reason: 'x' })],
  ['an owner who is not there, and a member that is missing', 'sven', 422, 'invalid', ['owner: ', 'revocation: '],
    () => plane.afterReading('sven', '/servers/waiting', 'POST', '/servers/waiting/enable', { reason: 'x' })],
  ['an unknown person as the owner', 'ada', 422, 'invalid', ['nobody-at-all'],
    () => plane.as('ada', 'POST', '/servers/mine/owner', { owner: 'nobody-at-all', reason: 'x' })],
  ['a grant for an unknown person on an unknown server', 'sven', 422, 'invalid', ['somebody-else', 'no-such-server'],
    () => plane.as('sven', 'POST', '/grants', grant({ kind: 'person', id: 'somebody-else' }, { server: 'no-such-server', items: ['x'] }))],
  ['a revision that is stale', 'omar', 412, 'precondition_failed', ['revision'],
    () => put('omar', 'mine', SERVER, { 'if-match': '"1"' })],
  ['a record that nobody said they saw', 'omar', 428, 'precondition_required', ['seen'],
    () => put('omar', 'mine', SERVER, {})],
  ['a shape with three mistakes', 'omar', 422, 'invalid', ['server.title', 'server.owner', 'server.riskTier'],
    () => put('omar', 'shapeless', { ...SERVER, title: 7, owner: [], riskTier: 'huge' })],
  ['a definition that is too large', 'omar', 413, 'too_large', ['524288'],
    () => put('omar', 'large', { ...SERVER, purpose: 'x'.repeat(600_000) })],
  ['JSON with a key twice', 'omar', 400, 'bad_json', ['duplicate_key'],
    () => plane.raw('PUT', '/api/v1/servers/twice', { authorization: `Bearer ${plane.tokenOf('omar')}`, 'content-type': 'application/json' }, '{"reason":"x","reason":"y"}')],
  ['a literal secret', 'omar', 422, 'invalid', ['server.upstream'],
    () => put('omar', 'leaky', { ...SERVER, upstream: { transport: 'stdio', command: ['node', `--token=${SECRET}`] } })],
  ['a policy that does not validate', 'sven', 422, 'invalid', ['colour', 'shoe'],
    () => plane.as('sven', 'PUT', '/policies/wrong', { reason: 'x', policy: { description: 'x', text: BAD_POLICY } }, ABSENT)],
  ['a tool whose schema fetches', 'sven', 422, 'invalid', ['external_reference', '/inputSchema/properties/a/$ref'],
    () => plane.as('sven', 'POST', '/servers/drafted/tools/peek/approve', { digest: HOSTILE.digest, risk: 'read', scope: 'notes:read', justification: 'x' })],
  ['a plan that nobody made', 'ada', 409, 'apply_stale', [],
    () => plane.as('ada', 'POST', '/apply', { resources: [{ kind: 'group', id: 'g', spec: { name: 'G', roles: [] } }], digest: `sha256:${'0'.repeat(64)}`, reason: 'x' })],
  ['what only others may', 'dana', 403, 'role_missing', [],
    () => plane.as('dana', 'POST', '/servers/mine/suspend', { reason: 'x' })],
  ['what is not there', 'omar', 404, 'not_found', [],
    () => plane.as('omar', 'POST', '/servers/imaginary/submit', { reason: 'x' })],
];

describe('a change that is refused', () => {
  test.each(BAD)('%s: whole, with its reasons, and in the log', async (_title, who, status, code, says, send) => {
    const before = await everything(plane);
    const reply = await send();
    const error = reply.body.error ?? {};
    expect([reply.status, error['code'], reply.text]).toEqual([status, code, reply.text]);
    for (const said of says) expect(JSON.stringify([error['field'], error['message']])).toContain(said);
    expect(await everything(plane)).toBe(before);
    const entry = (await plane.entries('admin')).find(({ ref }) => ref === error['ref']);
    expect(entry).toMatchObject({ actor: { person: who }, event: { what: 'request.refused', reason: code } });
    expect(JSON.stringify(entry)).not.toContain(SECRET);
    expect(reply.text).not.toContain(SECRET);
  });

  test('names what it was about, unless that is a secret', async () => {
    const of = async (id: string) => {
      const { body } = await plane.as('omar', 'POST', `/servers/${id}/submit`, { reason: 'x' });
      return (await plane.entries('admin')).find(({ ref }) => ref === body.error?.['ref'])?.event;
    };
    expect(await of('imaginary-2')).toMatchObject({
      route: 'POST /api/v1/servers/:server/submit',
      subject: 'imaginary-2',
    });
    expect(await of(SECRET)).not.toHaveProperty('subject');
  });

  test('reading is refused without an entry where nothing is but missing', async () => {
    const before = (await plane.entries('admin')).length;
    expect((await plane.as('sven', 'GET', '/servers/imaginary')).status).toBe(404);
    expect(await plane.entries('admin')).toHaveLength(before);
  });
});

describe('many refusals of one person', () => {
  const book = () => {
    const events: Array<Record<string, unknown>> = [];
    const clock = manualClock(1_790_000_000_000);
    const log = {
      stamp: () => ({ timeMs: clock.now(), node: 'n', org: 'o' }),
      record: (entry: { event: Record<string, unknown> }) => (events.push(entry.event), Promise.resolve(0)),
    };
    const none = { debug: () => undefined, warn: () => undefined, error: () => undefined };
    const made = refusals({ audit: { log: log as never }, clock, log: none }, { alike: 3, person: 5 });
    const note = (subject: string, code: string, status: 403 | 409 = 409) =>
      made.note(
        'ref',
        { token: { issuer: 'i', subject }, actor: undefined } as never,
        { method: 'POST', path: '/x', scope: 'admin:write' },
        { status, code, message: 'x' },
      );
    return { events, clock, note };
  };

  test('are recorded up to the bound, the last says so, and the rest is counted in the next entry', async () => {
    const { events, clock, note } = book();
    for (let i = 0; i < 10; i++) await note('dana', 'conflict');
    expect(events.map(({ furtherAreCounted }) => furtherAreCounted ?? false)).toEqual([false, false, true]);
    // Another reason is not hidden behind the flood, and carries how many were not written.
    await note('dana', 'two_people', 403);
    expect(events.at(-1)).toMatchObject({ reason: 'two_people', unrecordedBefore: 7 });
    // Nor is another person.
    await note('sven', 'conflict');
    expect(events.at(-1)).not.toHaveProperty('unrecordedBefore');
    clock.advance(60_000);
    await note('dana', 'conflict');
    expect(events).toHaveLength(6);
  });

  test('of any kind together stay under a bound, too', async () => {
    const { events, note } = book();
    for (let i = 0; i < 20; i++) await note('dana', `code_${i}`);
    expect(events).toHaveLength(5);
    expect(events.at(-1)).toMatchObject({ furtherAreCounted: true });
  });
});
