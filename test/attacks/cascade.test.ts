/**
 * RL-04: one of five servers becomes a black hole. What it can hold of the node, what is sent to it then, and what the others feel.
 * The oracles are the sinks, and the order in which answers come; times have a floor, because the machine is shared.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FAILURES_TO_OPEN } from '../../src/upstream/breaker.ts';
import type { UpstreamPool } from '../../src/upstream/target.ts';
import { startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig, RigOptions } from '../support/rig.ts';
import { testPool } from '../support/upstreams/open.ts';

const WELL = ['a', 'b', 'c', 'd'] as const;
const TOOLS = [textTool('read_note', 'read', 'notes:read'), textTool('write_note', 'write', 'notes:write')];
const spec = { tools: TOOLS, record: { timeoutMs: 1_500 } } as const;
const BULKHEAD = 6;

let rig: Rig;
/** Of the calls to the other four, ms. */
async function p99(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 20; i++)
    for (const id of WELL) {
      const began = performance.now();
      expect((await call(id, 'read_note', `${i}`)).status).toBe(200);
      times.push(performance.now() - began);
    }
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.98)]!;
}
const starts = (more: Partial<RigOptions> = {}): Promise<Rig> =>
  startRig({
    servers: Object.fromEntries([...WELL, 'sick'].map((id) => [id, spec])),
    limits: { concurrentPerServer: BULKHEAD, concurrentCalls: 24, concurrentPerPerson: 24 },
    ...more,
  });
const swallow = (): void =>
  rig.sink('sick').intercept(({ message }) => (message?.['method'] === 'server/discover' ? null : 'hang'));
const call = (server: string, tool: string, text: string): Promise<Answer> => rig.call(server, tool, { text });
const isMade = ({ status, result }: Answer): boolean => status === 200 && result?.['isError'] !== true;
const reasons = async (): Promise<Array<string | null | undefined>> =>
  (await rig.entries('denial')).map(({ decision }) => decision?.reason);

describe('a black hole among five', () => {
  beforeEach(async () => void (rig = await starts()));
  afterEach(() => rig.stop());

  test('RL-04: holds no more than its bulkhead, and the calls of the others are all made meanwhile', async () => {
    swallow();
    const stuck = Array.from({ length: 20 }, (_, i) => call('sick', 'read_note', `${i}`));
    const refused: Answer[] = [];
    let ended = 0;
    for (const one of stuck) void one.then((answer) => void (answer.status === 503 ? refused.push(answer) : ended++));
    await rig.until('the others are refused', () => refused.length === 20 - BULKHEAD);
    // Who has a place has not necessarily arrived by now.
    await rig.until('some are there', () => rig.sink('sick').calls().length > 0);
    expect(rig.sink('sick').calls().length).toBeLessThanOrEqual(BULKHEAD);
    // The others do not wait for any of those.
    const others = await Promise.all(WELL.flatMap((id) => [call(id, 'read_note', id), call(id, 'write_note', id)]));
    expect(others.every(({ result }) => result !== undefined && result['isError'] === undefined)).toBe(true);
    await Promise.all(stuck);
    expect(ended).toBe(BULKHEAD);
    expect(await reasons()).toContain('overloaded:server');
  });

  test.each(['read_note', 'write_note'])(
    'RL-04: %s: after five without an answer nothing is sent any more, and callers hear at once when to come back',
    async (tool) => {
      swallow();
      for (let i = 0; i < 8 && !(await reasons()).some((one) => one === 'server_unwell'); i++)
        await Promise.all([call('sick', tool, `x${i}`), call('sick', tool, `y${i}`)]);
      // It opened. However long its pause is by now: while it is open, nothing goes there.
      await rig.until('it is open', () => rig.pool.status().some(({ breaker }) => breaker === 'open'));
      const sent = rig.sink('sick').received.length;
      const answer = await call('sick', tool, 'more');
      expect([answer.status, answer.result?.['isError']]).toEqual([200, true]);
      expect(answer.text).toMatch(/This server fails and is left alone for [1-9]\d* s\. Nothing was sent\./);
      expect(rig.sink('sick').received.length).toBe(sent);
      expect((await rig.about(answer.reference)).at(-1)?.kind).not.toBe('intent');
      const [incident] = await rig.entries('incident');
      expect(incident?.event).toMatchObject({
        what: 'breaker_open',
        subject: 'server/sick',
        code: 'upstream_timeout',
        forMs: 500,
      });
    },
  );

  test('RL-04: the others feel it no more than twice, whatever is waiting there', async () => {
    const quiet = await p99();
    swallow();
    const over = new AbortController();
    const hammer = Array.from({ length: 10 }, async (_, hand) => {
      for (let i = 0; !over.signal.aborted; i++) {
        await call('sick', 'read_note', `${hand} ${i}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    const loud = await p99();
    over.abort();
    await Promise.all(hammer);
    // The floor is the noise of a shared machine; a call that waited for the black hole would take 1,500 ms.
    expect(loud).toBeLessThanOrEqual(Math.max(2 * quiet, 1_000));
  });

  test('RL-04: it comes back by one call that tries it out, and then for everybody', async () => {
    swallow();
    for (let i = 0; i < 6; i++) await call('sick', 'read_note', `x${i}`);
    rig.sink('sick').intercept(null);
    const sent = rig.sink('sick').calls().length;
    await rig.until('it answers', async () => isMade(await call('sick', 'read_note', 'again')));
    expect(rig.sink('sick').calls().length).toBe(sent + 1);
    const all = await Promise.all(Array.from({ length: BULKHEAD }, (_, i) => call('sick', 'read_note', `${i}`)));
    expect(all.filter((answer) => !isMade(answer))).toEqual([]);
    expect(rig.pool.status().find(({ serverId }) => serverId === 'sick')?.breaker).toBe('closed');
  });

  test('RL-04: a tool that says isError, and a server that answers with errors, is not left alone', async () => {
    rig.sink('sick').onCall(() => ({ content: [{ type: 'text', text: 'no' }], isError: true }));
    for (let i = 0; i < 12; i++) await call('sick', 'read_note', `${i}`);
    expect(rig.sink('sick').calls()).toHaveLength(12);
    expect(rig.pool.unwell('sick')).toBe(false);
  });

  test('RL-04: callers who leave do not make a server sick', async () => {
    rig.sink('sick').onCall(() => new Promise(() => undefined));
    for (let i = 0; i < 7; i++) {
      const live = await rig.live('sick', 'tools/call', { name: 'read_note', arguments: { text: `${i}` } });
      await rig.until('it is there', () => rig.sink('sick').calls().length === i + 1);
      live.leave();
      await rig.until('it is over', () => rig.gateway.inflight() === 0);
    }
    expect(rig.pool.unwell('sick')).toBe(false);
  });
});

describe('twins', () => {
  afterEach(() => rig.stop());

  test('RL-04 twin: without a bulkhead the black hole takes every place, and the others are turned away', async () => {
    rig = await starts({ limits: { concurrentPerServer: 1_000, concurrentCalls: 24, concurrentPerPerson: 1_000 } });
    swallow();
    const stuck = Array.from({ length: 24 }, (_, i) => call('sick', 'read_note', `${i}`));
    await rig.until('all are there', () => rig.sink('sick').calls().length === 24);
    expect((await call('a', 'read_note', 'x')).status).toBe(503);
    await Promise.all(stuck);
  });

  test('RL-04 twin: where the breaker never opens, every call goes there and waits to its end', async () => {
    const pool = testPool();
    rig = await starts({ wrap: (deps) => ({ ...deps, pool: { ...pool, connection: neverOpens(pool) } }) });
    rig.sink('sick').intercept(({ message }) => (message?.['method'] === 'tools/call' ? 'hang' : null));
    for (let i = 0; i < 9; i++) await call('sick', 'read_note', `x${i}`);
    expect(rig.sink('sick').calls().length).toBeGreaterThan(FAILURES_TO_OPEN + 1);
    await pool.closeAll();
  });
});

/** A pool that forgets what it knows of a server whenever it would refuse. */
function neverOpens(pool: UpstreamPool): UpstreamPool['connection'] {
  return async (id, server, lane) => {
    try {
      return await pool.connection(id, server, lane);
    } catch {
      await pool.close(id, 'forgotten');
      return pool.connection(id, server, lane);
    }
  };
}
