/**
 * Named sets: which records came from one folder of files, and what each was when it was applied (record kind `applied_set`). A record is
 * in one set at most. Drift is read from the history: what differs now from what was applied, who changed it and when, what is gone.
 * What a lifecycle moves by itself (states, versions) is not said in files and is no drift.
 */
import { z } from 'zod';
import { digestOf, type Digest } from '../../lib/canonical-json.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { AdminContext } from '../context.ts';
import { itemOf, itemsOf, type Item } from '../records.ts';
import type { Route } from '../route.ts';
import { difference } from './difference.ts';
import { saidBy, standing, view, waitingIn, type Kind } from './kind.ts';
import { kindOf } from './kinds.ts';
import { nameOf, type FieldChange } from './resources.ts';

export const SET_KIND = 'applied_set';

export const AppliedSet = z.strictObject({
  /** By kind and id. */
  records: z.array(
    z.strictObject({
      kind: z.string().min(1).max(100),
      id: z.string().min(1).max(200),
      /** Of what a file says of it. */
      digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
    }),
  ),
});
export type AppliedSet = z.infer<typeof AppliedSet>;

export const setOf = (ctx: AdminContext, name: string): Item<AppliedSet> | undefined =>
  itemOf(ctx, SET_KIND, name, AppliedSet);
export const allSets = (ctx: AdminContext): Item<AppliedSet>[] => itemsOf(ctx, SET_KIND, AppliedSet);

/** Of a record as a file says it. What its lifecycle spends counts as the file had it, so it is left out. */
export function saidDigest(kind: Kind, routes: readonly Route[], body: JsonObject): Digest {
  return digestOf(steady(kind, routes, body));
}

/** Without anything that some state spends, so that a step of its life is no drift. */
function steady(kind: Kind, routes: readonly Route[], body: JsonObject): JsonObject | null {
  const seen = view(kind, saidBy(kind, routes), body);
  const spent = kind.moving?.(body) ?? [];
  return seen && Object.fromEntries(Object.entries(seen).filter(([name]) => !spent.includes(name)));
}

export interface DriftRow {
  readonly kind: string;
  readonly id: string;
  /** `unreadable`: the record does not fit its schema, so nothing can be said of it. */
  readonly status: 'same' | 'changed' | 'gone' | 'ended' | 'unreadable';
  /** Before: as applied. After: as it is. Empty where the reader may not see records of this kind. */
  readonly changes: readonly FieldChange[];
  readonly since: ReadonlyArray<{
    readonly revision: number;
    readonly at: number;
    readonly actor: string;
    readonly reason: string;
  }>;
}

/** All records of a set. `mayRead`: of which kinds the content is shown. */
export async function driftOf(
  ctx: AdminContext,
  routes: readonly Route[],
  set: Item<AppliedSet>,
  mayRead: (kind: Kind) => boolean,
): Promise<DriftRow[]> {
  const rows: DriftRow[] = [];
  for (const { kind: name, id, digest } of set.records) {
    const kind = kindOf(name);
    const record = ctx.follower.records.get(name, ctx.org, id);
    if (!kind) {
      rows.push({ kind: name, id, status: 'unreadable', changes: [], since: [] });
      continue;
    }
    const body = standing(kind, ctx.follower.records, ctx.org, id);
    const now = body ? steady(kind, routes, body) : null;
    const ended = record && kind.end?.(record.body) === null;
    if (now && !ended && digestOf(now) === digest) {
      rows.push({ kind: name, id, status: 'same', changes: [], since: [] });
      continue;
    }
    const { waits } = kind;
    const [own, proposals] = [
      await ctx.state.history(name, ctx.org, id),
      waits ? await ctx.state.history(waits.kind, ctx.org, id) : [],
    ];
    const then = (history: typeof own) => history.findLast(({ revision }) => revision <= set.revision)?.body;
    const applied = (waits && waitingIn(waits.member, then(proposals))) ?? then(own);
    const was = applied ? steady(kind, routes, applied) : null;
    const changes = now ? difference(was, now) : [];
    // A digest may differ because the schema has grown since. Then nobody changed anything.
    const status = !body ? 'gone' : ended ? 'ended' : !now ? 'unreadable' : changes.length > 0 ? 'changed' : 'same';
    // A yes changes both at one revision.
    const since = [...new Map([...proposals, ...own].map((change) => [change.revision, change])).values()]
      .sort((a, b) => a.revision - b.revision)
      .filter(({ revision }) => revision > set.revision)
      .map(({ revision, at, actor, reason }) => ({ revision, at, actor, reason }));
    const shown = mayRead(kind);
    rows.push({
      kind: name,
      id,
      status,
      changes: shown ? changes : [],
      since: status === 'same' || !shown ? [] : since,
    });
  }
  return rows.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}
