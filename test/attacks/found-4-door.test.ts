/** A door that closes behind whoever hangs it: a stream that was never heard, and whose silence refuses everybody of the administrators' issuer. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTransmitter } from '../admin/events/transmitter.ts';
import type { EventTransmitter } from '../admin/events/transmitter.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane } from '../admin/plane.ts';

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

test('R6: nobody shuts the whole house, themselves with it, by one record', async () => {
  const put = async (whenSilent: string) => {
    const read = await plane.as('ada', 'GET', '/event-streams/idp');
    const seen: Record<string, string> =
      read.status === 200 ? { 'if-match': read.headers.get('etag') ?? '' } : { 'if-none-match': '*' };
    const more = { issuers: { [sender.issuer.issuer]: plane.issuer.issuer }, silenceAfterMs: 60_000 };
    const stream = { ...sender.stream(more), whenSilent, delivery: { method: 'push' } };
    return plane.as('ada', 'PUT', '/event-streams/idp', { reason: 'x', stream }, seen);
  };
  const refused = await put('refuse');
  expect([refused.status, refused.body.error?.['code']]).toEqual([409, 'source_silent']);
  expect((await put('alarm')).status).toBe(201);
  expect((await put('refuse')).status).toBe(409);
  await plane.seed([plane.put('contact', 'idp', { at: Date.now() - 60_001 })]);
  expect((await put('refuse')).status).toBe(409);
  await plane.seed([plane.put('contact', 'idp', { at: Date.now() })]);
  expect((await put('refuse')).status).toBe(200);
  expect((await plane.as('ada', 'GET', '/me')).status).toBe(200);
});
