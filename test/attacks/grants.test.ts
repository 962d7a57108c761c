/**
 * AZ-03, AZ-05, AZ-07 and AZ-12 of grants and typed parameters over the whole gateway: what the sink received is what counts. Every attack
 * has a twin in which the control is gone, and then it lands.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callerMay } from '../../src/gateway/guards/caller-may.ts';
import { itemIsTheirs } from '../../src/gateway/guards/item-is-theirs.ts';
import { digestOf } from '../../src/lib/canonical-json.ts';
import type { ParameterType } from '../../src/lib/canonical-values.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { Grant } from '../../src/policy/grants.ts';
import type { Row } from '../../src/gateway/pipeline.ts';
import { ERAS, ORG, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig, ToolSpec } from '../support/rig.ts';

const clock = manualClock(Date.now());

const tool = (name: string, properties: JsonObject, risk: ToolSpec['risk'] = 'read'): ToolSpec => ({
  definition: { name, description: `Does ${name}.`, inputSchema: { type: 'object', properties } },
  risk,
  scope: 'notes:read',
});
const STRING = { type: 'string' };
const MANY = { type: 'array', items: STRING };
const TOOLS: readonly ToolSpec[] = [
  tool('read_file', { path: { ...STRING, 'x-mcp-header': 'Path' } }),
  tool('fetch', { url: STRING }),
  tool('send', { to: MANY, text: STRING }, 'write'),
  tool('pay', { sum: { type: ['string', 'number'] } }, 'write'),
  tool('rows', { limit: { type: 'integer' }, repo: STRING }),
  tool('wipe', { path: STRING }, 'destructive'),
];
const TYPES: Readonly<Record<string, Readonly<Record<string, ParameterType>>>> = {
  read_file: { '/path': 'path' },
  fetch: { '/url': 'url' },
  send: { '/to': 'domain' },
  pay: { '/sum': 'amount' },
  rows: { '/repo': 'identifier' },
  wipe: { '/path': 'path' },
};

async function start(typed: boolean, table?: readonly Row[]): Promise<Rig> {
  const rig = await startRig({
    clock,
    freshnessLimitMs: 86_400_000,
    people: { mia: ['member'], moe: ['member'], petra: ['approver'] },
    servers: { files: { tools: TOOLS } },
    ...(table && { table }),
  });
  if (typed) {
    await rig.commit(
      Object.entries(TYPES).map(([name, parameters]) => {
        const stored = rig.view.get('tool', ORG, `files/${name}`)!;
        const approved = { ...(stored.body['approved'] as JsonObject), parameters };
        return { kind: 'tool', org: ORG, id: `files/${name}`, body: { ...stored.body, approved } };
      }),
    );
  }
  return rig;
}

const grant = (rig: Rig, id: string, over: Partial<Grant>): Promise<number> =>
  rig.commit([
    {
      kind: 'grant',
      org: ORG,
      id,
      body: Grant.parse({
        who: { kind: 'person', id: 'mia' },
        what: { server: 'files', items: ['read_file'] },
        conditions: [],
        approval: 'by_risk',
        justification: 'TICKET-1',
        expiresAt: null,
        state: 'active',
        requestedBy: 'moe',
        requestedAt: clock.now(),
        decidedBy: 'petra',
        decidedAt: clock.now(),
        note: null,
        ...over,
      }),
    },
  ]);

const LIMITS: ReadonlyArray<readonly [string, Partial<Grant>]> = [
  ['path', { conditions: [{ argument: '/path', is: 'path_under', values: ['/data/pub'] }] }],
  [
    'url',
    {
      what: { server: 'files', items: ['fetch'] },
      conditions: [{ argument: '/url', is: 'host_in', values: ['api.example.com', '.cdn.example'] }],
    },
  ],
  [
    'to',
    {
      what: { server: 'files', items: ['send'] },
      conditions: [{ argument: '/to', is: 'host_in', values: ['example.com'] }],
    },
  ],
  [
    'sum',
    { what: { server: 'files', items: ['pay'] }, conditions: [{ argument: '/sum', is: 'at_most', value: 10_000 }] },
  ],
  [
    'rows',
    {
      what: { server: 'files', items: ['rows'] },
      conditions: [
        { argument: '/limit', is: 'at_most', value: 100 },
        { argument: '/repo', is: 'one_of', values: ['org/public'] },
      ],
    },
  ],
];

const MIA = { as: 'mia', scopes: ['notes:read'] };
const reached = (rig: Rig): readonly JsonObject[] =>
  rig
    .sink('files')
    .calls()
    .map(({ message }) => ((message as JsonObject)['params'] as JsonObject)['arguments'] as JsonObject);

/** Inside the limit, however it is spelt; what the server receives stands behind. */
const INSIDE: ReadonlyArray<readonly [string, JsonObject, JsonObject]> = [
  ['read_file', { path: '/data/pub/a' }, { path: '/data/pub/a' }],
  ['read_file', { path: '/data//pub/./x/../a' }, { path: '/data/pub/a' }],
  ['fetch', { url: 'HTTPS://API.Example.com.:443/a' }, { url: 'https://api.example.com/a' }],
  ['fetch', { url: 'https://x.cdn.example/%61' }, { url: 'https://x.cdn.example/a' }],
  ['send', { to: ['Ana@EXAMPLE.com'], text: 'x' }, { to: ['Ana@example.com'], text: 'x' }],
  ['pay', { sum: '100.0' }, { sum: '100' }],
  ['pay', { sum: 99.5 }, { sum: 99.5 }],
  ['rows', { limit: 100, repo: 'org/public' }, { limit: 100, repo: 'org/public' }],
];
/** Outside of it, in every spelling that somebody tried. */
const OUTSIDE: ReadonlyArray<readonly [string, JsonObject]> = [
  ['read_file', { path: '/data/pub/../secret' }],
  ['read_file', { path: '/data/public' }],
  ['read_file', { path: '/data/pub/%2e%2e/secret' }],
  ['read_file', { path: '/data/pub/..\\secret' }],
  ['read_file', { path: '/data/pub/\uFF0E\uFF0E/secret' }],
  ['read_file', { path: '/data/pub/x\u0000.txt' }],
  ['read_file', { path: '~/secret' }],
  ['read_file', {}],
  ['fetch', { url: 'https://api.example.com@evil.org/' }],
  ['fetch', { url: 'https://api.example.com.evil.org/' }],
  ['fetch', { url: 'https://evil.org/?https://api.example.com/' }],
  ['fetch', { url: 'https://evil.org#@api.example.com/' }],
  ['fetch', { url: 'https://api.example.com\\@evil.org/' }],
  ['fetch', { url: 'https://cdn.example/' }],
  ['fetch', { url: 'http://0x7f.1/' }],
  ['fetch', { url: 'file:///etc/passwd' }],
  ['send', { to: ['ana@example.com', 'eve@evil.org'], text: 'x' }],
  ['send', { to: ['eve@evil.org,ana@example.com'], text: 'x' }],
  ['send', { to: ['ana@example.com\r\nBcc: eve@evil.org'], text: 'x' }],
  ['send', { to: ['eve%evil.org@example.com'], text: 'x' }],
  ['send', { to: [], text: 'x' }],
  ['pay', { sum: '100.01' }],
  ['pay', { sum: '1e9' }],
  ['pay', { sum: '1,00' }],
  ['pay', { sum: -1 }],
  ['pay', { sum: 100.005 }],
  ['rows', { limit: 101, repo: 'org/public' }],
  ['rows', { limit: -1, repo: 'org/public' }],
  ['rows', { limit: 1, repo: 'org/private' }],
  ['rows', { limit: 1, repo: 'org/public\u200B' }],
  ['rows', { limit: 1 }],
];

describe('AZ-03: limits of a grant hold on the canonical value', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await start(true);
    for (const [id, over] of LIMITS) await grant(rig, id, over);
  });
  afterAll(() => rig.stop());

  test.each(INSIDE.flatMap((row) => ERAS.map((era) => [era, ...row] as const)))(
    'AZ-03: %s %s %j reaches the server as %j',
    async (era, name, args, want) => {
      const before = reached(rig).length;
      const headers = typeof args['path'] === 'string' && era === 'modern' ? { 'Mcp-Param-Path': args['path'] } : {};
      const answer = await rig.call('files', name, args, { ...MIA, era, headers });
      expect(answer.result?.['isError'] ?? false, answer.text).toBe(false);
      expect(reached(rig).slice(before)).toEqual([want]);
      // The log and the server speak of the same arguments.
      const [entry] = await rig.about(answer.reference);
      expect(entry).toMatchObject({ call: { args: digestOf(want) } });
    },
  );

  test('AZ-03: a mirrored header upstream carries the canonical value', async () => {
    await rig.call(
      'files',
      'read_file',
      { path: '/data/pub/./m' },
      { ...MIA, headers: { 'Mcp-Param-Path': '/data/pub/./m' } },
    );
    expect(rig.sink('files').calls().at(-1)?.headers['mcp-param-path']).toBe('/data/pub/m');
  });

  test.each(OUTSIDE)('AZ-03: %s %j reaches nothing', async (name, args) => {
    const before = rig.sink('files').received.length;
    const answer = await rig.call('files', name, args, { ...MIA, era: 'legacy' });
    expect(refused(answer), answer.text).toBe(true);
    expect(rig.sink('files').received).toHaveLength(before);
  });

  test('AZ-03: what has no canonical form is named by its place, without the value', async () => {
    const { error, text } = await rig.call(
      'files',
      'read_file',
      { path: '/data/pub/%2e%2e/secret' },
      { ...MIA, headers: { 'Mcp-Param-Path': '/data/pub/%2e%2e/secret' } },
    );
    expect(error?.code ?? -32602).toBe(-32602);
    expect(text).toContain('/path has escaped characters; write them as they are');
    expect(text).not.toContain('%2e');
  });

  test('AZ-03: a held call is held, approved and made under one spelling', async () => {
    await grant(rig, 'wipe', { what: { server: 'files', items: ['wipe'] } });
    const held = async (path: string): Promise<number> => {
      await rig.call('files', 'wipe', { path }, MIA);
      return [...rig.view.records('approval', ORG)].length;
    };
    const first = await held('/data/a');
    expect([await held('/data/./a'), await held('/data//a/'), await held('/data/b')]).toEqual([
      first,
      first,
      first + 1,
    ]);
  });
});

const refused = ({ error, result }: Answer): boolean => error !== undefined || result?.['isError'] === true;

describe('AZ-03, the twin: where nobody said what the argument is, its spelling passes the limit', () => {
  const LIKE = `permit (principal == Remit::Person::"mia", action, resource == Remit::Tool::"files/read_file")
    when { context.scopeHeld && context.arguments.strings.hasTag("/path") && context.arguments.strings.getTag("/path") like "/data/pub/*" };`;
  test.each([
    [true, 0],
    [false, 1],
  ])('AZ-03: typed %s: %d calls of the attack arrive', async (typed, arrived) => {
    const rig = await start(typed);
    try {
      await rig.policy('like', LIKE);
      const path = '/data/pub/../secret';
      await rig.call('files', 'read_file', { path }, { ...MIA, headers: { 'Mcp-Param-Path': path } });
      expect(reached(rig)).toEqual(Array.from({ length: arrived }, () => ({ path })));
    } finally {
      await rig.stop();
    }
  });
});

describe('AZ-07: an elevation ends by itself', () => {
  const attack = async (rig: Rig): Promise<readonly JsonObject[]> => {
    await grant(rig, 'jit', { lastsMs: 60_000, expiresAt: clock.now() + 60_000 });
    const call = async (path: string): Promise<Answer> =>
      rig.call('files', 'read_file', { path }, { ...MIA, headers: { 'Mcp-Param-Path': path } });
    await call('/before');
    const { revision } = rig.gateway.snapshot();
    clock.advance(59_999);
    await call('/last');
    clock.advance(1);
    await call('/after');
    // Nobody wrote anything: time alone did it.
    expect(rig.gateway.snapshot().revision).toBe(revision);
    return reached(rig);
  };
  test('AZ-07: the next call after the end reaches nothing, and the tool is gone from the list', async () => {
    const rig = await start(true);
    try {
      expect(await attack(rig)).toEqual([{ path: '/before' }, { path: '/last' }]);
      expect(await rig.names('files', MIA)).toEqual([]);
    } finally {
      await rig.stop();
    }
  });
  test('AZ-07, the twin: with the moment of the decision taken out it goes on', async () => {
    const started = clock.now();
    const table = tableWith({
      'caller-may': (call) => callerMay.decide(call, started),
      'item-is-theirs': (call, facts) => itemIsTheirs.decide(call, { ...(facts as object), now: started }),
    });
    const rig = await start(true, table);
    try {
      expect(await attack(rig)).toContainEqual({ path: '/after' });
    } finally {
      await rig.stop();
    }
  });
  test('AZ-07: not before it begins', async () => {
    const rig = await start(true);
    try {
      await grant(rig, 'later', { startsAt: clock.now() + 10_000, what: { server: 'files', items: ['fetch'] } });
      const url = 'https://a.example/';
      await rig.call('files', 'fetch', { url }, MIA);
      clock.advance(10_000);
      await rig.call('files', 'fetch', { url }, MIA);
      expect(reached(rig)).toEqual([{ url }]);
    } finally {
      await rig.stop();
    }
  });
});

describe('AZ-12: a grant that cannot be read permits nothing, and the others hold', () => {
  test('AZ-12: broken, sweeping and foreign grants are left out and reported', async () => {
    const rig = await start(true);
    try {
      await grant(rig, 'good', { what: { server: 'files', items: ['fetch'] } });
      const broken: JsonObject = { who: { kind: 'person', id: 'mia' }, state: 'active' };
      await rig.commit([{ kind: 'grant', org: ORG, id: 'broken', body: broken }]);
      await grant(rig, 'sweeping', { what: { server: 'files' }, expiresAt: null });
      await grant(rig, 'nowhere', { conditions: [{ argument: '/path', is: 'path_under', values: ['../..'] }] });
      for (const state of ['requested', 'suspended', 'denied', 'cancelled', 'ended'] as const)
        await grant(rig, state, { state, what: { server: 'files', items: ['read_file', 'send', 'pay'] } });
      expect(await rig.names('files', MIA)).toEqual(['fetch']);
      await rig.call('files', 'fetch', { url: 'https://a.example/' }, MIA);
      await rig.call('files', 'pay', { sum: 1 }, MIA);
      expect(reached(rig)).toEqual([{ url: 'https://a.example/' }]);
      expect(rig.gateway.snapshot().problems.get('grant')?.toSorted()).toEqual([
        expect.stringContaining('grant broken:'),
        'grant nowhere: names a folder or host that no argument can be in',
        'grant sweeping: is for a whole server without risk classes and an end',
      ]);
    } finally {
      await rig.stop();
    }
  });
});
