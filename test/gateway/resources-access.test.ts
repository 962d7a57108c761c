/**
 * AZ-04, AZ-13, PH-04, PH-12: every method that reaches an item passes the same decision as tools/call, in both eras; lists show exactly
 * what can be used; what a server says beyond the lists we know stays behind. What should be allowed is a literal table.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERAS, RISKS, startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Era, Rig } from '../support/rig.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { learn } from '../../src/gateway/guard.ts';
import { known } from '../../src/gateway/call.ts';

type Expected = 'allow' | 'hold' | 'deny';
// prettier-ignore
const MATRIX: ReadonlyArray<readonly [person: string, ...expected: readonly Expected[]]> = [
  //        read     write    destr.  execute regulated
  ['dana',  'allow', 'allow', 'deny', 'deny', 'deny'],
  ['omar',  'allow', 'allow', 'hold', 'hold', 'hold'],
  ['sven',  'allow', 'deny',  'deny', 'deny', 'deny'],
  ['petra', 'deny',  'deny',  'deny', 'deny', 'deny'],
  ['aiko',  'deny',  'deny',  'deny', 'deny', 'deny'],
  ['ada',   'deny',  'deny',  'deny', 'deny', 'deny'],
];

const offers = (sink: Sink): void => {
  sink.offer({
    prompts: RISKS.map((name) => ({ name, description: `The ${name} prompt` })),
    resources: RISKS.map((name) => ({ uri: `res://${name}`, name })),
    resourceTemplates: RISKS.map((name) => ({ uriTemplate: `tpl://${name}/{id}`, name })),
  });
  sink.on('completion/complete', () => ({ completion: { values: ['done'] } }));
};
const riskOf = (key: string) => RISKS.find((risk) => key.includes(risk)) ?? 'read';

const servers = {
  notes: { script: offers, risk: riskOf, tools: [] },
  old: { era: 'legacy' as const, script: offers, risk: riskOf, tools: [] },
};
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ servers });
});
afterAll(() => rig.stop());

interface Method {
  readonly method: string;
  readonly eras?: readonly Era[];
  readonly params: (risk: string) => JsonObject;
  /** Does not reach a server even when allowed. */
  readonly inside?: true;
}
const argument = { name: 'id', value: 'd' };
const METHODS: Readonly<Record<string, Method>> = {
  'prompts/get': { method: 'prompts/get', params: (risk) => ({ name: risk }) },
  'resources/read of a resource': { method: 'resources/read', params: (risk) => ({ uri: `res://${risk}` }) },
  'resources/read by a template': { method: 'resources/read', params: (risk) => ({ uri: `tpl://${risk}/7` }) },
  'completion of a prompt': {
    method: 'completion/complete',
    params: (risk) => ({ ref: { type: 'ref/prompt', name: risk }, argument }),
  },
  'completion of a template': {
    method: 'completion/complete',
    params: (risk) => ({ ref: { type: 'ref/resource', uri: `tpl://${risk}/{id}` }, argument }),
  },
  'resources/subscribe': {
    method: 'resources/subscribe',
    eras: ['legacy'],
    params: (risk) => ({ uri: `res://${risk}` }),
    inside: true,
  },
};
const CASES = Object.entries(METHODS).flatMap(([title, one]) =>
  (one.eras ?? ERAS).flatMap((era) => Object.keys(servers).map((server) => [title, era, server, one] as const)),
);
/** What a caller sees, without what differs in every answer. */
const seen = ({ status, text }: Answer): string => `${status} ${text.replaceAll(/call_[0-9a-z]+/g, 'REF')}`;

describe.each(CASES)('%s, a %s client, server %s', (_title, era, server, { method, params, inside }) => {
  test.each(MATRIX)('AZ-04, PH-04: %s may exactly what the table says', async (as, ...expected) => {
    for (const [at, risk] of RISKS.entries()) {
      const before = rig.sink(server).requests(method).length;
      const answer = await rig.ask(server, method, params(risk), { as, era });
      const sent = rig.sink(server).requests(method).length - before;
      const verdict = expected[at];
      const label = [as, risk, verdict];
      if (verdict === 'allow') {
        expect([...label, answer.error?.message]).toEqual([...label, undefined]);
        expect([...label, sent]).toEqual([...label, inside ? 0 : 1]);
      } else {
        expect([...label, sent]).toEqual([...label, 0]);
        expect([...label, answer.result]).toEqual([...label, undefined]);
        if (verdict === 'hold') expect(answer.error?.message).toContain("waits for a person's approval");
      }
    }
  });

  test('AZ-04, AZ-01: what is hidden and what does not exist read the same, and reach no server', async () => {
    const before = rig.sink(server).received.length;
    const hidden = await rig.ask(server, method, params('regulated'), { as: 'dana', era });
    const nothing = await rig.ask(server, method, params('imaginary'), { as: 'dana', era });
    expect(seen(hidden).replaceAll('regulated', 'X')).toBe(seen(nothing).replaceAll('imaginary', 'X'));
    expect(rig.sink(server).received).toHaveLength(before);
    const reasons = [await rig.about(hidden.reference), await rig.about(nothing.reference)];
    expect(reasons.map(([entry]) => entry?.decision?.reason)).toEqual(['policy_denied:not_visible', 'tool_unknown']);
  });

  test('AZ-04: a lock on the item, a missing scope, and a suspended server each stop it before the server', async () => {
    const ask = (how: CallOptions = {}) => rig.ask(server, method, params('write'), { as: 'dana', era, ...how });
    const before = rig.sink(server).requests(method).length;
    const { params: given } = { params: params('write') };
    const key = locked(method, given);
    const lock = await rig.lock({ kind: 'tool', value: `${server}/${key}` });
    expect((await ask()).status).toBeGreaterThanOrEqual(200);
    expect((await ask()).result).toBeUndefined();
    await rig.unlock(lock);
    const scoped = await ask({ scopes: ['notes:write'] });
    expect([scoped.status, scoped.headers['www-authenticate']]).toEqual([
      403,
      expect.stringContaining('insufficient_scope'),
    ]);
    await rig.setServer(server, { state: 'suspended' });
    expect((await ask()).status).toBe(403);
    await rig.setServer(server, { state: 'enabled' });
    await rig.look(server);
    expect(rig.sink(server).requests(method)).toHaveLength(before);
    expect((await ask()).error).toBeUndefined();
  });
});

function locked(method: string, params: JsonObject): string {
  const ref = params['ref'] as JsonObject | undefined;
  if (method === 'prompts/get') return `prompt ${params['name'] as string}`;
  if (ref) return ref['type'] === 'ref/prompt' ? `prompt ${ref['name'] as string}` : `template ${ref['uri'] as string}`;
  const uri = params['uri'] as string;
  return uri.startsWith('tpl:') ? 'template tpl://write/{id}' : `resource ${uri}`;
}

const list = (result: JsonObject | undefined, member: string): readonly JsonObject[] =>
  (result?.[member] ?? []) as readonly JsonObject[];

const LISTS = [
  ['prompts/list', 'prompts', 'name', (risk: string) => risk],
  ['resources/list', 'resources', 'uri', (risk: string) => `res://${risk}`],
  ['resources/templates/list', 'resourceTemplates', 'uriTemplate', (risk: string) => `tpl://${risk}/{id}`],
] as const;

describe.each(LISTS.flatMap((list) => ERAS.map((era) => [era, ...list] as const)))(
  'the answer to a %s client for %s',
  (era, method, member, name, of) => {
    test.each(MATRIX)('AZ-04: shows %s exactly what they may use', async (as, ...expected) => {
      const { result } = await rig.ask('notes', method, {}, { as, era });
      const names = list(result, member).map((one) => one[name] as string);
      expect([...names].sort()).toEqual(
        RISKS.filter((_, at) => expected[at] !== 'deny')
          .map(of)
          .sort(),
      );
    });

    test('AZ-13: is private, whatever the server said of its own, and no two people share one', async () => {
      for (const as of ['dana', 'omar', 'dana', 'petra', 'omar']) {
        const { result, headers } = await rig.ask('notes', method, {}, { as, era });
        if (era === 'modern') expect(result).toMatchObject({ cacheScope: 'private' });
        else expect(result).not.toHaveProperty('cacheScope');
        expect(headers['cache-control']).toBe('no-store');
        const count = { dana: 2, omar: 5, petra: 0 }[as];
        expect(result?.[member]).toHaveLength(count!);
      }
    });
  },
);

test('AZ-13: what was read for one is read anew for the other, and is private', async () => {
  rig.sink('notes').on('resources/read', ({ name }) => ({
    contents: [{ uri: name, text: 'x' }],
    ttlMs: 3_600_000,
    cacheScope: 'public',
  }));
  const before = rig.sink('notes').requests('resources/read').length;
  for (const as of ['dana', 'omar', 'dana']) {
    const { result } = await rig.ask('notes', 'resources/read', { uri: 'res://read' }, { as });
    expect(result).toMatchObject({ cacheScope: 'private', ttlMs: 0 });
  }
  expect((await rig.ask('notes', 'resources/read', { uri: 'res://read' }, { as: 'petra' })).result).toBeUndefined();
  expect(rig.sink('notes').requests('resources/read')).toHaveLength(before + 3);
});

test('AZ-04 twin: with the item guards taken out, the side door is open', async () => {
  const open = await startRig({
    servers: { notes: servers.notes },
    table: tableWith({
      'item-is-theirs': (call) => learn({ tool: known(call, 'server').tools.get('prompt regulated')! }),
      'caller-may': () => learn({ decision: { verdict: 'allow', reason: null, rules: [], errors: [] } }),
    }),
  });
  const { result } = await open.ask('notes', 'prompts/get', { name: 'regulated' }, { as: 'petra' });
  expect(result).toBeDefined();
  await open.stop();
});

describe('a resource whose URI tries another way to the same place', () => {
  test.each([
    'RES://read',
    'res://read/',
    'res://read#x',
    'res://read?x',
    'res:///read',
    'res://read ',
    ' res://read',
    'res://%72ead',
    'tpl://read/../regulated/7',
    'tpl://read/7/8',
    'tpl://read/',
    'tpl://read/%2e%2e%2fregulated',
    'tpl://read/7#x',
    'tpl://read/7?x=1',
    'file:///etc/passwd',
    '',
    'tpl://read/{id}',
    'tpl://read/a\u0000b',
  ])('TD-03: %j is nothing unless a reviewed template matches it as it stands', async (uri) => {
    const before = rig.sink('notes').requests('resources/read').length;
    const answer = await rig.ask(
      'notes',
      'resources/read',
      { uri },
      { as: 'dana', headers: { 'mcp-name': encoded(uri) } },
    );
    const sent = rig.sink('notes').requests('resources/read').slice(before);
    expect(sent.map(({ message }) => (message!['params'] as JsonObject)['uri'])).toEqual(answer.result ? [uri] : []);
    expect(answer.text).not.toContain('the text of tpl://regulated');
  });
});
const encoded = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`;

describe('PH-12: extensions', () => {
  const UI = { ui: { resourceUri: 'ui://page' }, 'ui/resourceUri': 'ui://page' };
  const tool = (more: JsonObject): JsonObject => ({
    name: 'show',
    description: 'Shows.',
    inputSchema: { type: 'object', properties: {} },
    ...more,
  });
  let apps: Rig;
  beforeAll(async () => {
    const definition = tool({
      _meta: { ...UI, 'com.other/extension': { on: true }, 'io.modelcontextprotocol/x': 1 },
      skills: ['x'],
      'x-cap': 1,
    });
    const spec = { definition, risk: 'read', scope: 'notes:read' } as const;
    const page = (sink: Sink): void =>
      sink.offer({ resources: [{ uri: 'ui://page', name: 'page', mimeType: 'text/html;profile=mcp-app' }] });
    const ui = { extensions: ['io.modelcontextprotocol/ui' as const] };
    apps = await startRig({
      servers: { plain: { tools: [spec], script: page }, apps: { tools: [spec], script: page, record: ui } },
    });
  });
  afterAll(() => apps.stop());

  test.each(ERAS)('PH-12: a %s client hears of MCP Apps only from a server whose record allows them', async (era) => {
    const meta = async (server: string) => {
      const { result } = await apps.ask(server, 'tools/list', {}, { era });
      return list(result, 'tools')[0];
    };
    expect((await meta('apps'))?.['_meta']).toEqual({ ...UI, 'com.other/extension': { on: true } });
    expect((await meta('plain'))?.['_meta']).toEqual({ 'com.other/extension': { on: true } });
    for (const server of ['apps', 'plain']) expect(JSON.stringify(await meta(server))).not.toMatch(/skills|x-cap/);
  });

  test('PH-12: what is declared to clients is what the record allows, and tasks, which are ours', async () => {
    const extensions = async (server: string) => {
      const { result } = await apps.ask(server, 'server/discover', {});
      return Object.keys(((result!['capabilities'] as JsonObject)['extensions'] ?? {}) as JsonObject);
    };
    expect(await extensions('apps')).toEqual(['io.modelcontextprotocol/ui', 'io.modelcontextprotocol/tasks']);
    expect(await extensions('plain')).toEqual(['io.modelcontextprotocol/tasks']);
  });

  test('PH-12: what a client declares of extensions does not reach the server, nor do methods of extensions', async () => {
    const capabilities = {
      extensions: { 'com.evil/x': {}, 'io.modelcontextprotocol/skills': {} },
      experimental: { y: {} },
    };
    const answer = await apps.call('plain', 'show', {}, { capabilities });
    expect(answer.error).toBeUndefined();
    for (const method of ['skills/list', 'skills/get', 'resources/directory/read', 'ui/initialize', 'ui/message'])
      expect((await apps.ask('apps', method, {}, { capabilities })).error?.code).toBe(-32601);
    expect(apps.sink('plain').wire() + apps.sink('apps').wire()).not.toMatch(
      /com\.evil|skills|experimental|ui\/(?:initialize|message)/,
    );
  });

  test('PH-12: the page of an app is a resource like any other: reviewed, decided, inspected', async () => {
    const { result } = await apps.ask('apps', 'resources/read', { uri: 'ui://page' });
    expect(JSON.stringify(result)).toContain('the text of ui://page');
    expect((await apps.ask('apps', 'resources/read', { uri: 'ui://page' }, { as: 'petra' })).result).toBeUndefined();
    expect((await apps.ask('apps', 'resources/read', { uri: 'ui://other' })).result).toBeUndefined();
  });
});
