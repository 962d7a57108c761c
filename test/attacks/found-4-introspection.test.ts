/** A stranger with made-up opaque tokens, and an endpoint that answers 400 for what is no token of its own (not RFC 7662, and common). */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { guardedRequest } from '../../src/upstream/dial.ts';

const RESOURCE = 'https://gateway.example/mcp/default/notes';
const ISSUER = 'https://as.example';

test.each([400, 422])('AN-03: does not shut out everybody else by it (%i)', async (status) => {
  const now = Math.floor(Date.now() / 1_000);
  const good = { active: true, sub: 'dana', client_id: 'agent-1', aud: RESOURCE, iat: now, exp: now + 300 };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += String(chunk)));
    request.on('end', () => {
      const known = new URLSearchParams(text).get('token') === 'good';
      response.writeHead(known ? 200 : status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(known ? good : { error: 'invalid_request' }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/introspect`;
    const verifier = createTokenVerifier({
      issuers: [
        { issuer: ISSUER, introspection: { url, clientId: 'gw', clientSecret: () => Promise.resolve('secret') } },
      ],
      fetchJwks: () => Promise.reject(new Error('nobody asks for keys')),
      async postForm(to, asked) {
        const rule = { allowedNetworks: ['127.0.0.1/32'], requireHttps: false };
        const answer = await guardedRequest(to, { ...asked, method: 'POST', rule });
        return {
          status: answer.status,
          contentType: String(answer.headers['content-type'] ?? ''),
          body: answer.body,
        };
      },
    });
    expect(await verifier.verify('made-up', RESOURCE)).toEqual({ ok: false, error: { kind: 'keys_unavailable' } });
    expect(await verifier.verify('good', RESOURCE)).toMatchObject({ ok: true, value: { subject: 'dana' } });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
