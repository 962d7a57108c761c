/**
 * From the claims of a token whose signature held to a Caller (RFC 9068 2.2 and 4, RFC 8693 4.1).
 * Promises: everything a decision reads is present, of the right type and bounded; the audience is exactly this resource;
 * the lifetime the issuer chose is not longer than ours allows (AN-07).
 * Not checked: what a subject, client or scope means; standing and roles come from the directory.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import type { Caller } from './caller.ts';
import type { TokenProblem } from './token-problem.ts';

export interface ClaimRules {
  readonly audience: string;
  /** Accept an `aud` list with other members beside this resource: a token that also works elsewhere. */
  readonly unsafeMultipleAudiences: boolean;
  /** `machine` applies when the client acts by itself, that is when `sub` equals `client_id` (RFC 9068 2.2). */
  readonly maxLifetimeSeconds: { readonly user: number; readonly machine: number };
  readonly clockSkewSeconds: number;
  readonly maxActDepth: number;
}

const MAX_TEXT = 512;
const MAX_SCOPES = 500;
const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/; // RFC 6749 3.3

export function readCaller(claims: JsonObject, rules: ClaimRules, nowMs: number): Result<Caller, TokenProblem> {
  for (const claim of ['iss', 'sub', 'aud', 'client_id', 'jti', 'exp', 'iat']) {
    if (claims[claim] === undefined) return err({ kind: 'claims_missing', claim });
  }
  const { iss: issuer, sub: subject, client_id: clientId, jti: tokenId, iat: issuedAt, exp: expiresAt } = claims;
  if (!isName(issuer)) return invalid('iss');
  if (!isName(subject)) return invalid('sub');
  if (!isName(clientId)) return invalid('client_id');
  if (!isName(tokenId)) return invalid('jti');
  if (!isTime(issuedAt)) return invalid('iat');
  if (!isTime(expiresAt) || expiresAt <= issuedAt) return invalid('exp');
  const notBefore = claims['nbf'] ?? issuedAt;
  if (!isTime(notBefore)) return invalid('nbf');

  if (!isFor(claims['aud'], rules)) return err({ kind: 'audience' });
  const now = nowMs / 1000;
  if (now >= expiresAt + rules.clockSkewSeconds) return err({ kind: 'expired' });
  if (now < Math.max(issuedAt, notBefore) - rules.clockSkewSeconds) return err({ kind: 'not_yet_valid' });
  const seconds = expiresAt - issuedAt;
  const maxSeconds = rules.maxLifetimeSeconds[subject === clientId ? 'machine' : 'user'];
  if (seconds > maxSeconds) return err({ kind: 'lifetime', seconds, maxSeconds });

  // Bound to a key we do not check: as a bearer token it would be worth less than its issuer meant.
  if (claims['cnf'] !== undefined) return err({ kind: 'sender_binding' });
  const scopes = readScopes(claims['scope']);
  if (scopes === null) return invalid('scope');
  const actChain = readActors(claims['act'], rules.maxActDepth);
  if (actChain === null) return invalid('act');
  return ok({
    issuer,
    subject,
    clientId,
    alone: subject === clientId,
    scopes,
    tokenId,
    issuedAt,
    expiresAt,
    actChain,
    grantId: null,
    sessionId: null,
    acr: null,
    amr: [],
    authTime: null,
    keyThumbprint: null,
    attributes: {},
  });
}

function invalid(claim: string): Result<never, TokenProblem> {
  return err({ kind: 'claim_invalid', claim });
}

/** Bounded, without control characters: these texts go into logs, policies and the console. */
function isName(value: Json | undefined): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT && !/\p{Cc}/u.test(value);
}

function isTime(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function isFor(aud: Json | undefined, { audience, unsafeMultipleAudiences }: ClaimRules): boolean {
  if (!Array.isArray(aud)) return aud === audience;
  const members = aud as readonly Json[];
  return (members.length === 1 || unsafeMultipleAudiences) && members.includes(audience);
}

/** No `scope` claim: no scopes. */
function readScopes(scope: Json | undefined): ReadonlySet<string> | null {
  if (scope === undefined || scope === '') return new Set();
  if (typeof scope !== 'string') return null;
  const tokens = scope.split(' ', MAX_SCOPES + 1);
  return tokens.length <= MAX_SCOPES && tokens.every((token) => SCOPE_TOKEN.test(token)) ? new Set(tokens) : null;
}

/** The outermost `act` is who acts now; those inside it acted before. */
function readActors(act: Json | undefined, maxDepth: number): readonly string[] | null {
  const chain: string[] = [];
  for (let actor = act; actor !== undefined;) {
    if (!isJsonObject(actor) || chain.length === maxDepth) return null;
    const subject: Json | undefined = actor['sub'];
    if (!isName(subject)) return null;
    chain.push(subject);
    actor = actor['act'];
  }
  return chain;
}
