/** docs/guides/agents.md tells the truth: its configuration starts a server, and every request in it is answered with a token. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import { GrantSettings } from '../../src/authserver/grants/settings.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { ID_JAG, SECRET, compact } from './grants-rig.ts';

const GUIDE = readFileSync('docs/guides/agents.md', 'utf8');
const blocks = (language: string): string[] =>
  [...GUIDE.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(([, text]) => text!);

const report = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let idp: TestIssuer;
let platform: TestIssuer;
let at: Fixture;
beforeAll(async () => {
  idp = await startIssuer();
  platform = await startIssuer();
  const { x = '', y = '' } = report.publicKey.export({ format: 'jwk' });
  at = await startFixture(
    (gateway) => {
      const text = blocks('yaml')[0]!
        .replaceAll('https://gateway.example.com/mcp/default/files', gateway.resource)
        .replaceAll('https://login.acme.example', idp.issuer)
        .replaceAll('https://kubernetes.prod.example', platform.issuer)
        .replace('REPORT_KEY_X', x)
        .replace('REPORT_KEY_Y', y);
      return (parse(text) as { authserver: Partial<AuthServerConfig> }).authserver;
    },
    { env: { CHAT_APP_SECRET: SECRET } },
  );
});
afterAll(async () => {
  await at.stop();
  await Promise.all([idp.close(), platform.close()]);
});

async function run(command: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const { issuer: ISSUER } = at.server;
  const all = {
    PATH: process.env['PATH'] ?? '',
    ISSUER,
    RESOURCE: at.gateway.resource,
    CHAT_APP_SECRET: SECRET,
    ...env,
  };
  const { stdout } = await promisify(execFile)('sh', ['-c', command], { env: all, timeout: 10_000 });
  const answer = JSON.parse(stdout) as Record<string, unknown>;
  expect(answer).toHaveProperty('access_token');
  return decodeJwt(String(answer['access_token']));
}

test('every request of the guide is answered with the token it promises', async () => {
  const [alone, workload, idJag, exchange, ...rest] = blocks('sh');
  expect(rest).toEqual([]);
  const { issuer: aud } = at.server;
  const now = Math.floor(Date.now() / 1_000);
  const client = { iss: 'nightly-report', sub: 'nightly-report', aud, jti: randomUUID(), iat: now, exp: now + 60 };
  const CLIENT_ASSERTION = compact({ alg: 'ES256', kid: 'k1' }, client, report.privateKey);
  expect(await run(alone!, { CLIENT_ASSERTION })).toMatchObject({ sub: 'nightly-report', scope: 'files:read' });

  const sub = 'system:serviceaccount:prod:indexer';
  const account = { sub, aud: 'remit', client_id: undefined, jti: undefined, 'kubernetes.io': { namespace: 'prod' } };
  const WORKLOAD_TOKEN = platform.mint(account, { typ: undefined });
  expect(await run(workload!, { WORKLOAD_TOKEN })).toMatchObject({ sub: 'indexer', client_id: 'indexer' });

  const claims = { sub: 'ada', aud, client_id: 'chat-app', resource: at.gateway.resource, scope: 'files:read' };
  expect(await run(idJag!, { ID_JAG: idp.mint(claims, ID_JAG) })).toMatchObject({
    sub: 'acme|ada',
    client_id: 'chat-app',
  });

  const { access_token: SUBJECT_TOKEN } = await at.tokens();
  expect(await run(exchange!, { SUBJECT_TOKEN })).toMatchObject({
    sub: at.user.sub,
    client_id: 'chat-app',
    act: { sub: 'chat-app', act: { sub: 'mcp-client' } },
  });
});

test('the table names every key, and every key that weakens something says so', () => {
  const told = new Set([...GUIDE.matchAll(/`(?:… \.)?([\w.]+?)(?:\[\])?`/g)].map(([, key]) => key!.split('.').at(-1)!));
  const provider = { id: 'a', issuer: 'https://a.example' };
  const rules = [{ subject: { equals: 'x' }, principal: 'x', may: [{ resource: 'https://x.example', scopes: ['x'] }] }];
  const { assertionIssuers, ...others } = GrantSettings.parse({
    assertionIssuers: { identityProviders: [provider], workloads: [{ issuer: 'https://b.example', rules }] },
  });
  const keys = [assertionIssuers.identityProviders[0]!, assertionIssuers.workloads[0]!, others, others.tokenExchange]
    .flatMap((section) => Object.keys(section))
    .filter((key) => key !== 'tokenExchange');
  expect(keys.filter((key) => !told.has(key))).toEqual([]);
});
