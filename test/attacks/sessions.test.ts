/**
 * Legacy sessions (PROTOCOL.md L2, G5; PH-04): the session id proves nothing. Whoever takes one from a log or a screen gets nowhere
 * with it, and who has it without a token is a stranger.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import { LEGACY, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
let session: string;
const stolen = (on: Rig, token: string, server = 'notes', id = session): Promise<Answer> =>
  on.call(server, 'write_note', { text: 'x' }, { era: 'legacy', token, session: id });
beforeAll(async () => {
  rig = await startRig({ servers: { notes: {}, old: { era: 'legacy' } } });
  session = await rig.openSession('notes', rig.token('dana'));
});
afterAll(() => rig.stop());

describe('a session of somebody else', () => {
  test.each<[string, () => string, string]>([
    ['another person', () => rig.token('dora'), 'notes'],
    ['another agent of the same person', () => rig.token('dana', { client: 'agent-2' }), 'notes'],
    ['the same person on another server', () => rig.token('dana', { server: 'old' }), 'old'],
  ])('is not found for %s, and the log says whose it was', async (_title, token, server) => {
    for (const method of ['tools/call', 'tools/list', 'ping']) {
      const before = rig.sink(server).received.length;
      const params = method === 'tools/call' ? { name: 'write_note', arguments: { text: 'x' } } : {};
      const answer = await rig.ask(server, method, params, { era: 'legacy', token: token(), session });
      expect(answer.status).toBe(404);
      expect(answer.error?.message).toBe('Session not found: send initialize to start a new one');
      expect(rig.sink(server).received).toHaveLength(before);
      const [entry] = await rig.about(answer.reference);
      expect(entry).toMatchObject({
        kind: 'denial',
        decision: { reason: 'session_of_another', guard: 'session-is-theirs' },
      });
    }
  });

  test('cannot be ended, nor its calls cancelled, by another person', async () => {
    const authorization = `Bearer ${rig.token('dora')}`;
    const ended = await rig.send('DELETE', rig.endpoint('notes'), { authorization, 'mcp-session-id': session });
    expect(ended.status).toBe(404);

    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    rig.sink().onCall(async () => (await released, { content: [{ type: 'text', text: 'done' }] }));
    const before = rig.sink().calls().length;
    const running = rig.call(
      'notes',
      'write_note',
      { text: 'slow' },
      { era: 'legacy', token: rig.token('dana'), session, id: 99 },
    );
    await rig.until('the call is under way', () => rig.sink().calls().length > before);
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 99 } };
    const cancelled = await rig.post('notes', cancel, { authorization, 'mcp-session-id': session });
    expect(cancelled.status).toBe(404);
    release();
    expect((await running).text).toContain('done');
  });

  test('is not found with another id of the same length, a changed letter, or any text', async () => {
    const flip = (at: number): string =>
      session.slice(0, at) + (session[at] === 'A' ? 'B' : 'A') + session.slice(at + 1);
    const ids = [
      flip(0),
      flip(20),
      flip(session.length - 5),
      session.slice(1),
      `${session}A`,
      'x',
      '../../x',
      'A'.repeat(3_000),
    ];
    const answers = await Promise.all(ids.map((id) => stolen(rig, rig.token('dana'), 'notes', id)));
    expect(answers.map(({ status }) => status)).toEqual(ids.map(() => 404));
  });

  test('opens nothing without a token', async () => {
    const answer = await rig.post(
      'notes',
      { jsonrpc: '2.0', id: 1, method: 'tools/list' },
      { 'mcp-session-id': session, 'mcp-protocol-version': LEGACY },
    );
    expect(answer.status).toBe(401);
  });

  test('without one, a legacy request is told to initialize', async () => {
    const answer = await rig.ask('notes', 'tools/list', {}, { era: 'legacy', token: rig.token('dana'), session: '' });
    expect([400, 404]).toContain(answer.status);
    const none = await rig.post(
      'notes',
      { jsonrpc: '2.0', id: 1, method: 'tools/list' },
      { authorization: `Bearer ${rig.token('dana')}` },
    );
    expect([none.status, none.error?.message]).toEqual([400, 'Missing Mcp-Session-Id header: send initialize first']);
  });

  test('does not hide a modern request from the modern checks', async () => {
    const answer = await rig.call(
      'notes',
      'write_note',
      { text: 'x' },
      { headers: { 'mcp-session-id': session, 'mcp-name': undefined } },
    );
    expect(answer.error?.code).toBe(-32020);
  });
});

test('the owner ends it: afterwards it is not found for the owner either', async () => {
  const token = rig.token('dana');
  const own = await rig.openSession('notes', token);
  rig.sink().onCall(() => ({ content: [] }));
  expect((await stolen(rig, token, 'notes', own)).status).toBe(200);
  const headers = { authorization: `Bearer ${token}`, 'mcp-session-id': own };
  expect((await rig.send('DELETE', rig.endpoint('notes'), headers)).status).toBe(202);
  expect((await stolen(rig, token, 'notes', own)).status).toBe(404);
  expect((await rig.send('DELETE', rig.endpoint('notes'), headers)).status).toBe(404);
});

test('a session of another gateway, or of this one under other keys, is not found', async () => {
  const other = await startRig();
  try {
    expect((await stolen(other, other.token('dana'))).status).toBe(404);
  } finally {
    await other.stop();
  }
});

test('twin: a gateway that takes any session it once opened lets the thief act under it', async () => {
  const open = await startRig({
    table: tableWith({ 'session-is-theirs': (_call, found) => learn({ session: found as never }) }),
  });
  try {
    const own = await open.openSession('notes', open.token('dana'));
    expect((await stolen(open, open.token('dora'), 'notes', own)).status).toBe(200);
    expect(open.sink().calls()).toHaveLength(1);
  } finally {
    await open.stop();
  }
});
