/**
 * A call as an approval is bound to it: who, through what, which tool as it was reviewed, what is done with it (a read is no subscription, a
 * completion no prompt), with which arguments, and everything about tool and server whose change would make it another thing to agree to
 * (AP-07): risk, scope, data classes, environment, version, where it runs,
 * how many must agree.
 */
import type { ExactCall } from '../approvals/call-digest.ts';
import { digestOf } from '../lib/canonical-json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { ToolEntry } from './snapshot.ts';

/** People who must say yes: as the review says, else two for what cannot be undone. */
export const neededFor = ({ approved }: Pick<ToolEntry, 'approved'>): number =>
  approved?.approvals ?? (approved?.irreversible ? 2 : 1);

/** A completion is sent with what else was filled in, too. */
function argumentsOf(call: Call): JsonObject {
  const args = known(call, 'arguments');
  const context = call.message.rule?.family === 'complete' ? call.message.params['context'] : undefined;
  return isJsonObject(context) && isJsonObject(context['arguments'])
    ? { ...args, context: context['arguments'] }
    : args;
}

/** Of an admitted call; the guards have established what it needs. */
export function exactCallOf(call: Call, org: string): ExactCall {
  const tool = known(call, 'tool');
  const { record } = known(call, 'server');
  const { clientId, issuer } = known(call, 'caller');
  const terms = {
    ...tool.facts!,
    method: call.message.method,
    needed: neededFor(tool),
    issuer,
    source: record.source ?? null,
    upstream: digestOf(record.upstream),
  };
  return {
    org,
    person: known(call, 'person').id,
    agent: clientId,
    server: tool.server,
    tool: tool.key,
    definition: tool.approved!.digest,
    arguments: argumentsOf(call),
    terms,
  };
}
