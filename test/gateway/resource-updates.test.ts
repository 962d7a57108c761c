/**
 * Updates of resources, from real servers of both eras to real clients of both eras, at a server's own endpoint and at the aggregate.
 * Who may not read a resource is told nothing of it, and what nobody listens to any more is not watched any more.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { known } from '../../src/gateway/call.ts';
import { learn } from '../../src/gateway/guard.ts';
import { startRig, tableWith } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { startLegacy } from '../support/upstreams/legacy-server.ts';
import { startModern } from '../support/upstreams/modern-server.ts';
import type { RunningServer } from '../support/upstreams/modern-server.ts';

const SERVERS = ['modern', 'legacy'] as const;
type Server = (typeof SERVERS)[number];
let rig: Rig;
let running: Record<Server, RunningServer>;
const closers: Array<() => Promise<void>> = [];

beforeAll(async () => {
  running = { modern: await startModern(), legacy: await startLegacy() };
  rig = await startRig({
    servers: {
      modern: { url: running.modern.url, era: 'modern' },
      legacy: { url: running.legacy.url, era: 'legacy' },
    },
  });
}, 120_000);
afterAll(async () => {
  await rig.stop();
  await running.modern.close();
  await running.legacy.close();
});

/** Everything a test opened is closed and gone. */
async function closeAll(): Promise<void> {
  for (const close of closers.splice(0)) await close();
  await rig.until('no stream is open', () => rig.gateway.openStreams === 0);
}
const requestInit = (who: string, endpoint: string) => ({
  headers: { authorization: `Bearer ${rig.token(who, { server: endpoint })}` },
});

/** `endpoint`: the empty name is the aggregate. */
async function modernClient(endpoint: string, who = 'dana') {
  const client = new Client({ name: 'v2', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  const url = rig.resource(endpoint === '' ? (null as never) : endpoint);
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: requestInit(who, endpoint) }));
  const updated: string[] = [];
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void updated.push(params.uri));
  closers.push(() => client.close());
  return { client, updated };
}
async function legacyClient(endpoint: string, who = 'dana') {
  const client = new ClientV1({ name: 'v1', version: '1' });
  const url = rig.resource(endpoint === '' ? (null as never) : endpoint);
  await client.connect(new TransportV1(new URL(url), { requestInit: requestInit(who, endpoint) }));
  await rig.until('its session listens', () => rig.gateway.openStreams > 0);
  const updated: string[] = [];
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void updated.push(params.uri));
  closers.push(() => client.close());
  return { client, updated };
}

const PLACES = SERVERS.flatMap((server) => [
  [server, server, 'note://one'] as const,
  [server, '', `${server}+note://one`] as const,
]);
/** Says again that it changed until somebody heard: a subscription takes its time to reach the server. */
async function changedUntil(server: Server, holds: () => boolean): Promise<void> {
  await rig.until('the update is heard', async () => {
    if (holds()) return true;
    running[server].changeResource();
    await new Promise((resolve) => setTimeout(resolve, 200));
    return holds();
  });
}

describe.each(PLACES)('a resource of the %s server, at /mcp/default/%s', (server, endpoint, uri) => {
  test('M16: an SDK v2 client that listens for it is told by the name it used', async () => {
    const { client, updated } = await modernClient(endpoint);
    const subscription = await client.listen({ resourceSubscriptions: [uri, `${uri}/no-such-thing`] });
    expect(subscription.honoredFilter.resourceSubscriptions).toEqual([uri]);
    await changedUntil(server, () => updated.length > 0);
    expect(new Set(updated)).toEqual(new Set([uri]));
    await subscription.close();
    await closeAll();
  });

  test('L6: an SDK v1 client that subscribed is told on the stream of its session, until it unsubscribes', async () => {
    const { client, updated } = await legacyClient(endpoint);
    await client.subscribeResource({ uri });
    await changedUntil(server, () => updated.length > 0);
    expect(new Set(updated)).toEqual(new Set([uri]));
    await client.unsubscribeResource({ uri });
    const witness = await modernClient(endpoint);
    await witness.client.listen({ resourceSubscriptions: [uri] });
    const before = updated.length;
    await changedUntil(server, () => witness.updated.length > 1);
    expect(updated.length - before).toBeLessThanOrEqual(1);
    await closeAll();
  });

  test('AZ-04: who may not read it is not told, in either era', async () => {
    const barred = await modernClient(endpoint, 'petra');
    const subscription = await barred.client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
    expect(subscription.honoredFilter.resourceSubscriptions).toBeUndefined();
    const old = await legacyClient(endpoint, 'petra');
    await expect(old.client.subscribeResource({ uri })).rejects.toThrow(/not found|Unknown/i);
    const witness = await modernClient(endpoint);
    await witness.client.listen({ resourceSubscriptions: [uri] });
    await changedUntil(server, () => witness.updated.length > 0);
    expect([...barred.updated, ...old.updated]).toEqual([]);
    await closeAll();
  });
});

test('AZ-04: the vulnerable twin: without the decision about the item whoever may not read it is told', async () => {
  const open = await startRig({
    servers: { modern: { url: running.modern.url, era: 'modern' } },
    table: tableWith({
      'item-is-theirs': (call) => learn({ tool: known(call, 'server').tools.get('resource note://one')! }),
      'caller-may': () => learn({ decision: { verdict: 'allow', reason: null, rules: [], errors: [] } }),
    }),
  });
  const client = new Client({ name: 'v2', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  const headers = { authorization: `Bearer ${open.token('petra', { server: 'modern' })}` };
  await client.connect(
    new StreamableHTTPClientTransport(new URL(open.resource('modern')), { requestInit: { headers } }),
  );
  let told = 0;
  client.setNotificationHandler('notifications/resources/updated', () => void told++);
  const subscription = await client.listen({ resourceSubscriptions: ['note://one'] });
  expect(subscription.honoredFilter.resourceSubscriptions).toEqual(['note://one']);
  await changedUntil('modern', () => told > 0);
  await client.close();
  await open.stop();
});

test('AZ-04: it is decided anew at every update: while the resource is locked, nobody hears of it', async () => {
  const { client, updated } = await modernClient('modern');
  let lists = 0;
  client.setNotificationHandler('notifications/tools/list_changed', () => void lists++);
  await client.listen({ toolsListChanged: true, resourceSubscriptions: ['note://one'] });
  await changedUntil('modern', () => updated.length > 0);
  /** What was on its way to this listener has arrived, or was dropped: events come in order, second by second. */
  const settled = async (): Promise<void> => {
    for (let round = 0; round < 2; round++) {
      const before = lists;
      const lock = await rig.lock({ kind: 'tool', value: 'modern/echo' });
      await rig.until('the list is told', () => lists > before);
      await rig.unlock(lock);
      await rig.until('the list is told again', () => lists > before + 1);
    }
  };
  await settled();
  const heard = updated.length;
  const lock = await rig.lock({ kind: 'tool', value: 'modern/resource note://one' });
  running.modern.changeResource();
  await settled();
  expect(updated.length).toBe(heard);
  await rig.unlock(lock);
  await changedUntil('modern', () => updated.length > heard);
  await closeAll();
});
