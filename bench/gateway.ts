/**
 * Remit with everything on, as `remit gateway` runs it: token, standing, pin, schema, Cedar baseline, limits, inspection, durable audit.
 * Only the limits are raised, so that the load measures the path and not the refusal. The argument is a `GatewayPlan` as JSON.
 * Everything its servers offer is approved. Over the channel it says what its memory is and locks a tool, which changes every list.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadConfig } from '../src/cli/config.ts';
import { runGateway } from '../src/cli/serve.ts';
import { Person, personKey } from '../src/directory/records.ts';
import { approve } from '../src/integrity/review.ts';
import { Lock, Server } from '../src/inventory/records.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { JsonObject } from '../src/lib/json.ts';
import type { Write } from '../src/store/state.ts';
import { startIssuer } from '../test/support/issuer.ts';

export interface GatewayPlan {
  /** Their servers are `s0`, `s1` and so on. */
  readonly upstreams: readonly string[];
  readonly risk: 'read' | 'write';
  /** People with a token each. */
  readonly people: number;
}
export interface GatewayReady {
  /** Of `s0`, and of the aggregate. */
  readonly url: string;
  readonly aggregate: string;
  readonly tokens: readonly string[];
  readonly aggregateToken: string;
}
export type GatewayAsk = { readonly ask: 'memory' } | { readonly ask: 'lock'; readonly locked: boolean };

const plan = JSON.parse(process.argv[2]!) as GatewayPlan;
const people = Array.from({ length: plan.people }, (_, n) => `bench-${n}`);
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
    limits: {
      callsPerMinutePerPerson: 1_000_000,
      callsPerMinutePerAgent: 10_000_000,
      callsPerMinutePerOrganisation: 10_000_000,
      callsPerMinutePerServer: 10_000_000,
      callsPerMinutePerTool: 10_000_000,
      repeatsPerMinute: 1_000_000,
      readRepeatsPerMinute: 1_000_000,
      maxConcurrentCallsPerPerson: 1_000,
      maxConcurrentCallsPerAgent: 4_000,
      maxConcurrentCallsPerServer: 4_000,
      maxConcurrentCalls: 4_000,
      maxOpenStreams: 2_500,
    },
    governance: { newAgents: 'active' },
    log: { level: 'error' },
  }),
);
const config = loadConfig(file, process.env);
if (!config.ok) throw new Error(JSON.stringify(config.error));
const org = config.value.organisation;
const servers = plan.upstreams.map((url, n) => ({
  id: `s${n}`,
  body: Server.parse({
    title: `Bench ${n}`,
    owner: 'bench',
    purpose: 'Measurement.',
    environment: 'development',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: { transport: 'http', url, era: 'modern', allowedNetworks: ['127.0.0.1/32'] },
  }),
}));
const running = await runGateway(config.value, {
  prepare: async ({ state, view }) => {
    const persons = people.map((id): Write => {
      const person = { issuer: issuer.issuer, subject: id, name: id, state: 'active', roles: ['developer'] };
      return {
        kind: 'person',
        org,
        id,
        key: personKey(issuer.issuer, id),
        body: { ...Person.parse(person) },
      };
    });
    const registered = servers.map(({ id, body }): Write => ({ kind: 'server', org, id, body }));
    const { revision } = await state.commit({ actor: 'bench', reason: 'bench', writes: [...persons, ...registered] });
    await view.advanceTo(revision);
  },
});

async function commit(writes: readonly Write[]): Promise<void> {
  const { revision } = await running.state.commit({ actor: 'bench', reason: 'bench', writes });
  await running.view.advanceTo(revision);
}

for (const { id } of servers) {
  await running.gateway.refresh(id);
  await running.view.advanceTo(await running.state.head());
  const items = [...running.gateway.snapshot().servers.get(id)!.tools.values()];
  const writes = items.map(({ id: item, record }): Write => {
    const reviewed = approve(record, {
      risk: plan.risk,
      scope: 'bench:use',
      justification: 'Measured.',
      by: 'bench',
      at: systemClock.now(),
      expectedDigest: record.observed!.digest,
    });
    if (!reviewed.ok) throw new Error(JSON.stringify(reviewed.error));
    return { kind: 'tool', org, id: item, body: reviewed.value };
  });
  for (let from = 0; from < writes.length; from += 100) await commit(writes.slice(from, from + 100));
  await running.gateway.refresh(id);
}

const url = running.gateway.listener.resourceUrl('s0');
const aggregate = running.gateway.listener.resourceUrl(null);
const token = (sub: string, aud: string): string =>
  issuer.mint({
    sub,
    client_id: 'bench-agent',
    aud,
    scope: 'bench:use',
    exp: Math.floor(Date.now() / 1000) + 880,
  });
const ready: GatewayReady = {
  url,
  aggregate,
  tokens: people.map((sub) => token(sub, url)),
  aggregateToken: token(people[0]!, aggregate),
};
process.send?.(ready);

async function answerTo(asked: GatewayAsk): Promise<JsonObject> {
  if (asked.ask === 'memory') {
    for (let turn = 0; turn < 3; turn++) {
      globalThis.gc?.();
      await new Promise((resolve) => void setTimeout(resolve, 50));
    }
    const { rss, heapUsed, external } = process.memoryUsage();
    return { rss, heap: heapUsed, external };
  }
  const lock = { subject: { kind: 'tool', value: 's0/steps' }, reason: 'bench', by: 'bench', until: null };
  await commit([{ kind: 'lock', org, id: 'bench-lock', body: asked.locked ? Lock.parse(lock) : null }]);
  return {};
}
process.on('message', (asked: GatewayAsk) => {
  void answerTo(asked).then((answer) => process.send?.(answer));
});
process.on('disconnect', () => {
  void running
    .close()
    .then(() => issuer.close())
    .finally(() => {
      rmSync(folder, { recursive: true, force: true });
      process.exit(0);
    });
});
