/**
 * How many long streams are open on this node: of one person, and in all. A stream costs memory and a socket for as long as its client
 * likes, so it has limits of its own beside those of calls (RL-01). Memory only; keys are verified identities.
 */
export interface Places {
  /** Takes a place, or says whose limit is reached. Every `taken` needs one `leave`. */
  enter(person: string): 'taken' | 'person_full' | 'node_full';
  leave(person: string): void;
  readonly size: number;
}

/** Streams one person may have open on a node: some agents with some servers each, and what a broken network left behind. */
export const STREAMS_PER_PERSON = 50;
/** Default for a whole node. */
export const STREAMS_PER_NODE = 2_000;

export function places(perNode: number = STREAMS_PER_NODE, perPerson: number = STREAMS_PER_PERSON): Places {
  const open = new Map<string, number>();
  let total = 0;
  return {
    enter(person) {
      const theirs = open.get(person) ?? 0;
      if (theirs >= perPerson) return 'person_full';
      if (total >= perNode) return 'node_full';
      open.set(person, theirs + 1);
      total++;
      return 'taken';
    },
    leave(person) {
      const left = (open.get(person) ?? 1) - 1;
      if (left === 0) open.delete(person);
      else open.set(person, left);
      total--;
    },
    get size() {
      return total;
    },
  };
}
