/** AN-02 and AN-06: what a client learns about getting a token, and what it is told when its token lacks a scope. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_SCOPES, ERAS, TOOLS, startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    servers: {
      notes: {},
      odd: { tools: [textTool('shared_write', 'write', 'odd:use'), textTool('shared_read', 'read', 'odd:use')] },
      draft: { record: { state: 'draft' } },
    },
  });
});
afterAll(() => rig.stop());

describe('AN-02: protected-resource metadata', () => {
  test('AN-02: stands at the path-inserted URI, names exactly the URL that clients use, and an authorization server', async () => {
    const answer = await rig.send('GET', '/.well-known/oauth-protected-resource/mcp/default/notes');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(answer.body).toEqual({
      resource: `${rig.url}/mcp/default/notes`,
      resource_name: 'The notes',
      // Proofs are taken from whoever brings them (RFC 9449 section 5.1); this server does not demand them.
      dpop_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA'],
      dpop_bound_access_tokens_required: false,
      authorization_servers: [rig.issuer.issuer],
      scopes_supported: ['notes:read'],
      bearer_methods_supported: ['header'],
      remit_scopes: [
        {
          scope: 'notes:delete',
          description: 'Delete or overwrite data with The notes (delete_note)',
          risk: 'destructive',
        },
        { scope: 'notes:pay', description: 'Act on regulated data with The notes (pay_bill)', risk: 'regulated' },
        { scope: 'notes:read', description: 'Read with The notes (read_note)', risk: 'read' },
        { scope: 'notes:run', description: 'Run commands or programs with The notes (run_job)', risk: 'execute' },
        { scope: 'notes:write', description: 'Change data with The notes (write_note)', risk: 'write' },
      ],
    });
  });

  test('AN-02: the challenge leads to the document whose resource is the URL that was called, byte for byte', async () => {
    const refused = await rig.post('notes', '{}');
    const url = /resource_metadata="([^"]+)"/.exec(String(refused.headers['www-authenticate']))?.[1] ?? '';
    expect(url).toBe(`${rig.url}/.well-known/oauth-protected-resource/mcp/default/notes`);
    const { body } = await rig.send('GET', new URL(url).pathname);
    expect(body['resource']).toBe(rig.url + rig.endpoint('notes'));
  });

  test('AN-02: a token for exactly that resource is accepted', async () => {
    const { body } = await rig.send('GET', '/.well-known/oauth-protected-resource/mcp/default/notes');
    const token = rig.token('dana', { audience: body['resource'] });
    expect((await rig.call('notes', 'read_note', { text: 'x' }, { token })).status).toBe(200);
  });

  test('AN-02: a scope that also changes data is not in the first set', async () => {
    const { body } = await rig.send('GET', '/.well-known/oauth-protected-resource/mcp/default/odd');
    expect(body['scopes_supported']).toEqual([]);
  });

  test.each([
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-protected-resource/',
    '/.well-known/oauth-protected-resource/mcp/default/absent',
    '/.well-known/oauth-protected-resource/mcp/default/draft',
    '/.well-known/oauth-protected-resource/mcp/other/notes',
    '/.well-known/oauth-protected-resource/mcp/default/notes/',
    '/.well-known/oauth-protected-resource/mcp/default/../default/notes',
    '/mcp/default/notes/.well-known/oauth-protected-resource',
  ])('AN-02: nothing is served at %s', async (path) => {
    expect((await rig.send('GET', path)).status).toBe(404);
  });

  test.each(
    ['/token', '/oauth/token', '/oauth2/token', '/authorize', '/register', '/revoke', '/introspect', '/jwks'].flatMap(
      (path) => ['GET', 'POST'].map((method) => [method, path] as const),
    ),
  )('AN-02: the gateway is no authorization server: %s %s is not there', async (method, path) => {
    const answer = await rig.send(
      method,
      path,
      { 'content-type': 'application/x-www-form-urlencoded' },
      'grant_type=client_credentials',
    );
    expect(answer.status).toBe(404);
    expect(answer.text).toBe('Not found.\n');
  });

  test.each(['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration', '/.well-known/jwks.json'])(
    'AN-02: nor does it describe one: %s',
    async (path) => {
      for (const suffix of ['', '/mcp/default/notes']) expect((await rig.send('GET', path + suffix)).status).toBe(404);
    },
  );
});

const challenged = (answer: Answer): readonly string[] => {
  expect(answer.status).toBe(403);
  const header = String(answer.headers['www-authenticate']);
  expect(header).toMatch(/^Bearer error="insufficient_scope", /);
  expect(header).toContain(`resource_metadata="${rig.url}/.well-known/oauth-protected-resource/mcp/default/notes"`);
  return (/ scope="([^"]*)"/.exec(header)?.[1] ?? '').split(' ');
};

describe('AN-06: a missing scope', () => {
  const CASES = ERAS.flatMap((era) =>
    TOOLS.map((tool) => [era, tool.definition['name'] as string, tool.scope] as const),
  );

  test.each(CASES)(
    'AN-06: %s %s: the challenge names all and only the scope of the tool, and with it the call passes',
    async (era, tool, scope) => {
      const before = rig.sink().calls().length;
      for (const scopes of [[], ALL_SCOPES.filter((other) => other !== scope), [`${scope}:more`, 'notes', '*']]) {
        const refused = await rig.call('notes', tool, { text: 'x' }, { as: 'omar', era, scopes });
        expect(challenged(refused)).toEqual([scope]);
        const [entry] = await rig.about(refused.reference);
        expect(entry).toMatchObject({
          kind: 'denial',
          decision: { verdict: 'challenge', reason: 'scope_missing', guard: 'caller-may' },
        });
      }
      expect(rig.sink().calls()).toHaveLength(before);

      const again = await rig.call('notes', tool, { text: 'x' }, { as: 'omar', era, scopes: [scope] });
      expect(again.status).toBe(200);
      const held = /waits for a person's approval/.test(again.text);
      expect(held).toBe(['delete_note', 'run_job', 'pay_bill'].includes(tool));
      expect(rig.sink().calls()).toHaveLength(held ? before : before + 1);
    },
  );

  test('AN-06: no scope is named to somebody whom no scope would help', async () => {
    for (const as of ['dana', 'sven', 'aiko', 'nobody']) {
      const answer = await rig.call('notes', 'delete_note', { text: 'x' }, { as, scopes: [] });
      expect(answer.headers['www-authenticate']).toBeUndefined();
      expect(answer.text).not.toContain('notes:delete');
    }
  });

  test('AN-06: a policy that asks for an approval and a scope asks for the scope first', async () => {
    const answer = await rig.call('notes', 'run_job', { text: 'y' }, { as: 'omar', scopes: [] });
    expect(challenged(answer)).toEqual(['notes:run']);
    expect(answer.text).not.toContain('approval');
  });
});
