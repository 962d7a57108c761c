/**
 * Who waits for which topic. Wake-ups of one turn of the event loop are one call; a listener is called outside of whatever woke it, so
 * that nothing it does can fail an append. Behind the wake-ups of other nodes stands `poll`, which asks for watched topics only.
 */

export interface Watchers {
  watch(topic: string, listener: () => void): () => void;
  wake(topics: Iterable<string>): void;
  /** Wakes every topic whose mark is not the one it had in the poll before; in its first poll a topic has none. */
  poll(marksOf: (topics: readonly string[]) => Promise<ReadonlyMap<string, string>>): Promise<void>;
  clear(): void;
}

interface Watched {
  readonly listeners: Set<{ readonly listener: () => void }>;
  mark: string | undefined;
}

const ABSENT = 'absent';

export function watchers(): Watchers {
  const watched = new Map<string, Watched>();
  const awake = new Set<string>();

  function wake(topics: Iterable<string>): void {
    for (const topic of topics) {
      if (!watched.has(topic)) continue;
      if (awake.size === 0) setImmediate(call);
      awake.add(topic);
    }
  }

  function call(): void {
    const topics = [...awake];
    awake.clear();
    for (const topic of topics) {
      // A listener that throws is a defect of its own: it must reach the process, and not keep the others from being called.
      for (const { listener } of watched.get(topic)?.listeners ?? []) queueMicrotask(listener);
    }
  }

  return {
    watch(topic, listener) {
      const entry = { listener };
      const found = watched.get(topic) ?? { listeners: new Set(), mark: undefined };
      watched.set(topic, found);
      found.listeners.add(entry);
      // Whoever reads and then watches, or watches and then reads, misses nothing: a new watcher is woken by the next poll.
      found.mark = undefined;
      return () => {
        found.listeners.delete(entry);
        if (found.listeners.size === 0 && watched.get(topic) === found) watched.delete(topic);
      };
    },
    wake,
    async poll(marksOf) {
      if (watched.size === 0) return;
      const asked = [...watched];
      const marks = await marksOf(asked.map(([topic]) => topic));
      for (const [topic, entry] of asked) {
        const mark = marks.get(topic) ?? ABSENT;
        if (entry.mark === mark) continue;
        entry.mark = mark;
        wake([topic]);
      }
    },
    clear() {
      watched.clear();
      awake.clear();
    },
  };
}
