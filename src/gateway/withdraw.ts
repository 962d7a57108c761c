/**
 * What a new picture of the state means for what was admitted under the old one (TRUST.md R4): calls in flight whose person, agent,
 * server, tool or token no longer stands are cancelled, verified tokens are forgotten, connections to servers out of service are ended.
 * Runs in the same step that puts the new snapshot in force, so the node that acknowledges a revocation has already acted on it.
 */
import { standingRoles } from '../directory/roles.ts';
import type { TokenVerifier } from '../identity/access-token.ts';
import type { Server } from '../inventory/records.ts';
import type { RecordName } from '../store/state.ts';
import type { UpstreamPool } from '../upstream/target.ts';
import type { Catalogue } from './catalogue.ts';
import type { InflightFacts, InflightRegistry } from './inflight.ts';
import { shownTo } from './may-see.ts';
import { principalOf } from './principal.ts';
import type { Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

export interface Withdrawing {
  readonly inflight: InflightRegistry;
  readonly verifier: Pick<TokenVerifier, 'forget'>;
  readonly catalogue: Pick<Catalogue, 'forget'>;
  readonly pool: Pick<UpstreamPool, 'close'>;
}

/** `changed`: the records that changed between the two. */
export function withdraw(
  before: Snapshot,
  after: Snapshot,
  changed: readonly Pick<RecordName, 'kind' | 'id'>[],
  parts: Withdrawing,
  now: number,
): void {
  const kinds = new Set(changed.map(({ kind }) => kind));
  if (before.groupsRevision === after.groupsRevision) kinds.delete('group');
  if (STANDING.some((kind) => kinds.has(kind))) {
    const rights = RIGHTS.some((kind) => kinds.has(kind));
    parts.inflight.cancelWhere((facts) => whyNot(after, facts, rights, now));
    if (STANDING.every((kind) => kind === 'person' || !kinds.has(kind))) forgetPeople(after, changed, parts, now);
    else parts.verifier.forget((caller) => !principalOf(after, caller, now).ok);
  }
  for (const [id, entry] of before.servers) {
    const server = after.servers.get(id);
    const usable = server?.inService === true && lockOn(after, { server: id }, now) === null;
    if (usable && (server.revision === entry.revision || sameService(entry.record, server.record))) continue;
    parts.catalogue.forget(id);
    void parts.pool.close(id, usable ? 'its definition changed' : 'it is not in service');
  }
}

/** Kinds of records that a caller's standing hangs on. */
const STANDING = ['lock', 'person', 'group', 'mapping', 'agent', 'void', 'server', 'organisation'];
/** Those by which somebody who stands can lose a tool: a group taken away is a revocation (TRUST.md R7), and so is a switch (AZ-14). */
const RIGHTS = ['person', 'group', 'mapping', 'agent', 'server'];

function stands({ people, groups }: Snapshot, id: string): boolean {
  const person = people.byId(id);
  return person?.state === 'active' && standingRoles(person, groups).length > 0;
}

/** Many people change one by one while a directory is loaded: only the tokens of those are looked at. */
function forgetPeople(
  after: Snapshot,
  changed: readonly Pick<RecordName, 'kind' | 'id'>[],
  parts: Withdrawing,
  now: number,
): void {
  const people = changed.filter(({ kind }) => kind === 'person').map(({ id }) => id);
  const ids = new Set(people.filter((id) => !stands(after, id)));
  if (ids.size === 0) return;
  parts.verifier.forget((caller) => {
    const person = after.people.byIdentity(caller.issuer, caller.subject);
    return !caller.alone && (!person || (ids.has(person.id) && !principalOf(after, caller, now).ok));
  });
}

/** A new owner or a switch is no reason to end what runs: only what a switch takes away is cancelled, call by call. */
const KEPT_UP: ReadonlySet<string> = new Set(['owner', 'switches', 'approvers', 'reviewBy', 'revocation', 'limits']);

function sameService(before: Server, after: Server): boolean {
  const text = (server: Server): string =>
    JSON.stringify(Object.entries(server).filter(([member]) => !KEPT_UP.has(member)));
  return text(before) === text(after);
}

/** Why a call that is under way may not go on; null while it may. One that is not admitted yet meets the guards instead. */
function whyNot(snapshot: Snapshot, facts: InflightFacts | null, rights: boolean, now: number): string | null {
  if (facts === null) return null;
  const { caller, server, tool } = facts;
  const found = principalOf(snapshot, caller, now);
  if (!found.ok) return found.error.reason === 'locked' ? `lock:${found.error.lock}` : 'standing';
  const lock = lockOn(snapshot, { server, tool }, now);
  if (lock) return `lock:${lock.id}`;
  if (server === null) return null;
  const entry = snapshot.servers.get(server);
  if (!entry?.inService) return 'standing';
  const used = rights && tool !== null ? entry.tools.get(tool) : undefined;
  if (!used?.facts) return null;
  if (used.switchedOff !== null) return 'standing';
  const item = used.facts;
  const { person, ceiling } = found.value;
  return shownTo(person, ceiling, caller, snapshot, item, now) ? null : 'standing';
}
