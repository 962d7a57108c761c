/**
 * Whose account a token is of, where a server has an account per person. INVARIANT: accounts are kept by `key`, and a token of one key is
 * never on a connection of another. The token of a caller is shown to the issuer that made it and to nobody else (AN-04, RFC 8693).
 */
import { authFault } from './faults.ts';

export interface CallersToken {
  readonly issuer: string;
  readonly value: string;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

export interface Holder {
  /** Directory id, or `agent/ID` of an agent that acts alone. */
  readonly person: string;
  /** Tells rights apart: equal keys share tokens. */
  readonly key: string;
  /** What the call came with; null where nothing is exchanged. */
  readonly token: CallersToken | null;
}

/** @throws UpstreamFault: the issuer of the caller's token is another one, or the token has ended */
export function tokenFor(holder: Holder, issuer: string, now: number): string {
  const { token } = holder;
  // ATTACKER-CONTROLLED: the record. Whoever could name any issuer here would collect the tokens of all callers.
  if (token === null || token.issuer !== issuer)
    throw authFault('the token of the caller is of another issuer than the one that the server exchanges tokens at');
  if (token.expiresAt <= now) throw authFault('the token of the caller has ended');
  return token.value;
}
