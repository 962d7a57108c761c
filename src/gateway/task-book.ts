/**
 * Tasks as they are kept (decision 0008): the newest item of `task/<id>` is the task, sealed. The node that runs one writes it, each time
 * expecting to be the last who wrote; any node may end it (cancelled; failed, when its node is gone), and the runner then finds out.
 * A node says that it still runs a task by a lease: the topic `task-lease/<id>`, which expires unless it is renewed.
 * Answers for a task that runs elsewhere go to `task-inbox/<id>`. Old-style lists read `tasks-of/<owner>/<day>`.
 * Not here: who may see a task (guards/task-is-theirs.ts), what a task does (task-run.ts). Losing all of this loses conversations, never a record.
 * Long because it is one closure over the tasks of this node.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import type { SealedExchange, TopicItem } from './exchange-box.ts';
import { keptBytes } from './kept-bytes.ts';
import { Answers, Kept, Owner, isOver, isTaskId, newTaskId, saysNothing } from './kept-task.ts';
import type { KeptTask, TaskAnswers, TaskChange, TaskOwner } from './kept-task.ts';
import { REMIT_CODES } from './wire.ts';

/** What the book can do with a task that runs here. */
export interface TaskHands {
  /** It was ended by somebody else, or may have been: nothing of it is written any more. */
  stop(why: string): void;
  answer(answers: TaskAnswers): Promise<void>;
}

export interface RunningTask {
  readonly id: string;
  /** As last written. */
  readonly kept: KeptTask;
  /** False: it is over already, and this changes nothing. Changes are written in the order they were asked for. */
  change(change: TaskChange): Promise<boolean>;
  /** Whether a result fits into what this person may keep; if so it counts from now until it expires. */
  keeps(person: string, result: JsonObject): boolean;
  /** Nobody was told of it: it never was. */
  forget(): Promise<void>;
}

/** A task that begins with waiting for a person's yes. */
export interface TaskWaiting {
  readonly approval: string;
  readonly statusMessage: string;
  /** It lives at least so long. */
  readonly leastMs: number;
}

export interface TaskBook {
  readonly timeLimitMs: number;
  /** Takes a place among this person's tasks; false when there is none. Every true needs one `leave`. */
  enter(person: string): boolean;
  leave(person: string): void;
  /** Durable when it resolves. `askedTtlMs`: how long the client wants it kept from its beginning; null: it does not say. */
  begin(
    owner: TaskOwner,
    item: { readonly server: string; readonly tool: string; readonly trace?: string },
    askedTtlMs: number | null,
    hands: TaskHands,
    waiting?: TaskWaiting,
  ): Promise<RunningTask>;
  /** Null: not there, or no longer. A task whose node is gone is failed by this. */
  read(id: string): Promise<KeptTask | null>;
  /** Cancels it, wherever it runs, if it is not over. @returns it as it is then. */
  cancel(id: string): Promise<KeptTask | null>;
  /** Resolves when the task has them, or a node that runs it elsewhere will. False: it runs elsewhere, and too many wait there already. */
  answer(id: string, answers: TaskAnswers): Promise<boolean>;
  watch(id: string, listener: () => void): () => void;
  /** Ids of an owner's old-style tasks, oldest first, from after `place`; with the place of each. */
  list(owner: TaskOwner, place: string): AsyncIterable<{ readonly id: string; readonly place: string }>;
  /** Keeps the end of the node waiting until `run` is over. */
  follow(run: Promise<unknown>): void;
  /** Resolves when everything that ran here has ended, which is for others to bring about. */
  close(): Promise<void>;
}

export interface TaskSettings {
  /** How long a task may run, without the time it waits for answers. */
  readonly timeLimitMs: number;
  readonly perPerson: number;
  /** Results of finished tasks of one person on this node, until they expire. As JSON: sealed they take a third more. */
  readonly keptBytesPerPerson: number;
}
// 64 MiB: sixteen of the largest results there are by default; it takes some fifty persons who use all of it to fill an exchange (4 GiB).
export const TASK_SETTINGS: TaskSettings = {
  timeLimitMs: 3_600_000,
  perPerson: 50,
  keptBytesPerPerson: 64 * 1024 * 1024,
};

/** A larger result, sealed with the rest of its task, is no text of the exchange (16 MiB). */
const RESULT_BYTES = 11 * 1024 * 1024;
/** Answers to one task that may come by way of other nodes, until it is over. */
export const INBOX_ANSWERS = 100;

/** How long a task stays after its end when its client does not say. */
const REST_MS = 3_600_000;
/** Whoever asks for less or more than this, from the beginning, gets this. */
const TTL_MS = { least: 60_000, most: 86_400_000 };
/** After the end of a task that was to live for a time its client chose: time enough to fetch the result. */
const LEAST_REST_MS = 60_000;
const LEASE_MS = 45_000;
const RENEW_EVERY_MS = 10_000;
const DAY_MS = 86_400_000;

/** Why its runner stops: somebody cancelled it, or took it for lost. */
const endedBy = (latest: TopicItem<KeptTask> | null): string =>
  latest?.value.status === 'cancelled' ? 'task_cancelled' : 'lease_lost';

interface Running {
  readonly id: string;
  readonly hands: TaskHands;
  item: TopicItem<KeptTask>;
  writing: Promise<unknown>;
  /** When the lease was last renewed, by our clock. */
  leasedAt: number;
  over: boolean;
  readonly unwatch: Array<() => void>;
}

export function taskBook(
  exchange: SealedExchange,
  clock: Clock,
  log: (level: 'warn' | 'error', fields: object, message: string) => void,
  { timeLimitMs, perPerson, keptBytesPerPerson }: TaskSettings = TASK_SETTINGS,
): TaskBook {
  const running = new Map<string, Running>();
  const places = new Map<string, number>();
  const runs = new Set<Promise<unknown>>();
  const quota = keptBytes(keptBytesPerPerson, clock);

  const taskTopic = (id: string) => exchange.topicOf(`task/${id}`, Kept);
  const leaseTopic = (id: string) => exchange.topicOf(`task-lease/${id}`, z.literal('running'));
  const inboxTopic = (id: string) => exchange.topicOf(`task-inbox/${id}`, Answers);
  const indexTopic = (owner: TaskOwner, day: number) =>
    exchange.topicOf(`tasks-of/${sha256Hex(JSON.stringify(Owner.parse(owner)))}/${day}`, z.string());
  const write = (id: string, task: KeptTask, expect: number): Promise<number | null> =>
    taskTopic(id).append([task], { expiresAt: task.createdAt + task.ttlMs, expect, replaces: true });

  const renewing = setInterval(() => {
    for (const task of running.values()) void renew(task);
  }, RENEW_EVERY_MS).unref();

  async function renew(task: Running): Promise<void> {
    const now = clock.now();
    try {
      // Once it has expired it is not there any more, and somebody may have said that this task is lost.
      const last = await leaseTopic(task.id).append([], { expiresAt: now + LEASE_MS });
      if (last !== null && last > 0) task.leasedAt = now;
      else drop(task, 'lease_lost');
      // A long task must not expire under its runner.
      if (!task.over && task.item.value.createdAt + task.item.value.ttlMs < now + LEAST_REST_MS)
        await rewrite(task, {});
    } catch (fault) {
      if (now - task.leasedAt > LEASE_MS) drop(task, 'lease_lost');
      log('warn', { fault: isFault(fault) ? fault.code : String(fault) }, 'the lease of a task was not renewed');
    }
  }

  /** It is over, or belongs to nobody: this node has nothing to do with it any more. */
  function leaveIt(task: Running): void {
    task.over = true;
    running.delete(task.id);
    for (const stop of task.unwatch.splice(0)) stop();
  }

  function drop(task: Running, why: string): void {
    if (task.over) return;
    leaveIt(task);
    task.hands.stop(why);
  }

  function changed(task: KeptTask, change: Partial<KeptTask>): KeptTask {
    const now = clock.now();
    const next = { ...task, ...change };
    const age = now - task.createdAt;
    return {
      ...next,
      lastUpdatedAt: now,
      ttlMs: Math.max(task.ttlMs, age + (isOver(next) ? task.restMs : LEAST_REST_MS)),
    };
  }

  /** One after the other, so that the last asked for is the last written. */
  function rewrite(task: Running, change: Partial<KeptTask>): Promise<boolean> {
    const before = task.writing;
    const written = (async () => {
      await before;
      return rewriteNow(task, change);
    })();
    task.writing = written.catch(() => undefined);
    return written;
  }

  async function rewriteNow(task: Running, change: Partial<KeptTask>): Promise<boolean> {
    while (!task.over) {
      if (saysNothing(task.item.value, change)) return true;
      const next = changed(task.item.value, change);
      const seq = await write(task.id, next, task.item.seq);
      if (seq !== null) {
        task.item = { seq, value: next };
        if (isOver(next)) await endHere(task);
        return true;
      }
      const latest = await taskTopic(task.id).latest();
      if (latest === null || isOver(latest.value)) drop(task, endedBy(latest));
      else task.item = latest;
    }
    return false;
  }

  async function endHere(task: Running): Promise<void> {
    leaveIt(task);
    // CRASH: what is left of these expires.
    await Promise.all([leaseTopic(task.id).remove(), inboxTopic(task.id).remove()]).catch(() => undefined);
  }

  /** The end of a task is worth more than one try: without it the task is lost once its lease is. */
  async function change(task: Running, wanted: TaskChange): Promise<boolean> {
    const blank = { statusMessage: null, result: null, error: null, inputRequests: null };
    for (let tries = 1; ; tries++) {
      try {
        return await rewrite(task, { ...blank, ...wanted });
      } catch (fault) {
        log('error', { fault: isFault(fault) ? fault.code : String(fault) }, 'a task could not be written');
        if (!isOver(wanted) || tries === 5) return false;
        await sleep(100 * 2 ** tries);
      }
    }
  }

  async function readItem(id: string): Promise<TopicItem<KeptTask> | null> {
    if (!isTaskId(id)) return null;
    const item = await taskTopic(id).latest();
    if (item === null || isOver(item.value) || running.has(id)) return item;
    if ((await leaseTopic(id).latest()) !== null) return item;
    // Nobody runs it any more. Whether the call had an effect nobody knows; its intent stands in the log.
    // One that waited had sent nothing: before anything leaves, its runner writes that it waits no longer, and loses if this is first.
    const message = item.value.waits
      ? `The gateway stopped while this call waited for approval (${item.value.waits}). Nothing was sent. Call again with the same arguments: the request stands until its time is over.`
      : 'The gateway lost this task while it ran; whether it had an effect is unknown: check before you repeat it.';
    const next = changed(item.value, {
      status: 'failed',
      statusMessage: null,
      inputRequests: null,
      error: { code: REMIT_CODES.unavailable, message },
    });
    const seq = await write(id, next, item.seq);
    return seq === null ? taskTopic(id).latest() : { seq, value: next };
  }

  return {
    timeLimitMs,
    enter(person) {
      const count = places.get(person) ?? 0;
      if (count >= perPerson) return false;
      places.set(person, count + 1);
      return true;
    },
    leave(person) {
      const count = (places.get(person) ?? 1) - 1;
      if (count === 0) places.delete(person);
      else places.set(person, count);
    },
    async begin(owner, { server, tool, trace }, askedTtlMs, hands, waiting) {
      const id = newTaskId();
      const now = clock.now();
      const wished = askedTtlMs === null ? REST_MS : Math.min(Math.max(askedTtlMs, TTL_MS.least), TTL_MS.most);
      const ttlMs = waiting ? Math.max(waiting.leastMs, askedTtlMs === null ? 0 : wished) : wished;
      const value: KeptTask = {
        owner,
        server,
        tool,
        status: 'working',
        statusMessage: waiting?.statusMessage ?? null,
        createdAt: now,
        lastUpdatedAt: now,
        ttlMs,
        restMs: askedTtlMs === null ? REST_MS : LEAST_REST_MS,
        result: null,
        error: null,
        inputRequests: null,
        ...(waiting && { waits: waiting.approval }),
        ...(trace !== undefined && { trace }),
      };
      // The lease first: whoever finds the task finds that it runs.
      await leaseTopic(id).append(['running'], { expiresAt: now + LEASE_MS });
      const seq = (await write(id, value, 0)) ?? 0;
      if (owner.era === 'legacy')
        await indexTopic(owner, Math.floor(now / DAY_MS)).append([id], { expiresAt: now + 3 * DAY_MS });
      const task: Running = {
        id,
        hands,
        item: { seq, value },
        writing: Promise.resolve(),
        leasedAt: now,
        over: false,
        unwatch: [],
      };
      running.set(id, task);
      let taken = 0;
      task.unwatch.push(
        taskTopic(id).watch(() => void look()),
        inboxTopic(id).watch(() => void collect()),
      );
      /** Somebody else may have ended it. */
      async function look(): Promise<void> {
        const latest = await taskTopic(id)
          .latest()
          .catch(() => undefined);
        if (latest === undefined || task.over) return;
        if (latest === null || (latest.seq > task.item.seq && isOver(latest.value))) drop(task, endedBy(latest));
      }
      async function collect(): Promise<void> {
        const letters = await inboxTopic(id)
          .read(taken, 100)
          .catch(() => []);
        for (const { seq: at, value: letter } of letters) {
          if (at <= taken) continue;
          taken = at;
          await hands.answer(letter);
        }
      }
      return {
        id,
        get kept() {
          return task.item.value;
        },
        change: (wanted) => change(task, wanted),
        keeps(person, result) {
          const { createdAt, ttlMs } = changed(task.item.value, { status: 'completed' });
          const bytes = Buffer.byteLength(JSON.stringify(result));
          return bytes <= RESULT_BYTES && quota.take(person, bytes, createdAt + ttlMs);
        },
        async forget() {
          leaveIt(task);
          await Promise.all([taskTopic(id).remove(), leaseTopic(id).remove()]);
        },
      };
    },
    read: async (id) => (await readItem(id))?.value ?? null,
    async cancel(id) {
      for (;;) {
        const item = await readItem(id);
        if (item === null || isOver(item.value)) return item?.value ?? null;
        const next = changed(item.value, {
          status: 'cancelled',
          statusMessage: 'The task was cancelled by request.',
          inputRequests: null,
        });
        if ((await write(id, next, item.seq)) === null) continue;
        const here = running.get(id);
        if (here) drop(here, 'task_cancelled');
        return next;
      }
    },
    async answer(id, answers) {
      const here = running.get(id);
      if (here) {
        await here.hands.answer(answers);
        return true;
      }
      const inbox = inboxTopic(id);
      const expiresAt = clock.now() + REST_MS;
      for (;;) {
        // ATTACKER-CONTROLLED: how many. `expect` keeps those that come at once from passing together.
        const expect = (await inbox.append([], { expiresAt })) ?? 0;
        if (expect >= INBOX_ANSWERS) return false;
        if ((await inbox.append([answers], { expiresAt, expect })) !== null) return true;
      }
    },
    watch: (id, listener) => (isTaskId(id) ? taskTopic(id).watch(listener) : () => undefined),
    async *list(owner, place) {
      const today = Math.floor(clock.now() / DAY_MS);
      const [day = 0, seq = 0] = place.split('.').map(Number);
      for (let at = Math.max(day, today - 2); at <= today; at++) {
        let after = at === day ? seq : 0;
        for (;;) {
          const page = await indexTopic(owner, at).read(after, 100);
          for (const item of page) yield { id: item.value, place: `${at}.${item.seq}` };
          if (page.length === 0) break;
          after = page.at(-1)!.seq;
        }
      }
    },
    follow(run) {
      const ended = run.catch(() => undefined).finally(() => runs.delete(ended));
      runs.add(ended);
    },
    async close() {
      clearInterval(renewing);
      await Promise.all(runs);
    },
  };
}
