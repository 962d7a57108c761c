/**
 * The one way a change is made through the admin listener: commit with actor and reason, wait until this node decides by it,
 * make an audit record durable, answer with the revision. Nothing else in this folder calls `state.commit`.
 *
 * The history of changes carries actor and reason itself, so a change is never anonymous, even when the log fails afterwards.
 * CRASH between commit and record: the change is in force and in the history; the log lacks its entry. The caller got no answer
 * and finds the new revision when reading. While we live, a missing record is told as an error that names the revision.
 */
import { adminEntry, type EventFacts } from '../audit/entries.ts';
import type { Actor } from '../audit/entry.ts';
import { isFault } from '../lib/fault.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Write } from '../store/state.ts';
import type { AdminContext } from './context.ts';
import type { Problem } from './problem.ts';
import type { Ask, Seen } from './route.ts';

export interface ChangeOfState {
  /** What happened, for the log: `server.enabled`, `lock.added`. */
  readonly what: string;
  /** `kind/id` of the record it is about. */
  readonly subject: string;
  readonly reason: string;
  readonly writes: readonly Write[];
  /** Small flat facts for the log. Never a secret. */
  readonly facts?: EventFacts;
}

/** How long this node may take to apply its own change before the answer says so. */
const APPLY_WITHIN_MS = 5000;

/** Commits one change. The value is the revision that carries it. */
export async function commitChange(
  ask: Ask<unknown, unknown>,
  change: ChangeOfState,
): Promise<Result<number, Problem>> {
  if (ask.stage) return ask.stage(change);
  return commitBy(ask.ctx, { name: ask.who.person, actor: ask.who.actor, ref: ask.ref }, change);
}

/** Who makes a change: a person of the API, or a connection (`scim:<id>`, `event_stream:<id>`) that has no actor in the log's sense. */
export interface By {
  readonly name: string;
  readonly actor: Actor | null;
  readonly ref: string;
}

/** The same for whoever is not a person at the API: provisioning connections, event streams. */
export async function commitBy(
  ctx: Pick<AdminContext, 'state' | 'follower' | 'audit' | 'log'>,
  by: By,
  change: ChangeOfState,
): Promise<Result<number, Problem>> {
  const { ref } = by;
  let revision: number;
  try {
    const commit = await ctx.state.commit({ actor: by.name, reason: change.reason, writes: change.writes });
    revision = commit.revision;
  } catch (fault) {
    if (!isFault(fault)) throw fault;
    ctx.log.warn({ ref, code: fault.code, what: change.what }, 'change not committed');
    return err(storeProblem(fault.code));
  }

  const applied = await within(APPLY_WITHIN_MS, ctx.follower.advanceTo(revision)).then(
    () => true,
    (fault: unknown) => {
      ctx.log.error({ ref, revision, err: fault }, 'change committed but not applied on this node in time');
      return false;
    },
  );
  const recorded = await record(ctx, by, change, revision);
  if (!recorded) {
    return err({
      status: 503,
      code: 'record_missing',
      message: `The change is ${applied ? 'in force' : 'committed'} as revision ${revision}, but its audit record could not be made durable.`,
      remedy:
        'Do not repeat the change. Repair the audit log; the history of the record names who made the change and why.',
      revision,
      inForce: applied,
    });
  }
  if (!applied) {
    return err({
      status: 503,
      code: 'not_applied',
      message: `The change is committed as revision ${revision}, but this node has not applied it yet. It refuses calls while it is behind.`,
      remedy: 'Do not repeat the change. Read the status until its revision is at least this one.',
      revision,
      inForce: false,
    });
  }
  return ok(revision);
}

/** @throws when `work` rejects or takes longer. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`not done within ${ms} ms`)), ms);
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function record(
  ctx: Pick<AdminContext, 'audit' | 'log'>,
  { name, actor, ref }: By,
  change: ChangeOfState,
  revision: number,
): Promise<boolean> {
  const from = actor === null ? { source: name } : {};
  const event = {
    ...change.facts,
    ...from,
    what: change.what,
    subject: change.subject,
    reason: change.reason,
    revision,
  };
  try {
    await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, actor ?? undefined));
    return true;
  } catch (fault) {
    ctx.log.error({ ref, revision, what: change.what, err: fault }, 'audit record of a change is missing');
    return false;
  }
}

/** The revision a write must find, from what the caller says they saw. Replacing a record blindly is refused. */
export function expected(seen: Seen, current: number | undefined): Result<number | null, Problem> {
  if (seen.kind === 'unsaid') {
    if (current === undefined) return ok(null);
    return err({
      status: 428,
      code: 'precondition_required',
      message: 'The record exists; say which revision of it you have seen.',
      remedy: 'Send If-Match with the ETag that reading the record returned.',
    });
  }
  const wanted = seen.kind === 'absent' ? undefined : seen.revision;
  if (wanted !== current) {
    return err({
      status: 412,
      code: 'precondition_failed',
      message: current === undefined ? 'The record does not exist.' : `The record is at revision ${current}.`,
      remedy: 'Read it again and decide anew.',
    });
  }
  return ok(wanted ?? null);
}

function storeProblem(code: string): Problem {
  if (code === 'store_conflict') {
    return {
      status: 409,
      code: 'conflict',
      message: 'Somebody else changed the record, or another record has this name. Nothing was changed.',
      remedy: 'Read it again and decide anew.',
    };
  }
  if (code === 'store_invalid') {
    return { status: 422, code: 'invalid', message: 'The store refuses this record. Nothing was changed.' };
  }
  return {
    status: 503,
    code: 'store_unavailable',
    message: 'The store did not confirm the change. It may or may not be in force.',
    remedy: 'Read the record before you try again.',
  };
}
