/**
 * What happened to an item, read from the history of its record, and what a rollback may go back to (TD-09). An approval that somebody
 * withdrew was withdrawn for a reason: it does not come back but by a review. One that was only replaced by a later one may.
 */
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import { ToolRecord } from './records.ts';
import type { Approved } from './records.ts';

/** One change of the record, as the store keeps it. */
export interface Past {
  readonly revision: number;
  readonly at: number;
  readonly actor: string;
  readonly reason: string;
  /** null: the record was deleted. */
  readonly body: JsonObject | null;
}

export interface HistoryStep {
  readonly revision: number;
  readonly at: number;
  readonly actor: string;
  readonly reason: string;
  readonly what:
    | 'seen'
    | 'changed'
    | 'returned'
    | 'gone'
    | 'proposed'
    | 'approved'
    | 'restored'
    | 'withdrawn'
    | 'deleted';
  /** Of the definition it is about; null: none. */
  readonly digest: Digest | null;
  /** What was decided. */
  readonly judgement?: Pick<Approved, 'risk' | 'scope' | 'justification' | 'by' | 'proposedBy'>;
}

/** Oldest first; a change that says several things gives several steps. Bodies that cannot be read are passed over. */
export function stepsOf(changes: readonly Past[]): readonly HistoryStep[] {
  const steps: HistoryStep[] = [];
  const approvedBefore = new Set<Digest>();
  let before: ToolRecord | null = null;
  for (const { revision, at, actor, reason, body } of changes) {
    const now = recordIn(body);
    if (body !== null && now === null) continue;
    const add = (what: HistoryStep['what'], digest: Digest | null, judgement?: HistoryStep['judgement']): void =>
      void steps.push({ revision, at, actor, reason, what, digest, ...(judgement && { judgement }) });
    const seen = now?.observed?.digest;
    if (now === null) add('deleted', null);
    else if (seen !== before?.observed?.digest) {
      const approved = now.approved?.digest;
      if (seen === undefined) add('gone', before?.observed?.digest ?? null);
      else add(approved === undefined ? 'seen' : approved === seen ? 'returned' : 'changed', seen);
    }
    if (now?.proposal && !same(now.proposal, before?.proposal))
      add('proposed', now.proposal.digest, said(now.proposal));
    if (now?.approved && !same(now.approved, before?.approved)) {
      const name = digestOf(now.approved);
      add(approvedBefore.has(name) ? 'restored' : 'approved', now.approved.digest, said(now.approved));
      approvedBefore.add(name);
    } else if (now && before?.approved && !now.approved) add('withdrawn', before.approved.digest);
    before = now;
  }
  return steps;
}

/** Approvals a rollback may bring back, the last good one first: one per definition, the newest; never what is in force, never what was withdrawn. */
export function restorable(changes: readonly Past[]): readonly Approved[] {
  const good = new Map<Digest, Approved>();
  let before: Approved | null = null;
  for (const { body } of changes) {
    const now = recordIn(body);
    if (body === null) good.clear();
    else if (now === null) continue;
    else if (now.approved) {
      good.delete(now.approved.digest);
      good.set(now.approved.digest, now.approved);
    } else if (before) good.delete(before.digest);
    before = now?.approved ?? null;
  }
  if (before) good.delete(before.digest);
  return [...good.values()].toReversed();
}

function recordIn(body: JsonObject | null): ToolRecord | null {
  const parsed = body === null ? null : ToolRecord.safeParse(body);
  return parsed?.success ? parsed.data : null;
}

const said = (it: NonNullable<HistoryStep['judgement']>): NonNullable<HistoryStep['judgement']> => ({
  risk: it.risk,
  scope: it.scope,
  justification: it.justification,
  by: it.by,
  ...(it.proposedBy !== undefined && { proposedBy: it.proposedBy }),
});

const same = (a: object, b: object | null | undefined): boolean =>
  b !== null && b !== undefined && JSON.stringify(a) === JSON.stringify(b);
