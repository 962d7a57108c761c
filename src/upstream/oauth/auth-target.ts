/**
 * How the gateway gets a token for a server, as plain facts. The shapes match `auth` of the server record structurally.
 * Credentials belong to one authorization server: whatever could be shown to another one comes with its `issuer`.
 */
import type { SecretReference } from '../target.ts';

export type ClientCredentials =
  | {
      readonly method: 'client_secret_basic' | 'client_secret_post';
      readonly id: string;
      readonly secret: SecretReference;
    }
  | {
      readonly method: 'private_key_jwt';
      readonly id: string;
      /** PKCS #8 in PEM, or one private JWK. */
      readonly key: SecretReference;
      readonly algorithm: 'ES256' | 'ES384' | 'RS256' | 'PS256' | 'EdDSA';
      readonly keyId?: string;
    };

/** Nothing secret is shown, or the secret is made for whichever authorization server it is. */
export type OpenClient =
  | { readonly method: 'metadata_document'; readonly url: string }
  | { readonly method: 'register'; readonly name: string };

export type CodeClient = ClientCredentials | OpenClient | { readonly method: 'none'; readonly id: string };

interface Common {
  /** Never more than these is asked for. Empty: what the server asks for. */
  readonly scopes: readonly string[];
  /** Tokens bound to a key of this process (RFC 9449). */
  readonly dpop: boolean;
  /** 2025-03-26: a server without metadata of its own, whose origin is its authorization server. */
  readonly unsafeOriginIsAuthorizationServer: boolean;
}

export interface ClientCredentialsAuth extends Common {
  readonly grant: 'client_credentials';
  readonly issuer: string;
  readonly client: ClientCredentials;
}

export interface WorkloadIdentityAuth extends Common {
  readonly grant: 'workload_identity';
  readonly issuer: string;
  /** Read anew for every token. */
  readonly assertion: SecretReference;
}

export interface EnterpriseManagedAuth extends Common {
  readonly grant: 'enterprise_managed';
  readonly issuer: string;
  readonly client: ClientCredentials;
  readonly identityProvider: {
    readonly issuer: string;
    readonly client: ClientCredentials;
    /** `caller`: the person who calls, by the token of the call, which must be of this identity provider. */
    readonly subject:
      | 'caller'
      | { readonly token: SecretReference; readonly type: 'id_token' | 'refresh_token' | 'saml2' };
  };
}

export interface AuthorizationCodeAuth extends Common {
  readonly grant: 'authorization_code';
  /** Left out only for clients that show no secret of ours. */
  readonly issuer?: string;
  readonly client: CodeClient;
  /** `person`: everybody links their own account. Left out: one account for all, which an operator connects. */
  readonly per?: 'server' | 'person';
}

/** On behalf of the caller (RFC 8693), at the issuer of the caller's token. */
export interface TokenExchangeAuth extends Common {
  readonly grant: 'token_exchange';
  readonly issuer: string;
  readonly client: ClientCredentials;
  /** Logical name of the server there, where `resource` is not enough. */
  readonly audience?: string;
}

export type AuthTarget =
  | ClientCredentialsAuth
  | WorkloadIdentityAuth
  | EnterpriseManagedAuth
  | AuthorizationCodeAuth
  | TokenExchangeAuth;

/** Whose tokens they are: one account for everybody, one of each person, or one of each caller's token. */
export function accountsOf(auth: AuthTarget | undefined): 'shared' | 'linked' | 'exchanged' {
  if (auth?.grant === 'token_exchange') return 'exchanged';
  if (auth?.grant === 'enterprise_managed' && auth.identityProvider.subject === 'caller') return 'exchanged';
  return auth?.grant === 'authorization_code' && auth.per === 'person' ? 'linked' : 'shared';
}
