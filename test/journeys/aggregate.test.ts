/** One URL for everything a person may use: `remit up`, a token for the aggregate from its own authorization server, an SDK client on it. */
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { endAll, runRemit, startRemit, temporaryFolder } from '../support/processes.ts';
import type { Started } from '../support/processes.ts';
import { accessToken, passwordOf } from './people.ts';
import type { UpReady } from './people.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let up: Started;
let ready: UpReady;
let resource: string;
beforeAll(async () => {
  up = startRemit(['up', '--dir', join(temporaryFolder(), 'data'), '--port', '0', '--json']);
  ready = await up.ready<UpReady>();
  resource = `${new URL(ready.servers[0]!.url).origin}/mcp/default`;
});
afterAll(async () => {
  await up.stop('SIGINT');
  await endAll();
});

test('a person signs in for the aggregate and finds the tools of every sample server there', async () => {
  const metadata = await fetch(new URL('/.well-known/oauth-protected-resource/mcp/default', resource));
  const { scopes_supported: scopes, ...document } = (await metadata.json()) as {
    scopes_supported: string[];
    resource: string;
  };
  expect(document.resource).toBe(resource);
  const scope = scopes.join(' ');
  const grant = { issuer: ready.issuer, resource, scope, clientId: 'mcp-client' };
  const token = await accessToken(grant, 'dana', passwordOf(ready, 'dana'));
  const client = new Client({ name: 'journey', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(resource), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    }),
  );
  const servers = new Set((await client.listTools()).tools.map(({ name }) => name.split('__')[0]));
  expect([...servers]).toEqual(ready.servers.map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1)));
  await client.close();
});

test('`remit connect` writes its configuration', async () => {
  const { out, code } = await runRemit(['connect', 'cursor', resource]);
  expect(code).toBe(0);
  expect(out).toContain(`"url": "${resource}"`);
});
