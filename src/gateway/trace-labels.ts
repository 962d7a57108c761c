/**
 * What traces have received (decision 0012, AZ-10): output that strangers may have written, data above the threshold. A label belongs to the
 * person with the agent, for at least `windowMs` after the last such output, whatever session or trace id a call then names; and to the
 * session in which it came, for as long as a session can last. What a call is judged by is the union over the agent and those it acts for.
 * Labels lie in the exchange, so every node sees them and a restart forgets none; `mark` resolves once they do. Kept in memory is what this
 * node wrote or read, bounded: whom it forgot is read again. Of one person with one agent at most MAX_SESSIONS are told apart: when one
 * more comes, the oldest is forgotten and all they do counts as labelled until that session would have ended.
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
  CONFIDENTIAL,
  COPIED,
  FROM,
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

/** What a trace has received before. */
export interface Received {
  readonly labels: Labels;
  /** Servers, as far as `mark` was told. */
  readonly from: readonly string[];
  /** Text of confidential or regulated data that this node cannot recognise: another one passed it on, or it had to be forgotten. */
  readonly unknownText: boolean;
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
  /** Sources, each once, of which there is some text in what goes out. */
  recognise(trace: Trace, value: Json): readonly Source[];
}

export const MAX_SESSIONS = 256;
const MAX_KNOWN = 10_000;
const NEVER: Ends = { untrusted: 0, private: 0, confidential: 0, regulated: 0, secret: 0 };
const NOTHING: Kept = Object.freeze({ ...NEVER, from: {}, nodes: {}, sessions: [] });
export const NOTHING_RECEIVED: Received = Object.freeze({ labels: NO_LABELS, from: [], unknownText: false });
/** More nodes than this in one window are one. */
const MAX_NODES = 32;

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

export function traceLabels(exchange: SealedExchange, clock: Clock, windowMs: number): TraceLabels {
  // Not written anew with every call: a label may last this much longer than it must.
  const slackMs = windowMs / 8;
  const local = new LRUCache<string, Kept>({ max: MAX_KNOWN });
  const me = randomUUID();
  const reads = traceReads(clock);
  const writing = new Map<string, Promise<void>>();
  const topicOf = (key: string): Topic<Kept> => exchange.topicOf(`labels/${sha256Hex(key)}`, Kept);

  async function read(key: string): Promise<{ readonly seq: number; readonly kept: Kept }> {
    const latest = await topicOf(key).latest();
    const mine = local.get(key);
    const kept = latest ? (mine ? union(mine, latest.value) : latest.value) : (mine ?? NOTHING);
    if (kept !== NOTHING) local.set(key, kept);
    return { seq: latest?.seq ?? 0, kept };
  }

  async function write(key: string, session: string | null, given: Given): Promise<void> {
    for (let tries = 1; tries <= 10; tries++) {
      const { seq, kept } = await read(key);
      const now = clock.now();
      const next = withLabels(kept, session, given, now, now + windowMs + slackMs);
      const expiresAt = Math.max(endOf(next), ...Object.values(next.from), ...next.sessions.map(endOf));
      // What stands there and cannot be opened (its key is gone) is written over in the end.
      const expect = tries === 10 && seq === 0 ? {} : { expect: seq };
      if ((await topicOf(key).append([next], { expiresAt, ...expect, replaces: true })) === null) continue;
      local.set(key, next);
      return;
    }
    throw new Fault('labels_contended', 'the labels of this trace keep changing');
  }

  function markOne(key: string, session: string | null, given: Given): Promise<void> | null {
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

  const keysOf = ({ person, agent, actors }: Trace): readonly string[] =>
    actors.length === 0 ? [keyOf(person, agent)] : [agent, ...actors].map((one) => keyOf(person, one));

  function received(keys: readonly string[], kept: ReadonlyArray<Kept | undefined>, session: string | null): Received {
    const now = clock.now();
    let bits = 0;
    let from: readonly string[] = NOTHING_RECEIVED.from;
    let unknownText = false;
    for (const [at, one] of kept.entries()) {
      if (one === undefined) continue;
      bits |= bitsAt(one, session, now);
      for (const [server, until] of Object.entries(one.from))
        if (until > now && !from.includes(server)) from = [...from, server];
      for (const [node, until] of Object.entries(one.nodes))
        unknownText ||= until > now && (node !== me || !reads.whole(keys[at]!));
    }
    return bits === 0 && from.length === 0 ? NOTHING_RECEIVED : { labels: labelsOf(bits), from, unknownText };
  }

  function peek(trace: Trace): Received {
    const keys = keysOf(trace);
    if (keys.length === 1 && !local.has(keys[0]!)) return NOTHING_RECEIVED;
    return received(
      keys,
      keys.map((key) => local.get(key)),
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
      for (const key of keysOf(trace)) reads.remember(key, source, value, given, until);
    },
    recognise(trace, value) {
      const found = keysOf(trace).flatMap((key) => reads.recognise(key, value));
      return found.filter(({ server }, at) => found.findIndex((other) => other.server === server) === at);
    },
    mark(trace, found, more) {
      const { person, agent, actors, session } = trace;
      const labels = labelsOf(labelBits(found));
      const node = labels.confidential || labels.regulated ? me : undefined;
      // Before it is asked: a call that fails, or is still under way, leaves nothing to recognise.
      if (node !== undefined && more?.remembered) for (const key of keysOf(trace)) reads.open(key);
      const given = { labels, from: more?.from ?? undefined, node };
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

/** What is to be written down: labels, the server it came from, the node that remembers its text. */
interface Given {
  readonly labels: Labels;
  readonly from: string | undefined;
  readonly node: string | undefined;
}

/** Whether writing it down anew would change nothing that must be so. */
function covers(kept: Kept, session: string | null, given: Given, now: number, windowMs: number): boolean {
  const wanted = labelBits(given.labels);
  const until = now + windowMs;
  // Until the end of the window or longer: `lasting` asks for longer.
  if ((lasting(kept, until - 1) & wanted) !== wanted) return false;
  if (given.from !== undefined && !((kept.from[given.from] ?? 0) >= until)) return false;
  if (given.node !== undefined && !((kept.nodes[given.node] ?? 0) >= until)) return false;
  if (session === null) return true;
  const own = kept.sessions.find(({ id }) => id === session);
  return wanted === 0 || (own !== undefined && (lasting(own, now) & wanted) === wanted);
}

function withLabels(kept: Kept, session: string | null, given: Given, now: number, until: number): Kept {
  const ends = {
    ...later(kept, given.labels, until),
    from: given.from === undefined ? kept.from : withEnd(kept.from, given.from, now, until),
    nodes: given.node === undefined ? kept.nodes : fewer(withEnd(kept.nodes, given.node, now, until)),
  };
  if (session === null) return { ...ends, sessions: kept.sessions };
  const sessions = kept.sessions.filter((one) => one.id !== session && endOf(one) > now);
  const before = kept.sessions.find(({ id }) => id === session);
  // No session is older than SESSION_MS, so none outlives this.
  sessions.push({ id: session, ...later(before ?? NEVER, given.labels, now + SESSION_MS) });
  const gone = sessions.splice(0, Math.max(sessions.length - MAX_SESSIONS, 0));
  return { ...ends, ...gone.reduce(latest, ends), sessions };
}

type UntilBy = Readonly<Record<string, number>>;

/** Without what is over. */
const withEnd = (ends: UntilBy, name: string, now: number, until: number): Record<string, number> => ({
  ...Object.fromEntries(Object.entries(ends).filter(([, end]) => end > now)),
  [name]: until,
});

/** Nodes that start again and again: those that end first become one that nobody is. */
function fewer(nodes: UntilBy): Record<string, number> {
  const sorted = Object.entries(nodes).toSorted(([, a], [, b]) => b - a);
  const [kept, others] = [sorted.slice(0, MAX_NODES), sorted.slice(MAX_NODES)];
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
  return { ...latest(one, other), from, nodes: laterBy(one.nodes, other.nodes), sessions: [...sessions.values()] };
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
