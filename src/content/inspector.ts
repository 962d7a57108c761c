/**
 * Who looks at values: small ones at once, on the thread that asks; large ones on a thread of their own, because a hostile text of a megabyte
 * can take most of a second and nobody else would be served meanwhile (RL-04). Same terms, same detectors, same result.
 * Sources take turns, no source has all the room to wait, and where there are several threads none has all of them. A thread that dies, takes
 * too long or has too much waiting before it has looked at nothing: then nothing goes on, whatever the terms say of single detectors (CI-11: an
 * own secret never passes).
 * Not promised: that a large value costs the asking thread nothing. It is written once as JSON, and read once if something was taken out.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { JsonObject } from '../lib/json.ts';
import { workerModule } from '../lib/worker-module.ts';
import type { Looked, ResultLimits } from './inspect.ts';
import { KINDS } from './kinds.ts';
import type { InspectionOf, Kind } from './kinds.ts';
import { isLarge } from './size.ts';
import type { ExactValue, Matcher, Terms } from './terms.ts';

export interface Inspector {
  /**
   * Never throws, never rejects. @param from whose turn it is, if it has to wait. @param signal nobody wants to know any more: what was not
   * begun is not looked at.
   */
  look<K extends Kind>(
    kind: K,
    value: JsonObject,
    limits: ResultLimits,
    terms: Terms,
    from: string,
    signal?: AbortSignal,
  ): InspectionOf<K> | Promise<InspectionOf<K>>;
  /** What waits is not looked at any more. */
  close(): Promise<void>;
}

export interface InspectorOptions {
  /** UTF-16 code units over all texts and names, plus one per value, from which on a value is large. */
  readonly largeFrom?: number;
  readonly threads?: number;
  /** How long one value may wait for its turn, and then take, ms. */
  readonly waitMs?: number;
  readonly lookMs?: number;
  /** Characters of all values that wait. */
  readonly maxWaiting?: number;
  /** The module of the thread; another one only in tests. */
  readonly module?: URL;
}

/** What a thread is asked. Books and terms come with the first job that needs them. */
export interface Job {
  readonly kind: Kind;
  readonly text: string;
  readonly limits: ResultLimits;
  readonly terms: number;
  readonly recipe?: Terms['recipe'];
  /** With a recipe: whether these terms look for own and for planted values at all. */
  readonly seeks?: { readonly own: boolean; readonly planted: boolean };
  /** Undefined: as before. Null: nobody knows what is to be looked for. */
  readonly own?: readonly ExactValue[] | null;
  readonly planted?: readonly ExactValue[] | null;
}
/** What it answers. `changed`: what may go on, as JSON; null: the value as it was, or nothing of it. */
export interface JobDone {
  readonly looked: Looked & { readonly verdict: string };
  readonly changed: string | null;
}

const LARGE_FROM = 16_384;
/** A thread reads, walks and writes a value; a value that needs more than that is not one that anybody wants. */
const HEAP_MB = 1_024;
/** Of one thread; the terms of 1,000 servers are made again in milliseconds. */
const MAX_TERMS = 512;

interface Waiting {
  readonly kind: Kind;
  readonly value: JsonObject;
  readonly text: string;
  readonly limits: ResultLimits;
  readonly terms: Terms;
  readonly from: string;
  readonly done: (answer: JobDone | null) => void;
}

export function inspector(options: InspectorOptions = {}): Inspector {
  const {
    largeFrom = LARGE_FROM,
    threads: count = Math.max(1, Math.min(4, availableParallelism() - 1)),
    waitMs = 10_000,
    lookMs = 10_000,
    maxWaiting = 67_108_864,
    module = workerModule('./inspector-thread', import.meta.url),
  } = options;
  const threads: Thread[] = [];
  /** By source; the one whose turn is next stands first. Never an empty list. */
  const queues = new Map<string, Waiting[]>();
  let waiting = 0;
  let closed = false;

  const running = (from: string): number => threads.filter((thread) => thread.source() === from).length;
  /** A source may not have them all, as far as there is more than one. */
  const share = Math.max(1, count - 1);

  function next(): Waiting | null {
    for (const [from, queue] of queues) {
      if (running(from) >= share) continue;
      const first = queue.shift()!;
      queues.delete(from);
      if (queue.length > 0) queues.set(from, queue);
      waiting -= first.text.length;
      return first;
    }
    return null;
  }

  function turn(): void {
    for (;;) {
      const idle = threads.find((thread) => thread.source() === null);
      if (idle === undefined && threads.length >= count) return;
      const job = next();
      if (job === null) return;
      const thread = idle ?? started();
      thread.take(job, lookMs, () => turn());
    }
  }

  function started(): Thread {
    const thread = startThread(module, () => {
      threads.splice(threads.indexOf(thread), 1);
      if (!closed) turn();
    });
    threads.push(thread);
    return thread;
  }

  function leave(job: Waiting): void {
    const queue = queues.get(job.from);
    const at = queue?.indexOf(job) ?? -1;
    if (queue === undefined || at === -1) return;
    queue.splice(at, 1);
    if (queue.length === 0) queues.delete(job.from);
    waiting -= job.text.length;
    job.done(null);
  }

  /**
   * Whether there is room for it; if not, what came last from whoever has most waiting gives way. ATTACKER-CONTROLLED: how much a source has
   * waiting: without this, one that fills the room keeps everybody's large values from being looked at.
   */
  function roomFor(from: string, length: number): boolean {
    while (waiting + length > maxWaiting) {
      let most: readonly Waiting[] = [];
      let characters = charactersOf(queues.get(from)) + length;
      for (const queue of queues.values()) {
        const its = charactersOf(queue);
        if (its > characters) [most, characters] = [queue, its];
      }
      const last = most.at(-1);
      if (last === undefined) return false;
      leave(last);
    }
    return true;
  }

  function elsewhere<K extends Kind>(
    kind: K,
    value: JsonObject,
    limits: ResultLimits,
    terms: Terms,
    from: string,
    signal?: AbortSignal,
  ): Promise<InspectionOf<K>> {
    const text = JSON.stringify(value);
    if (closed || signal?.aborted || !roomFor(from, text.length)) return Promise.resolve(notLookedAt(kind));
    return new Promise((resolve) => {
      const job: Waiting = {
        kind,
        value,
        text,
        limits,
        terms,
        from,
        done: (answer) => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', givenUp);
          resolve(answer === null ? notLookedAt(kind) : inspectionOf(kind, value, answer));
        },
      };
      const givenUp = (): void => leave(job);
      const timer = setTimeout(givenUp, waitMs);
      signal?.addEventListener('abort', givenUp, { once: true });
      const queue = queues.get(from);
      if (queue) queue.push(job);
      else queues.set(from, [job]);
      waiting += text.length;
      turn();
    });
  }

  return {
    look: (kind, value, limits, terms, from, signal) =>
      isMovable(terms) && isLarge(value, largeFrom)
        ? elsewhere(kind, value, limits, terms, from, signal)
        : KINDS[kind](value, limits, terms),
    async close() {
      closed = true;
      for (const job of [...queues.values()].flat()) leave(job);
      await Promise.all(threads.splice(0).map((thread) => thread.end()));
    },
  };
}

const charactersOf = (queue: readonly Waiting[] = []): number => queue.reduce((sum, { text }) => sum + text.length, 0);

interface Thread {
  /** Whose value it looks at; null: it has nothing to do. */
  source(): string | null;
  /** @param free it has answered, and can take another one. */
  take(job: Waiting, withinMs: number, free: () => void): void;
  end(): Promise<void>;
}

/** @param over it has ended, and what it was looking at has been answered. */
function startThread(module: URL, over: () => void): Thread {
  const worker = new Worker(module, { resourceLimits: { maxOldGenerationSizeMb: HEAP_MB } });
  worker.unref();
  const known = new Map<Terms, number>();
  const books = { own: undefined as Seen, planted: undefined as Seen };
  let named = 0;
  let busy: { readonly job: Waiting; readonly timer: NodeJS.Timeout; readonly free: () => void } | null = null;
  let gone = false;

  const answer = (done: JobDone | null): void => {
    const was = busy;
    busy = null;
    clearTimeout(was?.timer);
    was?.job.done(done);
    if (!gone) was?.free();
  };
  const die = (): void => {
    if (gone) return;
    gone = true;
    answer(null);
    over();
  };
  worker.on('message', (done: JobDone) => answer(done));
  worker.on('error', die);
  worker.on('exit', die);

  return {
    source: () => busy?.job.from ?? null,
    take(job, withinMs, free) {
      // What it makes of a value cannot be interrupted, so whoever takes too long is ended.
      const timer = setTimeout(() => void worker.terminate(), withinMs);
      busy = { job, timer, free };
      if (known.size >= MAX_TERMS) known.clear();
      let terms = known.get(job.terms);
      const isNew = terms === undefined;
      if (terms === undefined) known.set(job.terms, (terms = named++ % MAX_TERMS));
      const { kind, text, limits } = job;
      const message: Job = {
        kind,
        text,
        limits,
        terms,
        ...(isNew && {
          recipe: job.terms.recipe,
          seeks: { own: job.terms.own !== null, planted: job.terms.planted !== null },
        }),
        ...news(books, 'own', job.terms.own),
        ...news(books, 'planted', job.terms.planted),
      };
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
      worker.postMessage(message);
    },
    async end() {
      gone = true;
      answer(null);
      await worker.terminate();
    },
  };
}

/** What a thread was told last; undefined: nothing yet. */
type Seen = { readonly matcher: Matcher | null; readonly revision: number | null } | undefined;

/** What of a book a thread has to be told. */
function news<N extends 'own' | 'planted'>(
  books: Record<N, Seen>,
  name: N,
  matcher: Matcher | null,
): { readonly [name in N]?: readonly ExactValue[] | null } {
  let revision: number | null = null;
  let values: readonly ExactValue[] | null = null;
  try {
    ({ revision, values } = matcher?.book?.() ?? { revision: -1, values: [] });
  } catch {
    // Whoever looks finds nothing to look for, and says so.
  }
  const before = books[name];
  if (before !== undefined && before.matcher === matcher && before.revision === revision) return {};
  books[name] = { matcher, revision };
  return { [name]: values } as { readonly [name in N]: readonly ExactValue[] | null };
}

/** Whether the terms can be made again elsewhere. */
const isMovable = ({ recipe, own, planted }: Terms): boolean =>
  recipe !== undefined && [own, planted].every((matcher) => matcher === null || matcher.book !== undefined);

const WHO = 'inspector';

function notLookedAt<K extends Kind>(kind: K): InspectionOf<K> {
  const looked: Looked = { labels: [], inspected: [`uninspected:${WHO}`], findings: [], faults: [WHO] };
  const verdict =
    kind === 'goes'
      ? { verdict: 'block', reason: 'inspection_failed' }
      : { verdict: 'withhold', reason: 'inspection_failed', result: null };
  return { ...looked, ...verdict } as InspectionOf<K>;
}

function inspectionOf<K extends Kind>(kind: K, value: JsonObject, { looked, changed }: JobDone): InspectionOf<K> {
  if (kind === 'goes') return looked as InspectionOf<K>;
  const passed = (): JsonObject => (changed === null ? value : (JSON.parse(changed) as JsonObject));
  return { ...looked, result: looked.verdict === 'withhold' ? null : passed() } as InspectionOf<K>;
}
