/**
 * A modern server's questions (MCP basic/patterns/mrtr): read strictly out of an `input_required` result or a task, and
 * the answers written as it expects them.
 * Not done here: asking, and going on afterwards.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Ask, type UpstreamReply, UpstreamFault } from './connection.ts';
import { ASKS } from './ask-desk.ts';
import { violation } from './http-rules.ts';

/** More in one result is an attack on whoever has to answer. */
const MAX_ASKS = 32;

const CAPABILITY: Readonly<Record<string, string>> = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
};

/** Whether who declared these capabilities may be asked this. Modes and details are judged by whoever answers. */
export function declares(capabilities: JsonObject | undefined, method: string): boolean {
  const capability = CAPABILITY[method];
  return capability !== undefined && isJsonObject(capabilities?.[capability]);
}

/** @throws UpstreamFault `upstream_protocol`: no questions, or such as were not offered to be answered. */
export function readAsks(inputRequests: unknown, capabilities: JsonObject | undefined): ReadonlyMap<string, Ask> {
  if (!isJsonObject(inputRequests)) throw violation('`inputRequests` is not an object');
  const entries = Object.entries(inputRequests);
  if (entries.length > MAX_ASKS) throw violation(`the server asks more than ${MAX_ASKS} things at once`);
  const asks = new Map<string, Ask>();
  for (const [key, request] of entries) {
    if (!isJsonObject(request)) throw violation('a question is not an object');
    const { method, params = {} } = request;
    if (typeof method !== 'string' || !ASKS.has(method)) throw violation('the server asks what no server may ask');
    if (!isJsonObject(params)) throw violation('the params of a question are not an object');
    if (!declares(capabilities, method)) throw violation(`the server asks for ${method}, which was not offered`);
    asks.set(key, { method, params });
  }
  return asks;
}

/**
 * The answers as `inputResponses`. A declined elicitation is `cancel`; of the others there is no such answer.
 * @throws UpstreamFault `upstream_cancelled` for those
 */
export function writeAnswers(asks: ReadonlyMap<string, Ask>, answers: ReadonlyMap<string, UpstreamReply>): JsonObject {
  const responses: Record<string, Json> = {};
  for (const [key, { method }] of asks) {
    const answer = answers.get(key);
    if (answer?.kind === 'result') responses[key] = answer.result;
    else if (method === 'elicitation/create') responses[key] = { action: 'cancel' };
    else
      throw new UpstreamFault('upstream_cancelled', `the server asked for ${method} and got no answer`, {
        dispatched: 'unknown',
      });
  }
  return responses;
}
