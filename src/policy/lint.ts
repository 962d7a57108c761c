/**
 * Refuses sweeping permits before they are stored (AZ-05): for anybody, for every tool, or regardless of scope. Whoever needs one
 * writes `@exception("reason")` and `@until("2027-01-31")` on it; it then permits until that day and not a moment longer (decide.ts).
 * A heuristic over the policy's form: a permit can be narrow in form and still too wide. The review decides that.
 */
import type { Clause, PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { CompiledPolicy } from './compile.ts';
import { parseDate } from './compile.ts';
import { grantOf } from './grant-policies.ts';
import { conjuncts, readsOf } from './reads.ts';

export interface LintFinding {
  readonly policy: string;
  readonly code:
    | 'any_principal'
    | 'every_tool'
    | 'without_scope'
    | 'exception_incomplete'
    | 'exception_over'
    | 'exception_too_long'
    | 'until_on_forbid'
    | 'id_of_a_grant'
    | 'group_unknown';
  readonly message: string;
}

/** An exception is a promise to remove it; a year is the longest. */
const LONGEST_EXCEPTION_MS = 366 * 86_400_000;

/** Empty when the policy may be stored. `at` is ms since the epoch. */
export function lintPolicy(policy: CompiledPolicy, at: number): LintFinding[] {
  const finding = (code: LintFinding['code'], message: string): LintFinding => ({ policy: policy.id, code, message });
  const { effect, annotations = {} } = policy.json;
  // The log and the last use of grants go by this id: a text under it would pass for a grant that somebody agreed to.
  if (grantOf(policy.id) !== null)
    return [finding('id_of_a_grant', 'ids that begin with "grant." are those of grants; choose another one')];
  if (effect === 'forbid') {
    return 'until' in annotations
      ? [
          finding(
            'until_on_forbid',
            'a forbid does not end by itself; remove @until, and remove the policy when it is no longer needed',
          ),
        ]
      : [];
  }
  const sweeping = sweepingOf(policy.json).map(([code, message]) => finding(code, message));
  const excepted = 'exception' in annotations;
  if (!excepted) return sweeping;
  const until = parseDate(annotations['until'] ?? '');
  if ((annotations['exception'] ?? '').trim() === '' || Number.isNaN(until)) {
    return [
      finding('exception_incomplete', 'an exception needs both @exception("reason") and @until("ISO 8601 date")'),
    ];
  }
  if (until <= at) return [finding('exception_over', 'the exception has ended; narrow the policy or give a new date')];
  if (until - at > LONGEST_EXCEPTION_MS) return [finding('exception_too_long', 'an exception lasts at most a year')];
  return [];
}

/** What may be stored but is probably not meant: a group that does not exist has no members, so the policy concerns nobody. */
export function warningsOf(
  policy: CompiledPolicy,
  facts: { readonly groups: { has(id: string): boolean } },
): LintFinding[] {
  return [...policy.reads.groups]
    .filter((group) => !facts.groups.has(group))
    .map((group) => ({
      policy: policy.id,
      code: 'group_unknown',
      message: `there is no group ${JSON.stringify(group)}; a policy names a group by the id of its record`,
    }));
}

function sweepingOf(policy: PolicyJson): Array<[LintFinding['code'], string]> {
  const found: Array<[LintFinding['code'], string]> = [];
  const conditions = required(policy);
  const { principal, resource } = policy;
  const anyPrincipal = principal.op === 'All' || (principal.op === 'is' && !principal.in);
  if (anyPrincipal && !conditions.some((clause) => names(clause, policy, 'principal'))) {
    found.push([
      'any_principal',
      'permits anybody; name a role, such as principal in Remit::Role::"operator", a group or a person',
    ]);
  }
  const everyTool = resource.op === 'All' || (resource.op === 'is' && !resource.in);
  if (everyTool && !conditions.some((clause) => names(clause, policy, 'resource'))) {
    found.push(['every_tool', 'permits every tool; name a server, a tool or a risk class']);
  }
  if (!conditions.some(isScopeHeld)) {
    found.push(['without_scope', 'permits without the scope of the tool; add when { context.scopeHeld }']);
  }
  return found;
}

/** What must hold, one by one: `when a && b` narrows twice, `when a || b` is one condition, which may be wide. */
function required(policy: PolicyJson): Clause[] {
  return policy.conditions.flatMap((clause): Clause[] =>
    clause.kind === 'when' ? conjuncts(clause.body).map((body) => ({ kind: 'when', body })) : [clause],
  );
}

/** Exactly that condition: `context.scopeHeld || …` would hold without the scope too. */
const isScopeHeld = ({ kind, body }: Clause): boolean =>
  kind === 'when' && JSON.stringify(body) === JSON.stringify({ '.': { left: { Var: 'context' }, attr: 'scopeHeld' } });

const reads = (clause: Clause, policy: PolicyJson): ReturnType<typeof readsOf> =>
  readsOf({ ...policy, principal: { op: 'All' }, resource: { op: 'All' }, conditions: [clause] });

/** Whether a condition positively picks some of them: an `unless` or `!` takes away from everything and leaves nearly all. */
function names(clause: Clause, policy: PolicyJson, what: 'principal' | 'resource'): boolean {
  if (clause.kind === 'unless' || '!' in clause.body || '!=' in clause.body || '||' in clause.body) return false;
  const { persons, groups, namesRoles, namesServers, namesTools, resource } = reads(clause, policy);
  if (what === 'principal') return persons.size > 0 || groups.size > 0 || namesRoles;
  return namesServers || namesTools || resource.size > 0;
}
