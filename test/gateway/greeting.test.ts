/** What a client learns before it calls: initialize, discovery, ping, and lists that are filtered for exactly this caller and never kept for another. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERAS, initialize, startRig, textTool } from '../support/rig.ts';
import type { Headers, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({
    servers: { notes: {}, old: { era: 'legacy' }, other: { tools: [textTool('other_read', 'read', 'o:r')] } },
  });
});
afterAll(() => rig.stop());

const bearer = (as = 'dana', server = 'notes'): string => `Bearer ${rig.token(as, { server })}`;

describe('initialize', () => {
  test.each([
    ['2025-11-25', '2025-11-25'],
    ['2025-06-18', '2025-06-18'],
    ['2025-03-26', '2025-03-26'],
    ['2024-11-05', '2024-11-05'],
    ['2026-07-28', '2025-11-25'],
    ['1999-01-01', '2025-11-25'],
    ['', '2025-11-25'],
  ])('asked for %s agrees on %s, and says nothing of the server behind', async (asked, agreed) => {
    const answer = await rig.post('old', initialize(asked), { authorization: bearer('dana', 'old') });
    expect(answer.status).toBe(200);
    expect(answer.result).toEqual({
      protocolVersion: agreed,
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        ...(agreed >= '2025-03-26' && { completions: {} }),
        ...(agreed === '2025-11-25' && { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }),
      },
      serverInfo: { name: 'remit-gateway', version: '0.0.0-test' },
    });
    expect(answer.text).not.toContain('Everything sent here is kept');
    expect(String(answer.headers['mcp-session-id'])).toMatch(/^[\w-]{40,}$/);
  });

  test('gives every session its own id, and none that tells what is in it', async () => {
    const ids = await Promise.all([1, 2, 3].map(() => rig.openSession('old', bearer('dana', 'old').slice(7))));
    expect(new Set(ids).size).toBe(3);
    for (const id of ids)
      expect(Buffer.from(id, 'base64url').toString('latin1')).not.toMatch(/dana|agent-1|default|corp/);
  });

  test('asks no server: a gateway in front of a dead one still greets', async () => {
    const before = rig.sink('old').received.length;
    await rig.openSession('old', bearer('dana', 'old').slice(7));
    expect(rig.sink('old').received).toHaveLength(before);
  });
});

test('server/discover names the versions spoken and tools, and no instructions', async () => {
  const { result } = await rig.ask('notes', 'server/discover', {});
  expect(result).toMatchObject({
    resultType: 'complete',
    supportedVersions: ['2026-07-28'],
    capabilities: { tools: { listChanged: true }, extensions: { 'io.modelcontextprotocol/tasks': {} } },
  });
  expect(result).not.toHaveProperty('instructions');
});

test('ping is answered and not recorded', async () => {
  const session = await rig.openSession('notes', bearer().slice(7));
  const before = (await rig.entries()).length;
  const answer = await rig.post(
    'notes',
    { jsonrpc: '2.0', id: 3, method: 'ping' },
    { authorization: bearer(), 'mcp-session-id': session },
  );
  expect(answer.body).toEqual({ jsonrpc: '2.0', id: 3, result: {} });
  expect((await rig.entries()).length).toBe(before);
});

test('L1: ping is all that is answered before initialize, and to nobody without a token or with the session of another', async () => {
  const ask = (method: string, headers: Headers) =>
    rig.post('notes', { jsonrpc: '2.0', id: 3, method, params: {} }, headers);
  const authorization = bearer();
  expect((await ask('ping', { authorization })).body).toEqual({ jsonrpc: '2.0', id: 3, result: {} });
  expect((await ask('ping', {})).status).toBe(401);
  const session = await rig.openSession('notes', bearer('dora').slice(7));
  expect((await ask('ping', { authorization, 'mcp-session-id': session })).status).toBe(404);
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'tasks/list'])
    expect((await ask(method, { authorization })).error?.message).toMatch(/^Missing Mcp-Session-Id header/);
});

describe('a list', () => {
  test.each(ERAS)('is recorded with its digest, %s', async (era) => {
    const before = (await rig.entries('call')).length;
    await rig.ask('notes', 'tools/list', {}, { era });
    const entries = (await rig.entries('call')).slice(before);
    expect(entries.at(-1)).toMatchObject({
      call: { method: 'tools/list', server: 'notes', tool: null, era },
      outcome: { status: 'ok' },
    });
    expect(entries.at(-1)?.outcome?.result).toMatch(/^sha256:/);
  });

  test('is the same bytes for the same caller, without asking the server again', async () => {
    const first = await rig.ask('notes', 'tools/list', {});
    const before = rig.sink().received.length;
    for (let i = 0; i < 5; i++) expect((await rig.ask('notes', 'tools/list', {})).text).toBe(first.text);
    expect(rig.sink().received).toHaveLength(before);
  });

  test('is sorted by name', async () => {
    expect(await rig.names('notes', { as: 'omar' })).toEqual([
      'delete_note',
      'pay_bill',
      'read_note',
      'run_job',
      'write_note',
    ]);
  });
});

/** Each row asks twice: what was kept for the first question must not answer the second. */
describe('a kept list is never used for', () => {
  const READING = ['read_note', 'write_note'];
  const ALL = ['delete_note', 'pay_bill', 'read_note', 'run_job', 'write_note'];

  test('another person', async () => {
    expect(await rig.names('notes')).toEqual(READING);
    expect(await rig.names('notes', { as: 'omar' })).toEqual(ALL);
    expect(await rig.names('notes', { as: 'sven' })).toEqual(['read_note']);
    expect(await rig.names('notes', { as: 'aiko' })).toEqual([]);
    expect(await rig.names('notes')).toEqual(READING);
  });

  test('another server', async () => {
    expect(await rig.names('notes')).toEqual(READING);
    expect(await rig.names('other')).toEqual(['other_read']);
  });

  test('another agent', async () => {
    await rig.policy(
      'agent',
      'forbid (principal, action, resource) when { context.agent == Remit::Agent::"agent-9" };',
    );
    expect(await rig.names('notes')).toEqual(READING);
    expect(await rig.names('notes', { client: 'agent-9' })).toEqual([]);
    await rig.policy('agent', null);
  });

  test('another revision of the protocol', async () => {
    const token = rig.token('dana');
    const shape = async (version: string): Promise<readonly string[]> => {
      const session = await rig.openSession('notes', token, version);
      const headers = { 'mcp-protocol-version': version };
      const { result } = await rig.ask('notes', 'tools/list', {}, { era: 'legacy', token, session, headers });
      return Object.keys(result!).toSorted();
    };
    expect(await shape('2025-11-25')).not.toContain('resultType');
    expect(await shape('2025-03-26')).not.toContain('resultType');
    expect(Object.keys((await rig.ask('notes', 'tools/list', {}, { token })).result!)).toContain('resultType');
  });

  test('another state: policy, role, lock, review', async () => {
    expect(await rig.names('notes')).toEqual(READING);
    await rig.policy('freeze', 'forbid (principal, action, resource) when { resource.risk == Remit::Risk::"write" };');
    expect(await rig.names('notes')).toEqual(['read_note']);
    await rig.policy('freeze', null);
    expect(await rig.names('notes')).toEqual(READING);
    await rig.setPerson('dana', ['operator']);
    expect(await rig.names('notes')).toEqual(ALL);
    await rig.setPerson('dana', ['developer']);
    const lock = await rig.lock({ kind: 'tool', value: 'notes/read_note' });
    expect(await rig.names('notes')).toEqual(['write_note']);
    await rig.unlock(lock);
    expect(await rig.names('notes')).toEqual(READING);
  });

  test('another sighting of the server', async () => {
    const spec = textTool('other_read', 'read', 'o:r');
    expect(await rig.names('other')).toEqual(['other_read']);
    const head = rig.view.revision;
    rig.sink('other').intercept(({ message }) => {
      if (message?.['method'] !== 'tools/list') return null;
      const result = { resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools: [] };
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: message['id'], result }),
      };
    });
    await rig.gateway.refresh('other');
    expect(await rig.names('other')).toEqual([]);
    rig.sink('other').intercept(null);
    await rig.look('other');
    expect(await rig.names('other')).toEqual([spec.definition['name']]);
    expect(rig.view.revision).toBeGreaterThan(head);
  });
});

test('a server that was never seen and cannot be asked has no list, and the answer says so', async () => {
  rig.sink('old').intercept(() => ({ status: 500 }));
  await rig.pool.close('old', 'test');
  await rig.until('the sighting is forgotten', () => rig.gateway.catalogue.seen('old') === undefined);
  const answer = await rig.ask('old', 'tools/list', {}, { era: 'modern' });
  expect([answer.status, answer.headers['retry-after']]).toEqual([503, '5']);
  expect(answer.error?.message).toContain('The server cannot be reached, so its tools are not known. Try again later.');
  rig.sink('old').intercept(null);
});
