/** Silence of a source (TRUST.md R6): shown, told once, over when it speaks again; and, where the record says so, a closed door. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventAlarms, watchSilence } from '../../../src/admin/events/silence.ts';
import type { AdminContext } from '../../../src/admin/context.ts';
import { principalOf } from '../../../src/gateway/principal.ts';
import { startPlane } from '../plane.ts';
import type { Plane } from '../plane.ts';
import { SSF, push, startTransmitter } from './transmitter.ts';
import type { EventTransmitter } from './transmitter.ts';

let plane: Plane;
let sender: EventTransmitter;
let ctx: AdminContext;
/** Added to the clock of the plane. */
let later = 0;

beforeEach(async () => {
  later = 0;
  sender = await startTransmitter();
  plane = await startPlane({
    wrap: (plain) => (ctx = { ...plain, clock: { now: () => Date.now() + later } }),
  });
});
afterEach(async () => {
  await plane?.close();
  await sender?.close();
});

const alarms = async (): Promise<unknown> =>
  ((await plane.as('aiko', 'GET', '/status')).body as Record<string, unknown>)['alarms'];
const told = async (): Promise<readonly unknown[]> =>
  (await plane.entries('admin')).flatMap(({ event }) =>
    event?.['what'] === 'alarm.source_silent' ? [event['subject']] : [],
  );

test('R6: the age of the last contact is in the status; past the limit there is one alarm in log and audit for each silence', async () => {
  await plane.seed([plane.put('event_stream', 'idp', sender.stream({ silenceAfterMs: 60_000 }))]);
  const watch = watchSilence(ctx);
  try {
    const beat = (): Promise<unknown> => push(`${plane.url}/events/idp`, sender.event(`${SSF}verification`));
    await beat();
    await watch.look();
    expect(await alarms()).toEqual([]);
    later = 59_000;
    await watch.look();
    expect(await told()).toEqual([]);
    later = 62_000;
    await watch.look();
    await watch.look();
    expect(await alarms()).toEqual(['source_silent:idp']);
    expect(await told()).toEqual(['idp']);
    expect(plane.logged.filter(({ message }) => message.startsWith('alarm: '))).toHaveLength(1);
    const { sources } = (await plane.as('aiko', 'GET', '/status')).body as { sources?: readonly { ageMs: number }[] };
    expect(sources).toMatchObject([{ id: 'idp', kind: 'event_stream', silent: true }]);
    expect(sources?.[0]?.ageMs).toBeGreaterThanOrEqual(61_000);
    await beat();
    await watch.look();
    expect(await alarms()).toEqual([]);
    later = 130_000;
    await watch.look();
    expect(await told()).toEqual(['idp', 'idp']);
  } finally {
    await watch.close();
  }
});

test('a source that never spoke has as long for its first word as for any other', async () => {
  await plane.seed([plane.put('event_stream', 'idp', sender.stream({ silenceAfterMs: 60_000 }))]);
  const watch = watchSilence(ctx);
  await watch.look();
  expect(await told()).toEqual([]);
  later = 61_000;
  await watch.look();
  expect(await told()).toEqual(['idp']);
  await plane.seed([plane.put('event_stream', 'new', sender.stream({ silenceAfterMs: 60_000 }))]);
  await watch.look();
  expect(await told()).toEqual(['idp']);
  later = 122_000;
  await watch.look();
  expect(await told()).toEqual(['idp', 'new']);
  await watch.close();
});

test('a source without a limit, or one that is off, is never silent', async () => {
  await plane.seed([
    plane.put('event_stream', 'free', sender.stream({ silenceAfterMs: null })),
    plane.put('event_stream', 'off', sender.stream({ silenceAfterMs: 1_000, state: 'disabled' })),
  ]);
  const watch = watchSilence(ctx);
  later = 10 * 86_400_000;
  await watch.look();
  expect([await told(), eventAlarms(ctx)]).toEqual([[], []]);
  await watch.close();
});

test('R6: `whenSilent: refuse` closes the door for the people of that source and for nobody else', async () => {
  const connection = {
    title: 'Okta',
    state: 'active',
    identities: [{ issuer: plane.issuer.issuer, subject: '{externalId}' }],
    tokens: [],
    silenceAfterMs: 60_000,
    whenSilent: 'refuse',
  };
  const { id: _, ...dana } = plane.snapshot().people.byId('dana')!;
  const now = Date.now();
  await plane.seed([
    plane.put('scim_connection', 'okta', connection),
    plane.put('contact', 'okta', { at: now }),
    plane.put('person', 'dana', { ...dana, provisioned: { connection: 'okta' } }, `${dana.issuer} ${dana.subject}`),
  ]);
  const caller = (subject: string) => ({
    issuer: plane.issuer.issuer,
    subject,
    clientId: 'remit-cli',
    alone: false,
    scopes: new Set<string>(),
    tokenId: 'j',
    issuedAt: Math.floor(now / 1_000),
    expiresAt: Math.floor(now / 1_000) + 600,
    actChain: [],
    grantId: null,
    sessionId: null,
    acr: null,
    amr: [],
    authTime: null,
    keyThumbprint: null,
    attributes: {},
  });
  const at = (subject: string, ms: number) => principalOf(plane.snapshot(), caller(subject), now + ms);
  expect(at('dana', 59_000).ok).toBe(true);
  expect(at('dana', 61_000)).toEqual({ ok: false, error: { reason: 'source_silent', source: 'okta' } });
  expect(at('omar', 61_000).ok).toBe(true);
  await plane.seed([plane.put('contact', 'okta', { at: now + 60_000 })]);
  expect(at('dana', 61_000).ok).toBe(true);

  // An event stream speaks of everybody of an issuer.
  await plane.seed([
    plane.put(
      'event_stream',
      'idp',
      sender.stream({
        issuers: { 'https://okta.example': plane.issuer.issuer },
        silenceAfterMs: 60_000,
        whenSilent: 'refuse',
      }),
    ),
    plane.put('contact', 'idp', { at: now }),
  ]);
  expect(at('omar', 59_000).ok).toBe(true);
  expect(at('omar', 61_000)).toEqual({ ok: false, error: { reason: 'source_silent', source: 'idp' } });
});
