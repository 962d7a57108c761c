/**
 * PH-05, PH-08: who may ask, who may answer, and for what. The oracle is what the server was told (`told`) and how often it was called.
 * Each control has its twin: with the guard taken out the same attack lands.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { PASS, learn } from '../../src/gateway/guard.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { Result } from '../../src/lib/result.ts';
import type { RequestState } from '../../src/protocol/request-state.ts';
import { startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Rig } from '../support/rig.ts';
import {
  ASKING_SERVERS,
  CAN_FILL,
  DECLARED,
  GOOD,
  KINDS,
  QUESTIONS,
  STATE,
  TOOL_CALL,
  asksOnce,
  firstLeg,
  retry,
  told,
} from './asks-support.ts';
import type { Asked } from './asks-support.ts';

const SERVERS = ['old', 'new'] as const;
let offsetMs = 0;
const clock: Clock = { now: () => Date.now() + offsetMs };
let rig: Rig;
let unguarded: Rig;

beforeAll(async () => {
  const servers = { ...ASKING_SERVERS, other: { record: { asks: ['elicitation.form'] as const } } };
  const anyState = (_call: unknown, opened: unknown) => {
    const state = opened as Result<RequestState, string> | null;
    return state?.ok ? learn({ resumed: state.value }) : PASS;
  };
  [rig, unguarded] = await Promise.all([
    startRig({ servers: servers as never, clock }),
    startRig({ servers: ASKING_SERVERS, table: tableWith({ 'state-is-theirs': anyState, 'same-arguments': null }) }),
  ]);
});
afterAll(async () => {
  await rig.stop();
  await unguarded.stop();
});
beforeEach(() => {
  for (const one of [rig, unguarded]) for (const server of SERVERS) asksOnce(one.sink(server));
});

const OTHER_ARGUMENTS = { name: 'write_note', arguments: { text: 'something else' } };
const flipped = (state: string, at: number): string =>
  state.slice(0, at) + (state[at] === 'A' ? 'B' : 'A') + state.slice(at + 1);

type Attack = (on: Rig, server: string, asked: Asked) => Promise<Answer>;
const ATTACKS: ReadonlyArray<readonly [string, Attack]> = [
  ['other arguments', (on, server, asked) => retry(on, server, asked, undefined, CAN_FILL, OTHER_ARGUMENTS)],
  ['another person', (on, server, asked) => retry(on, server, asked, undefined, { ...CAN_FILL, as: 'dora' })],
  ['another agent', (on, server, asked) => retry(on, server, asked, undefined, { ...CAN_FILL, client: 'agent-2' })],
  [
    'another tool',
    (on, server, asked) => retry(on, server, asked, undefined, CAN_FILL, { ...TOOL_CALL, name: 'read_note' }),
  ],
];

describe.each(SERVERS)('the answer to a question of the %s server', (server) => {
  test.each(ATTACKS)('PH-05: is no answer for %s', async (_title, attack) => {
    const asked = await firstLeg(rig, server);
    const before = { told: told(rig.sink(server)).length, calls: rig.sink(server).calls().length };
    const answer = await attack(rig, server, asked);
    expect(answer.status).toBe(400);
    expect(answer.error).toMatchObject({
      code: -32602,
      message: 'requestState is not valid for this request: start again without it.',
    });
    expect(told(rig.sink(server))).toHaveLength(before.told);
    expect(rig.sink(server).calls()).toHaveLength(before.calls);
    const [entry] = await rig.about(answer.reference);
    expect(entry).toMatchObject({ kind: 'denial', decision: { reason: 'state_invalid' } });
    // The one it belongs to still can.
    expect((await retry(rig, server, asked)).text).toContain('told {\\"action\\":\\"accept\\"');
  });

  test.each(ATTACKS)('PH-05: would be one for %s without the guards (twin)', async (_title, attack) => {
    const asked = await firstLeg(unguarded, server);
    const before = told(unguarded.sink(server)).length;
    await attack(unguarded, server, asked);
    expect(told(unguarded.sink(server)).length).toBe(before + 1);
  });

  test('PH-05: is no answer on another server or for another method', async () => {
    const asked = await firstLeg(rig, server);
    const elsewhere = await retry(rig, 'other', asked);
    expect(elsewhere.error).toMatchObject({ code: -32602 });
    expect(rig.sink('other').calls()).toHaveLength(0);
    const prompt = await retry(rig, server, asked, undefined, CAN_FILL, TOOL_CALL, 'prompts/get');
    expect(prompt.error).toMatchObject({ code: -32602 });
    await retry(rig, server, asked);
  });

  test('PH-05: does not count under a state with one altered character, cut short, made up or empty', async () => {
    const asked = await firstLeg(rig, server);
    const before = { told: told(rig.sink(server)).length, calls: rig.sink(server).calls().length };
    const { state } = asked;
    const places = Array.from({ length: 40 }, (_, at) => Math.floor((at * (state.length - 1)) / 39));
    const forged = [...places.map((at) => flipped(state, at)), state.slice(0, -4), `${state}AAAA`, 'x', ''];
    for (const one of forged) {
      // The last character of Base64 may carry bits that say nothing.
      if (one === state || Buffer.from(one, 'base64url').equals(Buffer.from(state, 'base64url'))) continue;
      const answer = await retry(rig, server, { ...asked, state: one });
      expect([one.length, answer.error?.code]).toEqual([one.length, -32602]);
    }
    expect(told(rig.sink(server))).toHaveLength(before.told);
    expect(rig.sink(server).calls()).toHaveLength(before.calls);
    await retry(rig, server, asked);
  });

  test.each<[string, unknown]>([
    ['a value that was no choice', { action: 'accept', content: { colour: 'green' } }],
    ['no value', { action: 'accept', content: {} }],
    ['nothing but a yes', { action: 'accept' }],
    ['an unknown action', { action: 'maybe', content: { colour: 'red' } }],
    ['a text', 'red'],
    ['a list', [{ action: 'accept' }]],
    ['null', null],
    ['a sample', GOOD.sampling],
    ['a wrong type', { action: 'accept', content: { colour: 7 } }],
  ])('PH-05: does not reach the server when it is %s, and is asked for again', async (_title, bad) => {
    const asked = await firstLeg(rig, server);
    const before = told(rig.sink(server)).map((body) => body);
    const again = await retry(rig, server, asked, bad);
    const heard = told(rig.sink(server)).slice(before.length).join('\n');
    expect(heard).not.toMatch(/green|maybe|haiku|colour/);
    expect(again.result?.['resultType']).toBe('input_required');
    const next = { ...asked, state: again.result?.['requestState'] as string };
    expect((await retry(rig, server, next)).text).toContain('\\"colour\\":\\"red\\"');
  });

  test('PH-05: leaves behind what was not asked for', async () => {
    const asked = await firstLeg(rig, server);
    const { state, key } = asked;
    const answer = { action: 'accept', content: { colour: 'red', admin: true }, note: 'extra' };
    const inputResponses = { [key]: answer, 'ask-99': GOOD.roots, constructor: GOOD.roots };
    const before = told(rig.sink(server)).length;
    await rig.ask(server, 'tools/call', { ...TOOL_CALL, requestState: state, inputResponses }, CAN_FILL);
    const heard = told(rig.sink(server)).slice(before).join('\n');
    expect(heard).toContain('"colour":"red"');
    expect(heard).not.toMatch(/admin|extra|ask-99|file:/);
  });
});

test('PH-05: the state of a modern server never reaches the client readable, and comes back to the server byte by byte', async () => {
  const asked = await firstLeg(rig, 'new');
  expect(asked.answer.text).not.toContain(STATE);
  expect(Buffer.from(asked.state, 'base64url').toString('latin1')).not.toContain(STATE);
  expect((await retry(rig, 'new', asked)).text).toContain(STATE);
});

test('PH-05: a parked call is carried out once, however often its answer is brought again', async () => {
  const before = rig.sink('old').calls().length;
  const asked = await firstLeg(rig, 'old');
  const answers = await Promise.all([retry(rig, 'old', asked), retry(rig, 'old', asked), retry(rig, 'old', asked)]);
  const late = await retry(rig, 'old', asked);
  expect(rig.sink('old').calls()).toHaveLength(before + 1);
  expect(answers.filter(({ text }) => text.includes('told'))).toHaveLength(1);
  expect(late.result).toMatchObject({ isError: true });
  expect(late.text).toContain('Do not assume that it was not carried out');
});

/** What a message of ours says that the client behind it can be asked. */
function capabilitiesIn(message: Readonly<Record<string, unknown>> | null): unknown {
  const params = (message?.['params'] ?? {}) as Record<string, Record<string, unknown>>;
  if (message?.['method'] === 'initialize') return params['capabilities'];
  if (message?.['method'] === 'tools/call') return params['_meta']?.['io.modelcontextprotocol/clientCapabilities'];
  return undefined;
}

const PEERS = SERVERS.flatMap((server) => (['modern', 'legacy'] as const).map((era) => [server, era] as const));

describe.each(PEERS)('the %s server and a %s client', (server, era) => {
  const how = (capabilities: CallOptions['capabilities']): CallOptions => ({
    era,
    ...(capabilities && { capabilities }),
  });

  test.each(KINDS)('PH-08: %s is asked only if the record allows it and the client declared it', async (kind) => {
    const [method] = QUESTIONS[kind];
    for (const [allowed, declared] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ] as const) {
      await rig.setServer(server, { asks: allowed ? [kind] : KINDS.filter((one) => one !== kind) });
      await rig.look(server);
      asksOnce(rig.sink(server), kind);
      const from = rig.sink(server).received.length;
      const live = await rig.live(server, 'tools/call', TOOL_CALL, how(declared ? DECLARED[kind] : {}));
      const both = allowed && declared;
      if (both && era === 'legacy') {
        const question = await live.event(method);
        expect((await live.say({ id: question['id']!, result: GOOD[kind] })).status).toBe(202);
      }
      const answer = await live.answer;
      expect([allowed, declared, answer.text.includes(method)]).toEqual([allowed, declared, both]);
      // What the server was told it may ask: nothing that does not hold on both sides.
      const capabilities = rig
        .sink(server)
        .received.slice(from)
        .map(({ message }) => capabilitiesIn(message))
        .filter((one) => one !== undefined);
      const word = kind.split('.')[0]!;
      expect([allowed, declared, JSON.stringify(capabilities).includes(word)]).toEqual([allowed, declared, both]);
    }
    await rig.setServer(server, { asks: [...KINDS] });
    await rig.look(server);
  });
});

// Last: no token from before is good after it.
test.each(SERVERS)('PH-05: the answer to a question of the %s server comes too late after its time', async (server) => {
  const fresh = (): CallOptions => ({ ...CAN_FILL, token: rig.token('dana', { server }) });
  const asked = await firstLeg(rig, server, fresh());
  const before = told(rig.sink(server)).length;
  offsetMs += 601_000;
  await rig.until('the node is sure again', () => rig.gateway.notReady().length === 0);
  const answer = await retry(rig, server, asked, undefined, fresh());
  expect(answer.error).toMatchObject({ code: -32602 });
  expect(told(rig.sink(server))).toHaveLength(before);
});
