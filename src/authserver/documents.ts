/**
 * Fetching what a client's id or metadata names: its document, its key set (CONTROLS AN-15). Promises: https, a public
 * address at connect time, no redirect, bounded in size and time. Does not read the document.
 */
import { guardedRequest } from '../upstream/dial.ts';

const KEPT_HEADERS = ['content-type', 'cache-control', 'expires'];

/** @throws DialFault */
export async function fetchPublicDocument(url: string): Promise<Response> {
  const { status, headers, body } = await guardedRequest(url, {
    rule: { allowedNetworks: [], requireHttps: true },
    headers: { accept: 'application/json' },
    timeoutMs: 3_000,
    maxBytes: 64 * 1_024,
  });
  const kept = KEPT_HEADERS.flatMap((name): [string, string][] => {
    const value = headers[name];
    return typeof value === 'string' ? [[name, value]] : [];
  });
  return new Response(Buffer.from(body), { status, headers: kept });
}
