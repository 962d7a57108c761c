/**
 * Fair reading of servers, without real time: what handling costs is what the test says it costs. Twins: without the pace the same flood has
 * one turn of the event loop to itself, and without the hurry at the end what a process said last is lost.
 */
import { PassThrough, Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { floodGauge } from '../../src/upstream/flood.ts';
import { type Flow, type Pace, type Ticker, inTurns, serverPace } from '../../src/upstream/pace.ts';
import { stdioWire } from '../../src/upstream/stdio.ts';
import type { ProcessExit, ServerProcess } from '../../src/upstream/target.ts';

const PIECE = 16_384;
const KB = 1_024;
/** What reading alone costs of a piece. */
const READING_MS = PIECE / 2_097_152;

interface ManualTicker extends Ticker {
  /** This took so long. */
  spend(ms: number): void;
  /** Time passes until the next thing that waits is due, and it is done. False: nothing waits. */
  step(): boolean;
  /** How long everything waited for so far. */
  readonly waits: number[];
}

function manualTicker(): ManualTicker {
  let now = 0;
  let later: Array<{ readonly at: number; readonly work: () => void }> = [];
  const waits: number[] = [];
  return {
    waits,
    now: () => now,
    spend: (ms) => void (now += ms),
    after: (ms, work) => {
      const one = { at: now + ms, work };
      waits.push(ms);
      later.push(one);
      return () => void (later = later.filter((other) => other !== one));
    },
    step: () => {
      const [first] = later.toSorted((a, b) => a.at - b.at);
      if (first === undefined) return false;
      later = later.filter((one) => one !== first);
      now = Math.max(now, first.at);
      first.work();
      return true;
    },
  };
}

function recorder(): Flow & { readonly said: string[] } {
  const said: string[] = [];
  return { said, pause: () => void said.push('pause'), resume: () => void said.push('resume') };
}

describe('the pace', () => {
  test('EX-07: one that floods has a quarter of the time, and is not read meanwhile', () => {
    const ticker = manualTicker();
    const flow = recorder();
    let worked = 0;
    const turns = inTurns(serverPace(ticker), flow, () => {
      ticker.spend(2);
      worked += 2;
    });
    turns.push(Buffer.alloc(100 * PIECE));
    expect([worked, flow.said]).toEqual([2, ['pause']]);
    while (ticker.step());
    expect([worked, flow.said]).toEqual([200, ['pause', 'resume']]);
    // The last piece is not waited for.
    const rested = ticker.now() - worked;
    expect(rested).toBeGreaterThanOrEqual(99 * 3 * 2);
    expect(rested).toBeLessThan(99 * 3 * 2 + 3 * 100 * READING_MS + 1);
  });

  test('many small pieces make one long one: a moment of them, then a rest', () => {
    const ticker = manualTicker();
    const turns = inTurns(serverPace(ticker), recorder(), () => ticker.spend(0.1));
    for (let n = 0; n < 100; n++) turns.push(Buffer.alloc(1));
    const [first] = ticker.waits;
    expect(ticker.now()).toBeCloseTo(1, 5);
    expect(first).toBeCloseTo(3, 2);
  });

  test('what costs nothing but the reading hardly waits: a line of 4 MiB that is all there is read within 7 ms', () => {
    const ticker = manualTicker();
    let bytes = 0;
    const turns = inTurns(serverPace(ticker), recorder(), (piece) => void (bytes += piece.length));
    for (let n = 0; n < 64; n++) turns.push(Buffer.alloc(64 * KB));
    while (ticker.step());
    expect(bytes).toBe(4 * KB * KB);
    expect(ticker.now()).toBeLessThan(7);
  });

  test('what answers a request is not counted', () => {
    const ticker = manualTicker();
    const pace = serverPace(ticker);
    let pieces = 0;
    const turns = inTurns(pace, recorder(), () => {
      pieces++;
      const since = pace.now();
      ticker.spend(40);
      pace.spare(since);
    });
    turns.push(Buffer.alloc(20 * PIECE));
    expect([pieces, ticker.waits]).toEqual([20, []]);
  });

  test('a machine that stood still is not held against the server', () => {
    const ticker = manualTicker();
    const turns = inTurns(serverPace(ticker), recorder(), () => ticker.spend(60_000));
    turns.push(Buffer.alloc(2 * PIECE));
    expect(ticker.waits).toEqual([75]);
  });

  test('streams of one connection share its time, one after the other', () => {
    const ticker = manualTicker();
    const pace = serverPace(ticker);
    const order: string[] = [];
    const stream = (name: string) =>
      inTurns(pace, recorder(), () => {
        order.push(name);
        ticker.spend(2);
      });
    const [a, b, c] = [stream('a'), stream('b'), stream('c')];
    a.push(Buffer.alloc(4 * PIECE));
    b.push(Buffer.alloc(3 * PIECE));
    c.push(Buffer.alloc(1));
    while (ticker.step());
    expect(order.join('')).toBe('aabcabab');
    expect(ticker.now() - 8 * 2).toBeGreaterThanOrEqual(7 * 3 * 2);
  });

  test('a hurry ends the rest at once, and lets others have their turns', () => {
    const ticker = manualTicker();
    const pace = serverPace(ticker);
    let pieces = 0;
    const turns = inTurns(pace, recorder(), () => {
      pieces++;
      ticker.spend(10);
    });
    turns.push(Buffer.alloc(3 * PIECE));
    pace.hurry();
    while (ticker.step());
    expect([pieces, ticker.now()]).toEqual([3, 30]);
    expect(ticker.waits.slice(1)).toEqual([0, 0]);
  });

  test('whatever comes whenever: all of it is handled, in order, before the end is told, once', () => {
    const happening = fc.oneof(
      fc.record({ chunk: fc.uint8Array({ minLength: 1, maxLength: 3 * PIECE }) }),
      fc.record({ steps: fc.integer({ min: 1, max: 3 }) }),
      fc.constant({ hurry: true as const }),
    );
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 20 }), fc.array(fc.nat({ max: 5 })), (happenings, costs) => {
        const ticker = manualTicker();
        const pace = serverPace(ticker);
        const flow = recorder();
        const got: Buffer[] = [];
        let ends = 0;
        const turns = inTurns(pace, flow, (piece) => {
          expect([ends, piece.length > 0 && piece.length <= PIECE]).toEqual([0, true]);
          got.push(piece);
          ticker.spend(costs[got.length % (costs.length + 1)] ?? 0);
        });
        const sent: Uint8Array[] = [];
        for (const one of happenings) {
          if ('chunk' in one) {
            sent.push(one.chunk);
            turns.push(Buffer.from(one.chunk));
          } else if ('hurry' in one) pace.hurry();
          else for (let n = 0; n < one.steps; n++) ticker.step();
        }
        turns.end(() => ends++);
        while (ticker.step());
        expect(ends).toBe(1);
        expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
        flow.said.forEach((said, at) => expect(said).toBe(at % 2 === 0 ? 'pause' : 'resume'));
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});

describe('turns of the event loop', () => {
  /** Time is the test's, waiting is the loop's. */
  function loopTicker(): Ticker & { spend(ms: number): void } {
    let now = 0;
    return {
      now: () => now,
      spend: (ms) => void (now += ms),
      after: (_ms, work) => {
        const immediate = setImmediate(work);
        return () => clearImmediate(immediate);
      },
    };
  }
  /** A pipe that is always full. */
  function flood(chunks: number): Readable {
    let left = chunks;
    return new Readable({
      read(): void {
        this.push(left-- > 0 ? Buffer.alloc(PIECE) : null);
      },
    });
  }
  /** In which turns the pieces were handled. */
  async function turnsOf(
    read: (stream: Readable, handled: () => void, end: () => void) => void,
  ): Promise<readonly number[]> {
    let now = 0;
    const seen: number[] = [];
    const over = new Promise<void>((resolve) => {
      read(flood(32), () => seen.push(now), resolve);
    });
    const counting = new AbortController();
    const count = async (): Promise<void> => {
      for (; !counting.signal.aborted; now++) await turn();
    };
    const counted = count();
    await over;
    counting.abort();
    await counted;
    return seen;
  }

  test('EX-07: between two costly pieces of a flood everybody else has a turn', async () => {
    const seen = await turnsOf((stream, handled, end) => {
      const ticker = loopTicker();
      const turns = inTurns(serverPace(ticker), stream, () => {
        ticker.spend(1);
        handled();
      });
      stream.on('data', turns.push).once('close', () => turns.end(end));
    });
    expect(seen).toHaveLength(32);
    expect(new Set(seen).size).toBe(32);
  });

  test('EX-07: twin: read as it comes, the whole flood is one turn', async () => {
    const seen = await turnsOf((stream, handled, end) => void stream.on('data', handled).once('close', end));
    expect(seen).toHaveLength(32);
    expect(new Set(seen).size).toBe(1);
  });
});

describe('a process that floods and leaves', () => {
  const NOTIFICATION = Buffer.from('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}\n');

  /** Every look at the time takes a millisecond, and no rest ever ends: only what wants the next turn gets it. */
  function stuck(): Pace {
    let now = 0;
    const ticker: Ticker = {
      now: () => now++,
      after: (ms, work) => {
        const immediate = ms > 0 ? undefined : setImmediate(work);
        return () => clearImmediate(immediate);
      },
    };
    return serverPace(ticker);
  }

  function start(pace: Pace) {
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()];
    const { promise: exited, resolve: leave } = Promise.withResolvers<ProcessExit>();
    const stops: Array<string | undefined> = [];
    const said: string[] = [];
    const process: ServerProcess = {
      pid: 1,
      stdin,
      stdout,
      stderr,
      exited,
      stop: (reason) => {
        stops.push(reason);
        return exited;
      },
    };
    const wire = stdioWire(process, {
      clock: manualClock(0),
      outputBytes: 5 * KB * KB,
      secrets: ['gehört-niemandem'],
      onStderr: (line) => said.push(line),
      onViolation: () => {},
      pace,
    });
    let notifications = 0;
    wire.onLoose({ onNotification: () => notifications++, onAsk: () => null });
    const never = new AbortController().signal;
    const reply = wire.exchange({ method: 'tools/call', params: {} }, never, null).then(
      (answer) => answer as unknown,
      (error: unknown) => error,
    );
    return { wire, stdout, stderr, leave, reply, stops, said, notified: () => notifications };
  }
  const answer = (text: string): string =>
    `${JSON.stringify({ jsonrpc: '2.0', id: 1, result: { resultType: 'complete', text } })}\n`;

  /** Leaves while it is not being read: a flood, then the answer, then its last words, then the end. */
  async function leaving(pace: Pace) {
    const server = start(pace);
    for (let n = 0; n < 500; n++) server.stdout.write(NOTIFICATION);
    server.stdout.end(answer('said before it left'));
    server.stderr.write('first words\n');
    await turn();
    server.stderr.end(`${'x'.repeat(3 * PIECE)}\nlast words`);
    await turn();
    expect(server.notified()).toBeLessThan(500);
    server.leave({ code: 7, signal: null });
    return { ...server, end: await server.wire.closed };
  }

  test('EX-07: what it wrote before it left is handled before its end is told', async () => {
    const { notified, reply, end } = await leaving(stuck());
    expect(notified()).toBe(500);
    expect(await reply).toMatchObject({ kind: 'result', result: { text: 'said before it left' } });
    expect(end.reason).toBe('the process ended (exit code 7): last words');
  });

  test('EX-07: twin: without the hurry at the end, its answer is lost', async () => {
    const { reply } = await leaving({ ...stuck(), hurry: () => {} });
    expect(await reply).toMatchObject({ code: 'upstream_closed', dispatched: 'unknown' });
  });

  test('an answer of 4 MiB comes whole', async () => {
    const { wire, stdout, stderr, leave, reply } = start(serverPace());
    const text = 'ä'.repeat(2 * KB * KB);
    stdout.end(answer(text));
    stderr.end();
    const { result } = (await reply) as { result: { text: string } };
    expect(result.text === text).toBe(true);
    leave({ code: 0, signal: null });
    await wire.closed;
  });

  test('a secret is found in what it says on stderr wherever that is cut, letters of two bytes, too', async () => {
    for (let before = PIECE - 20; before < PIECE; before++) {
      const { wire, stdout, stderr, leave, said } = start(serverPace());
      stdout.end();
      stderr.end(`${'.\n'.repeat(before / 2)}${before % 2 === 0 ? '' : '.'}gehört-niemandem\n`);
      leave({ code: 0, signal: null });
      await wire.closed;
      expect(said.at(-1)).toMatch(/^\.?\[secret\]$/);
    }
  });
});

describe('what is a flood', () => {
  test.each([
    ['20,000 small ones', 100, 20_000],
    ['as many bytes in long ones', 65_536, 122],
    ['two of the largest', 4 * KB * KB, 1],
  ])('%s within ten seconds are the most there may be', (_what, bytes, most) => {
    const clock = manualClock(0);
    const flooded = floodGauge(() => clock.now());
    for (let n = 0; n < most; n++) expect(flooded(bytes)).toBe(false);
    expect(flooded(bytes)).toBe(true);
    clock.advance(10_000);
    expect(flooded(bytes)).toBe(false);
  });
});
