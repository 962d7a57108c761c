/**
 * AZ-04, AZ-09 and faults: who may touch a task, what is left of it when its tool is withdrawn, and what its node's end does to it.
 * The oracles are what the servers received, the log, and every byte that left towards a client.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { LedgerFault } from '../../src/audit/ledger.ts';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { Gateway, GatewayDeps } from '../../src/gateway/gateway.ts';
import { PASS, learn } from '../../src/gateway/guard.ts';
import { PIPELINE } from '../../src/gateway/pipeline.ts';
import type { KeptTask } from '../../src/gateway/kept-task.ts';
import { ASKS } from '../../src/inventory/records.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ENVELOPE, ERAS, JSON_HEADERS, modernHeaders, startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';
import { ALLOW_ALL, JOBS, TASKS, TASKS_AND_FORMS, begin, onTask, reaches } from '../support/tasks.ts';
import { testPool } from '../support/upstreams/open.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function rigOf(options: RigOptions = {}): Promise<Rig> {
  const rig = await startRig({ servers: { notes: { tools: JOBS }, other: { tools: JOBS } }, ...options });
  closers.push(() => rig.stop());
  await rig.policy('all', ALLOW_ALL);
  return rig;
}

const SECRET = 'the text only its owner may read';
const text = (value: string) => ({ content: [{ type: 'text', text: value }] });

/** A call that waits until the test lets it go. */
function held(rig: Rig, server = 'notes') {
  const { promise, resolve } = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  rig.sink(server).onCall(async (call) => {
    void call.gone.then(gone.resolve);
    await promise;
    return text(SECRET);
  });
  return { release: resolve, gone: gone.promise };
}

const QUESTION = {
  method: 'elicitation/create',
  params: {
    message: 'Sure?',
    requestedSchema: { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] },
  },
};
const AGREED: JsonObject = { action: 'accept', content: { ok: true } };

const METHODS = ['tasks/get', 'tasks/update', 'tasks/cancel'];
const more = (method: string) => (method === 'tasks/update' ? { more: { inputResponses: {} } } : {});

describe('AZ-09: a task is its owner’s alone', () => {
  const STRANGERS: ReadonlyArray<readonly [string, CallOptions & { readonly server?: string }]> = [
    ['another person', { as: 'dora' }],
    ['another agent of the same person', { client: 'agent-2' }],
    ['the same person at another server', { server: 'other' }],
    ['the same person at the aggregate', { server: '' }],
    ['the same person in the other era', { era: 'legacy' }],
  ];

  test('for everybody else it is exactly as unknown as one that never was, and nothing happens to it', async () => {
    const rig = await rigOf();
    const { release } = held(rig);
    const id = await begin(rig, 'optional_job');
    const invented = `task_${randomBytes(24).toString('base64url')}`;
    const bare = ({ status, error }: Answer) => [status, error?.code, error?.message];
    for (const [, how] of STRANGERS) {
      const methods = how.era === 'legacy' ? ['tasks/get', 'tasks/cancel', 'tasks/result'] : METHODS;
      for (const method of methods) {
        const theirs = await onTask(rig, method, id, { ...how, ...more(method) });
        expect(theirs.error?.code).toBe(-32602);
        expect(theirs.error?.message).toBe('Unknown task.');
        expect(bare(theirs)).toEqual(bare(await onTask(rig, method, invented, { ...how, ...more(method) })));
      }
    }
    expect((await onTask(rig, 'tasks/get', id)).result?.['status']).toBe('working');
    release();
    const { result } = await reaches(rig, id, 'completed');
    expect(JSON.stringify(result)).toContain(SECRET);
    for (const [, how] of STRANGERS) expect((await onTask(rig, 'tasks/get', id, how)).text).not.toContain(SECRET);
  });

  test('its vulnerable twin, which only looks the id up, hands it to anybody', async () => {
    const anybody = tableWith({ 'task-is-theirs': (_call, task) => learn({ task: task as KeptTask }) });
    const rig = await rigOf({ table: anybody });
    held(rig).release();
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    for (const how of [{ as: 'dora' }, { client: 'agent-2' }, { server: '' }])
      expect((await onTask(rig, 'tasks/get', id, how)).text).toContain(SECRET);
  });

  test('one begun at the aggregate is followed there, and there alone', async () => {
    const rig = await rigOf();
    const id = await begin(rig, 'notes__optional_job', { server: '' });
    await reaches(rig, id, 'completed', { server: '' });
    expect((await onTask(rig, 'tasks/get', id)).error?.message).toContain('Unknown task.');
  });

  test('an id that is none is unknown, and becomes the name of nothing', async () => {
    const names: string[] = [];
    const rig = await rigOf({
      wrap: (deps) => {
        const latest = (name: string) => (names.push(name), deps.exchange.latest(name));
        return { ...deps, exchange: { ...deps.exchange, latest } };
      },
    });
    const wrong = ['', 'task_', `task_${'a'.repeat(31)}`, `task_${'a'.repeat(33)}`, '../task/x', 'x'.repeat(5_000)];
    for (const id of wrong) expect((await onTask(rig, 'tasks/get', id)).error?.message).toBe('Unknown task.');
    expect(names.filter((name) => name.startsWith('task'))).toEqual([]);
  });

  test('nothing of it can be read in the files of the node', async () => {
    const rig = await rigOf();
    held(rig).release();
    const id = await begin(rig, 'optional_job', { args: { text: 'an argument nobody keeps' } });
    await reaches(rig, id, 'completed');
    expect(rig.disk()).not.toContain(SECRET);
    expect(rig.disk()).not.toContain('an argument nobody keeps');
  });
});

describe('AZ-04: what a task holds leaves only while its tool stands', () => {
  const blind = tableWith({
    // It labels whoever gets something from the item, so it needs to know which.
    'labelled-first': null,
    'item-is-theirs': (call, facts) =>
      call.message.rule?.family === 'task'
        ? PASS
        : PIPELINE.find(({ guard }) => guard.name === 'item-is-theirs')!.guard.decide(call, facts),
  });
  const LOCK = { kind: 'tool', value: 'notes/optional_job' } as const;

  test('a tool locked after the task is done: no method answers, nothing leaves; unlocked, the result is there', async () => {
    const rig = await rigOf();
    held(rig).release();
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    const lock = await rig.lock(LOCK);
    for (const method of METHODS) {
      const { text: said, error } = await onTask(rig, method, id, more(method));
      expect(error?.message).toMatch(/^This tool is locked by an administrator\./);
      expect(said).not.toContain(SECRET);
    }
    await rig.unlock(lock);
    expect((await onTask(rig, 'tasks/get', id)).text).toContain(SECRET);
  });

  test('its vulnerable twin, which does not ask again, hands the result out', async () => {
    const rig = await rigOf({ table: blind });
    held(rig).release();
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    await rig.lock(LOCK);
    expect((await onTask(rig, 'tasks/get', id)).text).toContain(SECRET);
  });

  test.each(ERAS)('a tool locked in mid-task: the call ends, and its result is never seen (%s)', async (era) => {
    const rig = await rigOf();
    const { release, gone } = held(rig);
    const how = { era, ...(era === 'legacy' && { task: {} }) };
    const id = await begin(rig, 'optional_job', how);
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    const waiting = era === 'legacy' ? onTask(rig, 'tasks/result', id, { era }) : null;
    const lock = await rig.lock(LOCK);
    await gone;
    release();
    if (waiting) expect((await waiting).text).not.toContain(SECRET);
    await rig.unlock(lock);
    const { statusMessage } = await reaches(rig, id, 'cancelled', { era });
    expect(statusMessage).toContain('Access was withdrawn');
    expect((await onTask(rig, 'tasks/get', id, { era })).text).not.toContain(SECRET);
    const [outcome] = (await rig.entries('outcome')).slice(-1);
    expect(outcome).toMatchObject({ outcome: { status: 'cancelled' } });
  });

  test('a person who left gets nothing, and what they began ends', async () => {
    const rig = await rigOf();
    const { gone } = held(rig);
    const id = await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    await rig.setPerson('dana', ['developer'], { state: 'inactive' });
    await gone;
    expect((await onTask(rig, 'tasks/get', id)).status).toBe(403);
  });

  test('a tool whose definition changed meanwhile is unknown, and so is the result', async () => {
    const rig = await rigOf();
    held(rig).release();
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    rig.sink().setTools(JOBS.map(({ definition }) => ({ ...definition, description: 'Something else.' })));
    await rig.look('notes');
    const { text: said, error } = await onTask(rig, 'tasks/get', id);
    expect(error).toMatchObject({ code: -32602 });
    expect(said).not.toContain(SECRET);
  });
});

describe('the record of a task', () => {
  test('its intent is durable before the server hears of it, its outcome before it is over; looking at it is recorded, too', async () => {
    const rig = await rigOf();
    const before: string[] = [];
    rig.sink().onCall(async () => {
      before.push(...(await rig.entries('intent')).map(({ kind }) => kind));
      return text(SECRET);
    });
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    expect(before).toEqual(['intent']);
    const outcomes = await rig.entries('outcome');
    expect(outcomes).toHaveLength(1);
    await onTask(rig, 'tasks/update', id, { more: { inputResponses: {} } });
    await onTask(rig, 'tasks/cancel', id);
    const methods = (await rig.entries('call', 'intent')).map(
      (entry) => (entry as { call?: { method: string; tool: string } }).call,
    );
    expect(methods).toContainEqual(expect.objectContaining({ method: 'tasks/get', tool: 'optional_job' }));
    expect(methods).toContainEqual(expect.objectContaining({ method: 'tasks/update' }));
    expect(methods).toContainEqual(expect.objectContaining({ method: 'tasks/cancel' }));
  });

  test('without an exchange there is no task, and nothing is sent', async () => {
    let broken = false;
    const rig = await rigOf({
      wrap: (deps) => ({
        ...deps,
        exchange: {
          ...deps.exchange,
          append: (...args) => (broken ? Promise.reject(new Error('full')) : deps.exchange.append(...args)),
        },
      }),
    });
    broken = true;
    await expect(begin(rig, 'optional_job')).rejects.toThrow('could not decide');
    broken = false;
    expect(rig.sink().calls()).toEqual([]);
    expect(await rig.entries('intent')).toHaveLength(1);
  });

  test('without a ledger there is no task, and nothing is sent', async () => {
    const rig = await rigOf();
    rig.faults.before = () => Promise.reject(new Error('EIO'));
    await expect(begin(rig, 'optional_job')).rejects.toThrow('cannot record this call');
    rig.faults.before = null;
    expect(rig.sink().calls()).toEqual([]);
  });

  test('a result whose outcome cannot be recorded is not kept for anybody', async () => {
    const rig = await rigOf();
    held(rig).release();
    rig.faults.before = ({ kind, ref }) => {
      if (kind === 'outcome') throw new LedgerFault('ledger_unavailable', `no room for ${ref}`);
    };
    const id = await begin(rig, 'optional_job');
    const { error } = await reaches(rig, id, 'failed');
    expect(error).toMatchObject({ code: 5030, message: expect.stringContaining('cannot be recorded') as string });
    expect((await onTask(rig, 'tasks/get', id)).text).not.toContain(SECRET);
    expect(rig.sink().calls()).toHaveLength(1);
  });

  test('results that are too much together are withheld, which the log and the task say; others are kept as ever', async () => {
    const rig = await rigOf();
    rig.sink().onCall((one) => text('x'.repeat(one.arguments['text'] === 'small' ? 10 : 1_000_000)));
    const ended = async (): Promise<number> => (await rig.entries('outcome')).length;
    // 64 MiB hold 67 of a million bytes each.
    for (const together of [34, 33]) {
      const before = await ended();
      await Promise.all(Array.from({ length: together }, () => begin(rig, 'optional_job')));
      await rig.until('they have ended', async () => (await ended()) === before + together);
    }
    const outcomes = (await rig.entries('outcome')) as unknown as Array<{ outcome: JsonObject }>;
    expect(new Set(outcomes.map(({ outcome }) => outcome['status']))).toEqual(new Set(['ok']));

    const small = await begin(rig, 'optional_job', { args: { text: 'small' } });
    expect(await reaches(rig, small, 'completed')).toMatchObject({ result: text('x'.repeat(10)) });
    const { result } = await reaches(rig, await begin(rig, 'optional_job'), 'completed');
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: expect.stringMatching(/too large to keep\. The call itself was made\. Reference: /) }],
    });
    expect(rig.sink().calls()).toHaveLength(69);
    const [outcome] = (await rig.entries('outcome')).slice(-1);
    expect(outcome).toMatchObject({ outcome: { status: 'withheld', detail: 'task_quota' } });
  });

  test('one person can have so many tasks and no more, whoever asks for others', async () => {
    const rig = await rigOf();
    held(rig);
    await Promise.all(Array.from({ length: 50 }, () => begin(rig, 'optional_job')));
    await expect(begin(rig, 'optional_job')).rejects.toThrow('Too many calls');
    await expect(begin(rig, 'optional_job', { as: 'dora' })).resolves.toMatch(/^task_/);
  });

  test('the end of the node ends its tasks with an outcome each', async () => {
    const rig = await rigOf();
    held(rig);
    await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    await rig.gateway.close();
    expect(await rig.entries('outcome')).toMatchObject([{ outcome: { status: 'cancelled', detail: 'shutdown' } }]);
  });
});

describe('how long a task may run', () => {
  const asking = { notes: { tools: JOBS, record: { asks: [...ASKS], timeoutMs: 1_000 } } };
  const limits = { callTimeoutMs: 1_000, taskTimeoutMs: 15_000 };

  test('is its own limit: neither that of a call nor that of its server', async () => {
    const rig = await rigOf({ servers: asking, limits });
    const { release } = held(rig);
    const id = await begin(rig, 'optional_job', { era: 'legacy', task: {} });
    const waiting = onTask(rig, 'tasks/result', id, { era: 'legacy' });
    // A plain call that began later has given up by then.
    const plain = await rig.call('notes', 'plain_job', { text: 'x' });
    expect(plain.result?.['isError']).toBe(true);
    release();
    expect((await waiting).text).toContain(SECRET);
  });

  test('and then the call is given up, with an outcome that says so', async () => {
    const rig = await rigOf({ servers: asking, limits: { ...limits, taskTimeoutMs: 200 } });
    const { gone } = held(rig);
    const id = await begin(rig, 'optional_job');
    await gone;
    const { result } = await reaches(rig, id, 'completed');
    expect(result).toMatchObject({ isError: true });
    expect(JSON.stringify(result)).toContain('Whether the call had an effect is unknown');
    expect(await rig.entries('outcome')).toMatchObject([{ outcome: { status: 'failed' } }]);
  });

  test('whoever is asked has as long to answer, and then the task is cancelled', async () => {
    const rig = await rigOf({ servers: asking, limits: { ...limits, taskTimeoutMs: 2_500 } });
    rig.sink().onCall(({ message }) => {
      const answers = (message['params'] as JsonObject)['inputResponses'];
      return answers === undefined ? { resultType: 'input_required', inputRequests: { sure: QUESTION } } : text(SECRET);
    });
    const how = { capabilities: TASKS_AND_FORMS };
    const slow = await begin(rig, 'optional_job', how);
    const shown = await reaches(rig, slow, 'input_required', how);
    const [key] = Object.keys(shown['inputRequests'] as JsonObject);
    await onTask(rig, 'tasks/update', slow, { ...how, more: { inputResponses: { [key!]: AGREED } } });
    await reaches(rig, slow, 'completed', how);
    const forgotten = await begin(rig, 'optional_job', how);
    const { statusMessage } = await reaches(rig, forgotten, 'cancelled', how);
    expect(statusMessage).toBe('Nobody answered in time.');
  });
});

describe('two nodes over one exchange', () => {
  const clock = manualClock(Date.now());

  async function pair(options: RigOptions = {}) {
    let deps: GatewayDeps | undefined;
    const rig = await rigOf({ freshnessLimitMs: 86_400_000, ...options, wrap: (own) => (deps = own) });
    const pool = testPool({ clock: rig.clock });
    const second: Gateway = await startGateway({ ...deps!, node: 'rig-2', pool, listen: { ...deps!.listen, port: 0 } });
    closers.unshift(() => second.close());
    const there = {
      until: rig.until,
      ask(server: string, method: string, params: JsonObject, how: CallOptions = {}): Promise<Answer> {
        const token = rig.token(how.as ?? 'dana', { audience: second.listener.resourceUrl(server) });
        const _meta = { ...ENVELOPE, 'io.modelcontextprotocol/clientCapabilities': how.capabilities ?? TASKS };
        const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: { ...params, _meta } });
        const headers = {
          ...JSON_HEADERS,
          authorization: `Bearer ${token}`,
          ...modernHeaders(method, params),
          ...how.headers,
        };
        return rig.send('POST', rig.endpoint(server), headers, body, second.listener.url);
      },
    };
    return { rig, there };
  }

  test('a task is read, and cancelled, on the node that does not run it', async () => {
    const { rig, there } = await pair();
    const { gone } = held(rig);
    const id = await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    expect((await onTask(there, 'tasks/get', id)).result?.['status']).toBe('working');
    expect((await onTask(there, 'tasks/cancel', id)).error).toBeUndefined();
    await gone;
    expect((await onTask(rig, 'tasks/get', id)).result?.['status']).toBe('cancelled');
    expect((await onTask(there, 'tasks/get', id, { as: 'dora' })).error?.message).toContain('Unknown task.');
  });

  test('what was done is read there after its node has ended, and so is that it stopped in the middle', async () => {
    const { rig, there } = await pair();
    const first = held(rig);
    const done = await begin(rig, 'optional_job');
    first.release();
    await reaches(rig, done, 'completed');
    held(rig);
    const cut = await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length === 2);
    await rig.gateway.close();
    expect((await onTask(there, 'tasks/get', done)).text).toContain(SECRET);
    const { result } = (await onTask(there, 'tasks/get', cut)).result!;
    expect(JSON.stringify(result)).toContain('whether it had an effect is unknown');
  });

  test('an answer given there reaches the server that asked here', async () => {
    const { rig, there } = await pair({
      servers: { notes: { tools: JOBS, record: { asks: [...ASKS] } } },
    });
    rig.sink().onCall(({ message }) => {
      const answers = (message['params'] as JsonObject)['inputResponses'];
      return answers === undefined
        ? { resultType: 'input_required', inputRequests: { sure: QUESTION }, requestState: 'mine' }
        : text(JSON.stringify(answers));
    });
    const how = { capabilities: TASKS_AND_FORMS };
    const id = await begin(rig, 'optional_job', how);
    const shown = await reaches(there, id, 'input_required', how);
    const [key] = Object.keys(shown['inputRequests'] as JsonObject);
    const inputResponses = { [key!]: AGREED };
    await onTask(there, 'tasks/update', id, { ...how, more: { inputResponses } });
    const { result } = await reaches(there, id, 'completed', how);
    expect(JSON.stringify(result)).toContain('\\"ok\\":true');
    expect(rig.sink().calls().at(-1)?.message).toMatchObject({ params: { requestState: 'mine' } });
    // Every leg has a record of its own, and so has the answer before it was used.
    const methods = (await rig.entries('intent')).map(({ call }) => call?.method);
    expect(methods).toEqual(['tools/call', 'tasks/update', 'tools/call']);
    const legs = (await rig.entries('outcome')).filter(({ call }) => call?.method === 'tools/call');
    expect(legs.map(({ outcome }) => outcome?.status)).toEqual(['input_required', 'ok']);
  });

  test('a question before the task is answered there, and the server that waits here goes on: it is called once', async () => {
    const { rig, there } = await pair({
      servers: { notes: { era: 'legacy', tools: JOBS, record: { asks: [...ASKS] } } },
    });
    rig.sink().onCall(async ({ ask }) => text(JSON.stringify(await ask(QUESTION.method, QUESTION.params))));
    const how = { capabilities: TASKS_AND_FORMS };
    const call = { name: 'required_job', arguments: { text: 'x' } };
    const first = (await rig.ask('notes', 'tools/call', call, how)).result!;
    expect(first['resultType']).toBe('input_required');
    const [key] = Object.keys(first['inputRequests'] as JsonObject);
    const retry = { ...call, requestState: first['requestState']!, inputResponses: { [key!]: AGREED } };
    const stolen = await there.ask('notes', 'tools/call', retry, { ...how, as: 'dora' });
    expect(stolen.error?.message).toContain('requestState is not valid');
    const { result } = await there.ask('notes', 'tools/call', retry, how);
    expect(result).toMatchObject({ resultType: 'task' });
    const done = await reaches(there, result!['taskId'] as string, 'completed', how);
    expect(JSON.stringify(done)).toContain('\\"ok\\":true');
    expect(rig.sink().calls()).toHaveLength(1);
  });

  test('a task whose node is silent for 45 s has failed, for everybody; what the node still finds out is not written', async () => {
    const { rig, there } = await pair({ clock });
    const { release, gone } = held(rig);
    const id = await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length === 1);
    clock.advance(44_000);
    expect((await onTask(there, 'tasks/get', id)).result?.['status']).toBe('working');
    clock.advance(2_000);
    const { result } = await onTask(there, 'tasks/get', id);
    expect(result).toMatchObject({ status: 'failed', error: { code: 5030 } });
    expect(JSON.stringify(result)).toContain('whether it had an effect is unknown');
    await gone;
    release();
    await rig.until('its outcome', async () => (await rig.entries('outcome')).length === 1);
    expect((await onTask(rig, 'tasks/get', id)).result?.['status']).toBe('failed');
  });

  test('a task is gone once its time is up', async () => {
    const { rig } = await pair({ clock });
    held(rig).release();
    const id = await begin(rig, 'optional_job');
    await reaches(rig, id, 'completed');
    clock.advance(3_599_000);
    expect((await onTask(rig, 'tasks/get', id, { token: rig.token('dana') })).result?.['status']).toBe('completed');
    clock.advance(2_000);
    expect((await onTask(rig, 'tasks/get', id, { token: rig.token('dana') })).error?.message).toContain(
      'Unknown task.',
    );
  });
});
