/** A real legacy (2025-11-25) server on SDK v1. As a program it serves stdio; `startLegacy` serves HTTP with sessions on loopback. */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js';
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import {
  CreateMessageResultSchema,
  ElicitResultSchema,
  ListRootsResultSchema,
  type ServerRequest,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { RunningServer } from './modern-server.ts';

let cancelled = 0;
let grown = 0;

const touchers = new WeakMap<McpServer, () => Promise<void>>();

const QUESTIONS: Record<string, { request: ServerRequest; schema: z.ZodType<Record<string, unknown>> }> = {
  elicitation: {
    request: {
      method: 'elicitation/create',
      params: {
        mode: 'form',
        message: 'Which colour?',
        requestedSchema: { type: 'object', properties: { colour: { type: 'string' } } },
      },
    },
    schema: ElicitResultSchema,
  },
  sampling: {
    request: {
      method: 'sampling/createMessage',
      params: { messages: [{ role: 'user', content: { type: 'text', text: 'A haiku' } }], maxTokens: 10 },
    },
    schema: CreateMessageResultSchema,
  },
  roots: { request: { method: 'roots/list' }, schema: ListRootsResultSchema },
};

function legacyServer(): McpServer {
  const server = new McpServer(
    { name: 'legacy', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
        tasks: { cancel: {}, requests: { tools: { call: {} } } },
      },
      taskStore: new InMemoryTaskStore(),
      taskMessageQueue: new InMemoryTaskMessageQueue(),
      instructions: 'Echo things.',
    },
  );
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
  server.registerTool('echo', { inputSchema: { text: z.string() } }, ({ text: value }) => text(value));
  server.registerTool('fail', {}, () => ({ ...text('as asked'), isError: true }));
  server.registerTool('cancelled', {}, () => text(String(cancelled)));
  server.registerTool('slow', {}, async ({ signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    cancelled++;
    return text('cancelled');
  });
  server.registerTool('progress', {}, async ({ _meta, sendNotification }) => {
    const progressToken = _meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [1, 2, 3])
      await sendNotification({
        method: 'notifications/progress',
        params: { progressToken: progressToken!, progress, total: 3 },
      });
    return text(String(progressToken));
  });
  server.registerTool('log', {}, async ({ sendNotification }) => {
    await sendNotification({ method: 'notifications/message', params: { level: 'debug', data: 'a detail' } });
    await sendNotification({ method: 'notifications/message', params: { level: 'warning', data: 'a worry' } });
    return text('logged');
  });
  // `loose`: on the stream of the session, as most servers written with this SDK do.
  const what = { what: z.string(), loose: z.boolean().optional() };
  server.registerTool('ask', { inputSchema: what }, async ({ what: kind, loose }, { sendRequest }) => {
    const { request, schema } = QUESTIONS[kind]!;
    return text(JSON.stringify(await (loose ? server.server.request(request, schema) : sendRequest(request, schema))));
  });
  server.registerTool('hop', {}, async ({ closeSSEStream, sendNotification, _meta }) => {
    closeSSEStream?.();
    await sendNotification({
      method: 'notifications/progress',
      params: { progressToken: _meta?.progressToken ?? 0, progress: 1 },
    });
    return text('hopped');
  });
  server.experimental.tasks.registerToolTask(
    'long',
    {
      inputSchema: { fail: z.boolean().optional(), ask: z.boolean().optional() },
      execution: { taskSupport: 'required' },
    },
    {
      createTask: async ({ fail, ask }, { taskStore }) => {
        const task = await taskStore.createTask({ ttl: 60_000, pollInterval: 50 });
        const work = async (): Promise<void> => {
          const { request, schema } = QUESTIONS['elicitation']!;
          if (ask) await taskStore.updateTaskStatus(task.taskId, 'input_required');
          const answer = ask
            ? await server.server.request(request, schema, { relatedTask: { taskId: task.taskId } })
            : 'done';
          await taskStore.storeTaskResult(task.taskId, fail ? 'failed' : 'completed', {
            ...text(JSON.stringify(answer)),
            isError: fail === true,
          });
        };
        setTimeout(() => void work(), 100);
        return { task };
      },
      getTask: (_args, { taskId, taskStore }) => taskStore.getTask(taskId),
      getTaskResult: async (_args, { taskId, taskStore }) => (await taskStore.getTaskResult(taskId)) as never,
    },
  );
  server.registerResource('note', 'note://one', {}, (uri) => ({ contents: [{ uri: uri.href, text: 'one' }] }));
  server.registerPrompt('greeting', {}, () => ({ messages: [] }));
  const subscribed = new Set<string>();
  server.server.setRequestHandler(SubscribeRequestSchema, ({ params }) => (subscribed.add(params.uri), {}));
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => (subscribed.delete(params.uri), {}));
  const touch = async (): Promise<void> => {
    if (subscribed.has('note://one')) await server.server.sendResourceUpdated({ uri: 'note://one' });
  };
  touchers.set(server, touch);
  server.registerTool('touch', {}, async () => (await touch(), text('touched')));
  server.registerTool('grow', {}, () => {
    server.registerTool(`grown-${++grown}`, {}, () => text('grown'));
    return text('grown');
  });
  return server;
}

export interface RunningLegacy extends RunningServer {
  readonly sessions: ReadonlyMap<string, unknown>;
  /** As a restart would. */
  dropSessions(): void;
}

export async function startLegacy(): Promise<RunningLegacy> {
  const sessions = new Map<string, { transport: StreamableHTTPServerTransport; server: McpServer }>();

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? sessions.get(id) : undefined;
    if (known !== undefined) return known.transport.handleRequest(request, response);
    if (id !== undefined) {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}');
      return;
    }
    const server = legacyServer();
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      // So that streams can be left and resumed.
      eventStore: new InMemoryEventStore(),
      retryInterval: 30,
      onsessioninitialized: (session) => void sessions.set(session, { transport, server }),
      onsessionclosed: (session) => void sessions.delete(session),
    });
    await server.connect(transport);
    await transport.handleRequest(request, response);
  }

  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    sessions,
    dropSessions: () => sessions.clear(),
    changeTools: () => {
      for (const one of sessions.values()) one.server.sendToolListChanged();
    },
    changeResource: () => {
      for (const one of sessions.values()) void touchers.get(one.server)?.();
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The same server over HTTP+SSE of 2024-11-05. */
export async function startSseServer(): Promise<RunningServer> {
  const sessions = new Map<string, { transport: SSEServerTransport; server: McpServer }>();
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost');
    if (request.method === 'GET' && pathname === '/sse') {
      const transport = new SSEServerTransport('/messages', response);
      const server = legacyServer();
      sessions.set(transport.sessionId, { transport, server });
      response.once('close', () => sessions.delete(transport.sessionId));
      return server.connect(transport);
    }
    const known = sessions.get(searchParams.get('sessionId') ?? '');
    if (request.method === 'POST' && pathname === '/messages' && known !== undefined)
      return known.transport.handlePostMessage(request, response);
    response.writeHead(pathname === '/sse' ? 405 : 404).end();
  }
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sse`,
    changeTools: () => {
      for (const one of sessions.values()) one.server.sendToolListChanged();
    },
    changeResource: () => {
      for (const one of sessions.values()) void touchers.get(one.server)?.();
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

if (import.meta.main) await legacyServer().connect(new StdioServerTransport());
