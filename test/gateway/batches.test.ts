/**
 * Batches, which only 2025-03-26 has (PROTOCOL.md L4): each element is a message of its own, with its own decision, entries and answer;
 * what would be refused alone is refused in a batch (PH-04).
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, LEGACY, startRig } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

const OLD = '2025-03-26';
let rig: Rig;
let token: string;
const sessions: Record<string, string> = {};
beforeAll(async () => {
  rig = await startRig({ servers: { notes: {}, old: { era: 'legacy' } } });
  token = rig.token('dana');
  for (const version of [OLD, LEGACY]) sessions[version] = await rig.openSession('notes', token, version);
});
afterAll(() => rig.stop());
afterEach(() => {
  rig.faults.before = null;
});

const element = (id: number, method: string, params: JsonObject = {}): JsonObject => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});
const write = (id: number, text: string, name = 'write_note'): JsonObject =>
  element(id, 'tools/call', { name, arguments: { text } });
const send = (elements: readonly unknown[], version = OLD, bearer = token): Promise<Answer> =>
  rig.post('notes', JSON.stringify(elements), {
    authorization: `Bearer ${bearer}`,
    'mcp-session-id': sessions[version],
    'mcp-protocol-version': version,
  });
const replies = ({ text }: Answer): readonly JsonObject[] => JSON.parse(text) as JsonObject[];
const calls = (): number => rig.sink().calls().length;

describe('a batch of a 2025-03-26 client', () => {
  test('is answered element by element, in one array', async () => {
    const answer = await send([
      element(1, 'ping'),
      write(2, 'two'),
      element(3, 'tools/list'),
      { jsonrpc: '2.0', method: 'notifications/initialized' },
    ]);
    expect(answer.status).toBe(200);
    expect(replies(answer).map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(JSON.stringify(replies(answer)[1])).toContain('two');
  });

  test('PH-04: has a decision and entries for each element, and what is denied alone is denied in it', async () => {
    const before = calls();
    const answer = await send([write(1, 'a'), write(2, 'b', 'pay_bill'), write(3, 'c', 'imaginary'), write(4, 'd')]);
    expect(calls()).toBe(before + 2);
    const [, hidden, unknown] = replies(answer);
    expect([hidden?.['error'], unknown?.['error']].map((error) => (error as JsonObject)['message'])).toEqual([
      'Unknown tool.',
      'Unknown tool.',
    ]);
    const kinds = (await rig.entries()).slice(-6).map(({ kind }) => kind);
    expect(kinds.toSorted((a, b) => a.localeCompare(b))).toEqual([
      'denial',
      'denial',
      'intent',
      'intent',
      'outcome',
      'outcome',
    ]);
  });

  test('PH-04: is limited like its elements: forty calls are forty of the minute', async () => {
    const tight = await startRig({ limits: { callsPerMinutePerPerson: 5 } });
    const own = tight.token('dana');
    const session = await tight.openSession('notes', own, OLD);
    const headers = { authorization: `Bearer ${own}`, 'mcp-session-id': session, 'mcp-protocol-version': OLD };
    await tight.post('notes', JSON.stringify(Array.from({ length: 20 }, (_, id) => write(id, 'x'))), headers);
    expect(tight.sink().calls().length).toBeLessThanOrEqual(5);
    await tight.stop();
  });

  test('whose element cannot be read answers for that one and carries the others out', async () => {
    const before = calls();
    const answer = await send([write(1, 'a'), { jsonrpc: '2.0', id: 2, method: 7 }, 'text', write(3, 'c')]);
    expect(calls()).toBe(before + 2);
    expect(replies(answer).filter(({ error }) => error !== undefined)).toHaveLength(2);
  });

  test('that cannot be recorded carries nothing out', async () => {
    const before = calls();
    rig.faults.before = () => {
      throw new Error('no');
    };
    const answer = await send([write(1, 'a'), write(2, 'b')]);
    expect(replies(answer).map(({ error }) => (error as JsonObject)['code'])).toEqual([5030, 5030]);
    expect(calls()).toBe(before);
  });

  test('of which a part was carried out answers for that part, even when the token is revoked in between', async () => {
    const own = rig.token('dana', { claims: { jti: 'revoked-in-between' } });
    const sink = rig.sink();
    sink.onCall(async () => {
      await rig.lock({ kind: 'token', value: 'revoked-in-between' });
      return { content: [] };
    });
    const before = calls();
    const answer = await send([write(1, 'a'), write(2, 'b')], OLD, own);
    sink.onCall(() => ({ content: [] }));
    expect(calls()).toBe(before + 1);
    expect(answer.status).toBe(200);
    const [first, second] = replies(answer);
    expect(JSON.stringify(first)).toContain('Access was withdrawn while the call ran');
    expect(second?.['error']).toMatchObject({ code: 4010 });
  });

  test.each<[string, readonly unknown[]]>([
    ['is empty', []],
    [
      'holds initialize',
      [
        {
          ...element(1, 'initialize', {
            protocolVersion: OLD,
            capabilities: {},
            clientInfo: { name: 'x', version: '1' },
          }),
        },
      ],
    ],
    ['holds another batch', [[element(1, 'ping')]]],
  ])('that %s is refused, or that element of it', async (_title, elements) => {
    const before = rig.sink().received.length;
    const answer = await send(elements);
    const errors = answer.status === 400 ? [answer.body] : replies(answer);
    expect(errors.every(({ error }) => error !== undefined)).toBe(true);
    expect(rig.sink().received).toHaveLength(before);
  });

  test('without a token is told how to get one, and nothing else', async () => {
    const before = rig.sink().received.length;
    const answer = await rig.post('notes', JSON.stringify([write(1, 'a')]), { 'mcp-session-id': sessions[OLD] });
    expect(answer.status).toBe(401);
    expect(rig.sink().received).toHaveLength(before);
  });
});

test.each([LEGACY])('PH-04: a batch in a session of %s is refused whole', async (version) => {
  const before = calls();
  const answer = await send([write(1, 'a')], version);
  expect([answer.status, answer.error?.code]).toEqual([400, -32600]);
  expect(calls()).toBe(before);
});

test.each(ERAS)('PH-04: a batch with messages of the %s era and no session is refused whole', async (era) => {
  const before = calls();
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const one = write(1, 'a');
  const params = { ...(one['params'] as JsonObject), ...(era === 'modern' && { _meta }) };
  const answer = await rig.post('notes', JSON.stringify([{ ...one, params }]), { authorization: `Bearer ${token}` });
  expect([answer.status, answer.error?.code]).toEqual([400, -32600]);
  expect(calls()).toBe(before);
});
