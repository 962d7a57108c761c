/**
 * Requests and replies over one stream that all share (stdio, HTTP+SSE): ids are ours, every reply finds its request,
 * answers to what was given up are forgotten once. Subscriptions find theirs by their id (modern), everything else that
 * is not a reply is loose.
 * Not done here: bytes, framing, the life of the stream.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { META } from '../protocol/meta.ts';
import { cancelled } from '../protocol/notifications.ts';
import { askDesk } from './ask-desk.ts';
import { type Era, UpstreamFault, type UpstreamReply } from './connection.ts';
import type { FromServer } from './messages.ts';
import { type Hearing, type Loose, NOBODY, type Wire, givenUp } from './wire.ts';

const MAX_IN_FLIGHT = 1_024;
/** Requests given up whose answers may still come. */
const MAX_FORGOTTEN = 1_024;
const LISTEN = 'subscriptions/listen';

interface Waiting {
  readonly method: string;
  readonly hearing: Hearing | undefined;
  settle(outcome: UpstreamReply | UpstreamFault): void;
}

export interface ChannelOptions {
  /** Puts one message on its way; `id` when it is a request. Must not throw: what fails later is told by `fail`. */
  readonly send: (message: JsonObject, id: number | null) => void;
  /** Why nothing can be sent now; null when it can. */
  readonly refusal: () => UpstreamFault | null;
}

export interface Channel extends Pick<Wire, 'exchange' | 'notify' | 'onLoose'> {
  agree(era: Era): void;
  /** One message of the server; the text says what is wrong with it. */
  take(message: FromServer): string | null;
  fail(id: number, fault: UpstreamFault): void;
  failAll(fault: UpstreamFault): void;
}

export function channel({ send, refusal }: ChannelOptions): Channel {
  const waiting = new Map<number, Waiting>();
  const forgotten = new Set<number>();
  const desk = askDesk((response) => {
    if (refusal() === null) send(response, null);
  });
  let nextId = 1;
  let era: Era | null = null;
  let loose: Loose = NOBODY;

  function takeNotification(method: string, params: JsonObject): void {
    if (method === 'notifications/cancelled') {
      const { requestId } = params;
      const listen = typeof requestId === 'number' ? waiting.get(requestId) : undefined;
      // A modern server ends a subscription with it; a legacy one takes a question back.
      if (era === 'modern' && listen?.method === LISTEN) listen.settle({ kind: 'result', result: {} });
      else desk.takenBack(params);
      return;
    }
    const { _meta } = params;
    const subscription = era === 'modern' && isJsonObject(_meta) ? _meta[META.subscriptionId] : undefined;
    if (subscription === undefined) return loose.onNotification(method, params);
    const listen = typeof subscription === 'number' ? waiting.get(subscription) : undefined;
    if (listen?.method === LISTEN) listen.hearing?.onNotification?.(method, params);
  }

  function take(message: FromServer): string | null {
    switch (message.kind) {
      case 'notification':
        takeNotification(message.method, message.params);
        return null;
      case 'request':
        desk.take(message, era !== 'modern', loose.onAsk);
        return era === 'modern' ? 'a modern server sent a request' : null;
      case 'reply': {
        const one = typeof message.id === 'number' ? waiting.get(message.id) : undefined;
        if (one !== undefined) one.settle(message.reply);
        else if (typeof message.id !== 'number' || !forgotten.delete(message.id))
          return 'an answer belongs to no request';
        return null;
      }
    }
  }

  function exchange(
    { method, params, hearing }: Parameters<Wire['exchange']>[0],
    signal: AbortSignal,
    timeoutMs: number | null,
  ): Promise<UpstreamReply> {
    return new Promise((resolve, reject) => {
      const refused = refusal();
      if (refused !== null) return reject(refused);
      if (signal.aborted) return reject(givenUp(signal, false, 'no'));
      if (waiting.size >= MAX_IN_FLIGHT) return reject(overwhelmed());
      const id = nextId++;
      const giveUp = (timedOut: boolean): void => {
        remember(forgotten, id);
        // A server must not be told to cancel a handshake (CAN).
        if (method !== 'initialize' && refusal() === null) {
          const reason = timedOut ? 'timed out' : 'cancelled';
          send(cancelled(id, reason), null);
        }
        waiting.get(id)?.settle(givenUp(signal, timedOut, 'unknown'));
      };
      const onAbort = (): void => giveUp(false);
      const timer = timeoutMs === null ? undefined : setTimeout(giveUp, timeoutMs, true);
      waiting.set(id, {
        method,
        hearing,
        settle: (outcome) => {
          waiting.delete(id);
          clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
          if (outcome instanceof UpstreamFault) reject(outcome);
          else resolve(outcome);
        },
      });
      signal.addEventListener('abort', onAbort, { once: true });
      send({ jsonrpc: '2.0', id, method, params }, id);
    });
  }

  return {
    exchange,
    take,
    agree: (agreed) => void (era = agreed),
    onLoose: (listener) => void (loose = listener),
    notify: async (method, params) => {
      if (refusal() === null) send({ jsonrpc: '2.0', method, params }, null);
    },
    fail: (id, fault) => waiting.get(id)?.settle(fault),
    failAll: (fault) => {
      for (const one of waiting.values()) one.settle(fault);
    },
  };
}

export const overwhelmed = (): UpstreamFault =>
  new UpstreamFault('upstream_unreachable', 'the server does not keep up with its input', { dispatched: 'no' });

function remember(forgotten: Set<number>, id: number): void {
  forgotten.add(id);
  if (forgotten.size <= MAX_FORGOTTEN) return;
  const [oldest] = forgotten;
  if (oldest !== undefined) forgotten.delete(oldest);
}
