/**
 * A call that people must agree to first, as its client meets it (PROTOCOL.md C1): the best way to wait that this client declared, over
 * one policy decision and one approval record. In this order: a task (held-task.ts); a modern client is asked to visit the requester's
 * page, and its retries wait here a while each; one that can visit nothing waits the same way with a state alone; an old client that
 * can visit gets -32042; everybody else is kept waiting as long as clients usually are.
 * What waits holds no connection of a server and no place among calls, only one among streams. Locks, departures and the client's leaving
 * end the waiting, never the request for approval. After the yes every guard is asked again, and the approval is spent once.
 * Not here: self-confirmation by form (C1.3, C1.6). A client may answer a form by itself, so it is nobody's agreement.
 */
import { inputRequiredResult } from '../protocol/input-required.ts';
import { LEGACY_CODES } from '../protocol/errors.ts';
import type { JsonObject } from '../lib/json.ts';
import { declared, declaredBySession } from '../protocol/asks.ts';
import { progress } from '../protocol/notifications.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { declaresTasks } from '../protocol/tasks.ts';
import type { Approval } from '../approvals/records.ts';
import { APPROVAL_KEY } from './approval-desk.ts';
import { decidersInWords } from './approvers.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { finish } from './entry-facts.ts';
import { facingOf } from './facing.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import { afresh, overOf } from './held-call.ts';
import type { Needed } from './held-call.ts';
import { beginHeldTask } from './held-task.ts';
import { CLOSED } from './outlet.ts';
import { COLUMN_OF } from './pipeline.ts';
import { recordRefusal, refuse, shownAs } from './refuse.ts';
import { runsAsTask } from './tasks.ts';
import type { CallMeasure } from './telemetry.ts';
import { useItem } from './use-item.ts';
import type { Reply } from './wire.ts';

/** A token of progress hears of the waiting as often. */
const PROGRESS_EVERY_MS = 10_000;
/** Sealed states outlive the round that gave them by a person's pause. */
const COME_BACK_WITHIN_MS = 600_000;
/** Not a wait: finds only what has been decided before. */
const ALREADY_MS = 1;

export async function whenHeld(call: Call, denial: Needed, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const { message } = call;
  // Completions and subscriptions are told at once: nobody waits for them.
  if (message.kind !== 'request' || !message.rule || COLUMN_OF[message.rule.family] !== 'call')
    return refuse(call, denial, deps, measure);
  const choice = runsAsTask(call, deps);
  if (choice.kind === 'refused') {
    await deps.ports.approvals.cancel(denial.approval, 'its client cannot make this call');
    return refuse(call, choice.denial, deps, measure);
  }
  // A round of a call whose hold stands in the log already says nothing new.
  const before = call.facts.waits?.heldAt;
  const { shown, index } =
    before === undefined ? await recordRefusal(call, denial, deps) : { shown: denial, index: before };
  if (shown.reason !== 'approval_needed') {
    finish(call, measure, 'deny', shown.reason, deps);
    return shownAs(call, shown, deps);
  }
  finish(call, measure, 'hold', denial.reason, deps);
  call.facts.heldAt = index!;
  // From here on a lock ends the waiting, and the client's own cancellation finds it.
  call.inflight.facts = {
    caller: known(call, 'caller'),
    server: call.subject.server,
    tool: known(call, 'tool').key,
  };
  if (call.facts.session) call.inflight.request = { session: call.facts.session.nonce, id: message.id };

  const tasks = message.era === 'modern' ? declaresTasks(message.meta.clientCapabilities) : choice.kind === 'task';
  if (tasks && message.rule.family === 'call') {
    const wish = choice.kind === 'task' ? choice : { upstream: choice.upstream, required: false, asked: null };
    const begun = await beginHeldTask(call, message, wish, denial, deps);
    if (begun) return begun;
  }
  return message.era === 'modern' ? inRounds(call, message, denial, deps) : oldClient(call, message, denial, deps);
}

async function inRounds(call: Call, message: InboundRequest, denial: Needed, deps: AnswerDeps): Promise<Reply> {
  const { holdMs, rounds } = deps.approvals;
  const visits = denial.page !== null && declared(message.meta.clientCapabilities ?? {}).has('elicitation.url');
  const round = call.facts.waits?.round ?? 0;
  if (holdMs === 0 && !visits) return shownAs(call, denial, deps);
  // Whoever can open the page is sent there before they wait.
  if (!visits || round > 0) {
    const over = await waited(call, message, denial, holdMs, deps);
    if (over) return over;
  }
  if (round >= rounds) return shownAs(call, denial, deps);
  const asked = visits ? { [APPROVAL_KEY]: { method: 'elicitation/create', params: visitOf(call, denial) } } : null;
  const state = deps.ports.states.seal({
    who: whoOf(known(call, 'caller')),
    org: call.endpoint.org,
    server: known(call, 'server').id,
    method: message.method,
    item: call.subject.name ?? '',
    args: known(call, 'argumentsDigest'),
    exp: deps.ports.clock.now() + COME_BACK_WITHIN_MS,
    round: round + 1,
    upstream: null,
    park: null,
    asked: {},
    approval: null,
    held: denial.approval,
    heldAt: known(call, 'heldAt'),
  });
  const result = inputRequiredResult(facingOf(call, deps), asked, state, { 'remit/reference': call.id });
  return { kind: 'result', id: message.id, result };
}

async function oldClient(call: Call, message: InboundRequest, denial: Needed, deps: AnswerDeps): Promise<Reply> {
  const { session } = call.facts;
  const { version } = facingOf(call, deps);
  if (
    version === '2025-11-25' &&
    denial.page &&
    session &&
    declaredBySession(session.capabilities).has('elicitation.url')
  ) {
    const visit = { ...visitOf(call, denial), elicitationId: denial.approval };
    const text = `${inWords(call, deps)} Nothing was sent; call again with the same arguments once it is approved. Reference: ${call.id}`;
    const data = { elicitations: [visit], reference: call.id };
    const error = { httpStatus: 200, id: message.id, code: LEGACY_CODES.urlElicitationRequired, message: text, data };
    deps.elicited.expect(session.nonce, denial.approval);
    // Decided while this was written: nobody is sent away to wait for it.
    return (await waited(call, message, denial, ALREADY_MS, deps)) ?? { kind: 'error', error };
  }
  // Elements of a batch are answered one after the other: none of them waits.
  const batch = version === '2025-03-26' && call.outlet === CLOSED;
  const over = batch ? null : await waited(call, message, denial, deps.approvals.blockMs, deps);
  return over ?? shownAs(call, denial, deps);
}

/** The requester's own page, which asks who opens it; never one that decides (PROTOCOL.md C2). */
const visitOf = (call: Call, { page }: Needed): JsonObject => ({
  mode: 'url',
  message: `This call waits for approval by ${decidersInWords(call.snapshot, known(call, 'server').id)}. See there how it stands.`,
  url: page!,
});

const inWords = (call: Call, _deps: AnswerDeps): string =>
  `This call waits for approval by ${decidersInWords(call.snapshot, known(call, 'server').id)}.`;

/** Null: nobody has decided yet, and there is no more time. Otherwise the call is over, one way or the other. */
async function waited(
  call: Call,
  message: InboundRequest,
  denial: Needed,
  withinMs: number,
  deps: AnswerDeps,
): Promise<Reply | null> {
  const { approvals } = deps.ports;
  const { places } = deps.streams;
  const person = known(call, 'person').id;
  if (withinMs === 0 || places.enter(person) !== 'taken') return null;
  const resume = deps.inflight.pause(call.inflight);
  const beats = withinMs > ALREADY_MS ? tellsProgress(call, message) : undefined;
  let approval: Approval | null;
  try {
    approval = await approvals.wait(denial.approval, withinMs, call.inflight.signal);
  } finally {
    clearInterval(beats);
    places.leave(person);
    resume();
  }
  const measure = deps.telemetry.start(message.method, null);
  if (call.inflight.cancelledBy !== null) return givenUp(call, denial, deps, measure);
  const over = overOf(denial.approval, approval, deps);
  if (over) return refuse(call, over, deps, measure, known(call, 'heldAt'));
  return approval?.state === 'approved' ? goOn(call, message, denial.approval, deps, measure) : null;
}

/** What ended the waiting ended it for a reason that a guard knows; if none does, it was the client or this node. */
async function givenUp(call: Call, denial: Needed, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const now = afresh(call, deps, denial.approval);
  const why = await deps.pipeline.readmit(now, 'call', deps.ports);
  return refuse(now, why ?? denial, deps, measure, known(call, 'heldAt'));
}

/** Somebody agreed. That is one reason to let it through; every guard has to find no reason against it, now. */
async function goOn(
  held: Call,
  message: InboundRequest,
  approval: string,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const call = afresh(held, deps, approval);
  const late = known(call, 'caller').expiresAt * 1000 <= deps.ports.clock.now();
  const denial: Denial | null = late
    ? { reason: 'token_invalid', problem: 'expired' }
    : await deps.pipeline.rejoin(call, 'call', deps.ports);
  if (denial) return refuse(call, denial, deps, measure, known(call, 'heldAt'));
  call.inflight.facts = { caller: known(call, 'caller'), server: call.subject.server, tool: known(call, 'tool').key };
  return useItem(call, { ...message, params: call.message.params }, deps, measure);
}

/**
 * A client that gave a token hears at once that something goes on, and then now and again; the hold is durable since before. In steps so
 * small that whatever its server counts afterwards is more: progress only grows.
 */
function tellsProgress(call: Call, { meta }: InboundRequest): NodeJS.Timeout | undefined {
  const token = meta.progressToken;
  if (token === null || !call.outlet.open) return undefined;
  let count = 0;
  const beat = (): void => {
    if (call.outlet.open && call.inflight.cancelledBy === null)
      call.outlet.send(progress(token, { progress: ++count / 1_000_000, message: 'Waiting for approval' }));
  };
  beat();
  return setInterval(beat, PROGRESS_EVERY_MS).unref();
}
