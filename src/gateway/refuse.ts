/**
 * Every refusal on its way out: recorded with its true reason (or counted, where one by one would let somebody fill the disk),
 * then turned into what the caller may see.
 */
import { denialEntry, outcomeEntry } from '../audit/entries.ts';
import type { OutcomeStatus } from '../audit/entry.ts';
import { isFault } from '../lib/fault.ts';
import type { Call } from './call.ts';
import { isAnonymous, reasonCode, verdictOf } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { facingOf } from './facing.ts';
import type { CallMeasure } from './telemetry.ts';
import { proofAlgorithms } from './proofs.ts';
import { toReply } from './wire.ts';
import type { Reply } from './wire.ts';

/** The same for what never became a message (edge.ts). */
export function refuseWith(call: Call, denial: Denial, deps: AnswerDeps): Promise<Reply> {
  return refuse(call, denial, deps, deps.telemetry.start('unread', null));
}

/** Refusals that are no decision but a failure of this node. */
const OURS: ReadonlySet<Denial['reason']> = new Set(['guard_failed', 'ledger_unavailable', 'outcome_unrecorded']);

/** Records the denial with its true reason, then turns it into what the caller may see. `prev`: an entry of this call already says it. */
export async function refuse(
  call: Call,
  denial: Denial,
  deps: AnswerDeps,
  measure: CallMeasure,
  alreadyAt?: number,
): Promise<Reply> {
  const { shown } = await recordRefusal(call, denial, deps, alreadyAt);
  finish(call, measure, verdictOf(denial), reasonCode(denial), deps);
  return shownAs(call, shown, deps);
}

/** The entry of a refusal alone. @returns what may be shown, and where the entry stands; undefined: it was only counted, or not recorded. */
export async function recordRefusal(
  call: Call,
  denial: Denial,
  deps: AnswerDeps,
  alreadyAt?: number,
): Promise<{ readonly shown: Denial; readonly index: number | undefined }> {
  const { caller } = call.facts;
  let shown = denial;
  let index: number | undefined;
  // What was sent, or already stands in the log under an intent, is told to its end, however many refusals there were.
  const told = caller === undefined || alreadyAt !== undefined || denial.reason === 'outcome_unrecorded';
  const room = told ? 'log' : await deps.ports.limits.refusal(`${caller.issuer} ${caller.subject}`);
  if (isAnonymous(denial) || caller === undefined) {
    deps.noise.count(reasonCode(denial));
    deps.telemetry.noise(denial.reason);
    // At a level that is off in service: strangers must not be able to fill the process log either.
    deps.log(
      'debug',
      { ref: call.id, reason: reasonCode(denial), server: call.endpoint.server },
      'refused before sign-in',
    );
  } else if (room === 'count') {
    deps.noise.count('refusals_over_limit');
    shown = { reason: 'rate_limited', on: 'refusals', retryAfterSeconds: 60 };
  } else {
    if (room === 'last') shown = { reason: 'rate_limited', on: 'refusals', retryAfterSeconds: 60 };
    try {
      const entry = denialEntry(stamp(call, deps), {
        actor: actorOf(call),
        call: callFacts(call),
        decision: decisionFacts(call, shown),
        ...(alreadyAt !== undefined && { prev: alreadyAt }),
      });
      ({ index } = await deps.audit.record(entry));
    } catch (fault) {
      shown = ledgerDenial(fault, denial.reason === 'outcome_unrecorded');
    }
    deps.log(OURS.has(shown.reason) ? 'error' : 'info', { ref: call.id, reason: reasonCode(denial) }, 'refused');
  }
  return { shown, index };
}

/** What the caller sees of a denial that is recorded. */
export function shownAs(call: Call, denial: Denial, deps: AnswerDeps): Reply {
  return toReply(denial, {
    id: call.message.kind === 'request' ? call.message.id : null,
    facing: facingOf(call, deps),
    family: call.message.rule?.family ?? null,
    uri: typeof call.message.params['uri'] === 'string' ? call.message.params['uri'] : null,
    ref: call.id,
    metadataUrl: call.endpoint.metadataUrl,
    defaultScopes: deps.defaultScopes(call.endpoint.server),
    aggregate: call.endpoint.server === null,
    proofAlgorithms: proofAlgorithms(call),
    sessionSent: call.headers['mcp-session-id'] !== undefined,
  });
}

/**
 * What stood in the way once the intent was durable: an outcome of its own, or the intent would read as unfinished for ever.
 * @returns its index, for the refusal that follows; that of the intent when it cannot be recorded. Never rejects.
 */
export async function endIntent(
  call: Call,
  denial: Denial,
  prev: number | undefined,
  deps: AnswerDeps,
  status: OutcomeStatus = 'not_dispatched',
): Promise<number | undefined> {
  if (prev === undefined) return undefined;
  const outcome = outcomeFacts(call, deps, status, reasonCode(denial), null, []);
  const entry = outcomeEntry(stamp(call, deps), { actor: actorOf(call)!, call: callFacts(call), outcome, prev });
  return deps.audit.record(entry).then(
    ({ index }) => index,
    () => prev,
  );
}

/** `left`: something was sent before the record failed, so the caller must not be told that nothing happened. */
export function ledgerDenial(fault: unknown, left = false): Denial {
  const code = isFault(fault) ? fault.code : 'unexpected';
  return { reason: left ? 'outcome_unrecorded' : 'ledger_unavailable', fault: code };
}
