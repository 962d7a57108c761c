/**
 * The public listener: connection and body limits, Host and Origin, routing, then one message (or one batch) through answer.ts and out.
 * Routes: POST, GET and DELETE /mcp/{org}/{server} and /mcp/{org}; GET …/sse and POST …/messages of a server; RFC 9728 metadata; nothing else.
 * A reply is JSON, or the last event of the response's stream if something went out before it (outlet.ts).
 * Who sends no valid token learns nothing but how to get one: even an unreadable body is answered with 401 then.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PROOF_ALGORITHMS } from '../identity/dpop.ts';
import { metadataPath, resourceMetadata } from '../identity/protected-resource.ts';
import { bag } from '../lib/bag.ts';
import type { Place } from '../lib/bag.ts';
import type { Clock } from '../lib/clock.ts';
import { newId } from '../lib/ids.ts';
import type { Json } from '../lib/json.ts';
import { invalidRequest } from '../protocol/errors.ts';
import { httpGuards } from '../protocol/http-guards.ts';
import { NO_ENVELOPE } from '../protocol/meta.ts';
import { readBody } from '../protocol/read-request.ts';
import type { InboundBatch, InboundMessage, ReadLimits } from '../protocol/read-request.ts';
import { wireAccepted, wireError, wireResponse } from '../protocol/write-response.ts';
import type { WireResponse } from '../protocol/write-response.ts';
import { answer } from './answer.ts';
import type { Call, Endpoint } from './call.ts';
import { corsHeaders } from './cors.ts';
import type { AnswerDeps } from './deps.ts';
import { bodiless, refuseUnread } from './edge.ts';
import type { Inflight } from './inflight.ts';
import { CLOSED, MAX_UNREAD, httpOutlet } from './outlet.ts';
import type { HttpOutlet, Outlet } from './outlet.ts';
import { wantsProof } from './proofs.ts';
import { refuseWith } from './refuse.ts';
import { openSse, postSse } from './sse-endpoint.ts';
import { callLog } from './streams.ts';
import { subjectOf } from './subject.ts';
import { asMessage } from './wire.ts';
import type { Reply } from './wire.ts';

export interface ListenerDeps extends AnswerDeps {
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
    server: string | null,
  ) => ReadonlyArray<{ readonly scope: string; readonly description: string; readonly risk: string }>;
  /** Null: no such server, or none in service. `null` asks for the aggregate. */
  readonly serverTitle: (server: string | null) => string | null;
}

export interface Listener {
  readonly url: string;
  resourceUrl(server: string | null): string;
  close(): Promise<void>;
}

type Shed = 'node_full' | 'body_too_slow' | 'headers_too_slow' | 'headers_too_large' | 'too_many_connections';

interface Waiting extends Place {
  readonly outlet: HttpOutlet;
  readonly since: number;
  readonly inflight: Inflight;
}

const PATH = /^\/mcp\/([a-z0-9-]{1,63})(?:\/([a-z0-9-]{1,63}))?$/;
/** HTTP+SSE of 2024-11-05: the stream, and the address to post to. */
const SSE_PATH = /^\/mcp\/([a-z0-9-]{1,63})\/([a-z0-9-]{1,63})\/(sse|messages)$/;
const METADATA_PREFIX = '/.well-known/oauth-protected-resource';
/** Bodies under way may hold this much before who sends the next one is asked first. */
const UNASKED_BYTES = 64 * 1_048_576;
/** Sockets cost memory before anybody has said who they are. */
const MAX_CONNECTIONS = 10_000;
const HEADERS_WITHIN_MS = 5_000;
const REQUEST_WITHIN_MS = 30_000;
/** After this a body must come at least so fast, from its beginning on. */
const BODY_GRACE_MS = 5_000;
const BODY_BYTES_PER_SECOND = 16_384;
/** A request without an answer for so long gets a sign of life, and another one as often. */
const SIGN_OF_LIFE_MS = 5_000;

export async function startListener(deps: ListenerDeps): Promise<Listener> {
  let origin = '';
  let guardHost: ReturnType<typeof httpGuards> = () => invalidRequest(null, 'not listening yet', 503);
  const server: Server = createServer(
    {
      // Where a header may stand once, two are refused as one wrong value: the next reader might take the other (RFC 9112 3.2 for Host).
      joinDuplicateHeaders: true,
      maxHeaderSize: 32_768,
      headersTimeout: HEADERS_WITHIN_MS,
      requestTimeout: REQUEST_WITHIN_MS,
      keepAliveTimeout: 60_000,
      connectionsCheckingInterval: 1_000,
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
  // Beyond this a connection is closed at once.
  server.maxConnections = MAX_CONNECTIONS;
  holdRoom(server, shed);

  const pending = pendingBodies();

  /** Requests that may be answered by a stream, and since when they wait. */
  const waiting = bag<Waiting>();
  const living = setInterval(() => {
    const before = performance.now() - SIGN_OF_LIFE_MS;
    for (const { outlet, since, inflight } of waiting)
      // A stream begins with 200: who may turn out to be a stranger, or refused, gets none before the guards have passed.
      if (outlet.streaming || (inflight.facts !== null && since <= before)) outlet.keepAlive();
  }, SIGN_OF_LIFE_MS).unref();

  /** Who is turned away before anybody is asked who they are is counted, as strangers are. */
  function shed(reason: Shed): void {
    deps.noise.count(reason);
    deps.telemetry.noise(reason);
  }

  const endpointOf = (org: string, name: string | null): Endpoint => {
    const path = name === null ? `/mcp/${org}` : `/mcp/${org}/${name}`;
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
    const sse = SSE_PATH.exec(path);
    const match = sse ?? PATH.exec(path);
    if (!match) return plain(response, 404, 'Not found.');
    const cors = corsHeaders(request.headers, deps.allowedOrigins);
    if (request.method === 'OPTIONS' && cors) return write(response, { status: 204, headers: cors, body: '' });

    const endpoint = endpointOf(match[1] ?? '', match[2] ?? null);
    if (sse && request.method !== (sse[3] === 'sse' ? 'GET' : 'POST'))
      return plain(response, 405, 'Method not allowed.');
    if (request.method !== 'POST') return withoutBody(endpoint, request, response, cors, sse !== null);
    if (deps.ports.limits.full()) {
      shed('node_full');
      return write(response, { status: 503, headers: { 'Retry-After': '1', Connection: 'close' }, body: '' });
    }
    if (pending.bytes > UNASKED_BYTES) {
      // ATTACKER-CONTROLLED: how many bodies are begun and never ended. Strangers may not have the memory of those who have a token.
      const call = callFor(endpoint, request, UNREAD, CLOSED);
      const stranger = await deps.pipeline.admit(call, 'edge', deps.ports);
      deps.inflight.close(call.inflight);
      if (stranger) return write(response, toWire(await refuseWith(call, stranger, deps), 'json', cors), true);
    }
    const body = await collect(request, deps.readLimits.maxBytes, pending);
    if (body === null) return; // the client went away
    if (body === 'too_slow') {
      shed('body_too_slow');
      return write(response, { status: 408, headers: cors ?? {}, body: '' }, true);
    }
    const read = body === 'too_large' ? null : readBody(body, request.headers, deps.readLimits);
    if (sse && read) return posted(endpoint, request, response, read, cors);
    if (!read?.ok) {
      const error = read ? read.error : invalidRequest(null, 'The request body is too large', 413);
      const reply = await refuseUnread(callFor(endpoint, request, UNREAD, CLOSED), error, deps);
      return write(response, toWire(reply, 'json', cors), body === 'too_large');
    }
    return read.value.kind === 'batch'
      ? batch(endpoint, request, response, read.value, cors)
      : single(endpoint, request, response, read.value, cors);
  }

  async function single(
    endpoint: Endpoint,
    request: IncomingMessage,
    response: ServerResponse,
    message: InboundMessage,
    cors: Record<string, string> | null,
  ): Promise<void> {
    const streams = message.kind === 'request' && message.accepts.sse;
    const outlet = streams ? outletFor(response, cors, () => call) : null;
    const call = callFor(endpoint, request, message, outlet ?? CLOSED);
    // M13: for a modern client leaving is cancelling. L5: for a legacy client it is not.
    const onClose = (): void => {
      if (!response.writableFinished && message.era === 'modern') deps.inflight.cancel(call.inflight, 'client_gone');
    };
    response.on('close', onClose);
    const place = outlet && { at: -1, outlet, since: performance.now(), inflight: call.inflight };
    if (place) waiting.add(place);
    try {
      const reply = await answer(call, deps);
      if (outlet && (outlet.streaming || wantsStream(message, reply))) return outlet.finish(asMessage(reply));
      const form = message.kind === 'request' && !message.accepts.json ? 'sse' : 'json';
      write(response, toWire(reply, form, cors));
    } finally {
      if (place) waiting.remove(place);
      if (!call.inflight.held) deps.inflight.close(call.inflight);
    }
  }

  /** Each element is a message of its own, with guards, decision and entries of its own; only the transport is shared (L4). */
  async function batch(
    endpoint: Endpoint,
    request: IncomingMessage,
    response: ServerResponse,
    { elements }: InboundBatch,
    cors: Record<string, string> | null,
  ): Promise<void> {
    const session = deps.sessions.open(String(request.headers['mcp-session-id'] ?? ''));
    if (!session.ok || session.value.version !== '2025-03-26') {
      const error = invalidRequest(null, 'Send one message per request: only version 2025-03-26 has batches');
      const reply = await refuseUnread(callFor(endpoint, request, UNREAD, CLOSED), error, deps);
      return write(response, toWire(reply, 'json', cors));
    }
    const replies: Json[] = [];
    // What was carried out already is answered, even if the token ends in between: whoever hears only 401 sends it all again.
    const challenges = (reply: Reply): boolean => replies.length === 0 && isChallenge(reply);
    for (const element of elements) {
      if (!element.ok) {
        const reply = await refuseUnread(callFor(endpoint, request, UNREAD, CLOSED), element.error, deps);
        if (challenges(reply)) return write(response, toWire(reply, 'json', cors));
        replies.push(asMessage(reply));
        continue;
      }
      const call = callFor(endpoint, request, element.value, CLOSED);
      try {
        const reply = await answer(call, deps);
        if (challenges(reply)) return write(response, toWire(reply, 'json', cors));
        if (reply.kind !== 'accepted') replies.push(asMessage(reply));
      } finally {
        if (!call.inflight.held) deps.inflight.close(call.inflight);
      }
    }
    const whole =
      replies.length === 0
        ? wireAccepted()
        : {
            status: 200,
            headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
            body: JSON.stringify(replies),
          };
    write(response, withHeaders(whole, cors));
  }

  async function withoutBody(
    endpoint: Endpoint,
    request: IncomingMessage,
    response: ServerResponse,
    cors: Record<string, string> | null,
    sse: boolean,
  ): Promise<void> {
    const outlet = request.method === 'GET' ? outletFor(response, cors, () => call, sse) : null;
    const call = callFor(endpoint, request, outlet ? HEARING : UNREAD, outlet ?? CLOSED);
    response.on('close', () => deps.inflight.cancel(call.inflight, 'client_gone'));
    // Nothing is streamed before the guards have passed, however long they take.
    const place = outlet && { at: -1, outlet, since: Number.POSITIVE_INFINITY, inflight: call.inflight };
    if (place) waiting.add(place);
    try {
      const reply =
        sse && outlet ? await openSse(call, outlet, deps) : await bodiless(call, request.method ?? '', outlet, deps);
      if (outlet?.streaming) response.end();
      else write(response, toWire(reply, 'json', cors));
    } finally {
      if (place) waiting.remove(place);
    }
  }

  /** HTTP+SSE: the message belongs to a stream that is open elsewhere. */
  async function posted(
    endpoint: Endpoint,
    request: IncomingMessage,
    response: ServerResponse,
    read: ReturnType<typeof readBody>,
    cors: Record<string, string> | null,
  ): Promise<void> {
    const named = new URL(request.url ?? '/', 'http://unused.invalid').searchParams.getAll('session');
    const message = read.ok
      ? read.value.kind === 'batch'
        ? invalidRequest(null, 'Send one message per request: HTTP+SSE has no batches here')
        : read.value
      : read.error;
    const reply = await postSse(
      (about, session, outlet) => {
        const { 'mcp-session-id': _sent, ...headers } = request.headers;
        const call = callFor(endpoint, request, about ?? UNREAD, outlet ?? CLOSED);
        return { ...call, headers: { ...headers, ...(session !== undefined && { 'mcp-session-id': session }) } };
      },
      named.length === 1 ? named[0]! : '',
      message,
      deps,
    );
    write(response, toWire(reply, 'json', cors));
  }

  /** Legacy sessions can go on with a stream elsewhere; the session is known once the guards have passed. */
  function outletFor(
    response: ServerResponse,
    cors: Record<string, string> | null,
    call: () => Call,
    replies = false,
  ): HttpOutlet {
    return httpOutlet(response, {
      headers: cors ?? {},
      log: () => callLog(call(), deps.streams),
      primes: () => call().facts.session?.version === '2025-11-25',
      maxUnread: () => (replies || call().message.rule?.family !== 'listen' ? MAX_UNREAD.reply : MAX_UNREAD.endless),
    });
  }

  function callFor(endpoint: Endpoint, request: IncomingMessage, message: InboundMessage, outlet: Outlet): Call {
    const id = newId('call', deps.clock);
    const subject = subjectOf(endpoint, message);
    const timeoutMs = Math.min(
      deps.callTimeoutMs,
      deps.snapshot().servers.get(subject.server ?? '')?.record.timeoutMs ?? deps.callTimeoutMs,
    );
    return {
      id,
      startedAt: deps.clock.now(),
      endpoint,
      message,
      subject,
      outlet,
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      rawUrl: request.url ?? '/',
      httpMethod: request.method ?? '',
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
    const name = match?.[2] ?? null;
    const title = match && match[1] === deps.org ? deps.serverTitle(name) : null;
    if (!match || title === null) return plain(response, 404, 'Not found.');
    const document = resourceMetadata({
      resource: endpointOf(match[1] ?? '', name).resource,
      name: title,
      authorizationServers: deps.issuers,
      scopesSupported: deps.defaultScopes(name),
      scopes: deps.scopesOf(name),
      proofs: { algorithms: PROOF_ALGORITHMS, required: wantsProof(deps.snapshot(), name) },
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
        clearInterval(living);
        pending.stop();
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

/** Stands in for the GET of a session, which has no message: it listens. */
const HEARING: InboundMessage = {
  ...UNREAD,
  method: 'GET',
  rule: { family: 'listen', kind: 'notification', eras: ['legacy'], name: null, members: {} },
};

/**
 * ATTACKER-CONTROLLED: how many connections one address opens and keeps. One holds at most half of all; behind a proxy there is only one.
 * When few are left, those on which nothing happens are given up.
 */
function holdRoom(server: Server, shed: (reason: Shed) => void): void {
  const byAddress = new Map<string, number>();
  let open = 0;
  let shedAt = 0;
  server.on('connection', (socket) => {
    const address = socket.remoteAddress ?? '';
    const theirs = (byAddress.get(address) ?? 0) + 1;
    byAddress.set(address, theirs);
    open++;
    socket.once('close', () => {
      open--;
      const left = byAddress.get(address)! - 1;
      if (left === 0) byAddress.delete(address);
      else byAddress.set(address, left);
    });
    // What ended it, once node has answered as it does.
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ERR_HTTP_REQUEST_TIMEOUT') shed('headers_too_slow');
      else if (code === 'HPE_HEADER_OVERFLOW') shed('headers_too_large');
    });
    if (theirs > MAX_CONNECTIONS / 2) {
      shed('too_many_connections');
      return void socket.destroy();
    }
    if (open > MAX_CONNECTIONS * 0.8 && performance.now() - shedAt > 1_000) {
      shedAt = performance.now();
      server.closeIdleConnections();
    }
  });
}

interface PendingBody extends Place {
  readonly since: number;
  size: number;
  giveUp(): void;
}

/** Bodies that are not complete yet. Who sends one by drops holds a socket and a place; it has a pace to keep. */
function pendingBodies() {
  const bodies = bag<PendingBody>();
  const timer = setInterval(() => {
    const now = performance.now();
    for (const body of bodies) {
      const ms = now - body.since;
      if (ms > BODY_GRACE_MS && body.size < (ms / 1_000) * BODY_BYTES_PER_SECOND) body.giveUp();
    }
  }, 1_000).unref();
  return { bytes: 0, bodies, stop: () => clearInterval(timer) };
}

/** Null: the client went away. The bound is kept while the bytes come in, whatever Content-Length says. */
function collect(
  request: IncomingMessage,
  maxBytes: number,
  pending: ReturnType<typeof pendingBodies>,
): Promise<Buffer | 'too_large' | 'too_slow' | null> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.resolve('too_large');
  return new Promise((done) => {
    const chunks: Buffer[] = [];
    let size = 0;
    let over = false;
    const place: PendingBody = { at: -1, since: performance.now(), size: 0, giveUp: () => resolve('too_slow') };
    pending.bodies.add(place);
    const resolve = (body: Buffer | 'too_large' | 'too_slow' | null): void => {
      pending.bodies.remove(place);
      if (!over) pending.bytes -= size;
      over = true;
      done(body);
    };
    request.on('data', (chunk: Buffer) => {
      if (over) return;
      size += chunk.length;
      place.size = size;
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

/** A client that names the stream first gets a result as one; a status or header of its own needs a plain answer. */
const wantsStream = (message: InboundMessage, reply: Reply): boolean =>
  message.kind === 'request' && message.accepts.streamFirst === true && reply.kind === 'result' && !reply.headers;

/** A refusal about the sender concerns the whole request, whatever else stood in it. */
const isChallenge = (reply: Reply): boolean => reply.kind === 'error' && reply.error.httpStatus === 401;

function toWire(reply: Reply, form: 'json' | 'sse', cors: Record<string, string> | null): WireResponse {
  if (reply.kind === 'accepted') return withHeaders(wireAccepted(), cors);
  const wire = reply.kind === 'error' ? wireError(reply.error, form) : wireResponse(reply.id, reply.result, form);
  return reply.headers || cors ? withHeaders(wire, { ...reply.headers, ...cors }) : wire;
}

const withHeaders = (wire: WireResponse, more: Readonly<Record<string, string>> | null): WireResponse => ({
  ...wire,
  headers: { ...wire.headers, ...more },
});

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
