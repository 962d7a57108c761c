/**
 * One request of a sandboxed server that was read and allowed, sent on by the guarded dialler (over https with its usual checks) and answered
 * as a stream. Node has parsed it and undici writes it anew, so what the other side reads is what was checked. Redirects are answers: whoever
 * follows one comes back here and is checked. Not done here: whether it may pass (rules.ts).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Dispatcher } from 'undici';
import { isFault } from '../../lib/fault.ts';
import type { Destination, EgressRefusal } from './rules.ts';

/** Of one connection only (RFC 9110 7.6.1), and what we say ourselves. */
const NOT_FORWARDED = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
]);
/** Some servers take method, host or path from these instead of from where they were checked. */
const OVERRIDES =
  /^(?:x-http-method(?:-override)?|x-method-override|x-original-(?:url|uri|host|method)|x-rewrite-url|x-forwarded-(?:host|uri|path|prefix|method)|forwarded|x-host)$/i;

/** What is wrong with a request whatever the rules say; null: nothing. */
export function requestRefusal(request: IncomingMessage): EgressRefusal | null {
  const names = namesOf(request);
  if (request.headers.upgrade !== undefined) return 'upgrade';
  if (names.some(overrides)) return 'override';
  if (names.filter((name) => name === 'host').length !== 1) return 'host_header';
  const { 'transfer-encoding': coding } = request.headers;
  return coding === undefined || coding.toLowerCase() === 'chunked' ? null : 'framing';
}

/** Servers of the CGI kind (WSGI, PHP) read `_` in a name as `-`: what is meant for one connection, and a second length or host, too. */
function overrides(name: string): boolean {
  const plain = name.replaceAll('_', '-');
  return OVERRIDES.test(plain) || (plain !== name && (NOT_FORWARDED.has(plain) || plain === 'content-length'));
}

const namesOf = ({ rawHeaders }: IncomingMessage): string[] =>
  rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());

/** Resolves with why it was refused (then nothing was answered yet), or with null when it was answered or is over. */
export async function forward(
  dispatcher: Dispatcher,
  { scheme, host, port }: Destination,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<'address' | null> {
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
  const over = new AbortController();
  response.once('close', () => over.abort());
  try {
    const answer = await dispatcher.request({
      origin: `${scheme}://${host}:${port}`,
      path,
      method: request.method as Dispatcher.HttpMethod,
      headers: passed(request.rawHeaders, request.headers.connection),
      body: length === undefined && coding === undefined ? null : request,
      signal: over.signal,
      // A server that leaves a body unread would take it for the next request, which nobody has checked.
      reset: length !== undefined || coding !== undefined,
    });
    const { connection } = answer.headers;
    const pairs = Object.entries(answer.headers).flatMap(([name, value]) =>
      [value ?? []].flat().flatMap((one) => [name, one]),
    );
    response.writeHead(answer.statusCode, passed(pairs, [connection ?? []].flat().join(',')));
    await pipeline(answer.body, response);
  } catch (error) {
    if (!response.headersSent && isFault(error, 'dial_address')) return 'address';
    if (response.headersSent || over.signal.aborted) response.destroy();
    else response.writeHead(502, SHORT).end(`remit: ${host} could not be reached\n`);
  }
  return null;
}

export const SHORT = { 'content-type': 'text/plain; charset=utf-8', connection: 'close' } as const;

/** Names and values in turn, without what belongs to one connection or is named by its Connection header. */
function passed(pairs: readonly string[], connection = ''): string[] {
  const named = new Set(connection.toLowerCase().split(/[\s,]+/));
  const kept: string[] = [];
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const name = pairs[i]!.toLowerCase();
    if (!NOT_FORWARDED.has(name) && !named.has(name)) kept.push(pairs[i]!, pairs[i + 1]!);
  }
  return kept;
}
