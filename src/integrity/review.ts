/**
 * How the record of a tool or another item moves: sightings come from the server, proposals and approvals from people who saw exactly what
 * is approved (AP-01, TD-03). What can do more than read, and what a finding holds, takes two of them.
 * Pure; the caller stores what comes back. Not checked here: that `by` may review; the admin room asks for the role.
 */
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { SeenDefinition } from './definition.ts';
import { fitOf } from './fit.ts';
import { judgementProblem } from './judgement.ts';
import { Approved, Proposal } from './records.ts';
import type { ItemKind, Judgement, RiskClass, ToolRecord } from './records.ts';
import { suggestRisk } from './risk-hint.ts';
import type { Finding } from './scan.ts';
import { scanDefinition } from './scan.ts';

/**
 * The record after a sighting, or null when it says nothing new. An approval stays in place, so that the difference can be shown;
 * a proposal was about what was seen before, and ends.
 */
export function observe(
  record: ToolRecord | undefined,
  server: string,
  seen: SeenDefinition,
  at: number,
): ToolRecord | null {
  if (record?.observed?.digest === seen.digest) return null;
  const approved = record?.approved ?? null;
  const observed = { digest: seen.digest, definition: { ...seen.definition }, seenAt: at } as ToolRecord['observed'];
  const drifted = approved !== null && approved.digest !== seen.digest;
  return {
    server,
    kind: seen.kind,
    name: seen.name,
    observed,
    approved,
    ...(drifted && { driftedAt: record?.driftedAt ?? at }),
  };
}

/** The record after the server stopped offering it, or null when that was known. */
export function vanish(record: ToolRecord, at: number): ToolRecord | null {
  if (!record.observed) return null;
  const { proposal: _, ...rest } = record;
  return { ...rest, observed: null, ...(record.approved && { driftedAt: record.driftedAt ?? at }) };
}

export type ReviewProblem =
  | { readonly code: 'nothing_to_review' }
  /** The definition moved between reading and approving: read it again. */
  | { readonly code: 'definition_moved'; readonly expected: Digest; readonly observed: Digest }
  | { readonly code: 'definition_refused'; readonly findings: readonly Finding[] }
  | { readonly code: 'schema_refused'; readonly message: string }
  | { readonly code: 'review_invalid'; readonly field: string; readonly message: string }
  | { readonly code: 'nothing_proposed' }
  /** What is proposed is not what was read. */
  | { readonly code: 'proposal_moved' }
  | { readonly code: 'proposal_own' };

/** A judgement about exactly one definition. */
export interface Review extends Judgement {
  readonly by: string;
  /** ms since the epoch. */
  readonly at: number;
  /** Digest of the definition that the reviewer had before their eyes. */
  readonly expectedDigest: Digest;
}

/** What somebody else has to agree to. It gives nothing yet. */
export function propose(record: ToolRecord, review: Review): Result<ToolRecord, ReviewProblem> {
  const fits = reviewable(record, review);
  if (!fits.ok) return fits;
  const { expectedDigest: digest, ...rest } = review;
  const proposal = Proposal.safeParse({ digest, ...rest });
  if (!proposal.success) return err(invalid(proposal.error));
  return ok({ ...record, proposal: proposal.data });
}

/** The name of exactly one proposal, by whom and what it says: so that nobody agrees to another one than they read. */
export const proposalDigest = (proposal: Proposal): Digest => digestOf(proposal);

/** Pins what is proposed, by the yes of somebody else than who proposed it. `proposal` is the digest of the one that was read. */
export function agree(
  record: ToolRecord,
  yes: {
    readonly by: string;
    readonly at: number;
    readonly expectedDigest: Digest;
    readonly proposal: Digest;
    readonly mayBeOwn: boolean;
  },
): Result<ToolRecord, ReviewProblem> {
  const { proposal } = record;
  if (!proposal) return err({ code: 'nothing_proposed' });
  if (proposalDigest(proposal) !== yes.proposal || proposal.digest !== yes.expectedDigest)
    return err({ code: 'proposal_moved' });
  if (proposal.by === yes.by && !yes.mayBeOwn) return err({ code: 'proposal_own' });
  const { digest: _, by: proposedBy, at: __, ...judgement } = proposal;
  const { by, at, expectedDigest } = yes;
  return pin(record, { ...judgement, by, at, expectedDigest }, proposedBy);
}

/**
 * Pins what is observed now by the word of one person, provided it is what they saw, can be checked at call time and hides nothing from
 * a reader. For what `takesTwo` does not name; the caller asks.
 */
export function approve(record: ToolRecord, review: Review): Result<ToolRecord, ReviewProblem> {
  return pin(record, review, null);
}

/** Why a judgement takes a second person; null: it takes one. `everConsequential`: it was of another class than `read` before. */
export function takesTwo(
  record: ToolRecord,
  risk: RiskClass,
  findings: readonly Finding[],
  everConsequential: boolean,
): 'class' | 'finding' | 'lowered' | null {
  if (risk !== 'read') return 'class';
  if (findings.some(({ severity }) => severity === 'hold')) return 'finding';
  // Else whoever wants a deletion for themselves calls it reading.
  const { risk: hint } = suggestRisk(record.kind, record.observed?.definition ?? {});
  return everConsequential || hint === 'destructive' || hint === 'execute' ? 'lowered' : null;
}

/**
 * The record with an approval of before in force again, word for word (TD-09). It makes nothing callable that the server does not say now.
 * `good`: from `restorable`. Refused where today's rules would not let it through.
 */
export function restore(record: ToolRecord, good: Approved, at: number): Result<ToolRecord, ReviewProblem> {
  const fits = sound(record.kind, good.definition, good);
  if (!fits.ok) return fits;
  const drifted = record.observed?.digest !== good.digest;
  return ok({ ...withdraw(record), approved: good, ...(drifted && { driftedAt: at }) });
}

/** The record without its approval and without what is proposed: it is invisible and unusable at once. */
export function withdraw(record: ToolRecord): ToolRecord {
  const { proposal: _, driftedAt: __, ...rest } = record;
  return { ...rest, approved: null };
}

function pin(record: ToolRecord, review: Review, proposedBy: string | null): Result<ToolRecord, ReviewProblem> {
  const fits = reviewable(record, review);
  if (!fits.ok) return fits;
  const { expectedDigest: digest, ...rest } = review;
  const definition = record.observed!.definition;
  const approved = Approved.safeParse({ digest, definition, ...rest, ...(proposedBy !== null && { proposedBy }) });
  if (!approved.success) return err(invalid(approved.error));
  return ok({ ...withdraw(record), approved: approved.data });
}

/** Whether this judgement can stand about what is observed now. */
function reviewable({ kind, observed }: ToolRecord, review: Review): Result<void, ReviewProblem> {
  if (!observed) return err({ code: 'nothing_to_review' });
  if (observed.digest !== review.expectedDigest)
    return err({ code: 'definition_moved', expected: review.expectedDigest, observed: observed.digest });
  return sound(kind, observed.definition, review);
}

function sound(kind: ItemKind, definition: JsonObject, judgement: Judgement): Result<void, ReviewProblem> {
  const blocking = scanDefinition(definition).filter((finding) => finding.severity === 'block');
  if (blocking.length > 0) return err({ code: 'definition_refused', findings: blocking });
  const fit = fitOf(kind, definition);
  if (!fit.ok) return err({ code: 'schema_refused', message: fit.error.message });
  const problem = judgementProblem(kind, judgement, fit.value.schema);
  return problem ? err({ code: 'review_invalid', ...problem }) : ok(undefined);
}

function invalid({
  issues: [issue],
}: {
  readonly issues: ReadonlyArray<{ readonly path: readonly PropertyKey[]; readonly message: string }>;
}): ReviewProblem {
  return {
    code: 'review_invalid',
    field: issue?.path.map(String).join('.') ?? '',
    message: issue?.message ?? 'is not valid',
  };
}
