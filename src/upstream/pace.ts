/**
 * Reads a server so that it does not slow its neighbours. All servers share one event loop, and one that writes without end would have it
 * to itself: one turn reads up to two megabytes of one pipe. What its bytes cost is counted per connection, in pieces; beyond a moment it
 * is not read for three times what it took, so it has a quarter of the loop at most. Nothing is lost, and order is kept.
 * Not counted: what answers a request (`spare`); whoever asks bounds that. Not done here: how much a server may send at all.
 */

/** Time as this file needs it. */
export interface Ticker {
  /** Milliseconds, rising. */
  now(): number;
  /** Runs `work` in a later turn of the event loop, after `ms`. @returns how to take it back */
  after(ms: number, work: () => void): () => void;
}

/** One for all that comes from one connection. */
export interface Pace {
  now(): number;
  /** Whether a piece may be handled at once. */
  free(): boolean;
  /** Handles a piece and counts what that took. */
  handle(take: (piece: Buffer) => void, piece: Buffer): void;
  /** What was handled since then, in the piece that is being handled, is not counted. */
  spare(since: number): void;
  /** Calls `work` when there is time again. First come, first served. */
  wait(work: () => void): void;
  /** Pieces so far. */
  handled(): number;
  /** What comes now is the last, and not much: one moment's worth in every turn, without rest. */
  hurry(): void;
}

/** Where chunks come from. */
export interface Flow {
  pause(): void;
  resume(): void;
}

export interface Turns {
  push(chunk: Buffer): void;
  /** Nothing is pushed any more: calls `then` when everything was handled. */
  end(then: () => void): void;
}

/** So small that what is in it is handled in about a moment. */
const PIECE = 16_384;
const MOMENT_MS = 1;
const REST = 3;
/** Reading costs, too, also what is thrown away. */
const BYTES_PER_MS = 2_097_152;
/** What is owed for one piece: a machine that stood still meanwhile is not the server's doing. */
const MOST_OWED_MS = 25;

const loop: Ticker = {
  now: () => performance.now(),
  after: (ms, work) => {
    if (ms > 0) {
      const timer = setTimeout(work, Math.ceil(ms));
      return () => clearTimeout(timer);
    }
    const immediate = setImmediate(work);
    return () => clearImmediate(immediate);
  },
};

export function serverPace(ticker: Ticker = loop): Pace {
  const queue: Array<() => void> = [];
  let owed = 0;
  let paidAt = ticker.now();
  let spared = 0;
  let handled = 0;
  let hurried = false;
  let takeBack: (() => void) | null = null;

  function pay(): void {
    const now = ticker.now();
    owed = hurried ? 0 : Math.max(0, owed - (now - paidAt) / REST);
    paidAt = now;
  }

  function schedule(): void {
    if (takeBack === null && queue.length > 0) takeBack = ticker.after(hurried ? 0 : owed * REST, next);
  }

  function next(): void {
    takeBack = null;
    pay();
    queue.shift()?.();
    schedule();
  }

  return {
    now: ticker.now,
    free: () => {
      if (!hurried) pay();
      return queue.length === 0 && owed < MOMENT_MS;
    },
    handle: (take, piece) => {
      const from = ticker.now();
      handled++;
      spared = 0;
      take(piece);
      paidAt = ticker.now();
      owed = Math.min(owed + Math.max(0, paidAt - from - spared) + piece.length / BYTES_PER_MS, MOST_OWED_MS);
    },
    spare: (since) => void (spared += ticker.now() - since),
    wait: (work) => {
      queue.push(work);
      schedule();
    },
    handled: () => handled,
    hurry: () => {
      hurried = true;
      takeBack?.();
      takeBack = null;
      schedule();
    },
  };
}

/** `take` gets everything that is pushed, in order, in pieces; `flow` is stopped while there is no time for it. */
export function inTurns(pace: Pace, flow: Flow, take: (piece: Buffer) => void): Turns {
  /** More than one only when a source that was stopped hands over what it had: the last of a process or a connection. */
  const held: Buffer[] = [];
  let resting = false;
  let ended: (() => void) | null = null;

  function handleFirst(chunk: Buffer): void {
    if (chunk.length > PIECE) held[0] = chunk.subarray(PIECE);
    else held.shift();
    pace.handle(take, chunk.length > PIECE ? chunk.subarray(0, PIECE) : chunk);
  }

  function rest(): void {
    if (!resting) flow.pause();
    resting = true;
    pace.wait(goOn);
  }

  /** As far as there is time. False: the rest waits. */
  function handle(): boolean {
    for (let [chunk] = held; chunk !== undefined; [chunk] = held) {
      if (!pace.free()) return (rest(), false);
      handleFirst(chunk);
    }
    return true;
  }

  function goOn(): void {
    const [chunk] = held;
    if (chunk !== undefined) handleFirst(chunk);
    if (!handle()) return;
    resting = false;
    if (ended !== null) ended();
    else flow.resume();
  }

  return {
    push: (chunk) => {
      held.push(chunk);
      if (!resting) handle();
    },
    end: (then) => {
      ended = then;
      if (!resting) then();
    },
  };
}
