/** Tokens of other people's authorization servers: what each product's rule makes of them, and what no rule lets through (AN-03, ID-01). */
import { describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { TokenVerifier, TokenVerifierOptions } from '../../src/identity/access-token.ts';
import { issuerProblems } from '../../src/identity/issuer-rule.ts';
import type { TrustedIssuer } from '../../src/identity/issuer-rule.ts';
import type { Members, TestIssuer } from '../support/issuer.ts';
import { PRODUCTS } from './products.ts';
import type { Product, TokenShape } from './products.ts';
import { NOW, RESOURCE, SIBLING, callerOf, clock, fetchOnLoopback, issuerOn, problemOf } from './rig.ts';

interface Set_ {
  readonly issuer: TestIssuer;
  readonly verifier: TokenVerifier;
  readonly mint: (shape: TokenShape, claims?: Members, header?: Members) => string;
}

async function setUp(
  product: Product,
  more: Partial<TrustedIssuer> = {},
  options: Partial<TokenVerifierOptions> = {},
): Promise<Set_> {
  const { algorithm, path, discovery, profile, settings } = product;
  const issuer = await issuerOn({ algorithm, path, discovery });
  const verifier = createTokenVerifier({
    issuers: [{ issuer: issuer.issuer, profile, ...settings, ...more }],
    fetchJwks: fetchOnLoopback,
    clock,
    ...options,
  });
  const filled = (claims: Members): Members =>
    JSON.parse(
      JSON.stringify(claims, (_key, value: unknown) => (value === undefined ? '(none)' : value)),
      (_key, value: unknown) =>
        value === '(none)'
          ? undefined
          : typeof value === 'string'
            ? value.replaceAll('{issuer}', issuer.issuer)
            : value,
    ) as Members;
  return {
    issuer,
    verifier,
    mint: (shape, claims = {}, header = {}) => {
      const body = Object.fromEntries(Object.keys(shape.claims).map((name) => [name, filled(shape.claims)[name]]));
      return issuer.mint({ ...body, ...claims }, { ...shape.header, ...header });
    },
  };
}

const product = (profile: Product['profile']): Product => PRODUCTS.find((one) => one.profile === profile)!;

describe.each(PRODUCTS)('$profile', (one) => {
  test('a person becomes exactly this caller', async () => {
    const { verifier, mint, issuer } = await setUp(one);
    const caller = await callerOf(verifier, mint(one.person));
    expect(caller).toMatchObject({ issuer: issuer.issuer, keyThumbprint: null, ...one.expected.person });
    expect(caller.attributes).toEqual(one.expected.person['attributes']);
  });

  test('a client that acts by itself is told from a person', async () => {
    const { verifier, mint } = await setUp(one);
    expect(await callerOf(verifier, mint(one.client))).toMatchObject(one.expected.client);
  });

  test('AN-03: its ID token is no access token, not even with our audience', async () => {
    const { verifier, mint } = await setUp(one);
    for (const audience of [undefined, RESOURCE, 'api://notes'])
      expect(await problemOf(verifier, mint(one.idToken, audience === undefined ? {} : { aud: audience }))).toEqual({
        kind: 'type',
      });
  });

  test('AN-03: a token for a sibling server, for nobody, or for us and somebody else is refused', async () => {
    const { verifier, mint } = await setUp(one);
    const audience = one.settings.audiences?.[0]?.audience ?? RESOURCE;
    for (const aud of [SIBLING, [], [audience, SIBLING], [audience, 'api://graph'], 'account', [['account']]])
      expect(await problemOf(verifier, mint(one.person, { aud }))).toEqual({ kind: 'audience' });
    expect(await problemOf(verifier, mint(one.person), SIBLING)).toEqual({ kind: 'audience' });
  });

  test('AN-03: a token of the same shape from another issuer is refused', async () => {
    const { verifier, mint } = await setUp(one);
    const other = await setUp(one);
    expect(await problemOf(verifier, other.mint(one.person))).toEqual({ kind: 'issuer' });
    expect(await callerOf(verifier, mint(one.person))).toBeDefined();
  });

  test('twin: with a rule that demands nothing, the ID token passes for an access token', async () => {
    const lax = {
      tokenTypes: ['JWT', 'none'],
      accessTokenWhen: [{ claim: 'sub' }],
      claims: { clientId: ['aud'], subject: ['sub'], tokenId: ['sub'] },
    } as const;
    const { verifier, mint, issuer } = await setUp(one, {
      ...lax,
      audiences: [{ resource: RESOURCE, audience: 'client-x' }],
    });
    const { at_hash: _hash, ...claims } = one.idToken.claims;
    const token = mint({ header: one.idToken.header, claims }, { aud: 'client-x', sub: 'user' });
    expect((await callerOf(verifier, token)).issuer).toBe(issuer.issuer);
  });
});

describe('what is different about a product', () => {
  test('Entra: a person in too many groups has no groups at all, and it is said', async () => {
    const one = product('entra');
    const said: string[] = [];
    const { verifier, mint } = await setUp(
      one,
      {},
      { onLeftOut: (_issuer, claim, why) => said.push(`${claim} ${why}`) },
    );
    const elsewhere = {
      _claim_names: { groups: 'src1' },
      _claim_sources: { src1: { endpoint: 'https://graph.example/' } },
    };
    for (const overage of [
      { ...elsewhere, groups: undefined },
      { ...elsewhere, groups: ['a'] },
      { hasgroups: true, groups: ['a'] },
    ]) {
      const { attributes } = await callerOf(verifier, mint(one.person, overage));
      expect(Object.keys(attributes)).toEqual(['roles', 'tid']);
    }
    expect(said).toEqual(['groups overage', 'groups overage', 'groups overage']);
  });

  test('Entra: without idtyp, what has no scope acts by itself, and has what its roles say', async () => {
    const one = product('entra');
    const { verifier, mint } = await setUp(one);
    expect(await callerOf(verifier, mint(one.client, { idtyp: undefined }))).toMatchObject({
      alone: true,
      scopes: new Set(['notes.read']),
    });
  });

  test('Entra: v1 tokens have their own names for the client', async () => {
    const one = product('entra');
    const { verifier, mint } = await setUp(one);
    const v1 = { azp: undefined, azpacr: undefined, appid: 'old-client', appidacr: '1', ver: '1.0' };
    expect((await callerOf(verifier, mint(one.person, v1))).clientId).toBe('old-client');
  });

  test('Keycloak: a client without a session is alone even when the token does not carry its user name', async () => {
    const one = product('keycloak');
    const { verifier, mint } = await setUp(one);
    expect((await callerOf(verifier, mint(one.client, { preferred_username: undefined }))).alone).toBe(true);
  });

  test.each(['ID', 'Refresh', 'Logout', undefined])(
    'Keycloak: a token whose typ claim is %s is refused',
    async (typ) => {
      const one = product('keycloak');
      const { verifier, mint } = await setUp(one);
      expect(await problemOf(verifier, mint(one.person, { typ }))).toEqual({ kind: 'type' });
    },
  );

  test('Auth0: the default token dialect is refused, for it has no id and no type', async () => {
    const one = product('auth0');
    const { verifier, mint } = await setUp(one);
    expect(await problemOf(verifier, mint(one.person, {}, { typ: 'JWT' }))).toEqual({ kind: 'type' });
  });

  test('Google: cannot be trusted directly, and the reason says what to do', () => {
    const [problem] = issuerProblems({ issuer: 'https://accounts.google.com', profile: 'google' });
    expect(problem).toMatchObject({ path: ['profile'], reason: expect.stringContaining('no access tokens') as string });
    expect(problem!.remedy).toContain('remit authserver');
  });
});

describe('reading claims by rule', () => {
  const base = product('remit');

  test('several claims with a client id must agree', async () => {
    const { verifier, mint } = await setUp(base, { claims: { clientId: ['client_id', 'azp'] } });
    expect((await callerOf(verifier, mint(base.person, { azp: 'agent-1' }))).clientId).toBe('agent-1');
    expect(await problemOf(verifier, mint(base.person, { azp: 'other' }))).toEqual({
      kind: 'claim_invalid',
      claim: 'azp',
    });
  });

  test('a rule beside a profile replaces that preset and no other', async () => {
    const one = product('okta');
    const { verifier, mint } = await setUp(one, { claims: { subject: ['sub'] } });
    expect(await callerOf(verifier, mint(one.person))).toMatchObject({
      subject: 'ada@example.com',
      clientId: 'nmdP1fcyvdVO11AL7ECm',
    });
  });

  test.each<[string, Members, Members]>([
    [
      'a list of 500 texts of 256 characters',
      { groups: Array.from({ length: 500 }, () => 'g'.repeat(2)) },
      { groups: 500 },
    ],
    ['501 texts', { groups: Array.from({ length: 501 }, () => 'g') }, {}],
    ['one text of 257 characters', { groups: ['a', 'g'.repeat(257)] }, {}],
    ['a number among them', { groups: ['a', 7] }, {}],
    ['an object', { groups: { a: 1 } }, {}],
    ['a control character', { groups: ['a\nb'] }, {}],
    ['one text', { groups: 'eng' }, { groups: 1 }],
    ['null', { groups: null }, {}],
    ['a claim that nobody named', { email: 'a@example.com', __proto__x: 'x' }, {}],
  ])('attributes: %s', async (_title, claims, sizes) => {
    const { verifier, mint } = await setUp(base);
    const { attributes } = await callerOf(
      verifier,
      mint(base.person, { org: undefined, groups: undefined, ...claims }),
    );
    expect(Object.fromEntries(Object.entries(attributes).map(([name, list]) => [name, list.length]))).toEqual(sizes);
  });

  test.each<[string, Members, string]>([
    ['a sign-in in the future', { auth_time: NOW + 60 }, 'auth_time'],
    ['a sign-in as text', { auth_time: String(NOW) }, 'auth_time'],
    ['acr as a list', { acr: ['a'] }, 'acr'],
    ['amr with a number', { amr: ['pwd', 1] }, 'amr'],
    ['a grant that is an object', { grant_id: {} }, 'grant_id'],
    ['an endless session', { sid: 's'.repeat(600) }, 'sid'],
  ])('refuses %s', async (_title, claims, claim) => {
    const { verifier, mint } = await setUp(base);
    expect(await problemOf(verifier, mint(base.person, claims))).toEqual({ kind: 'claim_invalid', claim });
  });

  test.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [5, 5],
  ])('ID-06: a chain of %d agents is accepted where %d are, and one more is not', async (depth, maxActDepth) => {
    const { verifier, mint } = await setUp(base, { maxActDepth });
    const chain = (length: number): Members | undefined =>
      length === 0 ? undefined : { sub: `a-${length}`, act: chain(length - 1) };
    expect((await callerOf(verifier, mint(base.person, { act: chain(depth) }))).actChain).toHaveLength(depth);
    expect(await problemOf(verifier, mint(base.person, { act: chain(depth + 1) }))).toEqual({
      kind: 'claim_invalid',
      claim: 'act',
    });
  });

  test('ID-06: without a rule the third agent is one too many', async () => {
    const { verifier, mint } = await setUp(base);
    const act = { sub: 'a', act: { sub: 'b', act: { sub: 'c' } } };
    expect(await problemOf(verifier, mint(base.person, { act }))).toEqual({ kind: 'claim_invalid', claim: 'act' });
  });

  test('AN-07: an issuer may have a limit for people alone', async () => {
    const { verifier, mint } = await setUp(base, { maxLifetimeSeconds: { user: 1_800 } });
    expect((await callerOf(verifier, mint(base.person, { exp: NOW + 1_800 }))).subject).toBe('corp|u-17');
    expect(await problemOf(verifier, mint(base.person, { exp: NOW + 1_801 }))).toMatchObject({ kind: 'lifetime' });
    expect(await problemOf(verifier, mint(base.client, { exp: NOW + 3_601 }))).toMatchObject({ kind: 'lifetime' });
  });
});

describe('audiences', () => {
  const base = product('remit');
  const two = [
    { resource: RESOURCE, audience: 'api://notes' },
    { resource: SIBLING, audience: 'api://slack' },
  ];

  test('AN-03: with an audience per server, a token opens its own server and not by its URL', async () => {
    const { verifier, mint } = await setUp(base, { audiences: two });
    const token = mint(base.person, { aud: 'api://notes' });
    expect((await callerOf(verifier, token)).subject).toBe('corp|u-17');
    expect(await problemOf(verifier, token, SIBLING)).toEqual({ kind: 'audience' });
    expect(await problemOf(verifier, mint(base.person))).toEqual({ kind: 'audience' });
  });

  test('AN-03 twin: where an unsafe key shares an audience, one token opens both', async () => {
    const shared = two.map((entry) => ({ ...entry, audience: 'api://all' }));
    const { verifier, mint } = await setUp(base, { audiences: shared, unsafeSharedAudiences: true });
    const token = mint(base.person, { aud: 'api://all' });
    for (const resource of [RESOURCE, SIBLING]) expect(await callerOf(verifier, token, resource)).toBeDefined();
  });

  test.each<[string, Partial<TrustedIssuer>, readonly (string | number)[]]>([
    [
      'one audience for two servers',
      { audiences: two.map((entry) => ({ ...entry, audience: 'x' })) },
      ['audiences', 0, 'audience'],
    ],
    ['the URL of a sibling', { audiences: [{ resource: RESOURCE, audience: SIBLING }] }, ['audiences', 0, 'audience']],
    [
      'the origin',
      { audiences: [{ resource: RESOURCE, audience: 'https://gw.example' }] },
      ['audiences', 0, 'audience'],
    ],
    ['a resource twice', { audiences: [two[0]!, { ...two[0]!, audience: 'y' }] }, ['audiences', 0, 'resource']],
    [
      'an audience that is tolerated everywhere',
      { audiences: [two[0]!], toleratedAudiences: ['api://notes'] },
      ['audiences', 0, 'audience'],
    ],
    ['other types without a test', { tokenTypes: ['JWT'] }, ['accessTokenWhen']],
    [
      'a test of absence',
      { tokenTypes: ['JWT'], accessTokenWhen: [{ claim: 'nonce', absent: true }] },
      ['accessTokenWhen'],
    ],
    ['no claim for the client', { claims: { clientId: [] } }, ['claims', 'clientId']],
  ])('settings are refused: %s', (_title, settings, path) => {
    const whole = { issuer: 'https://as.example', ...settings };
    expect(issuerProblems(whole)[0]?.path).toEqual(path);
    expect(() => createTokenVerifier({ issuers: [whole], fetchJwks: fetchOnLoopback })).toThrow(
      'issuer https://as.example: ',
    );
  });
});
