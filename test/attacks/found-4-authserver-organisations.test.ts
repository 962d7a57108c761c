/**
 * ID-01 at the grants without a browser: nobody of one organisation gets a token for a server of another, whatever an assertion, a token to
 * exchange, or a rule that names the wrong server says. The oracle is the answer of `/token`.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import { readSignIn } from '../../src/authserver/federation/mapping.ts';
import { IdentityProviders } from '../../src/authserver/federation/settings.ts';
import type { IdentityProvider } from '../../src/authserver/federation/settings.ts';
import { fakeGateway } from '../authserver/fixture.ts';
import type { FakeGateway } from '../authserver/fixture.ts';
import { ACCESS_TOKEN, JWT_BEARER, TOKEN_EXCHANGE, startRig } from '../authserver/grants-rig.ts';
import type { Answer, Rig } from '../authserver/grants-rig.ts';
import { samlProvider } from '../support/idp/saml-provider.ts';

const idp = samlProvider();

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

describe('one account is one person', () => {
  const provider = (change: Record<string, unknown>): Record<string, unknown> => ({
    id: 'acme',
    title: 'Acme',
    protocol: 'oidc',
    issuer: 'https://acme.example',
    clientId: 'remit',
    clientAuthentication: { method: 'none' },
    ...change,
  });
  const parsed = (change: Record<string, unknown>, assertions: readonly Record<string, unknown>[] = []) =>
    parseAuthServerConfig({
      issuer: 'http://127.0.0.1:0',
      listen: { port: 0 },
      dataDir: '/nowhere',
      identityProviders: [provider(change)],
      grants: { assertionIssuers: { identityProviders: assertions } },
    });
  const two = { claim: 'tenant', organisations: { t1: 'default', t2: 'globex' } };

  test('ID-01: of a provider of several tenants the subject is one that no tenant chooses', () => {
    // What it would be otherwise: the person of one tenant, by the number of a person of the other.
    const settings = provider({ profile: 'generic', tenants: two, subjectClaim: 'employee', forward: [] });
    const accounts = ['t1', 't2'].map((tenant) => {
      const read = readSignIn(settings as unknown as IdentityProvider, { sub: tenant, tenant, employee: '7' });
      return read.ok ? [read.value.account, read.value.organisation] : [];
    });
    expect(accounts).toEqual([
      ['acme|7', 'default'],
      ['acme|7', 'globex'],
    ]);
    expect(() => parsed({ tenants: two, subjectClaim: 'employee' })).toThrow('subjectClaim: must be left out');
    expect(() => parsed({ profile: 'entra', tenants: two, subjectClaim: 'employee' })).toThrow('subjectClaim: must be');
    const saml = { protocol: 'saml', entityId: 'x', signOnUrl: 'https://acme.example/', certificates: [idp.cert] };
    const { issuer: _, clientId: __, clientAuthentication: ___, ...common } = provider(saml);
    const config = { ...common, tenants: two, subjectClaim: 'employee' };
    expect(IdentityProviders.safeParse([config]).error?.issues.map(({ path }) => path.join('.'))).toEqual([
      '0.subjectClaim',
    ]);
    expect(() => parsed({ profile: 'entra', tenants: two, subjectClaim: 'oid' })).not.toThrow();
    expect(() => parsed({ tenants: two, subjectClaim: 'sub' })).not.toThrow();
    expect(() => parsed({ organisation: 'default', subjectClaim: 'employee' })).not.toThrow();
  });

  test('ID-02: an assertion names somebody by the claim by which they sign in', () => {
    const rule = { id: 'acme', issuer: 'https://acme.example' };
    expect(() => parsed({ organisation: 'default' }, [rule])).not.toThrow();
    expect(() => parsed({ organisation: 'default', profile: 'entra' }, [rule])).toThrow('subjectClaim: must be oid');
    expect(() =>
      parsed({ organisation: 'default', profile: 'entra' }, [{ ...rule, subjectClaim: 'oid' }]),
    ).not.toThrow();
    const tenant = { claim: 'tid', organisations: { t1: 'default' } };
    expect(() => parsed({ profile: 'entra', tenants: tenant }, [{ ...rule, subjectClaim: 'oid' }])).toThrow(
      'id: must be another',
    );
  });
});
