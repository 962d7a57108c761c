/** Tasks on a listen stream: their owner is told of each change, under the id of the listen request; nobody else is. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { ALLOW_ALL, JOBS, TASKS, begin } from '../support/tasks.ts';

const META = 'io.modelcontextprotocol/';
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ servers: { notes: { tools: JOBS } } });
  await rig.policy('all', ALLOW_ALL);
});
afterAll(() => rig.stop());

function listen(taskIds: readonly string[], as: string, capabilities: JsonObject = TASKS): Promise<EventStream> {
  const message = modernMessage('subscriptions/listen', { notifications: { taskIds } }, 'mine');
  const params = message['params'] as JsonObject;
  const meta = { ...(params['_meta'] as JsonObject), [`${META}clientCapabilities`]: capabilities };
  return openStream(`${rig.url}${rig.endpoint('notes')}`, {
    method: 'POST',
    headers: { ...JSON_HEADERS, ...modernHeaders('subscriptions/listen'), authorization: `Bearer ${rig.token(as)}` },
    body: JSON.stringify({ ...message, params: { ...params, _meta: meta } }),
  });
}
const honoured = async (stream: EventStream): Promise<unknown> => {
  const [first] = await stream.atLeast(1);
  return ((first!['params'] as JsonObject)['notifications'] as JsonObject)['taskIds'];
};

test('M16, M29: the owner of a task hears how it ends; to others, and to clients without tasks, it does not exist', async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => void (release = resolve));
  rig.sink().onCall(async () => {
    await held;
    return { content: [{ type: 'text', text: 'done at last' }] };
  });
  const id = await begin(rig, 'required_job');
  const owner = await listen([id, 'no-such-task'], 'dana');
  const other = await listen([id], 'dora');
  const without = await listen([id], 'dana', {});
  expect(await Promise.all([owner, other, without].map(honoured))).toEqual([[id], undefined, undefined]);

  release();
  await owner.atLeast(2);
  const told = owner.messages().at(-1)!;
  expect(told['method']).toBe('notifications/tasks');
  expect(told['params']).toMatchObject({
    taskId: id,
    status: 'completed',
    _meta: { [`${META}subscriptionId`]: 'mine' },
  });
  expect([other.messages(), without.messages()].map((messages) => messages.length)).toEqual([1, 1]);
  for (const stream of [owner, other, without]) stream.cut();
  await rig.until('no stream is open', () => rig.gateway.openStreams === 0);
});
