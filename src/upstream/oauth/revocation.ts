/** Giving tokens back to the authorization server that made them (RFC 7009). What it does with them is its own; nothing here depends on it. */
import {
  type AuthorizationServer,
  allowInsecureRequests,
  customFetch,
  processRevocationResponse,
  revocationRequest,
} from 'oauth4webapi';
import { type Endpoint, dialling } from './token-endpoint.ts';

export interface Revoked {
  /** Tokens that were taken back. */
  readonly revoked: number;
  /** Tokens that are forgotten here and may live on there: no endpoint, or it refused. */
  readonly left: number;
}

export const NOTHING_HELD: Revoked = { revoked: 0, left: 0 };

export const sumOf = (all: readonly Revoked[]): Revoked => ({
  revoked: all.reduce((sum, one) => sum + one.revoked, 0),
  left: all.reduce((sum, one) => sum + one.left, 0),
});

export interface HeldToken {
  readonly value: string;
  readonly hint: 'access_token' | 'refresh_token';
}

/** Best effort, bounded by the dialler; never throws. */
export async function revokeTokens(endpoint: Endpoint | null, tokens: readonly HeldToken[]): Promise<Revoked> {
  let revoked = 0;
  if (endpoint !== null && offers(endpoint.server))
    for (const { value, hint } of tokens) if (await revokeOne(endpoint, value, hint)) revoked++;
  return { revoked, left: tokens.length - revoked };
}

const offers = ({ revocation_endpoint: at }: AuthorizationServer): boolean => at !== undefined;

async function revokeOne(
  { server, client, authenticate, rule }: Endpoint,
  token: string,
  hint: string,
): Promise<boolean> {
  try {
    const response = await revocationRequest(server, client, authenticate, token, {
      additionalParameters: { token_type_hint: hint },
      [customFetch]: dialling(rule, () => undefined),
      [allowInsecureRequests]: true,
    });
    await processRevocationResponse(response);
    return true;
  } catch {
    return false;
  }
}
