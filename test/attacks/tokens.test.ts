/**
 * AN-01, AN-03, AN-04, AN-05, AN-07 over the whole gateway: who sends no valid token of this very resource gets a challenge and nothing else.
 * The oracle is what the sinks received. Twins: the same scripts with the guard, or the verifier, replaced by what a naive gateway has.
 */
import { createPublicKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Caller } from '../../src/identity/caller.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import { learn } from '../../src/gateway/guard.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import type { Agent } from '../../src/inventory/agents.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { methodRules } from '../../src/protocol/methods.ts';
import { callerLike } from '../support/caller.ts';
import { ERAS, LEGACY, initialize, modernHeaders, modernMessage, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Era, Headers, Rig, TokenOptions } from '../support/rig.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { startSink } from '../support/upstreams/sink.ts';

let rig: Rig;
let stranger: TestIssuer;
beforeAll(async () => {
  rig = await startRig({ servers: { notes: {}, old: { era: 'legacy' } } });
  stranger = await startIssuer();
});
afterAll(async () => {
  await rig.stop();
  await stranger.close();
});

const PARAMS: Readonly<Record<string, JsonObject>> = {
  'tools/call': { name: 'read_note', arguments: { text: 'hello' } },
  initialize: initialize()['params'] as JsonObject,
  'notifications/cancelled': { requestId: 7 },
  'prompts/get': { name: 'greeting' },
  'resources/read': { uri: 'file:///a' },
  'resources/subscribe': { uri: 'file:///a' },
  'resources/unsubscribe': { uri: 'file:///a' },
  'completion/complete': { ref: { type: 'ref/prompt', name: 'greeting' }, argument: { name: 'a', value: 'b' } },
  'logging/setLevel': { level: 'info' },
  'subscriptions/listen': { notifications: { toolsListChanged: true } },
  'tasks/get': { taskId: 't' },
  'tasks/update': { taskId: 't', inputResponses: {} },
  'tasks/cancel': { taskId: 't' },
  'tasks/result': { taskId: 't' },
};

/** Every message of the table, well-formed but for the credentials that the test adds. */
const MESSAGES = methodRules().flatMap(([method, rule]) =>
  rule.eras.map((era) => {
    const params = PARAMS[method] ?? {};
    const id = rule.kind === 'request' ? { id: 7 } : {};
    const body = era === 'modern' ? modernMessage(method, params) : { jsonrpc: '2.0', ...id, method, params };
    const headers: Headers =
      era === 'modern' ? modernHeaders(method, params) : { 'mcp-protocol-version': LEGACY, 'mcp-session-id': 'x' };
    return { method, era, body, headers };
  }),
);

const garble = (token: string): string => token.replace(/.(?=[^.]{4}$)/, (c) => (c === 'A' ? 'B' : 'A'));
const CREDENTIALS: ReadonlyArray<readonly [title: string, make: (token: string) => Headers]> = [
  ['no Authorization header', () => ({})],
  ['an empty one', () => ({ authorization: '' })],
  ['the scheme alone', () => ({ authorization: 'Bearer' })],
  ['the scheme and a space', () => ({ authorization: 'Bearer ' })],
  ['another scheme', (token) => ({ authorization: `Basic ${token}` })],
  ['a token without a scheme', (token) => ({ authorization: token })],
  ['a garbled signature', (token) => ({ authorization: `Bearer ${garble(token)}` })],
  ['half a token', (token) => ({ authorization: `Bearer ${token.slice(0, token.length / 2)}` })],
  ['two Authorization headers', (token) => ({ authorization: [`Bearer ${token}`, `Bearer ${token}`] })],
  ['a token in another header', (token) => ({ 'x-forwarded-authorization': `Bearer ${token}`, 'x-api-key': token })],
  ['a token in a cookie', (token) => ({ cookie: `access_token=${token}` })],
];

function expectChallenge(answer: Answer, server: string, title = ''): void {
  expect(answer.status, `${title}: ${answer.text}`).toBe(401);
  const challenge = String(answer.headers['www-authenticate']);
  const metadata = `${rig.url}/.well-known/oauth-protected-resource/mcp/default/${server}`;
  expect(challenge).toMatch(/^Bearer /);
  expect(challenge).toContain(`resource_metadata="${metadata}"`);
  expect(challenge).toContain('scope="notes:read"');
  expect(answer.text).not.toMatch(/read_note|write_note|delete_note/);
}

/** Runs a script and says what it made the sinks receive and the log keep. */
async function traces(script: () => Promise<void>): Promise<{ readonly received: number; readonly entries: number }> {
  const count = (): number => rig.sink('notes').received.length + rig.sink('old').received.length;
  const before = { received: count(), entries: (await rig.entries()).length };
  await script();
  return { received: count() - before.received, entries: (await rig.entries()).length - before.entries };
}

describe('AN-01: without a valid bearer token', () => {
  test.each(CREDENTIALS)(
    'AN-01: %s: 401 with a challenge for every method of both eras, nothing reaches a server',
    async (title, make) => {
      const seen = await traces(async () => {
        for (const server of ['notes', 'old']) {
          const credentials = make(rig.token('dana', { server }));
          for (const { body, headers } of MESSAGES)
            expectChallenge(await rig.post(server, body, { ...headers, ...credentials }), server, title);
        }
      });
      expect(seen).toEqual({ received: 0, entries: 0 });
    },
  );

  test('AN-01: neither do a GET, a DELETE, an unreadable body, a batch, a huge body or a server that does not exist tell more', async () => {
    const seen = await traces(async () => {
      const path = rig.endpoint('notes');
      for (const method of ['GET', 'DELETE', 'PUT', 'PATCH'])
        expectChallenge(await rig.send(method, path, { 'mcp-session-id': 'x' }), 'notes', method);
      for (const body of [
        '{',
        '[]',
        '[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]',
        '{"jsonrpc":"2.0","id":1,"result":{}}',
      ])
        expectChallenge(await rig.post('notes', body), 'notes', body);
      expectChallenge(await rig.post('notes', 'x'.repeat(1_100_000)), 'notes', 'huge');
      const absent = await rig.post('absent', modernMessage('tools/list'), modernHeaders('tools/list'));
      expect(absent.status).toBe(401);
      expect(absent.text).not.toContain('absent');
    });
    expect(seen).toEqual({ received: 0, entries: 0 });
  });

  test('AN-01: every method family of the table was asked', () => {
    expect(MESSAGES.map(({ method, era }) => `${era} ${method}`).sort()).toEqual([
      'legacy completion/complete',
      'legacy initialize',
      'legacy logging/setLevel',
      'legacy notifications/cancelled',
      'legacy notifications/initialized',
      'legacy ping',
      'legacy prompts/get',
      'legacy prompts/list',
      'legacy resources/list',
      'legacy resources/read',
      'legacy resources/subscribe',
      'legacy resources/templates/list',
      'legacy resources/unsubscribe',
      'legacy tasks/cancel',
      'legacy tasks/get',
      'legacy tasks/list',
      'legacy tasks/result',
      'legacy tools/call',
      'legacy tools/list',
      'modern completion/complete',
      'modern prompts/get',
      'modern prompts/list',
      'modern resources/list',
      'modern resources/read',
      'modern resources/templates/list',
      'modern server/discover',
      'modern subscriptions/listen',
      'modern tasks/cancel',
      'modern tasks/get',
      'modern tasks/update',
      'modern tools/call',
      'modern tools/list',
    ]);
  });

  test('AN-01 twin: with the guard letting everybody through, the same strangers call tools', async () => {
    let trusted: Caller | null = null;
    const open = await startRig({ table: tableWith({ 'token-is-ours': () => learn({ caller: trusted! }) }) });
    try {
      trusted = callerLike({
        issuer: open.issuer.issuer,
        subject: 'dana@corp',
        scopes: new Set(['notes:read']),
        tokenId: 'none',
      });
      const call = MESSAGES.find(({ method, era }) => method === 'tools/call' && era === 'modern')!;
      for (const [, make] of CREDENTIALS)
        await open.post('notes', call.body, { ...call.headers, ...make(open.token('dana')) });
      expect(open.sink().calls()).toHaveLength(CREDENTIALS.length);
    } finally {
      await open.stop();
    }
  });
});

const hour = 3_600;
const now = (): number => Math.floor(Date.now() / 1000);
const LIFETIMES: ReadonlyArray<readonly [string, number]> = [
  ['15 minutes and a second', 901],
  ['1 hour', hour],
  ['24 hours', 24 * hour],
  ['10 years', 87_600 * hour],
];

/** Tokens that some honest or dishonest party could come by. */
const MUTATIONS: ReadonlyArray<readonly [title: string, make: (on: Rig) => string, problem: string]> = [
  ['of a sibling server', (on) => on.token('dana', { server: 'old' }), 'audience'],
  ['of the admin API', (on) => on.token('dana', { audience: `${on.url}/api/v1` }), 'audience'],
  ['of the whole gateway', (on) => on.token('dana', { audience: on.url }), 'audience'],
  ['for two resources', (on) => on.token('dana', { audience: [on.resource('notes'), on.resource('old')] }), 'audience'],
  ['of another organisation', (on) => on.token('dana', { audience: `${on.url}/mcp/other/notes` }), 'audience'],
  [
    'whose audience is its resource in other case',
    (on) => on.token('dana', { audience: on.resource('NOTES') }),
    'audience',
  ],
  ['of a stranger', (on) => stranger.mint({ sub: 'dana@corp', aud: on.resource('notes') }), 'issuer'],
  [
    'of a stranger who names our issuer',
    (on) => stranger.mint({ sub: 'dana@corp', aud: on.resource('notes'), iss: on.issuer.issuer }),
    'key_unknown',
  ],
  [
    'of a stranger who names our issuer and our key',
    (on) => on.token('dana', { key: stranger.currentKey(), header: { kid: on.issuer.currentKey().kid } }),
    'signature',
  ],
  ['without a signature', (on) => on.token('dana', { header: { alg: 'none' }, unsigned: true }), 'algorithm'],
  [
    'signed with our public key as a secret',
    (on) =>
      on.token('dana', {
        header: { alg: 'HS256' },
        hmacSecret: createPublicKey(on.issuer.currentKey().publicKey.export({ type: 'spki', format: 'pem' }).toString())
          .export({ type: 'spki', format: 'pem' })
          .toString(),
      }),
    'algorithm',
  ],
  ['that is an id_token', (on) => on.token('dana', { header: { typ: 'JWT' }, claims: { nonce: 'n' } }), 'type'],
  ['that brings its key', (on) => on.token('dana', { header: { jku: stranger.jwksUri } }), 'header_refused'],
  ['whose key id climbs', (on) => on.token('dana', { header: { kid: '../../../dev/null' } }), 'key_unknown'],
  ['that expired', (on) => on.token('dana', { claims: { iat: now() - 300, exp: now() - 10 } }), 'expired'],
  ['that begins later', (on) => on.token('dana', { claims: { nbf: now() + 60 } }), 'not_yet_valid'],
  ['bound to a key', (on) => on.token('dana', { claims: { cnf: { jkt: 'x' } } }), 'sender_binding'],
  ['without a subject', (on) => on.token('dana', { claims: { sub: undefined } }), 'claims_missing'],
  ['without an id', (on) => on.token('dana', { claims: { jti: undefined } }), 'claims_missing'],
  [
    'with a subject changed after signing',
    (on) => {
      const [head, body = '', signature] = on.token('nobody').split('.');
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
      const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'dana@corp' })).toString('base64url');
      return [head, changed, signature].join('.');
    },
    'signature',
  ],
];

const refusals = (on: Rig): readonly string[] =>
  on.logged.flatMap(({ message, fields }) =>
    message === 'refused before sign-in' ? [(fields as { reason: string }).reason] : [],
  );

describe('AN-03: a token that is not ours', () => {
  test.each(MUTATIONS)(
    'AN-03: %s: 401 in both eras, nothing reaches a server, the operator reads why',
    async (_title, make, problem) => {
      const token = make(rig);
      const seen = await traces(async () => {
        for (const { era, method, body, headers } of MESSAGES) {
          if (method !== 'tools/call' && method !== 'initialize') continue;
          const answer = await rig.post('notes', body, { ...headers, authorization: `Bearer ${token}` });
          expectChallenge(answer, 'notes', era);
          expect(String(answer.headers['www-authenticate'])).toContain('error="invalid_token"');
          expect(answer.text).toContain('The access token is not valid here.');
          expect(refusals(rig).at(-1)).toBe(`token_invalid:${problem}`);
        }
      });
      expect(seen).toEqual({ received: 0, entries: 0 });
    },
  );

  test('AN-03: unmutated, the token opens the door', async () => {
    const answer = await rig.call('notes', 'read_note', { text: 'x' }, { token: rig.token('dana') });
    expect(answer.status).toBe(200);
  });

  test('AN-03: a token of a key that was withdrawn is refused once the key set is read again', async () => {
    const own = await startRig();
    try {
      const old = own.issuer.currentKey();
      own.issuer.rotate({ withdraw: true });
      const answer = await own.call('notes', 'read_note', { text: 'x' }, { token: own.token('dana', { key: old }) });
      expect(answer.status).toBe(401);
      expect(own.sink().calls()).toHaveLength(0);
    } finally {
      await own.stop();
    }
  });

  test('AN-03: every one of them is counted in the audit log under its reason', async () => {
    const own = await startRig({ servers: { notes: {}, old: {} } });
    try {
      const expected = new Map<string, number>();
      for (const [, make, problem] of MUTATIONS) {
        await own.call('notes', 'read_note', { text: 'x' }, { token: make(own) });
        expected.set(problem, (expected.get(problem) ?? 0) + 1);
      }
      await own.gateway.close();
      const counted = (await own.entries('admin')).filter(({ event }) => event?.['what'] === 'unauthenticated.counted');
      expect(counted.flatMap(({ event }) => event?.['counts'] as string[]).toSorted()).toEqual(
        [...expected].map(([problem, count]) => `token_invalid:${problem}=${count}`).toSorted(),
      );
    } finally {
      await own.stop();
    }
  });

  test('AN-03 and AN-07 twin: a gateway that only decodes tokens lets nearly all of them through', async () => {
    const naive = await startRig({
      wrap: (deps) => ({ ...deps, verifier: decodingVerifier }),
      servers: { notes: {}, old: {} },
    });
    try {
      const tokens = [
        ...MUTATIONS.map(([, make]) => make(naive)),
        ...LIFETIMES.map(([, seconds]) => naive.token('dana', lasting(seconds))),
      ];
      for (const token of tokens) await naive.call('notes', 'read_note', { text: 'x' }, { token });
      // Not through: the stranger's own issuer, and tokens without a subject. The directory stops those.
      expect(naive.sink().calls().length).toBeGreaterThanOrEqual(tokens.length - 3);
    } finally {
      await naive.stop();
    }
  });
});

const lasting = (seconds: number): TokenOptions => ({ claims: { iat: now(), exp: now() + seconds } });

/** What gateways without a check do: base64, JSON, done. */
const decodingVerifier: TokenVerifier = {
  cached: () => undefined,
  forget: () => 0,
  jwksStatus: () => [],
  verify: (token) => {
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, string>;
    const { iss = '', sub = '', client_id = '', scope = '' } = claims;
    const value = callerLike({
      issuer: iss,
      subject: sub,
      clientId: client_id,
      scopes: new Set(scope.split(' ')),
      tokenId: 'x',
      expiresAt: 0,
    });
    return Promise.resolve({ ok: true, value });
  },
};

describe('AN-07: the issuer may be generous, the gateway is not', () => {
  test.each(LIFETIMES)('AN-07: a token of %s is refused', async (_title, seconds) => {
    const token = rig.token('dana', lasting(seconds));
    const seen = await traces(async () => {
      for (const era of ERAS) expectChallenge(await asks(era, token), 'notes');
    });
    expect(seen).toEqual({ received: 0, entries: 0 });
    expect(refusals(rig).at(-1)).toBe('token_invalid:lifetime');
  });

  test('AN-07: 15 minutes for a person and an hour for a client by itself are the limit', async () => {
    const { issuer } = rig.issuer;
    const agent: Agent = {
      issuer,
      clientId: 'ci',
      title: 'ci',
      kind: 'autonomous',
      state: 'active',
      owner: 'dana',
      roles: ['operator'],
      ceiling: {},
    };
    await rig.commit([{ kind: 'agent', org: 'default', id: 'agent-ci', key: agentKey(issuer, 'ci'), body: agent }]);
    const machine = (seconds: number): string => {
      const { claims } = lasting(seconds);
      return rig.token('dana', { client: 'ci', claims: { ...claims, sub: 'ci' } });
    };
    expect((await asks('modern', rig.token('dana', lasting(900)))).status).toBe(200);
    expect((await asks('modern', machine(hour))).status).toBe(200);
    expect((await asks('modern', machine(hour + 1))).status).toBe(401);
  });

  test('AN-07: the audit log counts the refusals under their reason', async () => {
    const own = await startRig();
    try {
      for (let i = 0; i < 3; i++)
        await own.call('notes', 'read_note', { text: 'x' }, { token: own.token('dana', lasting(24 * hour)) });
      await own.gateway.close();
      const counted = (await own.entries('admin')).filter(({ event }) => event?.['what'] === 'unauthenticated.counted');
      expect(counted.map(({ event }) => event?.['counts'])).toEqual([['token_invalid:lifetime=3']]);
    } finally {
      await own.stop();
    }
  });
});

/** A first request with this token: a call, or for legacy the initialize that would open a session. */
function asks(era: Era, token: string): Promise<Answer> {
  const authorization = `Bearer ${token}`;
  if (era === 'legacy') return rig.post('notes', initialize(), { authorization });
  const params = PARAMS['tools/call']!;
  return rig.post('notes', modernMessage('tools/call', params), {
    ...modernHeaders('tools/call', params),
    authorization,
  });
}

describe('AN-04: the token of the caller stays here', () => {
  test.each(ERAS.flatMap((era) => ['notes', 'old'].map((server) => [era, server] as const)))(
    'AN-04: a %s client of the %s server: no byte run of the token is in anything the server received',
    async (era, server) => {
      const token = rig.token('dana', { server });
      const stray = {
        'x-forwarded-authorization': `Bearer ${token}`,
        'proxy-authorization': `Bearer ${token}`,
        cookie: `session=${token}`,
        'x-api-key': token,
        traceparent: `00-${token.slice(0, 32)}-00f067aa0ba902b7-01`,
      };
      for (const tool of ['read_note', 'write_note'])
        expect((await rig.call(server, tool, { text: 'hello' }, { era, token, headers: stray })).status).toBe(200);
      await rig.ask(server, 'tools/list', { cursor: token }, { era, token, headers: stray });
      const wire = rig.sink(server).wire();
      expect(wire).toContain('hello');
      for (const part of [token, ...token.split('.'), token.slice(20, 52)]) expect(wire).not.toContain(part);
      expect(wire.toLowerCase()).not.toMatch(/authorization|cookie|x-api-key/);
    },
  );

  test('AN-04 twin: a relay that copies headers, as reverse proxies do, shows the token to the server', async () => {
    const sink = await startSink();
    try {
      const token = rig.token('dana');
      const params = PARAMS['tools/call']!;
      await fetch(sink.url, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, ...modernHeaders('tools/call', params) },
        body: JSON.stringify(modernMessage('tools/call', params)),
      });
      expect(sink.calls()).toHaveLength(1);
      expect(sink.wire()).toContain(token);
    } finally {
      await sink.close();
    }
  });
});

describe('AN-05: a token where tokens do not belong', () => {
  const PLACES: ReadonlyArray<
    readonly [string, (token: string) => { query?: string; params?: JsonObject; top?: JsonObject }]
  > = [
    ['the query', (token) => ({ query: `?access_token=${token}` })],
    ['the query, escaped', (token) => ({ query: `?access%5Ftoken=${token}` })],
    ['the query, in capitals', (token) => ({ query: `?x=1&ACCESS_TOKEN=${token}` })],
    ['the query behind a semicolon', (token) => ({ query: `?x=1;access_token=${token}` })],
    ['params', (token) => ({ params: { access_token: token } })],
    ['the body', (token) => ({ top: { access_token: token } })],
  ];
  const request = (
    place: { query?: string; params?: JsonObject; top?: JsonObject },
    headers: Headers,
  ): Promise<Answer> => {
    const params = { name: 'read_note', arguments: { text: 'x' }, ...place.params };
    const body = JSON.stringify({ ...modernMessage('tools/call', params), ...place.top });
    const all = { 'content-type': 'application/json', ...modernHeaders('tools/call', params), ...headers };
    return rig.send('POST', `${rig.endpoint('notes')}${place.query ?? ''}`, all, body);
  };

  test.each(PLACES)(
    'AN-05: in %s it opens nothing, and stands in no answer, log, record or file',
    async (_title, place) => {
      const token = rig.token('dana');
      const seen = await traces(async () => {
        expectChallenge(await request(place(token), {}), 'notes');
      });
      expect(seen).toEqual({ received: 0, entries: 0 });
      expect(JSON.stringify(rig.logged)).not.toContain(token.slice(0, 60));
      expect(rig.disk()).not.toContain(token.slice(0, 60));
    },
  );

  test.each(PLACES.filter(([title]) => title.startsWith('the query')))(
    'AN-05: in %s it spoils a request whose header is good: the URL was logged on the way',
    async (_title, place) => {
      const token = rig.token('dana');
      const seen = await traces(async () => {
        const answer = await request(place(token), { authorization: `Bearer ${token}` });
        expectChallenge(answer, 'notes');
        expect(answer.text).toContain('Treat this one as leaked.');
      });
      expect(seen).toEqual({ received: 0, entries: 0 });
    },
  );

  test('AN-05 twin: a reader that falls back to the query accepts it', () => {
    const naive = (headers: Headers, url: string): string | null =>
      (headers['authorization'] as string | undefined)?.slice(7) ??
      new URL(url, 'http://gateway').searchParams.get('access_token');
    expect(naive({}, '/mcp/default/notes?access_token=abc')).toBe('abc');
  });
});
