/**
 * NH-06: one action stops a person, agent, server, tool or the whole organisation: the next call is refused, what runs is cut off, what waits
 * for a yes ends, a terminal record says so, and lifting the lock gives nothing back: that takes a fresh decision. The oracle is the sink.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { known } from '../../src/gateway/call.ts';
import { learn } from '../../src/gateway/guard.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import { itemNamed } from '../../src/gateway/snapshot.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig({ admin: true });
});
afterEach(() => rig.stop());

const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;
const write = (text: string, token?: string): Promise<Answer> =>
  rig.call('notes', 'write_note', { text }, token === undefined ? {} : { token });
const lock = async (kind: string, value: string): Promise<JsonObject> => {
  const answer = await rig.admin('ada', 'POST', '/locks', { kind, value, reason: 'incident 7' });
  expect(answer.status, answer.text).toBe(201);
  return answer.body;
};
const lift = async ({ id }: JsonObject): Promise<void> => {
  const answer = await rig.admin('ada', 'DELETE', `/locks/${id as string}`, { reason: 'over' });
  expect(answer.status, answer.text).toBe(200);
};
const settled = async ({ id }: JsonObject): Promise<unknown> => {
  const find = async () => (await rig.entries('admin')).find(({ event }) => event?.['what'] === 'lock.settled');
  await rig.until('the lock has settled', async () => (await find()) !== undefined);
  const event = (await find())?.event;
  expect(event?.['subject']).toBe(`lock/${id as string}`);
  return event;
};
/** A call that the server keeps waiting until the gateway leaves. */
async function running(): Promise<{ readonly answer: Promise<Answer>; readonly gone: Promise<void> }> {
  const gone = Promise.withResolvers<void>();
  rig.sink().onCall((call) => call.gone.then(() => (gone.resolve(), { content: [{ type: 'text', text: 'SECRET' }] })));
  const answer = write('slow');
  await rig.until('the server has the call', () => rig.sink().calls().length === 1);
  return { answer, gone: gone.promise };
}

const SUBJECTS: ReadonlyArray<readonly [kind: string, value: string, outOfService: readonly unknown[]]> = [
  ['organisation', 'default', []],
  ['user', 'dana', []],
  ['agent', 'agent-1', [expect.stringMatching(/^agent\/agent/)]],
  ['server', 'notes', ['server/notes']],
  ['tool', 'notes/write_note', ['tool/notes/write_note']],
];

describe('NH-06: one action', () => {
  test.each(SUBJECTS)('NH-06: on the %s: cuts off, refuses, and leaves a terminal record', async (kind, value, out) => {
    const { answer, gone } = await running();
    const locked = await lock(kind, value);
    expect(locked['stopped']).toEqual({ calls: 1, heldCalls: 0, outOfService: out });
    await gone;
    expect((await answer).text).toContain('Access was withdrawn while the call ran');
    rig.sink().onCall(() => ({ content: [] }));
    expect(passed(await write('after'))).toBe(false);
    expect(rig.sink().wire()).not.toContain('after');
    expect(await settled(locked)).toMatchObject({ kind, value, calls: 1, unfinished: 0 });
  });

  test.each([
    ['organisation', 'default'],
    ['user', 'omar'],
    ['agent', 'agent-1'],
    ['server', 'notes'],
    ['tool', 'notes/delete_note'],
  ])('NH-06: on the %s: a held call that was approved is void, and stays so', async (kind, value) => {
    const remove = (): Promise<Answer> => rig.call('notes', 'delete_note', { text: 'old' }, { as: 'omar' });
    const id = /apr_[0-9a-z]+/.exec((await remove()).text)?.[0] ?? '';
    const approval = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
    const agreed = await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: approval['call']! });
    expect(agreed.status, agreed.text).toBe(200);
    const locked = await lock(kind, value);
    expect(locked['stopped']).toMatchObject({ heldCalls: 1 });
    expect((await rig.admin('petra', 'GET', `/approvals/${id}`)).body['state']).toBe('cancelled');
    await lift(locked);
    await remove();
    expect(rig.sink().calls()).toEqual([]);
  });
});

describe('NH-06: lifting a lock gives nothing back', () => {
  test('NH-06: the server is suspended until a reviewer enables it', async () => {
    await lift(await lock('server', 'notes'));
    expect((await write('lifted')).status).toBe(403);
    expect((await rig.admin('ada', 'GET', '/servers/notes')).body['state']).toBe('suspended');
    expect(rig.sink().calls()).toEqual([]);
  });

  test('NH-06: the tool is unreviewed until somebody approves it anew', async () => {
    await lift(await lock('tool', 'notes/write_note'));
    expect(passed(await write('lifted'))).toBe(false);
    expect(await rig.names('notes')).not.toContain('write_note');
    expect(rig.sink().calls()).toEqual([]);
  });

  test('NH-06: the agent is suspended until an administrator activates it', async () => {
    await rig.names('notes');
    const locked = await lock('agent', 'agent-1');
    await lift(locked);
    expect((await write('lifted')).status).toBe(401);
    const [record] = (locked['stopped'] as JsonObject)['outOfService'] as string[];
    const id = String(record).slice('agent/'.length);
    const read = await rig.admin('ada', 'GET', `/agents/${id}`);
    expect(read.body['state'], read.text).toBe('suspended');
    expect(rig.sink().calls()).toEqual([]);
  });

  test('NH-06: the person signs in again, and no token from before is good', async () => {
    const before = rig.token('dana');
    await lift(await lock('user', 'dana'));
    expect((await write('old token', before)).status).toBe(401);
    expect(rig.sink().calls()).toEqual([]);
  });

  test('NH-06: the organisation goes on, and whoever is to lift its lock was never shut out', async () => {
    const locked = await lock('organisation', 'default');
    expect((await rig.admin('ada', 'GET', '/locks')).body['locks']).toMatchObject([{ id: locked['id'] }]);
    await lift(locked);
    expect(passed(await write('lifted'))).toBe(true);
  });

  test('NH-06: a lock with an end is a pause: what it fell on comes back by itself', async () => {
    const until = Date.now() + 3_600_000;
    const answer = await rig.admin('ada', 'POST', '/locks', { kind: 'server', value: 'notes', reason: 'pause', until });
    expect(answer.body['stopped']).toEqual({ calls: 0, heldCalls: 0, outOfService: [] });
    await lift(answer.body);
    await rig.look('notes');
    expect(passed(await write('lifted'))).toBe(true);
  });
});

test('NH-06: a lock does not fail because somebody edits what it falls on at the same moment', async () => {
  const edit = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await rig.setServer('notes', { title: `edited ${i}` });
  };
  const editing = edit();
  const locked = await lock('server', 'notes');
  await editing;
  expect((await rig.admin('ada', 'GET', '/locks')).body['locks']).toMatchObject([{ id: locked['id'] }]);
  expect((await write('after')).status).toBe(403);
});

/** Forty hands call without a pause; how many calls the server got after `act` was acknowledged, and how many before. */
async function underLoad(act: () => Promise<unknown>): Promise<readonly [before: number, after: number]> {
  const over = new AbortController();
  const hands = Array.from({ length: 40 }, async (_, hand) => {
    for (let i = 0; !over.signal.aborted; i++) await write(`hand ${hand} call ${i}`);
  });
  const calls = (): number => rig.sink().calls().length;
  await rig.until('the load runs', () => calls() > 100);
  await act();
  const acknowledged = calls();
  const end = Date.now() + 1_000;
  await rig.until('a second has gone by', () => Date.now() > end);
  over.abort();
  await Promise.all(hands);
  return [acknowledged, calls() - acknowledged];
}

describe('NH-06: under load', () => {
  test.each(SUBJECTS)(
    'NH-06: once a lock on the %s is acknowledged, the server hears nothing more',
    async (kind, value) => {
      const [before, after] = await underLoad(() => lock(kind, value));
      expect(before).toBeGreaterThan(100);
      expect(after).toBe(0);
    },
  );

  test('NH-06 twin: a lock that the rows before the call never look for goes unheard: the calls go on', async () => {
    await rig.stop();
    const blind: Guard['decide'] = (call) =>
      learn({ tool: itemNamed(known(call, 'server'), 'tool', call.subject.name!)! });
    rig = await startRig({ table: tableWith({ 'item-is-theirs': blind }) });
    const [, after] = await underLoad(() => rig.lock({ kind: 'tool', value: 'notes/write_note' }));
    expect(after).toBeGreaterThan(0);
  });
});
