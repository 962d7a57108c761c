/** Who may tell us about people, from files: connections and streams without their tokens, which are made by hand and stay what they are. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPlane, type Plane } from '../plane.ts';
import { actions, applied, plan, problems, rowsOf, type Sent } from './files.ts';

let plane: Plane;
beforeAll(async () => void (plane = await startPlane()));
afterAll(() => plane.close());

const connection = (id: string, more: object = {}): Sent => ({
  kind: 'scim_connection',
  id,
  spec: {
    title: 'People',
    identities: [{ issuer: plane.issuer.issuer, subject: '{externalId}' }],
    silenceAfterMs: null,
    whenSilent: 'alarm',
    ...more,
  },
});
const stream = (id: string, more: object = {}): Sent => ({
  kind: 'event_stream',
  id,
  spec: {
    title: 'Events',
    issuer: 'https://idp.example',
    jwksUri: 'https://idp.example/keys',
    algorithms: ['ES256'],
    audience: 'https://remit.example/events',
    allowedNetworks: [],
    delivery: { method: 'push' },
    silenceAfterMs: null,
    whenSilent: 'alarm',
    ...more,
  },
});
const POLLED = {
  method: 'poll',
  url: 'https://idp.example/poll',
  everyMs: 60_000,
  token: { secret: 'env:IDP_TOKEN' },
};
const stored = async (kind: string, id: string) =>
  (await plane.state.load()).records.find((record) => record.kind === kind && record.id === id)?.body;
const drift = async (set: string) => {
  const { body } = await plane.as('ada', 'GET', `/apply/sets/${set}/drift`);
  return (body['rows'] as Array<{ readonly status: string }>).map(({ status }) => status);
};

test.each([
  ['scim_connection', connection, '/scim-connections/people', { reason: 'first' }, 'tokens'],
  ['event_stream', stream, '/event-streams/events', { reason: 'first', days: 3 }, 'delivery'],
] as const)(
  '%s: tokens are made by hand, stay through every change, and stand in no plan',
  async (kind, of, path, asked, where) => {
    const set = { set: kind.replace('_', '-') };
    const id = path.split('/').at(-1)!;
    expect(actions(await plan(plane, 'ada', [of(id)], set))).toEqual([`create ${kind}/${id}`]);
    expect((await applied(plane, 'ada', [of(id)], set)).status).toBe(200);
    expect(await stored(kind, id)).toMatchObject({ state: 'active' });
    const made = await plane.as('ada', 'POST', `${path}/tokens`, asked);
    expect(made.status, made.text).toBe(201);
    const tokens = (await stored(kind, id))?.[where];
    expect(JSON.stringify(tokens)).toContain('"sha256"');
    expect([actions(await plan(plane, 'ada', [of(id)], set)), await drift(set.set)]).toEqual([
      [`unchanged ${kind}/${id}`],
      ['same'],
    ]);

    const changed = await plan(plane, 'ada', [of(id, { title: 'Other' })], set);
    expect(rowsOf(changed)[0]?.changes).toMatchObject([{ field: 'title', after: 'Other' }]);
    expect((await applied(plane, 'ada', [of(id, { title: 'Other' })], set)).status).toBe(200);
    expect((await stored(kind, id))?.[where]).toEqual(tokens);

    expect((await applied(plane, 'ada', [], { ...set, prune: true })).status).toBe(200);
    expect(await stored(kind, id)).toEqual(
      kind === 'event_stream' ? undefined : expect.objectContaining({ state: 'disabled' }),
    );
  },
);

test('a stream that is polled from now on loses its tokens, and the plan does not show their hashes', async () => {
  await applied(plane, 'ada', [stream('turned')]);
  await plane.as('ada', 'POST', '/event-streams/turned/tokens', { reason: 'first', days: 3 });
  const file = [stream('turned', { delivery: POLLED })];
  const planned = await plan(plane, 'ada', file);
  expect(rowsOf(planned)[0]?.changes.map(({ field }) => field)).toEqual([
    'delivery.everyMs',
    'delivery.method',
    'delivery.token.secret',
    'delivery.url',
  ]);
  expect((await applied(plane, 'ada', file)).status).toBe(200);
  expect(await stored('event_stream', 'turned')).toMatchObject({ delivery: POLLED });
});

test('a connection that somebody has disabled is not enabled by its file', async () => {
  const set = { set: 'stopped' };
  await applied(plane, 'ada', [connection('stopped')], set);
  await plane.as('ada', 'POST', '/scim-connections/stopped/disable', { reason: 'its token leaked' });
  expect(await drift('stopped')).toEqual(['ended']);
  expect(actions(await plan(plane, 'ada', [connection('stopped')], set))).toEqual([
    'unchanged scim_connection/stopped',
  ]);
  expect((await applied(plane, 'ada', [connection('stopped', { title: 'Again' })], set)).status).toBe(200);
  expect(await stored('scim_connection', 'stopped')).toMatchObject({ state: 'disabled', title: 'Again' });
});

test('a file says neither state nor tokens, gives nothing away, and is for administrators', async () => {
  expect(problems(await plan(plane, 'ada', [connection('a', { state: 'active', tokens: [] })]))).toEqual([
    'scim_connection/a spec.state: unknown_member',
    'scim_connection/a spec.tokens: unknown_member',
  ]);
  const pushed = { method: 'push', tokens: [] };
  expect(problems(await plan(plane, 'ada', [stream('a', { state: 'disabled', delivery: pushed })]))).toEqual([
    'event_stream/a spec.state: unknown_member',
    'event_stream/a spec.delivery.tokens: unknown_member',
  ]);
  const literal = { ...POLLED, token: { secret: 'plain-words-of-a-secret' } };
  expect(problems(await plan(plane, 'ada', [stream('a', { delivery: literal })]))).toContain(
    'event_stream/a spec.delivery.token.secret: secret_literal',
  );
  expect(actions(await plan(plane, 'ada', [stream('a', { delivery: POLLED })]))).toEqual(['create event_stream/a']);
  expect(problems(await plan(plane, 'sven', [connection('a'), stream('b')]))).toEqual([
    'scim_connection/a : role_missing',
    'event_stream/b : role_missing',
  ]);
  // Contacts are kept by id: one of the two.
  expect(problems(await plan(plane, 'ada', [connection('same'), stream('same')]))).toEqual([
    'event_stream/same : id_taken',
  ]);
});
