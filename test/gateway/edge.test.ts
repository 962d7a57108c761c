/** Requests without a readable message, the end of a session, the limits of the listener. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERAS, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
let authorization: string;
beforeAll(async () => {
  rig = await startRig({ limits: { maxBodyBytes: 20_000, concurrentPerPerson: 2, callsPerMinutePerPerson: 60 } });
  authorization = `Bearer ${rig.token('dana')}`;
});
afterAll(() => rig.stop());

describe('other HTTP methods', () => {
  test.each(['GET', 'PUT', 'PATCH', 'OPTIONS', 'HEAD'])(
    '%s of a known caller is not allowed, and says what is',
    async (method) => {
      const answer = await rig.send(method, rig.endpoint('notes'), { authorization });
      expect(answer.status).toBe(405);
      expect(answer.headers.allow).toBe('GET, POST, DELETE');
    },
  );

  test('DELETE ends the session of its owner once; afterwards it is not found', async () => {
    const session = await rig.openSession('notes', authorization.slice(7));
    const headers = { authorization, 'mcp-session-id': session };
    expect((await rig.send('DELETE', rig.endpoint('notes'), headers)).status).toBe(202);
    const again = await rig.send('DELETE', rig.endpoint('notes'), headers);
    expect([again.status, again.error?.message]).toEqual([
      404,
      'Session not found: send initialize to start a new one',
    ]);
    const list = await rig.post('notes', { jsonrpc: '2.0', id: 1, method: 'tools/list' }, headers);
    expect(list.status).toBe(404);
    expect((await rig.about(list.reference))[0]?.decision?.reason).toBe('session_unknown');
  });

  test('DELETE without a session says which header is missing', async () => {
    const answer = await rig.send('DELETE', rig.endpoint('notes'), { authorization });
    expect([answer.status, answer.error?.message]).toEqual([
      400,
      'Missing Mcp-Session-Id header: send initialize first',
    ]);
  });
});

describe('an unreadable body of a known caller', () => {
  test.each<[string, string, number, number]>([
    ['no JSON', '{', 400, -32700],
    ['a batch', '[]', 400, -32600],
    ['a duplicate key', '{"jsonrpc":"2.0","jsonrpc":"2.0"}', 400, -32700],
    ['too large', `{"x":"${'x'.repeat(20_000)}"}`, 413, -32600],
    ['too deep', `${'['.repeat(100)}${']'.repeat(100)}`, 400, -32700],
  ])('%s: the true answer, and an entry that names the caller', async (_title, body, status, code) => {
    const answer = await rig.post('notes', body, { authorization });
    expect([answer.status, answer.error?.code]).toEqual([status, code]);
    const [entry] = await rig.about(answer.reference);
    expect(entry).toMatchObject({
      kind: 'denial',
      actor: { subject: 'dana@corp' },
      call: { method: 'unknown', server: 'notes' },
      decision: { verdict: 'deny', reason: `message_refused:${code}` },
    });
  });

  test('a body whose length was not declared is cut off at the limit as well', async () => {
    const answer = await rig.post('notes', 'x'.repeat(30_000), {
      authorization,
      'Content-Length': undefined,
      'Transfer-Encoding': 'chunked',
    });
    expect(answer.status).toBe(413);
    expect(answer.headers.connection).toBe('close');
  });
});

describe('room', () => {
  test.each(ERAS)('a third call at the same time waits its turn elsewhere: 503, not sent, %s', async (era) => {
    await rig.call('notes', 'read_note', { text: 'x' }, { era });
    const sink = rig.sink();
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    sink.onCall(async () => (await released, { content: [] }));
    const before = sink.calls().length;
    const running = [1, 2].map((id) => rig.call('notes', 'read_note', { text: 'x' }, { era, id }));
    await rig.until('two are under way', () => sink.calls().length === before + 2);
    const third = await rig.call('notes', 'read_note', { text: 'x' }, { era, id: 3 });
    expect([third.status, third.headers['retry-after']]).toEqual([503, '1']);
    expect((await rig.about(third.reference))[0]?.decision?.reason).toBe('overloaded');
    expect(sink.calls()).toHaveLength(before + 2);
    release();
    await Promise.all(running);
    sink.onCall(() => ({ content: [] }));
    expect((await rig.call('notes', 'read_note', { text: 'x' }, { era })).status).toBe(200);
  });

  test('a legacy client cancels its own call, a modern one by leaving; the outcome says which', async () => {
    const sink = rig.sink();
    sink.onCall((call) => call.gone.then(() => ({ content: [] })));
    const token = rig.token('dora');
    const session = await rig.openSession('notes', token);
    const before = sink.calls().length;
    const legacy = rig.call('notes', 'read_note', { text: 'x' }, { era: 'legacy', token, session, id: 41 });
    await rig.until('it is under way', () => sink.calls().length > before);
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 41 } };
    expect(
      (await rig.post('notes', cancel, { authorization: `Bearer ${token}`, 'mcp-session-id': session })).status,
    ).toBe(202);
    expect((await rig.about((await legacy).reference))[0]?.outcome).toMatchObject({
      status: 'cancelled',
      detail: 'client_cancelled',
    });

    const params = { name: 'read_note', arguments: { text: 'x' } };
    const leaving = new AbortController();
    const gone = fetch(`${rig.url}${rig.endpoint('notes')}`, {
      method: 'POST',
      signal: leaving.signal,
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${token}`,
        ...modernHeaders('tools/call', params),
      },
      body: JSON.stringify(modernMessage('tools/call', params)),
    }).catch(() => null);
    await rig.until('it is under way', () => sink.calls().length > before + 1);
    leaving.abort();
    await gone;
    await rig.until(
      'its outcome is recorded',
      async () => (await rig.entries('call')).at(-1)?.outcome?.detail === 'client_gone',
    );
    sink.onCall(() => ({ content: [] }));
  });

  test('the minute of a person ends with 429 and the time to wait', async () => {
    const answers = await Promise.all(
      Array.from({ length: 70 }, () => rig.ask('notes', 'tools/list', {}, { as: 'omar' })),
    );
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(10);
    expect(Number(refused[0]!.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused[0]!.error?.message).toMatch(/^Too many calls\. Wait \d+ s\. Reference: /);
    expect((await rig.ask('notes', 'tools/list', {}, { as: 'sven' })).status).toBe(200);
  });
});

test('a picture that cannot be confirmed fresh closes calls, lists and greetings, and the readiness says why', async () => {
  const stale = await startRig({
    wrap: (deps) => ({
      ...deps,
      freshnessLimitMs: 2_000,
      view: {
        ...deps.view,
        get revision() {
          return deps.view.revision;
        },
        ageMs: () => 2_001,
      },
    }),
  });
  try {
    for (const answer of [
      await stale.call('notes', 'read_note', { text: 'x' }),
      await stale.ask('notes', 'tools/list', {}),
      await stale.ask('notes', 'server/discover', {}),
    ]) {
      expect(answer.status).toBe(503);
      expect((await stale.about(answer.reference))[0]?.decision).toMatchObject({
        reason: 'snapshot_stale',
        guard: 'snapshot-is-fresh',
      });
    }
    expect(stale.sink().calls()).toHaveLength(0);
    expect(stale.gateway.notReady()).toEqual(['state_stale']);
  } finally {
    await stale.stop();
  }
});

describe('L8: what a client takes', () => {
  const listed = async (accept: string) => {
    const bearer = `Bearer ${rig.token('dana')}`;
    const headers = { ...modernHeaders('tools/list'), authorization: bearer, accept };
    return rig.post('notes', modernMessage('tools/list'), headers);
  };
  test.each([
    ['application/json, text/event-stream', 'application/json'],
    ['text/event-stream, application/json', 'text/event-stream'],
    ['text/event-stream, application/json;q=0', 'text/event-stream'],
    ['application/json', 'application/json'],
    ['text/event-stream', 'text/event-stream'],
    ['*/*', 'application/json'],
    ['text/event-stream, */*', 'text/event-stream'],
  ])('L8: of %s it gets %s, with the same answer in it', async (accept, form) => {
    const { status, headers, text } = await listed(accept);
    expect([status, headers['content-type']]).toEqual([200, form]);
    const json = form === 'application/json' ? text : text.replace(/^event: message\n/, '').replace(/^data: /, '');
    expect(JSON.parse(json)).toMatchObject({
      id: 7,
      result: { resultType: 'complete', tools: expect.any(Array) as unknown },
    });
  });

  test('L8: who takes neither is told what to take, and a refusal is JSON in any case', async () => {
    expect(await listed('text/html')).toMatchObject({ status: 406, error: { code: -32600 } });
    const refused = await rig.post('notes', modernMessage('tools/list'), {
      ...modernHeaders('tools/list'),
      accept: 'text/event-stream, application/json',
    });
    expect([refused.status, refused.headers['content-type']]).toEqual([401, 'application/json']);
  });
});
