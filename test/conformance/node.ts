/** A real gateway node in front of given servers, everything they offer approved, everybody allowed: what is left is the protocol. */
import { setTimeout } from 'node:timers/promises';
import type { z } from 'zod';
import { ASKS, EXTENSIONS, Server } from '../../src/inventory/records.ts';
import { ToolRecord, itemKey } from '../../src/integrity/records.ts';
import type { AccountTarget } from '../../src/upstream/oauth/account.ts';
import type { ServerAccounts } from '../../src/upstream/oauth/accounts.ts';
import { ORG, startRig } from '../support/rig.ts';

const SCOPE = 'conformance:use';

/** Members of a server record; the rest is as open as it goes. */
type ServerParts = Partial<z.input<typeof Server>> & Pick<z.input<typeof Server>, 'upstream'>;

export const overHttp = (url: string, era: 'auto' | 'modern' | 'legacy' = 'auto'): ServerParts => ({
  upstream: { transport: 'http', url, era, allowedNetworks: ['127.0.0.1/32'] },
});

export interface ConformanceNode {
  readonly origin: string;
  endpoint(server: string): string;
  /** Of Dana, or of another developer. */
  token(server: string, person?: 'dana' | 'dora'): string;
  /** Items that no review lets through, with the reason. */
  readonly refused: readonly string[];
  /** As `startNode` does with the servers it is given. @throws when it cannot be looked at */
  add(id: string, parts: ServerParts, ready?: Ready): Promise<void>;
  readonly accounts: ServerAccounts;
  stop(): Promise<void>;
}

/** What an operator does before a server is looked at. */
export type Ready = (target: AccountTarget) => Promise<void>;

export async function startNode(servers: Readonly<Record<string, ServerParts>>): Promise<ConformanceNode> {
  const rig = await startRig({ servers: {}, limits: { callTimeoutMs: 120_000 } });
  const refused: string[] = [];

  async function add(id: string, parts: ServerParts, ready?: Ready): Promise<void> {
    const server = record(id, parts);
    await rig.commit([{ kind: 'server', org: ORG, id, body: server }]);
    const { upstream } = server;
    await looked(async () => {
      if (ready !== undefined && upstream.transport === 'http' && upstream.auth !== undefined) {
        await ready({ ...upstream, auth: upstream.auth });
        await rig.pool.close(id, 'it is connected to its account');
      }
      await rig.look(id);
    });
    for (const stored of rig.view.records('tool', ORG)) {
      const item = ToolRecord.parse(stored.body);
      if (item.server !== id || !item.observed || item.approved) continue;
      const key = itemKey(item.kind, item.name);
      try {
        await rig.approveTool(id, key, 'read', SCOPE);
      } catch (error) {
        refused.push(`${key}: ${String(error)}`);
      }
    }
  }

  try {
    await rig.policy('conformance', 'permit (principal, action, resource);');
    for (const [id, parts] of Object.entries(servers)) await add(id, parts);
  } catch (error) {
    await rig.stop();
    throw error;
  }
  return {
    origin: rig.url,
    endpoint: (server) => `${rig.url}${rig.endpoint(server)}`,
    token: (server, person = 'dana') =>
      rig.token(person, { server, scopes: [SCOPE], claims: { exp: Math.floor(Date.now() / 1000) + 890 } }),
    refused,
    add,
    accounts: rig.pool.accounts,
    stop: rig.stop,
  };
}

/** A server may be meant to refuse the first time, and whoever refused is left alone for a moment. @throws what it said last */
async function looked(look: () => Promise<void>): Promise<void> {
  for (let left = 3; ; left--) {
    try {
      return await look();
    } catch (error) {
      if (left === 0) throw error;
      await setTimeout(700);
    }
  }
}

const record = (id: string, parts: ServerParts): Server =>
  Server.parse({
    title: `The ${id}`,
    owner: 'omar',
    purpose: 'is measured by the conformance suite',
    environment: 'evaluation',
    dataClasses: ['public'],
    state: 'enabled',
    timeoutMs: 120_000,
    asks: [...ASKS],
    extensions: [...EXTENSIONS],
    ...parts,
  });
