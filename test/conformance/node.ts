/** A real gateway node in front of given servers, everything they offer approved, everybody allowed: what is left is the protocol. */
import { setTimeout } from 'node:timers/promises';
import type { z } from 'zod';
import { ASKS, EXTENSIONS, Server } from '../../src/inventory/records.ts';
import { ToolRecord, itemKey } from '../../src/integrity/records.ts';
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
  stop(): Promise<void>;
}

export async function startNode(servers: Readonly<Record<string, ServerParts>>): Promise<ConformanceNode> {
  const rig = await startRig({ servers: {}, limits: { callTimeoutMs: 120_000 } });
  try {
    await rig.policy('conformance', 'permit (principal, action, resource);');
    for (const [id, parts] of Object.entries(servers)) {
      await rig.commit([{ kind: 'server', org: ORG, id, body: record(id, parts) }]);
      await rig.look(id);
      // A server may be meant to refuse the first time, and whoever refused is left alone for a moment.
      const seen = () => [...rig.view.records('tool', ORG)].some(({ body }) => ToolRecord.parse(body).server === id);
      for (let again = 0; again < 3 && !seen(); again++) {
        await setTimeout(700);
        await rig.look(id);
      }
      for (const stored of rig.view.records('tool', ORG)) {
        const item = ToolRecord.parse(stored.body);
        if (item.server === id && item.observed && !item.approved)
          await rig.approveTool(id, itemKey(item.kind, item.name), 'read', SCOPE);
      }
    }
  } catch (error) {
    await rig.stop();
    throw error;
  }
  return {
    origin: rig.url,
    endpoint: (server) => `${rig.url}${rig.endpoint(server)}`,
    token: (server, person = 'dana') =>
      rig.token(person, { server, scopes: [SCOPE], claims: { exp: Math.floor(Date.now() / 1000) + 890 } }),
    stop: rig.stop,
  };
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
