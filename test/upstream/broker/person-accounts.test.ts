/** Accounts of people and tokens on behalf of callers, through a whole gateway: whose token the server received is the oracle. */
import { afterEach, describe, expect, test } from 'vitest';
import { Server } from '../../../src/inventory/records.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import type { Pass } from '../../../src/upstream/oauth/account.ts';
import type { AccountTarget } from '../../../src/upstream/oauth/account.ts';
import type { AuthTarget } from '../../../src/upstream/oauth/auth-target.ts';
import { serverAccounts } from '../../../src/upstream/oauth/accounts.ts';
import { ORG, type Rig, startRig } from '../../support/rig.ts';
import { type AuthorizationSite, startAuthorizationSite, startProtected } from '../../support/upstreams/protected.ts';
import { CALLBACK, COMMON, SECRET, secretRef } from '../oauth-rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Tokens name whom they are of: `at-<subject>-<n>`. */
function naming(site: AuthorizationSite, subjectOf: (form: Readonly<Record<string, string>>) => string): void {
  let count = 0;
  site.metadata = { revocation_endpoint: `${site.issuer}/revoke` };
  site.token = ({ form }) => {
    const token = `at-${subjectOf(form)}-${++count}`;
    site.given.push(token);
    return {
      body: {
        access_token: token,
        token_type: 'Bearer',
        expires_in: 3600,
        ...(form['grant_type']?.includes('token-exchange') && {
          issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        }),
        ...((form['grant_type'] === 'authorization_code' || form['grant_type'] === 'refresh_token') && {
          refresh_token: `rt-${subjectOf(form)}-${count}`,
        }),
      },
    };
  };
}

async function gateway(authOf: (issuer: string, rig: Rig) => AuthTarget, atCallersIssuer = false) {
  const site = await startAuthorizationSite();
  closers.push(site.close);
  const sink = await startProtected(site);
  closers.push(sink.close);
  sink.admit = ({ headers }) =>
    site.given.some((token) => headers['authorization'] === `Bearer ${token}`)
      ? null
      : { status: 401, challenge: `Bearer ${sink.challenge}` };
  const rig: Rig = await startRig({ servers: {}, admin: true });
  closers.push(rig.stop);
  await rig.policy('all', 'permit (principal, action, resource);');
  void atCallersIssuer;
  const auth = authOf(site.issuer, rig);
  const upstream = { transport: 'http', url: sink.url, allowedNetworks: ['127.0.0.1/32'], auth } as const;
  const body = Server.parse({
    title: 'Notes',
    owner: 'omar',
    purpose: 'has an account of each person',
    environment: 'production',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream,
  }) as JsonObject;
  return {
    site,
    sink,
    rig,
    auth,
    target: { url: sink.url, allowedNetworks: ['127.0.0.1/32'], auth } as AccountTarget,
    begin: async () => {
      await rig.commit([{ kind: 'server', org: ORG, id: 'notes', body }]);
      await rig.look('notes');
      await rig.approveTool('notes', 'echo', 'read', 'notes:read');
    },
    bearers: (): string[] =>
      sink.calls().map(({ headers }) => String(headers['authorization']).replace('Bearer ', '').replace(/-\d+$/, '')),
  };
}

describe('accounts that people link', () => {
  async function linked() {
    const codes: string[] = [];
    const made = await gateway((issuer) => ({
      grant: 'authorization_code',
      issuer,
      per: 'person',
      client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
      ...COMMON,
    }));
    const { rig, site } = made;
    naming(site, (form) => form['code'] ?? form['refresh_token']?.split('-')[1] ?? 'nobody');
    const agreed = (url: string, code: string): string => {
      const answer = new URL(CALLBACK);
      answer.searchParams.set('code', code);
      answer.searchParams.set('state', new URL(url).searchParams.get('state') ?? '');
      return answer.href;
    };
    /** The account by which the gateway looks at what the server offers. */
    const looking = await rig.accounts.begin('notes', made.target, { redirectUri: CALLBACK, by: 'omar' });
    await rig.accounts.finish('notes', made.target, agreed(looking.url, 'operator'), 'omar');
    await made.begin();
    const link = async (person: string) => {
      const { body } = await rig.admin(person, 'POST', '/servers/notes/link', { redirectUri: CALLBACK });
      codes.push(person);
      return rig.admin(person, 'POST', '/servers/notes/link/finish', {
        callback: agreed(body['url'] as string, person),
      });
    };
    return { ...made, link, agreed };
  }

  test('NH-06: each person’s calls carry the token of their own account, and one who has none is told how to link one', async () => {
    const { rig, link, bearers, sink } = await linked();
    const refused = await rig.call('notes', 'echo', { text: 'hi' }, { as: 'dana' });
    expect(refused.text).toContain('remit server link notes');
    expect(sink.calls()).toEqual([]);
    expect((await link('dana')).text).toContain('"linked":true');
    expect((await link('dora')).status).toBe(200);
    await Promise.all(
      ['dana', 'dora', 'dana', 'dora'].map((as) => rig.call('notes', 'echo', { text: `of ${as}` }, { as })),
    );
    for (const { body, headers } of sink.calls()) {
      const who = body.includes('of dana') ? 'dana' : 'dora';
      expect(headers['authorization']).toMatch(new RegExp(`^Bearer at-${who}-`));
    }
    expect(bearers().toSorted()).toEqual(['at-dana', 'at-dana', 'at-dora', 'at-dora']);
    const [denied] = await rig.about(refused.reference);
    expect(JSON.stringify(denied)).toContain('account_not_linked');
  });

  test('the twin: with one account for everybody the second person acts by the account of the first', async () => {
    const { rig, link, target } = await linked();
    await link('dana');
    const shared = { person: 'dana', key: 'everybody', token: null };
    const forgetful = rig.accounts.of('notes', target, shared);
    const ofDora: Pass = await forgetful.pass('POST', target.url);
    expect(ofDora.headers['authorization']).toMatch(/^Bearer at-dana-/);
  });

  test('nobody finishes what another began, and a state works once', async () => {
    const { rig, agreed } = await linked();
    const { body } = await rig.admin('dana', 'POST', '/servers/notes/link', { redirectUri: CALLBACK });
    const callback = agreed(body['url'] as string, 'dana');
    expect((await rig.admin('dora', 'POST', '/servers/notes/link/finish', { callback })).status).toBe(502);
    expect((await rig.admin('dana', 'POST', '/servers/notes/link/finish', { callback })).status).toBe(200);
    expect((await rig.admin('dana', 'POST', '/servers/notes/link/finish', { callback })).status).toBe(502);
    expect((await rig.admin('dora', 'GET', '/servers/notes/link')).body).toMatchObject({ linked: false });
  });

  test('NH-06: unlinking gives both tokens back (RFC 7009) and the next call is refused, of nobody else', async () => {
    const { rig, link, site, sink } = await linked();
    await link('dana');
    await link('dora');
    expect((await rig.call('notes', 'echo', { text: 'one' }, { as: 'dana' })).result).toMatchObject({ content: [{}] });
    expect((await rig.admin('dana', 'DELETE', '/servers/notes/link', {})).body).toMatchObject({ revoked: 2, left: 0 });
    const given = site.asked
      .filter(({ path }) => path === '/revoke')
      .map(({ form }) => [form['token_type_hint'], form['token']]);
    expect(given).toEqual([
      ['refresh_token', expect.stringMatching(/^rt-dana-/)],
      ['access_token', expect.stringMatching(/^at-dana-/)],
    ]);
    const before = sink.calls().length;
    expect((await rig.call('notes', 'echo', { text: 'two' }, { as: 'dana' })).text).toContain(
      'remit server link notes',
    );
    expect(sink.calls()).toHaveLength(before);
    expect((await rig.call('notes', 'echo', { text: 'three' }, { as: 'dora' })).result).toMatchObject({
      content: [{}],
    });
  });

  test('a refresh of one person is asked for once, however many of their calls wait for it', async () => {
    const { rig, link, site, target } = await linked();
    await link('dana');
    const restarted = serverAccounts({
      clock: rig.clock,
      resolveSecret: rig.broker.resolve,
      links: { read: async () => linkOf(target, site.issuer), write: async () => undefined, keys: async () => [] },
    });
    const account = restarted.of('notes', target, { person: 'dana', key: 'dana', token: null });
    const before = site.tokens().length;
    await Promise.all(Array.from({ length: 20 }, () => account.pass('POST', target.url)));
    expect(site.tokens().length - before).toBe(1);
  });

  const linkOf = ({ url }: AccountTarget, issuer: string): string =>
    JSON.stringify({
      issuer,
      resource: url,
      client: { id: 'remit', registered: null },
      refreshToken: 'rt-dana-0',
      scopes: [],
      key: null,
      by: 'dana',
      at: 0,
    });
});

describe('on behalf of the caller', () => {
  const exchange = (issuer: string): AuthTarget => ({
    grant: 'token_exchange',
    issuer,
    client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
    ...COMMON,
  });
  const holder = (issuer: string, value: string, expiresAt = Date.now() + 60_000) => ({
    person: 'dana',
    key: `dana ${value}`,
    token: { issuer, value, expiresAt },
  });

  test('AN-04: the caller’s token goes to its own issuer and nowhere else, and the server gets what that issuer made of it', async () => {
    const { site, rig, target, sink } = await gateway(exchange);
    naming(site, (form) => form['subject_token']?.split('.')[0] ?? 'gateway');
    const account = rig.accounts.of('notes', target, holder(site.issuer, 'danas.token'));
    const pass = await account.pass('POST', target.url);
    expect(pass.headers['authorization']).toMatch(/^Bearer at-danas-/);
    expect(site.tokens().at(-1)!.form).toMatchObject({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: 'danas.token',
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: target.url,
    });
    expect(sink.wire()).not.toContain('danas.token');
  });

  test('AN-04: a record that names another issuer than the caller’s gets no token of theirs, at the sink nor at that issuer', async () => {
    const { site, rig, begin, sink } = await gateway(exchange);
    naming(site, (form) => form['subject_token'] ?? 'gateway');
    await begin();
    const token = rig.token('dana', { server: 'notes' });
    const answer = await rig.call('notes', 'echo', { text: 'hi' }, { token });
    expect(answer.result).toMatchObject({ isError: true });
    expect(sink.calls()).toEqual([]);
    const wire = JSON.stringify(site.asked) + sink.wire();
    for (const part of [token, ...token.split('.')]) expect(wire).not.toContain(part);
  });

  test('the twin: without the comparison of issuers the caller’s token lies at the issuer of the record', async () => {
    const { site, rig, target } = await gateway(exchange);
    naming(site, () => 'x');
    // What a holder would be if it believed the record about the issuer.
    const believing = holder(site.issuer, 'token-of-another-issuer');
    await rig.accounts.of('notes', target, believing).pass('POST', target.url);
    expect(JSON.stringify(site.asked)).toContain('token-of-another-issuer');
  });

  test('a token that has ended is not exchanged, and tokens of two keys are never the same', async () => {
    const { site, rig, target } = await gateway(exchange);
    naming(site, (form) => form['subject_token'] ?? 'gateway');
    await expect(
      rig.accounts.of('notes', target, holder(site.issuer, 'old', 1)).pass('POST', target.url),
    ).rejects.toMatchObject({ code: 'upstream_auth', message: expect.stringContaining('has ended') });
    const passes = await Promise.all(
      ['narrow', 'wide'].map((value) =>
        rig.accounts.of('notes', target, holder(site.issuer, value)).pass('POST', target.url),
      ),
    );
    expect(passes.map(({ headers }) => headers['authorization']?.replace(/-\d+$/, ''))).toEqual([
      'Bearer at-narrow',
      'Bearer at-wide',
    ]);
  });

  test('ID-JAG for the caller: the identity provider of their token says who they are, and only it sees the token', async () => {
    const idp = await startAuthorizationSite();
    closers.push(idp.close);
    idp.token = () => ({
      body: {
        access_token: 'jag-of-dana',
        token_type: 'N_A',
        issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
        expires_in: 300,
      },
    });
    const client = { method: 'client_secret_basic', id: 'remit', secret: secretRef } as const;
    const { site, rig, target } = await gateway((issuer) => ({
      grant: 'enterprise_managed',
      issuer,
      client,
      identityProvider: { issuer: idp.issuer, client, subject: 'caller' },
      ...COMMON,
    }));
    naming(site, (form) => form['assertion'] ?? 'gateway');
    const pass = await rig.accounts.of('notes', target, holder(idp.issuer, 'danas.token')).pass('POST', target.url);
    expect(pass.headers['authorization']).toMatch(/^Bearer at-jag-of-dana-/);
    expect(idp.tokens()[0]!.form).toMatchObject({ subject_token: 'danas.token', audience: site.issuer });
    expect(JSON.stringify(site.asked)).not.toContain('danas.token');
    await expect(
      rig.accounts.of('notes', target, holder('https://other', 'x')).pass('POST', target.url),
    ).rejects.toMatchObject({ message: expect.stringContaining('another issuer') });
    expect(JSON.stringify([idp.asked, site.asked])).not.toContain(`"${SECRET}"`);
  });
});
