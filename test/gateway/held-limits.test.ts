/**
 * What waits for people costs nobody else a place (RL-01): five hundred clients wait on a node that has room for four calls, and their
 * neighbours are served at once. Who wants to wait beyond the bound is told so, politely and without a wait. The oracle is the sink.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Rig } from '../support/rig.ts';
import { begin, onTask } from '../support/tasks.ts';
import { approverOf } from './held-support.ts';

vi.setConfig({ testTimeout: 120_000 });

const TEAM = Array.from({ length: 10 }, (_, at) => `op${at}`);
const [FIRST = '', SECOND = ''] = TEAM;
const CALLS_EACH = 10;
const CLIENTS_EACH = 5;
const ROOM = { concurrentPerPerson: 2, concurrentCalls: 4 };
/** Longer than anything here takes: nobody's time is up. */
const HOLD_MS = 60_000;

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    admin: true,
    people: {
      ...Object.fromEntries(TEAM.map((name) => [name, ['operator'] as const])),
      dana: ['developer'],
      petra: ['approver'],
    },
    servers: {
      notes: {
        tools: [
          textTool('read_note', 'read', 'notes:read'),
          textTool('delete_note', 'destructive', 'notes:delete', { execution: { taskSupport: 'optional' } }),
        ],
      },
    },
    limits: ROOM,
    approvals: { holdMs: HOLD_MS, blockMs: HOLD_MS, openPerCaller: CALLS_EACH },
  });
});
afterAll(() => rig.stop());

const params = (text: string): JsonObject => ({ name: 'delete_note', arguments: { text } });
const remove = (as: string, text: string, how: CallOptions = {}): Promise<Answer> =>
  rig.ask('notes', 'tools/call', params(text), { as, ...how });
const read = (as: string): Promise<Answer> => rig.call('notes', 'read_note', { text: 'x' }, { as });
const reached = (text: string): number =>
  rig
    .sink()
    .calls()
    .filter(({ body }) => body.includes(`"${text}"`)).length;
const served = async (as: string): Promise<void> => {
  for (let time = 0; time < 5; time++) {
    const answer = await read(as);
    expect([as, answer.status, answer.result?.['isError']], answer.text).toEqual([as, 200, undefined]);
  }
};

describe('five hundred clients that wait', () => {
  const waiting = TEAM.length * CALLS_EACH * CLIENTS_EACH;
  const live: Array<Awaited<ReturnType<Rig['live']>>> = [];
  beforeAll(async () => {
    for (const as of TEAM)
      for (let call = 0; call < CALLS_EACH; call++)
        for (let client = 0; client < CLIENTS_EACH; client++) {
          live.push(await rig.live('notes', 'tools/call', params(`${as} ${call}`), { as }));
          // One after the other: who is still being looked at has a place, and there are two of each person.
          await rig.until('it waits', () => rig.gateway.openStreams === live.length, 60_000);
        }
  }, 120_000);
  afterAll(() => live.forEach((one) => one.leave()));

  test('RL-01: take no place of a call: neighbours, and they themselves, are served', async () => {
    expect([rig.gateway.openStreams, rig.gateway.inflight()]).toEqual([waiting, waiting]);
    expect(waiting).toBeGreaterThan(100 * ROOM.concurrentCalls);
    await served('dana');
    await served(FIRST);
    expect(rig.gateway.openStreams).toBe(waiting);
  });

  test('RL-01: one more is not kept waiting: it is told at once, in its own way, how to go on', async () => {
    const modern = await remove(FIRST, `${FIRST} 0`);
    expect(modern.result).toMatchObject({ resultType: 'input_required', requestState: expect.any(String) as string });
    const old = await remove(FIRST, `${FIRST} 0`, { era: 'legacy' });
    expect(old.result).toMatchObject({ isError: true });
    expect(old.text).toMatch(/waits for a person's approval .*call again with exactly the same arguments/);
    expect(rig.gateway.openStreams).toBe(waiting);
  });

  test('AP-06: one request more than anybody may have open is refused with words, and asks nobody', async () => {
    const before = [...rig.view.records('approval', 'default')].length;
    const answer = await remove(FIRST, 'one too many');
    expect(answer.result).toMatchObject({ isError: true });
    expect(answer.text).toContain(`${CALLS_EACH} `);
    expect([...rig.view.records('approval', 'default')]).toHaveLength(before);
  });

  test('AP-09: a yes wakes its own clients; one of them makes the call, the others hear what became of it', async () => {
    const requests = [...rig.view.records('approval', 'default')].length;
    await approverOf(rig).decide(`"${SECOND} 0"`, 'approve');
    const mine = live.filter((_, at) => Math.floor(at / CLIENTS_EACH) === CALLS_EACH);
    const texts = (await Promise.all(mine.map(({ answer }) => answer))).map(({ text }) => text);
    expect(reached(`${SECOND} 0`)).toBe(1);
    // The yes is spent, or there is no room for as many calls of one person at once: both say that nothing was sent.
    const refused = texts.filter((text) =>
      /was used for the same call already|was used or ended meanwhile|is full/.test(text),
    );
    expect(refused, texts.join('\n')).toHaveLength(CLIENTS_EACH - 1);
    expect(rig.gateway.openStreams).toBe(waiting - CLIENTS_EACH);
    // Whoever was woken and came too late asks nobody anew.
    expect([...rig.view.records('approval', 'default')]).toHaveLength(requests);
  });

  test('a lock ends all of one person at once, and the places are free again', async () => {
    const before = rig.gateway.openStreams;
    const lock = await rig.lock({ kind: 'user', value: TEAM[2]! });
    await rig.until('they are gone', () => rig.gateway.openStreams === before - CALLS_EACH * CLIENTS_EACH);
    await rig.unlock(lock);
  });
});

test('RL-01: who waits for the result of a waiting task takes no place of a call either', async () => {
  const as = TEAM[3]!;
  const how: CallOptions = { as, era: 'legacy', client: 'agent-tasks' };
  const tasks = [];
  for (const text of ['t1', 't2', 't3'])
    tasks.push(await begin(rig, 'delete_note', { ...how, args: { text }, task: {} }));
  const results = tasks.map((task) => onTask(rig, 'tasks/result', task, how));
  await rig.until('they wait', () => rig.gateway.openStreams >= tasks.length);
  await served(as);
  for (const task of tasks) await onTask(rig, 'tasks/cancel', task, how);
  for (const { error } of await Promise.all(results)) expect(error?.message).toBe('The task was cancelled by request.');
});

test('RL-01 twin: as many that do take the place of a call leave none for their neighbours', async () => {
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => (open = resolve));
  rig.sink().onCall(async () => {
    await gate;
    return { content: [] };
  });
  const busy = TEAM.slice(4, 8).map((as) => read(as));
  await rig.until('all of them are at the server', () => rig.sink().calls().length >= ROOM.concurrentCalls);
  await rig.until('the node is full', async () => (await read('dana')).status === 503);
  open();
  for (const { status } of await Promise.all(busy)) expect(status).toBe(200);
});
