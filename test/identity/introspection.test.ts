/** Opaque tokens asked about at a real endpoint on loopback: what counts as yes, who is asked, how often, and what no answer means (RFC 7662). */
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import type { IntrospectionSettings, TrustedIssuer } from '../../src/identity/issuer-rule.ts';
import { guardedRequest } from '../../src/upstream/dial.ts';
import { NOW, RESOURCE, SIBLING, START_MS, callerOf, clock, fetchOnLoopback, issuerOn, problemOf } from './rig.ts';

const ISSUER = 'https://as.example';
const SECRET = 'p%ss wörd:1';

interface Endpoint {
  readonly url: string;
  readonly asked: { readonly authorization: string; readonly form: URLSearchParams }[];
  /** What it answers; `hang` never does. */
  reply: (form: URLSearchParams) => { status?: number; type?: string; body: unknown } | 'hang';
  /** Ends when it is called: answers wait for it. */
  gate: Promise<void>;
  /** How long is waited for it, ms. */
  patienceMs: number;
}

const closers: (() => void)[] = [];
afterAll(() => closers.forEach((close) => close()));

async function endpoint(): Promise<Endpoint> {
  const asked: { authorization: string; form: URLSearchParams }[] = [];
  const it: Endpoint = {
    url: '',
    asked,
    reply: () => ({ body: { active: false } }),
    gate: Promise.resolve(),
    patienceMs: 20_000,
  };
  const server = createServer((request, response) => {
    void (async () => {
      const form = new URLSearchParams(await textOf(request));
      asked.push({ authorization: request.headers.authorization ?? '', form });
      await it.gate;
      const answer = it.reply(form);
      if (answer === 'hang') return;
      response.writeHead(answer.status ?? 200, { 'content-type': answer.type ?? 'application/json' });
      response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => (server.closeAllConnections(), server.close()));
  return Object.assign(it, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/introspect` });
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

const good = (claims: Record<string, unknown> = {}): Record<string, unknown> => ({
  active: true,
  sub: 'user-1',
  client_id: 'agent-1',
  aud: RESOURCE,
  iat: NOW,
  exp: NOW + 300,
  scope: 'notes:read',
  ...claims,
});

function verifierOf(
  at: Endpoint,
  settings: Partial<IntrospectionSettings> = {},
  more: readonly TrustedIssuer[] = [],
): TokenVerifier {
  const introspection = { url: at.url, clientId: 'gate way', clientSecret: () => Promise.resolve(SECRET), ...settings };
  return createTokenVerifier({
    issuers: [{ issuer: ISSUER, introspection }, ...more],
    fetchJwks: fetchOnLoopback,
    async postForm(url, request) {
      const { status, headers, body } = await guardedRequest(url, {
        ...request,
        timeoutMs: at.patienceMs,
        method: 'POST',
        rule: { allowedNetworks: ['127.0.0.1/32'], requireHttps: false },
      });
      return { status, contentType: String(headers['content-type'] ?? ''), body };
    },
    clock,
  });
}

let at: Endpoint;
let verifier: TokenVerifier;
beforeEach(async () => {
  clock.set(START_MS);
  at = await endpoint();
  verifier = verifierOf(at);
});

describe('an opaque token', () => {
  test('that its issuer calls active becomes a caller, under the same rules as a signed one', async () => {
    at.reply = () => ({ body: good({ grant_id: 'g', sid: 's', auth_time: NOW - 5, jti: 'j' }) });
    expect(await callerOf(verifier, 'opaque-1')).toMatchObject({
      issuer: ISSUER,
      subject: 'user-1',
      clientId: 'agent-1',
      alone: false,
      tokenId: 'j',
      grantId: 'g',
      sessionId: 's',
      authTime: NOW - 5,
      scopes: new Set(['notes:read']),
    });
    expect(at.asked[0]!.form.get('token')).toBe('opaque-1');
    expect(at.asked[0]!.form.get('token_type_hint')).toBe('access_token');
  });

  test('without an id of its own is known by its digest, so that it can be locked', async () => {
    at.reply = () => ({ body: good() });
    const { tokenId } = await callerOf(verifier, 'opaque-1');
    expect(tokenId).toMatch(/^[\w-]{43}$/);
    expect((await callerOf(verifierOf(at), 'opaque-1')).tokenId).toBe(tokenId);
    expect(tokenId).not.toContain('opaque');
  });

  test.each<[string, unknown, unknown]>([
    ['active is false', good({ active: false }), { kind: 'inactive' }],
    ['active is a text', good({ active: 'true' }), { kind: 'inactive' }],
    ['active is missing', good({ active: undefined }), { kind: 'inactive' }],
    ['it is of another issuer', good({ iss: 'https://other.example' }), { kind: 'issuer' }],
    ['the issuer has a slash too many', good({ iss: `${ISSUER}/` }), { kind: 'issuer' }],
    ['it is a refresh token', good({ token_type: 'refresh_token' }), { kind: 'type' }],
    ['it is for another resource', good({ aud: SIBLING }), { kind: 'audience' }],
    ['it is for another one as well', good({ aud: [RESOURCE, SIBLING] }), { kind: 'audience' }],
    ['it is for nobody', good({ aud: undefined }), { kind: 'claims_missing', claim: 'aud' }],
    ['it never ends', good({ exp: undefined }), { kind: 'claims_missing', claim: 'exp' }],
    ['it has no beginning', good({ iat: undefined }), { kind: 'claims_missing', claim: 'iat' }],
    ['it ended', good({ iat: NOW - 300, exp: NOW - 10 }), { kind: 'expired' }],
    ['it lives too long', good({ exp: NOW + 86_400 }), { kind: 'lifetime', seconds: 86_400, maxSeconds: 900 }],
    ['it has no subject', good({ sub: undefined }), { kind: 'claims_missing', claim: 'sub' }],
    ['it is bound to a certificate', good({ cnf: { 'x5t#S256': 'x' } }), { kind: 'sender_binding' }],
    ['it is bound to a key', good({ cnf: { jkt: 'A'.repeat(43) } }), { kind: 'sender_binding' }],
  ])('AN-03: is refused when %s', async (_title, body, problem) => {
    at.reply = () => ({ body });
    expect(await problemOf(verifier, 'opaque-1')).toEqual(problem);
    expect(verifier.cached('opaque-1', RESOURCE)).toBeUndefined();
  });

  test.each<[string, ReturnType<Endpoint['reply']>]>([
    ['it answers 500', { status: 500, body: good() }],
    ['it does not know us', { status: 401, body: good() }],
    ['it redirects', { status: 302, body: good() }],
    ['it answers HTML', { type: 'text/html', body: good() }],
    ['it answers a signed form', { type: 'application/token-introspection+jwt', body: good() }],
    ['it answers no JSON', { body: '{"active":true' }],
    ['it says a member twice', { body: '{"active":false,"active":true}' }],
    ['it answers a list', { body: [good()] }],
    ['it does not answer', 'hang'],
  ])('is nobody, and that is our trouble, when %s', async (_title, answer) => {
    at.reply = () => answer;
    if (answer === 'hang') at.patienceMs = 200;
    expect(await problemOf(verifier, 'opaque-1')).toEqual({ kind: 'keys_unavailable' });
    expect(verifier.cached('opaque-1', RESOURCE)).toBeUndefined();
  });

  test('is refused without a question where no issuer is to be asked', async () => {
    const none = createTokenVerifier({ issuers: [{ issuer: ISSUER }], fetchJwks: fetchOnLoopback, clock });
    expect(await problemOf(none, 'opaque-1')).toEqual({ kind: 'malformed', detail: 'not three segments' });
  });

  test('two issuers cannot both be asked: each would see the tokens of the other', () => {
    const introspection = { url: at.url, clientId: 'x', clientSecret: () => Promise.resolve('x') };
    expect(() => verifierOf(at, {}, [{ issuer: 'https://b.example', introspection }])).toThrow(
      'issuer https://b.example: another one has an introspection endpoint',
    );
  });

  test('a signed token is never sent to be asked about, whoever signed it', async () => {
    const stranger = await issuerOn();
    expect(await problemOf(verifier, stranger.mint({ aud: RESOURCE }))).toEqual({ kind: 'issuer' });
    expect(await problemOf(verifier, 'a.b.c')).toMatchObject({ kind: 'malformed' });
    expect(at.asked).toEqual([]);
  });
});

describe('our own credentials', () => {
  test('go in the Authorization header, encoded as a form encodes them (RFC 6749 2.3.1)', async () => {
    await problemOf(verifier, 'opaque-1');
    const [id, secret] = Buffer.from(at.asked[0]!.authorization.replace('Basic ', ''), 'base64').toString().split(':');
    expect([id, decodeURIComponent(secret!.replaceAll('+', ' '))]).toEqual(['gate+way', SECRET]);
    expect(at.asked[0]!.form.get('client_secret')).toBe(null);
  });

  test('or in the form, where the issuer wants them there', async () => {
    await problemOf(verifierOf(at, { authentication: 'post' }), 'opaque-1');
    expect(at.asked[0]!.authorization).toBe('');
    expect([at.asked[0]!.form.get('client_id'), at.asked[0]!.form.get('client_secret')]).toEqual(['gate way', SECRET]);
  });

  test('a secret that cannot be read admits nobody and asks nobody', async () => {
    const without = verifierOf(at, { clientSecret: () => Promise.reject(new Error('no file')) });
    expect(await problemOf(without, 'opaque-1')).toEqual({ kind: 'keys_unavailable' });
    expect(at.asked).toEqual([]);
  });
});

describe('how often is asked', () => {
  test('a good answer counts for the time that is set, and never past the end of the token', async () => {
    at.reply = () => ({ body: good({ exp: NOW + 100 }) });
    const short = verifierOf(at, { cacheSeconds: 20 });
    await callerOf(short, 'opaque-1');
    clock.advance(19_999);
    expect(short.cached('opaque-1', RESOURCE)).toBeDefined();
    clock.advance(1);
    expect(short.cached('opaque-1', RESOURCE)).toBeUndefined();
    clock.set(START_MS + 90_000);
    await callerOf(short, 'opaque-1');
    clock.set(START_MS + 100_000);
    expect(short.cached('opaque-1', RESOURCE)).toBeUndefined();
    expect(at.asked).toHaveLength(2);
  });

  test('AN-08: where nothing is set, a revoked token is asked about again within five seconds', async () => {
    at.reply = () => ({ body: good() });
    const plain = verifierOf(at);
    const token = 'opaque-1';
    await callerOf(plain, token);
    clock.advance(4_999);
    expect(plain.cached(token, RESOURCE)).toBeDefined();
    clock.advance(1);
    expect(plain.cached(token, RESOURCE)).toBeUndefined();
  });

  test('AN-08: whoever sets an hour gets a minute, so a revoked token is dead by then', async () => {
    at.reply = () => ({ body: good() });
    const long = verifierOf(at, { cacheSeconds: 3_600 });
    await callerOf(long, 'opaque-1');
    clock.advance(59_999);
    expect(long.cached('opaque-1', RESOURCE)).toBeDefined();
    clock.advance(1);
    expect(long.cached('opaque-1', RESOURCE)).toBeUndefined();
    at.reply = () => ({ body: { active: false } });
    expect(await problemOf(long, 'opaque-1')).toEqual({ kind: 'inactive' });
  });

  test('AN-08: a good answer for one resource is none for another', async () => {
    at.reply = () => ({ body: good() });
    await callerOf(verifier, 'opaque-1');
    expect(verifier.cached('opaque-1', SIBLING)).toBeUndefined();
    expect(await problemOf(verifier, 'opaque-1', SIBLING)).toEqual({ kind: 'audience' });
  });

  test('many at once about one token are one question', async () => {
    at.reply = () => ({ body: good() });
    let open: () => void = () => undefined;
    at.gate = new Promise((resolve) => (open = resolve));
    const all = Array.from({ length: 20 }, () => verifier.verify('opaque-1', RESOURCE));
    open();
    for (const result of await Promise.all(all)) expect(result.ok).toBe(true);
    expect(at.asked).toHaveLength(1);
  });

  test('a bad token is asked about once in a while, and pushes out no good one', async () => {
    at.reply = (form) => ({ body: form.get('token') === 'good' ? good() : { active: false } });
    const patient = verifierOf(at, { cacheSeconds: 30 });
    await callerOf(patient, 'good');
    for (let i = 0; i < 3; i++) expect(await problemOf(patient, 'bad')).toEqual({ kind: 'inactive' });
    expect(at.asked).toHaveLength(2);
    clock.advance(5_000);
    await problemOf(patient, 'bad');
    expect(at.asked).toHaveLength(3);
    expect(patient.cached('good', RESOURCE)).toBeDefined();
  });

  test('after a failure nobody waits for the next one, and a second later it is tried again', async () => {
    at.reply = () => ({ status: 503, body: {} });
    await problemOf(verifier, 'opaque-1');
    at.reply = () => ({ body: good() });
    expect(await problemOf(verifier, 'opaque-1')).toEqual({ kind: 'keys_unavailable' });
    expect(at.asked).toHaveLength(1);
    clock.advance(1_000);
    expect((await callerOf(verifier, 'opaque-1')).subject).toBe('user-1');
  });

  test('no more than 32 questions are open at once; the others hear that it is our trouble', async () => {
    let open: () => void = () => undefined;
    at.gate = new Promise((resolve) => (open = resolve));
    const all = Array.from({ length: 40 }, (_, i) => verifier.verify(`made-up-${i}`, RESOURCE));
    const early = await Promise.all(all.slice(32));
    expect(early.map((result) => (result.ok ? null : result.error.kind))).toEqual(Array(8).fill('keys_unavailable'));
    open();
    for (const result of await Promise.all(all.slice(0, 32)))
      expect(result).toMatchObject({ error: { kind: 'inactive' } });
    expect(at.asked).toHaveLength(32);
  });

  test('what is forgotten while it is asked about is not remembered', async () => {
    at.reply = () => ({ body: good() });
    let open: () => void = () => undefined;
    at.gate = new Promise((resolve) => (open = resolve));
    const asking = verifier.verify('opaque-1', RESOURCE);
    verifier.forget(() => true);
    open();
    expect((await asking).ok).toBe(true);
    expect(verifier.cached('opaque-1', RESOURCE)).toBeUndefined();
  });
});

test('no answer of any shape crashes, and only a clear yes about this resource admits', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(
        fc.constantFrom('active', 'iss', 'sub', 'aud', 'exp', 'iat', 'scope', 'client_id', 'cnf', 'act', 'token_type'),
        fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(true, RESOURCE, NOW, NOW + 60, ISSUER)),
      ),
      async (body) => {
        const fresh = createTokenVerifier({
          issuers: [
            {
              issuer: ISSUER,
              introspection: { url: 'https://as.example/i', clientId: 'c', clientSecret: () => Promise.resolve('s') },
            },
          ],
          fetchJwks: fetchOnLoopback,
          postForm: () =>
            Promise.resolve({ status: 200, contentType: 'application/json', body: Buffer.from(JSON.stringify(body)) }),
          clock,
        });
        const result = await fresh.verify('opaque', RESOURCE);
        if (result.ok) expect([body['active'], [body['aud']].flat()]).toEqual([true, [RESOURCE]]);
      },
    ),
    { seed: 20_260_104, numRuns: 300 },
  );
});
