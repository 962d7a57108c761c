/**
 * Calls that wait at an old server while nobody listens: what ends them, how many one person may have, that nothing is left of them,
 * and that what a lock ended is over on both sides (TRUST.md R4).
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ANSWER_WITHIN_MS, askBox } from '../../src/gateway/asking.ts';
import type { Asking } from '../../src/gateway/asking.ts';
import type { Call } from '../../src/gateway/call.ts';
import { inflightRegistry } from '../../src/gateway/inflight.ts';
import { parking } from '../../src/gateway/parking.ts';
import type { Performed } from '../../src/gateway/perform.ts';
import { startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { ASKING_SERVERS, CAN_FILL, FORM, TOOL_CALL, askedIn, asksOnce, firstLeg, retry, told } from './asks-support.ts';

const HOUR = 3_600_000;
const END: Performed = { kind: 'settled', reply: { kind: 'result', result: {} }, index: 1 };

describe('the place where they wait', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function one() {
    const inflight = inflightRegistry();
    const place = parking(inflight);
    const running = () => {
      const call = { inflight: inflight.open('c', HOUR) } as unknown as Call;
      const { promise, resolve } = Promise.withResolvers<Performed>();
      call.inflight.signal.addEventListener('abort', () => resolve(END), { once: true });
      const box = askBox({ kinds: new Set() } as unknown as Asking);
      return { call, box, run: promise, end: () => resolve(END) };
    };
    const open = (person = 'dana') => {
      const { call, box, run, end } = running();
      return { call, end, parked: place.open(call, person, box, run) };
    };
    return { inflight, place, open };
  }

  test('ends a call to which nobody comes back, and then forgets its end', async () => {
    const { inflight, place, open } = one();
    const { call, parked } = open();
    place.leave(parked!, false);
    await vi.advanceTimersByTimeAsync(ANSWER_WITHIN_MS - 1);
    expect(call.inflight.cancelledBy).toBeNull();
    await vi.advanceTimersByTimeAsync(1);
    expect(call.inflight.cancelledBy).toBe('nobody_came_back');
    expect([inflight.size, place.size]).toEqual([0, 1]);
    await vi.advanceTimersByTimeAsync(ANSWER_WITHIN_MS);
    expect(place.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('keeps an end that came while nobody listened, for the next one who asks', async () => {
    const { place, open } = one();
    const { parked, end } = open();
    place.leave(parked!, false);
    end();
    await vi.advanceTimersByTimeAsync(ANSWER_WITHIN_MS - 1);
    const taken = place.take(parked!.id);
    expect(await taken?.run).toBe(END);
    place.leave(taken!, true);
    expect([place.size, place.take(parked!.id), vi.getTimerCount()]).toEqual([0, null, 0]);
  });

  test('keeps an end that came between the question and the moment nobody listened', async () => {
    const { place, open } = one();
    const { parked, end } = open();
    end();
    await parked!.run;
    place.leave(parked!, false);
    expect(place.take(parked!.id)?.id).toBe(parked!.id);
  });

  test('lets nobody take a call to which somebody listens', () => {
    const { place, open } = one();
    const { parked } = open();
    expect(place.take(parked!.id)).toBeNull();
    place.leave(parked!, false);
    expect(place.take(parked!.id)).not.toBeNull();
    expect(place.take(parked!.id)).toBeNull();
  });

  test('counts by person, and a place is free once an end is told', () => {
    const { place, open } = one();
    const all = Array.from({ length: 20 }, () => open().parked);
    expect(all.every((parked) => parked !== null)).toBe(true);
    expect(open().parked).toBeNull();
    expect(open('dora').parked).not.toBeNull();
    place.leave(all[0]!, true);
    expect(open().parked).not.toBeNull();
  });
});

describe('on a node', () => {
  const PEOPLE = Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`p${at}`, ['developer' as const]]));
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({
      servers: {
        ...ASKING_SERVERS,
        quick: { ...ASKING_SERVERS['old'], record: { ...ASKING_SERVERS['old']!.record!, timeoutMs: 700 } },
      },
      people: { dana: ['developer'], dora: ['developer'], ...PEOPLE },
    });
  });
  afterAll(() => rig.stop());
  beforeEach(() => asksOnce(rig.sink('old')));
  const quiet = () => rig.until('nothing is under way', () => rig.gateway.inflight() === 0);

  test('200 of them are opened and answered, and nothing is left', async () => {
    const people = Object.keys(PEOPLE).flatMap((as) => Array.from({ length: 20 }, () => ({ ...CAN_FILL, as })));
    const asked = await Promise.all(people.map((how) => firstLeg(rig, 'old', how)));
    expect(rig.gateway.inflight()).toBe(200);
    const answers = await Promise.all(asked.map((one, at) => retry(rig, 'old', one, undefined, people[at])));
    expect(answers.filter(({ text }) => text.includes('told'))).toHaveLength(200);
    expect(rig.sink('old').calls()).toHaveLength(200);
    await quiet();
  });

  test('the 21st of one person is not parked, and its server hears that it is over', async () => {
    const asked = await Promise.all(Array.from({ length: 20 }, () => firstLeg(rig, 'old')));
    let gone = 0;
    rig.sink('old').onCall(async ({ ask, gone: left }) => {
      void left.then(() => gone++);
      await ask('elicitation/create', FORM);
      return { content: [] };
    });
    const refused = await rig.ask('old', 'tools/call', TOOL_CALL, CAN_FILL);
    expect(refused.result).toMatchObject({ isError: true });
    expect(refused.text).toContain('The call was stopped before it ended');
    await rig.until('the server noticed', () => gone === 1 || /notifications\/cancelled/.test(rig.sink('old').wire()));
    for (const one of asked) await retry(rig, 'old', one);
    await quiet();
  });

  test('a server may take longer than its time for a call while a person thinks, and not after', async () => {
    asksOnce(rig.sink('quick'));
    const asked = await firstLeg(rig, 'quick');
    const asksSince = Date.now();
    await rig.until('the time of the call would be over', () => Date.now() > asksSince + 900);
    expect((await retry(rig, 'quick', asked)).text).toContain('told');
    rig.sink('quick').onCall(async ({ ask, gone }) => {
      await ask('elicitation/create', FORM);
      await gone;
      return { content: [] };
    });
    const slow = await retry(rig, 'quick', await firstLeg(rig, 'quick'));
    expect(slow.text).toContain('had an effect is unknown');
    await quiet();
  });

  test('a server that asks without end is answered 100 times', async () => {
    const sink = rig.sink('old');
    let refusedAt = 0;
    sink.onCall(async ({ ask }) => {
      for (let round = 1; ; round++) {
        const { error } = await ask('elicitation/create', FORM);
        if (error === undefined) continue;
        refusedAt = round;
        return { content: [{ type: 'text', text: `refused in round ${round}` }] };
      }
    });
    let answer = await rig.ask('old', 'tools/call', TOOL_CALL, CAN_FILL);
    let rounds = 0;
    while (answer.result?.['resultType'] === 'input_required') {
      rounds++;
      answer = await retry(rig, 'old', askedIn(answer));
    }
    expect([rounds, refusedAt]).toEqual([100, 101]);
    expect(answer.text).toContain('refused in round 101');
    await quiet();
  });

  test('whoever leaves while listening gives the parked call up', async () => {
    rig.sink('old').onCall(async ({ ask, gone }) => {
      await ask('elicitation/create', FORM);
      await gone;
      return { content: [] };
    });
    const asked = await firstLeg(rig, 'old');
    const again = { ...TOOL_CALL, requestState: asked.state, inputResponses: { [asked.key]: { action: 'decline' } } };
    const heard = told(rig.sink('old')).length;
    const live = await rig.live('old', 'tools/call', again, CAN_FILL);
    await rig.until('the answer arrived', () => told(rig.sink('old')).length > heard);
    live.leave();
    await quiet();
    const ends = (await rig.entries('outcome')).slice(-2).map(({ outcome }) => [outcome?.status, outcome?.detail]);
    expect(ends).toContainEqual(['cancelled', 'client_gone']);
    expect((await retry(rig, 'old', asked)).text).toContain('Do not assume that it was not carried out');
  });

  test.each(['user', 'agent', 'server', 'tool'] as const)(
    'a lock on the %s ends a parked call on both sides',
    async (kind) => {
      const value = { user: 'dana', agent: 'agent-1', server: 'old', tool: 'old/write_note' }[kind];
      const asked = await firstLeg(rig, 'old');
      const heard = told(rig.sink('old')).length;
      const lock = await rig.lock({ kind, value });
      await quiet();
      const refused = await retry(rig, 'old', asked);
      expect(refused.text).toContain('locked');
      await rig.unlock(lock);
      const late = await retry(rig, 'old', asked);
      expect(late.text).toMatch(/Access was withdrawn while the call ran/);
      const [, ...said] = told(rig.sink('old')).slice(heard);
      expect(said.join('')).not.toContain('colour');
      expect(told(rig.sink('old')).slice(heard).join('')).not.toContain('"colour":"red"');
    },
  );
});
