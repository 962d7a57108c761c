/**
 * AN-10: what a server, an authorization server or whoever brings an answer can try on the gateway as an OAuth client. The
 * oracles are the authorization servers: what each of them was shown. Twins are small clients without the one check.
 */
import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { faultOf } from '../contracts/connection.ts';
import { type AuthorizationSite } from '../support/upstreams/protected.ts';
import { SECRET, consented, credentials, secretRef, startOAuthRig } from './oauth-rig.ts';

const OTHER_ANSWER = 'the answer is not of the authorization server that was asked (RFC 9207)';
const NOT_YOURS = 'this answer belongs to no consent that you began for this server as it is now; begin again';
const shown = (site: AuthorizationSite): string => JSON.stringify(site.asked);

/** A client as many are: goes where the metadata says and shows its secret there. */
async function trusting(sinkUrl: string): Promise<void> {
  const { origin } = new URL(sinkUrl);
  const json = async (url: string) => (await (await fetch(url)).json()) as Record<string, unknown>;
  const resource = await json(`${origin}/.well-known/oauth-protected-resource/mcp`);
  const [issuer] = resource['authorization_servers'] as string[];
  const metadata = await json(`${issuer}/.well-known/oauth-authorization-server`);
  await fetch(String(metadata['token_endpoint']), {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'remit', client_secret: SECRET }),
  });
}

describe('another authorization server', () => {
  test('AN-10: a server that names a rogue authorization server gets nothing of ours there', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    rig.sink.servers = [rogue.issuer];
    const fault = await faultOf(rig.pass(credentials(rig.site.issuer)));
    expect(fault.code).toBe('upstream_auth');
    expect(fault.message).toBe(
      `the server names the authorization server ${rogue.issuer}, and the credentials of its record belong to ${rig.site.issuer}`,
    );
    expect(rogue.asked).toEqual([]);
  });

  test('AN-10: a client that goes where it is sent shows its secret to the rogue (vulnerable twin)', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    rig.sink.servers = [rogue.issuer];
    await trusting(rig.sink.url);
    expect(shown(rogue)).toContain(SECRET);
  });

  test('AN-10: a server that moves while it is used leaves credentials, tokens and clients of the old one behind', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    const auth = consented();
    rig.site.token = () => ({
      body: {
        access_token: 'at-of-the-old-one',
        token_type: 'Bearer',
        expires_in: 3600,
        refresh_token: 'rt-of-the-old-one',
      },
    });
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    const account = rig.accounts.of('sink', rig.target(auth));
    const pass = await account.pass('POST', rig.sink.url);
    await account.judge(pass, rig.sink.url, 200, {});
    rig.sink.servers = [rogue.issuer];
    await account.judge(pass, rig.sink.url, 401, { 'www-authenticate': 'Bearer error="invalid_token"' });
    const fault = await faultOf(account.pass('POST', rig.sink.url));
    expect(fault.message).toContain('it has moved to another authorization server');
    // Only an operator's new consent goes there, with a client of its own.
    const { url } = await rig.begin(auth);
    expect(new URL(url).origin).toBe(rogue.issuer);
    expect(new URL(url).searchParams.get('client_id')).toBe(`client-of-${rogue.issuer}`);
    expect(shown(rogue)).not.toMatch(/of-the-old-one/);
    expect(shown(rogue)).not.toContain(`client-of-${rig.site.issuer}`);
  });

  const spellings = (issuer: string): readonly string[] => [
    `${issuer}/`,
    issuer.toUpperCase(),
    issuer.replace('http:', 'https:'),
    `${issuer}/tenant`,
    'https://attacker.example',
  ];
  test.each([0, 1, 2, 3, 4])(
    'AN-10: metadata of another issuer is not used, however alike it is written (%i)',
    async (i) => {
      const rig = await startOAuthRig();
      const rogue = await rig.rogue();
      rig.site.metadata = { issuer: spellings(rig.site.issuer)[i], token_endpoint: `${rogue.issuer}/token` };
      const fault = await faultOf(rig.pass(credentials(rig.site.issuer)));
      expect(fault.message).toBe(`the metadata of ${rig.site.issuer} is of another issuer`);
      expect([rig.site.tokens(), rogue.asked]).toEqual([[], []]);
    },
  );

  test('AN-10: a client that does not compare them is led to the rogue token endpoint (vulnerable twin)', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    rig.site.metadata = { issuer: 'https://attacker.example', token_endpoint: `${rogue.issuer}/token` };
    await trusting(rig.sink.url);
    expect(shown(rogue)).toContain(SECRET);
  });

  test.each([
    ['another origin', 'https://evil.example.com/mcp'],
    ['another path', (url: string) => url.replace('/mcp', '/other')],
    ['the origin, said by the document of the path', (url: string) => new URL(url).origin],
    ['a longer path', (url: string) => `${url}/more`],
    ['no address', 'mcp'],
  ])('AN-10: metadata of another resource is not used: %s', async (_name, resource) => {
    const rig = await startOAuthRig();
    rig.sink.resource = { resource: typeof resource === 'string' ? resource : resource(rig.sink.url) };
    const fault = await faultOf(rig.pass(credentials(rig.site.issuer)));
    expect([fault.code, fault.message]).toEqual(['upstream_auth', 'the metadata of the server is of another resource']);
    expect(rig.site.asked).toEqual([]);
  });

  test('AN-10: a client that takes any resource asks for a token of the attacker’s choice (vulnerable twin)', async () => {
    const rig = await startOAuthRig();
    rig.sink.resource = { resource: 'https://evil.example.com/mcp' };
    await trusting(rig.sink.url);
    expect(rig.site.tokens()).toHaveLength(1);
  });
});

describe('AN-15: addresses that a server names', () => {
  test.each([
    ['its metadata', (trap: string) => ({ challenge: `resource_metadata="${trap}/prm"` })],
    ['its authorization server', (trap: string) => ({ servers: [trap] })],
  ])('AN-15: %s lies in a network that its record does not allow: nobody goes there', async (_name, change) => {
    const rig = await startOAuthRig();
    const trap = await rig.rogue();
    // The same listener under an address that the record does not list.
    const url = trap.issuer.replace('127.0.0.1', '127.0.0.2');
    Object.assign(rig.sink, change(url));
    const fault = await faultOf(rig.pass(credentials(url)));
    expect(fault.code).toBe('upstream_refused_address');
    expect(trap.asked).toEqual([]);
  });
});

describe('downgrade', () => {
  test.each([
    ['says nothing of PKCE', undefined],
    ['knows plain only', ['plain']],
    ['has an empty list', []],
  ])('AN-10: an authorization server that %s gets nobody sent to it', async (_name, methods) => {
    const rig = await startOAuthRig();
    rig.site.metadata = { code_challenge_methods_supported: methods };
    const fault = await faultOf(rig.begin(consented()));
    expect([fault.code, fault.message]).toEqual([
      'upstream_auth',
      'the authorization server does not say that it supports PKCE with S256',
    ]);
    expect(rig.site.asked.some(({ path }) => path === '/register')).toBe(false);
  });

  test('AN-10: with S256 in the metadata the same consent begins (twin: the check decides)', async () => {
    const rig = await startOAuthRig();
    const { url } = await rig.begin(consented());
    expect(new URL(url).searchParams.get('code_challenge_method')).toBe('S256');
  });
});

describe('mix-up: who an answer is of', () => {
  const CASES: ReadonlyArray<readonly [string, boolean | undefined, (issuer: string) => string | null, boolean]> = [
    ['said and right', true, (issuer) => issuer, true],
    ['neither promised nor said', undefined, () => null, true],
    ['not promised, said and right', undefined, (issuer) => issuer, true],
    ['promised and missing', true, () => null, false],
    ['promised and empty', true, () => '', false],
    ['promised and of another', true, () => 'https://evil.example.com', false],
    ['not promised and of another', undefined, () => 'https://evil.example.com', false],
    ['promised, and right only once normalised', true, (issuer) => `${issuer}/`, false],
    ['promised, in other letters', true, (issuer) => issuer.toUpperCase(), false],
  ];
  test.each(CASES)('AN-10: iss %s', async (_name, promised, iss, accepted) => {
    const rig = await startOAuthRig();
    rig.site.metadata = { authorization_response_iss_parameter_supported: promised };
    const auth = consented();
    const { url } = await rig.begin(auth);
    const said = iss(rig.site.issuer);
    const finishing = rig.finish(auth, rig.callback(url, said === null ? {} : { iss: said }));
    if (accepted) await finishing;
    else expect((await faultOf(finishing)).message).toBe(OTHER_ANSWER);
    expect(rig.site.tokens()).toHaveLength(accepted ? 1 : 0);
  });

  test('AN-10: a client without the comparison sends the code of one authorization server to another (vulnerable twin)', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    rig.sink.servers = [rogue.issuer];
    const { url } = await rig.begin(consented());
    const callback = new URL(rig.callback(url, { code: 'code-of-the-honest-one', iss: rig.site.issuer }));
    await fetch(`${rogue.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'authorization_code', code: callback.searchParams.get('code')! }),
    });
    expect(shown(rogue)).toContain('code-of-the-honest-one');
  });

  test('AN-10: the gateway keeps that code to itself', async () => {
    const rig = await startOAuthRig();
    const rogue = await rig.rogue();
    rig.sink.servers = [rogue.issuer];
    const { url } = await rig.begin(consented());
    const answer = rig.callback(url, { code: 'code-of-the-honest-one', iss: rig.site.issuer });
    expect((await faultOf(rig.finish(consented(), answer))).message).toBe(OTHER_ANSWER);
    expect(shown(rogue)).not.toContain('code-of-the-honest-one');
  });
});

describe('whose answer it is', () => {
  test('AN-10: a state is taken once', async () => {
    const rig = await startOAuthRig();
    const auth = consented();
    const answer = rig.callback((await rig.begin(auth)).url);
    await rig.finish(auth, answer);
    expect((await faultOf(rig.finish(auth, answer))).message).toBe(NOT_YOURS);
    expect(rig.site.tokens()).toHaveLength(1);
  });

  test.each([
    ['no state', (answer: string) => answer.replace(/&?state=[^&]*/, '')],
    ['an unknown state', (answer: string) => answer.replace(/state=[^&]*/, 'state=guessed')],
    ['two states', (answer: string) => `${answer}&state=other`],
    ['no address', () => 'nothing'],
  ])('AN-10: an answer with %s buys nothing', async (_name, change) => {
    const rig = await startOAuthRig();
    const auth = consented();
    const answer = rig.callback((await rig.begin(auth)).url);
    expect((await faultOf(rig.finish(auth, change(answer)))).message).toBe(NOT_YOURS);
    expect(rig.site.tokens()).toEqual([]);
  });

  test('AN-10: only the operator who began may finish, and only for the record as it was', async () => {
    const rig = await startOAuthRig();
    const auth = consented();
    const answer = rig.callback((await rig.begin(auth)).url);
    expect((await faultOf(rig.finish(auth, answer, 'mallory'))).message).toBe(NOT_YOURS);
    expect((await faultOf(rig.finish(consented({ scopes: ['more'] }), answer))).message).toBe(NOT_YOURS);
    expect(rig.site.tokens()).toEqual([]);
  });

  test('AN-10: after ten minutes it is too late', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    const auth = consented();
    const answer = rig.callback((await rig.begin(auth)).url);
    clock.advance(600_000);
    expect((await faultOf(rig.finish(auth, answer))).message).toBe(
      'the consent took longer than ten minutes; begin again',
    );
    expect(rig.site.tokens()).toEqual([]);
  });

  test('AN-10: a refusal of the authorization server is told by its code, and an answer cannot smuggle text', async () => {
    const rig = await startOAuthRig();
    const auth = consented();
    const answer = (error: string) => async () =>
      rig.finish(auth, `http://127.0.0.1/cb?${new URLSearchParams({ error, state: await state() }).toString()}`);
    const state = async () => new URL((await rig.begin(auth)).url).searchParams.get('state')!;
    expect((await faultOf(answer('access_denied')())).message).toBe('the consent was refused with access_denied');
    expect((await faultOf(answer('<script>')())).message).toBe(OTHER_ANSWER);
  });
});

describe('who the gateway is', () => {
  test('the address of a metadata document is shown only to who takes one', async () => {
    const rig = await startOAuthRig();
    const url = 'https://remit.example/client.json';
    const auth = consented({ client: { method: 'metadata_document', url } });
    expect((await faultOf(rig.begin(auth))).message).toBe(
      'the authorization server does not take client ids that are addresses of metadata documents',
    );
    rig.site.metadata = { client_id_metadata_document_supported: true };
    // Metadata is read again for another definition of the server.
    const other = consented({ client: { method: 'metadata_document', url }, scopes: ['a'] });
    expect(new URL((await rig.begin(other)).url).searchParams.get('client_id')).toBe(url);
  });

  test('offline_access is asked for where it is offered, and nowhere else', async () => {
    const rig = await startOAuthRig();
    rig.sink.resource = { scopes_supported: ['a', 'offline_access'] };
    const scope = async (more: Parameters<typeof consented>[0]) =>
      new URL((await rig.begin(consented(more))).url).searchParams.get('scope');
    expect(await scope({})).toBe('a');
    rig.site.metadata = { scopes_supported: ['a', 'offline_access'] };
    expect(await scope({ client: { method: 'register', name: 'Other' } })).toBe('a offline_access');
  });

  test('a client that was registered by somebody authenticates as the record says', async () => {
    const rig = await startOAuthRig();
    const auth = consented({
      issuer: rig.site.issuer,
      client: { method: 'client_secret_post', id: 'known', secret: secretRef },
    });
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    expect(rig.site.tokens()[0]?.form).toMatchObject({ client_id: 'known', client_secret: SECRET });
  });
});
