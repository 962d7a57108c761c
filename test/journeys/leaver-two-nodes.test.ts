/**
 * Somebody leaves while they work at two gateways over one real PostgreSQL: at the one whose directory connection took it, nothing is
 * admitted after the answer; at the other, nothing later than the freshness limit; one that cannot follow refuses everybody (R2, R3).
 * The oracle is what the server behind both received, and when.
 */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { loadConfig } from '../../src/cli/config.ts';
import { processLog, runGateway } from '../../src/cli/serve.ts';
import type { RunningGateway } from '../../src/cli/serve.ts';
import { DIALECTS, GROUP, UNLIMITED, USER, directory, work } from '../support/company.ts';
import type { Directory } from '../support/company.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { startPostgres } from '../support/postgres.ts';
import { endAll, temporaryFolder } from '../support/processes.ts';
import { until } from '../support/upstreams/open.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { SCOPES, gatewayNode, tokensOf } from './node.ts';
import type { GatewayNode, Reply } from './node.ts';

// A database of its own on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const LIMIT_MS = 2_000;
/** From the decision to the server, on a machine that may be busy. */
const TRAVEL_MS = 500;
/** `c` is the twin of `b`: it may be as stale as it likes. */
const NAMES = ['a', 'b', 'c'] as const;
type Name = (typeof NAMES)[number];

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let issuer: TestIssuer;
let sink: Sink;
let scim: Directory;
let group: string;
const nodes = {} as Record<Name, GatewayNode>;
const running = {} as Record<Name, RunningGateway>;
/** By which node each call came, and when, on the clock of this process. */
const arrived: Array<{ readonly by: string; readonly who: string; readonly time: number }> = [];

beforeAll(async () => {
  [postgres, issuer, sink] = await Promise.all([startPostgres(), startIssuer(), startSink()]);
  process.env['REMIT_DATABASE_URL'] = postgres.url;
  const folder = temporaryFolder();
  for (const name of NAMES) {
    const node = await gatewayNode(join(folder, name), tokensOf(issuer), {
      node: `node-${name}`,
      // One folder of keys: the nodes of a deployment sign one log.
      dataDir: join(folder, 'data'),
      store: { kind: 'postgres', url: { secret: 'env:REMIT_DATABASE_URL' } },
      freshness: { limitMs: name === 'c' ? 60_000 : LIMIT_MS },
      audit: { publishDir: join(folder, `published-${name}`) },
      limits: UNLIMITED,
      approvals: { holdSeconds: 20, blockSeconds: 0 },
      log: { level: 'silent' },
    });
    const config = loadConfig(node.configFile, process.env);
    if (!config.ok) throw new Error(JSON.stringify(config.error));
    nodes[name] = node;
    running[name] = await runGateway(config.value, { log: processLog(config.value, name) });
  }
  await nodes.a.setUp(sink);
  sink.onCall(({ arguments: { id, text } }) => {
    arrived.push({ by: String(text), who: String(id), time: performance.now() });
    return { content: [{ type: 'text', text: 'done' }] };
  });
  scim = await directory(nodes.a, 'entra', { issuer: issuer.issuer, subject: '{externalId}' });
  const made = await scim('POST', '/Groups', { schemas: [GROUP], displayName: 'Engineers', members: [] });
  group = String(made.body['id']);
  const seen = (await nodes.a.api('ada', 'GET', `/groups/${group}`)).headers.get('etag') ?? '';
  const change = { reason: 'set up', group: { name: 'Engineers', roles: ['developer'] } };
  expect((await nodes.a.api('ada', 'PUT', `/groups/${group}`, change, { 'if-match': seen })).status).toBe(200);
});
afterAll(async () => {
  for (const name of NAMES) await running[name]?.close();
  await Promise.all([issuer?.close(), sink?.close()]);
  await postgres?.stop();
  await endAll();
});

/** What a test that fails must not leave behind. */
const ends: Array<() => unknown> = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});
/** Works at these nodes until the test is over. */
function works(call: (by: Name) => Promise<Reply>, ...by: readonly Name[]): void {
  const loads = by.map((name) => work(() => call(name)));
  ends.push(() => Promise.all(loads.map((load) => load.stop())));
}

const passed = ({ body }: Reply): boolean => body.result !== undefined && body.result['isError'] !== true;

/** Provisioned at `a`, with a token for each node; they can call at all of them when this resolves. */
async function joins(who: string): Promise<{ id: string; call: (by: Name) => Promise<Reply> }> {
  const user = { schemas: [USER], userName: `${who}@example.com`, externalId: who, active: true };
  const id = String((await scim('POST', '/Users', user)).body['id']);
  expect((await scim('PATCH', `/Groups/${group}`, DIALECTS.entra.join(id))).status).toBeLessThan(300);
  const mint = (by: Name) => issuer.mint({ sub: who, client_id: 'journey', aud: nodes[by].url, scope: SCOPES });
  const tokens = { a: mint('a'), b: mint('b'), c: mint('c') };
  const call = (by: Name) => nodes[by].call('put', { id: who, text: by }, { token: tokens[by] });
  for (const by of NAMES) await until(`${who} can call at ${by}`, async () => passed(await call(by)), 60_000);
  return { id, call };
}
const times = (who: string, by: Name) =>
  arrived.filter((one) => one.who === who && one.by === by).map(({ time }) => time);
async function leaves(id: string): Promise<number> {
  expect((await scim('PATCH', `/Users/${id}`, DIALECTS.entra.inactive)).status).toBe(200);
  return performance.now();
}

test('ID-04, R2, R3: after the answer of one node nothing is admitted there, and at the other nothing later than the limit', async () => {
  const lena = await joins('lena');
  works(lena.call, 'a', 'b');
  await until('both loads run', () => times('lena', 'a').length > 20 && times('lena', 'b').length > 20, 60_000);
  const acknowledged = await leaves(lena.id);
  await until('the other node follows', async () => (await lena.call('b')).status === 401, 60_000);
  for (let n = 0; n < 20; n++) for (const by of ['a', 'b'] as const) expect(passed(await lena.call(by))).toBe(false);
  expect(times('lena', 'a').filter((time) => time > acknowledged)).toEqual([]);
  expect(times('lena', 'b').filter((time) => time > acknowledged + LIMIT_MS + TRAVEL_MS)).toEqual([]);
});

test('ID-04, R3: a node that cannot follow refuses within the limit; its twin, which may be stale, goes on; what both were told in the end counts', async () => {
  const [lars, stays] = [await joins('lars'), await joins('stays')];
  // Cut off from the state, and only from it: the log goes on, so that nothing else can refuse in its place.
  const mend = (['b', 'c'] as const).map((by) => {
    const { state } = running[by];
    const { head, changesAfter } = state;
    const { promise, resolve } = Promise.withResolvers<void>();
    Object.assign(state, {
      head: () => promise.then(() => head()),
      changesAfter: (after: number, limit: number) => promise.then(() => changesAfter(after, limit)),
    });
    return () => (Object.assign(state, { head, changesAfter }), resolve());
  });
  ends.unshift(() => mend.forEach((join) => join()));
  works(lars.call, 'b', 'c');
  const acknowledged = await leaves(lars.id);
  await until(
    'the twin lets through what it should not',
    () => times('lars', 'c').some((time) => time > acknowledged + LIMIT_MS + 2 * TRAVEL_MS),
    60_000,
  );
  expect(times('lars', 'b').filter((time) => time > acknowledged + LIMIT_MS + TRAVEL_MS)).toEqual([]);
  // Everybody: it cannot know who else has left.
  expect((await stays.call('b')).text).toContain('cannot confirm that its rules are current');
  for (const join of mend) join();
  await until(
    'both follow again',
    async () => (await lars.call('b')).status === 401 && (await lars.call('c')).status === 401,
    60_000,
  );
  await until('who stays is let in again', async () => passed(await stays.call('b')), 60_000);
  expect(times('lars', 'b').filter((time) => time > acknowledged + LIMIT_MS + TRAVEL_MS)).toEqual([]);
});

test('AP-09, R3: a call held on one node and agreed to on the other leaves within the limit, from the request that waits and from a task, once', async () => {
  const person = { issuer: issuer.issuer, subject: 'petra', name: 'petra', state: 'active', roles: ['approver'] };
  expect((await nodes.a.api('ada', 'POST', '/people', { reason: 'set up', person })).status).toBe(201);
  const token = issuer.mint({ sub: 'omar', client_id: 'journey', aud: nodes.a.url, scope: SCOPES });
  const tasks = { extensions: { 'io.modelcontextprotocol/tasks': {} } };
  const drop = (id: string, capabilities = {}): Promise<Reply> =>
    nodes.a.call(
      'drop',
      { id, text: 'a' },
      { token, meta: { 'io.modelcontextprotocol/clientCapabilities': capabilities } },
    );
  const waiting = drop('held');
  const task = await drop('tasked', tasks);
  expect(task.body.result).toMatchObject({ resultType: 'task', status: 'working' });
  for (const id of ['held', 'tasked']) {
    let path = '';
    let call: unknown;
    await until(`${id} is known at the other node`, async () => {
      const { body } = await nodes.b.api('petra', 'GET', '/approvals?state=mine-to-decide');
      for (const one of (body['approvals'] ?? []) as Array<{ id: string }>) {
        const read = await nodes.b.api('petra', 'GET', `/approvals/${one.id}`);
        if ((read.body['arguments'] as { id: string }).id !== id) continue;
        path = `/approvals/${one.id}`;
        call = read.body['call'];
      }
      return path !== '';
    });
    expect(times(id, 'a')).toEqual([]);
    const agreed = await nodes.b.api('petra', 'POST', `${path}/approve`, { call });
    const acknowledged = performance.now();
    expect(agreed.status, agreed.text).toBe(200);
    await until(`${id} is made`, () => times(id, 'a').length > 0, 60_000);
    expect(times(id, 'a').filter((time) => time > acknowledged + LIMIT_MS + TRAVEL_MS)).toEqual([]);
  }
  expect(passed(await waiting)).toBe(true);
  // Both nodes at once with what was spent: held anew, and nothing leaves.
  const mint = (by: Name): string =>
    issuer.mint({ sub: 'omar', client_id: 'journey', aud: nodes[by].url, scope: SCOPES });
  const storm = (['a', 'b', 'a', 'b'] as const).map((by) =>
    nodes[by].call(
      'drop',
      { id: 'held', text: 'a' },
      { token: mint(by), meta: { 'io.modelcontextprotocol/clientCapabilities': tasks } },
    ),
  );
  for (const { body } of await Promise.all(storm)) expect(body.result).toMatchObject({ resultType: 'task' });
  expect([times('held', 'a').length, times('tasked', 'a').length]).toEqual([1, 1]);
});
