/**
 * ID-01 at the grants without a browser: nobody of one organisation gets a token for a server of another, whatever an assertion, a token to
 * exchange, or a rule that names the wrong server says. The oracle is the answer of `/token`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import { fakeGateway } from '../authserver/fixture.ts';
import type { FakeGateway } from '../authserver/fixture.ts';
import { ACCESS_TOKEN, JWT_BEARER, TOKEN_EXCHANGE, startRig } from '../authserver/grants-rig.ts';
import type { Answer, Rig } from '../authserver/grants-rig.ts';

let rig: Rig;
let home: FakeGateway;
let globex: FakeGateway;
beforeAll(async () => {
  home = await fakeGateway('/mcp/default/files');
  globex = await fakeGateway('/mcp/globex/payroll');
  const both = [home.resource, globex.resource].map((resource) => ({ resource, scopes: ['pay:read'] }));
  rig = await startRig(
    (_resource, _other, idp, platform) => ({
      assertionIssuers: {
        identityProviders: [{ id: 'acme', issuer: idp }],
        workloads: [
          {
            issuer: platform,
            reuse: 'until_expiry',
            rules: [{ subject: { equals: 'job:1' }, principal: 'job-agent', may: both }],
          },
        ],
      },
      tokenExchange: { rules: [{ client: 'writer', from: ['desk'], to: both }] },
    }),
    {},
    { trustedGateways: [{ origin: home.origin }, { origin: globex.origin, organisation: 'globex' }] },
  );
  for (const gateway of [home, globex])
    gateway.document = {
      resource: gateway.resource,
      authorization_servers: [rig.at.server.issuer],
      scopes_supported: ['pay:read'],
    };
});
afterAll(async () => {
  await rig.stop();
  await Promise.all([home.stop(), globex.stop()]);
});

const idJag = (resource: string): Promise<Answer> =>
  rig.token({
    grant_type: JWT_BEARER,
    assertion: rig.idJag({ resource, scope: 'pay:read' }),
    ...rig.by(rig.clients.desk),
  });

const workload = (resource: string): Promise<Answer> =>
  rig.token({ grant_type: JWT_BEARER, assertion: rig.workload({ sub: 'job:1' }), resource });

async function exchange(resource: string): Promise<Answer> {
  const given = await idJag(home.resource);
  return rig.token({
    grant_type: TOKEN_EXCHANGE,
    subject_token: String(given.body['access_token']),
    subject_token_type: ACCESS_TOKEN,
    resource,
    ...rig.by(rig.clients.writer),
  });
}

test.for([
  ['an identity assertion', idJag],
  ['the exchange of a token', exchange],
  ['the token of a workload', workload],
] as const)('ID-01: %s brings nobody to the servers of another organisation', async ([, ask]) => {
  const own = await ask(home.resource);
  expect(own.body).not.toHaveProperty('error');
  expect(own.claims()).toMatchObject({ aud: home.resource, org: 'default' });
  const other = await ask(globex.resource);
  expect(other.body).toMatchObject({ error: 'invalid_target' });
  expect(other.body).not.toHaveProperty('access_token');
  expect(rig.reasons().at(-1)).toBe('resource_of_another_organisation');
});

test('a provider is of the same organisation by assertion as by sign-in, or the server does not start', () => {
  const config = (organisation: string | undefined): AuthServerConfig => ({
    issuer: 'http://127.0.0.1:0',
    listen: { port: 0 },
    dataDir: '/nowhere',
    identityProviders: [
      {
        id: 'acme',
        title: 'Acme',
        protocol: 'oidc',
        issuer: 'https://acme.example',
        clientId: 'remit',
        clientAuthentication: { method: 'none' },
        organisation: 'globex',
      },
    ],
    grants: {
      assertionIssuers: {
        identityProviders: [{ id: 'acme', issuer: 'https://acme.example', ...(organisation && { organisation }) }],
      },
    },
  });
  expect(() => parseAuthServerConfig(config('globex'))).not.toThrow();
  expect(() => parseAuthServerConfig(config(undefined))).toThrow(
    'organisation: must be an organisation of the provider acme for sign-in',
  );
});
