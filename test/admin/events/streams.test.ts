/** Event streams in the admin API: who may, what is refused, a token that is shown once and ends. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';
import { CAEP, issSub, push, startTransmitter } from './transmitter.ts';
import type { EventTransmitter } from './transmitter.ts';

let plane: Plane;
let sender: EventTransmitter;
beforeAll(async () => {
  sender = await startTransmitter();
  plane = await startPlane();
});
afterAll(async () => {
  await plane?.close();
  await sender?.close();
});

const given = (more: object = {}): Record<string, unknown> => ({
  ...sender.stream(),
  delivery: { method: 'push' },
  ...more,
});
const put = (id: string, stream: object, headers: Record<string, string> = { 'if-none-match': '*' }, who = 'ada') =>
  plane.as(who, 'PUT', `/event-streams/${id}`, { reason: 'test', stream }, headers);

test('an administrator adds a stream, makes a token, and with it the transmitter is heard; revoked, it is not', async () => {
  expect((await put('okta', given())).status).toBe(201);
  const made = await plane.as('ada', 'POST', '/event-streams/okta/tokens', { reason: 'first', days: 30 });
  expect(made.status).toBe(201);
  const { id, token } = made.body as unknown as { id: string; token: string };
  expect(token).toMatch(/^remit_events_[\w-]{43}$/);
  const read = await plane.as('aiko', 'GET', '/event-streams/okta');
  expect(read.body['delivery']).toMatchObject({ method: 'push', path: '/events/okta', tokens: [{ id, by: 'ada' }] });
  expect(read.text).not.toMatch(/sha256|remit_events_/);
  expect(JSON.stringify((await plane.state.load()).records)).not.toContain(token);
  expect(JSON.stringify(await plane.entries())).not.toContain(token);

  const tell = () =>
    push(
      `${plane.url}/events/okta`,
      sender.event(`${CAEP}session-revoked`, {}, issSub(plane.issuer.issuer, 'nobody')),
      {
        authorization: `Bearer ${token}`,
      },
    );
  expect((await tell()).status).toBe(202);
  const { streams } = (await plane.as('aiko', 'GET', '/event-streams')).body as { streams?: readonly object[] };
  expect(streams).toMatchObject([{ id: 'okta', silent: false, contactAt: expect.any(Number) }]);
  // A change of the record keeps the tokens.
  const changed = await put('okta', given({ title: 'Okta' }), { 'if-match': read.headers.get('etag')! });
  expect(changed.status).toBe(200);
  expect((await tell()).status).toBe(202);
  expect((await plane.as('ada', 'DELETE', `/event-streams/okta/tokens/${id}`, { reason: 'gone' })).status).toBe(200);
  expect((await tell()).body.err).toBe('authentication_failed');
  expect((await plane.as('ada', 'DELETE', '/event-streams/okta', { reason: 'gone' })).status).toBe(200);
  expect((await plane.as('ada', 'GET', '/event-streams/okta')).status).toBe(404);
  const what = (await plane.entries('admin')).map(({ event }) => event?.['what']);
  for (const one of ['added', 'token_added', 'changed', 'token_removed', 'removed'])
    expect(what).toContain(`event_stream.${one}`);
});

test.for(['omar', 'sven', 'aiko', 'petra', 'dana'] as const)('%s may not add a stream', async (who) => {
  const { status, body } = await put('evil', given(), { 'if-none-match': '*' }, who);
  expect([status, body.error?.['code']]).toEqual([403, 'role_missing']);
});

test.for([
  ['tokens of its own', { delivery: { method: 'push', tokens: [] } }, 'stream.delivery'],
  ['a shared-key algorithm', { algorithms: ['HS256'] }, 'stream.algorithms'],
  ['an issuer that is no URL', { issuer: 'okta' }, 'stream.issuer'],
  ['a subject without {sub}', { subject: 'okta|' }, 'stream.subject'],
  [
    'keys over plain http from the internet',
    { jwksUri: 'http://keys.example/jwks', allowedNetworks: [] },
    'stream.jwksUri',
  ],
  [
    'polling over plain http from the internet',
    {
      jwksUri: 'https://keys.example/jwks',
      allowedNetworks: [],
      delivery: { method: 'poll', url: 'http://poll.example', token: { secret: 'env:X' }, everyMs: 5_000 },
    },
    'stream.delivery.url',
  ],
  [
    'a token in place of a reference',
    { delivery: { method: 'poll', url: 'https://p.example', token: { secret: 'abc' }, everyMs: 5_000 } },
    'stream.delivery',
  ],
] as const)('422 for %s', async ([, change, field]) => {
  const { status, body } = await put('bad', given(change));
  expect(status).toBe(422);
  expect(String(body.error?.['field'])).toContain(field);
});

test('a second put without the revision is refused', async () => {
  expect((await put('twice', given())).status).toBe(201);
  expect((await put('twice', given(), {})).status).toBe(428);
  expect((await put('twice', given())).status).toBe(412);
});

test('an id that is no id, and the id of a SCIM connection', async () => {
  expect((await put('No_Id', given())).body.error?.['field']).toBe('stream');
  await plane.seed([plane.put('scim_connection', 'taken', { title: 'x' })]);
  expect((await put('taken', given())).status).toBe(409);
});

test('a polled stream gets no token', async () => {
  const delivery = { method: 'poll', url: 'https://p.example/poll', token: { secret: 'env:X' }, everyMs: 5_000 };
  expect((await put('polled', given({ delivery }))).status).toBe(201);
  expect((await plane.as('ada', 'POST', '/event-streams/polled/tokens', { reason: 'x', days: 1 })).status).toBe(422);
});
