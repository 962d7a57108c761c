/**
 * Locks (TRUST.md R1 to R4) over the whole gateway: set through the admin API as an on-call engineer does. Once the API has answered,
 * no call that starts later reaches a server, and what is under way is cut off and its result stays here.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { learn } from '../../src/gateway/guard.ts';
import { ERAS, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
let bearer: string;
let tokenId: string;
beforeAll(async () => {
  rig = await startRig({ admin: true, servers: { notes: {}, old: { era: 'legacy' } } });
  bearer = rig.token('dana', { claims: { jti: 'token-under-test' } });
  tokenId = 'token-under-test';
});
afterAll(() => rig.stop());

const set = new Set<string>();
async function lock(kind: string, value: string, on: Rig = rig): Promise<string> {
  // With an end, so that lifting it brings everything back (kill.test.ts has the others).
  const until = Date.now() + 3_600_000;
  const answer = await on.admin('ada', 'POST', '/locks', { kind, value, reason: 'under test', until });
  expect(answer.status, answer.text).toBe(201);
  const id = answer.body['id'] as string;
  set.add(id);
  return id;
}
async function lift(id: string): Promise<void> {
  set.delete(id);
  expect((await rig.admin('ada', 'DELETE', `/locks/${id}`, { reason: 'test over' })).status).toBe(200);
}
afterEach(async () => {
  rig.faults.before = null;
  rig.faults.after = null;
  for (const server of ['notes', 'old'])
    rig.sink(server).onCall(({ arguments: args }) => ({ content: [{ type: 'text', text: JSON.stringify(args) }] }));
  for (const id of set) await lift(id);
});

const SUBJECTS: ReadonlyArray<readonly [kind: string, value: () => string, status: number]> = [
  ['organisation', () => 'default', 403],
  ['user', () => 'dana', 403],
  ['agent', () => 'agent-1', 403],
  ['server', () => 'notes', 403],
  ['tool', () => 'notes/write_note', 200],
  ['token', () => tokenId, 401],
];
const CASES = SUBJECTS.flatMap((row) => ERAS.map((era) => [row[0], era, row[1], row[2]] as const));
const write = (era: 'modern' | 'legacy', text = 'x', server = 'notes'): Promise<Answer> =>
  rig.call(server, 'write_note', { text }, { era, ...(server === 'notes' && { token: bearer }) });
const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;

describe('a lock refuses the next call', () => {
  test.each(CASES)(
    'on the %s, %s client: refused with its true reason in the log; lifted, the call passes',
    async (kind, era, value, status) => {
      expect(passed(await write(era))).toBe(true);
      const id = await lock(kind, value());
      const before = rig.sink().received.length;
      const answer = await write(era);
      expect(answer.status).toBe(status);
      expect(answer.text).toMatch(/locked by an administrator|access token was revoked/);
      expect(answer.text).not.toContain(id);
      expect(rig.sink().calls().length).toBe(
        rig
          .sink()
          .received.slice(0, before)
          .filter(({ message }) => message?.['method'] === 'tools/call').length,
      );
      const entries = await rig.about(answer.reference);
      expect(entries.map(({ kind: one, decision }) => [one, decision?.reason])).toEqual([
        ['denial', `locked:${kind}:${id}`],
      ]);
      await lift(id);
      if (kind === 'server') await rig.look('notes');
      expect(passed(await write(era))).toBe(true);
    },
  );

  const NARROW = SUBJECTS.filter(([kind]) => kind !== 'organisation');
  test.each(NARROW)('on the %s: others go on', async (kind, value) => {
    await lock(kind, value());
    const other = rig.token('dora', { client: 'agent-2', server: kind === 'server' ? 'old' : 'notes' });
    const server = kind === 'server' ? 'old' : 'notes';
    const tool = kind === 'tool' ? 'read_note' : 'write_note';
    expect(passed(await rig.call(server, tool, { text: 'x' }, { token: other }))).toBe(true);
  });

  test.each(SUBJECTS)('on the %s: it is gone from lists, or the list is refused', async (kind, value) => {
    await lock(kind, value());
    const answer = await rig.ask('notes', 'tools/list', {}, { token: bearer });
    expect(answer.text).not.toContain('write_note');
    if (kind === 'tool') expect(await rig.names('notes', { token: bearer })).toEqual(['read_note']);
    else expect(answer.result).toBeUndefined();
  });
});

/** A call that the server keeps waiting. `gone` is true once the server saw the gateway leave. */
async function underWay(server: string): Promise<{ readonly answer: Promise<Answer>; readonly gone: Promise<void> }> {
  const sink = rig.sink(server);
  const before = sink.calls().length;
  let left = (): void => undefined;
  const gone = new Promise<void>((resolve) => (left = resolve));
  sink.onCall((call) => call.gone.then(() => (left(), { content: [{ type: 'text', text: 'SECRET RESULT' }] })));
  const answer = write('modern', 'slow', server);
  await rig.until('the server has the call', () => sink.calls().length > before);
  return { answer, gone };
}

describe('a lock reaches what is under way', () => {
  test.each(SUBJECTS)(
    'on the %s: the call is cut off, its outcome says so, its result is withheld',
    async (kind, value) => {
      const { answer, gone } = await underWay('notes');
      const id = await lock(kind, value());
      await gone;
      const told = await answer;
      expect(told.result?.['isError']).toBe(true);
      expect(told.text).toContain('Access was withdrawn while the call ran; whether it had an effect is unknown.');
      expect(told.text).not.toContain('SECRET RESULT');
      const entries = await rig.about(told.reference);
      expect(entries.map((entry) => entry.kind)).toEqual(['intent', 'outcome']);
      expect(entries[1]?.outcome).toMatchObject({ status: 'cancelled', detail: `lock:${id}`, result: null });
    },
  );

  test('a call of somebody else on the same server is not touched', async () => {
    const { answer } = await underWay('notes');
    const id = await lock('user', 'dora');
    await lift(id);
    rig.sink().intercept(null);
    const lockOnDana = await lock('user', 'dana');
    expect((await answer).text).toContain('Access was withdrawn');
    expect((await rig.about((await answer).reference))[1]?.outcome?.detail).toBe(`lock:${lockOnDana}`);
  });

  test.each([
    ['a side-effecting call', 'write_note', 'outcome'],
    ['a reading call', 'read_note', 'call'],
  ] as const)(
    'a lock that falls while the outcome of %s is being written: the answer stays here and the log gets that too',
    async (_title, tool, kind) => {
      let id = '';
      rig.faults.before = async (entry: AuditEntry) => {
        if (entry.kind !== kind) return;
        rig.faults.before = null;
        id = await lock('user', 'dana');
      };
      const answer = await rig.call('notes', tool, { text: 'PRIVATE' }, { token: bearer });
      expect(answer.text).toContain('Access was withdrawn while the call ran');
      expect(answer.text).not.toContain('PRIVATE');
      const entries = (await rig.about(answer.reference)).filter((entry) => entry.outcome);
      expect(entries.map(({ outcome }) => [outcome?.status, outcome?.detail])).toEqual([
        ['ok', null],
        ['withheld', `lock:${id}`],
      ]);
    },
  );

  test.each(['user', 'agent', 'token'] as const)(
    'a lock on the %s that falls between intent and dispatch: nothing is sent',
    async (kind) => {
      const value = { user: 'dana', agent: 'agent-1', token: tokenId }[kind];
      rig.faults.after = async (entry) => {
        if (entry.kind !== 'intent') return;
        rig.faults.after = null;
        await lock(kind, value);
      };
      const before = rig.sink().calls().length;
      const answer = await write('modern');
      expect(rig.sink().calls()).toHaveLength(before);
      expect((await rig.about(answer.reference))[1]?.outcome?.status).toBe('not_dispatched');
    },
  );
});

describe('once a lock is acknowledged', () => {
  test.each(SUBJECTS)(
    'on the %s: of 200 calls that start afterwards none reaches the server, whatever was running',
    async (kind, value) => {
      const running = Array.from({ length: 40 }, (_, i) => write('modern', `before-${kind}-${i}`));
      await rig.until('some calls arrived', () => rig.sink().calls().length > 0);
      await lock(kind, value());
      const later = await Promise.all(Array.from({ length: 200 }, (_, i) => write('modern', `after-${kind}-${i}`)));
      expect(later.filter(passed)).toEqual([]);
      await Promise.all(running);
      expect(rig.sink().wire()).not.toContain(`after-${kind}-`);
      const log = await rig.entries('intent');
      const refs = new Set(later.map(({ reference }) => reference));
      expect(log.filter(({ ref }) => refs.has(ref))).toEqual([]);
    },
  );

  test('twin: a gateway whose guard does not ask for locks lets them all through', async () => {
    const open = await startRig({
      admin: true,
      table: tableWith({
        'caller-stands': ({ facts: { caller }, snapshot }) =>
          learn({ person: snapshot.people.byIdentity(caller!.issuer, caller!.subject)!, ceiling: null }),
      }),
    });
    try {
      await lock('user', 'dana', open);
      set.clear();
      await Promise.all(Array.from({ length: 20 }, (_, i) => open.call('notes', 'write_note', { text: `after-${i}` })));
      expect(open.sink().calls()).toHaveLength(20);
    } finally {
      await open.stop();
    }
  });
});

test('people who leave are cut off like people who are locked', async () => {
  const { answer, gone } = await underWay('old');
  await rig.setPerson('dana', ['developer'], { state: 'inactive' });
  await gone;
  expect((await rig.about((await answer).reference))[1]?.outcome).toMatchObject({
    status: 'cancelled',
    detail: 'standing',
  });
  expect((await write('modern')).status).toBe(403);
  await rig.setPerson('dana', ['developer']);
});
