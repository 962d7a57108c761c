/**
 * The way of one message after it was read: guards, then (for tools/call) approval, intent, dispatch, inspection, outcome, reply.
 * One fixed sequence; every step says what is true if we crash there. Nothing leaves before its record is durable:
 * the request of a side-effecting call waits for its intent, every reply waits for its outcome (DESIGN.md section 4).
 */
import type { AuditLog } from '../audit/audit-log.ts';
import { callEntry, denialEntry, intentEntry, outcomeEntry } from '../audit/entries.ts';
import type { Actor, CallFacts, DecisionFacts, OutcomeFacts, OutcomeStatus } from '../audit/entry.ts';
import { RESULT_LIMITS, inspectResult } from '../content/inspect.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult, toolError, toolsCallResult } from '../protocol/results.ts';
import type { Facing } from '../protocol/results.ts';
import { UpstreamFault } from '../upstream/connection.ts';
import type { Connection, UpstreamReply } from '../upstream/connection.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { isAnonymous, reasonCode, verdictOf } from './denial.ts';
import type { Denial } from './denial.ts';
import { facingOf, listTools, openSession } from './greeting.ts';
import type { GreetingDeps } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import type { InflightRegistry } from './inflight.ts';
import type { NoiseCounter } from './noise.ts';
import { COLUMN_OF } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import type { CallMeasure, Telemetry } from './telemetry.ts';
import { toReply } from './wire.ts';
import type { Reply } from './wire.ts';

export interface AnswerDeps extends GreetingDeps {
  readonly ports: GuardPorts;
  readonly pipeline: Pipeline;
  readonly snapshot: () => Snapshot;
  readonly audit: AuditLog;
  readonly inflight: InflightRegistry;
  readonly noise: NoiseCounter;
  readonly telemetry: Telemetry;
  readonly connect: (server: ServerEntry) => Promise<Connection>;
  readonly maxResultBytes: number;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void;
}

/** Never throws: whatever goes wrong becomes a reply, and a refusal where there is doubt. */
export async function answer(call: Call, deps: AnswerDeps): Promise<Reply> {
  const measure = deps.telemetry.start(call.message.method, call.message.meta.trace);
  call.trace = measure.traceId;
  try {
    return await wayOf(call, deps, measure);
  } catch (fault) {
    // A mistake of ours. Its text is for the operator; what the log holds of this call so far stays true.
    deps.log('error', { ref: call.id, error: String(fault) }, 'answering failed');
    const code = isFault(fault) ? fault.code : 'unexpected';
    return refuse(call, { reason: 'guard_failed', guard: 'answer', fault: code }, deps, measure);
  }
}

async function wayOf(call: Call, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const { rule } = call.message;
  const column = rule ? COLUMN_OF[rule.family] : 'note';

  const denial = await deps.pipeline.admit(call, column, deps.ports);
  if (denial) return refuse(call, denial, deps, measure);

  const caller = known(call, 'caller');
  call.inflight.facts = {
    issuer: caller.issuer,
    subject: caller.subject,
    agent: caller.clientId,
    server: call.endpoint.server,
    tool: call.facts.tool?.name ?? null,
    token: caller.tokenId,
  };
  const { message } = call;
  if (message.kind === 'notification') return note(call, deps);
  if (call.facts.session) call.inflight.request = { session: call.facts.session.nonce, id: message.id };

  switch (column) {
    case 'edge':
    case 'note':
      return { kind: 'accepted' };
    case 'ping':
      return { kind: 'result', id: message.id, result: emptyResult(facingOf(call, deps)) };
    case 'hello':
      return recorded(call, deps, measure, () => Promise.resolve(openSession(call, message, deps)));
    case 'list':
      return recorded(call, deps, measure, () => listTools(call, deps));
    case 'call':
      return callTool(call, message, deps, measure);
  }
}

/** Notifications change nothing upstream. A cancellation reaches the caller's own call, nobody else's. */
function note(call: Call, deps: AnswerDeps): Reply {
  const { message } = call;
  const requestId = message.params['requestId'];
  if (
    message.rule?.family === 'cancelled' &&
    call.facts.session &&
    (typeof requestId === 'string' || typeof requestId === 'number')
  ) {
    deps.inflight.cancelRequest(call.facts.session.nonce, requestId);
  }
  return { kind: 'accepted' };
}

/** Reads that touch no server: one entry, then the reply. */
async function recorded(
  call: Call,
  deps: AnswerDeps,
  measure: CallMeasure,
  work: () => Promise<{
    readonly result: JsonObject;
    readonly digest?: Digest;
    readonly headers?: Record<string, string>;
  }>,
): Promise<Reply> {
  const message = call.message as InboundRequest;
  const done = await work().catch((fault: unknown): Denial => ({
    reason: 'tool_unconfirmed',
    fault: isFault(fault) ? fault.code : 'unexpected',
  }));
  if ('reason' in done) return refuse(call, done, deps, measure);
  const outcome = outcomeFacts(call, deps, 'ok', null, done.digest ?? digestOf(done.result), []);
  let index: number;
  try {
    const entry = callEntry(stamp(call, deps), {
      actor: actorOf(call)!,
      call: callFacts(call),
      decision: decisionFacts(call, null),
      outcome,
    });
    index = (await deps.audit.record(entry)).index;
  } catch (fault) {
    return refuse(call, ledgerDenial(fault), deps, measure);
  }
  if (deps.snapshot() !== call.snapshot) {
    // Who lost standing while this was made and recorded does not get it any more.
    call.snapshot = deps.snapshot();
    const denial = await deps.pipeline.readmit(call, COLUMN_OF[message.rule.family], deps.ports);
    if (denial) return refuse(call, denial, deps, measure, index);
  }
  finish(call, measure, 'allow', null, deps);
  return { kind: 'result', id: message.id, result: done.result, ...(done.headers && { headers: done.headers }) };
}

async function callTool(call: Call, message: InboundRequest, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const { ports } = deps;
  const person = known(call, 'person').id;
  if (!ports.limits.enter(person)) return refuse(call, { reason: 'overloaded' }, deps, measure);
  try {
    const tool = known(call, 'tool');
    const sideEffects = tool.facts!.risk !== 'read';

    if (call.facts.approval && !(await ports.approvals.use(call.facts.approval.id, call.facts.approval.call))) {
      return await refuse(call, { reason: 'approval_lost', approval: call.facts.approval.id }, deps, measure);
    }
    // CRASH before here: nothing was promised, nothing was sent. A used approval stays used.

    let intent: number | undefined;
    if (sideEffects) {
      try {
        const entry = intentEntry(stamp(call, deps), {
          actor: actorOf(call)!,
          call: callFacts(call),
          decision: decisionFacts(call, null),
        });
        intent = (await deps.audit.record(entry)).index;
      } catch (fault) {
        return await refuse(call, ledgerDenial(fault), deps, measure);
      }
      // CRASH: the intent is durable and nothing was sent; restart reports this call as "in flight, outcome unknown".
    }

    const sent = await dispatch(call, deps, measure);
    const settled = settle(call, message, sent, deps);
    const stoppedBefore = call.inflight.cancelledBy;
    const outcome = outcomeFacts(call, deps, settled.status, settled.detail, settled.digest, settled.inspected);
    const facts = { actor: actorOf(call)!, call: callFacts(call), outcome };
    let index: number;
    try {
      const entry =
        intent === undefined
          ? callEntry(stamp(call, deps), { ...facts, decision: decisionFacts(call, settled.denial) })
          : outcomeEntry(stamp(call, deps), { ...facts, prev: intent });
      index = (await deps.audit.record(entry)).index;
    } catch (fault) {
      // The effect may have happened; its intent, if any, says so. The answer is withheld because its record is not durable.
      const denial = ledgerDenial(fault, settled.status !== 'not_dispatched');
      return await refuse(call, denial, deps, measure, intent);
    }
    // CRASH: the outcome is durable and the caller did not hear it; the log says what happened.
    if (settled.denial) return await refuse(call, settled.denial, deps, measure, index);

    // What stopped the call earlier stands in that outcome already.
    const late = stoppedBefore === null ? call.inflight.cancelledBy : null;
    if (late) {
      // A lock fell while the outcome was being written: the answer stays here, and the log gets that too. If it cannot, it still stays.
      const withheld = {
        ...facts,
        outcome: { ...outcome, status: 'withheld' as const, detail: late, result: null },
        prev: index,
      };
      await deps.audit.record(outcomeEntry(stamp(call, deps), withheld)).catch(() => undefined);
    }
    finish(call, measure, 'allow', late ?? settled.detail, deps);
    const meta = { 'remit/receipt': { log: deps.audit.origin, index }, 'remit/reference': call.id };
    const reply = late ? stopped(facingOf(call, deps), call, late) : settled.reply;
    return { kind: 'result', id: message.id, result: withMeta(reply, meta) };
  } finally {
    ports.limits.leave(person);
  }
}

type Sent =
  | { readonly kind: 'reply'; readonly reply: UpstreamReply }
  | { readonly kind: 'denied'; readonly denial: Denial }
  | { readonly kind: 'cancelled'; readonly by: string; readonly dispatched: boolean }
  | { readonly kind: 'fault'; readonly code: string; readonly dispatched: 'no' | 'unknown' };

/**
 * Connects, asks the reading guards again if the state or what the server shows moved meanwhile, and sends.
 * Between that last look and the first byte there is no await. A server that forgot our session may be another one now:
 * it is looked at and the guards are asked once more, and only then, once, the call is sent again.
 */
async function dispatch(call: Call, deps: AnswerDeps, measure: CallMeasure, retry = false): Promise<Sent> {
  const tool = known(call, 'tool');
  const { catalogue } = deps.ports;
  try {
    const connection = await deps.connect(known(call, 'server'));
    if (retry) {
      const looked = await catalogue.confirm(known(call, 'server'), 0, call.inflight.signal).catch(() => null);
      if (looked === null) return { kind: 'denied', denial: { reason: 'tool_unconfirmed', fault: 'session_lost' } };
    }
    let { seen } = call.facts;
    for (let tries = 0; deps.snapshot() !== call.snapshot || catalogue.seen(tool.server)?.tools !== seen; tries++) {
      if (tries === 5)
        return {
          kind: 'denied',
          denial: { reason: 'guard_failed', guard: 'readmission', fault: 'state_keeps_moving' },
        };
      call.snapshot = deps.snapshot();
      seen = catalogue.seen(tool.server)?.tools;
      const denial = await deps.pipeline.readmit(call, 'call', deps.ports);
      if (denial) return { kind: 'denied', denial };
    }
    if (deps.ports.snapshotAgeMs() > deps.ports.freshnessLimitMs) {
      return { kind: 'denied', denial: { reason: 'snapshot_stale', ageMs: deps.ports.snapshotAgeMs() } };
    }
    if (call.inflight.cancelledBy !== null)
      return { kind: 'cancelled', by: call.inflight.cancelledBy, dispatched: false };

    const params = {
      name: tool.name,
      arguments: known(call, 'arguments'),
      ...(measure.traceparent && { _meta: { traceparent: measure.traceparent } }),
    };
    const inputSchema = tool.approved!.definition['inputSchema'] as JsonObject | undefined;
    const reply = await connection.request(
      { method: 'tools/call', params, once: true, ...(inputSchema && { inputSchema }) },
      call.inflight.signal,
    );
    return { kind: 'reply', reply };
  } catch (error) {
    // What is no fault of the upstream room is a mistake of ours, and then nobody knows how far the call came.
    const { code, dispatched } =
      error instanceof UpstreamFault ? error : ({ code: 'unexpected', dispatched: 'unknown' } as const);
    if (code === 'unexpected') deps.log('error', { ref: call.id, error: String(error) }, 'dispatch failed');
    const by = call.inflight.cancelledBy;
    if (by !== null && by !== 'deadline') return { kind: 'cancelled', by, dispatched: dispatched !== 'no' };
    if (code === 'upstream_session_lost' && !retry) return dispatch(call, deps, measure, true);
    return { kind: 'fault', code, dispatched };
  }
}

interface Settled {
  readonly status: OutcomeStatus;
  readonly detail: string | null;
  readonly digest: Digest | null;
  readonly inspected: readonly string[];
  readonly reply: JsonObject;
  readonly denial: Denial | null;
}

/** From what came back to what the caller gets and the log says. Pure but for the snapshot it re-reads. */
function settle(call: Call, message: InboundRequest, sent: Sent, deps: AnswerDeps): Settled {
  const facing = facingOf(call, deps);
  const told = (text: string): JsonObject => toolError(facing, `${text} Reference: ${call.id}`);
  const bare = { digest: null, inspected: [], denial: null };

  if (sent.kind === 'denied') {
    return { ...bare, status: 'not_dispatched', detail: reasonCode(sent.denial), reply: {}, denial: sent.denial };
  }
  if (sent.kind === 'cancelled') {
    const status = sent.dispatched ? 'cancelled' : 'not_dispatched';
    return { ...bare, status, detail: sent.by, reply: stopped(facing, call, sent.by) };
  }
  if (sent.kind === 'fault') {
    const never = sent.dispatched === 'no';
    const text = never
      ? 'The server could not be reached; nothing was sent. Try again later.'
      : 'The server did not give a usable answer. Whether the call had an effect is unknown: check before you repeat it.';
    return { ...bare, status: never ? 'not_dispatched' : 'failed', detail: sent.code, reply: told(text) };
  }
  // ATTACKER-CONTROLLED from here: everything in the reply is the server's.
  const by = call.inflight.cancelledBy;
  if (by !== null) return { ...bare, status: 'withheld', detail: by, reply: stopped(facing, call, by) };
  if (sent.reply.kind === 'error') {
    const detail = `rpc:${sent.reply.error.code}`;
    return {
      ...bare,
      status: 'protocol_error',
      detail,
      reply: told(`The server answered with an error (code ${sent.reply.error.code}).`),
    };
  }
  const inspection = inspectResult(sent.reply.result, { ...RESULT_LIMITS, size: deps.maxResultBytes });
  if (inspection.verdict === 'withhold') {
    const reply = told('The result was withheld: it does not pass inspection. The call itself was made.');
    return {
      ...bare,
      status: 'withheld',
      detail: `inspection:${inspection.reason}`,
      inspected: inspection.inspected,
      reply,
    };
  }
  const outputSchema = known(call, 'tool').approved!.definition['outputSchema'] as JsonObject | undefined;
  const result = toolsCallResult(facing, inspection.result, outputSchema ? { outputSchema } : {});
  if (!result.ok) {
    const reply = told('The result was withheld: it is not one this gateway can pass on. The call itself was made.');
    return {
      ...bare,
      status: 'withheld',
      detail: `result:${result.error.reason}`,
      inspected: inspection.inspected,
      reply,
    };
  }
  const status = result.value['isError'] === true ? 'tool_error' : 'ok';
  const detail = inspection.verdict === 'redact' ? 'redacted' : null;
  return {
    status,
    detail,
    digest: digestOf(result.value),
    inspected: inspection.inspected,
    reply: result.value,
    denial: null,
  };
}

function stopped(facing: Facing, call: Call, by: string): JsonObject {
  const why =
    by.startsWith('lock:') || by === 'standing'
      ? 'Access was withdrawn while the call ran'
      : 'The call was stopped before it ended';
  return toolError(facing, `${why}; whether it had an effect is unknown. Reference: ${call.id}`);
}

/** The same for what never became a message (edge.ts). */
export function refuseWith(call: Call, denial: Denial, deps: AnswerDeps): Promise<Reply> {
  return refuse(call, denial, deps, deps.telemetry.start('unread', null));
}

/** Refusals that are no decision but a failure of this node. */
const OURS: ReadonlySet<Denial['reason']> = new Set(['guard_failed', 'ledger_unavailable', 'outcome_unrecorded']);

/** Records the denial with its true reason, then turns it into what the caller may see. `prev`: an entry of this call already says it. */
async function refuse(
  call: Call,
  denial: Denial,
  deps: AnswerDeps,
  measure: CallMeasure,
  alreadyAt?: number,
): Promise<Reply> {
  const { caller } = call.facts;
  let shown = denial;
  // What already stands in the log under an intent or outcome is told to its end, however many refusals there were.
  const room =
    caller === undefined || alreadyAt !== undefined
      ? 'log'
      : await deps.ports.limits.refusal(`${caller.issuer} ${caller.subject}`);
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
      await deps.audit.record(
        denialEntry(stamp(call, deps), {
          actor: actorOf(call),
          call: callFacts(call),
          decision: decisionFacts(call, shown),
          ...(alreadyAt !== undefined && { prev: alreadyAt }),
        }),
      );
    } catch (fault) {
      shown = ledgerDenial(fault, denial.reason === 'outcome_unrecorded');
    }
    deps.log(OURS.has(shown.reason) ? 'error' : 'info', { ref: call.id, reason: reasonCode(denial) }, 'refused');
  }
  finish(call, measure, verdictOf(denial), reasonCode(denial), deps);
  return toReply(shown, {
    id: call.message.kind === 'request' ? call.message.id : null,
    facing: facingOf(call, deps),
    isCall: call.message.rule?.family === 'call',
    ref: call.id,
    metadataUrl: call.endpoint.metadataUrl,
    defaultScopes: deps.defaultScopes(call.endpoint.server),
    sessionSent: call.headers['mcp-session-id'] !== undefined,
  });
}

/** `left`: something was sent before the record failed, so the caller must not be told that nothing happened. */
function ledgerDenial(fault: unknown, left = false): Denial {
  const code = isFault(fault) ? fault.code : 'unexpected';
  return { reason: left ? 'outcome_unrecorded' : 'ledger_unavailable', fault: code };
}

function stamp(call: Call, deps: AnswerDeps) {
  return deps.audit.stamp({ ref: call.id, trace: call.trace ?? undefined });
}

// The facts of an entry are written in canonical order: audit/entries.ts says why.
function actorOf(call: Call): Actor | undefined {
  const { caller, person } = call.facts;
  if (!caller) return undefined;
  return {
    chain: caller.actChain,
    client: caller.clientId,
    issuer: caller.issuer,
    person: person?.id ?? null,
    subject: caller.subject,
    token: caller.tokenId,
  };
}

function callFacts(call: Call): CallFacts {
  const { tool } = call.facts;
  const asked = call.message.rule?.family === 'call' ? call.message.params['name'] : null;
  return {
    args: call.facts.argumentsDigest ?? null,
    definition: tool?.approved?.digest ?? null,
    era: call.message.era,
    id: call.id,
    method: call.message.rule ? call.message.method : 'unknown',
    risk: tool?.facts?.risk ?? null,
    server: call.endpoint.server,
    tool: tool?.name ?? (typeof asked === 'string' ? asked.slice(0, 128) : null),
  };
}

function decisionFacts(call: Call, denial: Denial | null): DecisionFacts {
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

function outcomeFacts(
  call: Call,
  deps: AnswerDeps,
  status: OutcomeStatus,
  detail: string | null,
  result: Digest | null,
  inspected: readonly string[],
): OutcomeFacts {
  return { detail, inspected, ms: deps.ports.clock.now() - call.startedAt, result, status };
}

function finish(call: Call, measure: CallMeasure, verdict: string, reason: string | null, deps: AnswerDeps): void {
  measure.end({
    server: call.facts.server?.id ?? '',
    tool: call.facts.tool?.name ?? null,
    method: call.message.rule ? call.message.method : 'unknown',
    verdict,
    reason,
    ms: deps.ports.clock.now() - call.startedAt,
  });
}

function withMeta(result: JsonObject, meta: JsonObject): JsonObject {
  const own = result['_meta'];
  return { ...result, _meta: { ...(isJsonObject(own) ? own : {}), ...meta } };
}
