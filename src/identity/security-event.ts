/**
 * Verifies security event tokens of one transmitter (RFC 8417; typ and one event per token by the SSF interoperability profile). Promises: type,
 * algorithm, key, issuer and audience are those that our own record names; exactly one event; an id. An access token is none, and
 * none of these passes as an access token. The error has the code that RFC 8935 section 2.4 wants told.
 * Not checked: whether it was seen before, `iat` against other events, whether anybody is known under its subject.
 */
import { compactVerify } from 'jose';
import type { Clock } from '../lib/clock.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { EventSubject, SecurityEvent } from '../lib/security-event.ts';
import { eventName } from '../lib/security-event.ts';
import { readCompactJws } from './compact-jws.ts';
import { createIssuerKeys, isTokenAlgorithm } from './issuer-keys.ts';
import type { TokenAlgorithm } from './issuer-keys.ts';

/** Codes of the IANA registry "Security Event Token Error Codes". */
export type EventError =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_issuer'
  | 'invalid_audience'
  | 'authentication_failed'
  | 'access_denied';

export type EventProblem =
  | { readonly kind: 'refused'; readonly code: EventError; readonly description: string }
  /** Our trouble or its key set's: the sender may come again with the same token. */
  | { readonly kind: 'unavailable'; readonly description: string };

export interface EventSender {
  /** Compared byte for byte with `iss`. */
  readonly issuer: string;
  /** What `aud` must be. */
  readonly audience: string;
  readonly jwksUri: string;
  readonly algorithms: readonly TokenAlgorithm[];
}

export interface EventVerifier {
  /** Never rejects. */
  verify(token: string): Promise<Result<SecurityEvent, EventProblem>>;
}

export const MAX_EVENT_BYTES = 65_536;
const TYPES: ReadonlySet<unknown> = new Set(['secevent+jwt', 'application/secevent+jwt']);
const MAX_ALIASES = 16;

/** `fetchJson` bounds size, time and address. Keys are kept for five minutes; an unknown key id asks again, at most every ten seconds. */
export function eventVerifier(
  sender: EventSender,
  fetchJson: (url: string) => Promise<unknown>,
  clock: Clock,
): EventVerifier {
  const keys = createIssuerKeys({
    issuer: sender.issuer,
    jwksUri: sender.jwksUri,
    fetchJson,
    clock,
    ttlMs: 300_000,
    cooldownMs: 10_000,
    maxStaleMs: 3_600_000,
    onRetired: () => undefined,
  });
  return {
    async verify(token) {
      if (token.length > MAX_EVENT_BYTES) return refused('invalid_request', 'the token is larger than 64 KiB');
      const read = readCompactJws(token, { types: TYPES, maxLength: MAX_EVENT_BYTES });
      if (!read.ok) {
        switch (read.error.kind) {
          case 'type':
            return refused('invalid_request', 'typ must be secevent+jwt');
          case 'key_unknown':
            return refused('invalid_key', 'the header must name a key by kid');
          case 'header_refused':
            return refused('invalid_request', `the header member ${read.error.member} is not accepted`);
          default:
            return refused('invalid_request', 'the body is not a compact JWS over strict JSON');
        }
      }
      const { algorithm, keyId, claims } = read.value;
      if (claims['iss'] !== sender.issuer) return refused('invalid_issuer', 'iss is not the issuer of this stream');
      if (!isTokenAlgorithm(algorithm) || !sender.algorithms.includes(algorithm))
        return refused('invalid_key', 'alg is not one that this stream may use');
      const key = await keys.find(keyId, algorithm);
      if (key === 'keys_unavailable')
        return err({ kind: 'unavailable', description: 'the key set cannot be read now' });
      if (key === 'key_unknown')
        return refused('invalid_key', 'the key set of the issuer has no such key of 2048 bits or more');
      try {
        await compactVerify(token, key, { algorithms: [algorithm] });
      } catch {
        return refused('invalid_key', 'the signature does not verify');
      }
      return readEventClaims(claims, sender.audience, clock.now());
    },
  };
}

/** Longer ago than this nobody remembers ids any more, so an old token could come twice. */
export const EVENT_MEMORY_MS = 7 * 86_400_000;
const SKEW_MS = 300_000;

/** Reads the claims of a token whose signature and issuer held. Exported for fuzzing. */
export function readEventClaims(
  claims: JsonObject,
  audience: string,
  now: number,
): Result<SecurityEvent, EventProblem> {
  const { aud, jti, iat, events, toe } = claims;
  const audiences = Array.isArray(aud) ? aud : [aud];
  if (audiences.length !== 1 || audiences[0] !== audience)
    return refused('invalid_audience', 'aud is not the audience of this stream, and it alone');
  if (typeof jti !== 'string' || jti === '' || jti.length > 500)
    return refused('invalid_request', 'jti must be a text of at most 500 characters');
  const issuedAt = time(iat);
  if (issuedAt === null) return refused('invalid_request', 'iat must be a time in seconds');
  if (issuedAt > now + SKEW_MS) return refused('invalid_request', 'iat lies in the future');
  if (issuedAt < now - EVENT_MEMORY_MS) return refused('invalid_request', 'iat is more than seven days ago');
  if (events === undefined || !isJsonObject(events)) return refused('invalid_request', 'events must be an object');
  const [entry, second] = Object.entries(events);
  if (entry === undefined || second !== undefined)
    return refused('invalid_request', 'events must have exactly one member');
  const [type, members] = entry;
  if (type === '' || type.length > 300) return refused('invalid_request', 'the event type is too long');
  if (members === undefined || !isJsonObject(members)) return refused('invalid_request', 'the event must be an object');
  // Before SSF 1.0 the subject stood inside the event; if both are there, they must say the same.
  const inside = members['subject'];
  const given = claims['sub_id'] ?? inside;
  if (claims['sub_id'] !== undefined && inside !== undefined && JSON.stringify(inside) !== JSON.stringify(given))
    return refused('invalid_request', 'sub_id and the subject of the event differ');
  const subject = given === undefined ? null : readSubject(given, true);
  if (given !== undefined && subject === null) return refused('invalid_request', 'the subject is not one of RFC 9493');
  return ok({
    tokenId: jti,
    issuedAt,
    type,
    name: eventName(type),
    subject,
    happenedAt: time(members['event_timestamp']) ?? time(toe),
    members,
  });
}

/** RFC 9493; `subject_type` and hyphens are the spelling of before (RISC as Google sends it). Null: malformed. */
function readSubject(value: Json, nested: boolean): EventSubject | null {
  if (!isJsonObject(value)) return null;
  const named = value['format'] ?? value['subject_type'];
  if (typeof named !== 'string' || named.length > 100) return null;
  const text = (name: string): string | null => {
    const found = value[name];
    return typeof found === 'string' && found !== '' && found.length <= 1_000 ? found : null;
  };
  switch (named.replaceAll('-', '_')) {
    case 'iss_sub': {
      const [issuer, subject] = [text('iss'), text('sub')];
      return issuer === null || subject === null ? null : { format: 'iss_sub', issuer, subject };
    }
    case 'email': {
      const email = text('email');
      return email === null ? null : { format: 'email', email };
    }
    case 'opaque': {
      const id = text('id');
      return id === null ? null : { format: 'opaque', id };
    }
    case 'jwt_id': {
      const [issuer, tokenId] = [text('iss'), text('jti')];
      return issuer === null || tokenId === null ? null : { format: 'jwt_id', issuer, tokenId };
    }
    case 'complex': {
      if (!nested) return null;
      const { format: _, subject_type: __, user, session, ...others } = value;
      const [of, on] = [user, session].map((part) => (part === undefined ? undefined : readSubject(part, false)));
      if (of === null || on === null) return null;
      return { format: 'complex', user: of ?? null, session: on ?? null, others: Object.keys(others).slice(0, 16) };
    }
    case 'aliases': {
      const list = value['identifiers'];
      if (!nested || !Array.isArray(list) || list.length === 0 || list.length > MAX_ALIASES) return null;
      const identifiers = list.map((one) => readSubject(one, false));
      return identifiers.includes(null) ? null : { format: 'aliases', identifiers: identifiers as EventSubject[] };
    }
    default:
      return { format: 'other', name: named };
  }
}

/** NumericDate in ms. Some send milliseconds; a number that large is no date in seconds. */
function time(value: Json | undefined): number | null {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) return null;
  const at = value > 100_000_000_000 ? value : value * 1_000;
  return at > 100_000_000_000_000 ? null : Math.round(at);
}

function refused(code: EventError, description: string): Result<never, EventProblem> {
  return err({ kind: 'refused', code, description });
}
