/**
 * What the gateway says about itself as an OAuth protected resource: the metadata document (RFC 9728 2 and 3) and the
 * WWW-Authenticate challenges (RFC 6750 3, RFC 9728 5.1, RFC 9449 7.1; PROTOCOL O1-O9). Pure texts; nothing is decided here.
 */
import { Fault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { type TokenProblem, publicDescription } from './token-problem.ts';

export interface ResourceFacts {
  /** The canonical URL that clients use, byte for byte: it is also the audience of their tokens. No query, no fragment. */
  readonly resource: string;
  readonly name: string;
  /** Issuers, at least one. */
  readonly authorizationServers: readonly string[];
  /** The smallest set a client needs to begin with. */
  readonly scopesSupported: readonly string[];
  /** Every scope there is, in plain words, for consent pages (`remit_scopes`). */
  readonly scopes: readonly { readonly scope: string; readonly description: string; readonly risk?: string }[];
  readonly documentation?: string;
  /** Proofs of possession, where they can be used. `required`: a token that is bound to no key is worth nothing here. */
  readonly proofs?: { readonly algorithms: readonly string[]; readonly required: boolean };
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]+$/; // RFC 6749 3.3: without space, quote and backslash

/** @throws Fault `resource_metadata` for facts that clients would refuse or that ask for too much (O8). */
export function resourceMetadata(facts: ResourceFacts): JsonObject {
  metadataUrl(facts.resource);
  if (facts.authorizationServers.length === 0) throw wrong('name at least one authorization server');
  for (const scope of [...facts.scopesSupported, ...facts.scopes.map(({ scope }) => scope)]) {
    if (!SCOPE_TOKEN.test(scope)) throw wrong(`"${scope}" is not a scope`);
    if (scope === 'offline_access' || scope.includes('*'))
      throw wrong(`"${scope}" must not be advertised by a resource`);
  }
  return {
    resource: facts.resource,
    resource_name: facts.name,
    authorization_servers: facts.authorizationServers,
    scopes_supported: facts.scopesSupported,
    bearer_methods_supported: ['header'],
    ...(facts.documentation !== undefined && { resource_documentation: facts.documentation }),
    ...(facts.proofs && {
      dpop_signing_alg_values_supported: facts.proofs.algorithms,
      dpop_bound_access_tokens_required: facts.proofs.required,
    }),
    remit_scopes: facts.scopes.map(({ scope, description, risk }) => ({
      scope,
      description,
      ...(risk !== undefined && { risk }),
    })),
  };
}

/** `/mcp/default/github` -> `/.well-known/oauth-protected-resource/mcp/default/github`; a bare `/` adds nothing (RFC 9728 3.1). */
export function metadataPath(resourcePath: string): string {
  return resourcePath === '/' ? WELL_KNOWN : WELL_KNOWN + resourcePath;
}

/** @throws Fault `resource_metadata` when the resource is not an http(s) URL in canonical form. */
export function metadataUrl(resource: string): string {
  const url = URL.parse(resource);
  if (url === null || !/^https?:$/.test(url.protocol)) throw wrong('the resource is not an http(s) URL');
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    throw wrong('the resource has a query, a fragment or user information');
  }
  // Clients compare byte by byte; the origin alone may be written without its slash.
  if (url.href !== resource && url.href !== `${resource}/`) throw wrong(`write the resource as ${url.href}`);
  return url.origin + metadataPath(url.pathname);
}

function wrong(what: string): Fault {
  return new Fault('resource_metadata', `protected resource metadata: ${what}`);
}

/** Named where the answer must be a token bound to a key, and a proof signed by one of these: then the scheme is DPoP. */
interface Scheme {
  readonly proofAlgorithms?: readonly string[] | null;
}

export interface Challenge401 extends Scheme {
  readonly metadataUrl: string;
  /** Scopes, separated by spaces, that a first token should carry. Empty: not named. */
  readonly scope: string;
  /** Whether the request carried any credentials. Only then is there an error to name: clients refresh on `invalid_token` (O4). */
  readonly presented: boolean;
  readonly problem?: TokenProblem['kind'];
  /** Default: `invalid_token`. */
  readonly error?: 'invalid_token' | 'invalid_dpop_proof' | 'use_dpop_nonce';
}

/** The value of WWW-Authenticate for a 401. Text that does not belong in a quoted string is replaced, never escaped. */
export function challenge401(facts: Challenge401): string {
  const { metadataUrl, scope, presented, problem, error = 'invalid_token' } = facts;
  const pairs: [string, string][] = presented
    ? [
        ['error', error],
        ['error_description', problem === undefined ? 'The access token is not valid' : publicDescription(problem)],
      ]
    : [];
  pairs.push(['resource_metadata', metadataUrl]);
  if (scope !== '') pairs.push(['scope', scope]);
  return challenge(pairs, facts);
}

/**
 * The value of WWW-Authenticate for a 403 that more scope would cure; name all scopes of the operation (O5, AN-06).
 * Do not send it when no scope can help (O9): clients would ask again and again.
 */
export function challenge403(
  facts: Scheme & {
    readonly metadataUrl: string;
    readonly scopes: readonly string[];
    readonly description: string;
  },
): string {
  const pairs: [string, string][] = [
    ['error', 'insufficient_scope'],
    ['scope', facts.scopes.join(' ')],
    ['resource_metadata', facts.metadataUrl],
    ['error_description', facts.description],
  ];
  return challenge(pairs, facts);
}

/** The value of WWW-Authenticate for a 401 that another sign-in would cure (RFC 9470 section 3). */
export function challengeStepUp(
  facts: Scheme & {
    readonly metadataUrl: string;
    readonly maxAgeSeconds: number | null;
    readonly acrValues: readonly string[];
  },
): string {
  const pairs: [string, string][] = [
    ['error', 'insufficient_user_authentication'],
    ['error_description', 'A more recent or stronger sign-in is needed'],
  ];
  if (facts.maxAgeSeconds !== null) pairs.push(['max_age', String(facts.maxAgeSeconds)]);
  if (facts.acrValues.length > 0) pairs.push(['acr_values', facts.acrValues.join(' ')]);
  pairs.push(['resource_metadata', facts.metadataUrl]);
  return challenge(pairs, facts);
}

/** RFC 6750 3: values are printable ASCII without quote and backslash, so nothing can end the quoted string early. */
function challenge(pairs: [string, string][], { proofAlgorithms }: Scheme): string {
  if (proofAlgorithms) pairs.unshift(['algs', proofAlgorithms.join(' ')]);
  return `${proofAlgorithms ? 'DPoP' : 'Bearer'} ${pairs.map(([name, value]) => `${name}="${value.replace(/[^\x20\x21\x23-\x5B\x5D-\x7E]/g, '_')}"`).join(', ')}`;
}
