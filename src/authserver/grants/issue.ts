/**
 * Makes the access token that a grant decided on: one resource, no refresh token, bound to a key where one was proved. What a grant says of
 * the token (organisation, chain of actors, how the person signed in) reaches the engine's one place for claims by `claimsOfGrant`.
 * Decides nothing. RFC 9068, 8693 4.1.
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { JsonObject } from '../../lib/json.ts';
import type { ProtectedResource } from '../resources.ts';
import type { Proof } from './proof.ts';
import { consumeProof } from './proof.ts';

export interface Issuance {
  /** The account; null: the client acts alone, `sub` is the client. */
  readonly accountId: string | null;
  /** The `client_id` of the token. For workloads the agent of the rule, which is no registered client. */
  readonly client: { readonly clientId: string };
  readonly resource: ProtectedResource;
  readonly scopes: readonly string[];
  readonly lifetimeSeconds: number;
  /** The grant that the token hangs on; null for agents that act alone: they hang on nothing but their client. */
  readonly grantId: string | null;
  readonly sessionId: string | null;
  readonly proof: Proof | null;
  /** Beside the registered ones, which win. */
  readonly claims: JsonObject;
  readonly grant: string;
}

const CLAIMS = new WeakMap<object, JsonObject>();

/** What a grant of this folder says of a token; undefined for tokens of any other grant. */
export const claimsOfGrant = (token: object): JsonObject | undefined => CLAIMS.get(token);

/** Signs the token and answers the request. */
export async function issueToken(
  provider: Provider,
  ctx: KoaContextWithOIDC,
  issuance: Issuance,
  /** Of the decision, in seconds: the token ends as was decided, however long signing takes. */
  now: number,
): Promise<{ readonly tokenId: string }> {
  const { resource, accountId, grantId, sessionId, proof } = issuance;
  const server = new provider.ResourceServer(resource.resource, {
    scope: [...resource.offered.keys()].join(' '),
    audience: resource.resource,
    accessTokenFormat: 'jwt',
    accessTokenTTL: issuance.lifetimeSeconds,
    jwt: { sign: { alg: 'ES256' } },
  });
  const common = {
    // The engine takes the id alone from it, and holds the two against each other.
    client: issuance.client as NonNullable<KoaContextWithOIDC['oidc']['client']>,
    scope: issuance.scopes.join(' '),
    expiresIn: issuance.lifetimeSeconds,
    exp: now + issuance.lifetimeSeconds,
  };
  const token =
    accountId === null
      ? new provider.ClientCredentials(common)
      : new provider.AccessToken({
          ...common,
          accountId,
          grantId: grantId ?? '',
          gty: issuance.grant,
          ...(sessionId !== null && { sid: sessionId }),
        });
  token.resourceServer = server;
  CLAIMS.set(token, { ...issuance.claims, ...(grantId !== null && { grant_id: grantId }) });
  if (proof !== null) {
    await consumeProof(provider, ctx, proof);
    token.setThumbprint('jkt', proof.thumbprint);
  }
  ctx.oidc.entity(accountId === null ? 'ClientCredentials' : 'AccessToken', token);
  const value = await token.save();
  ctx.body = {
    access_token: value,
    token_type: token.tokenType,
    expires_in: issuance.lifetimeSeconds,
    scope: issuance.scopes.join(' '),
  };
  return { tokenId: String((token as unknown as { jti?: string }).jti) };
}
