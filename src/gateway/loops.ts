/**
 * One agent that makes exactly the same call over and over for one person is stopped (RL-07): a confused agent does that, and money, locks
 * and mailboxes go with it. The same: person, agent, item and digest of the arguments. Another argument is another call; a minute without a
 * try ends it; a loop that goes on trying stays stopped. Who wants to evade this changes an argument: rates and budgets are for them.
 * What is only read may be asked for more often: who polls the state of a job asks the same every second or so, and that is no loop.
 * Memory of this node, bounded; what was not repeated within some thousand other calls is forgotten.
 */
import { known } from './call.ts';
import type { Call } from './call.ts';
import { agentOf } from './limits-who.ts';

export interface LoopSettings {
  /** Of exactly one call in a minute, of what does more than read. */
  readonly repeatsPerMinute?: number;
  /** Of what only reads. */
  readonly readRepeatsPerMinute?: number;
}

export interface Loops {
  /** One more of exactly this call. @returns how many there were, when that is too many; null: it may go on. */
  again(call: Call): number | null;
}

/** The window, and how long nobody may try for a loop to be over. */
export const LOOP_MS = 60_000;
const REPEATS = 20;
const READ_REPEATS = 120;
/** Two generations of so many: an entry is forgotten after one to two of them. */
const GENERATION = 8_192;

interface Seen {
  count: number;
  since: number;
  last: number;
  stopped: boolean;
}

/** `onLoop`: once for every loop, when it is stopped. */
export function loopWatch(
  settings: LoopSettings,
  onLoop: (call: Call, times: number) => void,
  now: () => number = () => performance.now(),
): Loops {
  const { repeatsPerMinute = REPEATS, readRepeatsPerMinute = READ_REPEATS } = settings;
  let young = new Map<string, Seen>();
  let old = new Map<string, Seen>();

  function seenAt(key: string, at: number): Seen {
    let seen = young.get(key);
    if (seen) return seen;
    seen = old.get(key) ?? { count: 0, since: at, last: at, stopped: false };
    if (young.size >= GENERATION) [old, young] = [young, new Map()];
    young.set(key, seen);
    return seen;
  }

  return {
    again(call) {
      const tool = known(call, 'tool');
      const key = `${known(call, 'person').id} ${agentOf(call)} ${known(call, 'argumentsDigest')} ${tool.id}`;
      const at = now();
      const seen = seenAt(key, at);
      if (at - seen.last >= LOOP_MS || (!seen.stopped && at - seen.since >= LOOP_MS))
        Object.assign(seen, { count: 0, since: at, stopped: false });
      seen.last = at;
      seen.count++;
      if (seen.count <= (tool.facts?.risk === 'read' ? readRepeatsPerMinute : repeatsPerMinute)) return null;
      if (!seen.stopped) onLoop(call, seen.count);
      seen.stopped = true;
      return seen.count;
    },
  };
}
