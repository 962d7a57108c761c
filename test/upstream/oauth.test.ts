/** Tokens for servers, against a sink that wants them and an authorization server that keeps what it was asked. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { decodeJwt, decodeProtectedHeader, exportPKCS8, generateKeyPair, importJWK, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import type { AuthTarget } from '../../src/upstream/oauth/auth-target.ts';
import { faultOf, textOf } from '../contracts/connection.ts';
import { COMMON, SECRET, consented, credentials, secretRef, startOAuthRig } from './oauth-rig.ts';

const basic = (id: string, secret: string): string => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;

describe('client credentials', () => {
  test('a call carries a token that was asked for this resource, with the scopes of the challenge', async () => {
    const rig = await startOAuthRig();
    rig.sink.challenge += ', scope="notes:read notes:list"';
    rig.sink.resource = { scopes_supported: ['everything'] };
    const connection = await rig.connect(credentials(rig.site.issuer));
    expect(await textOf(connection, 'echo', { text: 'hi' })).toContain('hi');
    const [asked, ...more] = rig.site.tokens();
    expect(more).toEqual([]);
    expect(asked?.form).toEqual({
      grant_type: 'client_credentials',
      resource: rig.sink.url,
      scope: 'notes:read notes:list',
    });
    expect(asked?.headers['authorization']).toBe(basic('remit', SECRET));
    expect(rig.sink.calls()[0]?.headers['authorization']).toBe(`Bearer ${rig.site.given[0]}`);
  });

  test('without a scope in the challenge those of the metadata are asked for, and the record is the upper bound', async () => {
    const rig = await startOAuthRig();
    rig.sink.resource = { scopes_supported: ['notes:read', 'notes:write'] };
    await rig.pass(credentials(rig.site.issuer));
    await rig.pass(credentials(rig.site.issuer, { scopes: ['notes:read'] }));
    expect(rig.site.tokens().map(({ form }) => form['scope'])).toEqual(['notes:read notes:write', 'notes:read']);
  });

  test.each(['client_secret_basic', 'client_secret_post'] as const)(
    '%s shows the secret in its own place only',
    async (method) => {
      const rig = await startOAuthRig();
      await rig.pass(credentials(rig.site.issuer, { client: { method, id: 'remit', secret: secretRef } }));
      const [asked] = rig.site.tokens();
      expect(asked?.body.includes(SECRET)).toBe(method === 'client_secret_post');
      expect(asked?.headers['authorization'] === basic('remit', SECRET)).toBe(method === 'client_secret_basic');
      expect(rig.sink.wire()).not.toContain(SECRET);
    },
  );

  test('private_key_jwt: the assertion is of the client, for this issuer alone, short and single use', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    process.env['REMIT_TEST_OAUTH_KEY'] = await exportPKCS8(privateKey);
    const rig = await startOAuthRig();
    const client = {
      method: 'private_key_jwt',
      id: 'remit',
      key: { secret: 'env:REMIT_TEST_OAUTH_KEY' },
      algorithm: 'ES256',
    } as const;
    await rig.pass(credentials(rig.site.issuer, { client }));
    await rig.pass(credentials(rig.site.issuer, { client, scopes: ['a'] }));
    const assertions = rig.site.tokens().map(({ form }) => form['client_assertion'] ?? '');
    for (const assertion of assertions) {
      const { payload } = await jwtVerify(assertion, publicKey, {
        audience: rig.site.issuer,
        issuer: 'remit',
        subject: 'remit',
      });
      expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(300);
    }
    expect(new Set(assertions.map((assertion) => decodeJwt(assertion).jti)).size).toBe(2);
  });

  test('a method that the authorization server does not take is refused before the secret is shown', async () => {
    const rig = await startOAuthRig();
    rig.site.metadata = { token_endpoint_auth_methods_supported: ['private_key_jwt'] };
    const fault = await faultOf(rig.pass(credentials(rig.site.issuer)));
    expect(fault.code).toBe('upstream_auth');
    expect(fault.message).toBe('the authorization server does not take client_secret_basic; it takes private_key_jwt');
    expect(rig.site.tokens()).toEqual([]);
  });
});

describe('the life of a token', () => {
  test('many requests at once ask for one token, and it is renewed before it ends', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    const auth = credentials(rig.site.issuer);
    const passes = await Promise.all(Array.from({ length: 30 }, () => rig.pass(auth)));
    expect(new Set(passes.map(({ token }) => token.value)).size).toBe(1);
    clock.advance(3_560_000);
    expect((await rig.pass(auth)).token.value).toBe(passes[0]!.token.value);
    clock.advance(11_000);
    expect((await rig.pass(auth)).token.value).not.toBe(passes[0]!.token.value);
    expect(rig.site.tokens()).toHaveLength(2);
  });

  test('a token that ends at once does not make every request ask for another', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    rig.site.token = () => ({ body: { access_token: 'at-short', token_type: 'Bearer', expires_in: 0 } });
    for (let i = 0; i < 10; i++) await rig.pass(credentials(rig.site.issuer));
    expect(rig.site.tokens()).toHaveLength(1);
    clock.advance(1_000);
    await rig.pass(credentials(rig.site.issuer));
    expect(rig.site.tokens()).toHaveLength(2);
  });

  test('AN-12: the token before is not let through either', async () => {
    const rig = await startOAuthRig();
    const connection = await rig.connect(credentials(rig.site.issuer));
    await textOf(connection, 'echo', { text: 'one' });
    const before = rig.site.given.at(-1)!;
    rig.site.given.push('revoked-elsewhere');
    rig.sink.onCall(() => ({ content: [{ type: 'text', text: before }] }));
    expect((await faultOf(textOf(connection, 'echo', { text: 'two' }))).message).toBe(
      'the answer repeats a credential that was sent with the request',
    );
  });

  test('a token that is refused in the middle is replaced once, and the call goes on', async () => {
    const rig = await startOAuthRig();
    const connection = await rig.connect(credentials(rig.site.issuer));
    await textOf(connection, 'echo', { text: 'one' });
    rig.site.given.push('revoked-elsewhere'); // the sink takes the newest only
    expect(await textOf(connection, 'echo', { text: 'two' })).toContain('two');
    expect(rig.site.tokens()).toHaveLength(2);
    // Refused by 401, so it was not processed: the same call went out twice and ran once.
    expect(rig.sink.calls().filter(({ body }) => body.includes('"two"'))).toHaveLength(2);
  });

  test('a server that refuses every token is not asked again and again', async () => {
    const rig = await startOAuthRig();
    rig.sink.admit = () => ({ status: 401, challenge: 'Bearer error="invalid_token"' });
    const auth = credentials(rig.site.issuer);
    expect((await faultOf(rig.connect(auth))).code).toBe('upstream_auth');
    for (let i = 0; i < 5; i++) await faultOf(rig.pass(auth));
    expect(rig.site.tokens()).toHaveLength(1);
  });

  test('a refusal of the token endpoint is not repeated, and its own text goes nowhere', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    rig.site.token = () => ({ status: 400, body: { error: 'invalid_client', error_description: `no: ${SECRET}` } });
    const auth = credentials(rig.site.issuer);
    const fault = await faultOf(rig.pass(auth));
    expect([fault.code, fault.message]).toEqual([
      'upstream_auth',
      'the token by client_credentials was refused with invalid_client',
    ]);
    await faultOf(rig.pass(auth));
    expect(rig.site.tokens()).toHaveLength(1);
    clock.advance(30_001);
    await faultOf(rig.pass(auth));
    expect(rig.site.tokens()).toHaveLength(2);
  });

  test('more scopes are got when a call needs them, together with those before, and not without end', async () => {
    const rig = await startOAuthRig();
    rig.sink.challenge += ', scope="a"';
    let demand = 0;
    rig.sink.admit = ({ headers, body }) => {
      if (headers['authorization'] !== `Bearer ${rig.site.given.at(-1)}`)
        return { status: 401, challenge: `Bearer ${rig.sink.challenge}` };
      if (!body.includes('tools/call')) return null;
      return { status: 403, challenge: `Bearer error="insufficient_scope", scope="step-${++demand}"` };
    };
    const connection = await rig.connect(credentials(rig.site.issuer));
    const fault = await faultOf(textOf(connection, 'echo', { text: 'hi' }));
    expect(fault.code).toBe('upstream_auth');
    expect(rig.site.tokens().map(({ form }) => form['scope'])).toEqual([
      'a',
      'a step-1',
      'a step-1 step-2',
      'a step-1 step-2 step-3',
    ]);
    for (let i = 0; i < 3; i++) await faultOf(textOf(connection, 'echo', { text: 'hi' }));
    expect(rig.site.tokens()).toHaveLength(4);
  });

  test('a scope that nobody grants takes nothing from the calls that do not need it', async () => {
    const rig = await startOAuthRig();
    rig.site.token = ({ form }) =>
      form['scope']?.includes('admin') ? { status: 400, body: { error: 'invalid_scope' } } : null;
    rig.sink.challenge += ', scope="a"';
    rig.sink.admit = ({ headers, body }) => {
      if (headers['authorization'] !== `Bearer ${rig.site.given.at(-1)}`)
        return { status: 401, challenge: `Bearer ${rig.sink.challenge}` };
      return body.includes('"secret"')
        ? { status: 403, challenge: 'Bearer error="insufficient_scope", scope="admin"' }
        : null;
    };
    const connection = await rig.connect(credentials(rig.site.issuer));
    expect((await faultOf(textOf(connection, 'secret', {}))).code).toBe('upstream_auth');
    expect(await textOf(connection, 'echo', { text: 'hi' })).toContain('hi');
    expect(rig.site.tokens().map(({ form }) => form['scope'])).toEqual(['a', 'a admin']);
    for (let i = 0; i < 4; i++) await faultOf(textOf(connection, 'secret', {}));
    expect(rig.site.tokens()).toHaveLength(4);
  });

  test('a record with scopes is never exceeded, whatever a server demands', async () => {
    const rig = await startOAuthRig();
    rig.sink.admit = ({ headers, body }) =>
      headers['authorization'] !== undefined && body.includes('tools/call')
        ? { status: 403, challenge: 'Bearer error="insufficient_scope", scope="admin"' }
        : null;
    const connection = await rig.connect(credentials(rig.site.issuer, { scopes: ['a'] }));
    expect((await faultOf(textOf(connection, 'echo', { text: 'hi' }))).code).toBe('upstream_auth');
    expect(rig.site.tokens().map(({ form }) => form['scope'])).toEqual(['a']);
  });

  test.each([
    ['no token type', { access_token: 'abcdefgh' }],
    ['a token with a line break', { access_token: 'abc\r\nX-Evil: 1', token_type: 'Bearer' }],
    ['a token of another kind', { access_token: 'abcdefgh', token_type: 'mac' }],
    ['a token bound to nobody’s key', { access_token: 'abcdefgh', token_type: 'DPoP' }],
    ['a huge token', { access_token: 'a'.repeat(20_000), token_type: 'Bearer' }],
  ])('%s is refused and sent nowhere', async (_name, body) => {
    const rig = await startOAuthRig();
    rig.site.token = () => ({ body });
    expect((await faultOf(rig.pass(credentials(rig.site.issuer)))).code).toBe('upstream_auth');
    expect(rig.sink.received.every(({ headers }) => headers['authorization'] === undefined)).toBe(true);
  });
});

describe('credentials stay where they belong', () => {
  test('AN-12: a server that echoes its token gets nothing through, and the token is in no event', async () => {
    const rig = await startOAuthRig();
    const connection = await rig.connect(credentials(rig.site.issuer));
    rig.sink.onCall(({ request }) => ({
      content: [{ type: 'text', text: JSON.stringify(request.headers) }],
    }));
    const fault = await faultOf(textOf(connection, 'echo', { text: 'hi' }));
    expect([fault.code, fault.message]).toEqual([
      'upstream_protocol',
      'the answer repeats a credential that was sent with the request',
    ]);
    const seen = JSON.stringify([rig.pool.events, rig.pool.status(), fault.message]);
    for (const secret of [SECRET, ...rig.site.given]) expect(seen).not.toContain(secret);
  });

  test('AN-12: the token was really there to be echoed (vulnerable twin)', async () => {
    const rig = await startOAuthRig();
    const connection = await rig.connect(credentials(rig.site.issuer));
    await textOf(connection, 'echo', { text: 'hi' });
    expect(JSON.stringify(rig.sink.calls()[0]?.headers)).toContain(rig.site.given[0]);
  });

  test('a record whose headers also say authorization is refused', async () => {
    const rig = await startOAuthRig();
    const fault = await faultOf(
      rig.pool.connection('sink', {
        timeoutMs: 1_000,
        upstream: {
          transport: 'http',
          url: rig.sink.url,
          era: 'modern',
          allowedNetworks: ['127.0.0.1/32'],
          headers: [{ name: 'Authorization', value: secretRef }],
          auth: credentials(rig.site.issuer),
        },
      }),
    );
    expect(fault.message).toBe('the header Authorization belongs to the tokens that the server gets by its auth');
  });
});

test('AN-12: an answer that cannot be used leaves nothing of itself in the fault', async () => {
  const rig = await startOAuthRig();
  rig.site.token = () => ({ body: { access_token: 'canary-token-in-answer', token_type: 'mac' } });
  const fault = await faultOf(rig.pass(credentials(rig.site.issuer)));
  expect(inspect(fault, { depth: 20, showHidden: true })).not.toContain('canary-token-in-answer');
  expect(fault.message).toMatch(/^the token by client_credentials brought no usable answer/);
});

describe('workload identity', () => {
  test('the assertion is read anew for every token and shown with no client', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-wif-'));
    try {
      const file = join(folder, 'token');
      const clock = manualClock(Date.now());
      const rig = await startOAuthRig({ clock });
      const auth: AuthTarget = {
        grant: 'workload_identity',
        issuer: rig.site.issuer,
        assertion: { secret: `file:${file}` },
        ...COMMON,
      };
      writeFileSync(file, 'platform-jwt-1\n');
      await rig.pass(auth);
      writeFileSync(file, 'platform-jwt-2\n');
      clock.advance(3_600_000);
      await rig.pass(auth);
      expect(rig.site.tokens().map(({ form }) => form)).toEqual(
        [1, 2].map((i) => ({
          grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
          assertion: `platform-jwt-${i}`,
          resource: rig.sink.url,
        })),
      );
      expect(rig.site.tokens().every(({ headers }) => headers['authorization'] === undefined)).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('enterprise-managed authorization', () => {
  const managed = (issuer: string, provider: string): AuthTarget => ({
    grant: 'enterprise_managed',
    issuer,
    client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
    identityProvider: {
      issuer: provider,
      client: { method: 'client_secret_post', id: 'remit-at-idp', secret: secretRef },
      subject: { token: { secret: 'env:REMIT_TEST_SUBJECT' }, type: 'id_token' },
    },
    ...COMMON,
  });
  process.env['REMIT_TEST_SUBJECT'] = 'subject-token';
  const ID_JAG = 'urn:ietf:params:oauth:token-type:id-jag';

  test('the identity provider speaks for one authorization server and one resource, and only its word goes there', async () => {
    const rig = await startOAuthRig();
    const provider = await rig.rogue();
    provider.token = () => ({ body: { access_token: 'the-id-jag', issued_token_type: ID_JAG, token_type: 'N_A' } });
    await rig.pass(managed(rig.site.issuer, provider.issuer));
    expect(provider.tokens()[0]?.form).toMatchObject({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      requested_token_type: ID_JAG,
      audience: rig.site.issuer,
      resource: rig.sink.url,
      subject_token: 'subject-token',
      subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
      client_id: 'remit-at-idp',
    });
    expect(rig.site.tokens()[0]?.form).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: 'the-id-jag',
      resource: rig.sink.url,
    });
    expect(rig.site.asked.map(({ body }) => body).join()).not.toContain('subject-token');
  });

  test('another kind of token than was asked for is not shown to anybody', async () => {
    const rig = await startOAuthRig();
    const provider = await rig.rogue();
    provider.token = () => ({
      body: {
        access_token: 'an-access-token-of-the-idp',
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'Bearer',
      },
    });
    const fault = await faultOf(rig.pass(managed(rig.site.issuer, provider.issuer)));
    expect(fault.message).toBe('the token exchange brought another kind of token than was asked for');
    expect(rig.site.tokens()).toEqual([]);
  });
});

describe('proofs of possession', () => {
  test('AN-13: every request has a proof of its own, for this method, address, token and nonce', async () => {
    const rig = await startOAuthRig();
    rig.site.token = ({ headers }) => {
      const proof = decodeJwt(String(headers['dpop']));
      if (proof['nonce'] !== 'as-nonce')
        return { status: 400, headers: { 'dpop-nonce': 'as-nonce' }, body: { error: 'use_dpop_nonce' } };
      return { body: { access_token: 'bound-token', token_type: 'DPoP', expires_in: 3600 } };
    };
    rig.sink.admit = ({ headers }) => {
      if (headers['authorization'] === undefined) return { status: 401, challenge: 'DPoP algs="ES256"' };
      return decodeJwt(String(headers['dpop']))['nonce'] === undefined
        ? { status: 401, challenge: 'DPoP error="use_dpop_nonce"', nonce: 'rs-nonce' }
        : null;
    };
    const connection = await rig.connect(credentials(rig.site.issuer, { dpop: true }));
    for (const text of ['one', 'two']) await textOf(connection, 'echo', { text });
    const proofs = [...rig.site.tokens(), ...rig.sink.received.filter(({ headers }) => headers['authorization'])].map(
      ({ headers }) => String(headers['dpop']),
    );
    const thumbs = new Set<string>();
    for (const proof of proofs) {
      const { jwk, typ, alg } = decodeProtectedHeader(proof);
      expect([typ, alg, Object.keys(jwk ?? {}).sort()]).toEqual(['dpop+jwt', 'ES256', ['crv', 'kty', 'x', 'y']]);
      await jwtVerify(proof, await importJWK(jwk!, 'ES256'));
      thumbs.add(JSON.stringify(jwk));
    }
    expect(thumbs.size).toBe(1);
    expect(new Set(proofs.map((proof) => decodeJwt(proof).jti)).size).toBe(proofs.length);
    const ath = createHash('sha256').update('bound-token').digest('base64url');
    const sent = rig.sink.calls().map(({ headers }) => [headers['authorization'], decodeJwt(String(headers['dpop']))]);
    expect(sent).toHaveLength(2);
    for (const [authorization, proof] of sent) {
      expect(authorization).toBe('DPoP bound-token');
      expect(proof).toMatchObject({ htm: 'POST', htu: rig.sink.url, ath, nonce: 'rs-nonce' });
    }
    expect(rig.site.tokens().map(({ headers }) => decodeJwt(String(headers['dpop']))['ath'])).toEqual([
      undefined,
      undefined,
    ]);
  });

  test('AN-13: a nonce that changes under many requests at once fails none of them', async () => {
    const rig = await startOAuthRig();
    rig.site.token = () => ({ body: { access_token: 'bound-token', token_type: 'DPoP', expires_in: 3600 } });
    let nonce = 'first';
    rig.sink.admit = ({ headers }) =>
      headers['dpop'] === undefined
        ? { status: 401, challenge: 'DPoP' }
        : decodeJwt(String(headers['dpop']))['nonce'] === nonce
          ? null
          : { status: 401, challenge: 'DPoP error="use_dpop_nonce"', nonce };
    const connection = await rig.connect(credentials(rig.site.issuer, { dpop: true }));
    nonce = 'second';
    const texts = await Promise.all(
      Array.from({ length: 10 }, (_, i) => textOf(connection, 'echo', { text: `n${i}` })),
    );
    expect(texts.every((text, i) => text.includes(`n${i}`))).toBe(true);
    expect(rig.site.tokens()).toHaveLength(1);
  });

  test('AN-13: a bearer token instead of a bound one is refused', async () => {
    const rig = await startOAuthRig();
    const fault = await faultOf(rig.pass(credentials(rig.site.issuer, { dpop: true })));
    expect(fault.message).toBe(
      'the authorization server gave a token that is bound to no key, although dpop is demanded',
    );
  });
});

describe('an account that an operator connects', () => {
  const renewable = (n: number) => ({
    body: { access_token: `at-${n}`, token_type: 'Bearer', expires_in: 60, refresh_token: `rt-${n}` },
  });

  test('nothing is sent before, the code buys a token, and calls go through', async () => {
    const rig = await startOAuthRig();
    const auth = consented();
    const fault = await faultOf(rig.connect(auth));
    expect([fault.code, fault.message]).toEqual([
      'upstream_auth',
      'nobody has connected it to an account yet; an operator connects it with: remit server connect sink',
    ]);
    const { url } = await rig.begin(auth);
    const asked = new URL(url).searchParams;
    expect(Object.fromEntries(asked)).toMatchObject({
      response_type: 'code',
      client_id: `client-of-${rig.site.issuer}`,
      code_challenge_method: 'S256',
      resource: rig.sink.url,
    });
    await rig.finish(auth, rig.callback(url));
    const { form } = rig.site.tokens()[0]!;
    expect(form).toMatchObject({ grant_type: 'authorization_code', code: 'code-1', resource: rig.sink.url });
    expect(createHash('sha256').update(form['code_verifier']!).digest('base64url')).toBe(asked.get('code_challenge'));
    await rig.pool.close('sink', 'connected');
    const connection = await rig.connect(auth);
    expect(await textOf(connection, 'echo', { text: 'hi' })).toContain('hi');
  });

  test('a call that needs more than was agreed to asks for the operator, who is asked for both', async () => {
    const rig = await startOAuthRig();
    rig.sink.challenge += ', scope="a"';
    rig.sink.admit = ({ headers, body }) =>
      headers['authorization'] === undefined
        ? { status: 401, challenge: `Bearer ${rig.sink.challenge}` }
        : body.includes('tools/call')
          ? { status: 403, challenge: 'Bearer error="insufficient_scope", scope="b"' }
          : null;
    const auth = consented();
    const scope = async () => new URL((await rig.begin(auth)).url).searchParams.get('scope');
    expect(await scope()).toBe('a');
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    const connection = await rig.connect(auth);
    expect((await faultOf(textOf(connection, 'echo', { text: 'hi' }))).message).toBe(
      'it wants more for this call than was agreed to; an operator connects it with: remit server connect sink',
    );
    expect(await scope()).toBe('a b');
    expect(rig.site.tokens()).toHaveLength(1);
  });

  test('a restart keeps it, a rotated refresh token too, and one that was taken back ends it', async () => {
    const clock = manualClock(Date.now());
    const rig = await startOAuthRig({ clock });
    const auth = consented();
    let n = 0;
    rig.site.token = () => renewable(++n);
    await rig.finish(auth, rig.callback((await rig.begin(auth)).url));
    expect((await rig.pass(auth)).token.value).toBe('at-1');
    expect((await rig.pass(auth, rig.restarted())).token.value).toBe('at-2');
    expect((await rig.pass(auth, rig.restarted())).token.value).toBe('at-3');
    expect(rig.site.tokens().map(({ form }) => form['refresh_token'])).toEqual([undefined, 'rt-1', 'rt-2']);
    rig.site.token = () => ({ status: 400, body: { error: 'invalid_grant' } });
    expect((await faultOf(rig.pass(auth, rig.restarted()))).message).toContain('was disconnected');
    expect((await faultOf(rig.pass(auth, rig.restarted()))).message).toContain('nobody has connected it');
    expect(rig.site.tokens()).toHaveLength(4);
  });
});
