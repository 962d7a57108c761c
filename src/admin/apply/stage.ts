/**
 * Rehearses requests against a copy of the records that nobody else sees: each runs through its own handler, its change is kept instead
 * of committed, and the next one sees it. So a file of many resources is judged exactly as its requests would be, one after another,
 * and can then be committed in one step. Nothing a handler does here reaches the store, the log, a server or a call.
 */
import { buildSnapshot, type Snapshot } from '../../gateway/snapshot.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { Records, StoredRecord, Write } from '../../store/state.ts';
import type { ChangeOfState } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller, Route, Seen } from '../route.ts';

export interface Rehearsed {
  readonly row: Route;
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly seen: Seen;
  /** False: only to hear what is wrong with it. */
  readonly keep: boolean;
}

export interface Stage {
  /** The records with everything staged so far. */
  readonly records: Records;
  /** The change that the request would make; null: none. A refusal leaves nothing behind. */
  run(request: Rehearsed): Promise<Result<ChangeOfState | null, Problem>>;
  /** Stages a change that no request makes: what `apply` itself remembers. */
  add(change: ChangeOfState): void;
  /** The rows that were used. */
  readonly rows: ReadonlySet<Route>;
  /** Brings the prepared picture up to what is staged. Costly: once per kind, not once per resource. */
  settle(): void;
  readonly changes: readonly ChangeOfState[];
  /** Of all changes, each record once, each with the revision that was there before. */
  writes(): Write[];
  /** What the handlers wanted to do once their change is in force. Never throws. */
  finish(): Promise<void>;
}

export function stageOn(base: AdminContext, who: AdminCaller, ref: string): Stage {
  const { org, follower } = base;
  const layer = new Map<string, Map<string, StoredRecord | null>>();
  const pending = new Map<string, Write>();
  /** Ids by the unique keys of what is staged. */
  const holders = new Map<string, string>();
  const changes: ChangeOfState[] = [];
  const rows = new Set<Route>();
  const later: Array<() => Promise<void> | void> = [];
  const unsettled = new Set<string>();
  let snapshot: Snapshot = base.snapshot();

  const records: Records = {
    get(kind, of, id) {
      const staged = of === org ? layer.get(kind)?.get(id) : undefined;
      return staged === undefined ? follower.records.get(kind, of, id) : (staged ?? undefined);
    },
    *list(kind, of) {
      const staged = of === org || of === undefined ? layer.get(kind) : undefined;
      for (const record of follower.records.list(kind, of))
        if (record.org !== org || !staged?.has(record.id)) yield record;
      for (const record of staged?.values() ?? []) if (record !== null) yield record;
    },
  };

  const never = (): Promise<never> => Promise.reject(new Error('a rehearsal reaches nothing outside'));
  const context: AdminContext = {
    ...base,
    state: { ...base.state, commit: never },
    follower: {
      records,
      revision: follower.revision,
      isFresh: (limitMs) => follower.isFresh(limitMs),
      advanceTo: never,
      onAdvance: () => () => undefined,
    },
    snapshot: () => snapshot,
    audit: { ...base.audit, log: { ...base.audit.log, record: never } },
    stopped: () => {
      throw new Error('nothing is locked in a rehearsal');
    },
    onApproval: (id) => void later.push(() => base.onApproval(id)),
    catalogue: { refresh: never, status: (server) => base.catalogue.status(server) },
    credentials: {
      ...base.credentials,
      revoke: (credential) => {
        later.push(() => base.credentials.revoke(credential).then(() => undefined));
        return Promise.resolve(NOT_YET);
      },
    },
    accounts: {
      begin: never,
      finish: never,
      unlink: never,
      revoke: (server, target) => {
        later.push(() => base.accounts.revoke(server, target).then(() => undefined));
        return Promise.resolve(NOT_YET);
      },
      revokePerson: never,
      isLinked: base.accounts.isLinked,
      forget: (server) => {
        later.push(() => base.accounts.forget(server).then(() => undefined));
        return Promise.resolve();
      },
    },
  };

  function take(write: Write): void {
    const name = JSON.stringify([write.kind, write.id]);
    const first = pending.get(name);
    // What the first of two changes of one record found is what the store must still have.
    const { expectedRevision: _, ...rest } = write;
    const expected = first ?? write;
    pending.set(name, {
      ...rest,
      ...(expected.expectedRevision !== undefined && { expectedRevision: expected.expectedRevision }),
    });
    const before = records.get(write.kind, org, write.id);
    const { kind, id, body } = write;
    let kinds = layer.get(kind);
    if (!kinds) layer.set(kind, (kinds = new Map()));
    kinds.set(
      id,
      body === null ? null : { kind, org, id, body, revision: (before?.revision ?? follower.revision) + 1 },
    );
    unsettled.add(kind);
    if (write.key !== undefined && body !== null) holders.set(keyName(kind, write.key), id);
  }

  const add = (change: ChangeOfState): void => {
    change.writes.forEach(take);
    changes.push(change);
  };

  return {
    records,
    changes,
    async run({ row, params, body, seen, keep }) {
      const staged: ChangeOfState[] = [];
      const effects = later.length;
      const answer = await row.handler.run({
        ctx: context,
        who,
        ref,
        seen,
        params,
        query: {},
        body,
        stage: (change) => {
          if (change.writes.some((write) => write.org !== org)) throw new Error('a change of another organisation');
          staged.push(change);
          return ok(follower.revision);
        },
      });
      const clash = answer.ok ? keyClash(holders, staged) : null;
      if (!answer.ok || clash || !keep) {
        later.length = effects;
        return answer.ok ? (clash ? err(clash) : ok(null)) : answer;
      }
      const [change, ...more] = staged;
      if (more.length > 0) throw new Error('a handler made two changes of one request');
      if (!change) return ok(null);
      add(change);
      rows.add(row);
      return ok(change);
    },
    add,
    rows,
    settle() {
      if (unsettled.size === 0) return;
      snapshot = buildSnapshot({
        org,
        revision: snapshot.revision,
        at: base.clock.now(),
        records: (kind) => records.list(kind, org),
        previous: snapshot,
        changed: new Set(unsettled),
      });
      unsettled.clear();
    },
    writes: () => [...pending.values()],
    async finish() {
      for (const effect of later)
        try {
          await effect();
        } catch (fault) {
          base.log.error({ ref, err: fault }, 'what follows a change that was applied failed');
        }
    },
  };
}

/** What is given back at servers is given back once the change is in force. */
const NOT_YET = { revoked: 0, left: 0 };

/** Two records of one file under one unique key. Against what is stored the store itself decides. */
function keyClash(holders: ReadonlyMap<string, string>, staged: readonly ChangeOfState[]): Problem | null {
  for (const { kind, key, id } of staged.flatMap(({ writes }) => writes)) {
    const holder = key === undefined ? undefined : holders.get(keyName(kind, key));
    if (holder !== undefined && holder !== id)
      return {
        status: 409,
        code: 'named_twice',
        message: `It would be the same as ${kind} ${holder}, which is applied with it.`,
        remedy: 'Keep one of them.',
      };
  }
  return null;
}

const keyName = (kind: string, key: string): string => JSON.stringify([kind, key]);
