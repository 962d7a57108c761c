/**
 * The grants beyond the authorization code, registered with the engine after it is built (and again after each rotation of
 * keys). Which client may use which grant stands in its metadata (`clients.ts`); this decides what a grant is worth.
 */
import type { Provider } from 'oidc-provider';
import type { SharedParts } from '../shared.ts';

export interface RegisteredGrants {
  /** Members of the server's metadata (RFC 8414) that follow from what is registered. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export function registerGrants(_provider: Provider, _shared: SharedParts): RegisteredGrants {
  return { metadata: {} };
}
