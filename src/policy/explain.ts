/**
 * Why a decision fell as it did, and the nearest thing that would change it: a scope, a better sign-in, an approval, one more role or group. For the operator's
 * screen and the command line. It asks the same `decide`, so it cannot disagree with it; it grants nothing.
 */
import type { PolicySet } from './compile.ts';
import type { Decision, Question } from './decide.ts';
import { decide } from './decide.ts';
import { POLICY_ROLES } from './schema.ts';

export interface DecidingPolicy {
  readonly id: string;
  readonly effect: 'permit' | 'forbid';
  /** The policy's `@description`; '' when it has none. */
  readonly description: string;
}

export interface NearestChange {
  readonly change: 'scope' | 'sign_in' | 'approval' | 'role' | 'group';
  /** The scope, role or group; of a sign-in what RFC 9470 would ask for, such as `max_age=900`; '' for an approval. */
  readonly value: string;
  /** What would be said then. */
  readonly verdict: Decision['verdict'];
}

export interface Explanation {
  readonly decision: Decision;
  readonly policies: readonly DecidingPolicy[];
  /** Single changes that lead nearer to `allow`, best first. Empty when it is allowed, or when nothing of these helps. */
  readonly nearest: readonly NearestChange[];
}

/** How far a verdict is from a yes. */
export const DISTANCE: Readonly<Record<Decision['verdict'], number>> = {
  allow: 0,
  hold: 1,
  step_up: 2,
  challenge: 3,
  deny: 4,
};

/** Policies may name many groups; a person reads a few. */
const MAX_GROUPS_TRIED = 50;

/** As calls are decided: an approval is looked for only where the call is held without one, and then there must be nothing left to ask for. */
export function decideCall(set: PolicySet, question: Question): Decision {
  const first = decide(set, { ...question, approved: false });
  if (first.verdict !== 'hold' || !question.approved) return first;
  const agreed = decide(set, question);
  return agreed.verdict === 'allow' ? agreed : { ...agreed, verdict: 'deny', reason: agreed.reason ?? 'not_permitted' };
}

export function explain(set: PolicySet, question: Question): Explanation {
  const decision = decideCall(set, question);
  const policies = set.policies
    .filter(({ id }) => decision.rules.includes(id))
    .map(({ id, json }) => ({ id, effect: json.effect, description: json.annotations?.['description'] ?? '' }));
  return { decision, policies, nearest: nearestChanges(set, question, decision) };
}

function nearestChanges(set: PolicySet, question: Question, decision: Decision): NearestChange[] {
  const tries: Array<[NearestChange['change'], string, Question]> = [];
  const scope = set.tools.get(question.tool.server)?.get(question.tool.name)?.scope;
  if (scope !== undefined && !question.scopes.has(scope)) {
    tries.push(['scope', scope, { ...question, scopes: new Set([...question.scopes, scope]) }]);
  }
  const found: NearestChange[] = [];
  if (decision.stepUp) {
    const { maxAgeSeconds, acrValues, after } = decision.stepUp;
    const age = maxAgeSeconds === null ? [] : [`max_age=${maxAgeSeconds}`];
    const acr = acrValues.length === 0 ? [] : [`acr_values=${acrValues.join(' ')}`];
    found.push({ change: 'sign_in', value: [...age, ...acr].join(', '), verdict: after });
  }
  if (!question.approved) tries.push(['approval', '', { ...question, approved: true }]);
  for (const role of POLICY_ROLES) {
    if (question.person.roles.includes(role)) continue;
    const person = { ...question.person, roles: [...question.person.roles, role] };
    tries.push(['role', role, { ...question, person }]);
  }
  const groups = new Set(set.policies.flatMap(({ reads }) => [...reads.groups]));
  for (const group of [...groups].filter((id) => !question.person.groups.includes(id)).slice(0, MAX_GROUPS_TRIED)) {
    const person = { ...question.person, groups: [...question.person.groups, group] };
    tries.push(['group', group, { ...question, person }]);
  }
  found.push(
    ...tries.map(([change, value, changed]) => ({ change, value, verdict: decideCall(set, changed).verdict })),
  );
  return found
    .filter(({ verdict }) => DISTANCE[verdict] < DISTANCE[decision.verdict])
    .toSorted((a, b) => DISTANCE[a.verdict] - DISTANCE[b.verdict]);
}
