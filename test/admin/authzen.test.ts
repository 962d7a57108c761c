/** AuthZEN Authorization API 1.0: the examples of the specification and of its certification scenario, over our people and items. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { ORG, startRig, type Rig } from '../support/rig.ts';

let rig: Rig;
let origin: string;
beforeAll(async () => {
  rig = await startRig({ admin: true });
  origin = rig.adminUrl!;
  await rig.call('notes', 'read_note', { text: 'x' }, { as: 'dana' });
});
afterAll(() => rig.stop());

const CLIENT = 'agent-1';
const dana = { type: 'person', id: 'dana' };
const read = { type: 'tool', id: 'notes/read_note' };
const remove = { type: 'tool', id: 'notes/delete_note' };
const call = { name: 'callTool' };
const context = { agent: CLIENT, scopes: ['notes:read', 'notes:write', 'notes:delete'] };

interface Reply {
  readonly status: number;
  readonly body: JsonObject;
  readonly headers: Headers;
}
const tokenOf = (name: string): string =>
  rig.issuer.mint({ sub: `${name}@corp`, client_id: 'remit-cli', aud: `${origin}/api/v1`, scope: 'admin:read' });
async function post(path: string, body: unknown, headers: Record<string, string> = {}, as = 'sven'): Promise<Reply> {
  const response = await fetch(`${origin}/access/v1/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tokenOf(as)}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as JsonObject, headers: response.headers };
}
const one = (body: unknown) => post('evaluation', body);
const ask = { subject: dana, action: call, resource: read, context };

describe('access evaluation', () => {
  test('permits what a call would get', async () => {
    const reply = await one(ask);
    expect([reply.status, reply.body]).toEqual([
      200,
      { decision: true, context: { policies: ['baseline.developer'] } },
    ]);
    expect(reply.headers.get('content-type')).toContain('application/json');
  });

  test.each<[string, JsonObject, JsonObject]>([
    [
      'no scope',
      { ...ask, context: { agent: CLIENT } },
      { reason: 'scope_missing', verdict: 'challenge', required_scopes: ['notes:read'] },
    ],
    ['no agent', { ...ask, context: { scopes: ['notes:read'] } }, { reason: 'agent_unsaid' }],
    ['no context', { subject: dana, action: call, resource: read }, { reason: 'agent_unsaid' }],
    ['an agent nobody knows', { ...ask, context: { ...context, agent: 'stranger' } }, { reason: 'agent_unknown' }],
    ['somebody nobody knows', { ...ask, subject: { type: 'person', id: 'mallory' } }, { reason: 'subject_unknown' }],
    [
      'a kind of subject we have not',
      { ...ask, subject: { type: 'user', id: 'dana' } },
      { reason: 'subject_type_unknown' },
    ],
    [
      'an item nobody knows',
      { ...ask, resource: { type: 'tool', id: 'notes/nothing' } },
      { reason: 'resource_unknown' },
    ],
    [
      'an item without its server',
      { ...ask, resource: { type: 'tool', id: 'read_note' } },
      { reason: 'resource_unknown' },
    ],
    [
      'a member of Object',
      { ...ask, resource: { type: 'constructor', id: 'notes/read_note' } },
      { reason: 'resource_type_unknown' },
    ],
    ['another action', { ...ask, action: { name: 'delete' } }, { reason: 'action_unknown' }],
    ['what policy denies', { ...ask, resource: remove }, { reason: 'not_permitted', verdict: 'deny' }],
    [
      'what would be held',
      { ...ask, subject: { type: 'person', id: 'omar' }, resource: remove },
      { reason: 'approval_missing', verdict: 'hold' },
    ],
    [
      'arguments that do not fit',
      { ...ask, context: { ...context, arguments: { text: 7 } } },
      { reason: 'arguments_invalid', verdict: 'deny' },
    ],
  ])('a request with %s is false, with its reason', async (_, body, why) => {
    const reply = await one(body);
    expect([reply.status, reply.body['decision'], reply.body['context']]).toEqual([
      200,
      false,
      expect.objectContaining(why),
    ]);
  });

  test('what the caller says of subject, action and resource is not believed, and what we do not know is ignored', async () => {
    const properties = { roles: ['operator'], role: 'administrator', risk: 'read' };
    const lying = {
      ...ask,
      subject: { ...dana, properties },
      resource: { ...remove, properties },
      action: { ...call, properties },
    };
    expect((await one(lying)).body['decision']).toBe(false);
    const more = {
      ...ask,
      foo: 'bar',
      futureField: { nested: true },
      context: { ...context, time: '2027-06-27T18:03-07:00', ip: '192.168.1.1' },
    };
    expect((await one(more)).body['decision']).toBe(true);
  });

  test.each<[string, unknown]>([
    ['no subject', { action: call, resource: read }],
    ['no action', { subject: dana, resource: read }],
    ['no resource', { subject: dana, action: call }],
    ['a subject without type', { ...ask, subject: { id: 'dana' } }],
    ['a subject without id', { ...ask, subject: { type: 'person' } }],
    ['an action without name', { ...ask, action: {} }],
    ['a resource without type', { ...ask, resource: { id: 'x' } }],
    ['a resource without id', { ...ask, resource: { type: 'tool' } }],
    ['a subject that is a text', { ...ask, subject: 'dana' }],
    ['an action named by a number', { ...ask, action: { name: 123 } }],
    ['scopes that are a text', { ...ask, context: { ...context, scopes: 'notes:read' } }],
    ['a time that is none', { ...ask, context: { ...context, time: 'yesterday' } }],
    ['a list', [ask]],
    ['no JSON', '{"subject":'],
    ['one member twice', '{"subject":1,"subject":2}'],
    ['nothing', ''],
  ])('%s is a bad request', async (_, body) => {
    for (const path of ['evaluation', 'evaluations'])
      expect([path, (await post(path, body)).status]).toEqual([path, 400]);
  });

  test('another media type is a bad request; without a good token nobody is answered', async () => {
    expect(
      (await post('evaluation', 'subject=dana', { 'content-type': 'application/x-www-form-urlencoded' })).status,
    ).toBe(400);
    const reply = await post('evaluation', ask, { authorization: 'Bearer nothing' });
    expect([reply.status, reply.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('Bearer')]);
    expect((await post('evaluation', ask, {}, 'dana')).status).toBe(403);
  });

  test('the identifier of a request comes back, whatever the answer is', async () => {
    const id = { 'x-request-id': 'bfe9eb29-ab87-4ca3-be83-a1d5d8305716' };
    for (const reply of [
      await post('evaluation', ask, id),
      await post('evaluation', {}, id),
      await post('evaluation', ask, { ...id, authorization: 'Bearer x' }),
    ])
      expect(reply.headers.get('x-request-id')).toBe(id['x-request-id']);
    expect((await one(ask)).headers.get('x-request-id')).toBeNull();
  });

  test('an agent that acts alone is a subject, too, as itself', async () => {
    const { issuer } = rig.issuer;
    const bot = {
      issuer,
      clientId: 'job',
      title: 'Job',
      kind: 'autonomous',
      state: 'active',
      owner: 'omar',
      roles: ['developer'],
      ceiling: { risks: ['read'] },
    };
    await rig.commit([{ kind: 'agent', org: ORG, id: 'agent_job', body: bot, key: `${issuer} job` }]);
    const subject = { type: 'agent', id: 'agent_job' };
    expect((await one({ ...ask, subject })).body['decision']).toBe(true);
    expect((await one({ ...ask, subject, resource: { type: 'tool', id: 'notes/write_note' } })).body).toMatchObject({
      decision: false,
      context: { reason: 'above_ceiling' },
    });
  });

  test('says what the call gets, before and after a lock', async () => {
    expect((await one(ask)).body['decision']).toBe(true);
    const lock = await rig.lock({ kind: 'tool', value: 'notes/read_note' });
    expect((await one(ask)).body).toMatchObject({ decision: false, context: { reason: 'locked:tool' } });
    await rig.unlock(lock);
  });
});

describe('access evaluations', () => {
  const many = (body: JsonObject) => post('evaluations', body);

  test('answers in order, with defaults that each request may replace', async () => {
    const reply = await many({
      subject: dana,
      action: call,
      context,
      evaluations: [
        { resource: read },
        { resource: remove },
        { resource: read, subject: { type: 'person', id: 'aiko' } },
        { resource: read, context: { agent: CLIENT } },
      ],
    });
    expect([reply.status, (reply.body['evaluations'] as JsonObject[]).map(({ decision }) => decision)]).toEqual([
      200,
      [true, false, false, false],
    ]);
    expect(reply.body['decision']).toBeUndefined();
  });

  test.each([
    ['execute_all', [true, false, true]],
    ['deny_on_first_deny', [true, false]],
    ['permit_on_first_permit', [true]],
  ])('%s', async (evaluations_semantic, decisions) => {
    const reply = await many({
      ...ask,
      options: { evaluations_semantic, another_option: 'value' },
      evaluations: [{}, { resource: remove }, {}],
    });
    expect((reply.body['evaluations'] as JsonObject[]).map(({ decision }) => decision)).toEqual(decisions);
  });

  test('what one request lacks is its own no; what all of them lack is a bad request', async () => {
    const reply = await many({ subject: dana, action: call, context, evaluations: [{ resource: read }, {}] });
    expect([reply.status, reply.body['evaluations']]).toMatchObject([
      200,
      [{ decision: true }, { decision: false, context: { error: { status: 400 } } }],
    ]);
    expect((await many({ ...ask, options: { evaluations_semantic: 'maybe' }, evaluations: [{}] })).status).toBe(400);
    expect((await many({ ...ask, evaluations: [7] })).status).toBe(400);
    expect((await many({ ...ask, evaluations: Array.from({ length: 101 }, () => ({})) })).status).toBe(400);
  });

  test('without requests it is the single one', async () => {
    expect((await many(ask)).body['decision']).toBe(true);
    expect((await many({ ...ask, evaluations: [] })).body['decision']).toBe(true);
  });
});

test('the metadata names the decision point it was fetched from, and only what is there', async () => {
  const response = await fetch(`${origin}/.well-known/authzen-configuration`);
  expect([response.status, response.headers.get('content-type'), await response.json()]).toEqual([
    200,
    expect.stringContaining('application/json'),
    {
      policy_decision_point: origin,
      access_evaluation_endpoint: `${origin}/access/v1/evaluation`,
      access_evaluations_endpoint: `${origin}/access/v1/evaluations`,
    },
  ]);
});
