/** Telling an authorization server what ended: a real HTTP receiver keeps what it got; the source is the history in a real store. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { eventKey, newEventKey } from '../../../src/admin/events/event-key.ts';
import { eventAlarms } from '../../../src/admin/events/silence.ts';
import { transmitter } from '../../../src/admin/events/transmit.ts';
import type { Transmitter } from '../../../src/admin/events/transmit.ts';
import { until } from '../../support/upstreams/open.ts';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';
import { CAEP, RISC, issSub, push, startTransmitter } from './transmitter.ts';

const ISSUER = 'https://remit-admin.example';
let plane: Plane;
let ctx: AdminContext;
let sink: Awaited<ReturnType<typeof startSink>>;
const running: Transmitter[] = [];

async function startSink() {
  const tokens: string[] = [];
  const state = { status: 202, tries: 0 };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      state.tries++;
      if (state.status === 202) tokens.push(text);
      response.writeHead(state.status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
    tokens,
    state,
    told: () =>
      tokens.map((token) => {
        const { events, sub_id: subject } = decodeJwt(token) as { events: object; sub_id?: Record<string, string> };
        const [[type, members]] = Object.entries(events) as [[string, Record<string, unknown>]];
        return `${type.split('/').at(-1)!} ${subject?.['sub'] ?? subject?.['id'] ?? String(members['grant_id'])}`;
      }),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

beforeEach(async () => {
  sink = await startSink();
  plane = await startPlane({ wrap: (plain) => (ctx = plain) });
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.close();
  await plane?.close();
  await sink?.close();
});

const KEY = newEventKey();
function start(): Transmitter {
  const made = transmitter({
    org: 'default',
    clock: ctx.clock,
    state: ctx.state,
    follower: ctx.follower,
    key: eventKey(KEY),
    peers: [
      {
        issuer: plane.issuer.issuer,
        url: sink.url,
        rule: { allowedNetworks: ['127.0.0.1/32'], requireHttps: true },
        token: async () => 'bearer',
      },
    ],
    log: ctx.log,
  });
  made.start(ISSUER);
  running.push(made);
  return made;
}
const voided = (kind: string, value: string, more: object = {}) =>
  plane.put('void', `void_${kind}_${value.replaceAll(/\W/g, '')}`, {
    subject: { kind, value },
    before: Date.now(),
    reason: 'test',
    by: 'ada',
    until: Date.now() + 600_000,
    ...more,
  });
const person = (id: string, change: object) => {
  const { id: _, ...body } = plane.snapshot().people.byId(id)!;
  return plane.put('person', id, { ...body, ...change }, `${body.issuer} ${body.subject}`);
};
const settled = async (one: Transmitter): Promise<void> => {
  await until('the cursor', async () => (await cursor()) === 'there');
  await until('nothing waits', () => one.peers()[0]?.waitingSince === null);
};
const cursor = async (): Promise<string> =>
  (await plane.state.load()).records.some(({ kind }) => kind === 'event_cursor') ? 'there' : 'none';

describe('what is told', () => {
  test('ID-04: who is deleted, active or not, is purged there, under every name of theirs', async () => {
    await settled(start());
    await plane.seed([person('dana', { state: 'inactive' })]);
    await plane.seed(['dana', 'omar'].map((id) => ({ kind: 'person', org: 'default', id, body: null })));
    await until('all', () => sink.tokens.length >= 3);
    expect(sink.told()).toEqual(['account-disabled dana', 'account-purged dana', 'account-purged omar']);
  });

  test('ID-04: when an inactive person gets another account, that one is barred and the old one is nobody’s', async () => {
    await settled(start());
    const { issuer } = plane.issuer;
    const renamed = (subject: string, state: 'active' | 'inactive') => ({
      ...person('dana', { state, subject }),
      key: `${issuer} ${subject}`,
    });
    await plane.seed([person('dana', { state: 'inactive' })]);
    await plane.seed([renamed('dana-2', 'inactive')]);
    await plane.seed([renamed('dana-2', 'active')]);
    await until('all', () => sink.tokens.length >= 4);
    expect(sink.told()).toEqual([
      'account-disabled dana',
      'account-purged dana',
      'account-disabled dana-2',
      'account-enabled dana-2',
    ]);
  });

  test('voids of its people, clients, grants and sessions, and who is inactive or active again, in the order of the history', async () => {
    await settled(start());
    const { issuer } = plane.issuer;
    await plane.seed([person('dana', { state: 'inactive' }), voided('person', 'dana')]);
    await plane.seed([voided('grant', `${issuer} g1`)]);
    await plane.seed([voided('session', `${issuer} s1`), voided('client', 'agent-7')]);
    await plane.seed([person('dana', { state: 'active' })]);
    await plane.seed([person('dana', { state: 'active', name: 'Dana' })]);
    await until('all', () => sink.tokens.length >= 6);
    expect(sink.told()).toEqual([
      'account-disabled dana',
      'session-revoked dana',
      'token-revoked g1',
      'session-revoked s1',
      'tokens-revoked agent-7',
      'account-enabled dana',
    ]);
  });

  test('signed by the key of its key set, typed, addressed to that authorization server', async () => {
    const one = start();
    await settled(one);
    await plane.seed([voided('person', 'dana')]);
    await until('the event', () => sink.tokens.length === 1);
    const keys = createLocalJWKSet({ keys: one.publicKeys() } as unknown as JSONWebKeySet);
    const { payload, protectedHeader } = await jwtVerify(sink.tokens[0]!, keys, {
      issuer: ISSUER,
      audience: plane.issuer.issuer,
      typ: 'secevent+jwt',
    });
    expect(protectedHeader.alg).toBe('ES256');
    expect(payload['events']).toEqual({
      [`${CAEP}session-revoked`]: { event_timestamp: expect.any(Number), initiating_entity: 'admin' },
    });
    expect(JSON.stringify(one.publicKeys())).not.toContain('"d"');
  });

  test('nothing of another issuer, and nothing that the authorization server said itself', async () => {
    await settled(start());
    const sender = await startTransmitter();
    await plane.seed([plane.put('event_stream', 'as', sender.stream({ issuer: plane.issuer.issuer }))]);
    await plane.seed([
      voided('grant', 'https://other.example g1'),
      voided('grant', `${plane.issuer.issuer} g2`, { by: 'event_stream:as' }),
      voided('token', `${plane.issuer.issuer} j1`),
      voided('person', 'nobody-here'),
      voided('client', 'mark'),
    ]);
    await until('the mark', () => sink.tokens.length >= 1);
    await sender.close();
    expect(sink.told()).toEqual(['tokens-revoked mark']);
  });

  test('an event of an identity provider reaches the authorization server', async () => {
    await settled(start());
    const sender = await startTransmitter();
    await plane.seed([plane.put('event_stream', 'idp', sender.stream())]);
    const token = sender.event(`${RISC}account-disabled`, {}, issSub(plane.issuer.issuer, 'dana'));
    expect((await push(`${plane.url}/events/idp`, token)).status).toBe(202);
    await until('both', () => sink.tokens.length === 2);
    await sender.close();
    expect(sink.told().sort()).toEqual(['account-disabled dana', 'session-revoked dana']);
  });

  test('who became inactive and active again while nobody was told is told in that order', async () => {
    const before = start();
    await settled(before);
    await before.close();
    await plane.seed([person('dana', { state: 'inactive' })]);
    await plane.seed([person('dana', { state: 'active' })]);
    await plane.seed([person('omar', { state: 'inactive' })]);
    start();
    await until('the three', () => sink.tokens.length === 3);
    await plane.seed([person('omar', { state: 'active' })]);
    await plane.seed([person('dana', { state: 'active', name: 'Dana' }), person('petra', { state: 'inactive' })]);
    await until('the five', () => sink.tokens.length === 5);
    expect(sink.told()).toEqual([
      'account-disabled dana',
      'account-enabled dana',
      'account-disabled omar',
      'account-enabled omar',
      'account-disabled petra',
    ]);
  });

  test('at the first start: who is inactive now, and the voids that still count', async () => {
    await plane.seed([
      person('dana', { state: 'inactive' }),
      voided('client', 'old', { until: Date.now() - 1 }),
      voided('client', 'new'),
    ]);
    start();
    await until('both', () => sink.tokens.length === 2);
    expect(sink.told()).toEqual(['account-disabled dana', 'tokens-revoked new']);
  });
});

describe('until it is taken', () => {
  test('what could not be delivered is delivered later, in order, once', async () => {
    const one = start();
    await settled(one);
    sink.state.status = 503;
    for (const client of ['a', 'b', 'c']) await plane.seed([voided('client', client)]);
    await until('a try', () => sink.state.tries >= 2);
    expect(one.peers()[0]).toMatchObject({ problem: 'status_503', waitingSince: expect.any(Number) });
    sink.state.status = 202;
    await until('all', () => sink.tokens.length === 3);
    expect(sink.told()).toEqual(['tokens-revoked a', 'tokens-revoked b', 'tokens-revoked c']);
  });

  test('CRASH: what was not taken is told after a restart; what is told twice has the same id', async () => {
    const before = start();
    await settled(before);
    await plane.seed([voided('client', 'a')]);
    await until('the first', () => sink.tokens.length === 1);
    sink.state.status = 503;
    await plane.seed([voided('client', 'b')]);
    await until('a try', () => sink.state.tries >= 2);
    await before.close();
    sink.state.status = 202;
    start();
    await until('the second', () => sink.told().includes('tokens-revoked b'));
    const ids = new Map<string, Set<string>>();
    for (const [at, what] of sink.told().entries())
      ids.set(what, (ids.get(what) ?? new Set()).add(String(decodeJwt(sink.tokens[at]!).jti)));
    expect([...ids.values()].map(({ size }) => size)).toEqual([1, 1]);
  });

  test('an authorization server that takes nothing for more than a minute is an alarm', async () => {
    const one = start();
    await settled(one);
    sink.state.status = 503;
    await plane.seed([voided('client', 'a')]);
    await until('a try', () => sink.state.tries >= 1 && one.peers()[0]?.waitingSince !== null);
    const at = (ms: number) => eventAlarms({ ...ctx, events: one, clock: { now: () => Date.now() + ms } });
    expect(at(0)).toEqual([]);
    expect(at(61_000)).toEqual([`events_not_taken:${plane.issuer.issuer}`]);
  });

  test('one that it refuses for good holds up nothing', async () => {
    const one = start();
    await settled(one);
    sink.state.status = 400;
    await plane.seed([voided('client', 'a')]);
    await until('a refusal', () => one.peers()[0]?.refused === 1);
    sink.state.status = 202;
    await plane.seed([voided('client', 'b')]);
    await until('the next', () => sink.tokens.length === 1);
    expect(sink.told()).toEqual(['tokens-revoked b']);
    expect(plane.logged.some(({ message }) => message.includes('refused a security event'))).toBe(true);
  });
});

test('what receivers need to know is served: issuer, key set', async () => {
  const own = eventKey(KEY);
  const served = await startPlane({
    wrap: (plain) => ({ ...plain, events: { publicKeys: () => [own.publicJwk], peers: () => [] } }),
  });
  try {
    const metadata = (await served.raw('GET', '/.well-known/ssf-configuration')).body;
    expect(metadata).toMatchObject({ spec_version: '1_0', issuer: served.url, jwks_uri: `${served.url}/events/jwks` });
    expect((await served.raw('GET', '/events/jwks')).body).toEqual({ keys: [own.publicJwk] });
    expect((await plane.raw('GET', '/events/jwks')).status).toBe(404);
  } finally {
    await served.close();
  }
});
