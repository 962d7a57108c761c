/**
 * What traces have received (decision 0012, AZ-10): output that strangers may have written, data above the threshold. A label belongs to the
 * person with the agent, for at least `windowMs` after the last such output, whatever session or trace id a call then names; and to the
 * session in which it came, for as long as a session can last. What a call is judged by is the union over the agent and those it acts for.
 * Labels lie in the exchange, so every node sees them and a restart forgets none; `mark` resolves once they do. Kept in memory is what this
 * node wrote or read, bounded: whom it forgot is read again. Of one person with one agent at most MAX_SESSIONS are told apart: when one
 * more comes, the oldest is forgotten and all they do counts as labelled until that session would have ended.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import type { Labels } from '../policy/request.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { SealedExchange, Topic } from './exchange-box.ts';
import { NO_LABELS } from './question.ts';
import { SESSION_MS } from './session-book.ts';

/** Until when, ms since the epoch; 0: not at all. */
const Ends = { untrusted: z.number(), private: z.number() };
const Kept = z.strictObject({
  ...Ends,
  /** The one labelled longest ago first. */
  sessions: z.array(z.strictObject({ id: z.string(), ...Ends })),
});
type Kept = z.infer<typeof Kept>;

/** Whose trace a call belongs to. */
export interface Trace {
  readonly person: string;
  /** OAuth client id. */
  readonly agent: string;
  /** Clients it acts for. */
  readonly actors: readonly string[];
  /** Nonce of a legacy session; a modern client has none. */
  readonly session: string | null;
}

export interface TraceLabels {
  /** As far as this node knows. */
  peek(trace: Trace): Labels;
  /** As all nodes know. @throws what the exchange throws. */
  load(trace: Trace): Promise<Labels>;
  /** Null: it was labelled so already. Resolves once every `load` sees it; rejects when that cannot be had: then nothing may leave. */
  mark(trace: Trace, given: Labels): Promise<void> | null;
}

export const MAX_SESSIONS = 256;
const MAX_KNOWN = 10_000;
const NOTHING: Kept = Object.freeze({ untrusted: 0, private: 0, sessions: [] });
const BOTH: Labels = Object.freeze({ untrusted: true, private: true });
const UNTRUSTED: Labels = Object.freeze({ untrusted: true, private: false });
const PRIVATE: Labels = Object.freeze({ untrusted: false, private: true });

const labelsFrom = (untrusted: boolean, reserved: boolean): Labels =>
  untrusted ? (reserved ? BOTH : UNTRUSTED) : reserved ? PRIVATE : NO_LABELS;

/** Of a call whose caller and person are established. */
export function traceOf(call: Call): Trace {
  const { clientId, actChain } = known(call, 'caller');
  return {
    person: known(call, 'person').id,
    agent: clientId,
    actors: actChain,
    session: call.facts.session?.nonce ?? null,
  };
}

/** Labels the trace of this call with what its item gives. Null: nothing to wait for. */
export function labelled(call: Call, traces: TraceLabels): Promise<void> | null {
  const { gives } = known(call, 'tool');
  return gives === null ? null : traces.mark(traceOf(call), gives);
}

/** INVARIANT: no id of a person holds a line break, so no two of them share a key. */
const keyOf = (person: string, agent: string): string => `${person}\n${agent}`;

export function traceLabels(exchange: SealedExchange, clock: Clock, windowMs: number): TraceLabels {
  // Not written anew with every call: a label may last this much longer than it must.
  const slackMs = windowMs / 8;
  const local = new LRUCache<string, Kept>({ max: MAX_KNOWN });
  const writing = new Map<string, Promise<void>>();
  const topicOf = (key: string): Topic<Kept> => exchange.topicOf(`labels/${sha256Hex(key)}`, Kept);

  async function read(key: string): Promise<{ readonly seq: number; readonly kept: Kept }> {
    const latest = await topicOf(key).latest();
    const mine = local.get(key);
    const kept = latest ? (mine ? union(mine, latest.value) : latest.value) : (mine ?? NOTHING);
    if (kept !== NOTHING) local.set(key, kept);
    return { seq: latest?.seq ?? 0, kept };
  }

  async function write(key: string, session: string | null, given: Labels): Promise<void> {
    for (let tries = 1; tries <= 10; tries++) {
      const { seq, kept } = await read(key);
      const now = clock.now();
      const next = withLabels(kept, session, given, now, now + windowMs + slackMs);
      const expiresAt = Math.max(endOf(next), ...next.sessions.map(endOf));
      // What stands there and cannot be opened (its key is gone) is written over in the end.
      const expect = tries === 10 && seq === 0 ? {} : { expect: seq };
      if ((await topicOf(key).append([next], { expiresAt, ...expect, replaces: true })) === null) continue;
      local.set(key, next);
      return;
    }
    throw new Fault('labels_contended', 'the labels of this trace keep changing');
  }

  function markOne(key: string, session: string | null, given: Labels): Promise<void> | null {
    const kept = local.get(key);
    if (kept && covers(kept, session, given, clock.now(), windowMs)) return null;
    const before = writing.get(key) ?? Promise.resolve();
    const mine = before
      .catch(() => undefined)
      .then(() => {
        const now = local.get(key);
        return now && covers(now, session, given, clock.now(), windowMs) ? undefined : write(key, session, given);
      });
    writing.set(key, mine);
    const ended = (): void => {
      if (writing.get(key) === mine) writing.delete(key);
    };
    mine.then(ended, ended);
    return mine;
  }

  function seen({ person, agent, actors, session }: Trace): Labels {
    const now = clock.now();
    let found = labelsAt(local.get(keyOf(person, agent)), session, now);
    for (const actor of actors) {
      const theirs = labelsAt(local.get(keyOf(person, actor)), session, now);
      found = labelsFrom(found.untrusted || theirs.untrusted, found.private || theirs.private);
    }
    return found;
  }

  return {
    peek: seen,
    async load(trace) {
      const mine = seen(trace);
      if (mine.untrusted && mine.private) return mine;
      const { person, agent, actors, session } = trace;
      const all = await Promise.all([agent, ...actors].map((one) => read(keyOf(person, one))));
      const now = clock.now();
      const labels = all.map(({ kept }) => labelsAt(kept, session, now));
      return labelsFrom(
        labels.some(({ untrusted }) => untrusted),
        labels.some((one) => one.private),
      );
    },
    mark({ person, agent, actors, session }, given) {
      const first = markOne(keyOf(person, agent), session, given);
      if (actors.length === 0) return first;
      const all = [first, ...actors.map((actor) => markOne(keyOf(person, actor), session, given))];
      const waits = all.filter((one) => one !== null);
      return waits.length === 0 ? null : Promise.all(waits).then(() => undefined);
    },
  };
}

const endOf = (ends: { readonly untrusted: number; readonly private: number }): number =>
  Math.max(ends.untrusted, ends.private);

function labelsAt(kept: Kept | undefined, session: string | null, now: number): Labels {
  if (kept === undefined) return NO_LABELS;
  const own = session === null ? undefined : kept.sessions.find(({ id }) => id === session);
  return labelsFrom(
    kept.untrusted > now || (own?.untrusted ?? 0) > now,
    kept.private > now || (own?.private ?? 0) > now,
  );
}

/** Whether writing it down anew would change nothing that must be so. */
function covers(kept: Kept, session: string | null, given: Labels, now: number, windowMs: number): boolean {
  const until = now + windowMs;
  if ((given.untrusted && kept.untrusted < until) || (given.private && kept.private < until)) return false;
  if (session === null) return true;
  const own = kept.sessions.find(({ id }) => id === session);
  return own !== undefined && (!given.untrusted || own.untrusted > now) && (!given.private || own.private > now);
}

function withLabels(kept: Kept, session: string | null, given: Labels, now: number, until: number): Kept {
  let untrusted = given.untrusted ? Math.max(kept.untrusted, until) : kept.untrusted;
  let reserved = given.private ? Math.max(kept.private, until) : kept.private;
  if (session === null) return { untrusted, private: reserved, sessions: kept.sessions };
  const sessions = kept.sessions.filter((one) => one.id !== session && endOf(one) > now);
  const before = kept.sessions.find(({ id }) => id === session);
  sessions.push({
    id: session,
    // No session is older than SESSION_MS, so none outlives this.
    untrusted: given.untrusted ? now + SESSION_MS : (before?.untrusted ?? 0),
    private: given.private ? now + SESSION_MS : (before?.private ?? 0),
  });
  for (const gone of sessions.splice(0, Math.max(sessions.length - MAX_SESSIONS, 0))) {
    untrusted = Math.max(untrusted, gone.untrusted);
    reserved = Math.max(reserved, gone.private);
  }
  return { untrusted, private: reserved, sessions };
}

/** What two have written at the same time. */
function union(one: Kept, other: Kept): Kept {
  if (one === other) return one;
  const sessions = new Map(one.sessions.map((entry) => [entry.id, entry]));
  for (const entry of other.sessions) {
    const mine = sessions.get(entry.id);
    sessions.set(entry.id, mine ? { ...entry, ...later(mine, entry) } : entry);
  }
  return { ...later(one, other), sessions: [...sessions.values()] };
}

type Both = { readonly untrusted: number; readonly private: number };
const later = (one: Both, other: Both): { untrusted: number; private: number } => ({
  untrusted: Math.max(one.untrusted, other.untrusted),
  private: Math.max(one.private, other.private),
});
