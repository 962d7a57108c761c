/**
 * What would be in force if one policy came or went, without compiling the others again: for effects, shadows and tests. The same tools,
 * the same grants; only what is named changes.
 */
import { digestOf } from '../lib/canonical-json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import { compilePolicies } from './compile.ts';
import type { CompiledPolicy, PolicyProblem, PolicySet, PolicySource } from './compile.ts';
import { carryOver } from './prepare.ts';

/** `without`: ids that leave; one that comes back under `add` is replaced. All problems of the new ones at once. */
export function candidateOf(
  inForce: PolicySet,
  change: { readonly without: readonly string[]; readonly add: readonly PolicySource[] },
): Result<PolicySet, PolicyProblem[]> {
  const compiled = compilePolicies({ policies: change.add, tools: [] });
  return compiled.ok ? ok(candidateWith(inForce, change.without, compiled.value.policies)) : err(compiled.error);
}

export function candidateWith(
  inForce: PolicySet,
  without: readonly string[],
  add: readonly CompiledPolicy[],
): PolicySet {
  const gone = new Set([...without, ...add.map(({ id }) => id)]);
  const policies = [...inForce.policies.filter(({ id }) => !gone.has(id)), ...add];
  return carryOver(inForce, {
    ...inForce,
    digest: digestOf([inForce.digest, [...gone].sort(), add.map(({ id, digest }) => [id, digest])]),
    policies,
    prepared: new Map(),
  });
}
