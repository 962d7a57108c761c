/**
 * Where a token must be bound to a key (AN-13): the record of the server says so. Whether a proof holds is `identity/dpop.ts`;
 * whoever passed `token-is-ours` with a bound token has proved possession for this request.
 */
import { PROOF_ALGORITHMS } from '../identity/dpop.ts';
import type { Call } from './call.ts';
import type { Snapshot } from './snapshot.ts';

/** Null, an aggregate or a server without a record: a bearer token will do. */
export function wantsProof(snapshot: Snapshot, server: string | null): boolean {
  return server !== null && snapshot.servers.get(server)?.record.tokens === 'dpop';
}

/** What a challenge names, to a client that needs a proof here or has tried one; null for all others. */
export function proofAlgorithms(call: Call): readonly string[] | null {
  const tried = /^dpop /i.test(String(call.headers['authorization'] ?? ''));
  return tried || wantsProof(call.snapshot, call.endpoint.server) ? PROOF_ALGORITHMS : null;
}
