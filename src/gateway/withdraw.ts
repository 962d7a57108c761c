/**
 * What a new picture of the state means for what was admitted under the old one (TRUST.md R4): calls in flight whose person, agent,
 * server, tool or token no longer stands are cancelled, verified tokens are forgotten, connections to servers out of service are ended.
 * Runs in the same step that puts the new snapshot in force, so the node that acknowledges a revocation has already acted on it.
 */
import { personFor, personStanding } from '../directory/standing.ts';
import type { TokenVerifier } from '../identity/access-token.ts';
import type { UpstreamPool } from '../upstream/target.ts';
import type { Catalogue } from './catalogue.ts';
import type { InflightFacts, InflightRegistry } from './inflight.ts';
import type { Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

export interface Withdrawing {
  readonly inflight: InflightRegistry;
  readonly verifier: Pick<TokenVerifier, 'forget'>;
  readonly catalogue: Pick<Catalogue, 'forget'>;
  readonly pool: Pick<UpstreamPool, 'close'>;
}

/** `kinds`: the record kinds that changed between the two. */
export function withdraw(
  before: Snapshot,
  after: Snapshot,
  kinds: ReadonlySet<string>,
  parts: Withdrawing,
  now: number,
): void {
  if (kinds.has('lock') || kinds.has('person') || kinds.has('server') || kinds.has('organisation')) {
    parts.inflight.cancelWhere((facts) => whyNot(after, facts, now));
    parts.verifier.forget(({ issuer, subject, clientId, tokenId }) => {
      const person = personFor(after.people, issuer, subject);
      const who = { person: person?.id ?? null, agent: clientId, token: tokenId };
      return personStanding(person) !== 'active' || lockOn(after, who, now) !== null;
    });
  }
  for (const [id, entry] of before.servers) {
    const server = after.servers.get(id);
    const usable = server?.record.state === 'enabled' && lockOn(after, { server: id }, now) === null;
    if (usable && server.revision === entry.revision) continue;
    parts.catalogue.forget(id);
    void parts.pool.close(id, usable ? 'its definition changed' : 'it is not in service');
  }
}

/** Why a call that is under way may not go on; null while it may. One that is not admitted yet meets the guards instead. */
function whyNot(snapshot: Snapshot, facts: InflightFacts | null, now: number): string | null {
  if (facts === null) return null;
  const { issuer, subject, agent, server, tool, token } = facts;
  const person = personFor(snapshot.people, issuer, subject);
  const lock = lockOn(snapshot, { person: person?.id ?? null, agent, server, tool, token }, now);
  if (lock) return `lock:${lock.id}`;
  const inService = server === null || snapshot.servers.get(server)?.record.state === 'enabled';
  const stands = personStanding(person) === 'active' && inService;
  return stands ? null : 'standing';
}
