/**
 * The official SDK clients against a listener that is nothing but this room: whatever they send must be readable,
 * whatever we write must be understood. Raw sockets then send what no SDK would.
 */
import { Client as ModernClient, StreamableHTTPClientTransport as ModernTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { type JsonObject, isJsonObject } from '../../src/lib/json.ts';
import { methodNotFound, sessionNotFound } from '../../src/protocol/errors.ts';
import { type InboundRequest, READ_LIMITS, readBody } from '../../src/protocol/read-request.ts';
import { checkParamHeaders } from '../../src/protocol/param-headers.ts';
import { republishItem } from '../../src/protocol/republish.ts';
import {
  type Facing,
  discoverResult,
  emptyResult,
  initializeResult,
  toolsCallResult,
  listResult,
} from '../../src/protocol/results.ts';
import { sessionCapabilities, sessionSealer } from '../../src/protocol/session.ts';
import { MODERN, negotiateLegacy } from '../../src/protocol/versions.ts';
import { type WireResponse, wireAccepted, wireError, wireResponse } from '../../src/protocol/write-response.ts';
import { CALL_HEADERS, modernCall } from './requests.ts';

const serverInfo = { name: 'remit', version: '0' };
const CARD = { capabilities: { tools: {} }, instructions: null };
const TOOL: JsonObject = {
  name: 'größe',
  description: 'Counts.',
  inputSchema: { type: 'object', properties: { text: { type: 'string', 'x-mcp-header': 'Text' } }, required: ['text'] },
  outputSchema: { type: 'number' },
};
const sealer = sessionSealer([new Uint8Array(32).fill(9)], systemClock);
/** The sink: what got past the reader. */
let calls: { era: string; name: string | null; args: unknown }[] = [];

function answer(request: InboundRequest, session: string | undefined): [WireResponse, Record<string, string>?] {
  const { id, era, params, accepts } = request;
  const replyAs = accepts.json ? 'json' : 'sse';
  const facts = session === undefined ? null : sealer.open(session);
  if (facts !== null && !facts.ok) return [wireError(sessionNotFound(id))];
  const facing: Facing = { era, version: facts?.value.version ?? MODERN, serverInfo };
  const reply = (result: JsonObject): [WireResponse] => [wireResponse(id, result, replyAs)];
  switch (request.rule.family) {
    case 'initialize': {
      const version = negotiateLegacy(params['protocolVersion'] as string);
      const capabilities = sessionCapabilities(params['capabilities'] as JsonObject);
      const who = { org: 'default', server: 's', issuer: 'i', subject: 'p', clientId: 'c' };
      const sealed = sealer.seal({ ...who, version, capabilities, client: { name: 'n', version: 'v' } });
      return [
        wireResponse(id, initializeResult({ era: 'legacy', version, serverInfo }, CARD), replyAs),
        { 'mcp-session-id': sealed },
      ];
    }
    case 'discover':
      return reply(discoverResult(facing, CARD, 0));
    case 'list':
      if (request.method !== 'tools/list') return [wireError(methodNotFound(id, era))];
      return reply(
        listResult(facing, 'tools', [republishItem('tool', TOOL, facing.version)], { nextCursor: null, ttlMs: 0 }),
      );
    case 'call': {
      calls.push({ era, name: request.name, args: params['arguments'] });
      const result = toolsCallResult(
        facing,
        { content: [{ type: 'text', text: '3' }], structuredContent: 3 },
        { outputSchema: TOOL['outputSchema'] as JsonObject },
      );
      return result.ok ? reply(result.value) : [wireError({ httpStatus: 500, id, code: -32603, message: 'refused' })];
    }
    case 'ping':
      return reply(emptyResult(facing));
    default:
      return [wireError(methodNotFound(id, era))];
  }
}

let server: Server;
let url: URL;

async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const send = ({ status, headers, body }: WireResponse, more = {}): void =>
    void outgoing.writeHead(status, { ...headers, ...more }).end(body);
  if (incoming.method !== 'POST') return void outgoing.writeHead(405).end();
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const message = readBody(Buffer.concat(chunks), incoming.headers, READ_LIMITS);
  if (!message.ok) return send(wireError(message.error));
  if (message.value.kind !== 'request') return send(wireAccepted());
  const { id, era, rule, params } = message.value;
  if (rule.family === 'call' && isJsonObject(params['arguments'])) {
    const presence = era === 'modern' ? 'required' : 'optional';
    const schema = TOOL['inputSchema'] as JsonObject;
    const lie = checkParamHeaders(incoming.headers, params['arguments'], schema, id, presence);
    if (lie !== null) return send(wireError(lie));
  }
  const session = incoming.headers['mcp-session-id'];
  return send(...answer(message.value, era === 'legacy' ? (session as string | undefined) : undefined));
}

beforeAll(async () => {
  server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => outgoing.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
});
beforeEach(() => void (calls = []));
afterAll(
  () =>
    new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    }),
);

test('the v2 client in the modern era: discover, list, call, with names and parameters beyond ASCII in its headers', async () => {
  const client = new ModernClient({ name: 'c', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new ModernTransport(url));
  try {
    const { tools } = await client.listTools();
    expect(tools.map(({ name, outputSchema }) => [name, outputSchema])).toEqual([['größe', { type: 'number' }]]);
    const result = await client.callTool({ name: 'größe', arguments: { text: 'drei 😀' } });
    expect(result.structuredContent).toBe(3);
    expect(calls).toEqual([{ era: 'modern', name: 'größe', args: { text: 'drei 😀' } }]);
  } finally {
    await client.close();
  }
});

test('the v2 client in the legacy era, and the v1 client: initialize, ping, list, call', async () => {
  const modern = new ModernClient({ name: 'c', version: '1' });
  const old = new OldClient({ name: 'c', version: '1' }, { capabilities: { roots: {} } });
  await modern.connect(new ModernTransport(url));
  await old.connect(new OldTransport(url));
  try {
    for (const client of [modern, old]) {
      expect(await client.ping()).toEqual({});
      const { tools } = await client.listTools();
      expect(tools[0]?.outputSchema).toMatchObject({ type: 'object', properties: { result: { type: 'number' } } });
      const result = await client.callTool({ name: 'größe', arguments: { text: 'x' } });
      expect(result['structuredContent']).toEqual({ result: 3 });
    }
    expect(calls.map(({ era }) => era)).toEqual(['legacy', 'legacy']);
    await expect(old.listPrompts()).rejects.toThrow(/Method not found|does not support prompts/);
  } finally {
    await modern.close();
    await old.close();
  }
});

/** One POST as bytes on a socket, for header lines that clients join or drop. Answers with everything that came back. */
function raw(lines: readonly string[], body: string): Promise<string> {
  const head = [
    'POST /mcp HTTP/1.1',
    'Host: x',
    'Connection: close',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...lines,
  ];
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), '127.0.0.1');
    let text = '';
    socket.setTimeout(5000, () => socket.destroy(new Error('no answer')));
    socket.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk));
    socket.on('end', () => resolve(text)).on('error', reject);
    socket.write(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1');
  });
}

const lines = (change: Record<string, string> = {}): string[] =>
  Object.entries({ ...CALL_HEADERS, ...change }).map(([name, value]) => `${name}: ${String(value)}`);
const body = JSON.stringify(modernCall({ arguments: {} }));

test.each<[string, readonly string[], number]>([
  ['equal headers', lines(), 200],
  ['header names in capitals', lines().map((line) => line.replace(/^[^:]+/, (name) => name.toUpperCase())), 200],
  ['white space around a value', lines({ 'mcp-name': '   read_file \t ' }), 200],
  ['a second Mcp-Name line', [...lines(), 'Mcp-Name: delete_file'], 400],
  ['a second, equal Mcp-Name line', [...lines(), 'Mcp-Name: read_file'], 400],
  ['a second Mcp-Method line', ['Mcp-Method: tools/list', ...lines()], 400],
  ['a second MCP-Protocol-Version line', [...lines(), 'MCP-Protocol-Version: 2025-03-26'], 400],
  ['raw latin1 in Mcp-Name', lines({ 'mcp-name': 'read_fil\u00e9' }), 400],
])('PH-01 on the wire: %s', async (_title, headers, status) => {
  const reply = await raw(headers, body);
  expect(reply.split('\r\n')[0]).toContain(` ${status} `);
  if (status === 400) expect(reply).toContain('"id":7,"error":{"code":-32020');
  expect(calls).toHaveLength(status === 200 ? 1 : 0);
});
