/** From a call to the facts of its log entries. The members stand in canonical order: audit/entries.ts says why. */
import type { Actor, CallFacts, DecisionFacts, OutcomeFacts, OutcomeStatus } from '../audit/entry.ts';
import { itemKey } from '../integrity/records.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Call } from './call.ts';
import { reasonCode, verdictOf } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import type { CallMeasure } from './telemetry.ts';

export function stamp(call: Call, deps: AnswerDeps) {
  return deps.audit.stamp({ ref: call.id, trace: call.trace ?? undefined });
}

export function actorOf(call: Call): Actor | undefined {
  const { caller, person, owner } = call.facts;
  if (!caller) return undefined;
  const { actChain: chain, clientId: client, issuer, subject, tokenId: token } = caller;
  const id = person?.id ?? null;
  return owner == null
    ? { chain, client, issuer, person: id, subject, token }
    : { chain, client, issuer, owner, person: id, subject, token };
}

export function callFacts(call: Call): CallFacts {
  const { tool } = call.facts;
  const { kind, name } = call.subject;
  const asked = kind === null || name === null ? null : itemKey(kind, name);
  return {
    args: call.facts.argumentsDigest ?? null,
    definition: tool?.approved?.digest ?? null,
    era: call.message.era,
    id: call.id,
    method: call.message.rule || call.message.kind === 'reply' ? call.message.method : 'unknown',
    risk: tool?.facts?.risk ?? null,
    server: call.subject.server,
    tool: tool?.key ?? asked?.slice(0, 128) ?? null,
  };
}

export function decisionFacts(call: Call, denial: Denial | null): DecisionFacts {
  return {
    approval: call.facts.approval?.id ?? (denial && 'approval' in denial ? denial.approval : null),
    guard: denial ? call.stoppedBy : null,
    policy: call.snapshot.policyDigest,
    reason: denial ? reasonCode(denial) : null,
    revision: call.snapshot.revision,
    rules: denial?.reason === 'policy_denied' ? denial.rules : (call.facts.decision?.rules ?? []),
    verdict: denial ? verdictOf(denial) : 'allow',
  };
}

export function outcomeFacts(
  call: Call,
  deps: AnswerDeps,
  status: OutcomeStatus,
  detail: string | null,
  result: Digest | null,
  inspected: readonly string[],
): OutcomeFacts {
  return { detail, inspected, ms: deps.ports.clock.now() - call.startedAt, result, status };
}

/** Messages that leave before a reply, or on a stream: how many, and the chained digest of their texts (docs/audit-format.md). */
export function tally(): { add(message: JsonObject): void; facts(): Pick<OutcomeFacts, 'sent'> } {
  let count = 0;
  let digest: Digest | null = null;
  return {
    add(message) {
      count++;
      digest = digestOf([digest, message]);
    },
    facts: () => (digest === null ? {} : { sent: { count, digest } }),
  };
}

export function finish(
  call: Call,
  measure: CallMeasure,
  verdict: string,
  reason: string | null,
  deps: AnswerDeps,
): void {
  measure.end({
    server: call.facts.server?.id ?? '',
    tool: call.facts.tool?.key ?? null,
    method: call.message.rule ? call.message.method : 'unknown',
    verdict,
    reason,
    ms: deps.ports.clock.now() - call.startedAt,
  });
}
