/**
 * What a server wants to know in the middle of a call, and who answers (decision 0008). A server may ask only what its record allows
 * and this client declared (PH-08); every question and every answer is inspected, and an answer must fit its question (PH-05).
 * Two of the three ways to a client stand on `askBox`: a parked call and a task collect questions there until their answers come.
 * The third is `streamAsker`: real requests on the call's own stream, for legacy sessions.
 */
import { RESULT_LIMITS, inspectMembers } from '../content/inspect.ts';
import { isLarge } from '../content/size.ts';
import type { AskKind } from '../inventory/records.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { askForClient, askKindOf, checkAnswer, declared, declaredBySession } from '../protocol/asks.ts';
import type { ProtocolVersion } from '../protocol/versions.ts';
import type { Ask, OnAsk, UpstreamReply } from '../upstream/connection.ts';
import type { AskDesk } from './ask-desk.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { facingOf } from './facing.ts';
import type { InflightRegistry } from './inflight.ts';
import { asksForSecret, mayVisit, visitsOfServer } from './inspection-asks.ts';
import { inspectAnswer, note, noted, termsFor } from './inspection.ts';
import type { InspectionPort } from './inspection.ts';
import type { Outlet } from './outlet.ts';

/** How long a person may take to answer, ms. */
export const ANSWER_WITHIN_MS = 600_000;
/** Questions one call may have open. */
const MAX_OPEN = 20;
/** Questions one call may put in all: a server does not keep a person answering. */
const MAX_ASKED = 100;

const NONE: ReadonlySet<AskKind> = new Set();

/** What the server of this call may ask its client. */
export function asksOf(call: Call): ReadonlySet<AskKind> {
  const { asks } = known(call, 'server').record;
  const { message } = call;
  if (asks.length === 0 || message.kind !== 'request') return NONE;
  const { session } = call.facts;
  const client =
    message.era === 'modern'
      ? declared(message.meta.clientCapabilities ?? {})
      : session && message.accepts.sse
        ? declaredBySession(session.capabilities)
        : NONE;
  return new Set(asks.filter((kind) => client.has(kind)));
}

/** What may be asked of the client of one call, and in which words. */
export interface Terms {
  readonly kinds: ReadonlySet<AskKind>;
  readonly version: ProtocolVersion;
  /** The client's model may be offered tools. */
  readonly samplingTools: boolean;
}

export function termsOf(call: Call, deps: { readonly version: string }): Terms {
  const sampling = call.message.meta.clientCapabilities?.['sampling'];
  const samplingTools =
    call.message.era === 'modern'
      ? isJsonObject(sampling) && isJsonObject(sampling['tools'])
      : (call.facts.session?.capabilities.includes('sampling.tools') ?? false);
  return { kinds: asksOf(call), version: facingOf(call, deps).version, samplingTools };
}

/** The same with what it takes to look at questions and answers. */
export interface Asking extends Terms {
  readonly call: Call;
  readonly inspection: InspectionPort;
  /** Hosts that its server may send people to. */
  readonly visits: ReadonlySet<string>;
}

export function askingOf(
  call: Call,
  deps: { readonly version: string; readonly ports: { readonly inspection: InspectionPort } },
): Asking {
  const visits = visitsOfServer(known(call, 'server').record);
  return { ...termsOf(call, deps), call, inspection: deps.ports.inspection, visits };
}

const refusal = (code: number, message: string): UpstreamReply => ({ kind: 'error', error: { code, message } });
const NOT_ASKED = refusal(-32601, 'Method not found');
export const UNANSWERED = refusal(-32603, 'The client gave no usable answer');

/** What is looked at at once must not be more than a person would read; a model reads more. Pictures and sound aside, which nobody reads. */
const LONGEST: Readonly<Record<AskKind, number>> = {
  'elicitation.form': 65_536,
  'elicitation.url': 16_384,
  roots: 16_384,
  sampling: 262_144,
};
/** All that one reply asks together. */
export const LONGEST_REPLY = LONGEST.sampling;
/** The same of what is answered: a person writes no more, and what a model says may be a picture, which counts here: it is read. */
const longestAnswer = (kind: AskKind | null): number => (kind === 'sampling' ? 1_048_576 : LONGEST['elicitation.form']);

/** The question as this client may be shown it; null: it is not asked at all. ATTACKER-CONTROLLED: every word of it. */
export function askToShow(ask: Ask, asking: Asking): Ask | null {
  const { kinds, version, samplingTools, call, inspection } = asking;
  const kind = askKindOf(ask.method, ask.params);
  if (kind === null || !kinds.has(kind)) return null;
  if (isLarge(ask.params, LONGEST[kind], false)) return refusedQuestion(call, 'size');
  // As the server wrote it: what is cleaned away, or is no member of a form, may be what gives it away (CI-10).
  if (kind === 'elicitation.form' && asksForSecret(ask.params)) return refusedQuestion(call, 'credentials');
  if (kind === 'elicitation.url' && !mayVisit(ask.params['url'], asking.visits)) return refusedQuestion(call, 'visit');
  const inspected = inspectMembers(ask.params, RESULT_LIMITS, termsFor(call, 'in', inspection));
  noted(call, 'in', 'question', inspected, inspection);
  if (inspected.verdict === 'withhold') return null;
  // What the walk changed in an address makes it another one.
  if (kind === 'elicitation.url' && inspected.result['url'] !== ask.params['url'])
    return refusedQuestion(call, 'visit');
  return askForClient({ method: ask.method, params: inspected.result }, version, { samplingTools });
}

function refusedQuestion(call: Call, why: 'credentials' | 'visit' | 'size'): null {
  note(call, `question:refused:${why}`);
  return null;
}

/** The answer as the server may have it, or why not. ATTACKER-CONTROLLED: a client's, read like arguments. */
export function answerFor(ask: Ask, answer: Json, { call, inspection }: Asking): UpstreamReply {
  if (!isJsonObject(answer)) return UNANSWERED;
  const checked = checkAnswer(ask, answer);
  if (!checked.ok || call.snapshot.inspection === null) return UNANSWERED;
  if (isLarge(checked.value, longestAnswer(askKindOf(ask.method, ask.params)))) {
    note(call, 'answer:refused:size');
    return UNANSWERED;
  }
  // What a person typed goes on as typed or not at all: a redacted answer would be another one. Nobody is there who could agree to it.
  const inspected = inspectAnswer(call, checked.value, inspection);
  noted(call, 'out', 'answer', inspected, inspection);
  return inspected.verdict === 'pass' ? { kind: 'result', result: checked.value } : UNANSWERED;
}

/** Asks a legacy client on the stream of its call (L6). The call's own deadline rests while somebody thinks. */
export function streamAsker(
  call: Call,
  terms: Asking,
  outlet: Outlet,
  desk: AskDesk,
  inflight: InflightRegistry,
): OnAsk {
  let counter = 0;
  const session = known(call, 'session').nonce;

  const askOne = async (ask: Ask, signal: AbortSignal): Promise<UpstreamReply> => {
    const shown = askToShow(ask, terms);
    if (shown === null || !outlet.open || ++counter > MAX_ASKED) return NOT_ASKED;
    const waiting = desk.put(session);
    outlet.send({ jsonrpc: '2.0', id: waiting.id, method: shown.method, params: shown.params });
    const outcome = await waiting.answer(signal, ANSWER_WITHIN_MS);
    if (outcome === null) return UNANSWERED;
    return outcome.kind === 'error'
      ? refusal(outcome.error.code === -1 ? -1 : -32603, 'The client declined')
      : answerFor(shown, outcome.result, terms);
  };
  return async (asks, signal) => {
    const resume = inflight.pause(call.inflight);
    try {
      const answers = await Promise.all([...asks].map(async ([key, ask]) => [key, await askOne(ask, signal)] as const));
      return new Map(answers);
    } finally {
      resume();
    }
  };
}

export interface AskBox {
  readonly ask: OnAsk;
  /** Open questions by the key the client answers under. */
  open(): ReadonlyMap<string, Ask>;
  /** Resolves once at least one question is open; questions that come together are waited for a moment. */
  asked(): Promise<void>;
  /** Takes the answers that fit an open question. Answers with the keys taken; what fits none is ignored (M21). */
  answer(responses: JsonObject): readonly string[];
  /** Tells the server that this question, if it is still open, gets no answer. */
  decline(key: string): void;
}

/** Questions of one server that arrive within this time are shown together, ms. */
const TOGETHER_MS = 25;

export function askBox(terms: Asking): AskBox {
  const open = new Map<string, { readonly ask: Ask; readonly settle: (reply: UpstreamReply) => void }>();
  let counter = 0;
  let waiters: Array<() => void> = [];
  let timer: NodeJS.Timeout | null = null;

  const announce = (): void => {
    timer ??= setTimeout(() => {
      timer = null;
      if (open.size === 0) return;
      for (const waiter of waiters) waiter();
      waiters = [];
    }, TOGETHER_MS);
  };
  const askOne = (ask: Ask, signal: AbortSignal): Promise<UpstreamReply> => {
    const shown = askToShow(ask, terms);
    if (shown === null || open.size >= MAX_OPEN || counter >= MAX_ASKED || signal.aborted)
      return Promise.resolve(NOT_ASKED);
    const key = `ask-${++counter}`;
    return new Promise((resolve) => {
      const settle = (reply: UpstreamReply): void => {
        open.delete(key);
        signal.removeEventListener('abort', onAbort);
        resolve(reply);
      };
      const onAbort = (): void => settle(UNANSWERED);
      signal.addEventListener('abort', onAbort, { once: true });
      open.set(key, { ask: shown, settle });
      announce();
    });
  };
  return {
    ask: async (asks, signal) =>
      new Map(await Promise.all([...asks].map(async ([key, ask]) => [key, await askOne(ask, signal)] as const))),
    open: () => new Map([...open].map(([key, { ask }]) => [key, ask])),
    asked: () =>
      open.size > 0 && timer === null ? Promise.resolve() : new Promise((resolve) => void waiters.push(resolve)),
    answer(responses) {
      const taken: string[] = [];
      for (const [key, { ask, settle }] of open) {
        if (!Object.hasOwn(responses, key)) continue;
        const reply = answerFor(ask, responses[key] as Json, terms);
        // What does not fit is asked again, not passed on.
        if (reply.kind === 'error') continue;
        taken.push(key);
        settle(reply);
      }
      return taken;
    },
    decline: (key) => open.get(key)?.settle(UNANSWERED),
  };
}
