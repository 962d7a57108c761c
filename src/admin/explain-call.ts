/**
 * One supposed call, decided and explained: by the gateway's own guards first, then, where it is policy's to say, by the policies that decide it
 * and the nearest single change that would lead to another answer. Every change that is named was tried. For `explain`, the AuthZEN endpoint and
 * policy tests; nothing is called, held or written.
 */
import { principalOf } from '../gateway/principal.ts';
import type { Principal } from '../gateway/principal.ts';
import { personFacts } from '../gateway/question.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import { judgeCall } from '../gateway/what-if.ts';
import type { Judged, SupposedCall } from '../gateway/what-if.ts';
import { withinCeiling } from '../inventory/agents.ts';
import type { Decision } from '../policy/decide.ts';
import { explain } from '../policy/explain.ts';
import type { DecidingPolicy, NearestChange } from '../policy/explain.ts';
import { flowFrom } from '../policy/labels.ts';
import type { Remedy } from './obstacles.ts';
import { remediesFor, wordOf } from './obstacles.ts';

export interface ExplainedCall {
  readonly verdict: Decision['verdict'];
  readonly reason: string | null;
  readonly rules: readonly string[];
  readonly policies: readonly DecidingPolicy[];
  readonly nearest: ReadonlyArray<NearestChange | Remedy>;
  readonly path: Judged['path'];
  /** `policy`: something in the way of the call, whatever the policies say. */
  readonly stoppedBefore: 'policy' | null;
  readonly requiredScopes?: readonly string[];
  readonly stepUp?: Decision['stepUp'];
  readonly errors?: readonly string[];
  /** Why arguments do not fit. */
  readonly problems?: readonly string[];
}

/** Words of denials that are policy's; whatever else stops a call stops it under any policy. */
const POLICY = new Set(['policy_denied', 'scope_missing', 'step_up']);

export async function explainCall(
  view: Snapshot,
  supposed: SupposedCall,
  at: number,
): Promise<ExplainedCall & { readonly principal: Principal | null }> {
  const { caller } = supposed;
  const judged = await judgeCall(view, supposed, at);
  const { denial, path } = judged;
  const found = principalOf(view, caller, at);
  const principal = found.ok ? found.value : null;
  const tool = [...(view.servers.get(supposed.server)?.tools.values() ?? [])].find(
    ({ kind, name }) => kind === supposed.kind && name === supposed.name,
  );
  const item = judged.facts.tool ?? tool;
  const unseen = denial?.reason === 'policy_denied' && !denial.visible;
  const aboveCeiling = unseen && principal !== null && !!item?.facts && !withinCeiling(principal.ceiling, item.facts);
  const byPolicy = (denial === null || POLICY.has(denial.reason)) && !aboveCeiling;
  if (!byPolicy || !view.policies || !principal || !item?.facts) {
    return {
      verdict: judged.verdict,
      reason: denial && wordOf(denial, aboveCeiling),
      rules: [],
      policies: [],
      nearest: await remediesFor(view, supposed, judged, aboveCeiling, at),
      path,
      stoppedBefore: 'policy',
      ...(denial?.reason === 'arguments_invalid' && { problems: denial.problems }),
      principal,
    };
  }
  const { decision, policies, nearest } = explain(view.policies, {
    org: view.org,
    person: personFacts(principal.person),
    agent: caller.clientId,
    tool: item.facts,
    scopes: caller.scopes,
    approved: supposed.approved,
    ...flowFrom(supposed.labels ?? {}),
    arguments: judged.facts.arguments ?? supposed.arguments ?? {},
    signIn: caller,
    alone: caller.alone,
    actors: caller.actChain,
    at,
  });
  return { ...decision, policies, nearest, path, stoppedBefore: null, principal };
}
