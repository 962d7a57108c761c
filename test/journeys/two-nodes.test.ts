/**
 * Two gateways of one deployment over one real PostgreSQL: one history, one log under one key, and a lock that was
 * acknowledged by one of them stops the next call on the other within the freshness limit.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { exportLog } from '../../src/audit/export.ts';
import { loadConfig } from '../../src/cli/config.ts';
import { processLog, runGateway } from '../../src/cli/serve.ts';
import type { RunningGateway } from '../../src/cli/serve.ts';
import { openPostgresLedger } from '../../src/store/postgres/ledger.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { parseVkey } from '../../src/verify/note.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { OAUTH, push, startTransmitter } from '../admin/events/transmitter.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { startPostgres } from '../support/postgres.ts';

let postgres: Awaited<ReturnType<typeof startPostgres>>;
let issuer: TestIssuer;
const folder = mkdtempSync(join(tmpdir(), 'remit-two-nodes-'));
const nodes: RunningGateway[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  issuer = await startIssuer();
  process.env['REMIT_DATABASE_URL'] = postgres.url;
  for (const node of ['node-a', 'node-b']) {
    const file = join(folder, `${node}.yaml`);
    // One folder of keys: the nodes of a deployment sign one log.
    const values = {
      dataDir: './data',
      node,
      public: { port: 0 },
      admin: { port: 0 },
      store: { kind: 'postgres', url: { secret: 'env:REMIT_DATABASE_URL' } },
      issuers: [{ issuer: issuer.issuer, algorithms: ['ES256'], allowedNetworks: ['127.0.0.1/32'] }],
      firstAdministrator: { issuer: issuer.issuer, subject: 'ada', name: 'Ada' },
      governance: { newAgents: 'active' },
      audit: { publishDir: `./published-${node}`, checkpointEveryMs: 200 },
      log: { level: 'silent' },
    };
    writeFileSync(file, stringify(values));
    const config = loadConfig(file, process.env);
    if (!config.ok) throw new Error(JSON.stringify(config.error));
    nodes.push(await runGateway(config.value, { log: processLog(config.value, node) }));
  }
}, 120_000);

afterAll(async () => {
  for (const node of nodes) await node.close();
  await issuer?.close();
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const adminCall = (node: RunningGateway, method: string, path: string, body?: object): Promise<Response> =>
  fetch(`${node.adminUrl}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${issuer.mint({ sub: 'ada', client_id: 'remit-cli', aud: `${node.adminUrl}/api/v1`, scope: 'admin:read admin:write' })}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    ...(body && { body: JSON.stringify(body) }),
  });

test('both nodes decide by one foundation, written once', () => {
  const [a, b] = nodes as [RunningGateway, RunningGateway];
  expect(b.verifierKey).toBe(a.verifierKey);
  expect([...a.gateway.snapshot().people.all()]).toEqual([...b.gateway.snapshot().people.all()]);
  expect(a.gateway.notReady()).toEqual([]);
  expect(b.gateway.notReady()).toEqual([]);
});

test('AN-08, R3: an event that one node acknowledged is in force on the other within the freshness limit, and counts once for both', async () => {
  const [a, b] = nodes as [RunningGateway, RunningGateway];
  const sender = await startTransmitter();
  try {
    const body = sender.stream() as unknown as JsonObject;
    const { revision: added } = await a.state.commit({
      actor: 'test',
      reason: 'test',
      writes: [{ kind: 'event_stream', org: 'default', id: 'idp', body }],
    });
    await Promise.all([a.view.advanceTo(added), b.view.advanceTo(added)]);
    const grant = sender.event(`${OAUTH}token-revoked`, { grant_id: 'g1' });
    const key = `grant ${sender.issuer.issuer} g1`;
    expect((await push(`${a.adminUrl}/events/idp`, grant)).status).toBe(202);
    const acknowledgedAt = Date.now();
    expect(a.gateway.snapshot().voids?.get(key)).toBeGreaterThan(0);
    // The same token at the other node: known there, too, whether it has followed yet or not.
    expect((await push(`${b.adminUrl}/events/idp`, grant)).status).toBe(202);
    await expect
      .poll(() => b.gateway.snapshot().voids?.get(key) ?? 0, { timeout: 2_000, interval: 5 })
      .toBeGreaterThan(0);
    expect(Date.now() - acknowledgedAt).toBeLessThan(2_000);
    const { records } = await a.state.load();
    expect(
      records.filter(
        ({ kind, body }) => kind === 'void' && JSON.stringify(body).includes(`${sender.issuer.issuer} g1`),
      ),
    ).toHaveLength(1);
    // At both in the same moment: one of them writes, the other sees that it is written.
    const twice = sender.event(`${OAUTH}token-revoked`, { grant_id: 'g2' });
    const answers = await Promise.all([a, b].map((node) => push(`${node.adminUrl}/events/idp`, twice)));
    expect(answers.map(({ status }) => status)).toEqual([202, 202]);
    const voids = (await a.state.load()).records.filter(
      ({ kind, body }) => kind === 'void' && JSON.stringify(body).includes(`${sender.issuer.issuer} g2`),
    );
    expect(voids).toHaveLength(1);
  } finally {
    await sender.close();
  }
});

test('NH-06: a lock that one node acknowledged is in force on the other within the freshness limit', async () => {
  const [a, b] = nodes as [RunningGateway, RunningGateway];
  const answer = await adminCall(a, 'POST', '/locks', { kind: 'agent', value: 'remit-cli', reason: 'a drill' });
  const acknowledgedAt = Date.now();
  expect(answer.status).toBe(201);
  const { revision } = (await answer.json()) as { revision: number };
  expect(a.gateway.snapshot().revision).toBeGreaterThanOrEqual(revision);
  await expect
    .poll(() => b.gateway.snapshot().revision, { timeout: 2_000, interval: 5 })
    .toBeGreaterThanOrEqual(revision);
  expect(Date.now() - acknowledgedAt).toBeLessThan(2_000);
  // The very agent that asked is the one that is locked: neither node takes another word from it.
  expect((await adminCall(a, 'GET', '/me')).status).toBe(403);
  expect((await adminCall(b, 'GET', '/me')).status).toBe(403);
});

test('what both nodes recorded is one log that a stranger can verify', async () => {
  const [a] = nodes as [RunningGateway];
  const ledger = await openPostgresLedger(postgres.url);
  try {
    const dir = join(folder, 'evidence');
    const vkeys = [parseVkey(a.verifierKey)];
    await expect
      .poll(async () => (await ledger.checkpoint('default'))?.size ?? 0, { timeout: 25_000, interval: 100 })
      .toBeGreaterThanOrEqual(await ledger.size('default'));
    await exportLog({ ledger, log: 'default', dir, vkeys });
    const report = await verifyLog(dir, { vkeys });
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.verified).toBe(true);
  } finally {
    await ledger.close();
  }
});
