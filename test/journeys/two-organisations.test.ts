/**
 * ID-05: two organisations, each with its gateway, over one PostgreSQL and one issuer. Whatever the first has or does, the second answers
 * everybody as if the first were not there. The revision counter counts for all, so revisions, times and reference ids are blanked.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/cli/config.ts';
import { processLog, runGateway } from '../../src/cli/serve.ts';
import type { RunningGateway } from '../../src/cli/serve.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Write } from '../../src/store/state.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { startPostgres } from '../support/postgres.ts';
import { modernHeaders, modernMessage } from '../support/rig.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let issuer: TestIssuer;
const sinks: Sink[] = [];
const folder = mkdtempSync(join(tmpdir(), 'remit-two-organisations-'));
const nodes: RunningGateway[] = [];

const people = (org: string): Write[] =>
  [
    ['dana', ['developer']],
    ['sven', ['security_reviewer', 'auditor']],
  ].map(([name, roles]) => ({
    kind: 'person',
    org,
    id: `${String(name)}-${org}`,
    key: `${issuer.issuer} ${String(name)}`,
    body: {
      issuer: issuer.issuer,
      subject: String(name),
      name: String(name),
      state: 'active',
      roles: roles as string[],
    },
  }));

const server = (org: string, id: string, url: string): Write => ({
  kind: 'server',
  org,
  id,
  body: {
    title: id,
    owner: `dana-${org}`,
    purpose: 'tests',
    environment: 'development',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: { transport: 'http', url, era: 'modern', allowedNetworks: ['127.0.0.1/32'], headers: [] },
  },
});

const bearer = (subject: string, aud: string, scope: string): Readonly<Record<string, string>> => ({
  authorization: `Bearer ${issuer.mint({ sub: subject, client_id: 'remit-cli', aud, scope })}`,
});

async function admin(node: RunningGateway, method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${node.adminUrl}/api/v1${path}`, {
    method,
    headers: {
      ...bearer('sven', `${node.adminUrl}/api/v1`, 'admin:read admin:write'),
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });
}

async function mcp(
  node: RunningGateway,
  org: string,
  id: string,
  method: string,
  params: JsonObject,
): Promise<Response> {
  const url = `${node.mcpUrl}/mcp/${org}${id === '' ? '' : `/${id}`}`;
  const headers = {
    ...modernHeaders(method, params),
    ...bearer('dana', url, 'notes:read'),
    'content-type': 'application/json',
  };
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(modernMessage(method, params)) });
}

beforeAll(async () => {
  postgres = await startPostgres();
  issuer = await startIssuer();
  process.env['REMIT_TWO_ORGANISATIONS'] = postgres.url;
  for (const organisation of ['acme', 'rival']) {
    const sink = await startSink({ era: 'modern' });
    sinks.push(sink);
    const file = join(folder, `${organisation}.yaml`);
    const values = {
      organisation,
      dataDir: `./${organisation}`,
      node: 'one',
      public: { port: 0 },
      admin: { port: 0 },
      store: { kind: 'postgres', url: { secret: 'env:REMIT_TWO_ORGANISATIONS' } },
      issuers: [{ issuer: issuer.issuer, algorithms: ['ES256'], allowedNetworks: ['127.0.0.1/32'] }],
      governance: { newAgents: 'active' },
      freshness: { limitMs: 20_000 },
      log: { level: 'silent' },
    };
    writeFileSync(file, stringify(values));
    const config = loadConfig(file, process.env);
    if (!config.ok) throw new Error(JSON.stringify(config.error));
    const prepare = async ({
      state,
      view,
    }: Parameters<NonNullable<Parameters<typeof runGateway>[1]>['prepare'] & object>[0]) => {
      if (organisation !== 'rival') return;
      const writes = [...people('rival'), server('rival', 'notes', sink.url)];
      const { revision } = await state.commit({ actor: 'test', reason: 'seed', writes });
      await view.advanceTo(revision);
    };
    nodes.push(await runGateway(config.value, { log: processLog(config.value, organisation), prepare }));
  }
  const rival = nodes[1]!;
  await rival.gateway.refresh('notes');
  await rival.view.advanceTo(await rival.state.head());
  const { observed } = (await (await admin(rival, 'GET', '/servers/notes/tools/echo')).json()) as {
    observed: { digest: string };
  };
  const review = { digest: observed.digest, risk: 'read', scope: 'notes:read', justification: 'test' };
  expect((await admin(rival, 'POST', '/servers/notes/tools/echo/approve', review)).status).toBe(200);
}, 120_000);

afterAll(async () => {
  for (const node of nodes) await node.close();
  for (const sink of sinks) await sink.close();
  await issuer?.close();
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** What differs between two equal answers anyway. */
const blank = (text: string): string =>
  text
    .replace(/\b(?:call|ref|person|agent|lock|void|apr|group)_[0-9a-z]{26}\b/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\b1[78]\d{8,11}\b/g, 'TIME')
    .replace(/"(revision|next|confirmedMsAgo|ageMs|ms|index)":\d+/g, '"$1":0')
    .replace(/"nextCursor":"[^"]*"/g, '"nextCursor":"C"');

const ADMIN_READS = [
  '/me',
  '/people',
  '/people/dana-acme',
  '/groups',
  '/agents',
  '/mappings',
  '/organisation',
  '/voids',
  '/locks',
  '/servers',
  '/servers/notes',
  '/servers/vault',
  '/servers/notes/tools',
  '/policies',
  '/approvals',
  '/history/person/dana-acme',
  '/history/server/vault',
];

/** Everything the second organisation is told, with status and headers that could speak of another. */
async function everything(): Promise<readonly string[]> {
  const rival = nodes[1]!;
  const told: string[] = [];
  const note = async (what: string, answer: Promise<Response>): Promise<void> => {
    const response = await answer;
    const headers = ['www-authenticate', 'location', 'allow'].map((name) => response.headers.get(name));
    told.push(blank(`${what} ${response.status} ${headers.join(' ')} ${await response.text()}`));
  };
  for (const path of ADMIN_READS) await note(path, admin(rival, 'GET', path));
  for (const [org, id] of [
    ['rival', 'notes'],
    ['rival', ''],
    ['rival', 'vault'],
    ['acme', 'vault'],
    ['acme', 'notes'],
    ['acme', ''],
  ] as const) {
    await note(`list ${org} ${id}`, mcp(rival, org, id, 'tools/list', {}));
    await note(`discover ${org} ${id}`, mcp(rival, org, id, 'server/discover', {}));
    const name = id === '' ? 'vault_echo' : 'echo';
    await note(`call ${org} ${id}`, mcp(rival, org, id, 'tools/call', { name, arguments: { text: 'x' } }));
    const path = `/.well-known/oauth-protected-resource/mcp/${org}${id === '' ? '' : `/${id}`}`;
    await note(path, fetch(`${rival.mcpUrl}${path}`));
  }
  await note(
    'explain',
    admin(rival, 'POST', '/access/explain', { person: 'dana-acme', server: 'vault', tool: 'echo' }),
  );
  await note('lock', admin(rival, 'POST', '/locks', { kind: 'user', value: 'dana-acme', reason: 'x' }));
  return told;
}

test('ID-05: what the second organisation is told does not depend on what the first one has', async () => {
  const [acme] = nodes as [RunningGateway];
  // The first call makes its agent known; the answers are those of a running house.
  await everything();
  const before = await everything();
  expect(before.some((line) => line.startsWith('call rival notes 200'))).toBe(true);
  const records: Array<readonly [string, string, JsonObject, string?]> = [
    ['group', 'staff', { name: 'Staff', roles: ['developer'] }],
    [
      'mapping',
      'm',
      { issuer: issuer.issuer, newcomers: 'create', tenant: { claim: 'tid', value: 'acme' }, rules: [] },
    ],
    ['lock', 'l1', { subject: { kind: 'user', value: 'dana-rival' }, reason: 'x', by: 'x', until: null }],
    ['lock', 'l2', { subject: { kind: 'agent', value: 'remit-cli' }, reason: 'x', by: 'x', until: null }],
    ['lock', 'l3', { subject: { kind: 'server', value: 'notes' }, reason: 'x', by: 'x', until: null }],
    [
      'void',
      'v1',
      { subject: { kind: 'person', value: 'dana-rival' }, before: 4e12, reason: 'x', by: 'x', until: 5e12 },
    ],
    [
      'void',
      'v2',
      { subject: { kind: 'client', value: 'remit-cli' }, before: 4e12, reason: 'x', by: 'x', until: 5e12 },
    ],
    ['policy', 'stop', { description: 'x', text: 'forbid (principal, action, resource);', state: 'active' }],
  ];
  await acme.state.commit({
    actor: 'test',
    reason: 'a busy neighbour',
    writes: [
      ...people('acme'),
      server('acme', 'vault', sinks[0]!.url),
      server('acme', 'notes', sinks[0]!.url),
      ...records.map(([kind, id, body]) => ({ kind, org: 'acme', id, body })),
    ],
  });
  await acme.view.advanceTo(await acme.state.head());
  await acme.gateway.refresh('vault');
  for (const node of nodes) await node.view.advanceTo(await node.state.head());
  expect(acme.gateway.snapshot().servers.has('vault')).toBe(true);
  expect(await everything()).toEqual(before);
  expect(sinks[0]!.calls()).toEqual([]);
});

test('ID-05: a neighbour’s token, audience and address are strange here', async () => {
  const [acme, rival] = nodes as [RunningGateway, RunningGateway];
  const before = sinks[1]!.calls().length;
  const url = `${rival.mcpUrl}/mcp/rival/notes`;
  const params = { name: 'echo', arguments: { text: 'x' } };
  for (const aud of [`${acme.mcpUrl}/mcp/acme/notes`, `${acme.mcpUrl}/mcp/rival/notes`]) {
    const headers = {
      ...modernHeaders('tools/call', params),
      ...bearer('dana', aud, 'notes:read'),
      'content-type': 'application/json',
    };
    const answer = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify(modernMessage('tools/call', params)),
    });
    expect(answer.status).toBe(401);
  }
  expect(sinks[1]!.calls()).toHaveLength(before);
});
