/** The official conformance suite's scenarios for authorization servers, against a real start of ours; a scripted browser is the person. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { runSuite } from '../conformance/suite.ts';
import { signInAndConsent } from '../support/browser.ts';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

/** The suite listens for its callback on a port that it is told. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answer(authorizationUrl: URL, { user }: Fixture): Promise<void> {
  const callback = await signInAndConsent({ authorizationUrl, ...user, decision: 'allow' });
  await (await fetch(callback)).text();
}

test('passes every authorization server scenario of the official suite', { timeout: 120_000 }, async () => {
  const at = await startFixture();
  try {
    let heard = '';
    let visit: Promise<unknown> | undefined;
    const report = await runSuite({
      args: `authorization --url ${at.server.issuer} --client-id mcp-client --resource ${at.gateway.resource} --port ${await freePort()}`.split(
        ' ',
      ),
      timeoutMs: 50_000,
      onText: (text) => {
        heard += text;
        const found = /^(http\S+\/authorize\?\S+)$/m.exec(heard)?.[1];
        if (found === undefined || visit !== undefined) return;
        visit = answer(new URL(found), at);
      },
    });
    await visit;
    const found = [...report.values()].flatMap((checks) => [...checks]);
    expect(Object.fromEntries(found)).toEqual({
      'authorization-server-metadata AuthorizationServerMetadata': { status: 'SUCCESS', message: '' },
      'authorization-server-metadata-cimd AuthorizationServerMetadataCIMD': { status: 'SUCCESS', message: '' },
      'authorization-code-grant AuthorizationCodeGrant': { status: 'SUCCESS', message: '' },
    });
  } finally {
    await at.stop();
  }
});
