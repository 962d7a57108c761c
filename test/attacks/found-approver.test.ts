/** An approval is no better than its giver: who approved and lost standing before the call was made has agreed to nothing. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startRig } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
let serial = 0;
beforeAll(async () => void (rig = await startRig({ admin: true })));
afterAll(() => rig.stop());
afterEach(async () => void (await rig.setPerson('petra', ['approver'])));

const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;
const requestOf = (answer: Answer): string => /approval \((apr_[0-9a-z]+), until /.exec(answer.text)?.[1] ?? '';

test.each([
  ['stands', async (): Promise<null> => null, true],
  ['is locked', (): Promise<string> => rig.lock({ kind: 'user', value: 'petra' }), false],
  ['is inactive', (): Promise<number> => rig.setPerson('petra', ['approver'], { state: 'inactive' }), false],
  ['lost the role', (): Promise<number> => rig.setPerson('petra', ['developer']), false],
] as const)('an approval whose giver %s when it is used', async (_what, happen, passes) => {
  const args = { text: `note ${++serial}` };
  const call = (): Promise<Answer> => rig.call('notes', 'delete_note', args, { as: 'omar' });
  const id = requestOf(await call());
  const { body } = await rig.admin('petra', 'GET', `/approvals/${id}`);
  expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: body['call']! })).status).toBe(200);
  const before = rig.sink().calls().length;
  const lock = await happen();
  const answer = await call();
  expect([passed(answer), rig.sink().calls().length - before]).toEqual([passes, passes ? 1 : 0]);
  if (!passes) expect(requestOf(answer)).not.toBe(id);
  if (typeof lock === 'string') await rig.unlock(lock);
});
