/**
 * A Connection: a wire on which an era was agreed. Adds what each request of that era must carry, enforces the server's
 * time limit, and finds out whom a message means that came on no request's own stream.
 */
import type { JsonObject } from '../lib/json.ts';
import type { Ending } from './breaker.ts';
import {
  type Connection,
  UpstreamFault,
  type UpstreamIdentity,
  type UpstreamReply,
  type UpstreamRequest,
} from './connection.ts';
import { changesOf } from './changes.ts';
import { LOG, PROGRESS, type Shared, converse, unknownOutcome } from './conversation.ts';
import { agreeLegacy } from './handshake.ts';
import { violation } from './http-rules.ts';
import { legacyLevel } from './log-level.ts';
import { paramsFor } from './messages.ts';
import { mirrored } from './mirrored.ts';
import type { Answerer, OnNotification, Wire } from './wire.ts';

const HEADER_MISMATCH = -32020;
/** A server that asks on its own stream must have it before the first call; one that does not open it is not waited for. */
const ATTEND_MS = 2_000;

export interface LinkOptions {
  /** The longest one request may take, whatever the caller's signal says. */
  readonly timeoutMs: number;
  /** What a legacy server was told that we can do. */
  readonly capabilities: JsonObject;
  /** Hears how its requests fare. */
  readonly watch?: RequestWatch;
}

export interface RequestWatch {
  /** @returns what `ended` is told of it. */
  began(): boolean;
  ended(tried: boolean, how: Ending): void;
}

export interface LinkedConnection extends Connection {
  /** Requests that are not settled, and whether resources are watched: what the pool may not end for being idle. */
  readonly inFlight: () => number;
  readonly watching: () => boolean;
}

export function connectionOver(wire: Wire, identity: UpstreamIdentity, options: LinkOptions): LinkedConnection {
  const { timeoutMs, capabilities: declared, watch } = options;
  const modern = identity.era === 'modern';
  const life = new AbortController();
  const changes = changesOf(wire, identity, life.signal);
  const level = legacyLevel(wire, identity, life.signal);
  const progress = new Map<number, OnNotification>();
  const asking = new Set<Answerer>();
  const logging = new Set<OnNotification>();
  /** A modern server on a shared stream was told to log for a request that was given up: its lines cannot be told apart any more. */
  let blurred = false;
  let token = 0;
  let inFlight = 0;

  wire.onLoose({
    onNotification: (method, params) => {
      if (method === PROGRESS) {
        const whose = params['progressToken'];
        if (typeof whose === 'number') progress.get(whose)?.(method, params);
      } else if (method === LOG) {
        // A legacy server logs for all its callers at once. A modern one only for requests that wanted it: if that is one, it is meant.
        if (modern && !blurred && logging.size === 1) for (const one of logging) one(method, params);
      } else changes.take(method, params);
    },
    onAsk: (ask, takenBack) => {
      // A question without an address goes to the only one who can be meant, else to nobody.
      const [only] = asking;
      return asking.size === 1 && only !== undefined ? only(ask, takenBack) : null;
    },
  });
  wire.onForgotten(async () => {
    await agreeLegacy(wire, declared, life.signal, timeoutMs);
    level.reset();
    changes.metAgain(); // whoever forgot us may have been replaced
  });
  void wire.closed.then(() => life.abort('closed'));

  const asksAnything = !modern && Object.keys(declared).length > 0;
  const attended = asksAnything ? within(ATTEND_MS, changes.attend()) : null;

  const shared: Shared = {
    wire,
    identity,
    timeoutMs,
    declared,
    progress,
    asking,
    logging,
    nextToken: () => ++token,
    prepare: async ({ onAsk, logLevel }) => {
      if (onAsk !== undefined) await attended;
      if (logLevel !== undefined) await level.want(logLevel);
    },
  };

  /** A question and its reply: most requests. */
  async function plain(
    { method, params, inputSchema, once = false, capabilities, inputRequired, timeoutMs: limitMs }: UpstreamRequest,
    signal: AbortSignal,
  ): Promise<UpstreamReply> {
    const headers = modern ? mirrored(method, params, inputSchema) : [];
    const own = capabilities && { capabilities };
    const message = { method, params: paramsFor(identity.era, params, own), headers, once };
    const reply = await wire.exchange(message, signal, limitMs ?? timeoutMs);
    if (!modern || reply.kind === 'error') return reply;
    const { resultType } = reply.result;
    if (resultType === 'complete' || (resultType === 'input_required' && inputRequired === 'return')) return reply;
    if (resultType === 'input_required') throw violation('the server asks although nobody can answer');
    throw unknownOutcome();
  }

  async function request(wanted: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply> {
    inFlight++;
    const tried = watch?.began() ?? false;
    try {
      const { onAsk, onNotification, onPolling, logLevel, task } = wanted;
      const simple = !onAsk && !onNotification && !onPolling && logLevel === undefined && task === undefined;
      const reply = await (simple ? plain(wanted, signal) : converse(wanted, signal, shared));
      watch?.ended(tried, 'answered');
      // The tool changed: its headers are built from the definition that was approved, so trying again would only fail again,
      // and building them from another would send a call that nobody approved (C4). Whoever keeps definitions looks again.
      if (modern && reply.kind === 'error' && reply.error.code === HEADER_MISMATCH) changes.report('tools');
      return reply;
    } catch (error) {
      if (wanted.logLevel !== undefined) blurred = true;
      watch?.ended(tried, error instanceof UpstreamFault && !life.signal.aborted ? error : 'dropped');
      throw error;
    } finally {
      inFlight--;
    }
  }

  return {
    identity,
    request,
    inFlight: () => inFlight,
    watching: changes.watching,
    closed: wire.closed,
    close: () => {
      life.abort('closed');
      return wire.close('closed');
    },
    watch: changes.watch,
    onChange: changes.add,
  };
}

/** Waits for `work`, but not longer. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}
