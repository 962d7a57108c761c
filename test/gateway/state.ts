/** Records as the store holds them, for tests that need a picture and no node. */
import { buildSnapshot } from '../../src/gateway/snapshot.ts';
import type { Snapshot } from '../../src/gateway/snapshot.ts';
import { readDefinition } from '../../src/integrity/definition.ts';
import type { ItemKind } from '../../src/integrity/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { BASELINE } from '../../src/policy/baseline.ts';
import type { StoredRecord } from '../../src/store/state.ts';
import { textTool } from '../support/rig.ts';
import type { ToolSpec } from '../support/rig.ts';

export const ISSUER = 'https://issuer.example';
export const ORG = 'default';
export const NOW = Date.UTC(2026, 10, 1, 12);

export const stored = (kind: string, id: string, body: object, revision = 1): StoredRecord => ({
  kind,
  org: ORG,
  id,
  revision,
  body: body as JsonObject,
});

export const person = (id: string, roles: readonly string[], more: object = {}): StoredRecord =>
  stored('person', id, { issuer: ISSUER, subject: `${id}@corp`, name: id, state: 'active', roles, ...more });

export const server = (id: string, more: object = {}, revision = 1): StoredRecord =>
  stored(
    'server',
    id,
    {
      title: id,
      owner: 'omar',
      purpose: 'tests',
      environment: 'production',
      dataClasses: ['internal'],
      state: 'enabled',
      timeoutMs: 10_000,
      upstream: {
        transport: 'http',
        url: 'https://upstream.example/mcp',
        era: 'auto',
        allowedNetworks: [],
        headers: [],
      },
      ...more,
    },
    revision,
  );

export function digestOfTool(spec: ToolSpec): `sha256:${string}` {
  const read = readDefinition('tool', spec.definition);
  if (!read.ok) throw new Error('no definition');
  return read.value.digest;
}

/** A tool that was seen and approved as it is. */
export function tool(serverId: string, spec: ToolSpec, more: object = {}, revision = 1): StoredRecord {
  const name = spec.definition['name'] as string;
  const seen = { digest: digestOfTool(spec), definition: spec.definition };
  const body = {
    server: serverId,
    name,
    observed: { ...seen, seenAt: NOW },
    approved: { ...seen, risk: spec.risk, scope: spec.scope, justification: 'test', by: 'sven', at: NOW },
    ...more,
  };
  return stored('tool', `${serverId}/${name}`, body, revision);
}

/** Another item that was seen and approved as it is, as something to read. */
export function item(serverId: string, kind: ItemKind, definition: JsonObject, more: object = {}): StoredRecord {
  const read = readDefinition(kind, definition);
  if (!read.ok) throw new Error(read.error.code);
  const { name, key, digest } = read.value;
  const seen = { digest, definition: read.value.definition };
  const approved = { ...seen, risk: 'read', scope: 'notes:read', justification: 'test', by: 'sven', at: NOW };
  const body = { server: serverId, kind, name, observed: { ...seen, seenAt: NOW }, approved, ...more };
  return stored('tool', `${serverId}/${key}`, body);
}

/** A client that acts for people and is bounded by nothing. */
export const agent = (clientId: string, more: object = {}): StoredRecord =>
  stored('agent', clientId, {
    issuer: ISSUER,
    clientId,
    title: clientId,
    kind: 'delegate',
    state: 'active',
    roles: [],
    ceiling: {},
    ...more,
  });

export const lock = (id: string, kind: string, value: string, until: number | null = null): StoredRecord =>
  stored('lock', id, { subject: { kind, value }, reason: 'test', by: 'ada', until });

export const policy = (id: string, text: string, state = 'active'): StoredRecord =>
  stored('policy', id, { description: 'test', text, state });

export const READ = textTool('read_note', 'read', 'notes:read');
export const WRITE = textTool('write_note', 'write', 'notes:write');

export const BASE: readonly StoredRecord[] = [
  stored('organisation', ORG, { title: 'Test', issuers: [ISSUER], newAgents: 'active' }),
  ...BASELINE.map(({ id, text }) => policy(id, text)),
  agent('agent-1'),
  person('dana', ['developer']),
  person('omar', ['operator']),
  server('notes'),
  tool('notes', READ),
  tool('notes', WRITE),
];

export function pictureOf(
  records: readonly StoredRecord[],
  more: {
    readonly previous?: Snapshot;
    readonly changed?: readonly string[];
    readonly revision?: number;
    readonly at?: number;
  } = {},
): Snapshot {
  return buildSnapshot({
    org: ORG,
    revision: more.revision ?? 1,
    at: more.at ?? NOW,
    records: (kind) => records.filter((record) => record.kind === kind),
    previous: more.previous ?? null,
    changed: more.changed ? new Set(more.changed) : null,
  });
}
