/**
 * Fetching what a client's id or metadata names: its document, its key set (CONTROLS AN-15). Promises: https, a public
 * address at connect time, no redirect, bounded in size and time. Does not read the document.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { guardedRequest } from '../upstream/dial.ts';
import { windowCounter } from './counters.ts';

export type FetchDocument = (url: string) => Promise<Response>;

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

/**
 * ATTACKER-CONTROLLED: anybody can name documents on a listed host; this server must not become a way to flood it. Documents that were
 * there when last asked for have a bound of their own each, so that names which somebody invents do not take it from good clients.
 */
export function atMostPerMinute(most: number, fetchDocument: FetchDocument, clock: Clock): FetchDocument {
  const unknown = windowCounter({ windowMs: 60_000, maxKeys: 1, clock });
  const known = windowCounter({ windowMs: 60_000, maxKeys: KNOWN, clock });
  const there = new LRUCache<string, true>({ max: KNOWN });
  return async (url) => {
    const fetches = there.get(url) ? known.add(url) : unknown.add('all');
    if (fetches > most) throw new Fault('document_fetches', `more than ${most} documents in a minute`);
    const response = await fetchDocument(url);
    if (response.ok) there.set(url, true);
    return response;
  };
}

const KNOWN = 1_000;
