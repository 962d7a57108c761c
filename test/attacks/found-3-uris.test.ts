/**
 * One resource, two spellings: a URI whose percent-encoding a server undoes must not reach, under a template's review, what is locked or
 * reviewed more strictly under its plain name. The oracle is what the server was asked for.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileTemplate } from '../../src/integrity/uri-template.ts';
import { startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

const RESOURCES = ['salaries', 'a!b', 'Plan'].map((name) => ({ uri: `docs://all/${name}`, name }));
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    servers: {
      notes: {
        tools: [],
        risk: (key) => (key === 'resource docs://all/salaries' ? 'regulated' : 'read'),
        script: (sink) => sink.offer({ resources: RESOURCES }),
      },
    },
  });
  // The template comes later: what it covers from then on has records of its own already.
  const resourceTemplates = [{ uriTemplate: 'docs://all/{name}', name: 'docs' }];
  rig.sink().offer({ resources: RESOURCES, resourceTemplates });
  await rig.look('notes');
  await rig.approveTool('notes', 'template docs://all/{name}', 'read', 'notes:read');
});
afterAll(() => rig.stop());

const asked = () =>
  rig
    .sink()
    .requests('resources/read')
    .map(({ message }) => (message!['params'] as { uri: string }).uri);

test.each([
  'docs://all/%73alaries',
  'docs://all/salarie%73',
  'docs://all/%73%61%6c%61%72%69%65%73',
  'docs://all/%2573alaries',
  'docs://all/%25%37%33alaries',
])('%s is not read under the template, although the template fits it', async (uri) => {
  const { error } = await rig.ask('notes', 'resources/read', { uri });
  expect(error?.message).toMatch(/not found/i);
  expect(asked()).not.toContain(uri);
});

test('a resource that is reviewed under its plain name is not read by another spelling of it', async () => {
  for (const uri of ['docs://all/a%21b', 'docs://all/a%2521b', 'docs://all/plan', 'docs://all/SALARIES']) {
    expect((await rig.ask('notes', 'resources/read', { uri })).error?.message).toMatch(/not found/i);
    expect(asked()).not.toContain(uri);
  }
});

test('a lock on one URI falls on every spelling of it', async () => {
  const lock = await rig.lock({ kind: 'tool', value: 'notes/resource docs://all/plan(b)' });
  for (const uri of ['docs://all/plan(b)', 'docs://all/plan%28b%29', 'docs://all/plan%28b)']) {
    expect((await rig.ask('notes', 'resources/read', { uri })).result).toBeUndefined();
    expect(asked()).not.toContain(uri);
  }
  await rig.unlock(lock);
  expect((await rig.ask('notes', 'resources/read', { uri: 'docs://all/plan%28b%29' })).result).toBeDefined();
});

test('its plain name is decided by its own review, other names by the template’s', async () => {
  const read = (uri: string) => rig.ask('notes', 'resources/read', { uri });
  expect((await read('docs://all/salaries')).result).toBeUndefined();
  expect((await read('docs://all/a!b')).result).toBeDefined();
  expect((await read('docs://all/minutes')).result).toBeDefined();
});

test('what must be encoded still may be', () => {
  const template = compileTemplate('docs://all/{name}');
  if (!template.ok) throw new Error(template.error.message);
  const { match } = template.value;
  expect(match('docs://all/a%20b%2Fc%25%C3%A9')).toEqual({ name: 'a b/c%é' });
  expect(match('docs://all/100%25')).toEqual({ name: '100%' });
  expect(match('docs://all/%41')).toBeNull();
});
