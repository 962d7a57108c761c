/** The bare proxy every figure is a ratio to: node:http in, JSON parsed, undici Pool out, answer buffered (events passed on as they come). No governance at all. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';

const upstream = new URL(process.argv[2]!);
const pool = new Pool(upstream.origin, { connections: 64 });
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = Buffer.concat(chunks);
    JSON.parse(body.toString());
    const parts: Buffer[] = [];
    let status = 502;
    let streams = false;
    pool.dispatch(
      {
        path: upstream.pathname,
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-protocol-version': String(request.headers['mcp-protocol-version']),
          'mcp-method': String(request.headers['mcp-method'] ?? ''),
          'mcp-name': String(request.headers['mcp-name'] ?? ''),
        },
      },
      {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, code, headers) => {
          status = code;
          streams = headers['content-type'] === 'text/event-stream';
          if (streams) response.writeHead(status, { 'content-type': 'text/event-stream' });
        },
        onResponseData: (_controller, chunk) => void (streams ? response.write(chunk) : parts.push(chunk)),
        onResponseEnd: () => {
          if (streams) return void response.end();
          const answer = Buffer.concat(parts);
          response
            .writeHead(status, { 'content-type': 'application/json', 'content-length': answer.length })
            .end(answer);
        },
        onResponseError: () => void response.writeHead(502).end(),
      },
    );
  });
});
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` }),
);
process.on('disconnect', () => process.exit(0));
