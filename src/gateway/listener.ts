/**
 * The public listener: connection and body limits, Host and Origin, routing, then one message through answer.ts and out.
 * Routes: POST and DELETE /mcp/{org}/{server}; its RFC 9728 metadata; nothing else. GET on an endpoint is 405 until streams are served.
 * Who sends no valid token learns nothing but how to get one: even an unreadable body is answered with 401 then.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { metadataPath, resourceMetadata } from '../identity/protected-resource.ts';
import type { Clock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import { invalidRequest } from '../protocol/errors.ts';
import { httpGuards } from '../protocol/http-guards.ts';
import { NO_ENVELOPE } from '../protocol/meta.ts';
import { readBody as readPosted } from '../protocol/read-request.ts';
import type { InboundMessage, ReadLimits } from '../protocol/read-request.ts';
import { wireAccepted, wireError, wireResponse } from '../protocol/write-response.ts';
import type { WireResponse } from '../protocol/write-response.ts';
import { answer } from './answer.ts';
import type { Call, Endpoint } from './call.ts';
import { endSession, refuseUnread } from './edge.ts';
import type { EdgeDeps } from './edge.ts';
import { refuseWith } from './refuse.ts';
import type { Reply } from './wire.ts';

export interface ListenerDeps extends EdgeDeps {
  readonly clock: Clock;
  readonly org: string;
  readonly host: string;
  readonly port: number;
  /** Origin clients use; null: `http://host:port` once the port is known. */
  readonly publicUrl: string | null;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly readLimits: ReadLimits;
  readonly callTimeoutMs: number;
  readonly issuers: readonly string[];
  /** Plain words for the scopes of a server, for metadata and consent pages. */
  readonly scopesOf: (
    server: string,
  ) => ReadonlyArray<{ readonly scope: string; readonly description: string; readonly risk: string }>;
  readonly serverTitle: (server: string) => string | null;
}

export interface Listener {
  readonly url: string;
  resourceUrl(server: string): string;
  close(): Promise<void>;
}

const PATH = /^\/mcp\/([a-z0-9-]{1,63})\/([a-z0-9-]{1,63})$/;
const METADATA_PREFIX = '/.well-known/oauth-protected-resource';
/** Bodies under way may hold this much before who sends the next one is asked first. */
const UNASKED_BYTES = 64 * 1_048_576;

export async function startListener(deps: ListenerDeps): Promise<Listener> {
  let origin = '';
  let guardHost: ReturnType<typeof httpGuards> = () => invalidRequest(null, 'not listening yet', 503);
  const server: Server = createServer(
    {
      // Where a header may stand once, two are refused as one wrong value: the next reader might take the other (RFC 9112 3.2 for Host).
      joinDuplicateHeaders: true,
      maxHeaderSize: 32_768,
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 60_000,
      connectionsCheckingInterval: 5_000,
    },
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        deps.log('error', { error: String(error) }, 'request failed outside the pipeline');
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    },
  );
  server.maxRequestsPerSocket = 0;
  // Beyond this a connection is closed at once: sockets cost memory before anybody has said who they are.
  server.maxConnections = 10_000;

  /** Bytes of bodies that are not complete yet. */
  const pending = { bytes: 0 };

  const endpointOf = (org: string, name: string): Endpoint => {
    const path = `/mcp/${org}/${name}`;
    return { org, server: name, resource: origin + path, metadataUrl: origin + metadataPath(path) };
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const rawUrl = request.url ?? '/';
    const query = rawUrl.indexOf('?');
    const path = query < 0 ? rawUrl : rawUrl.slice(0, query);
    // Metadata is public and read by browsers from anywhere; its Host is still ours (DNS rebinding).
    const isMetadata = path.startsWith(METADATA_PREFIX);
    const barred = isMetadata ? guardHost({ host: request.headers.host }) : guardHost(request.headers);
    if (barred) return write(response, wireError(barred));
    if (isMetadata) return metadata(request, response, path.slice(METADATA_PREFIX.length));
    const match = PATH.exec(path);
    if (!match) return plain(response, 404, 'Not found.');
    const cors = corsHeaders(request, deps.allowedOrigins);
    if (request.method === 'OPTIONS' && cors) return write(response, { status: 204, headers: cors, body: '' });

    const endpoint = endpointOf(match[1] ?? '', match[2] ?? '');
    if (request.method !== 'POST') {
      const reply = await endSession(callFor(endpoint, request, UNREAD), request.method ?? '', deps);
      return write(response, toWire(reply, 'json', cors));
    }
    if (deps.ports.limits.full()) {
      return write(response, { status: 503, headers: { 'Retry-After': '1', Connection: 'close' }, body: '' });
    }
    if (pending.bytes > UNASKED_BYTES) {
      // ATTACKER-CONTROLLED: how many bodies are begun and never ended. Strangers may not have the memory of those who have a token.
      const call = callFor(endpoint, request, UNREAD);
      const stranger = await deps.pipeline.admit(call, 'edge', deps.ports);
      deps.inflight.close(call.inflight);
      if (stranger) return write(response, toWire(await refuseWith(call, stranger, deps), 'json', cors), true);
    }
    const body = await readBody(request, deps.readLimits.maxBytes, pending);
    if (body === null) return; // the client went away
    const posted = body === 'too_large' ? null : readPosted(body, request.headers, deps.readLimits);
    if (!posted?.ok || posted.value.kind === 'batch') {
      const error = !posted
        ? invalidRequest(null, 'The request body is too large', 413)
        : posted.ok
          ? invalidRequest(null, 'Send one message per request: batches are not accepted')
          : posted.error;
      const reply = await refuseUnread(callFor(endpoint, request, UNREAD), error, deps);
      return write(response, toWire(reply, 'json', cors), body === 'too_large');
    }
    const message = posted.value;
    const call = callFor(endpoint, request, message);
    // M13: for a modern client leaving is cancelling. L5: for a legacy client it is not.
    const onClose = (): void => {
      if (!response.writableFinished && message.era === 'modern') deps.inflight.cancel(call.inflight, 'client_gone');
    };
    response.on('close', onClose);
    try {
      const reply = await answer(call, deps);
      write(response, toWire(reply, message.kind === 'request' && !message.accepts.json ? 'sse' : 'json', cors));
    } finally {
      deps.inflight.close(call.inflight);
    }
  }

  function callFor(endpoint: Endpoint, request: IncomingMessage, message: InboundMessage): Call {
    const id = newId('call', deps.clock);
    const timeoutMs = Math.min(
      deps.callTimeoutMs,
      deps.snapshot().servers.get(endpoint.server)?.record.timeoutMs ?? deps.callTimeoutMs,
    );
    return {
      id,
      startedAt: deps.clock.now(),
      endpoint,
      message,
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      rawUrl: request.url ?? '/',
      inflight: deps.inflight.open(id, timeoutMs),
      snapshot: deps.snapshot(),
      facts: {},
      stoppedBy: null,
      trace: null,
    };
  }

  function metadata(request: IncomingMessage, response: ServerResponse, resourcePath: string): void {
    const headers = { 'Access-Control-Allow-Origin': '*', 'Cache-Control': 'max-age=15' };
    if (request.method === 'OPTIONS') {
      return write(response, {
        status: 204,
        headers: { ...headers, 'Access-Control-Allow-Methods': 'GET, HEAD', 'Access-Control-Allow-Headers': '*' },
        body: '',
      });
    }
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return write(response, { status: 405, headers: { Allow: 'GET, HEAD, OPTIONS' }, body: '' });
    const match = PATH.exec(resourcePath);
    const title = match && match[1] === deps.org ? deps.serverTitle(match[2] ?? '') : null;
    if (!match || title === null) return plain(response, 404, 'Not found.');
    const document = resourceMetadata({
      resource: endpointOf(match[1] ?? '', match[2] ?? '').resource,
      name: title,
      authorizationServers: deps.issuers,
      scopesSupported: deps.defaultScopes(match[2] ?? ''),
      scopes: deps.scopesOf(match[2] ?? ''),
    });
    write(response, {
      status: 200,
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: request.method === 'HEAD' ? '' : JSON.stringify(document),
    });
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(deps.port, deps.host, () => resolve());
  });
  const { port } = server.address() as AddressInfo;
  origin = deps.publicUrl ?? `http://${deps.host.includes(':') ? `[${deps.host}]` : deps.host}:${port}`;

  guardHost = httpGuards({
    allowedHosts: [new URL(origin).host, ...deps.allowedHosts],
    allowedOrigins: [origin, ...deps.allowedOrigins],
  });

  return {
    url: origin,
    resourceUrl: (name) => endpointOf(deps.org, name).resource,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 2_000).unref();
      }),
  };
}

/** Stands in for a message that was never read, so that its sender can be identified and the refusal recorded. */
const UNREAD: InboundMessage = {
  kind: 'notification',
  era: 'legacy',
  method: '',
  rule: null,
  params: {},
  meta: NO_ENVELOPE,
  protocolVersion: null,
};

/** Null: the client went away. The bound is kept while the bytes come in, whatever Content-Length says. */
function readBody(
  request: IncomingMessage,
  maxBytes: number,
  pending: { bytes: number },
): Promise<Buffer | 'too_large' | null> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.resolve('too_large');
  return new Promise((done) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let over = false;
    const resolve = (body: Buffer | 'too_large' | null): void => {
      if (!over) pending.bytes -= size;
      over = true;
      done(body);
    };
    request.on('data', (chunk: Buffer) => {
      if (over) return;
      size += chunk.length;
      pending.bytes += chunk.length;
      if (size > maxBytes) {
        request.pause();
        resolve('too_large');
      } else chunks.push(chunk);
    });
    request.once('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size)));
    request.once('error', () => resolve(null));
    request.once('close', () => resolve(null));
  });
}

function toWire(reply: Reply, form: 'json' | 'sse', cors: Record<string, string> | null): WireResponse {
  if (reply.kind === 'accepted') return withHeaders(wireAccepted(), cors);
  const wire = reply.kind === 'error' ? wireError(reply.error, form) : wireResponse(reply.id, reply.result, form);
  return reply.headers || cors ? withHeaders(wire, { ...reply.headers, ...cors }) : wire;
}

const withHeaders = (wire: WireResponse, more: Readonly<Record<string, string>> | null): WireResponse => ({
  ...wire,
  headers: { ...wire.headers, ...more },
});

/** Browsers are let in only from listed origins (PH-03). */
function corsHeaders(request: IncomingMessage, allowed: readonly string[]): Record<string, string> | null {
  const origin = request.headers.origin;
  if (!origin || !allowed.includes(origin)) return null;
  return {
    'Access-Control-Allow-Origin': origin,
    Vary: 'Origin',
    'Access-Control-Allow-Methods': 'POST, DELETE',
    'Access-Control-Allow-Headers':
      'Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Mcp-Session-Id',
    'Access-Control-Expose-Headers': 'WWW-Authenticate, Mcp-Session-Id',
  };
}

function write(
  response: ServerResponse,
  reply: { status: number; headers: Readonly<Record<string, string>>; body: string },
  hangUp = false,
): void {
  if (response.destroyed) return;
  // A text body leaves in one write together with the head.
  response.writeHead(reply.status, {
    ...reply.headers,
    'content-length': Buffer.byteLength(reply.body),
    ...(hangUp && { connection: 'close' }),
  });
  response.end(reply.body);
}

function plain(response: ServerResponse, status: number, text: string): void {
  write(response, {
    status,
    headers: {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    },
    body: `${text}\n`,
  });
}
