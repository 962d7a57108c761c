/**
 * Reads the compact form of a JWS (RFC 7515 7.1) so that there is one way to write every token: three canonical base64url
 * segments, strict JSON, no duplicate members. Of the header only what selects a key is taken; everything by which
 * a token could bring its own key or change the rules of its reading is refused. The signature is NOT checked here.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import type { TokenProblem } from './token-problem.ts';

export interface UnverifiedToken {
  readonly algorithm: string;
  /** Opaque: compared with the key ids that the issuer publishes, never part of a path, query or URL. */
  readonly keyId: string;
  /** `typ` without `application/` (RFC 7515 4.1.9); null when there is none. What types pass is the issuer's rule. */
  readonly type: string | null;
  readonly claims: JsonObject;
}

const MAX_TOKEN_LENGTH = 8_192;
const MAX_DEPTH = 16;
/** Referenced keys, and members that change how the rest is to be read (RFC 7515 4.1, RFC 7797). */
const REFUSED_MEMBERS = ['crit', 'b64', 'jku', 'x5u', 'x5c', 'zip', 'enc'] as const;

export interface JwsParts {
  readonly header: JsonObject;
  readonly claims: JsonObject;
}

/** The two readable parts. The keys that a header brings along are refused by who must not use them. */
export function readJwsParts(token: string, maxLength = MAX_TOKEN_LENGTH): Result<JwsParts, TokenProblem> {
  if (token.length > maxLength) return malformed(`longer than ${maxLength} characters`);
  const segments = token.split('.', 4);
  const [headerText = '', payloadText = '', signatureText = ''] = segments;
  if (segments.length !== 3) return malformed('not three segments');

  const header = readSegment(headerText, maxLength);
  if (header === null) return malformed('header');
  for (const member of REFUSED_MEMBERS) {
    if (Object.hasOwn(header, member)) return err({ kind: 'header_refused', member });
  }
  const claims = readSegment(payloadText, maxLength);
  if (claims === null) return malformed('payload');
  // An unsigned token (`alg` none) has an empty one; which algorithm is allowed is said by the verifier.
  if (signatureText !== '' && decodeCanonical(signatureText) === null) return malformed('signature');
  return ok({ header, claims });
}

export interface ReadOptions {
  /** Values of `typ` that pass, as written. Left out: any, for the caller to judge. */
  readonly types?: ReadonlySet<unknown>;
  readonly maxLength?: number;
}

export function readCompactJws(token: string, options: ReadOptions = {}): Result<UnverifiedToken, TokenProblem> {
  const parts = readJwsParts(token, options.maxLength);
  if (!parts.ok) return parts;
  const { header, claims } = parts.value;
  // ATTACKER-CONTROLLED: a key in the header is a key of whoever wrote the header.
  if (Object.hasOwn(header, 'jwk')) return err({ kind: 'header_refused', member: 'jwk' });
  const { alg: algorithm, kid: keyId, typ } = header;
  if (typ !== undefined && typeof typ !== 'string') return err({ kind: 'type' });
  if (options.types && !options.types.has(typ)) return err({ kind: 'type' });
  if (typeof algorithm !== 'string') return err({ kind: 'algorithm' });
  if (typeof keyId !== 'string' || keyId === '' || keyId.length > 256) return err({ kind: 'key_unknown' });
  return ok({ algorithm, keyId, type: typ?.replace(/^application\//, '') ?? null, claims });
}

/** A token that is no signed JWT at all: only its issuer can read it (RFC 7662). */
export const isOpaque = (token: string): boolean => token.split('.', 4).length !== 3;

function malformed(detail: string): Result<never, TokenProblem> {
  return err({ kind: 'malformed', detail });
}

function readSegment(text: string, maxBytes: number): JsonObject | null {
  const bytes = decodeCanonical(text);
  if (bytes === null) return null;
  const parsed = parseStrictJson(bytes, { maxBytes, maxDepth: MAX_DEPTH });
  return parsed.ok && isJsonObject(parsed.value) ? parsed.value : null;
}

/** Null unless the text is the one and only base64url spelling of its bytes: no padding, no white space, no stray bits. */
function decodeCanonical(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64url');
  return text !== '' && bytes.toString('base64url') === text ? bytes : null;
}
