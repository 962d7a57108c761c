/**
 * Streams that outlive what they were opened for: the replay of a call whose server or tool was withdrawn, and tasks told of by a node
 * that cannot know whether its picture is the newest. The oracle is every byte that left towards the client.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, LEGACY, TOOLS, startRig } from '../support/rig.ts';
import type { Rig, RigOptions } from '../support/rig.ts';
import { ALLOW_ALL, JOBS, TASKS, begin } from '../support/tasks.ts';

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

/** A client of dana's at one endpoint that called a tool, was told of progress, and lost the connection before the reply. */
async function interrupted(rig: Rig, server: string) {
  const token = rig.token('dana', { server });
  const session = await rig.openSession(server, token);
  const headers = {
    authorization: `Bearer ${token}`,
    'mcp-session-id': session,
    'mcp-protocol-version': LEGACY,
  };
  const url = `${rig.url}${rig.endpoint(server)}`;
  const open = async (method: string, more: Record<string, string>, body?: string): Promise<EventStream> => {
    const stream = await openStream(url, { method, headers: { ...headers, ...more }, ...(body && { body }) });
    closers.unshift(async () => stream.cut());
    return stream;
  };
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => void (release = resolve));
  rig.sink('notes').onCall(async ({ notify, message }) => {
    const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
    notify('notifications/progress', { progressToken: _meta.progressToken, progress: 1 });
    await held;
    return { content: [{ type: 'text', text: SECRET }] };
  });
  const name = server === '' ? 'notes__read_note' : 'read_note';
  const params = { name, arguments: { text: 'x' }, _meta: { progressToken: 'p' } };
  const call = await open(
    'POST',
    JSON_HEADERS,
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }),
  );
  await call.atLeast(1);
  const last = call.events.at(-1)!.id!;
  call.cut();
  release();
  await rig.until('the call is over', () => rig.gateway.inflight() === 0);
  const resume = async (): Promise<string> => {
    const stream = await open('GET', { accept: 'text/event-stream', 'last-event-id': last });
    await stream.end();
    return stream.text();
  };
  return { resume };
}

describe('the rest of a call that was interrupted', () => {
  const WITHDRAWN: ReadonlyArray<readonly [string, (rig: Rig) => Promise<unknown>]> = [
    ['its server was suspended', (rig) => rig.setServer('notes', { state: 'suspended' })],
    ['its tool was locked', (rig) => rig.lock({ kind: 'tool', value: 'notes/read_note' })],
    ['its server was locked', (rig) => rig.lock({ kind: 'server', value: 'notes' })],
    ['policy took the tool from its caller', (rig) => rig.policy('no', 'forbid (principal, action, resource);')],
  ];
  const CASES = ['notes', ''].flatMap((server) => WITHDRAWN.map(([what, act]) => [what, server, act] as const));
  test.each(CASES)('does not leave any more when %s, at /mcp/default/%s', async (_what, server, withdraw) => {
    const rig = await rigOf({ servers: { notes: { era: 'legacy', tools: TOOLS }, other: { tools: TOOLS } } });
    const { resume } = await interrupted(rig, server);
    expect(await resume()).toContain(SECRET);
    await withdraw(rig);
    expect(await resume()).not.toContain(SECRET);
  });
});

describe('a node that cannot know whether its picture is the newest', () => {
  test('tells nobody what became of a task', async () => {
    let stale = false;
    const wrap = (deps: GatewayDeps): GatewayDeps => ({
      ...deps,
      view: {
        ...deps.view,
        get revision() {
          return deps.view.revision;
        },
        ageMs: () => (stale ? 60_000 : deps.view.ageMs()),
      },
    });
    const rig = await rigOf({ servers: { notes: { tools: JOBS } }, wrap });
    await rig.policy('all', ALLOW_ALL);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => void (release = resolve));
    rig.sink().onCall(async () => {
      await held;
      return { content: [{ type: 'text', text: SECRET }] };
    });
    const how = { capabilities: TASKS };
    const id = await begin(rig, 'optional_job', how);
    const listening = await rig.live('notes', 'subscriptions/listen', { notifications: { taskIds: [id] } }, how);
    closers.unshift(async () => listening.leave());
    await listening.event('notifications/subscriptions/acknowledged');
    stale = true;
    release();
    await rig.until('the task is over', () => rig.gateway.inflight() === 1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(JSON.stringify(listening.events)).not.toContain(SECRET);
    stale = false;
  });
});
