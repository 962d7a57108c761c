/** Whether this caller may know of an item at all: their token, their agents may reach it and policy shows it. Lists and calls ask the same question (AZ-01). */
import { withinCeiling } from '../inventory/agents.ts';
import { visible } from '../policy/decide.ts';
import type { ToolFacts } from '../policy/schema.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { wantsProof } from './proofs.ts';
import { personFacts } from './question.ts';

export function maySee(call: Call, item: ToolFacts, now: number): boolean {
  const { policies } = call.snapshot;
  if (!policies || !withinCeiling(known(call, 'ceiling'), item)) return false;
  const caller = known(call, 'caller');
  if (!caller.keyThumbprint && wantsProof(call.snapshot, item.server)) return false;
  const person = personFacts(known(call, 'person'));
  return visible(policies, { person, agent: caller.clientId, at: now }, item);
}
