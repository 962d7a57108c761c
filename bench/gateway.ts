/**
 * Remit with everything on, as `remit gateway` runs it: token, standing, pin, schema, Cedar baseline, limits, inspection, durable audit.
 * Only the limits are raised, so that the load measures the path and not the refusal.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadConfig } from '../src/cli/config.ts';
import { runGateway } from '../src/cli/serve.ts';
import { Person, personKey } from '../src/directory/records.ts';
import { approve } from '../src/integrity/review.ts';
import { Server } from '../src/inventory/records.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { JsonObject } from '../src/lib/json.ts';
import { startIssuer } from '../test/support/issuer.ts';

const [upstream = '', risk = 'read'] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'remit-bench-'));
const issuer = await startIssuer();
const file = join(folder, 'remit.yaml');
writeFileSync(
  file,
  stringify({
    dataDir: './data',
    public: { port: 0 },
    admin: { port: 0 },
    issuers: [{ issuer: issuer.issuer, algorithms: ['ES256'], allowedNetworks: ['127.0.0.1/32'] }],
    limits: { callsPerMinutePerPerson: 1_000_000, maxConcurrentCallsPerPerson: 1_000, maxConcurrentCalls: 4_000 },
    log: { level: 'error' },
  }),
);
const config = loadConfig(file, process.env);
if (!config.ok) throw new Error(JSON.stringify(config.error));
const org = config.value.organisation;
const running = await runGateway(config.value, {
  prepare: async ({ state, view }) => {
    const person = Person.parse({
      issuer: issuer.issuer,
      subject: 'bench',
      name: 'Bench',
      state: 'active',
      roles: ['developer'],
    });
    const server = Server.parse({
      title: 'Bench',
      owner: 'bench',
      purpose: 'Measurement.',
      environment: 'development',
      dataClasses: ['internal'],
      state: 'enabled',
      upstream: { transport: 'http', url: upstream, era: 'modern', allowedNetworks: ['127.0.0.1/32'] },
    });
    const { revision } = await state.commit({
      actor: 'bench',
      reason: 'bench',
      writes: [
        { kind: 'person', org, id: 'bench', key: personKey(issuer.issuer, 'bench'), body: { ...person } as JsonObject },
        { kind: 'server', org, id: 'bench', body: server },
      ],
    });
    await view.advanceTo(revision);
  },
});
await running.gateway.refresh('bench');
await running.view.advanceTo(await running.state.head());
const tool = running.gateway.snapshot().servers.get('bench')!.tools.get('echo')!;
const reviewed = approve(tool.record, {
  risk: risk as 'read',
  scope: 'bench:use',
  justification: 'Measured.',
  by: 'bench',
  at: systemClock.now(),
  expectedDigest: tool.record.observed!.digest,
});
if (!reviewed.ok) throw new Error(JSON.stringify(reviewed.error));
const { revision } = await running.state.commit({
  actor: 'bench',
  reason: 'bench',
  writes: [{ kind: 'tool', org, id: tool.id, body: reviewed.value }],
});
await running.view.advanceTo(revision);
await running.gateway.refresh('bench');

const url = running.gateway.listener.resourceUrl('bench');
const token = issuer.mint({
  sub: 'bench',
  client_id: 'bench-agent',
  aud: url,
  scope: 'bench:use',
  exp: Math.floor(Date.now() / 1000) + 880,
});
process.send?.({ url, token });
process.on('disconnect', () => {
  void running
    .close()
    .then(() => issuer.close())
    .finally(() => {
      rmSync(folder, { recursive: true, force: true });
      process.exit(0);
    });
});
