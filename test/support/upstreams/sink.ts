/**
 * The oracle of the control tests: an MCP server on loopback that keeps every byte it receives, headers included.
 * Speaks modern (2026-07-28) or legacy (sessions). What it answers is scripted: `setTools`, `onCall`, `on`, `intercept`;
 * what it says and asks before it answers, too: `SinkCall.notify`, `SinkCall.ask`.
 * It is written on node:http and shares no code with the product, so that a mistake there is not repeated here.
 */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

type Json = Record<string, unknown>;

export interface SinkRequest {
  readonly httpMethod: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Name and value in turn, as received. */
  readonly rawHeaders: readonly string[];
  readonly body: string;
  /** The parsed body, or null. */
  readonly message: Json | null;
}

export interface SinkCall {
  readonly name: string;
  readonly arguments: Json;
  readonly message: Json;
  readonly request: SinkRequest;
  /** Fires when the gateway goes away before the answer. */
  readonly gone: Promise<void>;
  /** One notification on the stream of this call, which becomes one with the first. */
  notify(method: string, params: Json): void;
  /** A request of ours to the client on the same stream (legacy): its whole response. */
  ask(method: string, params: Json): Promise<Json>;
}

export type SinkAnswer = (call: SinkCall) => Json | Promise<Json>;

/** A whole HTTP answer, or `hang` (never answer), or `drop` (cut the connection). `null`: answer as usual. */
export type Intercepted =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer }
  | 'hang'
  | 'drop'
  | null;

export interface SinkOptions {
  readonly era?: 'modern' | 'legacy';
  /** Answer requests as JSON or as an event stream. Default json. */
  readonly answer?: 'json' | 'sse';
}

/** What it offers besides tools. A kind that is not named is not advertised. */
export interface SinkOffer {
  readonly prompts?: readonly Json[];
  readonly resources?: readonly Json[];
  readonly resourceTemplates?: readonly Json[];
  /** It tells of changes of its resources; script `resources/subscribe`. */
  readonly subscribe?: boolean;
}

export interface Sink {
  readonly url: string;
  readonly era: 'modern' | 'legacy';
  /** Every HTTP request since start, oldest first. */
  readonly received: readonly SinkRequest[];
  /** The tools/call requests among them. */
  calls(): readonly SinkRequest[];
  /** Everything received as one text, to grep for what must never have left. */
  wire(): string;
  /** Also tells open listeners that the list changed. */
  setTools(tools: readonly Json[]): void;
  /** Before the first connection: what is advertised is read once. `prompts/get` and `resources/read` answer with what they were sent. */
  offer(offer: SinkOffer): void;
  /** Requests of this method among those received. */
  requests(method: string): readonly SinkRequest[];
  /** What tools/call answers. Default: echoes the arguments as text. */
  onCall(fn: SinkAnswer): void;
  /** What another method answers; a result of the form `{ error }` is an error. `name` is the name or URI asked for. */
  on(method: string, fn: SinkAnswer): void;
  intercept(fn: ((request: SinkRequest) => Intercepted) | null): void;
  /** Forgets all legacy sessions, as a restart would. */
  dropSessions(): void;
  readonly sessions: ReadonlySet<string>;
  close(): Promise<void>;
}

export const ECHO_TOOL: Json = {
  name: 'echo',
  description: 'Returns its text.',
  inputSchema: {
    type: 'object',
    properties: { text: { type: 'string' } },
    required: ['text'],
    additionalProperties: false,
  },
};

const META = 'io.modelcontextprotocol/';

export async function startSink(options: SinkOptions = {}): Promise<Sink> {
  const era = options.era ?? 'modern';
  const received: SinkRequest[] = [];
  const sessions = new Set<string>();
  const listeners = new Map<ServerResponse, unknown>();
  let tools: readonly Json[] = [ECHO_TOOL];
  let offered: SinkOffer = {};
  const capabilities = (): Json => ({
    tools: { listChanged: true },
    ...(offered.prompts && { prompts: {} }),
    ...((offered.resources ?? offered.resourceTemplates) && {
      resources: offered.subscribe ? { subscribe: true } : {},
    }),
  });
  const asked = new Map<string, (response: Json) => void>();
  const answers = new Map<string, SinkAnswer>([
    ['tools/call', (call) => ({ content: [{ type: 'text', text: JSON.stringify(call.arguments) }] })],
  ]);
  let intercept: ((request: SinkRequest) => Intercepted) | null = null;

  const stamp = (result: Json): Json =>
    era === 'modern'
      ? {
          resultType: 'complete',
          ...result,
          _meta: { [`${META}serverInfo`]: { name: 'sink', version: '1' }, ...(result['_meta'] as Json) },
        }
      : result;

  function send(response: ServerResponse, id: unknown, payload: Json, headers: Record<string, string> = {}): void {
    const text = JSON.stringify({ jsonrpc: '2.0', id, ...payload });
    if (response.headersSent) response.end(`data: ${text}\n\n`);
    else if (options.answer === 'sse') {
      response.writeHead(200, { 'content-type': 'text/event-stream', ...headers });
      response.end(`: keep-alive\n\nevent: message\ndata: ${text}\n\n`);
    } else {
      response.writeHead(200, { 'content-type': 'application/json', ...headers });
      response.end(text);
    }
  }

  function fail(
    response: ServerResponse,
    status: number,
    id: unknown,
    code: number,
    message: string,
    data?: Json,
  ): void {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: { code, message, ...(data && { data }) } }));
  }

  function listen(response: ServerResponse, subscription: unknown): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    listeners.set(response, subscription);
    response.once('close', () => listeners.delete(response));
    if (subscription !== null) {
      notify(
        response,
        'notifications/subscriptions/acknowledged',
        { notifications: { toolsListChanged: true } },
        subscription,
      );
    }
  }

  function notify(response: ServerResponse, method: string, params: Json, subscription: unknown): void {
    const _meta = subscription === null ? undefined : { [`${META}subscriptionId`]: subscription };
    response.write(
      `data: ${JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, ...(_meta && { _meta }) } })}\n\n`,
    );
  }

  async function serve(request: SinkRequest, response: ServerResponse): Promise<void> {
    const { message } = request;
    const id = message?.['id'];
    const method = message?.['method'];
    const params = (message?.['params'] ?? {}) as Json;
    const session = request.headers['mcp-session-id'];

    if (era === 'legacy') {
      if (method !== 'initialize' && (typeof session !== 'string' || !sessions.has(session))) {
        return fail(response, session === undefined ? 400 : 404, null, -32001, 'Session not found');
      }
      if (request.httpMethod === 'GET') return listen(response, null);
      if (request.httpMethod === 'DELETE') {
        sessions.delete(session as string);
        return void response.writeHead(204).end();
      }
    } else if (request.httpMethod !== 'POST') return void response.writeHead(405).end();

    if (message === null) return fail(response, 400, null, -32700, 'not JSON');
    if (id === undefined) return void response.writeHead(202).end();
    if (method === undefined) {
      const key = typeof id === 'string' ? id : '';
      asked.get(key)?.(message);
      asked.delete(key);
      return void response.writeHead(202).end();
    }

    if (era === 'modern') {
      const meta = (params['_meta'] ?? {}) as Json;
      if (method === 'initialize')
        return fail(response, 400, id, -32022, 'unsupported', { supported: ['2026-07-28'], requested: 'legacy' });
      if (meta[`${META}protocolVersion`] !== '2026-07-28' || meta[`${META}clientCapabilities`] === undefined) {
        return fail(response, 400, id, -32602, 'the envelope is missing');
      }
      if (request.headers['mcp-method'] !== method)
        return fail(response, 400, id, -32020, 'Mcp-Method differs from the body');
    }

    const answer = typeof method === 'string' ? answers.get(method) : undefined;
    if (answer) return scripted(answer, request, response);
    switch (method) {
      case 'server/discover':
        if (era === 'legacy') return fail(response, 200, id, -32601, 'Method not found');
        return send(response, id, {
          result: stamp({
            supportedVersions: ['2026-07-28'],
            capabilities: capabilities(),
            ttlMs: 0,
            cacheScope: 'private',
          }),
        });
      case 'initialize': {
        const minted = randomUUID();
        sessions.add(minted);
        const result = {
          protocolVersion: '2025-11-25',
          capabilities: capabilities(),
          serverInfo: { name: 'sink', version: '1' },
          instructions: 'Everything sent here is kept.',
        };
        return send(response, id, { result }, { 'mcp-session-id': minted });
      }
      case 'ping':
        return send(response, id, { result: {} });
      case 'subscriptions/listen':
        return listen(response, id);
      case 'tools/list':
        return send(response, id, {
          result: stamp({ tools, ...(era === 'modern' && { ttlMs: 0, cacheScope: 'private' }) }),
        });
      case 'prompts/list':
      case 'resources/list':
      case 'resources/templates/list': {
        const member =
          { 'prompts/list': 'prompts', 'resources/list': 'resources' }[method as string] ?? 'resourceTemplates';
        const items = offered[member as keyof SinkOffer] ?? [];
        return send(response, id, {
          result: stamp({ [member]: items, ...(era === 'modern' && { ttlMs: 0, cacheScope: 'private' }) }),
        });
      }
      case 'prompts/get': {
        const text = JSON.stringify(params['arguments'] ?? {});
        return send(response, id, { result: stamp({ messages: [{ role: 'user', content: { type: 'text', text } }] }) });
      }
      case 'resources/read': {
        const contents = [{ uri: params['uri'], mimeType: 'text/plain', text: `the text of ${String(params['uri'])}` }];
        return send(response, id, {
          result: stamp({ contents, ...(era === 'modern' && { ttlMs: 0, cacheScope: 'private' }) }),
        });
      }
      default:
        return fail(response, era === 'modern' ? 404 : 200, id, -32601, 'Method not found');
    }
  }

  async function scripted(answer: SinkAnswer, request: SinkRequest, response: ServerResponse): Promise<void> {
    const message = request.message!;
    const params = (message['params'] ?? {}) as Json;
    const say = (text: Json): void => {
      if (response.destroyed) return;
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...text })}\n\n`);
    };
    const result = await answer({
      name: [params['name'], params['uri']].find((one) => typeof one === 'string') ?? '',
      arguments: (params['arguments'] ?? {}) as Json,
      message,
      request,
      gone: new Promise<void>((resolve) => response.once('close', resolve)),
      notify: (method, more) => say({ method, params: more }),
      ask: (method, more) => {
        const id = randomUUID();
        say({ id, method, params: more });
        return new Promise((resolve) => asked.set(id, resolve));
      },
    });
    if (response.destroyed) return;
    send(
      response,
      message['id'],
      result['error'] === undefined ? { result: stamp(result) } : { error: result['error'] },
    );
  }

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString('utf8');
    const request: SinkRequest = {
      httpMethod: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers,
      rawHeaders: incoming.rawHeaders,
      body,
      message: parse(body),
    };
    received.push(request);
    const instead = intercept?.(request) ?? null;
    if (instead === 'hang') return;
    if (instead === 'drop') return void incoming.socket.destroy();
    if (instead !== null) {
      response.writeHead(instead.status, instead.headers ?? {});
      response.end(instead.body ?? '');
      return;
    }
    await serve(request, response);
  }

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    era,
    received,
    sessions,
    calls: () => received.filter(({ message }) => message?.['method'] === 'tools/call'),
    offer: (offer) => void (offered = offer),
    requests: (method) => received.filter(({ message }) => message?.['method'] === method),
    wire: () => received.map(({ path, rawHeaders, body }) => [path, ...rawHeaders, body].join('\n')).join('\n'),
    setTools: (next) => {
      tools = next;
      for (const [response, subscription] of listeners)
        notify(response, 'notifications/tools/list_changed', {}, subscription);
    },
    onCall: (fn) => void answers.set('tools/call', fn),
    on: (method, fn) => void answers.set(method, fn),
    intercept: (fn) => void (intercept = fn),
    dropSessions: () => {
      sessions.clear();
      for (const response of listeners.keys()) response.destroy();
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function parse(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
  } catch {
    return null;
  }
}
