/** Every server of the matrix on one port: `/<revision>` speaks Streamable HTTP, `/<revision>/sse` HTTP+SSE. `node server.ts REVISION` serves stdio. */
import { type IncomingMessage, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Serve, serveLegacy, serveLegacyStdio } from './legacy-server.ts';
import { serveModern, serveModernStdio } from './modern-server.ts';
import { LEGACY_REVISIONS, REVISIONS } from './revisions.ts';

export interface MatrixServers {
  readonly url: string;
  close(): Promise<void>;
}

export async function startMatrixServers(): Promise<MatrixServers> {
  const routes = new Map<string, Serve>([['/2026-07-28', serveModern()]]);
  for (const revision of LEGACY_REVISIONS) {
    const { http, sse } = await serveLegacy(revision);
    routes.set(`/${revision}`, http).set(`/${revision}/sse`, sse);
  }
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const serve = routes.get(path);
    const answer = async (): Promise<void> => {
      if (!serve) response.writeHead(404).end();
      // HTTP+SSE of the old SDKs reads the body itself.
      else await serve(request, response, path.endsWith('/sse') ? undefined : await bodyOf(request));
    };
    answer().catch((error: unknown) => {
      process.stderr.write(`matrix ${path}: ${String(error)}\n`);
      if (!response.headersSent) response.writeHead(500);
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  if (request.method !== 'POST') return undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
}

if (import.meta.main) {
  const revision = REVISIONS.find((one) => one === process.argv[2]);
  if (!revision) throw new Error(`one of ${REVISIONS.join(', ')}, not ${process.argv[2]}`);
  if (revision === '2026-07-28') serveModernStdio();
  else await serveLegacyStdio(revision);
}
