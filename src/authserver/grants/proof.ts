/**
 * Possession of a key shown at the token endpoint (DPoP, RFC 9449 5), by the engine's own reader: the same algorithms, nonces and replay rule
 * as for every other grant. The one place that reaches into the engine; its version is pinned.
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import validateDpop, { checkDpopReplay } from 'oidc-provider/lib/helpers/validate_dpop.js';

export interface Proof {
  /** SHA-256 thumbprint of the key (RFC 7638). */
  readonly thumbprint: string;
}

/** Null: none was sent, or the server offers no DPoP. @throws invalid_dpop_proof, use_dpop_nonce */
export async function readProof(provider: Provider, ctx: KoaContextWithOIDC): Promise<Proof | null> {
  return (await validateDpop(provider, ctx)) ?? null;
}

/** A proof counts once. @throws invalid_grant for one that was used */
export async function consumeProof(provider: Provider, ctx: KoaContextWithOIDC, proof: Proof): Promise<void> {
  await checkDpopReplay(provider, ctx, proof, ctx.oidc.client?.clientId ?? '');
}
