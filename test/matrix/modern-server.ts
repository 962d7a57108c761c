/** The server of the matrix on the current SDK, which only speaks 2026-07-28, over HTTP and stdio. */
import { setTimeout } from 'node:timers/promises';
import {
  type ClientCapabilities,
  type ServerContext,
  CLIENT_CAPABILITIES_META_KEY,
  Server,
  createMcpHandler,
  inputRequired,
  inputResponse,
} from '@modelcontextprotocol/server';
import { type NodeIncomingMessageLike, toNodeHandler } from '@modelcontextprotocol/node';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import type { Serve } from './legacy-server.ts';
import { FORM, LINK, QUESTION, TEMPLATE, TOOLS, completionOf, said, textOf } from './offer.ts';

let stopped = 0;

function modernServer(): Server {
  const server = new Server(
    { name: 'matrix', version: '2026-07-28' },
    { capabilities: { tools: {}, resources: {}, prompts: {}, logging: {}, completions: {} } },
  );
  server.setRequestHandler('tools/list', () => ({
    tools: TOOLS.map(({ name, outputSchema }) => ({
      name,
      description: `Shows ${name}.`,
      inputSchema: { type: 'object' as const, properties: {} },
      ...(outputSchema && { outputSchema: outputSchema as { type: 'object' } }),
    })),
  }));
  server.setRequestHandler('tools/call', ({ params }, ctx) => {
    const tool = TOOLS.find(({ name }) => name === params.name);
    if (!tool) throw new Error(`no tool ${params.name}`);
    return (tool.result as ReturnType<typeof said> | undefined) ?? act(tool.name, ctx);
  });
  server.setRequestHandler('resources/list', () => ({ resources: [{ uri: LINK, name: 'text' }] }));
  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: [{ uriTemplate: TEMPLATE, name: 'item' }],
  }));
  server.setRequestHandler('resources/read', ({ params: { uri } }) => ({
    contents: [{ uri, text: textOf(uri) ?? '' }],
  }));
  server.setRequestHandler('prompts/list', () => ({
    prompts: [{ name: 'greeting', arguments: [{ name: 'name', required: true }] }],
  }));
  server.setRequestHandler('prompts/get', ({ params }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `Greet ${params.arguments?.['name']}.` } }],
  }));
  server.setRequestHandler('completion/complete', ({ params }) => completionOf(params.argument.value));
  return server;
}

async function act(name: string, ctx: ServerContext) {
  const envelope: Readonly<Record<string, unknown>> = ctx.mcpReq.envelope ?? {};
  const declared = envelope[CLIENT_CAPABILITIES_META_KEY] as ClientCapabilities | undefined;
  const answer = inputResponse(ctx.mcpReq.inputResponses, 'answer');
  switch (name) {
    case 'progress': {
      const progressToken = ctx.mcpReq._meta?.progressToken;
      for (const progress of progressToken === undefined ? [] : [1, 2])
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 2 } });
      // Old clients lose a report that comes in one piece with the answer.
      await setTimeout(30);
      return said('reported');
    }
    case 'log':
      await ctx.mcpReq.log('warning', 'one line');
      return said('logged');
    case 'form':
      if (!declared?.elicitation) return said('not asked');
      if (answer.kind !== 'elicit') return inputRequired({ inputRequests: { answer: inputRequired.elicit(FORM) } });
      return said(`${answer.action} ${String(answer.action === 'accept' ? answer.content?.['name'] : '')}`);
    case 'model':
      if (!declared?.sampling) return said('not asked');
      if (answer.kind !== 'sampling')
        return inputRequired({ inputRequests: { answer: inputRequired.createMessage(QUESTION) } });
      return said(`model ${(answer.result.content as { text?: string }).text}`);
    case 'roots':
      if (!declared?.roots) return said('not asked');
      if (answer.kind !== 'roots') return inputRequired({ inputRequests: { answer: inputRequired.listRoots() } });
      return said(answer.roots.map(({ uri }) => uri).join(' '));
    case 'slow':
      await new Promise<void>((resolve) =>
        ctx.mcpReq.signal.addEventListener('abort', () => resolve(), { once: true }),
      );
      stopped++;
      return said('stopped');
    default:
      return said(String(stopped));
  }
}

export function serveModern(): Serve {
  const serve = toNodeHandler(createMcpHandler(modernServer, { legacy: 'reject' }));
  return (request, response, body) => serve(request as NodeIncomingMessageLike, response, body);
}

export const serveModernStdio = (): void => void serveStdio(modernServer, { legacy: 'reject' });
