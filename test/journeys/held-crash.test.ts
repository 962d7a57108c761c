/**
 * A node that is killed while calls wait for people and while calls that people agreed to are under way (TRUST.md section 7, AP-02, AP-09):
 * after the restart each task ends with the truth, no yes counts twice, and the server has each call at most once.
 * Long because nobody may say of a task that its node is gone before its lease is over.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { digestOf } from '../../src/lib/canonical-json.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { endAll, temporaryFolder, until } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { SCOPES, gatewayNode, tokensOf } from './node.ts';
import type { GatewayNode, Reply } from './node.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 150_000, hookTimeout: 120_000 });
const LEASE_MS = 45_000;

type Json = Record<string, unknown>;
const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

let issuer: TestIssuer;
let sink: Sink;
let node: GatewayNode;
let started: Awaited<ReturnType<GatewayNode['start']>>['started'];
beforeAll(async () => {
  [issuer, sink] = await Promise.all([startIssuer(), startSink()]);
  node = await gatewayNode(temporaryFolder(), tokensOf(issuer), { approvals: { holdSeconds: 20, blockSeconds: 0 } });
  ({ started } = await node.start());
  await node.setUp(sink);
  const person = { issuer: issuer.issuer, subject: 'petra', name: 'petra', state: 'active', roles: ['approver'] };
  expect((await node.api('ada', 'POST', '/people', { reason: 'set up', person })).status).toBe(201);
});
afterAll(async () => {
  await endAll();
  await sink.close();
  await issuer.close();
});

const meta = (capabilities: Json): Json => ({ 'io.modelcontextprotocol/clientCapabilities': capabilities });
const token = (): string => issuer.mint({ sub: 'omar', client_id: 'journey', aud: node.url, scope: SCOPES });
const drop = (id: string, capabilities: Json = {}): Promise<Reply> =>
  node.call('drop', { id }, { token: token(), meta: meta(capabilities) });

async function taskOf(taskId: string): Promise<Json> {
  const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', ...meta(TASKS) };
  const response = await fetch(node.url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token()}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tasks/get',
      'mcp-name': taskId,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tasks/get', params: { taskId, _meta } }),
  });
  return ((await response.json()) as { result: Json }).result;
}

/** By the id that the call would drop. */
async function request(id: string): Promise<{ readonly path: string; readonly body: Json } | undefined> {
  const { body } = await node.api('petra', 'GET', '/approvals?state=mine-to-decide');
  for (const one of body['approvals'] as Json[]) {
    const path = `/approvals/${String(one['id'])}`;
    const read = await node.api('petra', 'GET', path);
    if ((read.body['arguments'] as Json)['id'] === id) return { path, body: read.body };
  }
  return undefined;
}
async function agree(id: string): Promise<string> {
  let found: Awaited<ReturnType<typeof request>>;
  await until(`somebody is asked about ${id}`, async () => (found = await request(id)) !== undefined);
  const { path, body } = found!;
  const decided = await node.api('petra', 'POST', `${path}/approve`, { call: body['call'] });
  expect(decided.status, decided.text).toBe(200);
  return path;
}
const reached = (id: string): number => sink.calls().filter(({ body }) => body.includes(`"${id}"`)).length;
const stateOf = async (path: string): Promise<unknown> => (await node.api('petra', 'GET', path)).body['state'];
const begun = ({ body, text }: Reply): string => {
  expect(body.result?.['resultType'], text).toBe('task');
  return String(body.result!['taskId']);
};

test('AP-02, AP-09: killed while one waits and two run: nothing runs twice, nothing runs late, and everybody is told the truth', async () => {
  sink.intercept(({ body }) => (body.includes('"runs-') ? 'hang' : null));
  const waits = begun(await drop('waits', TASKS));
  const runs = begun(await drop('runs-task', TASKS));
  const plain = drop('runs-call').catch(() => null);
  const spent = [await agree('runs-task'), await agree('runs-call')];
  await until('both are at the server', () => reached('runs-task') + reached('runs-call') === 2);
  expect(await taskOf(waits)).toMatchObject({ status: 'working' });
  started.signal('SIGKILL');
  const killedAt = Date.now();
  await Promise.all([started.ended, plain]);
  sink.intercept(null);

  const again = await node.start();
  expect(again.ready.unknown).toHaveLength(2);
  // A yes was spent before its call left, so the crash gives it back to nobody.
  for (const path of spent) expect(await stateOf(path)).toBe('used');
  // The yes to the one that waited comes after its node died: the request stood, and its task must not come back to life.
  const late = await agree('waits');
  await until(
    'nobody runs these tasks any more',
    async () => (await taskOf(waits))['status'] === 'failed' && (await taskOf(runs))['status'] === 'failed',
    LEASE_MS + 20_000,
  );
  expect(Date.now() - killedAt).toBeGreaterThan(LEASE_MS / 3);
  expect((await taskOf(waits))['error']).toMatchObject({
    message: expect.stringContaining('Nothing was sent') as string,
  });
  expect((await taskOf(runs))['error']).toMatchObject({ message: expect.stringContaining('is unknown') as string });
  expect([reached('waits'), await stateOf(late)]).toEqual([0, 'approved']);

  // Calling again: what waited is made once by the yes that stood; what was under way is asked about anew.
  const made = await drop('waits');
  expect([made.body.result?.['isError'], reached('waits'), await stateOf(late)]).toEqual([undefined, 1, 'used']);
  const storm = ['waits', 'runs-task', 'runs-call'].map((id) => drop(id, TASKS));
  for (const reply of await Promise.all(storm)) expect((await taskOf(begun(reply)))['status']).toBe('working');
  expect(['waits', 'runs-task', 'runs-call'].map(reached)).toEqual([1, 1, 1]);

  await again.started.stop();
  const intents = (await node.entries()).filter(({ kind, call }) => kind === 'intent' && call?.tool === 'drop');
  const each = ['runs-task', 'runs-call', 'waits'].map((id): unknown => digestOf({ id }));
  expect(intents).toHaveLength(each.length);
  expect(new Set(intents.map(({ call }) => call?.args))).toEqual(new Set(each));
  for (const { decision } of intents) expect(decision?.approval).toMatch(/^apr_/);
});
