/**
 * A hostile stdio server behind a gateway as a whole process: what is in force for it is shown by API and command line, its end is told in
 * the log, and nothing of it, its cgroup included, is left when the gateway is killed and started again.
 */
import { chmodSync, cpSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { SMALL } from '../support/hostile.ts';
import { REPOSITORY, endAll, runRemit, temporaryFolder, until } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { artifactIdentity } from '../../src/sandbox/artifact-digest.ts';
import { cgroupPlaces } from '../../src/sandbox/cgroup-place.ts';
import { SCOPES, gatewayNode, tokensOf } from './node.ts';
import type { GatewayNode } from './node.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let issuer: TestIssuer;
let sink: Sink;
beforeEach(async () => {
  issuer = await startIssuer();
  sink = await startSink();
});
afterEach(async () => {
  await endAll();
  await sink.close();
  await issuer.close();
});

type Json = Record<string, unknown>;

async function must(node: GatewayNode, person: string, method: string, path: string, body?: object, headers = {}) {
  const reply = await node.api(person, method, path, body, headers);
  if (reply.status >= 300) throw new Error(`${person} ${method} ${path}: ${reply.status} ${reply.text}`);
  return reply.body as Json;
}

async function withHostile(node: GatewayNode): Promise<void> {
  const ask = (person: string, method: string, path: string, body?: object, headers = {}) =>
    must(node, person, method, `/servers/hostile${path}`, body, headers);
  const { person: owner } = await must(node, 'ada', 'GET', '/me');
  const folder = join(temporaryFolder(), 'server');
  cpSync(join(REPOSITORY, 'test/support/upstreams/hostile.ts'), join(folder, 'hostile.ts'));
  for (const path of [dirname(folder), folder]) chmodSync(path, 0o755);
  const runs = {
    command: ['node', '/server/hostile.ts'],
    mounts: [{ from: folder, to: '/server', mode: 'read' as const }],
  };
  const { digest: installed } = await artifactIdentity(runs);
  const server = {
    title: 'Hostile',
    owner,
    purpose: 'attacks',
    environment: 'development',
    dataClasses: ['public'],
    riskTier: 'low',
    source: { vendor: 'Remit', version: '1.0.0', digest: installed },
    revocation: 'stop the test',
    reviewBy: 4_102_444_800_000,
    upstream: {
      transport: 'stdio',
      ...runs,
      era: 'modern',
      limits: SMALL,
    },
  };
  await ask('ada', 'PUT', '', { reason: 'set up', server }, { 'if-none-match': '*' });
  const { revision } = await ask('ada', 'POST', '/submit', { reason: 'set up' });
  expect((await ask('ada', 'GET', ''))['isolation']).toEqual([]);
  await ask('sven', 'POST', '/enable', { reason: 'set up' }, { 'if-match': `"${revision as number}"` });
  await ask('omar', 'POST', '/refresh', {});
  const { observed } = await ask('sven', 'GET', '/tools/do');
  const { digest } = observed as { digest: string };
  const review = { digest, risk: 'write', scope: 'sink:write', justification: 'test' };
  const { proposal } = await ask('omar', 'POST', '/tools/do/propose', review);
  await ask('sven', 'POST', '/tools/do/approve', { digest, proposal });
}

async function act(node: GatewayNode, args: Json): Promise<string> {
  const url = node.url.replace(/sink$/, 'hostile');
  const token = issuer.mint({ sub: 'dana', client_id: 'journey', aud: url, scope: SCOPES });
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'do',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'do', arguments: args, _meta },
    }),
    signal: AbortSignal.timeout(30_000),
  });
  return response.text();
}

test('EX-07, EX-09: a hostile server: what is in force is shown, its end is in the log, nothing of it outlives the gateway', async () => {
  const node = await gatewayNode(temporaryFolder(), tokensOf(issuer));
  const { started } = await node.start();
  await node.setUp(sink);
  await withHostile(node);

  expect(await act(node, { what: 'echo', text: 'here' })).toContain('here');
  const { isolation } = await must(node, 'omar', 'GET', '/servers/hostile');
  expect(isolation).toEqual([
    {
      since: expect.any(Number) as number,
      posture: expect.objectContaining({ backend: 'bubblewrap', systemCalls: 'filtered' }) as object,
    },
  ]);
  const token = issuer.mint({
    sub: 'omar',
    client_id: 'remit-cli',
    aud: `${node.adminUrl}/api/v1`,
    scope: 'admin:read',
  });
  const shown = await runRemit(['server', 'show', 'hostile'], {
    env: { REMIT_ADMIN_URL: node.adminUrl, REMIT_TOKEN: token },
  });
  expect(shown.out).toMatch(/isolation: +1 process: bubblewrap [\d.]+, user \w+, system calls filtered, memory by /);

  await act(node, { what: 'forks', upTo: 1_000_000, hold: true });
  await until('its end is in the log', async () => {
    const { entries } = await must(node, 'aiko', 'GET', '/audit/entries?kind=incident');
    const found = JSON.stringify(entries);
    return found.includes('process_ended') && found.includes('server/hostile') && found.includes('"processes"');
  });

  // A cgroup is empty when its gateway was killed, and gone when the next one is up.
  await until('it is started anew', async () =>
    (await act(node, { what: 'echo', text: 'its second life' })).includes('its second life'),
  );
  const posture = ((await must(node, 'omar', 'GET', '/servers/hostile'))['isolation'] as [{ posture: Json }])[0]
    .posture;
  expect(cgroupsOf(started.pid).length > 0).toBe(posture['memoryLimit'] === 'cgroup');
  started.descendants();
  started.signal('SIGKILL');
  await started.ended;
  await until('all its servers are gone', () => started.left().length === 0);
  const next = await node.start();
  expect(cgroupsOf(started.pid)).toEqual([]);
  await next.started.stop('SIGTERM');
});

/** Those that a gateway with this number made, wherever this test may see them. */
function cgroupsOf(pid: number): readonly string[] {
  return cgroupPlaces().flatMap(({ folder }) =>
    readdirSync(folder)
      .filter((name) => name.startsWith('remit-') && name.includes(`-${pid}-`))
      .map((name) => join(folder, name)),
  );
}
