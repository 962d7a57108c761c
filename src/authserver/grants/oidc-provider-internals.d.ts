/** The engine's reader of DPoP proofs, which its types leave out (oidc-provider ~9.13). */
declare module 'oidc-provider/lib/helpers/validate_dpop.js' {
  import type { KoaContextWithOIDC, Provider } from 'oidc-provider';

  interface ValidProof {
    readonly thumbprint: string;
  }
  export default function validateDpop(provider: Provider, ctx: KoaContextWithOIDC): Promise<ValidProof | undefined>;
  export function checkDpopReplay(
    provider: Provider,
    ctx: KoaContextWithOIDC,
    proof: ValidProof,
    clientId: string,
  ): Promise<void>;
}
