/** A real legacy (2025-11-25) server on SDK v1. As a program it serves stdio; `startLegacy` serves HTTP with sessions on loopback. */
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';
import type { RunningServer } from './modern-server.ts';

let cancelled = 0;
let grown = 0;

function legacyServer(): McpServer {
  const server = new McpServer(
    { name: 'legacy', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true } }, instructions: 'Echo things.' },
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
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

if (import.meta.main) await legacyServer().connect(new StdioServerTransport());
