/**
 * The door in front of the engine. Promises: a bounded number of requests per address, no request for another host,
 * no header or request target by which a client could choose the name this server speaks under; headers of every answer.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../lib/clock.ts';
import { windowCounter } from './counters.ts';

const plain = (response: ServerResponse, status: number, text: string): void => {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(`${text}\n`);
};

/** Programs read JSON of RFC 6749 section 5.2, also where the engine is not reached. */
const asProgram = (response: ServerResponse, status: number, error: string, text: string): void => {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', connection: 'close' });
  response.end(JSON.stringify({ error, error_description: text }));
};

export const notReady = (_request: IncomingMessage, response: ServerResponse): void => plain(response, 503, 'starting');

/** Before the engine sees a request: too many, or for somebody else? Then every trace of another host name is removed. */
export function doorkeeper(options: {
  readonly issuer: string;
  /** `host:port` of the listener, for a proxy that rewrites Host. */
  readonly listener: string;
  readonly requestsPerMinute: number;
  readonly clock: Clock;
  /** Endpoints that programs call. */
  readonly programs: ReadonlySet<string>;
  readonly pass: (request: IncomingMessage, response: ServerResponse) => void;
}): (request: IncomingMessage, response: ServerResponse) => void {
  const own = new URL(options.issuer);
  const hosts = new Set([own.host, options.listener]);
  const requests = windowCounter({ windowMs: 60_000, maxKeys: 20_000, clock: options.clock });
  return (request, response) => {
    const program = options.programs.has((request.url ?? '').split('?', 1)[0] ?? '');
    const refuse = (status: number, error: string, text: string): void =>
      program ? asProgram(response, status, error, text) : plain(response, status, text);
    if (requests.add(request.socket.remoteAddress ?? '') > options.requestsPerMinute) {
      response.setHeader('retry-after', '60');
      return refuse(429, 'temporarily_unavailable', 'too many requests; try again in a minute');
    }
    // ATTACKER-CONTROLLED: a name that resolves here (DNS rebinding) must not make this server speak for it.
    if (!hosts.has(request.headers.host ?? ''))
      return refuse(421, 'invalid_request', 'this server is not known by that host name');
    // `GET http://other.example/…` or `GET //other.example/…`: the engine would build its links from it.
    if (!/^\/(?!\/)/.test(request.url ?? '')) return plain(response, 400, 'the request target must be a path');
    delete request.headers['x-forwarded-for'];
    request.headers['x-forwarded-host'] = own.host;
    request.headers['x-forwarded-proto'] = own.protocol.slice(0, -1);
    options.pass(request, response);
  };
}

/** Of one request. */
const MAX_UNREAD = 8_388_608;

/**
 * What nobody read of a request is read and thrown away once it is answered: the next one on its connection would wait behind it for ever.
 * ATTACKER-CONTROLLED: how much that is; how long it may take the server's `requestTimeout` says.
 */
export function readRest(request: IncomingMessage, response: ServerResponse): void {
  response.once('finish', () => {
    if (request.complete) return;
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_UNREAD) request.destroy();
    });
    request.resume();
  });
}

export function secureHeaders(issuer: string): Record<string, string> {
  return {
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    // `no-referrer` would turn the Origin of our own forms into `null`.
    'referrer-policy': 'same-origin',
    'content-security-policy': `default-src 'none'; frame-ancestors 'none'`,
    'cross-origin-opener-policy': 'same-origin',
    ...(issuer.startsWith('https:') && { 'strict-transport-security': 'max-age=31536000' }),
  };
}
