/**
 * The notices for one target, oldest first, from a cursor that lies in the state itself (record kind `notify_cursor`): a restart goes on
 * where it was. CRASH between sending and saving: sent again under the same id. A new target begins now, not at the beginning of time.
 * Several nodes may tell the same: the id says so.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Change, Follower, StateStore } from '../../store/state.ts';
import type { EventSource } from '../../upstream/event-delivery.ts';
import type { Notice } from './notices.ts';

export interface Told extends Notice {
  /** The last of its revision: the cursor may move there. */
  readonly completes: number | null;
}

const PAGE = 200;
const SAVE_EVERY_MS = 2_000;
/** Later than this nobody is helped by a message; the pages and lists have it all the same. */
export const STALE_MS = 24 * 3_600_000;

export function noticesFor(deps: {
  readonly org: string;
  readonly target: string;
  readonly state: StateStore;
  readonly follower: Pick<Follower, 'records' | 'revision'>;
  readonly clock: Clock;
  readonly wanted: (notice: Notice) => boolean;
  readonly noticesOf: (changes: readonly Change[]) => Promise<readonly Notice[]>;
}): EventSource<Told> {
  const { org, target, state, follower, clock } = deps;
  let queue: Told[] = [];
  let cursor: number | null = null;
  let saved = 0;
  let savedAt = 0;
  let reached = 0;

  async function save(revision: number): Promise<void> {
    await state.commit({
      actor: 'remit:notify',
      reason: 'notices up to here were sent',
      writes: [{ kind: 'notify_cursor', org, id: target, body: { revision } }],
    });
    saved = revision;
    savedAt = clock.now();
  }

  async function fill(): Promise<void> {
    if (cursor === null) {
      const record = follower.records.get('notify_cursor', org, target);
      cursor = saved = record === undefined ? follower.revision : Number(record.body['revision']);
      if (record === undefined) await save(cursor);
    }
    for (;;) {
      const changes = await state.changesAfter(cursor, PAGE);
      const last = changes.at(-1);
      if (last === undefined) return;
      // What this node decides by must know of the change before anybody is told of it.
      if (last.revision > follower.revision) return;
      for (const [revision, some] of Map.groupBy(changes, (change) => change.revision)) {
        const fresh = (await deps.noticesOf(some)).filter(
          (notice) => clock.now() - notice.at < STALE_MS && deps.wanted(notice),
        );
        queue.push(
          ...fresh.map((notice, at): Told => ({ ...notice, completes: at === fresh.length - 1 ? revision : null })),
        );
      }
      cursor = last.revision;
      if (queue.length > 0) return;
    }
  }

  return {
    async next() {
      if (queue.length === 0) await fill();
      if (queue.length === 0 && reached > saved) await save(reached);
      return queue[0] ?? null;
    },
    async settled(notice) {
      queue = queue.slice(1);
      if (notice.completes === null) return;
      reached = notice.completes;
      if (clock.now() - savedAt >= SAVE_EVERY_MS) await save(reached);
    },
  };
}
