/**
 * Finds the one access token of a request (RFC 6750 2.1, RFC 9449 7.1). Promises: a token is taken from exactly one Authorization header
 * and from nowhere else; a token in the URL makes the whole request unacceptable (AN-05), whatever else it carries.
 * Not done here: whether the token is any good (`access-token.ts`). Bodies are JSON-RPC, so form-encoded tokens cannot occur.
 */
import { type Result, err, ok } from '../lib/result.ts';

export type BearerProblem =
  | 'missing' // no Authorization header: the challenge then names no error (RFC 6750 3.1)
  | 'scheme' // another scheme than the one asked for
  | 'duplicate' // more than one Authorization header
  | 'malformed'
  | 'too_long'
  | 'in_url'; // `access_token` in the query: logs and proxies have seen it, treat it as leaked

/** Longer tokens are legal, and nobody needs them: eight KiB is what common servers accept for a whole header line. */
const MAX_TOKEN_LENGTH = 8_192;
interface Scheme {
  readonly credentials: RegExp;
  readonly name: RegExp;
}
const BEARER: Scheme = { credentials: /^bearer +([A-Za-z0-9._~+/-]+=*)$/i, name: /^bearer(?: |$)/i };
const DPOP: Scheme = { credentials: /^dpop +([A-Za-z0-9._~+/-]+=*)$/i, name: /^dpop(?: |$)/i };

/**
 * @param rawHeaders names and values in turn, as `IncomingMessage.rawHeaders`: node's parsed headers hide duplicates.
 * @param rawUrl the request target as received.
 */
export function readBearer(rawHeaders: readonly string[], rawUrl: string): Result<string, BearerProblem> {
  return readToken(rawHeaders, rawUrl, BEARER);
}

/** The same for the scheme DPoP. The token is worth nothing without its proof (`dpop.ts`). */
export function readDpopToken(rawHeaders: readonly string[], rawUrl: string): Result<string, BearerProblem> {
  return readToken(rawHeaders, rawUrl, DPOP);
}

function readToken(
  rawHeaders: readonly string[],
  rawUrl: string,
  { credentials, name }: Scheme,
): Result<string, BearerProblem> {
  if (carriesToken(rawUrl)) return err('in_url');
  let header: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'authorization') continue;
    if (header !== undefined) return err('duplicate');
    header = rawHeaders[i + 1];
  }
  if (header === undefined) return err('missing');
  if (header.length > MAX_TOKEN_LENGTH + 'Bearer '.length) return err('too_long');
  const token = credentials.exec(header)?.[1];
  if (token !== undefined) return ok(token);
  return err(name.test(header) || header === '' ? 'malformed' : 'scheme');
}

function carriesToken(rawUrl: string): boolean {
  const query = rawUrl.indexOf('?');
  if (query < 0) return false;
  // Decoded first: `access%5Ftoken` is the same parameter to whoever reads it next.
  for (const name of new URLSearchParams(rawUrl.slice(query + 1).replaceAll(';', '&')).keys()) {
    if (name.trim().toLowerCase() === 'access_token') return true;
  }
  return false;
}
