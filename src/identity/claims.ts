/**
 * From the claims of a token, signed or introspected, to a Caller (RFC 9068 2.2 and 4, RFC 7662 2.2, RFC 8693 4.1).
 * Promises: everything a decision reads is present, of the right type and bounded; the audience is this resource's alone;
 * the lifetime the issuer chose is not longer than ours allows (AN-07). What cannot be read whole is left out, never cut.
 * Not checked: what a subject, client or scope means, standing and roles (the directory); possession of the key of a bound token.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import type { Caller } from './caller.ts';
import type { ClaimTest, IssuerRule } from './issuer-rule.ts';
import type { TokenProblem } from './token-problem.ts';

export interface ClaimRules {
  readonly rule: IssuerRule;
  /** The canonical URL of what is asked for. */
  readonly resource: string;
  readonly clockSkewSeconds: number;
  /** Told of an attribute that a token has and that could not be read whole. */
  readonly onLeftOut: (claim: string, why: 'overage' | 'too_large') => void;
}

const MAX_TEXT = 512;
const MAX_SCOPES = 500;
const MAX_MEMBERS = 500;
const MAX_MEMBER = 256;
const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/; // RFC 6749 3.3
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

export function readCaller(claims: JsonObject, rules: ClaimRules, nowMs: number): Result<Caller, TokenProblem> {
  const { rule, clockSkewSeconds } = rules;
  const names = rule.claims;
  const required = ['iss', names.subject, 'aud', names.clientId, names.tokenId, 'exp', 'iat'] as const;
  for (const choice of required) {
    const list: readonly string[] = typeof choice === 'string' ? [choice] : choice;
    if (firstOf(claims, list) === undefined) return err({ kind: 'claims_missing', claim: list[0] ?? '' });
  }
  const { iss: issuer, iat: issuedAt, exp: expiresAt } = claims;
  const subject = firstOf(claims, names.subject);
  const clientId = firstOf(claims, names.clientId);
  const tokenId = firstOf(claims, names.tokenId);
  if (!isName(issuer)) return invalid('iss');
  if (!isName(subject)) return invalid(names.subject[0]!);
  if (!isName(clientId)) return invalid(names.clientId[0]!);
  if (!isName(tokenId)) return invalid(names.tokenId[0]!);
  for (const name of names.clientId) {
    const other = claimAt(claims, name);
    if (other !== undefined && other !== clientId) return invalid(name);
  }
  if (!isTime(issuedAt)) return invalid('iat');
  if (!isTime(expiresAt) || expiresAt <= issuedAt) return invalid('exp');
  // Zero is how some say "from the beginning".
  const notBefore = claims['nbf'] === 0 ? issuedAt : (claims['nbf'] ?? issuedAt);
  if (!isTime(notBefore)) return invalid('nbf');

  if (!isFor(claims['aud'], rules)) return err({ kind: 'audience' });
  const now = nowMs / 1000;
  if (now >= expiresAt + clockSkewSeconds) return err({ kind: 'expired' });
  if (now < Math.max(issuedAt, notBefore) - clockSkewSeconds) return err({ kind: 'not_yet_valid' });
  const alone = subject === clientId || rule.aloneWhen.some((test) => holds(claims, test, clientId));
  const seconds = expiresAt - issuedAt;
  const maxSeconds = rule.maxLifetimeSeconds[alone ? 'machine' : 'user'];
  if (seconds > maxSeconds) return err({ kind: 'lifetime', seconds, maxSeconds });

  const keyThumbprint = readBinding(claims['cnf']);
  if (keyThumbprint === undefined) return err({ kind: 'sender_binding' });
  const scopes = readScopes(claims, names.scopes);
  if (scopes === null) return invalid(names.scopes[0] ?? 'scope');
  const { act } = claims;
  // In a token that was handed on, who has it now stands as client and as outermost actor: that is one agent, not one hand more.
  const itself = isJsonObject(act) && act['sub'] === clientId ? 1 : 0;
  const actChain = readActors(act, rule.maxActDepth + itself);
  if (actChain === null) return invalid('act');
  const { acr = null, auth_time: authTime = null } = claims;
  if (acr !== null && !isName(acr)) return invalid('acr');
  const amr = readTexts(claims['amr'] ?? []);
  if (amr === null) return invalid('amr');
  // A sign-in in the future would be recent for ever.
  if (authTime !== null && !(isTime(authTime) && authTime <= now + clockSkewSeconds)) return invalid('auth_time');
  const grantId = firstOf(claims, names.grantId) ?? null;
  if (grantId !== null && !isName(grantId)) return invalid(names.grantId[0]!);
  const sessionId = firstOf(claims, names.sessionId) ?? null;
  if (sessionId !== null && !isName(sessionId)) return invalid(names.sessionId[0]!);
  return ok({
    issuer,
    subject,
    clientId,
    alone,
    scopes,
    tokenId,
    issuedAt,
    expiresAt,
    actChain,
    grantId,
    sessionId,
    acr,
    amr,
    authTime,
    keyThumbprint,
    attributes: readAttributes(claims, rules),
  });
}

/** A claim by its name, or else by the path that the name may be. */
function claimAt(claims: JsonObject, name: string): Json | undefined {
  if (Object.hasOwn(claims, name)) return claims[name];
  if (!name.includes('.')) return undefined;
  let value: Json | undefined = claims;
  for (const part of name.split('.')) {
    if (!isJsonObject(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

function firstOf(claims: JsonObject, names: readonly string[]): Json | undefined {
  for (const name of names) {
    const value = claimAt(claims, name);
    if (value !== undefined) return value;
  }
  return undefined;
}

export function holds(claims: JsonObject, { claim, equals, absent }: ClaimTest, client: string): boolean {
  const value = claimAt(claims, claim) ?? undefined;
  if (absent === true) return value === undefined;
  return equals === undefined ? value !== undefined : value === equals.replaceAll('{client}', client);
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

/** The audience of this resource, by itself or beside services of the issuer. */
function isFor(aud: Json | undefined, { rule, resource }: ClaimRules): boolean {
  const audience = rule.audiences.get(resource) ?? resource;
  if (!Array.isArray(aud)) return aud === audience;
  const members = aud as readonly Json[];
  if (!members.includes(audience)) return false;
  if (members.length === 1 || rule.unsafeMultipleAudiences) return true;
  return members.every(
    (member) => member === audience || (typeof member === 'string' && rule.toleratedAudiences.has(member)),
  );
}

/** Undefined: bound in a way that we cannot check, so as a bearer token it would be worth less than its issuer meant. */
function readBinding(cnf: Json | undefined): string | null | undefined {
  if (cnf === undefined) return null;
  if (!isJsonObject(cnf) || Object.keys(cnf).length !== 1) return undefined;
  const { jkt } = cnf;
  return typeof jkt === 'string' && THUMBPRINT.test(jkt) ? jkt : undefined;
}

/** No claim: no scopes. A list is what some issuers write; the standard claim is a text. */
function readScopes(claims: JsonObject, names: readonly string[]): ReadonlySet<string> | null {
  const name = names.find((candidate) => claimAt(claims, candidate) !== undefined);
  if (name === undefined) return new Set();
  const value = claimAt(claims, name)!;
  if (value === '') return new Set();
  const tokens: unknown =
    typeof value === 'string' ? value.split(' ', MAX_SCOPES + 1) : name === 'scope' ? null : value;
  if (!Array.isArray(tokens) || tokens.length > MAX_SCOPES) return null;
  const good = tokens.every((token): token is string => typeof token === 'string' && SCOPE_TOKEN.test(token));
  return good ? new Set(tokens) : null;
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

/** One text, or a list of them. Null: anything else, or more than the bounds allow. */
function readTexts(value: Json): readonly string[] | null {
  const list: readonly Json[] = Array.isArray(value) ? (value as readonly Json[]) : [value];
  if (list.length > MAX_MEMBERS) return null;
  return list.every((member): member is string => isName(member) && member.length <= MAX_MEMBER) ? list : null;
}

/**
 * A list that is not whole is left out: a rule that looks for a member must not find some and miss others.
 * Issuers say so themselves when somebody is in more groups than fit (`_claim_names`, `hasgroups`).
 */
function readAttributes(claims: JsonObject, { rule, onLeftOut }: ClaimRules): Caller['attributes'] {
  const elsewhere = claims['_claim_names'];
  const attributes: Record<string, readonly string[]> = {};
  for (const name of rule.claims.attributes) {
    const over =
      (isJsonObject(elsewhere) && Object.hasOwn(elsewhere, name)) ||
      (name === 'groups' && claims['hasgroups'] !== undefined && claims['hasgroups'] !== false);
    const value = claimAt(claims, name);
    if (over) onLeftOut(name, 'overage');
    if (over || value === undefined || value === null) continue;
    const texts = readTexts(value);
    if (texts === null) onLeftOut(name, 'too_large');
    else attributes[name] = texts;
  }
  return attributes;
}
