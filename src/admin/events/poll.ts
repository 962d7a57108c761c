/**
 * Fetching security events from transmitters that are polled (RFC 8936). A token is acknowledged with the next request, after its effect is
 * durable and in force; one that is refused is told so with its code; one that we could not take is not mentioned and comes again.
 * Every node polls: which of them gets a token does not matter, its id is remembered for all.
 */
import type { EventStream } from '../../directory/records.ts';
import { isFault } from '../../lib/fault.ts';
import { isJsonObject } from '../../lib/json.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import { DialFault, guardedRequest } from '../../upstream/dial.ts';
import type { AdminContext } from '../context.ts';
import type { Stream } from './apply.ts';
import type { EventReceiver } from './receive.ts';

const MAX_EVENTS = 50;
const MAX_ANSWER_BYTES = 4_194_304;
const TIMEOUT_MS = 15_000;
const LONGEST_PAUSE_MS = 300_000;

export interface Poller {
  close(): Promise<void>;
}

interface Round {
  readonly acks: readonly string[];
  readonly setErrs: Readonly<Record<string, { readonly err: string; readonly description: string }>>;
  readonly more: boolean;
}
const START: Round = { acks: [], setErrs: {}, more: true };

/** Starts and stops with the streams on record. `secret` resolves a reference of the record, within what records may name. */
export function startPolling(
  ctx: Pick<AdminContext, 'org' | 'follower' | 'log'>,
  receiver: EventReceiver,
  secret: (reference: { readonly secret: string }) => Promise<string>,
): Poller {
  const running = new Map<
    string,
    { readonly revision: number; readonly stop: AbortController; readonly done: Promise<void> }
  >();
  const ended = new Set<Promise<void>>();

  function look(): void {
    const wanted = new Set<string>();
    for (const { id, revision, body } of ctx.follower.records.list('event_stream', ctx.org)) {
      const { delivery, state } = body as Partial<EventStream>;
      if (delivery?.method !== 'poll' || state !== 'active' || receiver.stream(id) === undefined) continue;
      wanted.add(id);
      if (running.get(id)?.revision === revision) continue;
      end(id);
      const stop = new AbortController();
      running.set(id, { revision, stop, done: pollStream(ctx, receiver, secret, id, stop.signal) });
    }
    for (const id of running.keys()) if (!wanted.has(id)) end(id);
  }
  function end(id: string): void {
    const found = running.get(id);
    if (found === undefined) return;
    running.delete(id);
    found.stop.abort();
    ended.add(found.done);
    void found.done.finally(() => ended.delete(found.done));
  }

  look();
  const forget = ctx.follower.onAdvance((changed) => {
    if (changed.some(({ kind }) => kind === 'event_stream')) look();
  });
  return {
    async close() {
      forget();
      for (const id of running.keys()) end(id);
      await Promise.all(ended);
    },
  };
}

async function pollStream(
  ctx: Pick<AdminContext, 'log'>,
  receiver: EventReceiver,
  secret: (reference: { readonly secret: string }) => Promise<string>,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  let round = START;
  let failures = 0;
  while (!signal.aborted) {
    const stream = receiver.stream(id);
    if (stream?.delivery.method !== 'poll') return;
    const { everyMs } = stream.delivery;
    try {
      round = await once(receiver, stream, await secret(stream.delivery.token), round, signal);
      failures = 0;
      // What was taken is acknowledged at once, and what waits there is fetched at once.
      const owed = round.acks.length > 0 || Object.keys(round.setErrs).length > 0;
      if (!round.more && !owed) await pause(everyMs, signal);
    } catch (fault) {
      if (signal.aborted) return;
      const code = isFault(fault) ? fault.code : 'unexpected';
      ctx.log.warn({ stream: id, code, failures }, 'polling for security events failed');
      await pause(Math.min(everyMs * 2 ** Math.min(failures++, 8), Math.max(everyMs, LONGEST_PAUSE_MS)), signal);
    }
  }
}

/** One request and everything that it brought. @throws DialFault; acknowledgements of `before` are then owed still. */
export async function once(
  receiver: EventReceiver,
  stream: Stream,
  token: string,
  before: Round,
  signal: AbortSignal,
): Promise<Round> {
  if (stream.delivery.method !== 'poll') throw new Error('this stream is not polled');
  const { status, body } = await guardedRequest(stream.delivery.url, {
    rule: { allowedNetworks: stream.allowedNetworks, requireHttps: true },
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({
      maxEvents: MAX_EVENTS,
      returnImmediately: true,
      ...(before.acks.length > 0 && { ack: before.acks }),
      ...(Object.keys(before.setErrs).length > 0 && { setErrs: before.setErrs }),
    }),
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
    signal,
  });
  if (status !== 200) throw new DialFault('dial_status', `the poll endpoint answered ${status}`, { status });
  const parsed = parseStrictJson(body, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 8, maxMembers: 10_000 });
  if (!parsed.ok || !isJsonObject(parsed.value))
    throw new DialFault('dial_not_json', 'the poll endpoint sent no strict JSON object');
  const { sets, moreAvailable } = parsed.value;
  if (sets !== undefined && !isJsonObject(sets)) throw new DialFault('dial_not_json', 'sets is no object');

  const acks: string[] = [];
  const setErrs: Record<string, { err: string; description: string }> = Object.create(null) as Record<string, never>;
  let later = false;
  for (const [id, set] of Object.entries(sets ?? {}).slice(0, 2 * MAX_EVENTS)) {
    if (signal.aborted) break;
    if (typeof set !== 'string') {
      setErrs[id] = { err: 'invalid_request', description: 'the token must be a text' };
      await receiver.refused(stream, 'invalid_request', 'the token must be a text');
      continue;
    }
    const received = await receiver.receive(stream, set);
    if (received.kind === 'unavailable') later = true;
    else if (received.kind === 'refused') setErrs[id] = { err: received.code, description: received.description };
    // The name in the answer is what is acknowledged, but it must be the token's own: else one name could acknowledge another's token.
    else if (received.tokenId === id) acks.push(id);
    else setErrs[id] = { err: 'invalid_request', description: 'the name in sets is not the jti of the token' };
  }
  await receiver.contact(stream);
  return { acks, setErrs, more: moreAvailable === true && !later };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, ms);
  const stop = (): void => over.resolve();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  await over.promise;
  clearTimeout(timer);
  signal.removeEventListener('abort', stop);
}
