/**
 * What the log holds. One entry is one canonical JSON text (RFC 8785), at most 8 KiB here (the format allows 65,535 bytes).
 * Payloads never stand in it, only their digests: deleting a payload satisfies erasure while the log stays verifiable.
 * The format is documented in docs/audit-format.md and frozen by a golden log in test/verify/golden.
 */
import type { Digest } from '../lib/canonical-json.ts';

export type EntryKind =
  | 'intent' // a side-effecting call is about to leave
  | 'outcome' // what became of it; `prev` names the intent
  | 'call' // a read-only call and its outcome in one
  | 'denial' // refused, held or challenged, with the true reason
  | 'admin' // a change of governance state, with its revision
  | 'key' // a key came into use or retired
  | 'clock' // nothing happened, and we were here
  | 'incident' // something was contained: a way out refused, a process ended, a planted or own secret seen; `event.what` names it
  | 'gate'; // the gateway opened, closed or recovered (names calls found without an outcome)

export interface Actor {
  readonly issuer: string;
  readonly subject: string;
  /** Directory id; null when the directory does not know them; `agent/<id>` for an agent that acts alone. */
  readonly person: string | null;
  /** Directory id of who answers for an agent that acts alone; left out where a person is behind the call. */
  readonly owner?: string;
  readonly client: string;
  /** `jti` of the access token. */
  readonly token: string;
  /** Actors of a delegation, outermost first. */
  readonly chain: readonly string[];
}

export interface CallFacts {
  readonly id: string;
  readonly era: 'modern' | 'legacy';
  readonly method: string;
  readonly server: string | null;
  readonly tool: string | null;
  /** Digest of the approved tool definition. */
  readonly definition: Digest | null;
  /** Digest of the canonical arguments: equals what the upstream can compute from what it received (AE-10). */
  readonly args: Digest | null;
  readonly risk: string | null;
}

export interface DecisionFacts {
  readonly verdict: 'allow' | 'deny' | 'hold' | 'challenge';
  /** Denial reason code; null when allowed. */
  readonly reason: string | null;
  /** Ids of the policies that decided. */
  readonly rules: readonly string[];
  /** Revision of the snapshot that every guard of this call read. */
  readonly revision: number;
  /** Digest over the active policies. */
  readonly policy: Digest | null;
  readonly approval: string | null;
  /** The guard that stopped the call; null when none did. */
  readonly guard: string | null;
}

export type OutcomeStatus =
  | 'input_required' // the client was asked for something; `parked`: the request to the server is still open, another outcome follows
  | 'ok'
  | 'tool_error' // the tool answered isError
  | 'protocol_error' // the server answered a JSON-RPC error
  | 'not_dispatched' // we know that nothing left
  | 'failed' // it left or may have left, and no usable answer came
  | 'cancelled' // by the caller or by a lock, after dispatch; effects are unknown
  | 'withheld'; // an answer came and was not passed on

export interface OutcomeFacts {
  readonly status: OutcomeStatus;
  /** Short code, never free text of a peer. */
  readonly detail: string | null;
  /** Digest of the canonical result as it went to the caller; null when none did. */
  readonly result: Digest | null;
  readonly ms: number;
  /** What looked at the result and what did not (AE-11), and what was found where: `found:CLASS@POINTER[FROM,TO]=ACTION` (CI-02). */
  readonly inspected: readonly string[];
  /** Messages that left for the client before the reply: how many, and the chained digest of their canonical texts. */
  readonly sent?: { readonly count: number; readonly digest: Digest };
  /** Id of the credential that was presented upstream, never the credential (AE-05). */
  readonly credential?: string | null;
}

export interface AuditEntry {
  readonly v: 1;
  readonly kind: EntryKind;
  /** ISO 8601 with milliseconds, UTC. */
  readonly time: string;
  readonly node: string;
  readonly org: string;
  /** The reference id a caller was shown, and support will quote. */
  readonly ref?: string;
  readonly actor?: Actor;
  readonly call?: CallFacts;
  readonly decision?: DecisionFacts;
  readonly outcome?: OutcomeFacts;
  /** Log index of an earlier entry of the same call; of a retry's intent: of the intent whose call waited for its answers. */
  readonly prev?: number;
  /** W3C trace id. */
  readonly trace?: string;
  /** For admin, key, gate: what, on whose behalf, which revision. Small and flat. */
  readonly event?: Readonly<Record<string, string | number | boolean | null | readonly string[]>>;
}
