/** A real gateway node in front of given servers, everything they offer approved, everybody allowed: what is left is the protocol. */
import { ASKS, EXTENSIONS } from '../../src/inventory/records.ts';
import type { Server } from '../../src/inventory/records.ts';
import { ToolRecord, itemKey } from '../../src/integrity/records.ts';
import { ORG, startRig } from '../support/rig.ts';

const SCOPE = 'conformance:use';

export interface Behind {
  readonly url: string;
  readonly era: 'auto' | 'modern' | 'legacy';
}

export interface ConformanceNode {
  readonly origin: string;
  endpoint(server: string): string;
  token(server: string): string;
  stop(): Promise<void>;
}

export async function startNode(servers: Readonly<Record<string, Behind>>): Promise<ConformanceNode> {
  const rig = await startRig({ servers: {}, limits: { callTimeoutMs: 120_000 } });
  try {
    await rig.policy('conformance', 'permit (principal, action, resource);');
    for (const [id, behind] of Object.entries(servers)) {
      await rig.commit([{ kind: 'server', org: ORG, id, body: record(id, behind) }]);
      await rig.look(id);
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
    token: (server) =>
      rig.token('dana', { server, scopes: [SCOPE], claims: { exp: Math.floor(Date.now() / 1000) + 890 } }),
    stop: rig.stop,
  };
}

function record(id: string, { url, era }: Behind): Server {
  return {
    title: `The ${id}`,
    owner: 'omar',
    purpose: 'is measured by the conformance suite',
    environment: 'evaluation',
    dataClasses: ['public'],
    state: 'enabled',
    timeoutMs: 120_000,
    upstream: { transport: 'http', url, era, allowedNetworks: ['127.0.0.1/32'], headers: [] },
    asks: [...ASKS],
    extensions: [...EXTENSIONS],
    connections: 'shared',
    clientsOverSse: false,
  };
}
