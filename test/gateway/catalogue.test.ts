/**
 * What a node knows of a server's tools, over a real state store and a scripted connection: looks are shared, a reviewer's decision is
 * never written over, and with a bound of 0 a look that began before the question does not answer it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createCatalogue } from '../../src/gateway/catalogue.ts';
import type { Catalogue, Drift } from '../../src/gateway/catalogue.ts';
import type { Snapshot } from '../../src/gateway/snapshot.ts';
import { ToolRecord } from '../../src/integrity/records.ts';
import { approve, withdraw } from '../../src/integrity/review.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { StateStore, StoredRecord } from '../../src/store/state.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { UpstreamFault } from '../../src/upstream/connection.ts';
import type { Connection, UpstreamReply } from '../../src/upstream/connection.ts';
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
      { server: 'notes', tool: 'read_note', what: 'new' },
      { server: 'notes', tool: 'write_note', what: 'new' },
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
      { server: 'notes', tool: 'write_note', what: 'changed' },
      { server: 'notes', tool: 'write_note', what: 'gone' },
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

test('one more tool of many is one more record, not all of them again', async () => {
  const many = Array.from({ length: 40 }, (_, i) => textTool(`tool_${i}`, 'read', 's').definition);
  await looked(many);
  const head = await state.head();
  await looked([...many, READ.definition]);
  const changes = await state.changesAfter(head, 1_000);
  expect(changes.map(({ id }) => id)).toEqual(['notes/read_note']);
});
