/**
 * What traces have received (decision 0012, AZ-10): output that strangers may have written, data above the threshold. A label belongs to the
 * person with the agent, for at least `windowMs` after the last such output, whatever session or trace id a call then names; and to the
 * session in which it came, for as long as a session can last. What a call is judged by is the union over the agent and those it acts for.
 * Labels lie in the exchange, so every node sees them and a restart forgets none; `mark` resolves once they do. Kept in memory is what this
 * node wrote or read, bounded: whom it forgot is read again. Of one person with one agent at most MAX_SESSIONS are told apart: when one
 * more comes, the oldest is forgotten and all they do counts as labelled until that session would have ended.
 * A W3C trace that its client names joins agents: labels are written to it and read from it, too, within the organisation. It only ever adds
 * some: who leaves it out, or names another one, has those of the person with the agent. One caller begins at most MAX_TRACES in a window.
 * Beside the labels stand the servers that traces got something from, while a policy asks for them, and the nodes that passed confidential
 * or regulated data on: text is remembered by each node for itself (trace-reads.ts), and another one must know that it does not know it.
 */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import type { Json } from '../lib/json.ts';
import { readBy } from '../policy/decide.ts';
import {
  ALL_BITS,
  BIT,
  CONFIDENTIAL,
  COPIED,
  FROM,
  LABELS,
  NO_LABELS,
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
import { traceReads } from './trace-reads.ts';
import type { Source } from './trace-reads.ts';

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
  /** Servers that gave something. */
  from: z.record(z.string(), z.number()).default({}),
  /** Nodes, each since its start, that passed on data whose text they remember for themselves. */
  nodes: z.record(z.string(), z.number()).default({}),
  /** Of a W3C trace: agents, by their keys, whose fingerprints have that text. */
  readers: z.record(z.string(), z.number()).exactOptional(),
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
  /** W3C traces that join it with other agents, each with its organisation. */
  readonly joins: readonly string[];
}

/** What a trace has received before. */
export interface Received {
  readonly labels: Labels;
  /** Servers, as far as `mark` was told. */
  readonly from: readonly string[];
  /** Text of confidential or regulated data that this node cannot recognise: another one passed it on, or it had to be forgotten. */
  readonly unknownText: boolean;
  /** Whose fingerprints this node compares with. */
  readonly books: readonly string[];
  /** What of it another agent received, and not this one; null: nothing. */
  readonly joined: { readonly labels: Labels; readonly from: readonly string[] } | null;
}

export interface MarkedWith {
  /** The server that gives it. */
  readonly from: string | null;
  /** `remember` is called with what comes of it. */
  readonly remembered: boolean;
}

export interface TraceLabels {
  /** As far as this node knows. */
  peek(trace: Trace): Received;
  /** As all nodes know, at least of what the bits `wanted` name. @throws what the exchange throws. */
  load(trace: Trace, wanted?: number): Promise<Received>;
  /** Null: it was labelled so already. Resolves once every `load` sees it; rejects when that cannot be had: then nothing may leave. */
  mark(trace: Trace, given: SomeLabels, more?: MarkedWith): Promise<void> | null;
  /** Keeps fingerprints of what a server gave, so that it is recognised in what goes to another one. `given`: what it was sent. */
  remember(trace: Trace, source: Source, value: Json, given: Json): void;
  /** Sources, each once, of which there is some text in what goes out. `books`: as it was received. */
  recognise(books: readonly string[], value: Json): readonly Source[];
}

export const MAX_SESSIONS = 256;
/** W3C traces that one person with one agent may begin in one window, on one node. What comes in others is labelled as if none was named. */
export const MAX_TRACES = 1_024;
const MAX_KNOWN = 10_000;
/** Of W3C traces: what some thirty callers may begin. */
const MAX_KNOWN_TRACES = 32_768;
const NEVER: Ends = { untrusted: 0, private: 0, confidential: 0, regulated: 0, secret: 0 };
const NOTHING: Kept = Object.freeze({ ...NEVER, from: {}, nodes: {}, sessions: [] });
const NONE: readonly string[] = Object.freeze([]);
export const NOTHING_RECEIVED: Received = Object.freeze({
  labels: NO_LABELS,
  from: NONE,
  unknownText: false,
  books: NONE,
  joined: null,
});
/** More nodes than this in one window are one. */
const MAX_NODES = 32;
/** More agents than this that got confidential data in one W3C trace are one that nobody knows: comparing with each costs. */
const MAX_READERS = 8;

/** Of a call whose caller and person are established. */
export function traceOf(call: Call): Trace {
  const { clientId, actChain } = known(call, 'caller');
  return {
    person: known(call, 'person').id,
    agent: clientId,
    actors: actChain,
    session: call.facts.session?.nonce ?? null,
    joins: joinsOf(call),
  };
}

/** The trace that the client names, never one that the gateway began for itself; and the one in which the task began that this is about. */
function joinsOf({ endpoint: { org }, message, facts: { task } }: Call): readonly string[] {
  const named = message.meta.trace?.traceId;
  const begun = task?.trace;
  if (begun === undefined || begun === named) return named === undefined ? NONE : [`${org}\n${named}`];
  return named === undefined ? [`${org}\n${begun}`] : [`${org}\n${named}`, `${org}\n${begun}`];
}

/**
 * Labels the trace of this call with what its item gives, before it is asked; and again with what detectors found in what it gave
 * (`found`), before that leaves: they add labels and take none away. Null: nothing to wait for. Rejects: then nothing may leave.
 */
export function labelled(call: Call, traces: TraceLabels, found?: SomeLabels): Promise<void> | null {
  const { gives, facts } = known(call, 'tool');
  const bits = (gives === null ? 0 : labelBits(gives)) | (found === undefined ? 0 : labelBits(found));
  const from = asksFor(call, FROM) ? facts!.server : null;
  if (bits === 0 && from === null) return null;
  return traces.mark(traceOf(call), labelsOf(bits), { from, remembered: asksFor(call, COPIED) });
}

/** Remembers what the server of this call gave, where its data are above the threshold and some policy asks for copies. */
export function remember(call: Call, traces: TraceLabels, value: Json): void {
  const { gives, facts } = known(call, 'tool');
  if (gives === null || !(gives.confidential || gives.regulated) || !asksFor(call, COPIED)) return;
  const { confidential, regulated } = gives;
  traces.remember(traceOf(call), { server: facts!.server, confidential, regulated }, value, call.facts.arguments ?? {});
}

const asksFor = ({ snapshot: { policies } }: Call, bit: number): boolean =>
  policies !== null && (readBy(policies) & bit) !== 0;

/** INVARIANT: no id of a person holds a line break, so no two of them share a key. */
const keyOf = (person: string, agent: string): string => `${person}\n${agent}`;
/** INVARIANT: no id of a person is empty, so no trace shares a key with one. */
const joinKey = (join: string): string => `\n${join}`;
const isJoin = (key: string): boolean => key.startsWith('\n');

export function traceLabels(exchange: SealedExchange, clock: Clock, windowMs: number): TraceLabels {
  // Not written anew with every call: a label may last this much longer than it must.
  const slackMs = windowMs / 8;
  const ofAgents = new LRUCache<string, Kept>({ max: MAX_KNOWN });
  const ofTraces = new LRUCache<string, Kept>({ max: MAX_KNOWN_TRACES });
  const memoryOf = (key: string): typeof ofAgents => (isJoin(key) ? ofTraces : ofAgents);
  const begun = new LRUCache<string, { readonly until: number; traces: number }>({ max: MAX_KNOWN });
  const me = randomUUID();
  const reads = traceReads(clock);
  const writing = new Map<string, Promise<void>>();
  const topicOf = (key: string): Topic<Kept> => exchange.topicOf(`labels/${sha256Hex(key)}`, Kept);

  async function read(key: string): Promise<{ readonly seq: number; readonly kept: Kept }> {
    const latest = await topicOf(key).latest();
    const mine = memoryOf(key).get(key);
    const kept = latest ? (mine ? union(mine, latest.value) : latest.value) : (mine ?? NOTHING);
    if (kept !== NOTHING) memoryOf(key).set(key, kept);
    return { seq: latest?.seq ?? 0, kept };
  }

  /** `until` null: from now on for the window. */
  async function write(key: string, session: string | null, given: Given, until: number | null): Promise<void> {
    for (let tries = 1; tries <= 10; tries++) {
      const { seq, kept } = await read(key);
      const now = clock.now();
      // Another node was first.
      if (covers(kept, session, given, now, windowMs)) return;
      const next = withLabels(kept, session, given, now, until ?? now + windowMs + slackMs);
      const expiresAt = Math.max(lastOf(next), ...next.sessions.map(endOf));
      // What stands there and cannot be opened (its key is gone) is written over in the end.
      const expect = tries === 10 && seq === 0 ? {} : { expect: seq };
      if ((await topicOf(key).append([next], { expiresAt, ...expect, replaces: true })) === null) continue;
      memoryOf(key).set(key, next);
      return;
    }
    throw new Fault('labels_contended', 'the labels of this trace keep changing');
  }

  function markOne(
    key: string,
    session: string | null,
    given: Given,
    until: number | null = null,
  ): Promise<void> | null {
    const covered = (): boolean => {
      const kept = memoryOf(key).get(key);
      return kept !== undefined && covers(kept, session, given, clock.now(), windowMs);
    };
    if (covered()) return null;
    const before = writing.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => (covered() ? undefined : write(key, session, given, until)));
    writing.set(key, mine);
    const ended = (): void => {
      if (writing.get(key) === mine) writing.delete(key);
    };
    mine.then(ended, ended);
    return mine;
  }

  /** ATTACKER-CONTROLLED: which traces a caller names, a new one with every call. So each has a share, and takes from nobody else's. */
  function mayName(key: string, caller: string): boolean {
    const now = clock.now();
    const kept = ofTraces.get(key);
    if (kept !== undefined && lastOf(kept) > now) return true;
    const share = begun.get(caller);
    if (share === undefined || share.until <= now) begun.set(caller, { until: now + windowMs, traces: 1 });
    else if (share.traces >= MAX_TRACES) return false;
    else share.traces++;
    return true;
  }

  const agentsOf = ({ person, agent, actors }: Trace): readonly string[] =>
    actors.length === 0 ? [keyOf(person, agent)] : [agent, ...actors].map((one) => keyOf(person, one));
  /** Agents first. */
  const keysOf = (trace: Trace): readonly string[] =>
    trace.joins.length === 0 ? agentsOf(trace) : [...agentsOf(trace), ...trace.joins.map(joinKey)];

  function received(keys: readonly string[], kept: ReadonlyArray<Kept | undefined>, session: string | null): Received {
    const now = clock.now();
    let bits = 0;
    let joinedBits = 0;
    let from = NONE;
    let joinedFrom = NONE;
    let books: readonly string[] = keys.filter((key) => !isJoin(key));
    let unknownText = false;
    for (const [at, one] of kept.entries()) {
      if (one === undefined) continue;
      const key = keys[at]!;
      const join = isJoin(key);
      if (join) joinedBits |= lasting(one, now);
      else bits |= bitsAt(one, session, now);
      for (const server of lastingNames(one.from, now)) {
        if (from.includes(server) || joinedFrom.includes(server)) continue;
        if (join) joinedFrom = [...joinedFrom, server];
        else from = [...from, server];
      }
      const readers = join ? lastingNames(one.readers ?? {}, now) : [key];
      books = [...books, ...readers.filter((reader) => !books.includes(reader))];
      const nodes = lastingNames(one.nodes, now);
      const whole = (): boolean => readers.length > 0 && readers.every((reader) => reads.whole(reader));
      unknownText ||= nodes.some((node) => node !== me || !whole());
    }
    joinedBits &= ~bits;
    bits |= joinedBits;
    if (bits === 0 && from.length === 0 && joinedFrom.length === 0) return NOTHING_RECEIVED;
    const joined =
      joinedBits === 0 && joinedFrom.length === 0 ? null : { labels: labelsOf(joinedBits), from: joinedFrom };
    return {
      labels: labelsOf(bits),
      from: joinedFrom.length === 0 ? from : [...from, ...joinedFrom],
      unknownText,
      books,
      joined,
    };
  }

  const isKnown = (key: string): boolean => memoryOf(key).has(key);

  function peek(trace: Trace): Received {
    const keys = keysOf(trace);
    if (!keys.some(isKnown)) return NOTHING_RECEIVED;
    return received(
      keys,
      keys.map((key) => memoryOf(key).get(key)),
      trace.session,
    );
  }

  return {
    peek,
    async load(trace, wanted = ALL_BITS | COPIED | FROM) {
      const mine = peek(trace);
      const known = labelBits(mine.labels) | (mine.unknownText ? COPIED : 0);
      if ((known & wanted) === wanted) return mine;
      const keys = keysOf(trace);
      const all = await Promise.all(keys.map(read));
      return received(
        keys,
        all.map(({ kept }) => kept),
        trace.session,
      );
    },
    remember(trace, source, value, given) {
      const until = clock.now() + windowMs + slackMs;
      for (const key of agentsOf(trace)) reads.remember(key, source, value, given, until);
    },
    recognise: (books, value) => reads.recognise(books, value),
    mark(trace, found, more) {
      const { person, agent, actors, session, joins } = trace;
      const bits = labelBits(found);
      const labels = labelsOf(bits);
      const node = labels.confidential || labels.regulated ? me : undefined;
      // Before it is asked: a call that fails, or is still under way, leaves nothing to recognise.
      if (node !== undefined && more?.remembered) for (const key of agentsOf(trace)) reads.open(key);
      const given = { labels, from: more?.from ?? undefined, node };
      const own = keyOf(person, agent);
      const first = markOne(own, session, given);
      if (actors.length === 0 && joins.length === 0) return first;
      const all = [first, ...actors.map((actor) => markOne(keyOf(person, actor), session, given))];
      if (joins.length > 0) {
        // Not longer than the agent's own: what a trace knows and the agent does not, another agent received.
        const until =
          first === null ? leastEnd(ofAgents.get(own)!, bits, given.from) : clock.now() + windowMs + slackMs;
        const told = node === undefined ? given : { ...given, reader: own };
        for (const key of joins.map(joinKey)) if (mayName(key, own)) all.push(markOne(key, null, told, until));
      }
      const waits = all.filter((one) => one !== null);
      return waits.length === 0 ? null : Promise.all(waits).then(() => undefined);
    },
  };
}

const endOf = (ends: Ends): number =>
  Math.max(ends.untrusted, ends.private, ends.confidential, ends.regulated, ends.secret);

/** Sessions aside. */
const lastOf = (kept: Kept): number => Math.max(endOf(kept), ...Object.values(kept.from));

/** When the first of these ends. */
const leastEnd = (kept: Kept, bits: number, from: string | undefined): number =>
  Math.min(
    ...LABELS.filter((label) => (bits & BIT[label]) !== 0).map((label) => kept[label]),
    ...(from === undefined ? [] : [kept.from[from]!]),
  );

/** Labels that last longer than `at`. */
const lasting = (ends: Ends, at: number): number =>
  (ends.untrusted > at ? UNTRUSTED : 0) |
  (ends.private > at ? PRIVATE : 0) |
  (ends.confidential > at ? CONFIDENTIAL : 0) |
  (ends.regulated > at ? REGULATED : 0) |
  (ends.secret > at ? SECRET : 0);

const lastingNames = (ends: UntilBy, at: number): readonly string[] =>
  Object.keys(ends).filter((name) => ends[name]! > at);

function bitsAt(kept: Kept | undefined, session: string | null, now: number): number {
  if (kept === undefined) return 0;
  const own = session === null ? undefined : kept.sessions.find(({ id }) => id === session);
  return lasting(kept, now) | (own === undefined ? 0 : lasting(own, now));
}

/** What is to be written down: labels, the server it came from, the node that remembers its text. */
interface Given {
  readonly labels: Labels;
  readonly from: string | undefined;
  readonly node: string | undefined;
  /** To a W3C trace: the agent whose fingerprints have it. */
  readonly reader?: string;
}

/** Whether writing it down anew would change nothing that must be so. */
function covers(kept: Kept, session: string | null, given: Given, now: number, windowMs: number): boolean {
  const wanted = labelBits(given.labels);
  const until = now + windowMs;
  // Until the end of the window or longer: `lasting` asks for longer.
  if ((lasting(kept, until - 1) & wanted) !== wanted) return false;
  if (given.from !== undefined && !((kept.from[given.from] ?? 0) >= until)) return false;
  if (given.node !== undefined && !((kept.nodes[given.node] ?? 0) >= until)) return false;
  if (given.reader !== undefined && !knows(kept.readers ?? {}, given.reader, until)) return false;
  if (session === null) return true;
  const own = kept.sessions.find(({ id }) => id === session);
  return wanted === 0 || (own !== undefined && (lasting(own, now) & wanted) === wanted);
}

function withLabels(kept: Kept, session: string | null, given: Given, now: number, until: number): Kept {
  const ends = {
    ...later(kept, given.labels, until),
    from: given.from === undefined ? kept.from : withEnd(kept.from, given.from, now, until),
    nodes: given.node === undefined ? kept.nodes : fewer(withEnd(kept.nodes, given.node, now, until), MAX_NODES),
    ...withReader(kept.readers, given.reader, now, until),
  };
  if (session === null) return { ...ends, sessions: kept.sessions };
  const sessions = kept.sessions.filter((one) => one.id !== session && endOf(one) > now);
  const before = kept.sessions.find(({ id }) => id === session);
  // No session is older than SESSION_MS, so none outlives this.
  sessions.push({ id: session, ...later(before ?? NEVER, given.labels, now + SESSION_MS) });
  const gone = sessions.splice(0, Math.max(sessions.length - MAX_SESSIONS, 0));
  return { ...ends, ...gone.reduce(latest, ends), sessions };
}

/** Among those that nobody tells apart any more it need not be named. */
const knows = (readers: UntilBy, reader: string, until: number): boolean =>
  (readers[reader] ?? 0) >= until || (readers[''] ?? 0) >= until;

type UntilBy = Readonly<Record<string, number>>;

/** Without what is over; nothing ends earlier than it did. */
const withEnd = (ends: UntilBy, name: string, now: number, until: number): Record<string, number> => ({
  ...Object.fromEntries(Object.entries(ends).filter(([, end]) => end > now)),
  [name]: Math.max(until, ends[name] ?? 0),
});

const withReader = (before: UntilBy | undefined, reader: string | undefined, now: number, until: number) => {
  if (reader !== undefined) return { readers: fewer(withEnd(before ?? {}, reader, now, until), MAX_READERS) };
  return before && { readers: before };
};

/** Nodes that start again and again: those that end first become one that nobody is. */
function fewer(names: UntilBy, atMost: number): Record<string, number> {
  const sorted = Object.entries(names).toSorted(([, a], [, b]) => b - a);
  const [kept, others] = [sorted.slice(0, atMost), sorted.slice(atMost)];
  return { ...Object.fromEntries(kept), ...(others.length > 0 && { '': Math.max(...others.map(([, end]) => end)) }) };
}

/** What two have written at the same time. */
function union(one: Kept, other: Kept): Kept {
  if (one === other) return one;
  const sessions = new Map(one.sessions.map((entry) => [entry.id, entry]));
  for (const entry of other.sessions) {
    const mine = sessions.get(entry.id);
    sessions.set(entry.id, mine ? { id: entry.id, ...latest(mine, entry) } : entry);
  }
  const from = laterBy(one.from, other.from);
  const nodes = laterBy(one.nodes, other.nodes);
  const readers = (one.readers ?? other.readers) && { readers: laterBy(one.readers ?? {}, other.readers ?? {}) };
  return { ...latest(one, other), from, nodes, ...readers, sessions: [...sessions.values()] };
}

const laterBy = (one: UntilBy, other: UntilBy): Record<string, number> => {
  const both = { ...one };
  for (const [name, end] of Object.entries(other)) both[name] = Math.max(end, both[name] ?? 0);
  return both;
};

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
