/**
 * A legacy server's own requests: ping is answered here, a question goes to whoever can answer it, everything else is
 * refused with -32601. Every question gets exactly one answer, unless the server takes it back first.
 * Not done here: finding the request a question belongs to.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import type { UpstreamReply } from './connection.ts';
import type { FromServer } from './messages.ts';
import type { Answerer } from './wire.ts';

export const ASKS: ReadonlySet<string> = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list']);
/** A server may have this many questions open on one connection; more are refused. */
const MAX_OPEN = 32;
const RELATED_TASK = 'io.modelcontextprotocol/related-task';

export interface AskDesk {
  /** `legacy`: not known to be modern; only then may a server ask at all. */
  take(request: Extract<FromServer, { kind: 'request' }>, legacy: boolean, answerer: Answerer | undefined): void;
  /** The server says `notifications/cancelled` of one of its questions. */
  takenBack(params: JsonObject): void;
}

/** `send` puts one response on its way and must not throw. */
export function askDesk(send: (response: JsonObject) => void): AskDesk {
  const open = new Map<string | number, AbortController>();
  const refuse = (id: string | number, code: number, message: string): void =>
    send({ jsonrpc: '2.0', id, error: { code, message } });

  return {
    take: ({ id, method, params }, legacy, answerer) => {
      if (legacy && method === 'ping') return send({ jsonrpc: '2.0', id, result: {} });
      if (!legacy || !ASKS.has(method)) return refuse(id, -32601, 'Method not found');
      if (open.has(id)) return refuse(id, -32600, 'This id is in use');
      if (open.size >= MAX_OPEN) return refuse(id, -32603, 'Too many open requests');
      const back = new AbortController();
      const answer = answerer?.({ method, params }, back.signal) ?? null;
      if (answer === null) return refuse(id, -32601, 'Method not found');
      open.set(id, back);
      const give = (reply: UpstreamReply): void => {
        open.delete(id);
        if (back.signal.aborted) return;
        if (reply.kind === 'result') send({ jsonrpc: '2.0', id, result: related(params, reply.result) });
        else send({ jsonrpc: '2.0', id, error: reply.error as JsonObject });
      };
      answer.then(give, () => give({ kind: 'error', error: { code: -32603, message: 'The request was given up' } }));
    },
    takenBack: ({ requestId }) => {
      if (typeof requestId === 'string' || typeof requestId === 'number') open.get(requestId)?.abort('taken back');
    },
  };
}

/** What belongs to a task of 2025-11-25 says so in both directions. */
function related({ _meta }: JsonObject, result: JsonObject): JsonObject {
  const task = isJsonObject(_meta) ? _meta[RELATED_TASK] : undefined;
  if (task === undefined) return result;
  const own = result['_meta'];
  return { ...result, _meta: { ...(isJsonObject(own) && own), [RELATED_TASK]: task } };
}
