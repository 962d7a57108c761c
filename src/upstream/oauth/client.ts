/** Who the gateway is at an authorization server: its client id and how it proves to be it, by the server's record and the metadata. */
import { importJWK, importPKCS8 } from 'jose';
import {
  type AuthorizationServer,
  type Client,
  type ClientAuth,
  ClientSecretPost,
  None,
  PrivateKeyJwt,
} from 'oauth4webapi';
import type { CryptoKey } from 'oauth4webapi';
import type { SecretReference } from '../target.ts';
import type { ClientCredentials } from './auth-target.ts';
import { authFault } from './faults.ts';

export interface Identity {
  readonly client: Client;
  readonly authenticate: ClientAuth;
}

export type ResolveSecret = (reference: SecretReference) => Promise<string>;

/** Methods that only need what `client_secret` holds, and none, in the order in which they are preferred. */
const BY_SECRET = ['client_secret_basic', 'client_secret_post', 'none'] as const;
export type SecretMethod = (typeof BY_SECRET)[number];

const methodsOf = (server: AuthorizationServer): readonly string[] =>
  server.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];

/** What a client that is yet to be registered asks for; null: the server takes none of ours. */
export const registrableMethod = (server: AuthorizationServer): SecretMethod | null =>
  BY_SECRET.find((method) => methodsOf(server).includes(method)) ?? null;

export const isSecretMethod = (method: unknown): method is SecretMethod => BY_SECRET.includes(method as SecretMethod);

/** Secrets are read now and kept by nobody. @throws UpstreamFault, Fault `secret_…` */
export async function configuredIdentity(
  credentials: ClientCredentials,
  server: AuthorizationServer,
  resolveSecret: ResolveSecret,
): Promise<Identity> {
  const { method, id } = credentials;
  if (!methodsOf(server).includes(method))
    throw authFault(
      `the authorization server does not take ${method}; it takes ${methodsOf(server).filter(isWord).join(', ')}`,
    );
  if (method !== 'private_key_jwt') return secretIdentity(id, method, await resolveSecret(credentials.secret));
  const { key, algorithm, keyId } = credentials;
  const algorithms = server.token_endpoint_auth_signing_alg_values_supported;
  if (algorithms !== undefined && !algorithms.includes(algorithm))
    throw authFault(`the authorization server does not take assertions signed with ${algorithm}`);
  const privateKey = await signingKey(await resolveSecret(key), algorithm);
  return {
    client: { client_id: id },
    authenticate: PrivateKeyJwt(keyId === undefined ? privateKey : { key: privateKey, kid: keyId }),
  };
}

export function secretIdentity(id: string, method: SecretMethod, secret: string): Identity {
  return {
    client: { client_id: id },
    authenticate:
      method === 'none' ? None() : method === 'client_secret_post' ? ClientSecretPost(secret) : basic(id, secret),
  };
}

/** No client at all: the assertion says who asks. */
export const nobody: Identity = { client: { client_id: 'none' }, authenticate: () => {} };

/** RFC 6749 section 2.3.1. The library also encodes characters that a form leaves alone, which servers that do not decode refuse. */
function basic(id: string, secret: string): ClientAuth {
  const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);
  const value = Buffer.from(`${encoded(id)}:${encoded(secret)}`).toString('base64');
  return (_server, _client, _body, headers) => headers.set('authorization', `Basic ${value}`);
}

async function signingKey(text: string, algorithm: string): Promise<CryptoKey> {
  try {
    if (text.trimStart().startsWith('{')) {
      const key = await importJWK(JSON.parse(text) as Parameters<typeof importJWK>[0], algorithm);
      if (!(key instanceof Uint8Array)) return key;
    } else return await importPKCS8(text, algorithm);
  } catch {
    // What the parser says could quote the key.
  }
  throw authFault(`the private key of the client is neither PKCS #8 nor a JWK for ${algorithm}`);
}

const isWord = (text: string): boolean => /^[a-z_]{1,40}$/.test(text);
