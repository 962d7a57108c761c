/**
 * What is under way, or kept, when roles are taken from somebody who keeps others: the item is nobody's to see any more, so what it answered
 * stays here. The roles that count are those of the moment in which something leaves. The oracle is every byte towards the client.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { agentKey } from '../../src/inventory/agents.ts';
import { openStream } from '../support/event-stream.ts';
import { JSON_HEADERS, LEGACY, TOOLS, startRig } from '../support/rig.ts';
import type { Rig, RigOptions } from '../support/rig.ts';
import { JOBS, begin, onTask } from '../support/tasks.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
async function rigOf(options: RigOptions): Promise<Rig> {
  const rig = await startRig(options);
  closers.push(() => rig.stop());
  return rig;
}
const SECRET = 'the text of the note';
const OPERATORS_ALONE = 'forbid (principal, action, resource) unless { principal in Remit::Role::"operator" };';

/** Dana is a developer by herself and an operator by her group. */
async function inGroup(rig: Rig): Promise<void> {
  const group = { kind: 'group', org: 'default', id: 'ops', body: { name: 'Ops', roles: ['operator'] } };
  await rig.commit([group]);
  await rig.setPerson('dana', ['developer'], { groups: ['ops'] });
  await rig.policy('operators', OPERATORS_ALONE);
}

const TAKEN: ReadonlyArray<readonly [string, (rig: Rig) => Promise<unknown>]> = [
  ['they were taken out of their group', (rig) => rig.setPerson('dana', ['developer'])],
  [
    'their group lost its role',
    (rig) => rig.commit([{ kind: 'group', org: 'default', id: 'ops', body: { name: 'Ops', roles: [] } }]),
  ],
  [
    'the ceiling of their agent was lowered',
    async (rig) => {
      const [agent] = [...rig.view.records('agent', 'default')].filter(({ body }) => body['clientId'] === 'agent-1');
      const { id, body } = agent!;
      const key = agentKey(rig.issuer.issuer, 'agent-1');
      await rig.commit([{ kind: 'agent', org: 'default', id, key, body: { ...body, ceiling: { servers: [] } } }]);
    },
  ],
];
/** The last one: nothing was taken, and it comes. */
const CASES = [...TAKEN.map((row) => [...row, true] as const), ['nothing', async () => undefined, false] as const];

describe('ID-08: who waits for a task and loses the role that shows its tool', () => {
  test.each(CASES)('gets its result only if nothing was taken: %s', async (_what, take, taken) => {
    const rig = await rigOf({ servers: { notes: { tools: JOBS } } });
    await inGroup(rig);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => void (release = resolve));
    rig.sink().onCall(async () => {
      await held;
      return { content: [{ type: 'text', text: SECRET }] };
    });
    const id = await begin(rig, 'optional_job', { era: 'legacy', task: {} });
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    const waiting = onTask(rig, 'tasks/result', id, { era: 'legacy' });
    await rig.until('both are under way', () => rig.gateway.inflight() === 2);
    await take(rig);
    release();
    expect((await waiting).text.includes(SECRET)).toBe(!taken);
  });
});

describe('ID-08: who took up the stream of a call and loses the role that shows its tool', () => {
  test.each(CASES)('gets the rest of it only if nothing was taken: %s', async (_what, take, taken) => {
    const rig = await rigOf({ servers: { notes: { era: 'legacy', tools: TOOLS } } });
    await inGroup(rig);
    const token = rig.token('dana');
    const session = await rig.openSession('notes', token);
    const headers = { authorization: `Bearer ${token}`, 'mcp-session-id': session, 'mcp-protocol-version': LEGACY };
    const url = `${rig.url}${rig.endpoint('notes')}`;
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => void (release = resolve));
    rig.sink().onCall(async ({ notify, message }) => {
      const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
      notify('notifications/progress', { progressToken: _meta.progressToken, progress: 1 });
      await held;
      return { content: [{ type: 'text', text: SECRET }] };
    });
    const params = { name: 'read_note', arguments: { text: 'x' }, _meta: { progressToken: 'p' } };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
    const call = await openStream(url, { method: 'POST', headers: { ...headers, ...JSON_HEADERS }, body });
    closers.unshift(async () => call.cut());
    await call.atLeast(1);
    const last = call.events.at(-1)!.id!;
    call.cut();
    const more = { ...headers, accept: 'text/event-stream', 'last-event-id': last };
    const rest = await openStream(url, { method: 'GET', headers: more });
    closers.unshift(async () => rest.cut());
    await rig.until('it is taken up', () => rig.gateway.inflight() === 2);
    await take(rig);
    release();
    await rest.end();
    expect(rest.text().includes(SECRET)).toBe(!taken);
  });
});
