/**
 * `input_required` (MRTR): a modern server answers a request with questions, and the client sends the request again with answers.
 * Both ways: the result as our clients get it, and the one of a server read strictly. Not done here: whether the client declared
 * what is asked, what the questions say (`asks.ts`), sealing the state (`request-state.ts`).
 */
import { Fault } from '../lib/fault.ts';
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { isAskMethod } from './asks.ts';
import type { Ask } from './asks.ts';
import { type Facing, type ResultRefusal, complete } from './results.ts';

/** Questions in one result. */
export const MAX_ASKS = 20;
const MAX_KEY = 256;
/** Bytes of a server's state: it must fit into ours. */
const MAX_STATE = 131_072;

export interface InputRequired {
  readonly inputRequests: ReadonlyMap<string, Ask>;
  readonly requestState: string | null;
}

/** @throws Fault `input_required` when there is neither a question nor a state, or the client is a legacy one (L11). */
export function inputRequiredResult(
  facing: Facing,
  inputRequests: JsonObject | null,
  requestState: string | null,
  meta: JsonObject = {},
): JsonObject {
  const asks = inputRequests !== null && Object.keys(inputRequests).length > 0;
  if (facing.era === 'legacy') throw new Fault('input_required', 'a legacy client takes this for a result');
  if (!asks && requestState === null) throw new Fault('input_required', 'neither a question nor a state');
  const members = {
    ...(asks ? { inputRequests } : {}),
    ...(requestState === null ? {} : { requestState }),
  };
  return complete(facing, members, meta, 'input_required');
}

/** ATTACKER-CONTROLLED: what a server says it needs to know. */
export function readInputRequired(upstream: JsonObject): Result<InputRequired, ResultRefusal> {
  const { resultType, inputRequests = {}, requestState } = upstream;
  const refused = (problem: string): Result<never, ResultRefusal> => err({ reason: 'shape', problem });
  if (resultType !== 'input_required') {
    return err({
      reason: 'result_type',
      resultType: typeof resultType === 'string' ? resultType.slice(0, 64) : 'none',
    });
  }
  if (requestState !== undefined && typeof requestState !== 'string') return refused('requestState is not a string');
  if (requestState !== undefined && Buffer.byteLength(requestState) > MAX_STATE) {
    return refused(`requestState is larger than ${MAX_STATE} bytes`);
  }
  if (!isJsonObject(inputRequests)) return refused('inputRequests is not an object');
  const entries = Object.entries(inputRequests);
  if (entries.length > MAX_ASKS) return refused(`inputRequests has more than ${MAX_ASKS} questions`);
  if (entries.length === 0 && requestState === undefined) return refused('neither inputRequests nor requestState');
  const asks = new Map<string, Ask>();
  for (const [key, request] of entries) {
    if (key.length > MAX_KEY) return refused('a key of inputRequests is too long');
    if (!isJsonObject(request)) return refused('a question is not an object');
    const { method, params = {} } = request;
    if (typeof method !== 'string' || !isAskMethod(method)) return refused('a question has an unknown method');
    if (!isJsonObject(params)) return refused('params of a question are not an object');
    asks.set(key, { method, params });
  }
  return ok({ inputRequests: asks, requestState: requestState ?? null });
}
