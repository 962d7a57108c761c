/** A whole gateway in front of a server that wants tokens: whose token goes where, and what is left of them. And the same over HTTP+SSE. */
import { type IncomingMessage, createServer, request as outgoing } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Server } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { textOf } from '../contracts/connection.ts';
import { ORG, type Rig, startRig } from '../support/rig.ts';
import { startSseServer } from '../support/upstreams/legacy-server.ts';
import { sseServer, testPool } from '../support/upstreams/open.ts';
import { startAuthorizationSite, startProtected } from '../support/upstreams/protected.ts';
import { COMMON, SECRET, secretRef } from './oauth-rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const auth = (issuer: string) =>
  ({
    grant: 'client_credentials',
    issuer,
    client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
    ...COMMON,
    scopes: [],
  }) as const;

async function gateway() {
  const site = await startAuthorizationSite();
  closers.push(site.close);
  const sink = await startProtected(site);
  closers.push(sink.close);
  const rig: Rig = await startRig({ servers: {} });
  closers.push(rig.stop);
  await rig.policy('all', 'permit (principal, action, resource);');
  const body = Server.parse({
    title: 'Notes',
    owner: 'omar',
    purpose: 'wants tokens',
    environment: 'production',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: { transport: 'http', url: sink.url, allowedNetworks: ['127.0.0.1/32'], auth: auth(site.issuer) },
  }) as JsonObject;
  await rig.commit([{ kind: 'server', org: ORG, id: 'notes', body }]);
  await rig.look('notes');
  await rig.approveTool('notes', 'echo', 'read', 'notes:read');
  return { site, sink, rig };
}

test('AN-04: the caller’s token reaches neither the server nor its authorization server, the gateway’s own does', async () => {
  const { site, sink, rig } = await gateway();
  const token = rig.token('dana', { server: 'notes' });
  const { result, text } = await rig.call('notes', 'echo', { text: 'hi' }, { token });
  expect(result, text).toMatchObject({ content: [{ type: 'text' }] });
  const wire = sink.wire() + JSON.stringify(site.asked);
  for (const part of [token, ...token.split('.')]) expect(wire).not.toContain(part);
  expect(sink.calls()[0]?.headers['authorization']).toBe(`Bearer ${site.given[0]}`);
});

test('AN-12: no token or secret of a server stands in an answer, the log, the audit log or on disk, whatever fails', async () => {
  const { site, sink, rig } = await gateway();
  const answers = [await rig.call('notes', 'echo', { text: 'hi' })];
  sink.onCall(({ request }) => ({ content: [{ type: 'text', text: JSON.stringify(request.headers) }] }));
  answers.push(await rig.call('notes', 'echo', { text: 'echo your headers' }));
  site.token = () => ({ status: 400, body: { error: 'invalid_client', error_description: `bad ${SECRET}` } });
  const before = site.given.at(-1)!;
  site.given.push('something else is the newest');
  answers.push(await rig.call('notes', 'echo', { text: 'refused' }));
  expect(answers.map(({ result }) => result?.['isError'] === true)).toEqual([false, true, true]);
  const seen = [
    ...answers.map(({ text }) => text),
    JSON.stringify(rig.logged),
    JSON.stringify(rig.pool.events),
    JSON.stringify(rig.pool.status()),
    JSON.stringify(await rig.entries()),
    rig.disk(),
  ].join('\n');
  for (const secret of [SECRET, before, Buffer.from(`remit:${SECRET}`).toString('base64')])
    expect(seen).not.toContain(secret);
  // The oracle: both really left.
  expect(JSON.stringify(site.asked)).toContain(Buffer.from(`remit:${SECRET}`).toString('base64'));
  expect(sink.wire()).toContain(before);
});

test('HTTP+SSE: the stream and every message carry the token, and one that ended is replaced', async () => {
  const site = await startAuthorizationSite();
  closers.push(site.close);
  const server = await startSseServer();
  closers.push(server.close);
  const { hostname, port } = new URL(server.url);
  const seen: IncomingMessage[] = [];
  const guard = createServer((request, response) => {
    seen.push(request);
    const { origin } = new URL(`http://${request.headers.host}`);
    if (request.url?.startsWith('/.well-known/')) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ resource: `${origin}/sse`, authorization_servers: [site.issuer] }));
    } else if (request.headers.authorization !== `Bearer ${site.given.at(-1)}`) {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end();
    } else {
      const on = outgoing(
        { hostname, port, path: request.url, method: request.method, headers: request.headers },
        (got) => {
          response.writeHead(got.statusCode ?? 0, got.headers);
          got.pipe(response);
        },
      );
      on.on('error', () => response.destroy());
      request.pipe(on);
    }
  });
  await new Promise<void>((resolve) => guard.listen(0, '127.0.0.1', resolve));
  const pool = testPool();
  closers.push(async () => {
    guard.close();
    guard.closeAllConnections();
  }, pool.closeAll);
  const url = `http://127.0.0.1:${(guard.address() as AddressInfo).port}${new URL(server.url).pathname}`;
  const connection = await pool.connection('old', sseServer(url, { auth: auth(site.issuer) }));
  expect(await textOf(connection, 'echo', { text: 'one' })).toContain('one');
  site.given.push('revoked elsewhere');
  expect(await textOf(connection, 'echo', { text: 'two' })).toContain('two');
  expect(site.tokens()).toHaveLength(2);
  expect(seen.filter(({ method, headers }) => method === 'GET' && headers.authorization !== undefined)).toHaveLength(1);
});
