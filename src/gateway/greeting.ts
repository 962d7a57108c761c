/**
 * What a client learns before it uses anything: that we are here (initialize, server/discover) and what it may use (the four lists).
 * Lists come from the catalogue and the pins, filtered by the same policy that decides calls; never by asking the server on the spot
 * once it was seen. On the aggregate they are those of every server the caller may use, under prefixed names, in one order.
 * What a server says about itself (instructions) is passed on exactly as it was approved.
 */
import { LRUCache } from 'lru-cache';
import { toolStanding } from '../integrity/standing.ts';
import { itemKey } from '../integrity/records.ts';
import type { ItemKind } from '../integrity/records.ts';
import { lockedUri } from '../inventory/locks.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Cursors } from '../protocol/cursors.ts';
import { invalidParams } from '../protocol/errors.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { renameDefinition } from '../protocol/rename.ts';
import { republishItem } from '../protocol/republish.ts';
import { discoverResult, initializeResult, listResult } from '../protocol/results.ts';
import type { Facing } from '../protocol/results.ts';
import { sessionCapabilities } from '../protocol/session.ts';
import type { SessionSealer } from '../protocol/session.ts';
import { negotiateLegacy } from '../protocol/versions.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { capabilitiesOf } from './capabilities.ts';
import type { Sighting } from './catalogue.ts';
import type { Denial } from './denial.ts';
import { facingOf } from './facing.ts';
import type { GuardPorts } from './guard.ts';
import { maySee } from './may-see.ts';
import { resolveUri } from './snapshot.ts';
import type { ServerEntry, ToolEntry } from './snapshot.ts';
import { lockOn } from './standing.ts';

export interface GreetingDeps {
  readonly ports: GuardPorts;
  readonly sessions: SessionSealer;
  readonly cursors: Cursors;
  readonly version: string;
  /** Scopes a first token for this server should carry; null: for the aggregate. */
  readonly defaultScopes: (server: string | null) => readonly string[];
  /** Lists already made, by everything they depend on. */
  readonly lists: LRUCache<string, Listed>;
}

export interface Listed {
  readonly result: JsonObject;
  readonly digest: Digest;
}

/** How long a client may keep a list or a discovery, ms. A revocation does not wait for it: calls are decided anew. */
const LIST_TTL_MS = 30_000;
/** Entries of one page: many clients never ask for a second one. */
const PAGE = 1_000;

export function listCache(): GreetingDeps['lists'] {
  // Locks and policies end with time, without a new revision: a kept list may lag behind that by this much.
  return new LRUCache({ max: 2_000, ttl: 5_000 });
}

export async function openSession(
  call: Call,
  message: InboundRequest,
  deps: GreetingDeps,
): Promise<{ result: JsonObject; headers?: Record<string, string> }> {
  const facing = facingOf(call, deps);
  const instructions = await instructionsFor(call, deps);
  if (message.rule.family === 'discover')
    return {
      result: discoverResult(facing, { capabilities: capabilitiesOf(call, facing), instructions }, LIST_TTL_MS),
    };

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
  const agreed = { ...facing, version };
  return {
    result: initializeResult(agreed, { capabilities: capabilitiesOf(call, agreed), instructions }),
    headers: { 'Mcp-Session-Id': session },
  };
}

const textOf = (value: Json | undefined, member: string): string =>
  isJsonObject(value) && typeof value[member] === 'string' ? value[member] : '';

/** As approved, and only while the server still says the same. The aggregate has none: servers speak for themselves only. */
async function instructionsFor(call: Call, deps: GreetingDeps): Promise<string | null> {
  const { server } = call.facts;
  const item = server?.tools.get(itemKey('server', 'instructions'));
  if (!server || !item?.approved) return null;
  const sighting = await deps.ports.catalogue.forLists(server, call.inflight.signal).catch(() => null);
  if (!sighting || !shows(call, deps, item, sighting)) return null;
  const { instructions } = item.approved.definition;
  return typeof instructions === 'string' ? instructions : null;
}

type ListedKind = Exclude<ItemKind, 'server'>;

const LISTS: Readonly<
  Record<
    string,
    { readonly kind: ListedKind; readonly member: 'tools' | 'prompts' | 'resources' | 'resourceTemplates' }
  >
> = {
  'tools/list': { kind: 'tool', member: 'tools' },
  'prompts/list': { kind: 'prompt', member: 'prompts' },
  'resources/list': { kind: 'resource', member: 'resources' },
  'resources/templates/list': { kind: 'template', member: 'resourceTemplates' },
};

/** One page of what this caller may use. */
export async function listItems(
  call: Call,
  message: InboundRequest,
  deps: GreetingDeps,
): Promise<Listed | { readonly denial: Denial }> {
  const { kind, member } = LISTS[message.method]!;
  const facing = facingOf(call, deps);
  const person = known(call, 'person');
  const { issuer, clientId: agent, actChain, keyThumbprint } = known(call, 'caller');
  const scope = { list: `${call.endpoint.server ?? ''} ${member}`, who: `${person.id} ${agent}` };
  const { cursor } = message.params;
  const after = typeof cursor === 'string' ? deps.cursors.open(cursor, scope) : '';
  if (after === null) {
    const error = invalidParams(message.id, message.era, 'cursor is not one of this list: begin without it');
    return { denial: { reason: 'message_refused', error } };
  }
  const sighted = await sightings(call, deps);
  const { rulesRevision } = call.snapshot;
  const version = deps.ports.catalogue.version;
  const key = JSON.stringify([
    call.endpoint.server,
    member,
    person.id,
    person.roles,
    person.groups,
    // Client ids are their issuer's: a namesake may have another ceiling.
    issuer,
    agent,
    actChain,
    keyThumbprint !== null,
    facing.version,
    rulesRevision,
    version,
    after,
  ]);
  const kept = deps.lists.get(key);
  if (kept) return kept;

  const entries = visibleItems(call, deps, kind, sighted, facing);
  const from = after === '' ? 0 : entries.findIndex(({ name }) => name > after);
  const page = from < 0 ? [] : entries.slice(from, from + PAGE);
  const more = from >= 0 && from + PAGE < entries.length;
  const result = listResult(
    facing,
    member,
    page.map(({ definition }) => definition),
    {
      nextCursor: more ? deps.cursors.seal({ ...scope, after: page.at(-1)!.name }) : null,
      ttlMs: LIST_TTL_MS,
    },
  );
  const listed = { result, digest: digestOf(result) };
  deps.lists.set(key, listed);
  return listed;
}

type Sighted = ReadonlyArray<{ readonly server: ServerEntry; readonly sighting: Sighting }>;

/** What the servers of this endpoint were last seen to offer. On the aggregate a server that cannot be asked has nothing to offer now. */
async function sightings(call: Call, deps: GreetingDeps): Promise<Sighted> {
  const { catalogue, clock } = deps.ports;
  const { server } = call.facts;
  if (server) return [{ server, sighting: await catalogue.forLists(server, call.inflight.signal) }];
  const now = clock.now();
  const usable = [...call.snapshot.servers.values()].filter(
    ({ id, inService }) => inService && lockOn(call.snapshot, { server: id }, now) === null,
  );
  const found = await Promise.all(
    usable.map((one) =>
      catalogue.forLists(one, call.inflight.signal).then(
        (sighting) => ({ server: one, sighting }),
        (fault: unknown) => {
          if (!isFault(fault)) throw fault;
          return null;
        },
      ),
    ),
  );
  return found.filter((one) => one !== null);
}

interface Entry {
  /** What the list is ordered by; unique in it. */
  readonly name: string;
  readonly definition: JsonObject;
}

/** Everything of a kind that this caller may use, republished for their revision, in a fixed order (G10). */
export function visibleItems(
  call: Call,
  deps: Pick<GreetingDeps, 'ports'>,
  kind: ListedKind,
  sighted: Sighted,
  facing: Facing,
): readonly Entry[] {
  const entries: Entry[] = [];
  const now = deps.ports.clock.now();
  for (const { server, sighting } of sighted) {
    const add = (name: string, definition: JsonObject): void => {
      const published = republishItem(kind, definition, facing.version, { extensions: server.record.extensions });
      const whole = call.endpoint.server === null ? renameDefinition(kind, published, server.id) : published;
      entries.push({ name: call.endpoint.server === null ? `${server.id} ${name}` : name, definition: whole });
    };
    for (const item of server.tools.values()) {
      if (item.kind === kind && shows(call, deps, item, sighting)) add(item.name, shownDefinition(item));
    }
    if (kind !== 'resource') continue;
    // Listed by the server, reviewed as part of a template: shown while that template is theirs.
    for (const resource of sighting.resources) {
      const uri = resource['uri'] as string;
      if (server.tools.has(itemKey('resource', uri))) continue;
      const found = resolveUri(server, uri);
      const { locks } = call.snapshot;
      const locked = locks === null || lockedUri(locks, server.id, uri, now) !== null;
      if (found && !locked && shows(call, deps, found.item, sighting)) add(uri, resource);
    }
  }
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** As approved; whether it runs as a task is what the reviewer said, if they said so. */
function shownDefinition({ approved }: ToolEntry): JsonObject {
  const { definition, tasks } = approved!;
  return tasks === undefined ? definition : { ...definition, execution: { taskSupport: tasks } };
}

/** Approved as seen, not switched off, not locked, and policy lets this person see it. */
function shows(call: Call, deps: Pick<GreetingDeps, 'ports'>, item: ToolEntry, sighting: Sighting): boolean {
  const now = deps.ports.clock.now();
  return (
    item.facts !== null &&
    item.check !== null &&
    item.switchedOff === null &&
    toolStanding(item.record, sighting.tools.get(item.key) ?? null) === 'approved' &&
    lockOn(call.snapshot, { server: item.server, tool: item.key }, now) === null &&
    maySee(call, item.facts, now)
  );
}
