/** The measured upstream: the least a modern MCP server can be on node:http. Answers tools/list, server/discover and an echo tools/call. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const META = { 'io.modelcontextprotocol/serverInfo': { name: 'bench', version: '1' } };
const TOOL = {
  name: 'echo',
  description: 'Echoes a message',
  inputSchema: {
    type: 'object',
    properties: { message: { type: 'string', maxLength: 4096 }, count: { type: 'integer', minimum: 0, maximum: 100 } },
    required: ['message'],
    additionalProperties: false,
  },
};

function resultOf(method: string, params: { arguments?: { message?: string } }): object {
  if (method === 'tools/list')
    return { tools: [TOOL], resultType: 'complete', ttlMs: 0, cacheScope: 'private', _meta: META };
  if (method === 'server/discover') {
    return {
      supportedVersions: ['2026-07-28'],
      capabilities: { tools: {} },
      resultType: 'complete',
      ttlMs: 0,
      cacheScope: 'private',
      _meta: META,
    };
  }
  return { content: [{ type: 'text', text: params.arguments?.message ?? '' }], resultType: 'complete', _meta: META };
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString()) as {
      id?: unknown;
      method: string;
      params: object;
    };
    if (id === undefined) return void response.writeHead(202).end();
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, result: resultOf(method, params) }));
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
  });
});
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` }),
);
process.on('disconnect', () => process.exit(0));
