/**
 * The measured upstream: the least a modern MCP server can be on node:http. An echo tool, one that tells of its progress five times
 * before it answers (as server-sent events, to whoever gave a token for that), a prompt, a resource. The argument says how many tools there are.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const COUNT = Number(process.argv[2] ?? 2);
const PROGRESS = 5;
const META = { 'io.modelcontextprotocol/serverInfo': { name: 'bench', version: '1' } };
const FRESH = { resultType: 'complete', ttlMs: 0, cacheScope: 'private', _meta: META };
const NAMES = ['echo', 'steps', ...Array.from({ length: Math.max(0, COUNT - 2) }, (_, n) => `tool_${n}`)];
const TOOLS = NAMES.map((name) => ({
  name,
  description: `Echoes a message (${name})`,
  inputSchema: {
    type: 'object',
    properties: { message: { type: 'string', maxLength: 4096 }, count: { type: 'integer', minimum: 0, maximum: 100 } },
    required: ['message'],
    additionalProperties: false,
  },
}));
const PROMPT = { name: 'greet', description: 'Greets somebody', arguments: [{ name: 'who', required: true }] };
const RESOURCE = { uri: 'bench://note', name: 'note', mimeType: 'text/plain' };

interface Params {
  readonly name?: string;
  readonly arguments?: { readonly message?: string; readonly who?: string };
  readonly _meta?: { readonly progressToken?: string | number };
}

function resultOf(method: string, params: Params): object {
  switch (method) {
    case 'server/discover':
      return {
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {}, prompts: {}, resources: {} },
        ...FRESH,
      };
    case 'tools/list':
      return { tools: TOOLS, ...FRESH };
    case 'prompts/list':
      return { prompts: [PROMPT], ...FRESH };
    case 'prompts/get': {
      const content = { type: 'text', text: params.arguments?.who ?? '' };
      return { messages: [{ role: 'user', content }], resultType: 'complete', _meta: META };
    }
    case 'resources/list':
      return { resources: [RESOURCE], ...FRESH };
    case 'resources/templates/list':
      return { resourceTemplates: [], ...FRESH };
    case 'resources/read':
      return {
        contents: [{ ...RESOURCE, name: undefined, text: 'A note of the length of an echo. '.repeat(4) }],
        ...FRESH,
      };
    default:
      return {
        content: [{ type: 'text', text: params.arguments?.message ?? '' }],
        resultType: 'complete',
        _meta: META,
      };
  }
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString()) as {
      id?: unknown;
      method: string;
      params: Params;
    };
    if (id === undefined) return void response.writeHead(202).end();
    const answer = JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(method, params) });
    const { progressToken } = params._meta ?? {};
    if (params.name?.endsWith('steps') !== true || progressToken === undefined) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) });
      return void response.end(answer);
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let progress = 1; progress <= PROGRESS; progress++) {
      const told = { method: 'notifications/progress', params: { progressToken, progress, total: PROGRESS } };
      response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...told })}\n\n`);
    }
    response.end(`data: ${answer}\n\n`);
  });
});
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` }),
);
process.on('disconnect', () => process.exit(0));
