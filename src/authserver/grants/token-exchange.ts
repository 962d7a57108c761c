/**
 * An agent hands a part of its task to another (RFC 8693): the other one exchanges a token of ours, that it was given, for a narrower one of
 * its own. The person stays, the chain of who acts for them grows, scopes and time only shrink, and the token hangs on the first grant: what
 * ends that ends this. Only where a rule names both clients and the resource. CONTROLS ID-06.
 */
import { createPublicKey } from 'node:crypto';
import type { Json, JsonObject } from '../../lib/json.ts';
import { isJsonObject } from '../../lib/json.ts';
import { ok } from '../../lib/result.ts';
import type { Issuance } from './issue.ts';
import type { Proof } from './proof.ts';
import type { Decision } from './refusal.ts';
import { refuse } from './refusal.ts';
import type { GrantParts, TokenRequest } from './request.ts';
import { askedScopes, findResource, grantHandler, settleAll } from './request.ts';
import { isName, isTime, readScopes, readSignedText, signatureHolds, textOf } from './signed-text.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

/** Claims of a token and not of its person. */
const OF_ONE_TOKEN: ReadonlySet<string> = new Set(
  'iss sub aud exp iat nbf jti client_id scope act may_act cnf grant_id authorization_details'.split(' '),
);

/** Any chain that could have come from us is shorter. */
const MAX_CHAIN = 10;

export interface SubjectFacts {
  readonly type: string | null;
  readonly claims: Readonly<Record<string, Json | undefined>>;
  /** Ours. */
  readonly issuer: string;
  /** Who exchanges. */
  readonly clientId: string;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly maxDepth: number;
  /** The key that the exchanging client showed. */
  readonly proof: Proof | null;
}

/** How often a task has been handed on when this client has it: the first exchange names two, giver and taker; each further one adds one. */
export const depthAfter = (act: Json | undefined): number => Math.max(1, actors(act)?.length ?? MAX_CHAIN);

/** Each row refuses what its name says. A table, so that a test can take one out and see what it held back. */
export const SUBJECT_TOKEN_CHECKS: Readonly<Record<string, (facts: SubjectFacts) => boolean>> = {
  type: ({ type }) => type === 'at+jwt',
  issuer: ({ claims, issuer }) => claims['iss'] === issuer,
  claims: ({ claims }) =>
    ['sub', 'client_id', 'jti', 'aud'].every((name) => isName(claims[name])) && readScopes(claims['scope']) !== null,
  expiry: ({ claims }) => isTime(claims['exp']) && isTime(claims['iat']),
  // No tolerance: both clocks are ours.
  expired: ({ claims, now }) => Number(claims['exp']) > now,
  not_before: ({ claims: { nbf }, now }) => nbf === undefined || (isTime(nbf) && nbf <= now),
  // Somebody must be there to act for. An agent's own token is the agent's alone.
  person: ({ claims }) => claims['sub'] !== claims['client_id'],
  // Without it nobody could end what comes of it.
  grant: ({ claims }) => isName(claims['grant_id']),
  chain: ({ claims }) => actors(claims['act']) !== null,
  depth: ({ claims, maxDepth }) => depthAfter(claims['act']) <= maxDepth,
  may_act: ({ claims: { may_act: mayAct }, clientId, issuer }) =>
    mayAct === undefined ||
    (isJsonObject(mayAct) &&
      Object.keys(mayAct).every((name) => name === 'sub' || name === 'iss') &&
      mayAct['sub'] === clientId &&
      (mayAct['iss'] === undefined || mayAct['iss'] === issuer)),
  // Bound to a key: what comes of it must be bound to one as well, or the exchange would be the way to lose the binding.
  key: ({ claims, proof }) => claims['cnf'] === undefined || proof !== null,
};

/** The first check that fails; null when all hold. */
export function subjectTokenProblem(
  facts: SubjectFacts,
  checks: typeof SUBJECT_TOKEN_CHECKS = SUBJECT_TOKEN_CHECKS,
): string | null {
  return Object.entries(checks).find(([, holds]) => !holds(facts))?.[0] ?? null;
}

/** From the outermost in; null when it is no chain. */
function actors(act: Json | undefined): readonly string[] | null {
  const chain: string[] = [];
  for (let actor = act; actor !== undefined;) {
    if (!isJsonObject(actor) || chain.length === MAX_CHAIN || !isName(actor['sub'])) return null;
    chain.push(actor['sub']);
    actor = (actor as Record<string, Json | undefined>)['act'];
  }
  return chain;
}

/** The taker, then everybody before: the client of the subject token too, which stands in no `act` when it was the first. */
export function chainWith(taker: string, claims: Readonly<Record<string, Json | undefined>>): JsonObject {
  const before = actors(claims['act']) ?? [];
  const giver = textOf(claims['client_id']);
  const chain = [taker, ...(before[0] === giver ? before : [giver, ...before])];
  return chain.reduceRight<JsonObject>(
    (inner, sub) => (Object.keys(inner).length === 0 ? { sub } : { sub, act: inner }),
    {},
  );
}

export function tokenExchange(parts: GrantParts) {
  const { rules, maxDepth } = parts.settings.grants.tokenExchange;
  const handler = grantHandler(parts, TOKEN_EXCHANGE, async (request, proof) => {
    const subject = await readSubject(parts, request, proof, maxDepth);
    if (!subject.ok) return subject;
    const claims = subject.value;
    const giver = textOf(claims['client_id']);
    request.seen['sub'] = claims['sub'];
    request.seen['from'] = giver;

    const own = rules.filter(({ client, from }) => client === request.clientId && from.includes(giver));
    if (own.length === 0) return refuse('unauthorized_client', 'no_rule');
    const resource = await findResource(
      parts,
      request.param('resource') ?? textOf(claims['aud']),
      textOf(claims['org']),
    );
    if (!resource.ok) return resource;
    const to = own.flatMap((rule) => rule.to).filter((one) => one.resource === resource.value.resource);
    if (to.length === 0) return refuse('invalid_target', 'resource_not_allowed');
    const had = readScopes(claims['scope']) ?? [];
    const same = resource.value.resource === claims['aud'];
    const may = to.flatMap(({ scopes }) => scopes).filter((scope) => !same || had.includes(scope));
    const scopes = settleAll(askedScopes(request), may, resource.value);
    if (!scopes.ok) return scopes;

    const { grant_id: grantId, sid } = claims;
    return ok({
      accountId: textOf(claims['sub']),
      client: request.ctx.oidc.client!,
      resource: resource.value,
      scopes: scopes.value,
      lifetimeSeconds: Math.min(parts.settings.lifetimes.accessSeconds, Number(claims['exp']) - request.now),
      grantId: textOf(grantId),
      sessionId: isName(sid) ? sid : null,
      claims: {
        // What we said of the person holds on: organisation, sign-in, forwarded groups.
        ...Object.fromEntries(Object.entries(claims).filter(([name]) => !OF_ONE_TOKEN.has(name))),
        act: chainWith(request.clientId, claims),
      },
    } satisfies Omit<Issuance, 'grant' | 'proof'>);
  });
  return async (ctx: Parameters<typeof handler>[0]): Promise<void> => {
    await handler(ctx);
    ctx.body = { ...(ctx.body as object), issued_token_type: ACCESS_TOKEN };
  };
}

/** The claims of a subject token that may be exchanged at all, whoever asks. What is wrong with it is not told (RFC 8693 2.2.2). */
async function readSubject(
  parts: GrantParts,
  request: TokenRequest,
  proof: Proof | null,
  maxDepth: number,
): Promise<Decision<JsonObject>> {
  if (!request.authenticated) return refuse('invalid_client', 'public_client');
  if (request.param('actor_token') !== null || request.param('actor_token_type') !== null)
    return refuse('invalid_request', 'actor_token');
  if (request.param('audience') !== null) return refuse('invalid_request', 'audience');
  if ((request.param('requested_token_type') ?? ACCESS_TOKEN) !== ACCESS_TOKEN)
    return refuse('invalid_request', 'requested_token_type');
  const text = request.param('subject_token');
  if (text === null) return refuse('invalid_request', 'subject_token_missing');
  if (request.param('subject_token_type') !== ACCESS_TOKEN) return refuse('invalid_request', 'subject_token_type');

  const wrong = (reason: string): Decision<never> => {
    request.seen['subjectToken'] = reason;
    return refuse('invalid_request', 'subject_token');
  };
  const read = readSignedText(text);
  if (!read.ok) return wrong(read.error);
  const { claims, keyId, algorithm, type } = read.value;
  const key = parts.keys.published().find(({ kid }) => kid === keyId);
  if (key === undefined) return wrong('key_unknown');
  if (algorithm !== key.alg) return wrong('algorithm');
  const publicKey = createPublicKey({ key: { ...key }, format: 'jwk' });
  if (!(await signatureHolds(text, publicKey, algorithm))) return wrong('signature');
  const { issuer } = parts;
  const { clientId, now } = request;
  const problem = subjectTokenProblem({ type, claims, issuer, clientId, now, maxDepth, proof });
  if (problem !== null) return wrong(problem);
  const subject = {
    jti: textOf(claims['jti']),
    iat: Number(claims['iat']),
    sub: textOf(claims['sub']),
    grantId: textOf(claims['grant_id']),
    sid: isName(claims['sid']) ? claims['sid'] : null,
  };
  // Whoever had it before counts too: an agent that was ended takes along what it handed on.
  const holders = [textOf(claims['client_id']), ...(actors(claims['act']) ?? [])];
  if (holders.some((holder) => parts.endings.isVoid({ ...subject, clientId: holder }))) return wrong('ended');
  return parts.disabled.has(textOf(claims['sub'])) ? wrong('account_disabled') : ok(claims);
}
