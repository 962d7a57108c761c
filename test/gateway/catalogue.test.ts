/**
 * What a node knows of a server's tools, over a real state store and a scripted connection: looks are shared, a reviewer's decision is
 * never written over, and with a bound of 0 a look that began before the question does not answer it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createCatalogue, itemCounts } from '../../src/gateway/catalogue.ts';
import type { Catalogue, Drift, Sighting } from '../../src/gateway/catalogue.ts';
import type { Snapshot } from '../../src/gateway/snapshot.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { ToolRecord } from '../../src/integrity/records.ts';
import { approve, withdraw } from '../../src/integrity/review.ts';
import { toolStanding } from '../../src/integrity/standing.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { StateStore, StoredRecord } from '../../src/store/state.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { UpstreamFault } from '../../src/upstream/connection.ts';
import type { Connection, ServerChange, UpstreamReply } from '../../src/upstream/connection.ts';
import type { Lane } from '../../src/upstream/target.ts';
import { textTool } from '../support/rig.ts';
import { NOW, ORG, READ, WRITE, digestOfTool, pictureOf, server } from './state.ts';

const clock = manualClock(NOW);
const NEVER = new AbortController().signal;

let folder: string;
let state: StateStore;
let snapshot: Snapshot;
let catalogue: Catalogue;
let drifts: Drift[];
let faults: string[];
/** Looks that wait for their answer, oldest first. */
let asked: Array<(tools: readonly JsonObject[] | Error) => void>;
let changed: () => void;
let drop: () => void;

async function reload(): Promise<void> {
  const { records, revision } = await state.load();
  snapshot = pictureOf([server('notes'), ...records], { revision });
}
const notes = () => snapshot.servers.get('notes')!;
const recordOf = async (name: string): Promise<StoredRecord | undefined> =>
  (await state.load()).records.find(({ id }) => id === `notes/${name}`);
const DEFINITIONS = [READ.definition, WRITE.definition];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'remit-catalogue-'));
  state = await openSqliteState(join(folder, 'state.db'), { clock });
});
beforeEach(async () => {
  clock.set(NOW);
  const { records } = await state.load();
  const writes = records.map(({ kind, org, id }) => ({ kind, org, id, body: null }));
  if (writes.length > 0) await state.commit({ actor: 'test', reason: 'a new test', writes });
  await reload();
  [drifts, faults, asked] = [[], [], []];
  let end: (ending: { reason: string }) => void;
  const closed = new Promise<{ reason: string }>((resolve) => (end = resolve));
  drop = () => end({ reason: 'test' });
  const connection: Connection = {
    identity: {
      era: 'modern',
      protocolVersion: '2026-07-28',
      serverInfo: {},
      instructions: null,
      capabilities: { tools: {} },
    },
    request: () =>
      new Promise<UpstreamReply>((resolve, reject) => {
        asked.push((tools) =>
          tools instanceof Error ? reject(tools) : resolve({ kind: 'result', result: { tools } }),
        );
      }),
    watch: () => {},
    onChange: (listener) => {
      changed = () => listener({ what: 'tools' });
      return () => undefined;
    },
    closed,
    close: () => Promise.resolve(),
  };
  catalogue = createCatalogue({
    org: ORG,
    clock,
    snapshot: () => snapshot,
    state,
    connect: () => Promise.resolve(connection),
    refreshTimeoutMs: 5_000,
    onDrift: (found) => void drifts.push(...found),
    onSuspended: () => undefined,
    onFault: (id, error) => void faults.push(`${id}: ${(error as { code?: string }).code ?? String(error)}`),
  });
});
afterAll(async () => {
  await state.close();
  rmSync(folder, { recursive: true });
});

/** Answers the nth look (from 0) once it was asked. */
async function reply(nth: number, tools: readonly JsonObject[] | Error): Promise<void> {
  await turns(() => asked.length > nth);
  asked[nth]!(tools);
}
async function turns(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i++) await new Promise((resolve) => setImmediate(resolve));
  expect(holds()).toBe(true);
}
async function looked(tools: readonly JsonObject[]): Promise<void> {
  const look = catalogue.refresh(notes());
  await reply(asked.length, tools);
  await look;
  await reload();
}
async function review(name: string): Promise<void> {
  const { body, revision } = (await recordOf(name))!;
  const record = ToolRecord.parse(body);
  const decided = approve(record, {
    risk: 'write',
    scope: 'notes:write',
    justification: 'test',
    by: 'sven',
    at: NOW,
    expectedDigest: record.observed!.digest,
  });
  if (!decided.ok) throw new Error(decided.error.code);
  await state.commit({
    actor: 'sven',
    reason: 'review',
    writes: [{ kind: 'tool', org: ORG, id: `notes/${name}`, body: decided.value, expectedRevision: revision }],
  });
}

describe('a look', () => {
  test('writes what is new once, and says so; the same again writes nothing', async () => {
    await looked(DEFINITIONS);
    expect(drifts).toEqual([
      { server: 'notes', tool: 'read_note', what: 'new', approved: null, seen: digestOfTool(READ) },
      { server: 'notes', tool: 'write_note', what: 'new', approved: null, seen: digestOfTool(WRITE) },
    ]);
    expect((await recordOf('read_note'))?.body).toMatchObject({
      approved: null,
      observed: { digest: digestOfTool(READ), seenAt: NOW },
    });
    const head = await state.head();
    const { version } = catalogue;
    await looked(DEFINITIONS);
    expect([await state.head(), catalogue.version]).toEqual([head, version]);
  });

  test('keeps the review of a tool that changed or went, beside what is seen now', async () => {
    await looked(DEFINITIONS);
    await review('write_note');
    await reload();
    const other = { ...WRITE.definition, description: 'Changed.' };
    await looked([READ.definition, other]);
    expect((await recordOf('write_note'))?.body).toMatchObject({
      approved: { digest: digestOfTool(WRITE) },
      observed: { definition: other },
    });
    await looked([READ.definition]);
    expect((await recordOf('write_note'))?.body).toMatchObject({
      approved: { digest: digestOfTool(WRITE) },
      observed: null,
    });
    expect(drifts.slice(2)).toEqual([
      {
        server: 'notes',
        tool: 'write_note',
        what: 'changed',
        approved: digestOfTool(WRITE),
        seen: definitionDigest(other),
      },
      { server: 'notes', tool: 'write_note', what: 'gone', approved: digestOfTool(WRITE), seen: null },
    ]);
  });

  test('that meets a reviewer deciding at the same moment loses, not the review; the next look writes', async () => {
    await looked(DEFINITIONS);
    // This node still has the picture before the review when the server shows something else.
    await review('write_note');
    const look = catalogue.refresh(notes());
    await reply(1, [READ.definition, { ...WRITE.definition, description: 'Changed.' }]);
    const sighting = await look;
    expect((await recordOf('write_note'))?.body).toMatchObject({
      approved: { by: 'sven' },
      observed: { digest: digestOfTool(WRITE) },
    });
    expect(faults).toEqual(['notes: store_conflict']);
    // The sighting rules this node all the same: the changed tool is uncallable here.
    expect(sighting.tools.get('write_note')).not.toBe(digestOfTool(WRITE));
    await reload();
    await looked([READ.definition, { ...WRITE.definition, description: 'Changed.' }]);
    expect((await recordOf('write_note'))?.body).toMatchObject({
      approved: { by: 'sven' },
      observed: { definition: { description: 'Changed.' } },
    });
  });

  test('that meets a reviewer withdrawing does not bring the approval back', async () => {
    await looked(DEFINITIONS);
    await review('write_note');
    await reload();
    const { body, revision } = (await recordOf('write_note'))!;
    await state.commit({
      actor: 'sven',
      reason: 'withdrawn',
      writes: [
        {
          kind: 'tool',
          org: ORG,
          id: 'notes/write_note',
          body: withdraw(ToolRecord.parse(body)),
          expectedRevision: revision,
        },
      ],
    });
    const look = catalogue.refresh(notes());
    await reply(asked.length, [READ.definition]);
    await look;
    expect((await recordOf('write_note'))?.body['approved']).toBeNull();
  });

  test('leaves out a definition that cannot be pinned, and keeps the others', async () => {
    await looked([READ.definition, { name: 'two words', inputSchema: {} }, { ...WRITE.definition, name: 'x\u200By' }]);
    expect([...catalogue.seen('notes')!.tools.keys()]).toEqual(['read_note']);
    expect(faults).toEqual(['notes: definition_name', 'notes: definition_name']);
  });

  test('that fails leaves the last sighting as it was', async () => {
    await looked(DEFINITIONS);
    const before = catalogue.seen('notes');
    const look = catalogue.refresh(notes());
    await reply(1, new UpstreamFault('upstream_timeout', 'slow', { dispatched: 'unknown' }));
    await expect(look).rejects.toMatchObject({ code: 'upstream_timeout' });
    expect(catalogue.seen('notes')).toBe(before);
  });
});

describe('confirm', () => {
  test('takes the last sighting within the bound, and looks beyond it', async () => {
    await looked(DEFINITIONS);
    const first = catalogue.seen('notes')!;
    clock.advance(5_000);
    expect(await catalogue.confirm(notes(), 5_000, NEVER)).toBe(first);
    clock.advance(1);
    const later = catalogue.confirm(notes(), 5_000, NEVER);
    await reply(1, DEFINITIONS);
    expect((await later).at).toBe(NOW + 5_001);
  });

  test('is one look for all who wait at once', async () => {
    const all = Promise.all([1, 2, 3, 4].map(() => catalogue.confirm(notes(), 1_000, NEVER)));
    await reply(0, DEFINITIONS);
    const sightings = await all;
    expect(new Set(sightings).size).toBe(1);
    expect(asked).toHaveLength(1);
  });

  test('with a bound of 0 looks every time, even in the same millisecond', async () => {
    await looked(DEFINITIONS);
    for (const nth of [1, 2]) {
      const confirmed = catalogue.confirm(notes(), 0, NEVER);
      await reply(nth, DEFINITIONS);
      await confirmed;
    }
    expect(asked).toHaveLength(3);
  });

  test('with a bound of 0 is not answered by a look that began earlier: what that one saw may be older than the question', async () => {
    const earlier = catalogue.refresh(notes());
    await turns(() => asked.length === 1);
    let answered = false;
    const confirmed = catalogue.confirm(notes(), 0, NEVER).finally(() => (answered = true));
    asked[0]!(DEFINITIONS);
    await earlier;
    await turns(() => asked.length === 2);
    expect(answered).toBe(false);
    const poisoned = { ...WRITE.definition, description: 'Changed.' };
    asked[1]!([READ.definition, poisoned]);
    expect((await confirmed).tools.get('write_note')).not.toBe(digestOfTool(WRITE));
  });

  test('of one who has left already ends at once, and that its look fails afterwards ends nothing else', async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', note);
    try {
      await expect(catalogue.confirm(notes(), 0, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
      await reply(0, new UpstreamFault('upstream_closed', 'it died', { dispatched: 'no' }));
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
    }
  });

  test('ends for the one who is cancelled, and the look goes on for the others', async () => {
    const controller = new AbortController();
    const mine = catalogue.confirm(notes(), 1_000, controller.signal);
    const theirs = catalogue.confirm(notes(), 1_000, NEVER);
    await turns(() => asked.length === 1);
    controller.abort(new Error('lock:1'));
    await expect(mine).rejects.toThrow('lock:1');
    asked[0]!(DEFINITIONS);
    expect((await theirs).tools.size).toBe(2);
    await expect(catalogue.confirm(notes(), 0, controller.signal)).rejects.toThrow('lock:1');
  });
});

describe('the connection', () => {
  test('that says its list changed is looked at again, after a look under way has ended', async () => {
    const first = catalogue.refresh(notes());
    await turns(() => asked.length === 1);
    changed();
    expect(asked).toHaveLength(1);
    asked[0]!(DEFINITIONS);
    await first;
    await reply(1, [READ.definition]);
    await turns(() => catalogue.seen('notes')?.tools.size === 1);
  });

  test('that ends takes its sighting along', async () => {
    await looked(DEFINITIONS);
    const { version } = catalogue;
    drop();
    await turns(() => catalogue.seen('notes') === undefined);
    expect(catalogue.version).toBe(version + 1);
  });
});

test('C3: a tool whose mirrored headers cannot be is left out and named; the others stay', async () => {
  const declared = (name: string, properties: JsonObject): JsonObject => ({
    ...READ.definition,
    name,
    inputSchema: { type: 'object', properties },
  });
  faults.length = 0;
  await looked([
    READ.definition,
    declared('good', { a: { type: 'string', 'x-mcp-header': 'Region' } }),
    declared('spaced', { a: { type: 'string', 'x-mcp-header': 'bad name' } }),
    declared('numbers', { a: { type: 'number', 'x-mcp-header': 'Amount' } }),
    declared('twice', { a: { type: 'string', 'x-mcp-header': 'K' }, b: { type: 'string', 'x-mcp-header': 'k' } }),
    declared('below', { a: { type: 'array', items: { type: 'string', 'x-mcp-header': 'K' } } }),
  ]);
  expect([...catalogue.seen('notes')!.tools.keys()]).toEqual(['read_note', 'good']);
  expect(faults).toEqual(Array.from({ length: 4 }, () => 'notes: catalogue_param_header'));
  expect(await recordOf('spaced')).toBeUndefined();
});

test('one more tool of many is one more record, not all of them again', async () => {
  const many = Array.from({ length: 40 }, (_, i) => textTool(`tool_${i}`, 'read', 's').definition);
  await looked(many);
  const head = await state.head();
  await looked([...many, READ.definition]);
  const changes = await state.changesAfter(head, 1_000);
  expect(changes.map(({ id }) => id)).toEqual(['notes/read_note']);
});

/** A server with everything, answered at once from what it `has`; per lane what that lane is shown. */
describe('items of every kind', () => {
  const PROMPT: JsonObject = { name: 'greeting', arguments: [{ name: 'who', required: true }] };
  const TEMPLATE: JsonObject = { uriTemplate: 'docs://{+path}', name: 'docs' };
  const resource = (uri: string, more: JsonObject = {}): JsonObject => ({ uri, name: uri, ...more });
  interface Has {
    tools: readonly JsonObject[];
    prompts: readonly JsonObject[] | UpstreamReply | Error;
    resources: readonly JsonObject[];
    templates: readonly JsonObject[];
    instructions: string | null;
  }
  let has: Has;
  let laneHas: Partial<Has>;
  let opened: Array<{
    lane: Lane | undefined;
    change: (change: ServerChange) => void;
    drop: () => void;
    watching: string[];
  }>;
  let requests: string[];
  let all: Catalogue;

  const LANE: Lane = { key: 'dana', capabilities: {} };
  const MEMBERS = {
    'tools/list': ['tools', 'tools'],
    'prompts/list': ['prompts', 'prompts'],
    'resources/list': ['resources', 'resources'],
    'resources/templates/list': ['templates', 'resourceTemplates'],
  } as const;

  function open(lane: Lane | undefined): Connection {
    const shown = (): Has => ({ ...has, ...(lane && laneHas) });
    let end: (ending: { reason: string }) => void = () => undefined;
    const closed = new Promise<{ reason: string }>((resolve) => (end = resolve));
    const line = {
      lane,
      change: (() => undefined) as (change: ServerChange) => void,
      drop: () => end({ reason: 'test' }),
      watching: [] as string[],
    };
    opened.push(line);
    return {
      identity: {
        era: 'legacy',
        protocolVersion: '2025-11-25',
        serverInfo: { name: 'notes', version: '1' },
        instructions: shown().instructions,
        capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
      },
      request: ({ method }) => {
        requests.push(method);
        const [from, member] = MEMBERS[method as keyof typeof MEMBERS];
        const items = shown()[from];
        if (items instanceof Error) return Promise.reject(items);
        return Promise.resolve('kind' in items ? items : { kind: 'result', result: { [member]: items } });
      },
      watch: (uris) => void (line.watching = [...uris]),
      onChange: (listener) => {
        line.change = listener;
        return () => undefined;
      },
      closed,
      close: () => Promise.resolve(),
    };
  }

  beforeEach(() => {
    has = {
      tools: DEFINITIONS,
      prompts: [PROMPT],
      resources: [resource('docs://a'), resource('note:1')],
      templates: [TEMPLATE],
      instructions: 'Be kind.',
    };
    [laneHas, opened, requests] = [{}, [], []];
    const live = new Map<string, Connection>();
    all = createCatalogue({
      org: ORG,
      clock,
      snapshot: () => snapshot,
      state,
      connect: (_server, lane) => {
        const key = lane?.key ?? '';
        const known = live.get(key) ?? open(lane);
        if (!live.has(key)) void known.closed.then(() => live.delete(key));
        live.set(key, known);
        return Promise.resolve(known);
      },
      refreshTimeoutMs: 5_000,
      onDrift: (found) => void drifts.push(...found),
      onSuspended: () => undefined,
      onFault: (id, error) => void faults.push(`${id}: ${(error as { code?: string }).code ?? String(error)}`),
    });
  });
  const lookAgain = async (): Promise<void> => {
    await all.refresh(notes());
    await reload();
  };
  const keys = (): string[] => [...notes().tools.keys()].toSorted();

  test('one look reads tools, prompts, resources, templates and instructions', async () => {
    await lookAgain();
    expect(requests.toSorted()).toEqual(Object.keys(MEMBERS).toSorted());
    expect([...all.seen('notes')!.tools.keys()]).toEqual([
      'read_note',
      'write_note',
      'prompt greeting',
      'resource docs://a',
      'resource note:1',
      'template docs://{+path}',
      'server instructions',
    ]);
    expect(itemCounts(all.seen('notes')!)).toEqual({ tools: 2, prompts: 1, resources: 2, templates: 1 });
    expect(faults).toEqual([]);
  });

  test('TD-03: a new prompt, template or text of the server is a record that waits for its review', async () => {
    await lookAgain();
    for (const key of ['prompt greeting', 'template docs://{+path}', 'server instructions', 'resource note:1']) {
      const entry = notes().tools.get(key)!;
      expect([key, toolStanding(entry.record), entry.facts]).toEqual([key, 'unreviewed', null]);
    }
    expect(drifts.map(({ tool, what }) => `${what} ${tool}`)).toContain('new prompt greeting');
  });

  test('a listed resource that a template of the server covers gets no record, approved or not; the list has it', async () => {
    await lookAgain();
    expect(keys()).toEqual([
      'prompt greeting',
      'read_note',
      'resource note:1',
      'server instructions',
      'template docs://{+path}',
      'write_note',
    ]);
    expect(all.seen('notes')!.resources.map(({ uri }) => uri)).toEqual(['docs://a', 'note:1']);
  });

  test('at most 200 resources have records, and those that nobody approved leave none behind', async () => {
    has = { ...has, templates: [], resources: Array.from({ length: 230 }, (_, i) => resource(`note:${i}`)) };
    await lookAgain();
    expect(keys().filter((key) => key.startsWith('resource '))).toHaveLength(200);
    expect(all.seen('notes')!.resources).toHaveLength(230);
    has = { ...has, resources: [resource('note:229')] };
    await lookAgain();
    // The record of the one that is left is made with the next look: there was no room in this one.
    await lookAgain();
    expect(keys().filter((key) => key.startsWith('resource '))).toEqual(['resource note:229']);
  });

  test('RL-04: others have their turn while thousands of odd resources are looked at', async () => {
    const description = 'a\u200b'.repeat(4_000);
    has = { ...has, resources: Array.from({ length: 500 }, (_, i) => resource(`odd:${i}`, { description })) };
    const began = performance.now();
    let [last, longest, over] = [began, 0, false];
    const turn = (): void => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (!over) setImmediate(turn);
    };
    setImmediate(turn);
    expect((await all.refresh(notes())).resources).toEqual([]);
    over = true;
    // Looked at in one go, it is nearly all of the time; in slices, a hundredth.
    expect(longest).toBeLessThan((performance.now() - began) / 2);
  });

  test('a resource that hides something from a reader is in no list', async () => {
    has = { ...has, resources: [resource('docs://a', { description: 'Hi\u202E' }), resource('docs://b')] };
    await lookAgain();
    expect(all.seen('notes')!.resources.map(({ uri }) => uri)).toEqual(['docs://b']);
  });

  test('a prompt list that is not MCP takes the prompts away and nothing else, and says so', async () => {
    await lookAgain();
    const head = await state.head();
    has = { ...has, prompts: { kind: 'result', result: { prompts: 'none' } } };
    await lookAgain();
    expect(faults).toEqual(['notes: upstream_protocol']);
    expect(itemCounts(all.seen('notes')!)).toEqual({ tools: 2, prompts: 0, resources: 2, templates: 1 });
    // It is not known to be gone: the record stays as it was.
    expect(await state.head()).toBe(head);
  });

  test('a prompt list that times out ends the look', async () => {
    has = { ...has, prompts: new UpstreamFault('upstream_timeout', 'slow', { dispatched: 'unknown' }) };
    await expect(all.refresh(notes())).rejects.toMatchObject({ code: 'upstream_timeout' });
    expect(all.seen('notes')).toBeUndefined();
  });

  test('a list that is advertised and unknown is empty and reported once per connection', async () => {
    has = { ...has, prompts: { kind: 'error', error: { code: -32601, message: 'no' } } };
    await lookAgain();
    await lookAgain();
    expect(faults).toEqual(['notes: catalogue_unknown_method']);
  });

  test.each(['tools', 'prompts', 'resources'] as const)('a change of the %s is looked at again', async (what) => {
    await lookAgain();
    has = { ...has, tools: [], prompts: [], resources: [] };
    opened[0]!.change({ what });
    await turns(() => all.seen('notes')!.tools.size === 2);
  });

  test('a change is told once, and neither the first sighting nor the same again is one', async () => {
    const told: string[] = [];
    const stop = all.onChanged((id) => told.push(id));
    await lookAgain();
    await lookAgain();
    expect(told).toEqual([]);
    has = { ...has, prompts: [] };
    await lookAgain();
    // Nor is a connection that ends, when the next one shows the same.
    opened[0]!.drop();
    await turns(() => all.seen('notes') === undefined);
    await lookAgain();
    expect(told).toEqual(['notes']);
    has = { ...has, resources: [resource('docs://a', { size: 8 }), resource('note:1')] };
    await lookAgain();
    expect(told).toEqual(['notes', 'notes']);
    stop();
    has = { ...has, resources: [] };
    await lookAgain();
    expect(told).toEqual(['notes', 'notes']);
  });

  describe('on a lane', () => {
    const confirmed = (maxAgeMs = 1_000): Promise<Sighting> => all.confirm(notes(), maxAgeMs, NEVER, LANE);

    test('TD-02: what a server shows one caller only is seen there, refuses there, and is told to no reviewer', async () => {
      await lookAgain();
      const head = await state.head();
      const { version } = all;
      laneHas = { tools: [READ.definition, { ...WRITE.definition, description: 'Poisoned.' }] };
      const sighting = await confirmed();
      expect(toolStanding(notes().tools.get('write_note')!.record, sighting.tools.get('write_note'))).toBe(
        'unreviewed',
      );
      expect(sighting.tools.get('write_note')).not.toBe(digestOfTool(WRITE));
      expect(sighting.tools.get('read_note')).toBe(digestOfTool(READ));
      expect(all.seen('notes')!.tools.get('write_note')).toBe(digestOfTool(WRITE));
      expect(all.seen('notes', LANE)).toBe(sighting);
      expect([await state.head(), all.version, faults]).toEqual([head, version, ['notes: catalogue_lane_differs']]);
    });

    test('TD-02: twin: a look on the shared connection does not see it', async () => {
      await lookAgain();
      laneHas = { tools: [READ.definition, { ...WRITE.definition, description: 'Poisoned.' }] };
      expect((await all.confirm(notes(), 0, NEVER)).tools.get('write_note')).toBe(digestOfTool(WRITE));
    });

    test('the same bounds hold, and one look serves all who wait', async () => {
      const [one, two] = await Promise.all([confirmed(), confirmed()]);
      expect(two).toBe(one);
      clock.advance(1_000);
      expect(await confirmed()).toBe(one);
      clock.advance(1);
      expect((await confirmed()).at).toBe(NOW + 1_001);
      const before = requests.length;
      await confirmed(0);
      expect(requests.length).toBe(before + 4);
    });

    test('a change that the lane hears of is a doubt about the lane only', async () => {
      await lookAgain();
      await confirmed();
      const shared = all.seen('notes');
      opened[1]!.change({ what: 'tools' });
      expect(all.seen('notes', LANE)!.at).toBe(Number.NEGATIVE_INFINITY);
      expect(all.seen('notes')).toBe(shared);
    });

    test('its sighting ends with its connection, and with the server', async () => {
      await lookAgain();
      await confirmed();
      opened[1]!.drop();
      await turns(() => all.seen('notes', LANE) === undefined);
      expect(all.seen('notes')).toBeDefined();
      await confirmed();
      all.forget('notes');
      expect([all.seen('notes'), all.seen('notes', LANE)]).toEqual([undefined, undefined]);
    });
  });

  describe('for lists', () => {
    const listed = (): Promise<Sighting> => all.forLists(notes(), NEVER);

    test('the last sighting serves at once for 30 s, then it serves while a look goes on behind it', async () => {
      await lookAgain();
      const first = all.seen('notes')!;
      const before = requests.length;
      clock.advance(30_000);
      expect(await listed()).toBe(first);
      expect(requests.length).toBe(before);
      clock.advance(1);
      expect(await Promise.all([listed(), listed()])).toEqual([first, first]);
      await turns(() => all.seen('notes')!.at === NOW + 30_001);
      expect(requests.length).toBe(before + 4);
    });

    test('while looks fail the last sighting serves for 5 min and not longer', async () => {
      await lookAgain();
      const first = all.seen('notes')!;
      const { tools } = has;
      has = { ...has, prompts: new UpstreamFault('upstream_timeout', 'slow', { dispatched: 'unknown' }) };
      clock.advance(300_000);
      expect(await listed()).toBe(first);
      await turns(() => faults.includes('notes: upstream_timeout'));
      clock.advance(1);
      await expect(listed()).rejects.toMatchObject({ code: 'upstream_timeout' });
      has = { ...has, tools, prompts: [PROMPT] };
      expect((await listed()).at).toBe(NOW + 300_001);
    });

    test('beyond 5 min, after a doubt, and without a sighting, they wait', async () => {
      expect((await listed()).at).toBe(NOW);
      clock.advance(300_001);
      expect((await listed()).at).toBe(NOW + 300_001);
      has = { ...has, tools: [] };
      opened[0]!.change({ what: 'tools' });
      expect((await listed()).tools.has('read_note')).toBe(false);
    });
  });

  describe('watched resources', () => {
    let heard: string[];
    beforeEach(() => {
      heard = [];
      all.onResource((id, uri) => heard.push(`${id} ${uri}`));
    });

    test('are passed on to the connection there is, and to the next one, and reported after the gap', async () => {
      await lookAgain();
      all.watch('notes', new Set(['docs://a']));
      expect(opened[0]!.watching).toEqual(['docs://a']);
      opened[0]!.change({ what: 'resource', uri: 'docs://a' });
      opened[0]!.change({ what: 'resource', uri: 'docs://other' });
      expect(heard).toEqual(['notes docs://a']);
      opened[0]!.drop();
      await turns(() => opened.length === 2 && heard.length === 2);
      expect(opened[1]!.watching).toEqual(['docs://a']);
      expect(heard).toEqual(['notes docs://a', 'notes docs://a']);
    });

    test('open a connection where there is none, and not to a server out of service', async () => {
      all.watch('notes', new Set(['docs://a']));
      await turns(() => opened[0]?.watching[0] === 'docs://a');
      all.watch('notes', new Set());
      expect(opened[0]!.watching).toEqual([]);
      snapshot = pictureOf([server('notes', { state: 'suspended' })]);
      opened[0]!.drop();
      await turns(() => all.seen('notes') === undefined);
      all.watch('notes', new Set(['docs://a']));
      await new Promise((resolve) => setImmediate(resolve));
      expect(opened).toHaveLength(1);
    });
  });
});
