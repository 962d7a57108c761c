/**
 * One grant type, two grants (RFC 7523 2.1): an assertion about a person, by a client that authenticates, and one about a program, by whoever
 * is that program. The header's type tells which, and each kind of issuer counts on its own side only. A program has no registration, and the
 * engine knows no request without a client: it gets one that exists for nothing else.
 */
import type { ClientMetadata, KoaContextWithOIDC, Provider } from 'oidc-provider';
import { decideIdentityAssertion, ID_JAG } from './identity-assertion.ts';
import type { GrantParts } from './request.ts';
import { grantHandler } from './request.ts';
import { refuse } from './refusal.ts';
import { readSignedText } from './signed-text.ts';
import { decideWorkload, WORKLOAD_CLIENT } from './workload.ts';

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

type Context = KoaContextWithOIDC['oidc'];

/** Requests of programs, with the client id that they named, if they did. */
const NAMED = new WeakMap<Context, string | null>();

export function jwtBearer(parts: GrantParts) {
  return grantHandler(parts, JWT_BEARER, async (request, proof) => {
    const text = request.param('assertion');
    if (text === null) return refuse('invalid_request', 'assertion_missing');
    const read = readSignedText(text);
    if (!read.ok) return refuse('invalid_grant', read.error);
    const assertion = { text, read: read.value };
    const named = NAMED.get(request.ctx.oidc);
    if (named !== undefined) return decideWorkload(parts, request, assertion, named);
    if (request.clientId === WORKLOAD_CLIENT) return refuse('invalid_client', 'not_a_workload');
    return decideIdentityAssertion(parts, request, proof, assertion);
  });
}

/** For the list of clients of the engine. */
export const workloadClient: ClientMetadata = {
  client_id: WORKLOAD_CLIENT,
  client_name: 'Workloads',
  token_endpoint_auth_method: 'none',
  grant_types: [JWT_BEARER],
  response_types: [],
  redirect_uris: [],
};

/**
 * Puts the client of programs into requests that show an assertion of a program and nothing by which a client authenticates. The engine
 * assigns the parsed body before it looks for a client; nothing it offers lies between the two.
 */
export function admitWorkloads(provider: Provider): void {
  const bodies = new WeakMap<Context, unknown>();
  Object.defineProperty(provider.OIDCContext.prototype, 'body', {
    configurable: true,
    get(this: Context) {
      return bodies.get(this);
    },
    set(this: Context & { readonly ctx: KoaContextWithOIDC }, body: unknown) {
      const asked = this.route === 'token' ? workloadRequest(this.ctx, body) : null;
      if (asked !== null) NAMED.set(this, asked.client);
      bodies.set(this, asked === null ? body : { ...(body as object), client_id: WORKLOAD_CLIENT });
    },
  });
}

/** ATTACKER-CONTROLLED: everything. What is no program's request goes the usual way, where a client is looked for. */
function workloadRequest(ctx: KoaContextWithOIDC, body: unknown): { readonly client: string | null } | null {
  if (typeof body !== 'object' || body === null || ctx.get('authorization') !== '') return null;
  const {
    grant_type: grant,
    assertion,
    client_assertion: signed,
    client_secret: secret,
    client_id: client,
  } = body as {
    readonly [name: string]: unknown;
  };
  if (grant !== JWT_BEARER || typeof assertion !== 'string' || Boolean(signed) || Boolean(secret)) return null;
  const read = readSignedText(assertion);
  if (read.ok && read.value.type === ID_JAG) return null;
  if (client !== undefined && typeof client !== 'string') return null;
  return { client: client === undefined || client === '' ? null : client };
}
