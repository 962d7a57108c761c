/**
 * A server of ours on the real SDK that has everything the conformance suite asks for, in both eras on one route.
 * A program: `node everything.ts [--era both|legacy|modern] [--port N]` listens on 127.0.0.1 and prints its URL. It asks nobody for a token.
 * The tools are in `answers.ts`, `questions.ts` and `jobs.ts`, the rest in `reading.ts`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import {
  type NodeIncomingMessageLike,
  NodeStreamableHTTPServerTransport,
  localhostHostValidation,
  localhostOriginValidation,
  toNodeHandler,
} from '@modelcontextprotocol/node';
import {
  type ClientCapabilities,
  type ServerContext,
  CLIENT_CAPABILITIES_META_KEY,
  McpServer,
  ProtocolError,
  ProtocolErrorCode,
  classifyInboundRequest,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  isInitializeRequest,
} from '@modelcontextprotocol/server';
import type { JsonObject } from '../../src/lib/json.ts';
import { ANSWERING } from './answers.ts';
import { eventStore } from './event-store.ts';
import { JOBS } from './jobs.ts';
import { ASKING } from './questions.ts';
import { addCompletion, addPrompts, addResources } from './reading.ts';
import { type Surroundings, type Tool, text } from './tool.ts';

export const SERVED = ['both', 'legacy', 'modern'] as const;
export type Served = (typeof SERVED)[number];

const TOOLS: ReadonlyMap<string, Tool> = new Map([...ANSWERING, ...ASKING, ...JOBS].map((tool) => [tool.name, tool]));

const states = createRequestStateCodec<Record<string, unknown>>({ key: randomBytes(32) });

/** What comes and goes in the lists. */
interface Shown {
  tools: boolean;
  prompts: boolean;
}

interface Instance {
  readonly server: McpServer;
  /** Brings the lists of this instance up to date; in a session that tells the client. */
  show(shown: Shown): void;
}

interface Session extends Instance {
  readonly transport: NodeStreamableHTTPServerTransport;
}

export interface Everything {
  readonly url: string;
  close(): Promise<void>;
}

/** One instance per legacy session, and per modern request. */
function everythingServer(around: Surroundings, shown: Shown): Instance {
  const server = new McpServer(
    { name: 'everything', version: '1.0.0' },
    {
      instructions: 'A server for the conformance suite.',
      capabilities: {
        tools: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        prompts: { listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: states.verify },
    },
  );
  for (const { name, description, inputSchema, taskSupport } of TOOLS.values()) {
    const registered = server.registerTool(name, { description, inputSchema: fromJsonSchema(inputSchema) }, () =>
      text('never called'),
    );
    if (taskSupport) registered.execution = { taskSupport };
    else delete registered.execution;
  }
  const tool = server.registerTool('sometimes', { description: 'Comes and goes.' }, () => text('Here I am.'));
  // McpServer answers every failure of a tool as a result. One tool here has to fail as a request, so calls are handled here.
  server.server.setRequestHandler('tools/call', async ({ params }, ctx) => {
    if (params.name === 'sometimes') return text('Here I am.');
    const called = TOOLS.get(params.name);
    if (!called) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `There is no tool ${params.name}.`);
    return called.run((params.arguments ?? {}) as JsonObject, ctx, around);
  });
  addResources(server);
  const prompt = addPrompts(server);
  addCompletion(server);
  const show = ({ tools, prompts }: Shown): void => {
    if (tool.enabled !== tools) tool.update({ enabled: tools });
    if (prompt.enabled !== prompts) prompt.update({ enabled: prompts });
  };
  show(shown);
  return { server, show };
}

/** The modern SDK takes `execution` out of tool definitions, because that era gave the word to extensions. It stands in ours. */
async function withExecution(response: Response): Promise<Response> {
  if (!response.headers.get('content-type')?.startsWith('application/json')) return response;
  const body = (await response.json()) as { result?: { tools?: Array<{ name: string; execution?: unknown }> } };
  for (const tool of body.result?.tools ?? []) {
    const taskSupport = TOOLS.get(tool.name)?.taskSupport;
    if (taskSupport) tool.execution = { taskSupport };
  }
  const headers = new Headers(response.headers);
  headers.delete('content-length');
  return new Response(JSON.stringify(body), { status: response.status, headers });
}

export async function startEverything(served: Served, port = 0): Promise<Everything> {
  const sessions = new Map<string, Session>();
  const sessionOf = ({ sessionId }: ServerContext) => (sessionId === undefined ? undefined : sessions.get(sessionId));
  const shown: Shown = { tools: true, prompts: true };
  const around: Surroundings = {
    change: (what) => {
      if (typeof what === 'object') {
        for (const { server } of sessions.values())
          void server.server.sendResourceUpdated({ uri: what.resource }).catch(() => undefined);
        modern.notify.resourceUpdated(what.resource);
        return;
      }
      shown[what] = !shown[what];
      for (const session of sessions.values()) session.show(shown);
      if (what === 'tools') modern.notify.toolsChanged();
      else modern.notify.promptsChanged();
    },
    closeStream: (ctx) => sessionOf(ctx)?.transport.closeSSEStream(ctx.mcpReq.id),
    declared: (ctx) => {
      const session = sessionOf(ctx);
      if (session) return session.server.server.getClientCapabilities();
      const envelope: Readonly<Record<string, unknown>> = ctx.mcpReq.envelope ?? {};
      return envelope[CLIENT_CAPABILITIES_META_KEY] as ClientCapabilities | undefined;
    },
    seal: (state) => states.mint(state),
  };
  const modern = createMcpHandler(() => everythingServer(around, shown).server, { legacy: 'reject' });
  const serveModern = toNodeHandler({
    fetch: async (request, options) => {
      const lists = request.headers.get('mcp-method') === 'tools/list';
      const response = await modern.fetch(request, options);
      return lists ? withExecution(response) : response;
    },
  });

  async function openSession(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const instance = everythingServer(around, shown);
    const transport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: eventStore(),
      retryInterval: 500,
      onsessioninitialized: (id) => void sessions.set(id, { ...instance, transport }),
    });
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- the transport of the SDK has no other way
    transport.onclose = () => {
      if (transport.sessionId !== undefined) sessions.delete(transport.sessionId);
    };
    await instance.server.connect(transport);
    await transport.handleRequest(request, response, body);
  }

  async function serveLegacy(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<void> {
    const id = request.headers['mcp-session-id'];
    if (id === undefined && isInitializeRequest(body)) return openSession(request, response, body);
    const session = typeof id === 'string' ? sessions.get(id) : undefined;
    if (session) return session.transport.handleRequest(request, response, body);
    const [status, message] =
      id === undefined ? [400, 'A session id is required.'] : [404, 'There is no such session.'];
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32000, message } }));
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!allowsHost(request, response) || !allowsOrigin(request, response)) return;
    const body = request.method === 'POST' ? await bodyOf(request) : undefined;
    const route = classifyInboundRequest({
      httpMethod: request.method ?? 'GET',
      ...headerAs(request, 'mcp-protocol-version', 'protocolVersionHeader'),
      ...headerAs(request, 'mcp-method', 'mcpMethodHeader'),
      ...headerAs(request, 'mcp-name', 'mcpNameHeader'),
      body,
    });
    if (served === 'modern' || (served === 'both' && route.kind !== 'legacy'))
      await serveModern(request as NodeIncomingMessageLike, response, body);
    else await serveLegacy(request, response, body);
  }

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      process.stderr.write(`everything: ${String(error)}\n`);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await Promise.all([modern.close(), ...[...sessions.values()].map((session) => session.server.close())]);
      await closed;
    },
  };
}

const allowsHost = localhostHostValidation();
const allowsOrigin = localhostOriginValidation();

function headerAs<K extends string>(request: IncomingMessage, name: string, key: K): Partial<Record<K, string>> {
  const value = request.headers[name];
  return typeof value === 'string' ? ({ [key]: value } as Record<K, string>) : {};
}

/** The parsed body; undefined when it is not JSON, which both eras answer as a parse error. */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { era: { type: 'string', default: 'both' }, port: { type: 'string', default: '0' } },
  });
  const era = SERVED.find((one) => one === values.era);
  if (!era) throw new Error(`--era is ${SERVED.join(', ')}, not ${values.era}`);
  const everything = await startEverything(era, Number(values.port));
  process.stdout.write(`${everything.url}\n`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void everything.close().then(() => process.exit(0)));
}
