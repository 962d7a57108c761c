/**
 * A valid token without an account, sent a thousand times: the log may not grow with it (an attacker would fill the disk and close
 * the gate for everybody), and it may not be silent either.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => void (rig = await startRig({ limits: { refusalsPerMinutePerCaller: 20 } })));
afterAll(() => rig.stop());

test('refusals of one caller are logged up to the limit, then said once to go on, then counted; others are heard as before', async () => {
  const token = rig.token('mallory');
  const statuses = new Map<number, number>();
  for (let i = 0; i < 100; i++) {
    const { status } = await rig.ask('notes', 'tools/list', {}, { token });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  }
  expect([...statuses].sort(([a], [b]) => a - b)).toEqual([
    [403, 20],
    [429, 80],
  ]);
  const denials = (await rig.entries('denial')).map(({ decision }) => decision?.reason);
  expect(denials).toEqual([...Array.from({ length: 20 }, () => 'person_unknown'), 'rate_limited:refusals']);
  expect((await rig.call('notes', 'read_note', { text: 'x' })).result?.['isError'] ?? false).toBe(false);
  expect(rig.sink('notes').calls()).toHaveLength(1);
});
