/**
 * An event whose body is slow: its stream is changed, disabled or loses its token while it comes. What counts is the stream as it is when
 * the event is there, and what was left of the old one must not be the measure for those that come later.
 */
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import type { EventStream } from '../../src/directory/records.ts';
import { BEARER, CAEP, issSub, startTransmitter } from '../admin/events/transmitter.ts';
import type { EventTransmitter, Reply } from '../admin/events/transmitter.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane } from '../admin/plane.ts';
import type { Members } from '../support/issuer.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function start(): Promise<{ plane: Plane; sender: EventTransmitter }> {
  const sender = await startTransmitter();
  const plane = await startPlane();
  closers.push(plane.close, sender.close);
  await plane.seed([plane.put('event_stream', 'idp', sender.stream())]);
  return { plane, sender };
}

/** Admitted by its headers at once; `finish` sends what was held back. */
function slowly(url: string, token: string): { finish(): Promise<number>; readonly admitted: Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const outgoing = request(
    url,
    {
      method: 'POST',
      headers: {
        authorization: `Bearer ${BEARER}`,
        'content-type': 'application/secevent+jwt',
        'content-length': String(token.length),
        expect: '100-continue',
      },
    },
    (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    },
  );
  outgoing.on('error', reject);
  const half = token.length >> 1;
  const admitted = new Promise<void>((done) => {
    outgoing.once('continue', () => outgoing.write(token.slice(0, half), () => setTimeout(done, 100)));
  });
  outgoing.flushHeaders();
  return {
    admitted,
    finish() {
      outgoing.end(token.slice(half));
      return promise;
    },
  };
}

const url = (plane: Plane): string => `${plane.url}/events/idp`;
const gone = (plane: Plane): Members => issSub(plane.issuer.issuer, 'dana');
const revoked = (plane: Plane, sender: EventTransmitter): string =>
  sender.event(`${CAEP}session-revoked`, {}, gone(plane));
const voids = (plane: Plane): number => plane.snapshot().voids?.size ?? -1;

const CHANGES: ReadonlyArray<readonly [string, (sender: EventTransmitter) => EventStream | null]> = [
  ['is disabled', (sender) => sender.stream({ state: 'disabled' })],
  ['is removed', () => null],
  ['loses the bearer token', (sender) => sender.stream({ delivery: { method: 'push', tokens: [] } })],
];

describe('while an event arrives', () => {
  test.each(CHANGES)('its stream %s: the event does nothing', async (_what, change) => {
    const { plane, sender } = await start();
    const slow = slowly(url(plane), revoked(plane, sender));
    await slow.admitted;
    await plane.seed([{ kind: 'event_stream', org: 'default', id: 'idp', body: change(sender) }]);
    expect(await slow.finish()).toBe(400);
    expect(voids(plane)).toBe(0);
  });

  test('its stream gets other keys: the old ones are worth nothing, then and later', async () => {
    const { plane, sender } = await start();
    const heir = await startTransmitter();
    closers.push(heir.close);
    const slow = slowly(url(plane), revoked(plane, sender));
    await slow.admitted;
    const { jwksUri } = heir.stream();
    await plane.seed([plane.put('event_stream', 'idp', sender.stream({ jwksUri }))]);
    expect(await slow.finish()).toBe(400);
    const later: Reply = await sender.push(url(plane), revoked(plane, sender));
    expect([later.status, later.body.err]).toEqual([400, 'invalid_key']);
    expect(voids(plane)).toBe(0);
    // The new ones are.
    const { issuer } = sender.issuer;
    const good = heir.sign({ ...heir.claims(`${CAEP}session-revoked`, {}, gone(plane)), iss: issuer });
    expect((await heir.push(url(plane), good)).status).toBe(202);
  });

  test('nothing happens to its stream: it is taken', async () => {
    const { plane, sender } = await start();
    const slow = slowly(url(plane), revoked(plane, sender));
    await slow.admitted;
    expect(await slow.finish()).toBe(202);
    expect(voids(plane)).toBe(1);
  });
});
