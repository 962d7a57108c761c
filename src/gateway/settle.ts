/**
 * From what came back of a dispatched call to what its caller gets and what the log says of it: errors told apart by whether
 * anything was sent, results inspected, withheld or put into the caller's revision. Everything in a reply is the server's word.
 * A tool's failure is a result that a model reads; every other method's is a JSON-RPC error (M24, M25).
 */
import type { OutcomeStatus } from '../audit/entry.ts';
import type { Inspection } from '../content/inspect.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { CODES, LEGACY_CODES, upstreamError } from '../protocol/errors.ts';
import { renameResult } from '../protocol/rename.ts';
import { toolError } from '../protocol/results.ts';
import type { UpstreamReply } from '../upstream/connection.ts';
import type { Call } from './call.ts';
import { reasonCode } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './facing.ts';
import { inspectCame, noted } from './inspection.ts';
import { USES } from './uses.ts';
import type { UseFamily } from './uses.ts';
import { visitsInWords, visitsOf } from './visits.ts';
import { REMIT_CODES } from './wire.ts';

export type Sent =
  | { readonly kind: 'reply'; readonly reply: UpstreamReply }
  | { readonly kind: 'denied'; readonly denial: Denial }
  | { readonly kind: 'cancelled'; readonly by: string; readonly dispatched: boolean }
  /** The server asked for what this client, or this server's record, does not allow. */
  | { readonly kind: 'refused_ask' }
  | { readonly kind: 'fault'; readonly code: string; readonly dispatched: 'no' | 'unknown' };

/** The answer to one request, before it has an id and a transport. */
export type SettledReply =
  | { readonly kind: 'result'; readonly result: JsonObject }
  | {
      readonly kind: 'error';
      readonly httpStatus: number;
      readonly code: number;
      readonly message: string;
      readonly data?: Json;
    };

export interface Settled {
  readonly status: OutcomeStatus;
  readonly detail: string | null;
  readonly digest: Digest | null;
  readonly inspected: readonly string[];
  readonly reply: SettledReply;
  readonly denial: Denial | null;
}

const NOTHING: SettledReply = Object.freeze({ kind: 'result', result: {} });

/**
 * Pure but for the clock of its deps and for what `noted` writes down of the result. `keepsErrors`: a server's error stays one, whatever the
 * method (a task that `failed`). A promise, which never rejects, only where the result is large (content/inspector.ts).
 */
export function settle(call: Call, sent: Sent, deps: AnswerDeps, keepsErrors = false): Settled | Promise<Settled> {
  const tell = (text: string): SettledReply => told(call, deps, text);

  if (sent.kind === 'denied') {
    return { ...BARE, status: 'not_dispatched', detail: reasonCode(sent.denial), reply: NOTHING, denial: sent.denial };
  }
  if (sent.kind === 'cancelled') {
    const status = sent.dispatched ? 'cancelled' : 'not_dispatched';
    return { ...BARE, status, detail: sent.by, reply: stopped(call, deps, sent.by) };
  }
  if (sent.kind === 'refused_ask') {
    const reply = tell('The server asked for something it may not ask, or that this client cannot answer.');
    return { ...BARE, status: 'withheld', detail: 'ask_refused', reply };
  }
  if (sent.kind === 'fault') {
    const never = sent.dispatched === 'no';
    const text = never
      ? 'The server could not be reached; nothing was sent. Try again later.'
      : 'The server did not give a usable answer. Whether the call had an effect is unknown: check before you repeat it.';
    return { ...BARE, status: never ? 'not_dispatched' : 'failed', detail: sent.code, reply: tell(text) };
  }
  // ATTACKER-CONTROLLED from here: everything in the reply is the server's.
  const withdrawn = withheldFrom(call, deps);
  if (withdrawn) return withdrawn;
  if (sent.reply.kind === 'error') {
    const { error } = sent.reply;
    const denial = lacking(call, error);
    if (denial) return { ...BARE, status: 'protocol_error', detail: `rpc:${error.code}`, reply: NOTHING, denial };
    return {
      ...BARE,
      status: 'protocol_error',
      detail: `rpc:${error.code}`,
      reply: errorFrom(call, deps, error, keepsErrors),
    };
  }
  const family = call.message.rule!.family as UseFamily;
  const inspection = inspectCame(
    call,
    USES[family].inspect,
    sent.reply.result,
    deps.maxResultBytes,
    deps.ports.inspection,
  );
  if (!(inspection instanceof Promise)) return passedOn(call, family, inspection, deps);
  return inspection.then((looked) => {
    const settled = passedOn(call, family, looked, deps);
    // While it was looked at a lock may have fallen.
    const withdrawn = withheldFrom(call, deps);
    return withdrawn ? { ...withdrawn, inspected: settled.inspected } : settled;
  });
}

const BARE = { digest: null, inspected: [], denial: null } as const;

/** Nothing of an answer goes on whose call was stopped; null: it was not. */
export function withheldFrom(call: Call, deps: AnswerDeps): Settled | null {
  const by = call.inflight.cancelledBy;
  return by === null ? null : { ...BARE, status: 'withheld', detail: by, reply: stopped(call, deps, by) };
}

/** What may go on of a result, in the caller's revision. */
function passedOn(call: Call, family: UseFamily, inspection: Inspection, deps: AnswerDeps): Settled {
  const tell = (text: string): SettledReply => told(call, deps, text);
  noted(call, 'in', null, inspection, deps.ports.inspection);
  const { inspected } = inspection;
  if (inspection.verdict === 'withhold') {
    const reply = tell(
      'The result was withheld: it does not pass inspection. The call itself was made: do not make it again for its result. Ask your administrator, quoting the reference.',
    );
    return { ...BARE, status: 'withheld', detail: `inspection:${inspection.reason}`, inspected, reply };
  }
  const result = USES[family].shape(call, facingOf(call, deps), inspection.result);
  if (!result.ok) {
    const reply = tell('The result was withheld: it is not one this gateway can pass on. The call itself was made.');
    return { ...BARE, status: 'withheld', detail: `result:${result.error.reason}`, inspected, reply };
  }
  // On the aggregate every URI is one that this endpoint answers to.
  const renamed = call.endpoint.server === null && family !== 'complete';
  const value = renamed ? renameResult(result.value, call.subject.server ?? '') : result.value;
  return {
    status: value['isError'] === true ? 'tool_error' : 'ok',
    detail: inspection.verdict === 'redact' ? 'redacted' : null,
    digest: digestOf(value),
    inspected,
    reply: { kind: 'result', result: value },
    denial: null,
  };
}

/** Capabilities a client can declare and we can pass on. */
const CLIENT_CAPABILITIES = ['elicitation', 'sampling', 'roots'] as const;

/**
 * A server that cannot go on without a capability speaks of our hop (M22). If it is one that this client did not declare either, the client
 * is told so in its own terms; if the client has it, this gateway withheld it, and then the error is like any other.
 */
function lacking({ message }: Call, { code, data }: { code: number; data?: unknown }): Denial | null {
  if (code !== CODES.missingCapability || message.era !== 'modern' || !isJsonObject(data)) return null;
  const { requiredCapabilities } = data;
  if (!isJsonObject(requiredCapabilities)) return null;
  const has = message.meta.clientCapabilities ?? {};
  const missing = CLIENT_CAPABILITIES.filter((name) => name in requiredCapabilities && !(name in has));
  if (missing.length === 0) return null;
  return { reason: 'capability_missing', required: Object.fromEntries(missing.map((name) => [name, {}])) };
}

/** A server's error is told by its code alone: its words may name hosts, files and people (PH-10). */
function errorFrom(
  call: Call,
  deps: AnswerDeps,
  error: Extract<UpstreamReply, { kind: 'error' }>['error'],
  keepsErrors: boolean,
): SettledReply {
  const visits = call.message.era === 'legacy' ? visitsOf(call, error, deps) : null;
  if (visits) {
    const elicitations = [...visits.values()].map(({ params }) => params);
    const data = { elicitations, reference: call.id };
    return {
      kind: 'error',
      httpStatus: 200,
      code: LEGACY_CODES.urlElicitationRequired,
      message: 'A visit to a URL is needed first.',
      data,
    };
  }
  const words = visitsInWords(call, error, deps.ports.inspection);
  if (words !== null && !keepsErrors) return told(call, deps, words);
  if (call.message.rule?.family === 'call' && !keepsErrors)
    return told(call, deps, `The server answered with an error (code ${error.code}).`);
  const { era } = facingOf(call, deps);
  const { code, httpStatus } = upstreamError(error.code, era, call.message.rule?.family === 'read');
  return {
    kind: 'error',
    httpStatus,
    code,
    message: `The server answered with an error. Reference: ${call.id}`,
    data: { reference: call.id },
  };
}

/** Our own words about what became of a call. */
export function told(call: Call, deps: AnswerDeps, text: string): SettledReply {
  const message = `${text} Reference: ${call.id}`;
  const facing = facingOf(call, deps);
  if (call.message.rule?.family === 'call') return { kind: 'result', result: toolError(facing, message) };
  return {
    kind: 'error',
    httpStatus: facing.era === 'modern' ? 502 : 200,
    code: REMIT_CODES.unavailable,
    message,
    data: { reference: call.id },
  };
}

export function stopped(call: Call, deps: AnswerDeps, by: string): SettledReply {
  const why =
    by.startsWith('lock:') || by === 'standing'
      ? 'Access was withdrawn while the call ran'
      : 'The call was stopped before it ended';
  return told(call, deps, `${why}; whether it had an effect is unknown.`);
}
