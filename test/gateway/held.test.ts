/**
 * How a held call waits (PROTOCOL.md C1): by the best way its client declared, over one approval, to exactly one call at the sink.
 * Bounds are short here; nothing sleeps: a decision is made once the record says that somebody waits.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deny } from '../../src/gateway/guard.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { Gateway, GatewayDeps } from '../../src/gateway/gateway.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { requestStates } from '../../src/protocol/request-state.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { testPool } from '../support/upstreams/open.ts';
import { ENVELOPE, JSON_HEADERS, modernHeaders, startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Rig } from '../support/rig.ts';

let rig: Rig;
let parts: GatewayDeps | null = null;
let serial = 0;
beforeAll(async () => {
  rig = await startRig({
    admin: true,
    wrap: (deps) => (parts = deps),
    approvals: { holdMs: 1_500, blockMs: 1_500, rounds: 3, openPerCaller: 1_000 },
  });
});
afterAll(() => rig.stop());

const URL_CLIENT: JsonObject = { elicitation: { url: {} } };
const TASK_CLIENT: JsonObject = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

let before = 0;
beforeEach(() => void (before = rig.sink().calls().length));
const made = (): number => rig.sink().calls().length - before;
const fresh = (): JsonObject => ({ text: `waits ${++serial}` });
const remove = (args: JsonObject, how: CallOptions = {}, more: JsonObject = {}): Promise<Answer> =>
  rig.ask('notes', 'tools/call', { name: 'delete_note', arguments: args, ...more }, { as: 'omar', ...how });

/** The open request of this call once it is there: found by its number of arguments, since they are sealed. */
async function asked(args: JsonObject): Promise<{ readonly id: string; readonly call: string }> {
  let found: JsonObject | undefined;
  const look = async (): Promise<boolean> => {
    const { body } = await rig.admin('petra', 'GET', '/approvals?state=mine-to-decide&limit=1000');
    for (const { id } of body['approvals'] as JsonObject[]) {
      const read = await rig.admin('petra', 'GET', `/approvals/${id as string}`);
      if (JSON.stringify(read.body['arguments']) === JSON.stringify(args)) found = read.body;
    }
    return found !== undefined;
  };
  for (let tries = 0; !(await look()) && tries < 1_000; tries++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  if (found === undefined) throw new Error('nobody was asked');
  return { id: found['id'] as string, call: found['call'] as string };
}
const decide = async (args: JsonObject, what: 'approve' | 'deny'): Promise<string> => {
  const { id, call } = await asked(args);
  const decided = await rig.admin('petra', 'POST', `/approvals/${id}/${what}`, { call });
  expect(decided.status, decided.text).toBe(200);
  return id;
};
const passed = ({ result }: Answer): boolean =>
  result !== undefined && result['isError'] !== true && result['resultType'] !== 'input_required';
const stateOf = ({ result }: Answer): string => {
  expect(result?.['resultType']).toBe('input_required');
  return result!['requestState'] as string;
};

describe('a modern client that can be told to come back', () => {
  test('AP-09: is answered in the same request when the yes comes while it waits', async () => {
    const args = fresh();
    const waiting = remove(args);
    const id = await decide(args, 'approve');
    const answer = await waiting;
    expect([passed(answer), made()], answer.text).toEqual([true, 1]);
    const chain = await rig.about(answer.reference);
    expect(chain.map(({ kind }) => kind)).toEqual(['denial', 'intent', 'outcome']);
    expect(chain[0]?.decision).toMatchObject({ verdict: 'hold', approval: id });
    expect(chain[1]).toMatchObject({ decision: { verdict: 'allow', approval: id } });
    expect(typeof chain[1]?.prev).toBe('number');
  });

  test('AP-09: comes back with a state alone, and its retry is carried out once', async () => {
    const args = fresh();
    const first = await remove(args);
    const requestState = stateOf(first);
    expect(first.result?.['inputRequests']).toBeUndefined();
    const retry = remove(args, {}, { requestState });
    await decide(args, 'approve');
    expect(passed(await retry)).toBe(true);
    const again = await remove(args, {}, { requestState });
    expect(again.text).toContain('was used for the same call already');
    expect(made()).toBe(1);
  });

  test('is told after its last round what is pending and how to go on', async () => {
    const args = fresh();
    let answer = await remove(args);
    for (let round = 0; round < 3; round++) answer = await remove(args, {}, { requestState: stateOf(answer) });
    expect(answer.text).toMatch(
      /waits for a person's approval \(apr_\w+, until .*call again with exactly the same arguments/,
    );
    await decide(args, 'approve');
    expect(passed(await remove(args))).toBe(true);
    expect(made()).toBe(1);
  });

  test('is told of a no, in the same request and by the same state later; nothing is sent', async () => {
    const args = fresh();
    const requestState = stateOf(await remove(args));
    const waiting = remove(args, {}, { requestState });
    await decide(args, 'deny');
    expect((await waiting).text).toContain('The approval of this call was denied');
    expect((await remove(args, {}, { requestState })).text).toContain('The approval of this call was denied');
    expect(made()).toBe(0);
  });
});

describe('a modern client that can open a page', () => {
  test('AP-09: is sent to the page of who asks, never to one that decides, and waits with its retry', async () => {
    const args = fresh();
    const first = await remove(args, { capabilities: URL_CLIENT });
    const requestState = stateOf(first);
    const { id } = await asked(args);
    const { adminUrl } = rig;
    expect(first.result?.['inputRequests']).toEqual({
      'gw.approval': {
        method: 'elicitation/create',
        params: {
          mode: 'url',
          url: `${adminUrl}/requests/${id}`,
          message: expect.stringContaining('an approver') as string,
        },
      },
    });
    const inputResponses = { 'gw.approval': { action: 'accept' } };
    const retry = remove(args, { capabilities: URL_CLIENT }, { requestState, inputResponses });
    await decide(args, 'approve');
    expect([passed(await retry), made()]).toEqual([true, 1]);
  });

  test('AP-04: accept, and whatever else a client answers, approves nothing', async () => {
    const args = fresh();
    let state = stateOf(await remove(args, { capabilities: URL_CLIENT }));
    for (const answer of [
      { action: 'accept' },
      { action: 'accept', content: { approved: true, decidedBy: 'petra' } },
      { action: 'approve' },
    ]) {
      const again = await remove(
        args,
        { capabilities: URL_CLIENT },
        { requestState: state, inputResponses: { 'gw.approval': answer } },
      );
      state = again.result?.['resultType'] === 'input_required' ? (again.result['requestState'] as string) : state;
    }
    const { id } = await asked(args);
    expect((await rig.admin('petra', 'GET', `/approvals/${id}`)).body['state']).toBe('pending');
    expect(made()).toBe(0);
  });

  test('AP-04 twin: where an accept of the client counted, the same answer deletes', async () => {
    const believes: Guard['decide'] = (call, gathered) => {
      const { held } = gathered as { readonly held: { readonly state: string; readonly id: string } | null };
      const answers = call.message.params['inputResponses'] as JsonObject | undefined;
      if (held?.state !== 'pending' || answers?.['gw.approval'] !== undefined) return { pass: true };
      return deny({
        reason: 'approval_needed',
        approval: held.id,
        expiresAt: Date.now() + 60_000,
        page: 'https://x.test',
      });
    };
    const open = await startRig({ table: tableWith({ 'person-agreed': believes }) });
    try {
      const params = { name: 'delete_note', arguments: fresh() };
      const how = { as: 'omar', capabilities: URL_CLIENT };
      await open.call('notes', 'read_note', { text: 'x' }, how);
      const at = open.sink().calls().length;
      const requestState = stateOf(await open.ask('notes', 'tools/call', params, how));
      expect(open.sink().calls()).toHaveLength(at);
      const inputResponses = { 'gw.approval': { action: 'accept' } };
      await open.ask('notes', 'tools/call', { ...params, requestState, inputResponses }, how);
      expect(open.sink().calls()).toHaveLength(at + 1);
    } finally {
      await open.stop();
    }
  });

  test.each(['decline', 'cancel'])('%s takes the call back', async (action) => {
    const args = fresh();
    const requestState = stateOf(await remove(args, { capabilities: URL_CLIENT }));
    const { id, call } = await asked(args);
    const inputResponses = { 'gw.approval': { action } };
    const answer = await remove(args, { capabilities: URL_CLIENT }, { requestState, inputResponses });
    expect(answer.text).toContain('Declined by user');
    const late = await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call });
    expect(late.error).toMatchObject({ code: 'approval_state', message: 'The call is cancelled already.' });
    expect(made()).toBe(0);
  });
});

describe('the state of a waiting call', () => {
  test('AZ-09: is nobody else’s, of no other call, and not one bit of it may differ', async () => {
    const args = fresh();
    const requestState = stateOf(await remove(args));
    const { id } = await asked(args);
    const bits = Buffer.from(requestState, 'base64url');
    bits[40]! ^= 1;
    const refused: ReadonlyArray<readonly [string, Promise<Answer>]> = [
      ['other arguments', remove({ text: 'everything' }, {}, { requestState })],
      ['another person', remove(args, { as: 'otto' }, { requestState })],
      ['another agent', remove(args, { client: 'agent-2' }, { requestState })],
      [
        'another tool',
        rig.ask('notes', 'tools/call', { name: 'run_job', arguments: args, requestState }, { as: 'omar' }),
      ],
      ['a flipped bit', remove(args, {}, { requestState: bits.toString('base64url') })],
      ['one of our own making', remove(args, {}, { requestState: forged(id) })],
    ];
    for (const [what, answer] of refused) expect([what, (await answer).error?.code]).toEqual([what, -32602]);
    expect(made()).toBe(0);
  });

  const forged = (held: string): string =>
    requestStates([new Uint8Array(32).fill(1)], systemClock).seal({
      who: '',
      org: 'default',
      server: 'notes',
      method: 'tools/call',
      item: 'delete_note',
      args: '',
      exp: Date.now() + 60_000,
      round: 1,
      upstream: null,
      park: null,
      asked: {},
      approval: { id: held, call: 'sha256:0' },
    });
});

describe('a client that leaves', () => {
  test('ends its waiting and not the request: whoever calls again attaches to it', async () => {
    const args = fresh();
    const live = await rig.live('notes', 'tools/call', { name: 'delete_note', arguments: args }, { as: 'omar' });
    const { id } = await asked(args);
    live.leave();
    await rig.until('the call is over', () => rig.gateway.inflight() === 0);
    const waiting = remove(args);
    expect(await decide(args, 'approve')).toBe(id);
    expect([passed(await waiting), made()]).toEqual([true, 1]);
  });
});

describe('an old client', () => {
  test('AP-09: that can do nothing else is kept waiting, and carried out once', async () => {
    const args = fresh();
    const waiting = remove(args, { era: 'legacy' });
    await decide(args, 'approve');
    expect([passed(await waiting), made()]).toEqual([true, 1]);
  });

  test('is told what is pending, where, and to call again', async () => {
    const args = fresh();
    const answer = await remove(args, { era: 'legacy' });
    const { id } = await asked(args);
    expect(answer.result?.['isError']).toBe(true);
    for (const part of [id, `${rig.adminUrl}/requests/${id}`, 'call again with exactly the same arguments'])
      expect(answer.text).toContain(part);
    await decide(args, 'approve');
    expect(passed(await remove(args, { era: 'legacy' }))).toBe(true);
    expect(made()).toBe(1);
  });

  test('AP-09: that can visit a page is sent there by -32042, hears when it was decided, and calls again', async () => {
    const args = fresh();
    const how: CallOptions = { era: 'legacy', capabilities: URL_CLIENT };
    const session = await rig.openSession('notes', rig.token('omar'), undefined, URL_CLIENT);
    const bearer = rig.token('omar');
    const hearing = rig.sendLive('GET', '/mcp/default/notes', {
      authorization: `Bearer ${bearer}`,
      accept: 'text/event-stream',
      'mcp-session-id': session,
      'mcp-protocol-version': '2025-11-25',
    });
    const answer = await remove(args, { ...how, session, token: bearer });
    const { id } = await asked(args);
    expect(answer.error).toMatchObject({
      code: -32042,
      data: { elicitations: [{ mode: 'url', elicitationId: id, url: `${rig.adminUrl}/requests/${id}` }] },
    });
    await rig.until('the session listens', () => rig.gateway.openStreams > 0);
    await decide(args, 'approve');
    expect(await hearing.event('notifications/elicitation/complete')).toMatchObject({ params: { elicitationId: id } });
    hearing.leave();
    expect(passed(await remove(args, { ...how, session, token: bearer }))).toBe(true);
    expect(made()).toBe(1);
  });
});

describe('a client that follows tasks', () => {
  const HOW: CallOptions = { capabilities: TASK_CLIENT };
  const get = (taskId: string): Promise<Answer> =>
    rig.ask('notes', 'tasks/get', { taskId }, { as: 'omar', ...HOW, headers: { 'mcp-name': taskId } });
  const over = async (taskId: string): Promise<JsonObject> => {
    let task: JsonObject = {};
    for (let tries = 0; tries < 1_000 && (task['status'] ?? 'working') === 'working'; tries++) {
      task = (await get(taskId)).result!;
      if (task['status'] === 'working') await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return task;
  };
  const begin = async (args: JsonObject): Promise<string> => {
    const { result } = await remove(args, HOW);
    const { id } = await asked(args);
    expect(result).toMatchObject({
      resultType: 'task',
      status: 'working',
      statusMessage: `Waiting for approval by an approver; open ${rig.adminUrl}/requests/${id}`,
      pollIntervalMs: 5_000,
    });
    expect(result!['ttlMs'] as number).toBeGreaterThan(14 * 60_000);
    return result!['taskId'] as string;
  };

  test('AP-09: gets one, and the call is made once when the yes comes', async () => {
    const args = fresh();
    const taskId = await begin(args);
    expect(made()).toBe(0);
    const id = await decide(args, 'approve');
    const task = await over(taskId);
    expect(task).toMatchObject({ status: 'completed', result: { content: expect.anything() as unknown } });
    expect((task['result'] as JsonObject)['isError']).not.toBe(true);
    expect(made()).toBe(1);
    expect((await rig.admin('petra', 'GET', `/approvals/${id}`)).body['state']).toBe('used');
  });

  test('a no completes it with a result that is an error', async () => {
    const args = fresh();
    const taskId = await begin(args);
    await decide(args, 'deny');
    expect(await over(taskId)).toMatchObject({ status: 'completed', result: { isError: true } });
    expect(made()).toBe(0);
  });

  test('every guard is asked again after the yes: who lost the right meanwhile gets nothing', async () => {
    const args = fresh();
    const taskId = await begin(args);
    await rig.policy(
      'freeze',
      'forbid (principal, action, resource) when { resource.risk == Remit::Risk::"destructive" };',
    );
    await decide(args, 'approve');
    await rig.until('nothing waits', () => rig.gateway.inflight() === 0);
    await rig.policy('freeze', null);
    const task = await over(taskId);
    expect(task['status']).toBe('completed');
    expect(JSON.stringify(task['result'])).toContain('isError');
    expect(made()).toBe(0);
  });

  test('a lock on who asked ends it, and a yes after that starts nothing', async () => {
    const args = fresh();
    await begin(args);
    const { id, call } = await asked(args);
    const lock = await rig.lock({ kind: 'user', value: 'omar' });
    await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call });
    await rig.until('nothing waits', () => rig.gateway.inflight() === 0);
    await rig.unlock(lock);
    expect(made()).toBe(0);
  });

  test('cancelling the task takes the request back', async () => {
    const args = fresh();
    const taskId = await begin(args);
    const { id, call } = await asked(args);
    await rig.ask('notes', 'tasks/cancel', { taskId }, { as: 'omar', ...HOW, headers: { 'mcp-name': taskId } });
    await rig.until(
      'the request is over',
      () => rig.view.get('approval', 'default', id)?.body['state'] === 'cancelled',
    );
    expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call })).error?.code).toBe('approval_state');
    expect(made()).toBe(0);
  });
});

describe('in the log', () => {
  test('AP-09: hold, decision and use are one chain, also where the use is another call', async () => {
    const args = fresh();
    const hold = await remove(args, { era: 'legacy' });
    const id = await decide(args, 'approve');
    const use = await remove(args, { era: 'legacy' });
    expect(passed(use)).toBe(true);
    for (const { reference } of [hold, use]) {
      const { body } = await rig.admin('aiko', 'GET', `/audit/calls/${reference}`);
      expect(body['agreement']).toMatchObject([
        { what: 'hold', approval: id, call: hold.reference, person: 'omar' },
        { what: 'approval.approved', approval: id, call: null, person: 'petra' },
        { what: 'allow', approval: id, call: use.reference, person: 'omar' },
      ]);
    }
  });
});

describe('several nodes, and nodes that end', () => {
  /** The same deployment on a second node. */
  async function another(): Promise<{ readonly node: Gateway; stop(): Promise<void> }> {
    const pool = testPool();
    const node = await startGateway({ ...parts!, node: 'rig-2', pool });
    await node.refresh('notes');
    return {
      node,
      async stop() {
        await node.close();
        await pool.closeAll();
      },
    };
  }
  const post = async (
    node: Gateway,
    args: JsonObject,
    more: JsonObject = {},
    capabilities: JsonObject = {},
    method = 'tools/call',
  ): Promise<JsonObject> => {
    const resource = node.listener.resourceUrl('notes');
    const own = method === 'tools/call' ? { name: 'delete_note', arguments: args } : {};
    const params = {
      ...own,
      ...more,
      _meta: { ...ENVELOPE, 'io.modelcontextprotocol/clientCapabilities': capabilities },
    };
    const response = await fetch(resource, {
      method: 'POST',
      headers: {
        ...JSON_HEADERS,
        ...modernHeaders(method, params),
        ...(typeof more['taskId'] === 'string' && { 'mcp-name': more['taskId'] }),
        authorization: `Bearer ${rig.token('omar', { audience: resource })}`,
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    });
    const text = await response.text();
    return JSON.parse(text.startsWith('{') ? text : text.slice(text.lastIndexOf('data: ') + 6)) as JsonObject;
  };

  test('AP-09: a call that waits on two nodes at once is made once', async () => {
    const other = await another();
    try {
      const args = fresh();
      const here = remove(args);
      const { id } = await asked(args);
      const there = post(other.node, args);
      await rig.until('both wait', () => other.node.inflight() > 0 && rig.gateway.inflight() > 0);
      expect(await decide(args, 'approve')).toBe(id);
      await Promise.all([here, there]);
      expect(made()).toBe(1);
    } finally {
      await other.stop();
    }
  });

  test('a state of one node is good on the other', async () => {
    const other = await another();
    try {
      const args = fresh();
      const requestState = stateOf(await remove(args));
      const retry = post(other.node, args, { requestState });
      await decide(args, 'approve');
      expect(((await retry)['result'] as JsonObject)['isError']).not.toBe(true);
      expect(made()).toBe(1);
    } finally {
      await other.stop();
    }
  });

  test('AP-09: a task whose node ends while it waits says that nothing was sent; the yes is good for calling again', async () => {
    const other = await another();
    const args = fresh();
    const begun = (await post(other.node, args, {}, TASK_CLIENT))['result'] as JsonObject;
    expect(begun).toMatchObject({ resultType: 'task', status: 'working' });
    const { id } = await asked(args);
    await other.stop();
    const taskId = begun['taskId'] as string;
    const how = { as: 'omar', capabilities: TASK_CLIENT, headers: { 'mcp-name': taskId } };
    const { result } = await rig.ask('notes', 'tasks/get', { taskId }, how);
    expect(result).toMatchObject({
      status: 'failed',
      error: { message: expect.stringContaining('Nothing was sent') as string },
    });
    expect(await decide(args, 'approve')).toBe(id);
    expect(made()).toBe(0);
    expect([passed(await remove(args)), made()]).toEqual([true, 1]);
  });
});
