/** A server of the matrix on a 1.x release of the SDK, over Streamable HTTP, HTTP+SSE, and stdio. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { FORM, LINK, QUESTION, TEMPLATE, TOOLS, completionOf, said, textOf } from './offer.ts';
import {
  type Extra,
  type LegacyRevision,
  type V1,
  type V1Server,
  type V1Transport,
  knows,
  releaseOf,
} from './revisions.ts';

interface Counters {
  stopped: number;
}

function legacyServer(sdk: V1, revision: LegacyRevision, counters: Counters): V1Server {
  const { schemas } = sdk;
  const tools = TOOLS.filter(({ since }) => knows(revision, since));
  const capabilities = {
    tools: {},
    resources: {},
    prompts: {},
    logging: {},
    ...(knows(revision, '2025-03-26') && { completions: {} }),
  };
  const server = new sdk.Server({ name: 'matrix', version: revision }, { capabilities });
  const on = (schema: string, handler: Parameters<V1Server['setRequestHandler']>[1]) =>
    server.setRequestHandler(schemas[schema], handler);

  on('ListToolsRequestSchema', () => ({
    tools: tools.map(({ name, outputSchema }) => ({
      name,
      description: `Shows ${name}.`,
      inputSchema: { type: 'object', properties: {} },
      ...(outputSchema && { outputSchema }),
    })),
  }));
  on('CallToolRequestSchema', async ({ params }, extra) => {
    const tool = tools.find(({ name }) => name === params.name);
    if (!tool) throw new Error(`no tool ${params.name}`);
    return tool.result ?? act(tool.name, params._meta?.progressToken, extra);
  });
  on('ListResourcesRequestSchema', () => ({ resources: [{ uri: LINK, name: 'text' }] }));
  on('ListResourceTemplatesRequestSchema', () => ({ resourceTemplates: [{ uriTemplate: TEMPLATE, name: 'item' }] }));
  on('ReadResourceRequestSchema', ({ params: { uri } }) => ({ contents: [{ uri, text: textOf(uri) ?? '' }] }));
  on('ListPromptsRequestSchema', () => ({
    prompts: [{ name: 'greeting', arguments: [{ name: 'name', required: true }] }],
  }));
  on('GetPromptRequestSchema', ({ params }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${params.arguments?.['name']}.` } }],
  }));
  on('CompleteRequestSchema', ({ params }) => completionOf(params.argument.value));
  on('SetLevelRequestSchema', () => ({}));

  async function act(name: string, progressToken: string | number | undefined, extra: Extra): Promise<unknown> {
    const declared = server.getClientCapabilities();
    switch (name) {
      case 'progress':
        for (const progress of progressToken === undefined ? [] : [1, 2])
          await extra.sendNotification({
            method: 'notifications/progress',
            params: { progressToken, progress, total: 2 },
          });
        // Old clients lose a report that comes in one piece with the answer.
        await setTimeout(30);
        return said('reported');
      case 'log':
        await extra.sendNotification({
          method: 'notifications/message',
          params: { level: 'warning', data: 'one line' },
        });
        return said('logged');
      case 'form': {
        if (!declared?.['elicitation']) return said('not asked');
        const answer = await extra.sendRequest(
          { method: 'elicitation/create', params: FORM },
          schemas['ElicitResultSchema'],
        );
        const { action, content } = answer as { action: string; content?: Record<string, unknown> };
        return said(`${action} ${String(content?.['name'])}`);
      }
      case 'model': {
        if (!declared?.['sampling']) return said('not asked');
        const request = { method: 'sampling/createMessage', params: QUESTION };
        const answer = await extra.sendRequest(request, schemas['CreateMessageResultSchema']);
        return said(`model ${(answer as { content: { text: string } }).content.text}`);
      }
      case 'roots': {
        if (!declared?.['roots']) return said('not asked');
        const answer = await extra.sendRequest({ method: 'roots/list' }, schemas['ListRootsResultSchema']);
        return said((answer as { roots: ReadonlyArray<{ uri: string }> }).roots.map(({ uri }) => uri).join(' '));
      }
      case 'slow':
        await new Promise<void>((resolve) => extra.signal.addEventListener('abort', () => resolve(), { once: true }));
        counters.stopped++;
        return said('stopped');
      default:
        return said(String(counters.stopped));
    }
  }
  return server;
}

export type Serve = (request: IncomingMessage, response: ServerResponse, body: unknown) => Promise<void>;

/** `http` serves sessions on one path; `sse` serves GET as a stream and POST with the session in the query. */
export async function serveLegacy(revision: LegacyRevision): Promise<{ http: Serve; sse: Serve }> {
  const sdk = await releaseOf(revision);
  const counters: Counters = { stopped: 0 };
  const sessions = new Map<string, V1Transport>();
  const http: Serve = async (request, response, body) => {
    const id = request.headers['mcp-session-id'];
    const known = typeof id === 'string' ? sessions.get(id) : undefined;
    if (known) return known.handleRequest(request, response, body);
    const isInitialize = (body as { method?: unknown } | undefined)?.method === 'initialize';
    if (id !== undefined || !isInitialize) {
      response.writeHead(id === undefined ? 400 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'no such session' } }));
      return undefined;
    }
    const transport: V1Transport = new sdk.HttpServer({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (session: string) => void sessions.set(session, transport),
    });
    await legacyServer(sdk, revision, counters).connect(transport);
    return transport.handleRequest(request, response, body);
  };
  const sse: Serve = async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    if (request.method === 'POST') {
      const transport = sessions.get(url.searchParams.get('sessionId') ?? '');
      if (transport) return transport.handlePostMessage(request, response);
      response.writeHead(404).end();
      return undefined;
    }
    const transport = new sdk.SseServer(url.pathname, response);
    sessions.set(transport.sessionId ?? '', transport);
    return legacyServer(sdk, revision, counters).connect(transport);
  };
  return { http, sse };
}

export async function serveLegacyStdio(revision: LegacyRevision): Promise<void> {
  const sdk = await releaseOf(revision);
  await legacyServer(sdk, revision, { stopped: 0 }).connect(new sdk.StdioServer());
}
