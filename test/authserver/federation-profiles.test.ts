/**
 * The quirk profiles: metadata and claims as the products' public documentation shows them (ids and keys are ours), led
 * through discovery, redirect and token by the product's own code; only the network is played. And the mapping as a function.
 */
import { generateKeyPairSync } from 'node:crypto';
import * as fc from 'fast-check';
import { SignJWT, exportJWK } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { previewSignIn, readSignIn } from '../../src/authserver/federation/mapping.ts';
import { openIdConnect } from '../../src/authserver/federation/oidc.ts';
import { IdentityProviders } from '../../src/authserver/federation/settings.ts';
import type { OpenIdConnectProvider } from '../../src/authserver/federation/settings.ts';
import { stepUpProblem } from '../../src/authserver/federation/step-up.ts';
import type { AskedSignIn } from '../../src/authserver/federation/step-up.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { NOTHING_ASKED } from './federation-fixture.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
let jwk: JsonObject;
beforeAll(async () => {
  jwk = { ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig', alg: 'RS256' };
});

const settings = (change: Record<string, unknown>): OpenIdConnectProvider => {
  const input = {
    id: 'corp',
    title: 'Corp',
    protocol: 'oidc',
    issuer: 'https://idp.example',
    clientId: 'remit',
    clientAuthentication: { method: 'none' },
    ...(!('tenants' in change) && { organisation: 'default' }),
    ...change,
  };
  const [provider] = IdentityProviders.parse([input]);
  if (provider?.protocol !== 'oidc') throw new Error('not an OpenID provider');
  return provider;
};

interface Recorded {
  readonly settings: Record<string, unknown>;
  readonly metadata: JsonObject;
  /** Of an ID token; iss, aud, exp and nonce are added. */
  readonly claims: JsonObject;
  /** `iss` of the token, where it is not the issuer. */
  readonly iss?: string;
  /** Extra parameters of the authorization response. */
  readonly response?: Record<string, string>;
  readonly request: Record<string, string | undefined>;
  readonly person: Record<string, unknown>;
}

const TENANT = 'a1b2c3d4-0000-4000-8000-000000000001';
const common = {
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
};

const RECORDED: Record<string, Recorded> = {
  'entra, all tenants': {
    settings: {
      profile: 'entra',
      issuer: 'https://login.microsoftonline.com/organizations/v2.0',
      tenants: { organisations: { [TENANT]: 'default' } },
      forward: ['groups'],
    },
    metadata: {
      ...common,
      issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0',
      authorization_endpoint: 'https://login.microsoftonline.com/organizations/oauth2/v2.0/authorize',
      token_endpoint: 'https://login.microsoftonline.com/organizations/oauth2/v2.0/token',
      jwks_uri: 'https://login.microsoftonline.com/organizations/discovery/v2.0/keys',
      subject_types_supported: ['pairwise'],
      cloud_instance_name: 'microsoftonline.com',
      tenant_region_scope: null,
    },
    iss: `https://login.microsoftonline.com/${TENANT}/v2.0`,
    claims: {
      sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
      oid: '6467882c-fdfd-4354-a1ed-4e13f064be25',
      tid: TENANT,
      name: 'Ada Lovelace',
      preferred_username: 'ada@contoso.example',
      ver: '2.0',
      _claim_names: { groups: 'src1' },
      _claim_sources: { src1: { endpoint: `https://graph.windows.net/${TENANT}/users/x/getMemberObjects` } },
    },
    response: { session_state: '5a9e1a2b-0000-4000-8000-000000000001' },
    request: { resource: undefined, audience: undefined, scope: 'openid profile email' },
    person: {
      account: `corp|${TENANT}.6467882c-fdfd-4354-a1ed-4e13f064be25`,
      name: 'Ada Lovelace',
      email: null,
      forwarded: {},
      unknown: ['groups'],
    },
  },
  'entra, one tenant': {
    settings: { profile: 'entra', issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`, forward: ['groups'] },
    metadata: {
      ...common,
      issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`,
      authorization_endpoint: `https://login.microsoftonline.com/${TENANT}/oauth2/v2.0/authorize`,
      token_endpoint: `https://login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`,
      jwks_uri: `https://login.microsoftonline.com/${TENANT}/discovery/v2.0/keys`,
    },
    claims: { sub: 'pairwise', oid: 'o-1', tid: TENANT, name: 'Ada', groups: ['g-1', 'g-2'] },
    request: { resource: undefined },
    person: { account: 'corp|o-1', forwarded: { groups: ['g-1', 'g-2'] }, unknown: [] },
  },
  okta: {
    settings: { profile: 'okta', issuer: 'https://corp.okta.example', forward: ['groups'] },
    metadata: {
      ...common,
      issuer: 'https://corp.okta.example',
      authorization_endpoint: 'https://corp.okta.example/oauth2/v1/authorize',
      token_endpoint: 'https://corp.okta.example/oauth2/v1/token',
      jwks_uri: 'https://corp.okta.example/oauth2/v1/keys',
      scopes_supported: ['openid', 'email', 'profile', 'groups'],
    },
    claims: {
      sub: '00uid4BxXw6I6TV4m0g3',
      name: 'Ada Lovelace',
      email: 'ada@corp.example',
      ver: 1,
      amr: ['pwd', 'mfa'],
      idp: '00ok1u7AsAkrwdZL3z0g3',
      auth_time: 1_700_000_000,
      groups: ['Everyone', 'Engineering'],
    },
    request: { scope: 'openid profile email groups' },
    person: { account: 'corp|00uid4BxXw6I6TV4m0g3', forwarded: { groups: ['Everyone', 'Engineering'] } },
  },
  keycloak: {
    settings: { profile: 'keycloak', issuer: 'https://sso.corp.example/realms/corp', forward: ['groups'] },
    metadata: {
      ...common,
      issuer: 'https://sso.corp.example/realms/corp',
      authorization_endpoint: 'https://sso.corp.example/realms/corp/protocol/openid-connect/auth',
      token_endpoint: 'https://sso.corp.example/realms/corp/protocol/openid-connect/token',
      jwks_uri: 'https://sso.corp.example/realms/corp/protocol/openid-connect/certs',
      authorization_response_iss_parameter_supported: true,
    },
    claims: {
      sub: 'f:1:ada',
      session_state: '0c1f6b1e-aaaa-4bbb-8ccc-000000000001',
      acr: '1',
      auth_time: 1_700_000_000,
      email_verified: true,
      given_name: 'Ada',
      family_name: 'Lovelace',
      groups: ['/engineering'],
    },
    response: { session_state: '0c1f6b1e-aaaa-4bbb-8ccc-000000000001', iss: 'https://sso.corp.example/realms/corp' },
    request: { scope: 'openid profile email' },
    person: {
      account: 'corp|f:1:ada',
      name: 'Ada Lovelace',
      upstreamSession: '0c1f6b1e-aaaa-4bbb-8ccc-000000000001',
      forwarded: { groups: ['/engineering'] },
    },
  },
  auth0: {
    settings: {
      profile: 'auth0',
      issuer: 'https://corp.eu.auth0.example/',
      tenants: { organisations: { org_9ybsU1dN2dKfDkBi: 'default' } },
    },
    metadata: {
      ...common,
      issuer: 'https://corp.eu.auth0.example/',
      authorization_endpoint: 'https://corp.eu.auth0.example/authorize',
      token_endpoint: 'https://corp.eu.auth0.example/oauth/token',
      jwks_uri: 'https://corp.eu.auth0.example/.well-known/jwks.json',
    },
    claims: {
      sub: 'auth0|507f1f77bcf86cd799439011',
      org_id: 'org_9ybsU1dN2dKfDkBi',
      sid: 'sid-1',
      nickname: 'ada',
      name: 'Ada',
    },
    request: { audience: undefined, organization: 'org_9ybsU1dN2dKfDkBi' },
    person: { account: 'corp|auth0|507f1f77bcf86cd799439011', upstreamSession: 'sid-1' },
  },
  google: {
    settings: {
      profile: 'google',
      issuer: 'https://accounts.google.com',
      tenants: { organisations: { 'corp.example': 'default' } },
      forward: ['groups'],
    },
    metadata: {
      ...common,
      issuer: 'https://accounts.google.com',
      authorization_endpoint: 'https://accounts.google.com/o/oauth2/v2/auth',
      token_endpoint: 'https://oauth2.googleapis.com/token',
      jwks_uri: 'https://www.googleapis.com/oauth2/v3/certs',
    },
    claims: {
      sub: '10769150350006150715113082367',
      hd: 'corp.example',
      email: 'ada@corp.example',
      email_verified: true,
      name: 'Ada',
    },
    request: { hd: 'corp.example', max_age: undefined },
    person: { account: 'corp|10769150350006150715113082367', unknown: ['groups'] },
  },
  workos: {
    settings: {
      profile: 'workos',
      issuer: 'https://corp.authkit.example',
      tenants: { organisations: { org_01EHQMYV6MBK39QC5PZXHY59C3: 'default' } },
    },
    metadata: {
      ...common,
      issuer: 'https://corp.authkit.example',
      authorization_endpoint: 'https://corp.authkit.example/oauth2/authorize',
      token_endpoint: 'https://corp.authkit.example/oauth2/token',
      jwks_uri: 'https://corp.authkit.example/oauth2/jwks',
    },
    claims: {
      sub: 'user_01E4ZCR3C56J083X43JQXF3JK5',
      org_id: 'org_01EHQMYV6MBK39QC5PZXHY59C3',
      sid: 'session_01',
      email: 'ada@corp.example',
    },
    request: { organization_id: 'org_01EHQMYV6MBK39QC5PZXHY59C3' },
    person: {
      account: 'corp|user_01E4ZCR3C56J083X43JQXF3JK5',
      upstreamSession: 'session_01',
      name: 'ada@corp.example',
    },
  },
};

interface Played {
  readonly request: URLSearchParams;
  readonly asked: string[];
  finish(change?: { claims?: JsonObject; iss?: string }): Promise<JsonObject>;
}

/** One sign-in at a recorded provider. */
async function play(recorded: Recorded, asked: AskedSignIn = NOTHING_ASKED, chooseAccount = false): Promise<Played> {
  const provider = settings(recorded.settings);
  const urls: string[] = [];
  let idToken = '';
  const json = (body: unknown) => Response.json(body);
  const upstream = openIdConnect({
    provider,
    redirectUri: 'https://login.example/federation/corp/callback',
    env: {},
    clock: systemClock,
    fetch: async (url) => {
      urls.push(url);
      if (url.endsWith('/.well-known/openid-configuration')) return json(recorded.metadata);
      if (url === recorded.metadata['jwks_uri']) return json({ keys: [jwk] });
      if (url === recorded.metadata['token_endpoint'])
        return json({ access_token: 'opaque', token_type: 'Bearer', expires_in: 60, id_token: idToken });
      throw new Error(`nobody answers at ${url}`);
    },
  });
  const { url, secret } = await upstream.begin({ state: 'S'.repeat(43), asked, chooseAccount });
  return {
    request: new URL(url).searchParams,
    asked: urls,
    finish: async ({ claims = {}, iss } = {}) => {
      const nonce = secret['nonce'] ?? '';
      idToken = await new SignJWT({ ...recorded.claims, ...claims, nonce })
        .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
        .setIssuer(iss ?? recorded.iss ?? provider.issuer)
        .setAudience('remit')
        .setIssuedAt()
        .setExpirationTime('5m')
        .sign(privateKey);
      const answer = new URLSearchParams({ code: 'c', state: 'S'.repeat(43), ...recorded.response });
      return (await upstream.finish(answer.toString(), secret)).claims;
    },
  };
}

describe.each(Object.entries(RECORDED))('%s', (_name, recorded) => {
  test('is asked with what it understands, and its claims become a person', async () => {
    const played = await play(recorded);
    for (const [name, value] of Object.entries(recorded.request))
      expect([name, played.request.get(name)]).toEqual([name, value ?? null]);
    expect(played.request.get('code_challenge_method')).toBe('S256');
    const person = readSignIn(settings(recorded.settings), await played.finish());
    expect(person).toMatchObject({ ok: true, value: { organisation: 'default', ...recorded.person } });
    expect(played.asked.every((url) => url.startsWith('https://'))).toBe(true);
  });

  test('a token of another issuer is refused', async () => {
    const played = await play(recorded);
    await expect(played.finish({ iss: 'https://evil.example' })).rejects.toThrow('does not hold');
  });
});

describe('entra for all tenants', () => {
  const recorded = RECORDED['entra, all tenants'];
  if (recorded === undefined) throw new Error('not recorded');
  test('the issuer must be the one of the tenant that the token names', async () => {
    const played = await play(recorded);
    await expect(
      played.finish({ iss: `https://login.microsoftonline.com/${TENANT}/v2.0`, claims: { tid: 'another' } }),
    ).rejects.toThrow('does not hold');
  });

  test('a tenant that is not in the table is refused, whoever its issuer is', async () => {
    const tid = 'ffffffff-0000-4000-8000-000000000009';
    const played = await play(recorded);
    const claims = await played.finish({ iss: `https://login.microsoftonline.com/${tid}/v2.0`, claims: { tid } });
    expect(readSignIn(settings(recorded.settings), claims)).toEqual({
      ok: false,
      error: { reason: 'tenant_unknown', claim: 'tid' },
    });
  });

  test.for([
    ['no tenants', { tenants: undefined, organisation: 'default' }],
    ['no profile', { profile: 'generic' }],
    ['tenants by another claim', { tenants: { claim: 'hd', organisations: { x: 'default' } } }],
  ] as const)('cannot be configured with %s', ([, change]) => {
    expect(() => settings({ ...recorded.settings, ...change })).toThrow(/tenant|profile/);
  });

  test('metadata with a template is taken from nobody else', async () => {
    const other = {
      ...recorded,
      settings: { ...recorded.settings, issuer: `https://login.microsoftonline.com/${TENANT}/v2.0` },
    };
    await expect(play(other)).rejects.toThrow('another issuer');
  });
});

describe('a fresh sign-in is asked for in the way the provider has', () => {
  const fresh: AskedSignIn = { maxAge: 60, fresh: false, acr: ['mfa'] };
  test.for([
    ['okta', { max_age: '60', prompt: null, acr_values: 'mfa' }],
    ['keycloak', { max_age: '60', prompt: null, acr_values: 'mfa' }],
    ['entra, one tenant', { max_age: null, prompt: 'login', acr_values: null }],
    ['google', { max_age: null, prompt: null, acr_values: null }],
  ] as const)('%s', async ([name, expected]) => {
    const recorded = RECORDED[name];
    if (recorded === undefined) throw new Error(name);
    const { request } = await play(recorded, fresh);
    for (const [param, value] of Object.entries(expected)) expect([param, request.get(param)]).toEqual([param, value]);
  });

  test('another account is asked for by select_account', async () => {
    const recorded = RECORDED['google'];
    if (recorded === undefined) throw new Error('google');
    expect((await play(recorded, NOTHING_ASKED, true)).request.get('prompt')).toBe('select_account');
  });
});

describe('what was asked of a sign-in', () => {
  const times = { startedAt: 1_000, now: 1_010, skew: 10 };
  const asked = (change: Partial<AskedSignIn>): AskedSignIn => ({ ...NOTHING_ASKED, ...change });
  const facts = (authTime: number | null, acr: string | null = null) => ({ authTime, acr, amr: [] });
  test.for([
    ['nothing asked, nothing known', asked({}), facts(null), null],
    ['max_age and no time', asked({ maxAge: 60 }), facts(null), 'time_unknown'],
    ['max_age and within it', asked({ maxAge: 60 }), facts(960), null],
    ['max_age and at its edge, with skew', asked({ maxAge: 60 }), facts(940), null],
    ['max_age and older', asked({ maxAge: 60 }), facts(939), 'too_old'],
    ['max_age=0 and before the start', asked({ maxAge: 0 }), facts(989), 'too_old'],
    ['max_age=0 and after the start', asked({ maxAge: 0 }), facts(1_001), null],
    ['prompt=login and before the start', asked({ fresh: true }), facts(900), 'too_old'],
    ['prompt=login and after the start', asked({ fresh: true }), facts(1_005), null],
    ['a time in the future', asked({ fresh: true }), facts(1_021), 'time_unknown'],
    ['acr and none', asked({ acr: ['mfa'] }), facts(1_005), 'acr_not_met'],
    ['acr and another', asked({ acr: ['mfa'] }), facts(1_005, 'pwd'), 'acr_not_met'],
    ['acr and one of them', asked({ acr: ['hwk', 'mfa'] }), facts(1_005, 'mfa'), null],
  ] as const)('%s', ([, ask, given, problem]) => {
    expect(stepUpProblem(ask, given, times)).toBe(problem);
  });
});

describe('the mapping', () => {
  const provider = settings({ forward: ['groups', 'department', 'level', 'admin'] });
  const forwarded = (claims: JsonObject) => {
    const read = readSignIn(provider, { sub: 'a', ...claims });
    return read.ok ? [read.value.forwarded, read.value.unknown] : read.error;
  };
  test.for([
    [
      'text, number, boolean and list go on',
      { groups: ['a'], department: 'R', level: 3, admin: false },
      [{ groups: ['a'], department: 'R', level: 3, admin: false }, []],
    ],
    [
      'a list of anything but texts is not known',
      { groups: ['a', 1] },
      [{}, ['groups', 'department', 'level', 'admin']],
    ],
    ['an object is not known', { groups: { a: 1 } }, [{}, ['groups', 'department', 'level', 'admin']]],
    [
      'a list that is too long is not known, rather than cut',
      { groups: Array.from({ length: 501 }, (_, at) => `g${at}`) },
      [{}, ['groups', 'department', 'level', 'admin']],
    ],
    [
      'one that is distributed is not known',
      { groups: ['a'], _claim_names: { groups: 's' } },
      [{}, ['groups', 'department', 'level', 'admin']],
    ],
    ['others are dropped', { secret: 'x' }, [{}, ['groups', 'department', 'level', 'admin']]],
  ] as const)('%s', ([, claims, expected]) => {
    expect(forwarded(claims as unknown as JsonObject)).toEqual(expected);
  });

  test('ID-01: neither e-mail nor anything else than the tenant claim changes the organisation', () => {
    const tenants = settings({ tenants: { claim: 'tid', organisations: { t1: 'acme', t2: 'globex' } } });
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(
            'email',
            'org',
            'org_id',
            'organisation',
            'hd',
            'iss',
            'groups',
            '_meta',
            'X-Org',
            'name',
            '__proto__',
          ),
          fc.oneof(fc.constantFrom('acme', 'globex', 't2', 'ada@globex.example'), fc.array(fc.string()), fc.boolean()),
        ),
        (noise) => {
          const read = readSignIn(tenants, { ...noise, sub: 'a', tid: 't1' });
          expect(read.ok && read.value.organisation).toBe('acme');
        },
      ),
      { seed: 4, numRuns: 300 },
    );
  });

  test('is total: any claims give a person or a refusal, bounded', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (claims) => {
        const read = readSignIn(provider, claims as JsonObject);
        if (read.ok) expect(JSON.stringify(read.value).length).toBeLessThan(70_000);
        const preview = previewSignIn([provider], 'corp', claims as JsonObject);
        expect(preview.outcome === 'signed in').toBe(read.ok);
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

describe('settings are refused', () => {
  const good = {
    id: 'corp',
    title: 'Corp',
    protocol: 'oidc',
    issuer: 'https://idp.example',
    clientId: 'remit',
    clientAuthentication: { method: 'none' },
    organisation: 'default',
  };
  test.for([
    [
      'plain http to another machine',
      { issuer: 'http://idp.example' },
      'must be https; plain http is accepted for loopback addresses only',
    ],
    [
      'neither organisation nor tenants',
      { organisation: undefined },
      'say the organisation, or a table of tenants, and not both',
    ],
    [
      'both',
      { tenants: { claim: 'x', organisations: { a: 'b' } } },
      'say the organisation, or a table of tenants, and not both',
    ],
    [
      'google without tenants',
      { profile: 'google', issuer: 'https://accounts.google.com' },
      'is needed: this issuer signs in everybody, whatever their organisation',
    ],
    [
      'tenants without a claim',
      { organisation: undefined, tenants: { organisations: { a: 'b' } } },
      'name the claim that holds the tenant',
    ],
    [
      'a secret in the file',
      { clientAuthentication: { method: 'client_secret_basic', secret: 'hunter2' } },
      'use env:NAME or file:/absolute/path; a secret never stands in this file',
    ],
    ['a symmetric algorithm', { algorithms: ['HS256'] }, 'Invalid option'],
    ['more than a minute of skew', { clockSkewSeconds: 61 }, 'Too big'],
    ['an id with a bar', { id: 'a|b' }, 'use lower-case letters, digits and dashes; at most 40'],
    [
      'a forwarded claim of ours',
      { forward: ['act'] },
      'is a claim that our tokens make themselves; it cannot be forwarded',
    ],
    ['an unknown key', { unsafeSkip: true }, 'Unrecognized key'],
  ] as const)('%s', ([, change, message]) => {
    const parsed = IdentityProviders.safeParse([{ ...good, ...change }]);
    expect(parsed.success).toBe(false);
    expect(parsed.error?.issues.map((issue) => issue.message).join('\n')).toContain(message);
  });

  test('two of one id', () => {
    expect(IdentityProviders.safeParse([good, good]).error?.issues[0]?.message).toBe('is used twice');
  });
});
