/**
 * What a client learns before it calls: that we are here (initialize, server/discover) and which tools it may use (tools/list).
 * Lists come from the catalogue and the pins, filtered by the same policy that decides calls; never by asking the server on the spot
 * once it was seen. What the server says about itself (instructions) is not passed on: nobody has reviewed it.
 */
import { LRUCache } from 'lru-cache';
import { toolStanding } from '../integrity/standing.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { visible } from '../policy/decide.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { republish } from '../protocol/republish.ts';
import { discoverResult, initializeResult, listResult } from '../protocol/results.ts';
import type { Facing } from '../protocol/results.ts';
import { sessionCapabilities } from '../protocol/session.ts';
import type { SessionSealer } from '../protocol/session.ts';
import { MODERN, isLegacyVersion, negotiateLegacy } from '../protocol/versions.ts';
import type { ProtocolVersion } from '../protocol/versions.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { GuardPorts } from './guard.ts';
import { lockOn } from './standing.ts';

export interface GreetingDeps {
  readonly ports: GuardPorts;
  readonly sessions: SessionSealer;
  readonly version: string;
  /** Scopes a first token for this server should carry. */
  readonly defaultScopes: (server: string) => readonly string[];
  /** Lists already made, by everything they depend on. */
  readonly lists: LRUCache<string, { readonly result: JsonObject; readonly digest: Digest }>;
}

/** How long a client may keep a list or a discovery, ms. A revocation does not wait for it: calls are decided anew. */
const LIST_TTL_MS = 30_000;
/** A sighting older than this is looked at again before a list is served. */
const LIST_SIGHTING_MAX_AGE_MS = 300_000;

export function listCache(): GreetingDeps['lists'] {
  // Locks and policies end with time, without a new revision: a kept list may lag behind that by this much.
  return new LRUCache({ max: 2_000, ttl: 5_000 });
}

export function facingOf(call: Call, deps: { readonly version: string }): Facing {
  const { message } = call;
  let version: ProtocolVersion = MODERN;
  if (message.era === 'legacy') {
    const claimed = call.facts.session?.version ?? message.protocolVersion ?? '2025-03-26';
    version = isLegacyVersion(claimed) ? claimed : '2025-03-26';
  }
  return { era: message.era, version, serverInfo: { name: 'remit-gateway', version: deps.version } };
}

export function openSession(
  call: Call,
  message: InboundRequest,
  deps: GreetingDeps,
): { result: JsonObject; headers?: Record<string, string> } {
  const card = { capabilities: { tools: {} }, instructions: null };
  if (message.rule.family === 'discover') return { result: discoverResult(facingOf(call, deps), card, LIST_TTL_MS) };

  const { protocolVersion: asked, capabilities, clientInfo } = message.params;
  const version = negotiateLegacy(typeof asked === 'string' ? asked : '');
  const caller = known(call, 'caller');
  const session = deps.sessions.seal({
    org: call.endpoint.org,
    server: call.endpoint.server,
    issuer: caller.issuer,
    subject: caller.subject,
    clientId: caller.clientId,
    version,
    capabilities: isJsonObject(capabilities) ? sessionCapabilities(capabilities) : [],
    client: { name: textOf(clientInfo, 'name'), version: textOf(clientInfo, 'version') },
  });
  return {
    result: initializeResult({ ...facingOf(call, deps), version }, card),
    headers: { 'Mcp-Session-Id': session },
  };
}

const textOf = (value: Json | undefined, member: string): string =>
  isJsonObject(value) && typeof value[member] === 'string' ? value[member] : '';

export async function listTools(call: Call, deps: GreetingDeps): Promise<{ result: JsonObject; digest: Digest }> {
  const server = known(call, 'server');
  const person = known(call, 'person');
  const agent = known(call, 'caller').clientId;
  const { catalogue, clock } = deps.ports;
  const sighting = await catalogue.confirm(server, LIST_SIGHTING_MAX_AGE_MS, call.inflight.signal);
  const facing = facingOf(call, deps);
  const key = JSON.stringify([server.id, person.id, agent, facing.version, call.snapshot.revision, catalogue.version]);
  const kept = deps.lists.get(key);
  if (kept) return kept;

  const now = clock.now();
  const { policies } = call.snapshot;
  const tools = [...server.tools.values()]
    .filter(
      (tool) =>
        policies !== null &&
        tool.facts !== null &&
        tool.check !== null &&
        toolStanding(tool.record, sighting.tools.get(tool.name) ?? null) === 'approved' &&
        lockOn(call.snapshot, { server: tool.server, tool: tool.name }, now) === null &&
        visible(policies, { person, agent, at: now }, tool.facts),
    )
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((tool) => republish(tool.approved!.definition as JsonObject, facing.version));
  const result = listResult(facing, 'tools', tools, { nextCursor: null, ttlMs: LIST_TTL_MS });
  const list = { result, digest: digestOf(result) };
  deps.lists.set(key, list);
  return list;
}
