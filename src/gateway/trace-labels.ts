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
import {
  ALL_BITS,
  CONFIDENTIAL,
  PRIVATE,
  REGULATED,
  SECRET,
  UNTRUSTED,
  labelBits,
  labelsOf,
} from '../policy/labels.ts';
import type { Label, Labels, SomeLabels } from '../policy/labels.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { SealedExchange, Topic } from './exchange-box.ts';
import { SESSION_MS } from './session-book.ts';

/** Until when, ms since the epoch; 0: not at all. The last three are left out of what an earlier release wrote. */
const Ends = {
  untrusted: z.number(),
  private: z.number(),
  confidential: z.number().default(0),
  regulated: z.number().default(0),
  secret: z.number().default(0),
};
const Kept = z.strictObject({
  ...Ends,
  /** The one labelled longest ago first. */
  sessions: z.array(z.strictObject({ id: z.string(), ...Ends })),
});
type Kept = z.infer<typeof Kept>;
type Ends = Readonly<Record<Label, number>>;

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
  /** As all nodes know, at least of the labels whose bits are `wanted`. @throws what the exchange throws. */
  load(trace: Trace, wanted?: number): Promise<Labels>;
  /** Null: it was labelled so already. Resolves once every `load` sees it; rejects when that cannot be had: then nothing may leave. */
  mark(trace: Trace, given: SomeLabels): Promise<void> | null;
}

export const MAX_SESSIONS = 256;
const MAX_KNOWN = 10_000;
const NEVER: Ends = { untrusted: 0, private: 0, confidential: 0, regulated: 0, secret: 0 };
const NOTHING: Kept = Object.freeze({ ...NEVER, sessions: [] });

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

/**
 * Labels the trace of this call with what its item gives, before it is asked; and again with what detectors found in what it gave
 * (`found`), before that leaves: they add labels and take none away. Null: nothing to wait for. Rejects: then nothing may leave.
 */
export function labelled(call: Call, traces: TraceLabels, found?: SomeLabels): Promise<void> | null {
  const { gives } = known(call, 'tool');
  const bits = (gives === null ? 0 : labelBits(gives)) | (found === undefined ? 0 : labelBits(found));
  return bits === 0 ? null : traces.mark(traceOf(call), labelsOf(bits));
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

  function seen({ person, agent, actors, session }: Trace): number {
    const now = clock.now();
    let found = bitsAt(local.get(keyOf(person, agent)), session, now);
    for (const actor of actors) found |= bitsAt(local.get(keyOf(person, actor)), session, now);
    return found;
  }

  return {
    peek: (trace) => labelsOf(seen(trace)),
    async load(trace, wanted = ALL_BITS) {
      const mine = seen(trace);
      if ((mine & wanted) === wanted) return labelsOf(mine);
      const { person, agent, actors, session } = trace;
      const all = await Promise.all([agent, ...actors].map((one) => read(keyOf(person, one))));
      const now = clock.now();
      return labelsOf(all.reduce((found, { kept }) => found | bitsAt(kept, session, now), 0));
    },
    mark({ person, agent, actors, session }, found) {
      const given = labelsOf(labelBits(found));
      const first = markOne(keyOf(person, agent), session, given);
      if (actors.length === 0) return first;
      const all = [first, ...actors.map((actor) => markOne(keyOf(person, actor), session, given))];
      const waits = all.filter((one) => one !== null);
      return waits.length === 0 ? null : Promise.all(waits).then(() => undefined);
    },
  };
}

const endOf = (ends: Ends): number =>
  Math.max(ends.untrusted, ends.private, ends.confidential, ends.regulated, ends.secret);

/** Labels that last longer than `at`. */
const lasting = (ends: Ends, at: number): number =>
  (ends.untrusted > at ? UNTRUSTED : 0) |
  (ends.private > at ? PRIVATE : 0) |
  (ends.confidential > at ? CONFIDENTIAL : 0) |
  (ends.regulated > at ? REGULATED : 0) |
  (ends.secret > at ? SECRET : 0);

function bitsAt(kept: Kept | undefined, session: string | null, now: number): number {
  if (kept === undefined) return 0;
  const own = session === null ? undefined : kept.sessions.find(({ id }) => id === session);
  return lasting(kept, now) | (own === undefined ? 0 : lasting(own, now));
}

/** Whether writing it down anew would change nothing that must be so. */
function covers(kept: Kept, session: string | null, given: Labels, now: number, windowMs: number): boolean {
  const wanted = labelBits(given);
  // Until the end of the window or longer: `lasting` asks for longer.
  if ((lasting(kept, now + windowMs - 1) & wanted) !== wanted) return false;
  if (session === null) return true;
  const own = kept.sessions.find(({ id }) => id === session);
  return own !== undefined && (lasting(own, now) & wanted) === wanted;
}

function withLabels(kept: Kept, session: string | null, given: Labels, now: number, until: number): Kept {
  const ends = later(kept, given, until);
  if (session === null) return { ...ends, sessions: kept.sessions };
  const sessions = kept.sessions.filter((one) => one.id !== session && endOf(one) > now);
  const before = kept.sessions.find(({ id }) => id === session);
  // No session is older than SESSION_MS, so none outlives this.
  sessions.push({ id: session, ...later(before ?? NEVER, given, now + SESSION_MS) });
  const gone = sessions.splice(0, Math.max(sessions.length - MAX_SESSIONS, 0));
  return { ...gone.reduce(latest, ends), sessions };
}

/** What two have written at the same time. */
function union(one: Kept, other: Kept): Kept {
  if (one === other) return one;
  const sessions = new Map(one.sessions.map((entry) => [entry.id, entry]));
  for (const entry of other.sessions) {
    const mine = sessions.get(entry.id);
    sessions.set(entry.id, mine ? { id: entry.id, ...latest(mine, entry) } : entry);
  }
  return { ...latest(one, other), sessions: [...sessions.values()] };
}

const latest = (one: Ends, other: Ends): Record<Label, number> => ({
  untrusted: Math.max(one.untrusted, other.untrusted),
  private: Math.max(one.private, other.private),
  confidential: Math.max(one.confidential, other.confidential),
  regulated: Math.max(one.regulated, other.regulated),
  secret: Math.max(one.secret, other.secret),
});

/** What is given lasts until `until` at least. */
const later = (ends: Ends, given: Labels, until: number): Record<Label, number> =>
  latest(ends, {
    untrusted: given.untrusted ? until : 0,
    private: given.private ? until : 0,
    confidential: given.confidential ? until : 0,
    regulated: given.regulated ? until : 0,
    secret: given.secret ? until : 0,
  });
