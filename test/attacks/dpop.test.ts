/**
 * AN-13 over the whole gateway: at a server whose record says `tokens: dpop`, a stolen token opens nothing. The oracle is the sink.
 * Twin: the same script against the same server without that word in its record.
 */
import { Client, DpopSession, StreamableHTTPClientTransport, withDpop } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { guardedJson } from '../../src/upstream/dial.ts';
import { holder } from '../support/proofs.ts';
import type { Holder, ProofOptions } from '../support/proofs.ts';
import { LEGACY, initialize, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Answer, Headers, Rig } from '../support/rig.ts';

let rig: Rig;
let mine: Holder;
let thief: Holder;
beforeAll(async () => {
  [rig, mine, thief] = await Promise.all([
    startRig({ servers: { notes: { record: { tokens: 'dpop' } }, open: {} } }),
    holder(),
    holder(),
  ]);
});
afterAll(async () => rig.stop());

const PARAMS: JsonObject = { name: 'read_note', arguments: { text: 'hello' } };
const bound = (server = 'notes', to = mine): string =>
  rig.token('dana', { server, claims: { cnf: { jkt: to.thumbprint } } });
const urlOf = (server: string): string => `${rig.url}${rig.endpoint(server)}`;
const now = (): number => Math.floor(Date.now() / 1_000);
const proofFor = (token: string, more: Partial<ProofOptions> = {}, by = mine): string =>
  by.proof({ url: urlOf('notes'), token, at: now(), ...more });
const withProof = (token: string, proof: string): Headers => ({ authorization: `DPoP ${token}`, dpop: proof });

function call(server: string, headers: Headers): Promise<Answer> {
  return rig.post(server, modernMessage('tools/call', PARAMS), { ...modernHeaders('tools/call', PARAMS), ...headers });
}

function expectChallenge(answer: Answer, error: string | null): void {
  expect(answer.status, answer.text).toBe(401);
  const challenge = String(answer.headers['www-authenticate']);
  expect(challenge).toMatch(/^DPoP algs="ES256 RS256 PS256 EdDSA", /);
  expect(challenge).toContain(`resource_metadata="${rig.url}/.well-known/oauth-protected-resource/mcp/default/notes"`);
  if (error === null) expect(challenge).not.toContain('error=');
  else expect(challenge).toContain(`error="${error}"`);
}

describe('a server that takes only sender-constrained tokens', () => {
  test('AN-13: serves the holder of the key, every request with a proof of its own', async () => {
    const before = rig.sink('notes').calls().length;
    const token = bound();
    for (let i = 0; i < 3; i++) {
      const answer = await call('notes', withProof(token, proofFor(token)));
      expect([answer.status, answer.text.includes('hello')]).toEqual([200, true]);
    }
    expect(rig.sink('notes').calls()).toHaveLength(before + 3);
    expect(rig.sink('notes').wire()).not.toContain(token.split('.')[2]);
  });

  test('AN-13: its metadata says so, and that of the others says that proofs are possible', async () => {
    const metadata = async (server: string): Promise<JsonObject> =>
      (await rig.send('GET', `/.well-known/oauth-protected-resource${rig.endpoint(server)}`, {})).body;
    const algorithms = { dpop_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA'] };
    expect(await metadata('notes')).toMatchObject({ ...algorithms, dpop_bound_access_tokens_required: true });
    expect(await metadata('open')).toMatchObject({ ...algorithms, dpop_bound_access_tokens_required: false });
    expect(await metadata('')).toMatchObject({ ...algorithms, dpop_bound_access_tokens_required: false });
  });

  test('AN-13: who has no token learns which kind to get', async () => {
    expectChallenge(await call('notes', {}), null);
  });

  test.each<[string, () => Headers, string]>([
    ['a bearer token', () => ({ authorization: `Bearer ${rig.token('dana')}` }), 'invalid_token'],
    [
      'a bearer token with a proof',
      () => {
        const token = rig.token('dana');
        return { authorization: `Bearer ${token}`, dpop: proofFor(token) };
      },
      'invalid_token',
    ],
    ['a bound token as a bearer token', () => ({ authorization: `Bearer ${bound()}` }), 'invalid_token'],
    [
      'a bound token as a bearer token, with its proof',
      () => {
        const token = bound();
        return { authorization: `Bearer ${token}`, dpop: proofFor(token) };
      },
      'invalid_token',
    ],
    [
      'an unbound token in the scheme DPoP',
      () => {
        const token = rig.token('dana');
        return withProof(token, proofFor(token));
      },
      'invalid_dpop_proof',
    ],
    ['no proof', () => ({ authorization: `DPoP ${bound()}` }), 'invalid_dpop_proof'],
    [
      'two proofs',
      () => {
        const token = bound();
        return { authorization: `DPoP ${token}`, dpop: [proofFor(token), proofFor(token)] };
      },
      'invalid_dpop_proof',
    ],
    [
      'a proof by the key of the thief',
      () => {
        const token = bound();
        return withProof(token, proofFor(token, {}, thief));
      },
      'invalid_dpop_proof',
    ],
    ['a proof for another token', () => withProof(bound(), proofFor(bound())), 'invalid_dpop_proof'],
    [
      'a proof for another server',
      () => {
        const token = bound();
        return withProof(token, proofFor(token, { url: urlOf('open') }));
      },
      'invalid_dpop_proof',
    ],
    [
      'a proof for another method',
      () => {
        const token = bound();
        return withProof(token, proofFor(token, { method: 'GET' }));
      },
      'invalid_dpop_proof',
    ],
    [
      'a proof of an hour ago',
      () => {
        const token = bound();
        return withProof(token, proofFor(token, { at: now() - 3_600 }));
      },
      'invalid_dpop_proof',
    ],
    [
      'a token of another server with its proof',
      () => {
        const token = bound('open');
        return withProof(token, proofFor(token));
      },
      'invalid_token',
    ],
  ])('AN-13: refuses %s, and nothing reaches the server', async (_title, headers, error) => {
    const before = rig.sink('notes').received.length;
    expectChallenge(await call('notes', headers()), error);
    expect(rig.sink('notes').received).toHaveLength(before);
  });

  test('AN-13: a recorded request is worth nothing a second time', async () => {
    const token = bound();
    const headers = withProof(token, proofFor(token));
    const before = rig.sink('notes').calls().length;
    expect((await call('notes', headers)).status).toBe(200);
    for (let i = 0; i < 3; i++) expectChallenge(await call('notes', headers), 'invalid_dpop_proof');
    expect(rig.sink('notes').calls()).toHaveLength(before + 1);
  });

  test('AN-13: legacy sessions prove possession for every request as well, GET and DELETE with their own method', async () => {
    const token = bound();
    const opened = await rig.post('notes', initialize(), withProof(token, proofFor(token)));
    const session = String(opened.headers['mcp-session-id']);
    const legacy = { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY };
    const list = { jsonrpc: '2.0', id: 8, method: 'tools/list', params: {} };
    expect((await rig.post('notes', list, { ...legacy, ...withProof(token, proofFor(token)) })).status).toBe(200);
    expectChallenge(
      await rig.post('notes', list, { ...legacy, authorization: `Bearer ${rig.token('dana')}` }),
      'invalid_token',
    );
    const end = (method: string): Promise<Answer> =>
      rig.send('DELETE', rig.endpoint('notes'), { ...legacy, ...withProof(token, proofFor(token, { method })) });
    expectChallenge(await end('POST'), 'invalid_dpop_proof');
    expect((await end('DELETE')).status).toBe(202);
  });

  test('AN-13: on the aggregate its tools are not there for a bearer token, and are for the holder of a key', async () => {
    const names = async (headers: Headers): Promise<string[]> => {
      const answer = await rig.post('', modernMessage('tools/list'), { ...modernHeaders('tools/list'), ...headers });
      const tools = (answer.result?.['tools'] ?? []) as { name: string }[];
      return tools.map(({ name }) => name);
    };
    const plain = { authorization: `Bearer ${rig.token('dana', { server: '' })}` };
    const seen = await names(plain);
    expect(seen.filter((name) => name.includes('notes'))).toEqual([]);
    expect(seen.filter((name) => name.includes('open')).length).toBeGreaterThan(0);
    const token = bound('');
    const proved = (): Headers => withProof(token, proofFor(token, { url: urlOf('') }));
    const tool = (await names(proved())).find((name) => name.includes('notes') && name.includes('read_note'))!;
    const params = { name: tool, arguments: { text: 'hello' } };
    const use = (headers: Headers): Promise<Answer> =>
      rig.post('', modernMessage('tools/call', params), { ...modernHeaders('tools/call', params), ...headers });
    const before = rig.sink('notes').calls().length;
    expect(await use(plain)).toMatchObject({ status: 400, error: { code: -32602 } });
    const answer = await use(proved());
    expect(answer.status, answer.text).toBe(200);
    expect(rig.sink('notes').calls()).toHaveLength(before + 1);
  });

  test('AN-13: a refused bearer token of somebody we know is in the log with its reason', async () => {
    await call('notes', { authorization: `Bearer ${rig.token('dana')}` });
    const last = (await rig.entries()).at(-1);
    expect(JSON.stringify(last)).toContain('proof_required');
  });

  test('AN-13 twin: without the word in its record, a bearer token that anybody took opens the server', async () => {
    const before = rig.sink('open').calls().length;
    const answer = await call('open', { authorization: `Bearer ${rig.token('dana', { server: 'open' })}` });
    expect(answer.status).toBe(200);
    expect(rig.sink('open').calls()).toHaveLength(before + 1);
  });

  test('AN-13: also there a bound token is worth nothing without its key', async () => {
    const before = rig.sink('open').received.length;
    const stolen = await call('open', { authorization: `Bearer ${bound('open')}` });
    expect([stolen.status, String(stolen.headers['www-authenticate']).slice(0, 7)]).toEqual([401, 'Bearer ']);
    expect(rig.sink('open').received).toHaveLength(before);
    const token = bound('open');
    expect((await call('open', withProof(token, proofFor(token, { url: urlOf('open') })))).status).toBe(200);
  });
});

describe('the clients of the SDK', () => {
  /** With nonces every proof must carry one of the node. */
  async function served(nonces: boolean, mode: 'auto' | 'legacy'): Promise<void> {
    const own = await startRig({
      servers: { notes: { record: { tokens: 'dpop' } } },
      wrap: (deps) => ({
        ...deps,
        verifier: createTokenVerifier({
          issuers: deps.issuers.map((issuer) => ({ issuer })),
          fetchJwks: (url) =>
            guardedJson(url, { rule: { allowedNetworks: ['127.0.0.1/32'], requireHttps: false }, timeoutMs: 5_000 }),
          proofs: { nonces },
        }),
      }),
    });
    const client = new Client({ name: 'sdk', version: '1' }, { versionNegotiation: { mode } });
    try {
      const session = await DpopSession.create();
      const token = own.token('dana', { claims: { cnf: { jkt: session.thumbprint } } });
      const statuses: number[] = [];
      const counting: typeof fetch = async (input, init) => {
        const response = await fetch(input, init);
        statuses.push(response.status);
        return response;
      };
      const transport = new StreamableHTTPClientTransport(new URL(own.resource('notes')), {
        fetch: withDpop(session, () => Promise.resolve(token))(counting),
      });
      await client.connect(transport);
      for (const text of ['one', 'two'])
        expect(await client.callTool({ name: 'read_note', arguments: { text } })).not.toHaveProperty('isError', true);
      expect(own.sink().calls()).toHaveLength(2);
      // The first request learns the nonce; the session keeps it.
      expect(statuses.filter((status) => status === 401).length > 0).toBe(nonces);
    } finally {
      await client.close();
      await own.stop();
    }
  }

  test.each([
    ['modern', false, 'auto'],
    ['modern', true, 'auto'],
    ['legacy', false, 'legacy'],
    ['legacy', true, 'legacy'],
  ] as const)('AN-13: a %s client with a key is served, nonces demanded: %s', (_era, nonces, mode) =>
    served(nonces, mode),
  );
});
