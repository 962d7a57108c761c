/**
 * Which pages may read what the listener answers (PH-03, O10). Only origins that are listed; no cookies, for none are used.
 * Not decided here: whether an Origin may call at all (protocol/http-guards.ts), and metadata, which everybody may read.
 */
import type { IncomingHttpHeaders } from 'node:http';

const ALLOWED = [
  'Authorization',
  'Content-Type',
  'Accept',
  'MCP-Protocol-Version',
  'Mcp-Method',
  'Mcp-Name',
  'Mcp-Session-Id',
  'Last-Event-ID',
  'DPoP',
];
/** Headers that mirror arguments have names of the tool's making; a wildcard would not cover them beside Authorization. */
const MIRRORED = /^mcp-param-[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/;
const MAX_MIRRORED = 100;

/** The headers of an answer to this origin; null: it gets none. */
export function corsHeaders(
  { origin, 'access-control-request-headers': asked }: IncomingHttpHeaders,
  allowed: readonly string[],
): Record<string, string> | null {
  if (!origin || !allowed.includes(origin)) return null;
  const mirrored = (asked ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => MIRRORED.test(name))
    .slice(0, MAX_MIRRORED);
  return {
    'Access-Control-Allow-Origin': origin,
    Vary: 'Origin, Access-Control-Request-Headers',
    'Access-Control-Allow-Methods': 'GET, POST, DELETE',
    'Access-Control-Allow-Headers': [...ALLOWED, ...mirrored].join(', '),
    'Access-Control-Expose-Headers': 'WWW-Authenticate, DPoP-Nonce, Mcp-Session-Id, Retry-After',
  };
}
