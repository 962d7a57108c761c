/**
 * `/mcp/{org}`: every server a caller may use behind one URL that is a resource of its own. Names are `<server>__<name>`, URIs
 * `<server>+<uri>`, in both directions (decision 0008). The prefix routes and decides nothing (TD-04).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resourceDirectory } from '../../src/authserver/resources.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { SDKS, connectSdk } from '../support/clients.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig, ServerSpec } from '../support/rig.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { FORM, asksOnce } from './asks-support.ts';

const tools = [
  textTool('read_note', 'read', 'notes:read', { _meta: { ui: { resourceUri: 'ui://page' } } }),
  textTool('write_note', 'write', 'notes:write'),
];
const script = (sink: Sink): void => {
  sink.offer({
    prompts: [{ name: 'greet' }],
    resources: [{ uri: 'res://one', name: 'one' }],
    resourceTemplates: [{ uriTemplate: 'tpl://x/{id}', name: 'x' }],
  });
  sink.on('completion/complete', () => ({ completion: { values: ['done'] } }));
};
const spec: ServerSpec = {
  tools,
  script,
  record: { extensions: ['io.modelcontextprotocol/ui'], asks: ['elicitation.form'] },
};
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    servers: {
      files: spec,
      notes: { ...spec, era: 'legacy' },
      vault: { ...spec, record: { ...spec.record, dataClasses: ['regulated'] } },
      gone: { ...spec, record: { ...spec.record, state: 'suspended' } },
    },
  });
});
afterAll(() => rig.stop());

const list = (answer: Answer, member: string): readonly JsonObject[] => (answer.result?.[member] ?? []) as JsonObject[];
const names = (answer: Answer, member: string, name: string): readonly unknown[] =>
  list(answer, member).map((one) => one[name]);
const counts = (): readonly number[] => ['files', 'notes', 'vault'].map((id) => rig.sink(id).received.length);

describe.each(ERAS)('a %s client', (era) => {
  const ask = (method: string, params: JsonObject = {}, as = 'dana') => rig.ask('', method, params, { era, as });

  test('is shown what it may use of every server in service, under names of this endpoint, in one order', async () => {
    const named = (name: string): string[] => ['files', 'notes'].map((server) => `${server}__${name}`);
    expect(names(await ask('tools/list'), 'tools', 'name')).toEqual(
      ['files', 'notes'].flatMap((server) => [`${server}__read_note`, `${server}__write_note`]),
    );
    expect(names(await ask('prompts/list'), 'prompts', 'name')).toEqual(named('greet'));
    expect(names(await ask('resources/list'), 'resources', 'uri')).toEqual(['files+res://one', 'notes+res://one']);
    expect(names(await ask('resources/templates/list'), 'resourceTemplates', 'uriTemplate')).toEqual([
      'files+tpl://x/{id}',
      'notes+tpl://x/{id}',
    ]);
    const [tool] = list(await ask('tools/list'), 'tools');
    expect(tool?.['_meta']).toEqual({ ui: { resourceUri: 'files+ui://page' } });
  });

  test('AZ-04: sees of a server that is not for it nothing, and of one that is for it everything', async () => {
    for (const [as, ids] of [
      ['omar', ['files', 'notes', 'vault']],
      ['sven', ['files', 'notes']],
      ['petra', []],
    ] as const) {
      const servers = new Set(
        names(await ask('prompts/list', {}, as), 'prompts', 'name').map((name) => String(name).split('__')[0]),
      );
      expect([as, [...servers]]).toEqual([as, [...ids]]);
    }
  });

  test('reaches the named one of two servers with the same tool, and its result speaks of this endpoint', async () => {
    rig.sink('notes').onCall(() => ({
      content: [
        { type: 'text', text: 'see res://one' },
        { type: 'resource_link', uri: 'res://one', name: 'one' },
        { type: 'resource', resource: { uri: 'res://one', text: 'x' } },
      ],
    }));
    const before = counts();
    const { result } = await ask('tools/call', { name: 'notes__read_note', arguments: { text: 'x' } });
    expect(result?.['content']).toEqual([
      { type: 'text', text: 'see res://one' },
      { type: 'resource_link', uri: 'notes+res://one', name: 'one' },
      { type: 'resource', resource: { uri: 'notes+res://one', text: 'x' } },
    ]);
    expect(counts().map((count, at) => count - before[at]!)).toEqual([0, 1, 0]);
    const [call] = rig.sink('notes').calls().slice(-1);
    expect(call?.message?.['params']).toMatchObject({ name: 'read_note' });
  });

  test('gets prompts, reads resources and completes by prefixed names', async () => {
    expect((await ask('prompts/get', { name: 'files__greet' })).result).toHaveProperty('messages');
    const read = await ask('resources/read', { uri: 'files+res://one' });
    expect(list(read, 'contents')).toMatchObject([{ uri: 'files+res://one', text: 'the text of res://one' }]);
    const templated = await ask('resources/read', { uri: 'notes+tpl://x/7' });
    expect(list(templated, 'contents')).toMatchObject([{ uri: 'notes+tpl://x/7', text: 'the text of tpl://x/7' }]);
    const argument = { name: 'id', value: 'd' };
    const ref = { type: 'ref/resource', uri: 'notes+tpl://x/{id}' };
    expect((await ask('completion/complete', { ref, argument })).result).toMatchObject({
      completion: { values: ['done'] },
    });
    const [sent] = rig.sink('notes').requests('completion/complete').slice(-1);
    expect(sent?.message?.['params']).toMatchObject({ ref: { uri: 'tpl://x/{id}' } });
  });

  test.each<[string, string, JsonObject]>([
    ['a server there is none of', 'tools/call', { name: 'nothing__read_note', arguments: { text: 'x' } }],
    ['a server that is not for it', 'tools/call', { name: 'vault__read_note', arguments: { text: 'x' } }],
    ['a server out of service', 'tools/call', { name: 'gone__read_note', arguments: { text: 'x' } }],
    ['no prefix', 'tools/call', { name: 'read_note', arguments: { text: 'x' } }],
    ['an empty prefix', 'tools/call', { name: '__read_note', arguments: { text: 'x' } }],
    ['a prefix of two servers', 'tools/call', { name: 'files__notes__read_note', arguments: { text: 'x' } }],
    ['another spelling', 'tools/call', { name: 'FILES__read_note', arguments: { text: 'x' } }],
    ['a prompt without prefix', 'prompts/get', { name: 'greet' }],
    ['a prompt of another', 'prompts/get', { name: 'vault__greet' }],
  ])(
    'AZ-01: %s is an unknown tool or prompt, in the same words, and reaches nobody',
    async (_title, method, params) => {
      const before = counts();
      const answer = await ask(method, params);
      const plain = await ask(method, { ...params, name: `files__${'x'.repeat(8)}` });
      const words = ({ error, status }: Answer) => [status, error?.code, error?.message];
      expect(words(answer)).toEqual(words(plain));
      expect(answer.error?.code).toBe(-32602);
      expect(counts()).toEqual(before);
    },
  );

  test.each(['res://one', 'vault+res://one', 'nothing+res://one', '+res://one', 'files+vault+res://one', 'files+'])(
    'AZ-01: the resource %s is not found, and reaches nobody',
    async (uri) => {
      const before = counts();
      const { error } = await ask('resources/read', { uri });
      expect(error?.code).toBe(era === 'modern' ? -32602 : -32002);
      expect(counts()).toEqual(before);
    },
  );

  test('a server that cannot be asked takes nothing away from the others', async () => {
    const broken = await startRig({ servers: { files: spec, notes: spec } });
    await broken.sink('notes').close();
    await broken.setServer('notes', { title: 'Moved' });
    const answer = await broken.ask('', 'tools/list', {}, { era });
    expect(names(answer, 'tools', 'name')).toEqual(['files__read_note', 'files__write_note']);
    await broken.stop();
  });

  test('a lock on one server takes its names away and leaves the others', async () => {
    const lock = await rig.lock({ kind: 'server', value: 'files' });
    expect(names(await ask('prompts/list'), 'prompts', 'name')).toEqual(['notes__greet']);
    const refused = await ask('prompts/get', { name: 'files__greet' });
    expect(refused.error).toMatchObject({ code: -32602, message: 'Unknown prompt or resource.' });
    expect((await rig.about(refused.reference))[0]?.decision?.reason).toMatch(/^locked:server:/);
    await rig.unlock(lock);
    expect(names(await ask('prompts/list'), 'prompts', 'name')).toEqual(['files__greet', 'notes__greet']);
  });
});

describe('the endpoint', () => {
  test('AN-02: is a resource of its own: a token of a server is none of it, and its token none of a server', async () => {
    const theirs = rig.token('dana', { server: 'files' });
    expect((await rig.ask('', 'tools/list', {}, { token: theirs })).status).toBe(401);
    const own = rig.token('dana', { server: '' });
    expect((await rig.ask('files', 'tools/list', {}, { token: own })).status).toBe(401);
    expect((await rig.ask('', 'tools/list', {}, { token: own })).status).toBe(200);
  });

  test('has metadata that an authorization server accepts, and points to it', async () => {
    const refused = await rig.post('', { jsonrpc: '2.0', id: 1, method: 'ping' });
    expect(refused.status).toBe(401);
    const url = /resource_metadata="([^"]+)"/.exec(String(refused.headers['www-authenticate']))?.[1] ?? '';
    expect(new URL(url).pathname).toBe('/.well-known/oauth-protected-resource/mcp/default');
    const directory = resourceDirectory({
      issuer: rig.issuer.issuer,
      gateways: [{ origin: rig.url, allowedNetworks: [] }],
      fetchJson: async (at) => (await rig.send('GET', new URL(at).pathname)).body,
    });
    const found = await directory.find(`${rig.url}/mcp/default`);
    if (!found.ok) throw new Error(found.error.reason);
    expect(found.value.resource).toBe(`${rig.url}/mcp/default`);
    expect(found.value.defaultScopes).toEqual(['notes:read']);
    expect([...found.value.offered.keys()]).toEqual(['notes:read', 'notes:write']);
  });

  test('AZ-09: a session of it is none of a server, and one of a server none of it', async () => {
    const session = await rig.openSession('', rig.token('dana', { server: '' }));
    const own = await rig.openSession('files', rig.token('dana', { server: 'files' }));
    expect((await rig.ask('files', 'tools/list', {}, { era: 'legacy', session })).status).toBe(404);
    expect((await rig.ask('', 'tools/list', {}, { era: 'legacy', session: own })).status).toBe(404);
  });

  test('AZ-09: what was asked for one of its servers is answered for that one only', async () => {
    for (const id of ['files', 'notes']) asksOnce(rig.sink(id));
    const how = { capabilities: { elicitation: { form: {} } } };
    const params = { name: 'notes__write_note', arguments: { text: 'x' } };
    const { result } = await rig.ask('', 'tools/call', params, how);
    expect(JSON.stringify(result?.['inputRequests'])).toContain(FORM.message);
    const [key] = Object.keys(result?.['inputRequests'] ?? {});
    const again = {
      requestState: result?.['requestState'] as string,
      inputResponses: { [key!]: { action: 'decline' } },
    };
    const before = rig.sink('files').calls().length;
    const swapped = await rig.ask('', 'tools/call', { ...params, name: 'files__write_note', ...again }, how);
    expect(swapped.error?.code).toBe(-32602);
    expect(rig.sink('files').calls()).toHaveLength(before);
    expect((await rig.ask('', 'tools/call', { ...params, ...again }, how)).text).toContain('told');
  });
});

describe.each(SDKS)('an SDK %s client', (sdk) => {
  test('works with the tools, prompts and resources of several servers at once', async () => {
    for (const id of ['files', 'notes'])
      rig
        .sink(id)
        .onCall(({ arguments: given }) => ({ content: [{ type: 'text', text: `${id} ${JSON.stringify(given)}` }] }));
    const client = await connectSdk(rig, sdk, null);
    expect((await client.tools()).map(({ name }) => name)).toContain('notes__write_note');
    expect((await client.call('files__write_note', { text: 'a' })).text).toBe('files {"text":"a"}');
    expect((await client.call('notes__write_note', { text: 'b' })).text).toBe('notes {"text":"b"}');
    for (const { uri } of await client.resources()) expect((await client.read(uri as string))[0]?.['uri']).toBe(uri);
    expect(await client.prompt('notes__greet')).toHaveProperty('messages');
    await client.close();
  });
});
