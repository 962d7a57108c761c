/** Whether a caller may know of an item at all: their token and their agents may reach it, and policy shows it. Lists and calls ask the same question (AZ-01). */
import type { Caller } from '../identity/caller.ts';
import { withinCeiling } from '../inventory/agents.ts';
import { visible } from '../policy/decide.ts';
import type { ToolFacts } from '../policy/schema.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Principal } from './principal.ts';
import { wantsProof } from './proofs.ts';
import { personFacts } from './question.ts';
import type { Snapshot } from './snapshot.ts';

export function maySee(call: Call, item: ToolFacts, now: number): boolean {
  return shownTo(known(call, 'person'), known(call, 'ceiling'), known(call, 'caller'), call.snapshot, item, now);
}

export function shownTo(
  person: Principal['person'],
  ceiling: Principal['ceiling'],
  caller: Caller,
  snapshot: Snapshot,
  item: ToolFacts,
  now: number,
): boolean {
  const { policies } = snapshot;
  if (!policies || !withinCeiling(ceiling, item)) return false;
  if (!caller.keyThumbprint && wantsProof(snapshot, item.server)) return false;
  return visible(policies, { person: personFacts(person), agent: caller.clientId, at: now }, item);
}
