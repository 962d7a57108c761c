/**
 * A Connection: a wire on which an era was agreed. Adds what each request of that era must carry, enforces the server's
 * time limit, and keeps an ear open for changes of the tool list.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { encodeHeaderValue } from '../protocol/header-codec.ts';
import { paramHeadersFor } from '../protocol/param-headers.ts';
import {
  type Connection,
  type ServerChange,
  type UpstreamIdentity,
  type UpstreamReply,
  type UpstreamRequest,
  UpstreamFault,
} from './connection.ts';
import { agreeLegacy } from './handshake.ts';
import { paramsFor } from './messages.ts';
import type { Wire } from './wire.ts';

const LISTEN = { notifications: { toolsListChanged: true } };
const LONGEST_PAUSE_MS = 60_000;
/** A modern server names the outcome; anything else is not an outcome (C7). Extensions are not offered, so their values are wrong. */
const OUTCOMES: ReadonlySet<unknown> = new Set(['complete', 'input_required']);

/** `timeoutMs`: the longest one request may take, whatever the caller's signal says. */
export function connectionOver(wire: Wire, identity: UpstreamIdentity, timeoutMs: number): Connection {
  const listeners = new Set<(change: ServerChange) => void>();
  const life = new AbortController();
  let hearing = false;

  const changed = (): void => {
    for (const listener of listeners) listener({ what: 'tools' });
  };
  wire.onNotification((method) => {
    if (method === 'notifications/tools/list_changed') changed();
  });
  wire.onForgotten(async () => {
    await agreeLegacy(wire, life.signal, timeoutMs);
    changed(); // whoever forgot us may have been replaced
  });
  void wire.closed.then(() => life.abort('closed'));

  /** One stream on which the server may speak unasked, opened again when it ends. Never more than one. */
  async function hear(): Promise<void> {
    const tools = identity.capabilities['tools'];
    if (!isJsonObject(tools) || tools['listChanged'] !== true) return;
    const stream =
      identity.era === 'modern'
        ? () =>
            wire
              .exchange({ method: 'subscriptions/listen', params: paramsFor('modern', LISTEN) }, life.signal, null)
              .then((reply): 'ended' | 'unsupported' => (reply.kind === 'error' ? 'unsupported' : 'ended'))
        : wire.hear && (() => wire.hear?.(life.signal) ?? 'unsupported');
    if (stream === null) return;
    for (let pauseMs = 1_000; !life.signal.aborted; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const before = performance.now();
      const outcome = await Promise.resolve(stream()).catch(() => 'ended' as const);
      if (outcome === 'unsupported') return;
      if (performance.now() - before > LONGEST_PAUSE_MS) pauseMs = 1_000;
      await sleep(pauseMs, undefined, { signal: life.signal, ref: false }).catch(() => {});
      // What changed while nobody listened is unknown.
      if (!life.signal.aborted) changed();
    }
  }

  async function request(
    { method, params, inputSchema, once = false }: UpstreamRequest,
    signal: AbortSignal,
  ): Promise<UpstreamReply> {
    const headers = identity.era === 'modern' ? mirrored(method, params, inputSchema) : [];
    const message = { method, params: paramsFor(identity.era, params), headers, once };
    const reply = await wire.exchange(message, signal, timeoutMs);
    if (identity.era === 'modern' && reply.kind === 'result' && !OUTCOMES.has(reply.result['resultType'])) {
      throw new UpstreamFault('upstream_protocol', 'a result names no known outcome (resultType)', {
        dispatched: 'unknown',
      });
    }
    return reply;
  }

  return {
    identity,
    request,
    closed: wire.closed,
    close: () => {
      life.abort('closed');
      return wire.close('closed');
    },
    watch: () => {},
    onChange: (listener) => {
      listeners.add(listener);
      if (!hearing) {
        hearing = true;
        void hear();
      }
      return () => void listeners.delete(listener);
    },
  };
}

/** `Mcp-Name` and `Mcp-Param-*` of a modern request (C1, C2). stdio ignores them. */
function mirrored(
  method: string,
  params: JsonObject,
  inputSchema: JsonObject | undefined,
): ReadonlyArray<readonly [string, string]> {
  const name =
    method === 'tools/call' || method === 'prompts/get'
      ? params['name']
      : method === 'resources/read'
        ? params['uri']
        : undefined;
  if (typeof name !== 'string') return [];
  const headers: Array<readonly [string, string]> = [['Mcp-Name', encodeHeaderValue(name)]];
  const args = params['arguments'];
  if (method !== 'tools/call' || inputSchema === undefined || !isJsonObject(args)) return headers;
  const mirrors = paramHeadersFor(args, inputSchema);
  if (!mirrors.ok) {
    throw new UpstreamFault(
      'upstream_protocol',
      `the tool cannot be called over HTTP: its x-mcp-header at ${mirrors.error.where} is ${mirrors.error.problem}`,
      { dispatched: 'no' },
    );
  }
  return [...headers, ...mirrors.value];
}
