/**
 * A scope that no tool carries and that includes others by record: found in discovery, issued on request by our authorization server, never by
 * default, and good for exactly what its record says.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readMetadata } from '../../src/authserver/resources.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ORG, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
  const scope = (id: string, includes: readonly string[], title = `Title of ${id}`) => ({
    kind: 'scope',
    org: ORG,
    id,
    body: { title, includes: [...includes] },
  });
  await rig.commit([
    scope('notes:all', ['notes:read', 'notes:write']),
    scope('everything', ['notes:all', 'notes:pay']),
    scope('readers', ['notes:read']),
    scope('elsewhere', ['mail:read']),
    scope('notes:*', ['notes:read']),
    scope('offline_access', ['notes:read']),
    scope('notes:write', ['notes:read']),
  ]);
});
afterAll(() => rig.stop());

const metadata = async (path: string): Promise<JsonObject> => {
  const answer = await rig.send('GET', `/.well-known/oauth-protected-resource${path}`);
  expect(answer.status, answer.text).toBe(200);
  return answer.body;
};

test.each(['/mcp/default/notes', '/mcp/default'])(
  '%s: umbrellas are described with what they include, and are not asked for by default',
  async (path) => {
    const document = await metadata(path);
    const scopes = document['remit_scopes'] as JsonObject[];
    const umbrellas = scopes.filter(({ description }) => (description as string).startsWith('Title of'));
    expect(umbrellas).toEqual([
      {
        scope: 'everything',
        description: 'Title of everything: notes:pay, notes:read, notes:write',
        risk: 'regulated',
      },
      { scope: 'notes:all', description: 'Title of notes:all: notes:read, notes:write', risk: 'write' },
      { scope: 'readers', description: 'Title of readers: notes:read', risk: 'read' },
    ]);
    expect(new Set(scopes.map(({ scope }) => scope)).size).toBe(scopes.length);
    expect(document['scopes_supported']).toEqual(['notes:read']);
  },
);

test('our authorization server offers them, and gives none to a client that asks for nothing', async () => {
  const document = await metadata('/mcp/default/notes');
  const read = readMetadata(document, document['resource'] as string, rig.issuer.issuer);
  expect(read.ok).toBe(true);
  if (!read.ok) return;
  expect([...read.value.offered.keys()]).toEqual(expect.arrayContaining(['everything', 'notes:all', 'readers']));
  expect(read.value.defaultScopes).toEqual(['notes:read']);
});

test('a token with the umbrella alone reaches what it includes and nothing else', async () => {
  const before = rig.sink('notes').calls().length;
  await rig.call('notes', 'read_note', { text: 'x' }, { scopes: ['notes:all'] });
  expect(rig.sink('notes').calls()).toHaveLength(before + 1);
  for (const scopes of [['elsewhere'], ['notes']]) await rig.call('notes', 'read_note', { text: 'x' }, { scopes });
  expect(rig.sink('notes').calls()).toHaveLength(before + 1);
});

test('a scope of a tool that only reads, and that includes more, is no first scope and does not look like one', async () => {
  const including = (includes: string[]) =>
    rig.commit([{ kind: 'scope', org: ORG, id: 'notes:read', body: { title: 'x', includes } }]);
  await including(['notes:delete']);
  const document = await metadata('/mcp/default/notes');
  const scopes = document['remit_scopes'] as JsonObject[];
  expect(scopes.find(({ scope }) => scope === 'notes:read')).toEqual({
    scope: 'notes:read',
    description: 'Read with The notes (read_note), and all of notes:delete',
    risk: 'destructive',
  });
  expect(document['scopes_supported']).toEqual([]);
  await including([]);
  expect((await metadata('/mcp/default/notes'))['scopes_supported']).toEqual(['notes:read']);
});

test('what a record no longer includes is gone from discovery', async () => {
  await rig.commit([{ kind: 'scope', org: ORG, id: 'readers', body: null }]);
  expect(JSON.stringify(await metadata('/mcp/default/notes'))).not.toContain('readers');
});
