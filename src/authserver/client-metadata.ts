/**
 * What becomes of a client's metadata, whatever its source, before the engine checks it: configured clients are taken as
 * configured, documents and registrations are held to what strangers may have. Changes the metadata in place, as the engine wants it.
 */
import { errors } from 'oidc-provider';
import type { ClientMetadata } from 'oidc-provider';
import { REGISTERED_PREFIX, isNativeByRedirect, metadataProblem } from './clients.ts';
import type { Registration } from './registration.ts';

/** What a client gets that says nothing, and the most that one without a key may ask for. */
export const PUBLIC_GRANT_TYPES = ['authorization_code', 'refresh_token'];

/** Grants that a client may have which nobody here registered. Acting alone is for clients that an administrator named. */
function mayAskFor(metadata: ClientMetadata): readonly string[] {
  return metadata.token_endpoint_auth_method === 'private_key_jwt'
    ? [...PUBLIC_GRANT_TYPES, 'urn:ietf:params:oauth:grant-type:jwt-bearer']
    : PUBLIC_GRANT_TYPES;
}

/** @returns the change. It throws invalid_client_metadata, or invalid_redirect_uri. */
export function clientMetadata(
  clients: readonly ClientMetadata[],
  registration: Registration,
): (metadata: ClientMetadata) => void {
  const configured = new Set(clients.map((client) => client.client_id));
  return (metadata) => {
    // Anything but `query` needs a script or leaves the code in the browser.
    metadata.response_modes = ['query'];
    metadata.id_token_signed_response_alg = 'ES256';
    delete metadata.scope;
    // A fetch that nothing here needs.
    delete metadata.sector_identifier_uri;
    if (configured.has(metadata.client_id)) return;
    const problem = metadataProblem(metadata);
    if (problem !== null) throw new errors.InvalidClientMetadata(problem);
    if (metadata.client_id.startsWith(REGISTERED_PREFIX)) {
      const refused = registration.problem(metadata);
      if (refused !== null) throw new errors.InvalidClientMetadata(refused);
      // The engine makes one for a client that did not say how it authenticates.
      delete metadata.client_secret;
      delete metadata.client_secret_expires_at;
    }
    metadata.application_type = isNativeByRedirect(metadata.redirect_uris ?? []) ? 'native' : 'web';
    // Documents are written for every server; what this one has not is left out, not held against the client.
    metadata.grant_types = (metadata.grant_types ?? []).filter((grant) => mayAskFor(metadata).includes(grant));
  };
}
