/**
 * One admitted use of an item, from approval to outcome: tools/call, prompts/get, resources/read, completion/complete.
 * One fixed sequence; every step says what is true if we crash there. Nothing leaves before its record is durable: what goes to the server
 * of a side-effecting call waits for its intent, and so does whatever goes to the client before the reply, of any call; every reply waits
 * for its outcome. Who listens meanwhile is not known here: use-item.ts (a request), parking.ts (nobody for a while), tasks.ts (a task).
 */
import { z } from 'zod';
import { callEntry, intentEntry, outcomeEntry } from '../audit/entries.ts';
import type { OutcomeFacts } from '../audit/entry.ts';
import { RESULT_LIMITS, inspectMembers } from '../content/inspect.ts';
import { isLarge } from '../content/size.ts';
import { unlessAborted } from '../lib/abortable.ts';
import { isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { decide, labelsMatter } from '../policy/decide.ts';
import { capabilitiesFor } from '../protocol/asks.ts';
import { log, progress } from '../protocol/notifications.ts';
import { readInputRequired } from '../protocol/input-required.ts';
import type { Ask, OnAsk, ServerNotification, UpstreamReply, UpstreamRequest } from '../upstream/connection.ts';
import { UpstreamFault } from '../upstream/connection.ts';
import { OUR_KEYS } from './approval-desk.ts';
import { ANSWER_WITHIN_MS, LONGEST_REPLY, UNANSWERED, answerFor, askToShow, askingOf, termsOf } from './asking.ts';
import type { Asking } from './asking.ts';
import { giveBack, keepSpent } from './budgets.ts';
import { known } from './call.ts';
import type { Call, Facts } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp, tally } from './entry-facts.ts';
import { flowOf } from './flow.ts';
import { inspectedIn, note, noted, termsFor } from './inspection.ts';
import { durableOutlet } from './outlet.ts';
import type { DurableOutlet, Outlet } from './outlet.ts';
import { leftAlone } from './guards/item-is-unchanged.ts';
import { COLUMN_OF } from './pipeline.ts';
import { questionOf as policyQuestionOf } from './question.ts';
import { endIntent, ledgerDenial } from './refuse.ts';
import { settle, stopped, told, withheldFrom } from './settle.ts';
import type { Sent, Settled, SettledReply } from './settle.ts';
import type { CallMeasure } from './telemetry.ts';
import { labelled, remember, traceOf } from './trace-labels.ts';
import { USES } from './uses.ts';
import type { UseFamily } from './uses.ts';
import { visitsOf } from './visits.ts';

/** How what happens before the reply reaches whoever uses the item. */
export interface Ways {
  /** Where progress and log lines go; `CLOSED` for nowhere. */
  readonly outlet: Outlet;
  /** The least severe log line wanted; null: none. */
  readonly logLevel: string | null;
  /** Answers the server's questions; made over the durable outlet. Null: it may ask nothing. */
  readonly asker: ((outlet: Outlet) => OnAsk) | null;
  /** A modern server's question is handed over instead of answered here. */
  readonly handsOver: boolean;
  readonly task: 'optional' | 'required' | null;
  /** Nobody waits for the reply: the server may take this long, and an error of its stays one instead of becoming words for a model. */
  readonly background?: {
    readonly timeoutMs: number;
    /** Whether there is room to keep this result until somebody fetches it; true counts it. */
    readonly keeps: (result: JsonObject) => boolean;
  };
}

export type Performed =
  | { readonly kind: 'denied'; readonly denial: Denial; readonly index: number | undefined }
  /** The server asks and has let go of the request; its own state, if it gave one, is for nobody but it. */
  | {
      readonly kind: 'asked';
      readonly asks: ReadonlyMap<string, Ask>;
      readonly state: string | null;
      readonly index: number;
    }
  | { readonly kind: 'settled'; readonly reply: SettledReply; readonly index: number };

/** Writes the intent at most once, when somebody first needs it. */
export interface Intent {
  readonly index: number | undefined;
  write(): Promise<number>;
  /** Resolves when the write that was begun has ended, however it did; null: none was. */
  settled(): Promise<unknown> | null;
}

export function intentOf(call: Call, deps: AnswerDeps, prev: number | undefined = call.facts.heldAt): Intent {
  let writing: Promise<number> | null = null;
  const intent: { -readonly [K in keyof Intent]: Intent[K] } = {
    index: undefined,
    write: () =>
      (writing ??= deps.audit
        .record(
          intentEntry(stamp(call, deps), {
            actor: actorOf(call)!,
            call: callFacts(call),
            decision: decisionFacts(call, null),
            prev,
          }),
        )
        .then(({ index }) => (intent.index = index))),
    settled: () => writing && Promise.allSettled([writing]),
  };
  return intent;
}

/** The end of a call that left no intent is one entry with its decision, of one that did an outcome that names it. @throws LedgerFault */
export async function recordEnd(
  call: Call,
  deps: AnswerDeps,
  prev: number | undefined,
  outcome: OutcomeFacts,
  denial: Denial | null = null,
): Promise<number> {
  const facts = { actor: actorOf(call)!, call: callFacts(call), outcome };
  const entry =
    prev === undefined
      ? callEntry(stamp(call, deps), { ...facts, decision: decisionFacts(call, denial), prev: call.facts.heldAt })
      : outcomeEntry(stamp(call, deps), { ...facts, prev });
  return (await deps.audit.record(entry)).index;
}

/** Never throws for what a peer does. `intent` may have been written already. */
export async function perform(
  call: Call,
  deps: AnswerDeps,
  measure: CallMeasure,
  ways: Ways,
  intent: Intent = intentOf(call, deps),
): Promise<Performed> {
  const tool = known(call, 'tool');
  const { approval } = call.facts;

  if (approval && !(await spend(call, approval, deps))) {
    const denial: Denial = { reason: 'approval_lost', approval: approval.id };
    giveBack(call, deps.ports);
    return { kind: 'denied', denial, index: await endIntent(call, denial, intent.index, deps) };
  }
  // CRASH before here: nothing was promised, nothing was sent. A used approval stays used.

  if (tool.facts!.risk !== 'read' || intent.index !== undefined) {
    try {
      await intent.write();
    } catch (fault) {
      giveBack(call, deps.ports);
      return { kind: 'denied', denial: ledgerDenial(fault), index: undefined };
    }
    // CRASH: the intent is durable and nothing was sent; restart reports this call as "in flight, outcome unknown".
  }

  const events = tally();
  const mayLeave = (): boolean => call.inflight.cancelledBy === null;
  const outlet = durableOutlet(ways.outlet, intent.write, mayLeave, (message) => {
    events.add(message);
    remember(call, deps.ports.traces, message['params'] ?? null);
  });
  const onAsk = ways.asker && recordedFirst(ways.asker(outlet), call, intent, outlet, deps);
  const line = inLine(outlet, () => labelled(call, deps.ports.traces, call.facts.content?.labels));
  const came = await dispatch(call, deps, measure, ways, { outlet, onAsk, line });
  const end = (how: Sent): Settled | Promise<Settled> => settle(call, how, deps, ways.background !== undefined);
  // What is in it is known before its trace is labelled, and it is labelled before any of it leaves.
  const looked = came.kind === 'asked' ? null : await end(came);
  // The label counts from when the result leaves, which may be long after the call did.
  const unlabelled = came.kind === 'reply' || came.kind === 'asked' ? await labelFault(call, deps) : null;
  await line.settled();
  await outlet.flushed();
  // A server may ask and end the call in the same breath: an intent that is being written then gets its outcome, too.
  await intent.settled();

  const ended = unlabelled === null ? looked : await end({ kind: 'fault', code: unlabelled, dispatched: 'unknown' });
  // A lock may have fallen while labels were written and events went out. From here to the record of the end nobody else has a turn.
  const whole = unlessWithdrawn(ended, call, deps);
  const asked = came.kind === 'asked' && whole === null ? came : null;
  // A question is read by whoever answers it, like a result (CI-08).
  for (const ask of asked?.asks.values() ?? []) remember(call, deps.ports.traces, ask.params);
  const settled = whole && ifKept(call, whole, ways, deps);
  if (settled?.status === 'not_dispatched') giveBack(call, deps.ports);
  else keepSpent(call);
  // Of an error nothing leaves but its code.
  if (settled?.digest && settled.reply.kind === 'result') remember(call, deps.ports.traces, settled.reply.result);
  const stoppedBefore = call.inflight.cancelledBy;
  const outcome = {
    ...(settled
      ? outcomeFacts(
          call,
          deps,
          settled.status,
          settled.detail,
          settled.digest,
          inspectedIn(call, settled.inspected, deps.ports.inspection),
        )
      : outcomeFacts(call, deps, 'input_required', null, null, inspectedIn(call, [], deps.ports.inspection))),
    ...events.facts(),
  };
  let index: number;
  try {
    index = await recordEnd(call, deps, intent.index, outcome, settled?.denial ?? null);
  } catch (fault) {
    // The effect may have happened; its intent, if any, says so. The answer is withheld because its record is not durable.
    const denial = ledgerDenial(fault, settled?.status !== 'not_dispatched');
    return { kind: 'denied', denial, index: intent.index };
  }
  // CRASH: the outcome is durable and the caller did not hear it; the log says what happened.
  if (settled?.denial) return { kind: 'denied', denial: settled.denial, index };

  // What stopped the call earlier stands in that outcome already.
  const late = stoppedBefore === null ? call.inflight.cancelledBy : null;
  if (late) {
    // A lock fell while the outcome was being written: the answer stays here, and the log gets that too. If it cannot, it still stays.
    const withheld = { ...outcome, status: 'withheld' as const, detail: late, result: null };
    await recordEnd(call, deps, index, withheld).catch(() => undefined);
  }
  finish(call, measure, 'allow', late ?? settled?.detail ?? null, deps);
  if (late) return { kind: 'settled', reply: stopped(call, deps, late), index };
  return asked
    ? { kind: 'asked', asks: asked.asks, state: asked.state, index }
    : { kind: 'settled', reply: withMeta(settled!.reply, call, index, deps), index };
}

/** What is withheld instead of a result, or of a question (null), once its call was stopped; an error tells nothing of it anyway. */
function unlessWithdrawn(ended: Settled | null, call: Call, deps: AnswerDeps): Settled | null {
  const withdrawn = ended === null || ended.digest !== null ? withheldFrom(call, deps) : null;
  return withdrawn ? { ...withdrawn, inspected: ended?.inspected ?? [] } : ended;
}

/** ATTACKER-CONTROLLED: the size of a result. What waits on a disk for its client is kept only as far as there is room for it. */
function ifKept(call: Call, settled: Settled, { background }: Ways, deps: AnswerDeps): Settled {
  if (!background || settled.digest === null || settled.reply.kind !== 'result') return settled;
  if (background.keeps(settled.reply.result)) return settled;
  const text =
    'The result was withheld: alone or together with the results of your other tasks it is too large to keep. The call itself was made.';
  return { ...settled, status: 'withheld', detail: 'task_quota', digest: null, reply: told(call, deps, text) };
}

/** What leads to the client before the reply; both ways are closed until the intent is durable. */
interface Client {
  readonly outlet: Outlet;
  readonly onAsk: OnAsk | null;
  readonly line: Line;
}

/** Messages that leave in the order in which they came, each once its trace is labelled with what was found in it. */
interface Line {
  /** @param marked whether something was found that labels. What cannot be labelled does not leave. */
  send(message: JsonObject, marked: boolean): void;
  /** Resolves when nothing waits; null: nothing does. */
  settled(): Promise<unknown> | null;
}

function inLine(outlet: Outlet, mark: () => Promise<void> | null): Line {
  let last: Promise<unknown> | null = null;
  return {
    send(message, marked) {
      const waits = marked ? mark() : null;
      if (last === null && waits === null) return outlet.send(message);
      const mine = Promise.allSettled([last, waits])
        .then(([, labels]) => labels.status === 'fulfilled' && outlet.send(message))
        .finally(() => {
          if (last === mine) last = null;
        });
      last = mine;
    },
    settled: () => last,
  };
}

/**
 * Nobody is shown a question before the intent is durable and their trace is labelled. If that cannot be, the whole request is given up: an
 * answer would never come. The answer goes to the server only if the call would still be allowed, whatever the trace received meanwhile.
 */
function recordedFirst(onAsk: OnAsk, call: Call, intent: Intent, outlet: DurableOutlet, deps: AnswerDeps): OnAsk {
  return async (asks, signal) => {
    await intent.write();
    const asking = askingOf(call, deps);
    // What is found in the questions labels the trace before anybody is shown one of them.
    for (const ask of asks.values()) askToShow(ask, asking);
    await labelled(call, deps.ports.traces, call.facts.content?.labels);
    for (const ask of asks.values()) remember(call, deps.ports.traces, ask.params);
    await outlet.flushed();
    const answers = await onAsk(asks, signal);
    return (await mayAnswer(call, contentOf(answers), deps))
      ? answers
      : new Map([...asks.keys()].map((key) => [key, UNANSWERED]));
  };
}

/** Labels the trace of this call with what its item gives, and what was found in it so far. @returns why that cannot be; null: it is labelled. */
async function labelFault(call: Call, deps: AnswerDeps): Promise<string | null> {
  try {
    await labelled(call, deps.ports.traces, call.facts.content?.labels);
    return null;
  } catch (fault) {
    return isFault(fault) ? fault.code : 'labels_unavailable';
  }
}

const contentOf = (answers: ReadonlyMap<string, UpstreamReply>): Json[] =>
  [...answers.values()].map((answer) => (answer.kind === 'result' ? answer.result : null));

/**
 * Whether what a client answers to a server's question may leave: an answer carries whatever the trace received since the call was admitted
 * (AZ-10). An approval of the call covers it.
 */
async function mayAnswer(call: Call, answers: readonly Json[], deps: AnswerDeps): Promise<boolean> {
  const { policies } = call.snapshot;
  if (!policies) return false;
  const question = policyQuestionOf(call, call.facts.approval !== undefined, deps.ports.clock.now());
  const wanted = labelsMatter(policies, question);
  if (wanted === 0) return true;
  const received = await deps.ports.traces.load(traceOf(call), wanted).catch(() => null);
  if (received === null) return false;
  const flow = flowOf(call, deps.ports.traces, received, wanted, answers);
  return decide(policies, { ...question, ...flow, copied: flow.copied || question.copied }).verdict === 'allow';
}

/** One leg of one approved call: the first spends the approval, each later one its place in the order, once on all nodes. */
async function spend(call: Call, { id, call: digest }: Facts['approval'], deps: AnswerDeps): Promise<boolean> {
  const { resumed } = call.facts;
  if (resumed?.approval?.id !== id) return deps.ports.approvals.use(id, digest);
  // ATTACKER-CONTROLLED: whether a state that was taken up already is brought again.
  const legs = deps.exchange.topicOf(`approved/${id}`, z.number());
  const expiresAt = deps.ports.clock.now() + ANSWER_WITHIN_MS;
  return (await legs.append([resumed.round], { expiresAt, expect: resumed.round - 1 })) !== null;
}

type Dispatched =
  | Sent
  | { readonly kind: 'asked'; readonly asks: ReadonlyMap<string, Ask>; readonly state: string | null };

/**
 * Connects, asks the reading guards again if the state or what the server shows moved meanwhile, and sends.
 * Between that last look and the first byte there is no await. A server that forgot our session may be another one now:
 * it is looked at and the guards are asked once more, and only then, once, the call is sent again.
 */
async function dispatch(
  call: Call,
  deps: AnswerDeps,
  measure: CallMeasure,
  ways: Ways,
  client: Client,
  retry = false,
): Promise<Dispatched> {
  const tool = known(call, 'tool');
  const { catalogue } = deps.ports;
  const lane = call.facts.lane ?? undefined;
  try {
    // Opening may take longer than this call has (a process that starts, a server that does not answer): it is not waited for (RL-03).
    const connection = await unlessAborted(deps.connect(known(call, 'server'), lane), call.inflight.signal);
    if (connection === null) return unsent(call);
    if (call.facts.resumed && !(await mayAnswer(call, [call.message.params['inputResponses'] ?? null], deps))) {
      const rules = call.facts.decision?.rules ?? [];
      return { kind: 'denied', denial: { reason: 'policy_denied', visible: true, because: 'approval_missing', rules } };
    }
    // Whatever comes of it, progress and questions included, reaches a trace that is labelled on all nodes.
    const unlabelled = await labelFault(call, deps);
    if (unlabelled !== null)
      return { kind: 'denied', denial: { reason: 'guard_failed', guard: 'labelled-first', fault: unlabelled } };
    if (retry) {
      const looked = await catalogue.confirm(known(call, 'server'), 0, call.inflight.signal, lane).catch(() => null);
      if (looked === null) return { kind: 'denied', denial: { reason: 'tool_unconfirmed', fault: 'session_lost' } };
    }
    let { seen } = call.facts;
    for (
      let tries = 0;
      deps.snapshot() !== call.snapshot || catalogue.seen(tool.server, lane)?.tools !== seen;
      tries++
    ) {
      if (tries === 5)
        return {
          kind: 'denied',
          denial: { reason: 'guard_failed', guard: 'readmission', fault: 'state_keeps_moving' },
        };
      call.snapshot = deps.snapshot();
      seen = catalogue.seen(tool.server, lane)?.tools;
      const denial = await deps.pipeline.readmit(call, COLUMN_OF[familyOf(call)], deps.ports);
      if (denial) return { kind: 'denied', denial };
    }
    if (deps.ports.snapshotAgeMs() > deps.ports.freshnessLimitMs) {
      return { kind: 'denied', denial: { reason: 'snapshot_stale', ageMs: deps.ports.snapshotAgeMs() } };
    }
    if (call.inflight.cancelledBy !== null)
      return { kind: 'cancelled', by: call.inflight.cancelledBy, dispatched: false };
    // Spent a while ago, when a server is slow to open: who agreed may be locked by now, or the call another one (AP-03, AP-07).
    const { approval } = call.facts;
    if (approval && !deps.ports.approvals.stands(approval.id, call))
      return { kind: 'denied', denial: { reason: 'approval_lost', approval: approval.id } };

    const request = requestOf(call, deps, measure, ways, client);
    const { resumed } = call.facts;
    const presented = call.message.params['inputResponses'];
    const answers = isJsonObject(presented) ? theirs(presented) : null;
    // Answers to a question of this server, with the state it gave; `answersFor` has checked them against what was asked.
    const again =
      resumed && resumed.park === null && connection.identity.era === 'modern'
        ? answersTo(new Map(Object.entries(resumed.asked)), answers ?? {}, askingOf(call, deps))
        : null;
    let reply = await connection.request(
      again === null ? request : withAnswers(request, again.fitting, resumed!.upstream),
      call.inflight.signal,
    );
    if (reply.kind === 'error') {
      const visits = call.message.era === 'modern' && !ways.background ? visitsOf(call, reply.error, deps) : null;
      return visits ? { kind: 'asked', asks: visits, state: null } : { kind: 'reply', reply };
    }
    if (!ways.handsOver || reply.result['resultType'] !== 'input_required') return { kind: 'reply', reply };

    let question = questionOf(call, reply.result, deps);
    if (question !== null && answers !== null && !resumed) {
      // Answers that came before the question are used only for what is asked now, and only if they answer all of it.
      const { fitting, missing } = answersTo(question.asks, answers, askingOf(call, deps));
      if (missing.length === 0 && question.asks.size > 0) {
        reply = await connection.request(withAnswers(request, fitting, question.state), call.inflight.signal);
        if (reply.kind === 'error' || reply.result['resultType'] !== 'input_required') return { kind: 'reply', reply };
        question = questionOf(call, reply.result, deps);
      }
    }
    return question === null ? { kind: 'refused_ask' } : { kind: 'asked', ...question };
  } catch (error) {
    // What is no fault of the upstream room is a mistake of ours, and then nobody knows how far the call came.
    const { code, dispatched } =
      error instanceof UpstreamFault ? error : ({ code: 'unexpected', dispatched: 'unknown' } as const);
    if (code === 'unexpected') deps.log('error', { ref: call.id, error: String(error) }, 'dispatch failed');
    if (code === 'upstream_identity')
      await deps.ports.catalogue.suspend(known(call, 'tool').server, (error as UpstreamFault).message);
    const by = call.inflight.cancelledBy;
    if (by !== null && by !== 'deadline') return { kind: 'cancelled', by, dispatched: dispatched !== 'no' };
    if (code === 'upstream_unlinked')
      return { kind: 'denied', denial: { reason: 'account_not_linked', server: known(call, 'tool').server } };
    if (error instanceof UpstreamFault && error.retryAfterMs !== undefined)
      return { kind: 'denied', denial: leftAlone(call, error.retryAfterMs) };
    // A server says so by 404 before it looks at what the request asks for (2025-11-25 transports, session management): it was not carried out.
    if (code === 'upstream_session_lost' && !retry) return dispatch(call, deps, measure, ways, client, true);
    // RL-05: the answer of a reading was lost, and people said that asking for it twice does no harm. Nothing else is ever sent again.
    if (code === 'upstream_closed' && dispatched === 'unknown' && !retry && mayRepeat(call))
      return dispatch(call, deps, measure, ways, client, true);
    return { kind: 'fault', code, dispatched };
  }
}

/** What is in a budget is counted by what was sent, so it is sent once. */
function mayRepeat({ facts: { tool, budget } }: Call): boolean {
  return tool?.facts?.risk === 'read' && tool.approved?.idempotent === true && budget === undefined;
}

/** Given up before anything was sent. */
function unsent({ inflight }: Call): Sent {
  const by = inflight.cancelledBy ?? 'deadline';
  return by === 'deadline'
    ? { kind: 'fault', code: 'upstream_timeout', dispatched: 'no' }
    : { kind: 'cancelled', by, dispatched: false };
}

const familyOf = (call: Call): UseFamily => call.message.rule!.family as UseFamily;

function requestOf(
  call: Call,
  deps: AnswerDeps,
  measure: CallMeasure,
  ways: Ways,
  { onAsk, outlet, line }: Client,
): UpstreamRequest {
  const { message } = call;
  const family = familyOf(call);
  const tool = known(call, 'tool');
  const inputSchema =
    family === 'call' ? (tool.approved!.definition['inputSchema'] as JsonObject | undefined) : undefined;
  // The caller's own `_meta` goes along; what the protocol reserves is set anew on this hop (G7). Not where people agreed: they were shown the
  // arguments, and nothing else that the caller wrote may reach the server (AP-02).
  const meta = {
    ...(call.facts.approval ? {} : message.meta.rest),
    ...(measure.traceparent && { traceparent: measure.traceparent }),
  };
  const base: UpstreamRequest = {
    method: message.method,
    params: { ...USES[family].params(call), ...(Object.keys(meta).length > 0 && { _meta: meta }) },
    once: true,
    ...(inputSchema && { inputSchema }),
    ...ways.background,
  };
  const terms = USES[family].asks && (onAsk || ways.handsOver) ? termsOf(call, deps) : null;
  const asks = terms !== null && terms.kinds.size > 0;
  const token = message.meta.progressToken;
  const listens = ways.outlet.open && (token !== null || ways.logLevel !== null);
  if (!asks && !listens && ways.task === null && !ways.handsOver) return base;
  return {
    ...base,
    ...(asks && { capabilities: capabilitiesFor(terms.kinds, terms) }),
    ...(onAsk && asks && { onAsk }),
    ...(ways.handsOver && { inputRequired: 'return' as const }),
    ...(listens && { onNotification: relay(call, token, ways.logLevel, line, deps) }),
    ...(listens && ways.logLevel !== null && { logLevel: ways.logLevel }),
    ...(ways.outlet.open && { onPolling: (retryMs: number) => outlet.release(retryMs) }),
    ...(ways.task && { task: ways.task }),
  };
}

/** Notifications one call may pass on in a second: a server cannot use its caller's line to flood it (PROG, LOG). */
const NOTIFICATIONS_PER_SECOND = 100;
/** As JSON, in characters; of one, and of all of a second: what does not fit is dropped. */
const NOTIFICATION_SIZE = 65_536;
const NOTIFICATION_SIZE_PER_SECOND = 262_144;

/** Progress with the caller's own token, rising (M15); log lines if they were asked for (M14); each inspected (PH-07). */
function relay(
  call: Call,
  token: string | number | null,
  logLevel: string | null,
  line: Line,
  deps: AnswerDeps,
): (notification: ServerNotification) => void {
  let reached = Number.NEGATIVE_INFINITY;
  let second = 0;
  let count = 0;
  let passed = 0;
  const { inspection } = deps.ports;
  const terms = termsFor(call, 'in', inspection);
  return ({ method, params }) => {
    const now = Math.trunc(performance.now() / 1000);
    if (now !== second) [second, count, passed] = [now, 0, 0];
    if (++count > NOTIFICATIONS_PER_SECOND || call.inflight.cancelledBy !== null) return;
    const size = JSON.stringify(params).length;
    if (size > NOTIFICATION_SIZE || passed + size > NOTIFICATION_SIZE_PER_SECOND) return;
    passed += size;
    const before = call.facts.content?.labels;
    const inspected = inspectMembers(params, RESULT_LIMITS, terms);
    noted(call, 'in', 'notification', inspected, inspection);
    if (inspected.verdict === 'withhold') return;
    const marked = call.facts.content?.labels !== before;
    if (method === 'notifications/progress' && token !== null) {
      const value = inspected.result['progress'];
      if (typeof value !== 'number' || !(value > reached)) return;
      reached = value;
      line.send(progress(token, inspected.result), marked);
    } else if (method === 'notifications/message' && logLevel !== null) line.send(log(inspected.result), marked);
  };
}

/** Without answers to what the gateway itself asked: those are for nobody else. */
function theirs(answers: JsonObject): JsonObject | null {
  const kept = Object.entries(answers).filter(([key]) => !key.startsWith(OUR_KEYS));
  return kept.length === 0 ? null : Object.fromEntries(kept);
}

/** What a modern server asks, as far as it may; null: it asks what this client cannot be asked. */
function questionOf(
  call: Call,
  result: JsonObject,
  deps: AnswerDeps,
): { asks: ReadonlyMap<string, Ask>; state: string | null } | null {
  const read = readInputRequired(result);
  if (!read.ok || !USES[familyOf(call)].asks) return null;
  if (isLarge(result['inputRequests'] ?? null, LONGEST_REPLY, false))
    return (note(call, 'question:refused:size'), null);
  const terms = askingOf(call, deps);
  const asks = new Map<string, Ask>();
  for (const [key, ask] of read.value.inputRequests) {
    const shown = askToShow(ask, terms);
    // A key of ours would pass the server's question off as the gateway's.
    if (shown === null || key.startsWith(OUR_KEYS) || !mayBeShown(key, terms)) return null;
    asks.set(key, shown);
  }
  return { asks, state: read.value.requestState };
}

/** ATTACKER-CONTROLLED: what a question is called. Its client reads that, too, and it cannot be changed: the answer comes under the same name. */
function mayBeShown(key: string, { call, inspection }: Asking): boolean {
  const looked = inspectMembers({ [key]: null }, RESULT_LIMITS, termsFor(call, 'in', inspection));
  noted(call, 'in', 'question', looked, inspection);
  return looked.verdict !== 'withhold';
}

/** The answers that fit their questions, and the keys of questions without one. Keys that were not asked are ignored (M21). */
function answersTo(
  asks: ReadonlyMap<string, Ask>,
  answers: JsonObject,
  asking: Asking,
): { fitting: JsonObject; missing: readonly string[] } {
  const fitting: Record<string, Json> = {};
  const missing: string[] = [];
  for (const [key, ask] of asks) {
    const answer = Object.hasOwn(answers, key) ? answerFor(ask, answers[key] as Json, asking) : null;
    if (answer?.kind === 'result') fitting[key] = answer.result;
    else missing.push(key);
  }
  return { fitting, missing };
}

function withAnswers(request: UpstreamRequest, inputResponses: JsonObject, state: string | null): UpstreamRequest {
  return {
    ...request,
    params: { ...request.params, inputResponses, ...(state !== null && { requestState: state }) },
  };
}

function withMeta(reply: SettledReply, call: Call, index: number, deps: AnswerDeps): SettledReply {
  if (reply.kind === 'error') return reply;
  const own = reply.result['_meta'];
  const meta = { 'remit/receipt': { log: deps.audit.origin, index }, 'remit/reference': call.id };
  return { kind: 'result', result: { ...reply.result, _meta: { ...(isJsonObject(own) ? own : {}), ...meta } } };
}
