/** A node with everything on and one provisioning connection, in a process of its own. Says where it is, and what its memory is when asked. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadConfig } from '../src/cli/config.ts';
import { runGateway } from '../src/cli/serve.ts';
import { ScimConnection } from '../src/directory/records.ts';
import { sha256Hex } from '../src/lib/bytes.ts';
import { startIssuer } from '../test/support/issuer.ts';

export interface ScimNodeReady {
  readonly admin: string;
  /** Of the connection. */
  readonly token: string;
}
export type ScimNodeAsk =
  | { readonly ask: 'memory' }
  /** A token of a provisioned person for the admin API, by externalId. */
  | { readonly ask: 'token'; readonly externalId: string }
  /** What a connection cannot do: a group gets a role. */
  | { readonly ask: 'roles'; readonly group: string };

const folder = mkdtempSync(join(tmpdir(), 'remit-bench-scim-'));
const issuer = await startIssuer();
const file = join(folder, 'remit.yaml');
writeFileSync(
  file,
  stringify({
    dataDir: './data',
    public: { port: 0 },
    admin: { port: 0, clients: ['bench-agent'] },
    issuers: [{ issuer: issuer.issuer, algorithms: ['ES256'], allowedNetworks: ['127.0.0.1/32'] }],
    governance: { newAgents: 'active' },
    log: { level: 'error' },
  }),
);
const config = loadConfig(file, process.env);
if (!config.ok) throw new Error(JSON.stringify(config.error));
const org = config.value.organisation;
const token = 'remit_scim_bench';
const now = Date.now();
const connection = ScimConnection.parse({
  title: 'bench',
  state: 'active',
  identities: [{ issuer: issuer.issuer, subject: 'bench|{externalId}' }],
  tokens: [{ id: 't', sha256: sha256Hex(token), createdAt: now, expiresAt: now + 86_400_000, by: 'bench' }],
  silenceAfterMs: null,
  whenSilent: 'alarm',
});
const running = await runGateway(config.value, {
  prepare: async ({ state, view }) => {
    const { revision } = await state.commit({
      actor: 'bench',
      reason: 'bench',
      writes: [{ kind: 'scim_connection', org, id: 'bench', body: connection }],
    });
    await view.advanceTo(revision);
  },
});
const admin = running.adminUrl;
process.send?.({ admin, token } satisfies ScimNodeReady);

async function answerTo(asked: ScimNodeAsk): Promise<unknown> {
  if (asked.ask === 'memory') {
    for (let turn = 0; turn < 3; turn++) {
      globalThis.gc?.();
      await new Promise((resolve) => void setTimeout(resolve, 50));
    }
    return process.memoryUsage();
  }
  if (asked.ask === 'token') {
    return issuer.mint({
      sub: `bench|${asked.externalId}`,
      client_id: 'bench-agent',
      aud: `${admin}/api/v1`,
      scope: 'admin:read',
      exp: Math.floor(Date.now() / 1_000) + 880,
    });
  }
  const group = [...running.view.records('group', org)].find(({ id }) => id === asked.group)!;
  const { revision } = await running.state.commit({
    actor: 'bench',
    reason: 'bench',
    writes: [{ kind: 'group', org, id: group.id, body: { ...group.body, roles: ['auditor'] } }],
  });
  await running.view.advanceTo(revision);
  return null;
}
process.on('message', (asked: ScimNodeAsk) => {
  void answerTo(asked).then((answer) => process.send?.({ answer }));
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
