/**
 * One step or nothing: whatever fails, and whenever, the state is that of before or that of the whole plan. Two who apply at once: one wins.
 * The oracle is the store: its head and every record in it.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { startAdmin, type AdminListener } from '../../../src/admin/server.ts';
import { buildSnapshot, type Snapshot } from '../../../src/gateway/snapshot.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { followState } from '../../../src/store/follower.ts';
import type { CommitRequest, Follower, StateStore } from '../../../src/store/state.ts';
import { StoreFault } from '../../../src/store/state.ts';
import { startPlane, type Plane } from '../plane.ts';
import { agent, applied, codeOf, everything, group, plan, policy, server, type Sent } from './files.ts';

let plane: Plane;
let ctx: AdminContext;
/** What the test puts in the way of a commit. */
let between: ((request: CommitRequest, commit: StateStore['commit']) => ReturnType<StateStore['commit']>) | null = null;
let failRecords = false;
let commits = 0;

beforeAll(async () => {
  plane = await startPlane({
    wrap: (real) => {
      ctx = {
        ...real,
        state: {
          ...real.state,
          commit: (request) => {
            commits++;
            return between ? between(request, real.state.commit) : real.state.commit(request);
          },
        },
        audit: {
          ...real.audit,
          log: {
            ...real.audit.log,
            record: (entry) => (failRecords ? Promise.reject(new Error('disk full')) : real.audit.log.record(entry)),
          },
        },
      };
      return ctx;
    },
  });
});
afterAll(() => plane.close());
beforeEach(() => {
  between = null;
  failRecords = false;
  commits = 0;
});

const files = (name: string): Sent[] => [
  group(`${name}-g`),
  agent(plane, `${name}-a`),
  server(`${name}-s`),
  policy(`${name}.p`),
  group(`${name}-h`, ['developer']),
];
const apply = async (who: string, resources: readonly Sent[], more: object = {}, from = plane.url) => {
  const planned = await at(from, who, '/apply/plan', { resources, ...more });
  return () =>
    at(from, who, '/apply', {
      resources,
      ...more,
      digest: planned.body['digest'],
      revision: planned.body['revision'],
      reason: 'x',
    });
};
async function at(url: string, who: string, path: string, body: object) {
  const response = await fetch(`${url}/api/v1${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${plane.tokenOf(who, { aud: `${url}/api/v1` })}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    body: (await response.json()) as { error?: Record<string, unknown> } & Record<string, unknown>,
    headers: response.headers,
    text: '',
  };
}

describe('one step or nothing', () => {
  test('a plan commits nothing, an apply commits once, whatever it holds', async () => {
    await plan(plane, 'ada', files('once'));
    expect(commits).toBe(0);
    expect((await applied(plane, 'ada', files('once'), { set: 'once' })).status).toBe(200);
    expect(commits).toBe(1);
    expect((await applied(plane, 'ada', files('once'), { set: 'once' })).status).toBe(200);
    expect(commits).toBe(1);
  });

  test.each([0, 1, 2, 3, 4])('a resource that is refused at place %i leaves nothing of the others', async (place) => {
    const before = await everything(plane);
    const resources = files(`bad-${place}`).toSpliced(place, 0, server('refused', { owner: '  ' }));
    const planned = await plan(plane, 'ada', resources);
    expect(planned.body['digest']).toBe(null);
    const reply = await plane.as('ada', 'POST', '/apply', {
      resources,
      digest: `sha256:${'1'.repeat(64)}`,
      reason: 'x',
    });
    expect([codeOf(reply), await everything(plane), commits]).toEqual([[422, 'apply_refused'], before, 0]);
  });

  test.each([0, 1, 2, 3, 4, 5])(
    'a record that moved under write %i of the commit leaves nothing of it',
    async (place) => {
      const before = await everything(plane);
      // Somebody else was quicker between our look and our commit; the store alone can know.
      between = (request, commit) =>
        commit({
          ...request,
          writes: request.writes.map((write, index) =>
            index === place ? { ...write, expectedRevision: 99_999 } : write,
          ),
        });
      const reply = await applied(plane, 'ada', files(`moved-${place}`), { set: `moved-${place}` });
      expect([codeOf(reply), await everything(plane)]).toEqual([[409, 'conflict'], before]);
    },
  );

  test('a store that fails before its commit leaves nothing, and says that it is not known', async () => {
    const before = await everything(plane);
    between = () => Promise.reject(new StoreFault('store_unavailable', 'gone'));
    const reply = await applied(plane, 'ada', files('down'));
    expect([codeOf(reply), await everything(plane)]).toEqual([[503, 'store_unavailable'], before]);
  });

  test('a process that dies behind its commit leaves all of it, in the history with person and reason', async () => {
    const head = await plane.state.head();
    failRecords = true;
    const reply = await applied(plane, 'ada', files('died'));
    expect([codeOf(reply), reply.body.error?.['revision']]).toEqual([[503, 'record_missing'], head + 1]);
    for (const { kind, id } of files('died'))
      expect(
        (await plane.state.history(kind, 'default', id)).map(({ revision, actor, reason }) => [
          revision,
          actor,
          reason,
        ]),
      ).toEqual([[head + 1, 'ada', 'a test']]);
  });

  test('another digest than the plan’s commits nothing; the twin with the plan’s own does', async () => {
    const resources = files('digest');
    const planned = await plan(plane, 'ada', resources);
    const other = await plan(plane, 'ada', [...resources, group('one-more')]);
    const before = await everything(plane);
    const forged = await plane.as('ada', 'POST', '/apply', { resources, digest: other.body['digest'], reason: 'x' });
    expect([codeOf(forged), await everything(plane)]).toEqual([[409, 'apply_stale'], before]);
    const honest = await plane.as('ada', 'POST', '/apply', { resources, digest: planned.body['digest'], reason: 'x' });
    expect(honest.status).toBe(200);
  });

  test('a plan is stale once a record of it was touched, also one that it leaves alone', async () => {
    const resources = files('stale');
    await applied(plane, 'ada', resources);
    const more = [...resources, group('stale-more')];
    const later = await apply('ada', more);
    const etag = (await plane.as('omar', 'GET', '/servers/stale-s')).headers.get('etag')!;
    const changed = server('stale-s', { purpose: 'another' }).spec;
    expect(
      (await plane.as('omar', 'PUT', '/servers/stale-s', { reason: 'x', server: changed }, { 'if-match': etag }))
        .status,
    ).toBe(200);
    const before = await everything(plane);
    const reply = await later();
    expect([codeOf(reply), await everything(plane)]).toEqual([[409, 'apply_stale'], before]);
    expect(reply.body.error?.['message']).toContain('server/stale-s');
  });
});

describe('two who apply at once', () => {
  /** A second node: its own listener and its own copy of the records, which it is slow to bring up to date. */
  let other: AdminListener;
  let follower: Follower;
  beforeAll(async () => {
    let snapshot: Snapshot | null = null;
    follower = await followState(ctx.state, {
      clock: systemClock,
      pollMs: 60_000,
      apply: ({ revision, records, changed }) => {
        snapshot = buildSnapshot({
          org: 'default',
          revision,
          at: systemClock.now(),
          records: (kind) => records.list(kind, 'default'),
          previous: snapshot,
          changed: new Set(changed.map(({ kind }) => kind)),
        });
      },
    });
    other = await startAdmin({
      ...ctx,
      node: 'node-2',
      follower,
      snapshot: () => snapshot!,
      facts: { ...ctx.facts, freshnessLimitMs: 600_000 },
    });
  });
  afterAll(async () => {
    await other.close();
    await follower.stop();
  });

  const race = async (name: string) => {
    await follower.advanceTo(await plane.state.head());
    const mine = [...files(name), server(`${name}-both`, { purpose: 'mine' })];
    const theirs = [server(`${name}-both`, { purpose: 'theirs' }), group(`${name}-theirs`)];
    const [first, second] = [await apply('ada', mine), await apply('abel', theirs, {}, other.url)];
    return Promise.all([first(), second()]);
  };

  test('on two nodes exactly one wins, and of the other nothing is there', async () => {
    for (let round = 0; round < 8; round++) {
      const replies = await race(`race-${round}`);
      expect(replies.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 409]);
      expect(['conflict', 'apply_stale']).toContain(replies.find(({ status }) => status === 409)?.body.error?.['code']);
      const { records } = await plane.state.load();
      const there = (kind: string, id: string) => records.some((record) => record.kind === kind && record.id === id);
      const mine = files(`race-${round}`).map(({ kind, id }) => there(kind, id));
      expect(new Set([...mine, !there('group', `race-${round}-theirs`)]).size).toBe(1);
    }
  });

  test('twin: without the revisions that the plan saw both win, and the last one overwrites', async () => {
    between = (request, commit) =>
      commit({
        ...request,
        writes: request.writes.map(({ kind, org, id, key, body }) => ({
          kind,
          org,
          id,
          body,
          ...(key !== undefined && { key }),
        })),
      });
    const replies = await race('twin');
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
  });
});

test(
  'a thousand resources are planned and applied in one step within a bounded time',
  { timeout: 120_000 },
  async () => {
    const resources = Array.from({ length: 1_000 }, (_, at) =>
      at % 10 === 0
        ? group(`many-${at}`)
        : at % 50 === 1
          ? policy(`many.${at}`)
          : at % 7 === 0
            ? agent(plane, `many-${at}`)
            : server(`many-${at}`),
    );
    const head = await plane.state.head();
    const started = performance.now();
    const reply = await applied(plane, 'ada', resources, { set: 'many' });
    const took = performance.now() - started;
    expect([reply.status, reply.body['revision'], (reply.body['counts'] as { create: number }).create]).toEqual([
      200,
      head + 1,
      1_000,
    ]);
    expect(took).toBeLessThan(15_000);
    const again = performance.now();
    const planned = await plan(plane, 'ada', resources, { set: 'many' });
    expect((planned.body['counts'] as { unchanged: number }).unchanged).toBe(1_000);
    expect(performance.now() - again).toBeLessThan(10_000);
  },
);

test('more resources, bytes or members than the bounds are refused', async () => {
  const many = Array.from({ length: 2_001 }, (_, at) => group(`over-${at}`));
  expect((await plan(plane, 'ada', many)).status).toBe(422);
  const wide = { ...group('wide'), spec: { name: 'x'.repeat(4_300_000), roles: [] } };
  expect(codeOf(await plan(plane, 'ada', [wide]))).toEqual([413, 'too_large']);
  const members = Array.from({ length: 200_100 }, () => 1);
  expect(codeOf(await plan(plane, 'ada', [{ ...group('members'), spec: { members } }]))).toEqual([400, 'bad_json']);
  // Other rows keep their own bound.
  expect(
    codeOf(await plane.as('ada', 'POST', '/groups', { reason: 'x'.repeat(600_000), group: { name: 'x', roles: [] } })),
  ).toEqual([413, 'too_large']);
});
