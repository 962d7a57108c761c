/**
 * The rows of `apply`: plan, apply, drift. What is applied is planned again at that moment and must be the plan that somebody saw; it is
 * committed in one step, each record with the revision the plan saw, so of two applies that touch one record exactly one wins.
 * CRASH before the commit: nothing happened. After it: everything did, and the history says so; log entries may be missing (commit.ts).
 */
import { adminEntry } from '../../audit/entries.ts';
import { err, ok } from '../../lib/result.ts';
import { permit } from '../authenticate.ts';
import { commitBy } from '../commit.ts';
import { conflict, notFound, type Problem } from '../problem.ts';
import { handler, type Ask, type Handler, type Route } from '../route.ts';
import { rowOf } from './kind.ts';
import { count, makePlan, type Plan } from './plan.ts';
import { ApplyBody, APPLY_LIMITS, nameOf, PlanBody, type PlanRow } from './resources.ts';
import { allSets, driftOf, SET_KIND, setOf } from './sets.ts';

export interface ApplyHandlers {
  readonly planApply: Handler;
  readonly apply: Handler;
  readonly listSets: Handler;
  readonly setDrift: Handler;
}

/** `routes` is asked when a request comes: the table that these rows stand in. */
export function applyHandlers(routes: () => readonly Route[]): ApplyHandlers {
  return {
    planApply: handler({
      body: PlanBody,
      limits: APPLY_LIMITS,
      run: async (ask) => ok({ body: planBody(await makePlan(ask, routes(), ask.body, 'plan')) }),
    }),

    apply: handler({
      body: ApplyBody,
      limits: APPLY_LIMITS,
      run: async (ask) => {
        const { digest, reason, revision: seenAt, ...input } = ask.body;
        const plan = await makePlan(ask, routes(), input, reason);
        const refused = plan.rows.filter(({ action }) => action === 'refused');
        if (refused.length > 0) return err(refusal(refused));
        if (plan.digest !== digest) return err(stale(plan, seenAt));
        const strict = stricterRow(ask, plan);
        if (strict) return err(strict);
        if (plan.stage.changes.length === 0) return ok({ body: doneBody(plan, plan.revision) });
        const done = await commitPlan(ask, plan, reason, input.set ?? null, digest);
        return done.ok ? ok({ body: doneBody(plan, done.value), revision: done.value }) : done;
      },
    }),

    listSets: handler({
      run: async ({ ctx }) =>
        ok({
          body: {
            sets: allSets(ctx).map(({ id, revision, records }) => ({ id, revision, records: records.length })),
          },
        }),
    }),

    setDrift: handler({
      run: async ({ ctx, who, params }) => {
        const name = params['set'] ?? '';
        const set = setOf(ctx, name);
        if (!set) return err(notFound('applied set', name));
        const rows = await driftOf(ctx, routes(), set, (kind) => {
          const { roles } = rowOf(routes(), kind.read);
          return permit(ctx, who, { scope: 'admin:read', roles, sensitive: false }).ok;
        });
        return ok({ body: { set: name, revision: set.revision, rows } });
      },
    }),
  };
}

const planBody = ({ rows, digest, revision }: Plan): object => ({ revision, digest, counts: countsOf(rows), rows });

const doneBody = ({ rows }: Plan, revision: number): object => ({
  revision,
  counts: countsOf(rows),
  rows: rows.map(({ kind, id, action }) => ({ kind, id, action })),
});

const countsOf = (rows: readonly PlanRow[]): Record<PlanRow['action'], number> => ({
  create: count(rows, 'create'),
  change: count(rows, 'change'),
  unchanged: count(rows, 'unchanged'),
  delete: count(rows, 'delete'),
  retire: count(rows, 'retire'),
  released: count(rows, 'released'),
  refused: count(rows, 'refused'),
});

/** Every row that would be used may ask for more than this one does (roles were asked when the plan was made). */
function stricterRow({ ctx, who }: Ask<unknown, unknown>, plan: Plan): Problem | null {
  for (const row of plan.stage.rows) {
    const may = permit(ctx, who, row);
    if (!may.ok) return may.error;
  }
  return null;
}

const SHOWN = 20;

function refusal(rows: readonly PlanRow[]): Problem {
  const lines = rows.flatMap((row) =>
    row.problems.map(({ path, message }) => `${[nameOf(row), ...path].join('.')}: ${message}`),
  );
  return {
    status: rows.some(({ problems }) => problems.some(({ code }) => FORBIDDEN.has(code))) ? 403 : 422,
    code: 'apply_refused',
    message: `Nothing was changed. ${lines.slice(0, SHOWN).join('; ')}${lines.length > SHOWN ? `; and ${lines.length - SHOWN} more` : ''}`,
    remedy: 'POST /apply/plan (`remit apply --plan`) tells every problem with its place.',
  };
}

/** Codes of problems that a request alone would be answered 403 with. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  'role_missing',
  'own_standing',
  'own_agent',
  'provisioned',
  'mapping_tenant',
]);

function stale({ rows }: Plan, seenAt: number | undefined): Problem {
  const since = seenAt === undefined ? [] : rows.filter(({ revision }) => revision !== null && revision > seenAt);
  const named = since.slice(0, 10).map(nameOf).join(', ');
  return conflict(
    'apply_stale',
    `This is not the plan that was seen: something has changed since${named === '' ? '' : ` (${named})`}. Nothing was changed.`,
    'Plan again, look at it, and apply that.',
  );
}

/** Entries hold at most 8 KiB; the rest of a long list stands in the entries of the changes themselves. */
const NAMED_CHARACTERS = 4_000;

async function commitPlan(
  { ctx, who, ref }: Ask<unknown, unknown>,
  { stage, rows }: Plan,
  reason: string,
  set: string | null,
  digest: string,
) {
  const subjects = stage.changes.map(({ subject }) => subject);
  let room = NAMED_CHARACTERS;
  const named = subjects.filter((subject) => (room -= JSON.stringify(subject).length + 1) > 0);
  const done = await commitBy(
    ctx,
    { name: who.person, actor: who.actor, ref },
    {
      what: 'apply.committed',
      subject: set === null ? 'apply' : `${SET_KIND}/${set}`,
      reason,
      facts: {
        plan: digest,
        changes: subjects.length,
        subjects: named,
        removed: count(rows, 'delete', 'retire'),
      },
      writes: stage.writes(),
    },
  );
  if (!done.ok) return done;
  await stage.finish();
  // One entry for each record, as if it had been changed alone: whoever searches for a subject finds it.
  const { log } = ctx.audit;
  const recorded = await Promise.allSettled(
    stage.changes.map(({ what, subject, facts }) =>
      log.record(
        adminEntry(
          log.stamp({ ref }),
          { ...facts, what, subject, reason, revision: done.value, plan: digest },
          who.actor,
        ),
      ),
    ),
  );
  if (recorded.every(({ status }) => status === 'fulfilled')) return done;
  ctx.log.error({ ref, revision: done.value }, 'audit records of applied changes are missing');
  return err<Problem>({
    status: 503,
    code: 'record_missing',
    message: `The change is in force as revision ${done.value}, but not every audit record of it could be made durable.`,
    remedy: 'Do not repeat the change. Repair the audit log; the history of the records names who made it and why.',
    revision: done.value,
  });
}
