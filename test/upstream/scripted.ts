/** A server over HTTP whose every answer is written by the test, byte by byte if need be; keeps what it received. */
import { type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Json = Record<string, unknown>;
export interface Received {
  readonly http: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly message: Json;
}
/** Returns a result or an error to send as JSON, or writes to `response` by itself and returns nothing. */
export type Script = (received: Received, response: ServerResponse) => Json | undefined | void;

export const META = 'io.modelcontextprotocol/';
export const complete = (result: Json): Json => ({ result: { resultType: 'complete', ...result } });
export const event = (message: Json, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`;

export async function scripted(era: 'modern' | 'legacy', capabilities: Json, script: Script) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const message = (body === '' ? {} : JSON.parse(body)) as Json;
      const one = { http: request.method ?? '', path: request.url ?? '', headers: request.headers, message };
      received.push(one);
      const { id, method } = message;
      const send = (payload: Json, headers: Json = {}): void => {
        response.writeHead(200, { 'content-type': 'application/json', ...(headers as Record<string, string>) });
        response.end(JSON.stringify({ jsonrpc: '2.0', id, ...payload }));
      };
      if (method === 'server/discover' && era === 'modern')
        return send(complete({ supportedVersions: ['2026-07-28'], capabilities }));
      if (method === 'initialize' && era === 'legacy') {
        const result = { protocolVersion: '2025-11-25', capabilities, serverInfo: { name: 's', version: '1' } };
        return send({ result }, { 'mcp-session-id': 'session-1' });
      }
      if (request.method === 'DELETE') return void response.writeHead(204).end();
      const payload = script(one, response);
      if (payload !== undefined) return send(payload);
      if (!response.headersSent && id === undefined && request.method === 'POST') response.writeHead(202).end();
      else if (!response.headersSent && request.method === 'GET') response.writeHead(405).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    received,
    sent: (method: string) => received.filter(({ message }) => message['method'] === method),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
