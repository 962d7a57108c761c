/** A real modern (2026-07-28) server on SDK v2. As a program it serves stdio; `startModern` serves HTTP on loopback. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type NodeIncomingMessageLike, toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

let cancelled = 0;
let grown = 0;

const QUESTIONS: Record<string, Parameters<typeof inputRequired>[0]['inputRequests'] & {}> = {
  elicitation: {
    colour: inputRequired.elicit({
      message: 'Which colour?',
      requestedSchema: { type: 'object', properties: { colour: { type: 'string' } } },
    }),
  },
  sampling: {
    haiku: inputRequired.createMessage({
      messages: [{ role: 'user', content: { type: 'text', text: 'A haiku' } }],
      maxTokens: 10,
    }),
  },
  roots: { roots: inputRequired.listRoots() },
};

function modernServer(): McpServer {
  const server = new McpServer(
    { name: 'modern', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { listChanged: true, subscribe: true },
        logging: {},
      },
      instructions: 'Echo things.',
    },
  );
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text: value }) => text(value));
  server.registerTool('fail', { inputSchema: z.object({}) }, () => ({ ...text('as asked'), isError: true }));
  server.registerTool('cancelled', { inputSchema: z.object({}) }, () => text(String(cancelled)));
  server.registerTool('slow', { inputSchema: z.object({}) }, async (_args, context) => {
    await new Promise<void>((resolve) =>
      context.mcpReq.signal.addEventListener('abort', () => resolve(), { once: true }),
    );
    cancelled++;
    return text('cancelled');
  });
  server.registerTool('progress', { inputSchema: z.object({}) }, async (_args, { mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [1, 2, 3])
      await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 3 } });
    return text(String(progressToken));
  });
  server.registerTool('log', { inputSchema: z.object({}) }, async (_args, { mcpReq }) => {
    await mcpReq.log('debug', 'a detail');
    await mcpReq.log('warning', 'a worry');
    return text('logged');
  });
  server.registerTool('ask', { inputSchema: z.object({ what: z.string() }) }, ({ what }, { mcpReq }) => {
    const answers = mcpReq.inputResponses;
    if (answers !== undefined) return text(JSON.stringify({ ...answers, state: mcpReq.requestState() }));
    return inputRequired({ inputRequests: QUESTIONS[what] ?? {}, requestState: `state of ${what}` });
  });
  server.registerResource('note', 'note://one', {}, (uri) => ({ contents: [{ uri: uri.href, text: 'one' }] }));
  server.registerPrompt('greeting', {}, () => ({ messages: [] }));
  server.registerTool('touch', { inputSchema: z.object({}) }, async () => {
    await server.server.sendResourceUpdated({ uri: 'note://one' });
    return text('touched');
  });
  server.registerTool('grow', { inputSchema: z.object({}) }, () => {
    server.registerTool(`grown-${++grown}`, { inputSchema: z.object({}) }, () => text('grown'));
    return text('grown');
  });
  return server;
}

export interface RunningServer {
  readonly url: string;
  /** Tells whoever listens that the tools changed. */
  changeTools(): void;
  /** Tells whoever subscribed that note://one changed. */
  changeResource(): void;
  close(): Promise<void>;
}

export async function startModern(): Promise<RunningServer> {
  const handler = createMcpHandler(modernServer, { legacy: 'reject' });
  const handle = toNodeHandler(handler);
  const server = createServer((request, response) => void handle(request as NodeIncomingMessageLike, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    changeTools: () => handler.notify.toolsChanged(),
    changeResource: () => handler.notify.resourceUpdated('note://one'),
    close: async () => {
      await handler.close();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

if (import.meta.main) serveStdio(modernServer, { legacy: 'reject' });
