/** What is known of a client when a policy is asked about it, and what policies of this server look like. Decides nothing. */
import type { Client } from 'oidc-provider';
import { REGISTERED_PREFIX } from './clients.ts';
import type { SignedInPerson } from './users.ts';

export interface ClientFacts {
  readonly clientId: string;
  readonly name: string;
  /** Host of its metadata document; null for a pre-registered client. */
  readonly vouchedBy: string | null;
  /** By dynamic registration (RFC 7591): nobody here knows who it is. */
  readonly registeredItself: boolean;
  readonly redirectUris: readonly string[];
}

export type ClientPolicy = (
  client: ClientFacts,
) => { readonly allow: true } | { readonly allow: false; readonly reason: string };

/** More claims for an access token. Must not repeat the registered ones; they win. */
export type TokenClaims = (facts: {
  readonly person: SignedInPerson;
  readonly client: ClientFacts;
  readonly resource: string;
}) => Readonly<Record<string, unknown>>;

export function clientFacts(client: Client): ClientFacts {
  return {
    clientId: client.clientId,
    name: client.clientName ?? client.clientId,
    vouchedBy: client.clientIdMetadataDocument === true ? (URL.parse(client.clientId)?.hostname ?? null) : null,
    registeredItself: client.clientId.startsWith(REGISTERED_PREFIX),
    redirectUris: client.redirectUris ?? [],
  };
}
