/**
 * The server's metadata (RFC 8414) as it is true: the engine's list, without what no client may use here, with what it does
 * not say by itself. Does not decide what is on.
 */
const SECRET_OR_KEY = ['private_key_jwt', 'client_secret_basic', 'client_secret_post'];

export function truthfulMetadata(
  engineSays: Readonly<Record<string, unknown>>,
  more: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const signing = engineSays['token_endpoint_auth_signing_alg_values_supported'];
  return {
    ...engineSays,
    ...more,
    // The engine lists modes that no client may use here.
    response_modes_supported: ['query'],
    revocation_endpoint_auth_methods_supported: ['none', ...SECRET_OR_KEY],
    revocation_endpoint_auth_signing_alg_values_supported: signing,
    // Public clients may not ask what a token is worth.
    introspection_endpoint_auth_methods_supported: SECRET_OR_KEY,
    introspection_endpoint_auth_signing_alg_values_supported: signing,
  };
}
