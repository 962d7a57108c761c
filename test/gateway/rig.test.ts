/** The rig itself: a whole node answers both kinds of clients over both kinds of servers, and the admin plane stands beside it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERAS, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ admin: true, servers: { notes: {}, old: { era: 'legacy' }, stream: { answer: 'sse' } } });
});
afterAll(() => rig.stop());

const PAIRS = ERAS.flatMap((era) => ['notes', 'old', 'stream'].map((server) => [era, server] as const));

test.each(PAIRS)('a %s client lists and calls the tools of the %s server', async (era, server) => {
  const answer = await rig.call(server, 'read_note', { text: `hello ${server}` }, { era });
  expect(answer.status).toBe(200);
  expect(answer.text).toContain(`hello ${server}`);
  expect((await rig.about(answer.reference)).map(({ kind }) => kind)).toEqual(['call']);
  expect(await rig.names(server, { era })).toEqual(['read_note', 'write_note']);
});

test('the admin plane answers an administrator', async () => {
  expect((await rig.admin('ada', 'GET', '/status')).status).toBe(200);
});
