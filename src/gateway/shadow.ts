/**
 * Policies in shadow: drafts that are asked about live calls and decide nothing. A call is noted after its guards have run and looked at
 * later, between other work; what does not fit into the queue is dropped and counted. Compared is what the policies in force say of exactly
 * this call with what they would say with the draft in its place, so nothing else can make a difference.
 * What is counted lies in this node's memory, bounded, and goes with the process.
 */
import { withinCeiling } from '../inventory/agents.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import { candidateOf } from '../policy/candidate.ts';
import type { PolicySet } from '../policy/compile.ts';
import { decide } from '../policy/decide.ts';
import type { Question } from '../policy/decide.ts';
import { NO_FLOW } from '../policy/labels.ts';
import { PolicyRecord } from '../policy/records.ts';
import type { StoredRecord } from '../store/state.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import { personFacts, questionOf } from './question.ts';
import { itemNamed, resolveUri } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';

/** Each costs a decision per call. */
export const MOST_SHADOWS = 5;
const MOST_WAITING = 512;
const MOST_WAITING_BYTES = 8_388_608;
const MOST_ROWS = 10_000;
/** Calls wait at most this long for a batch of ours, ms. */
const BATCH_MS = 1;

export interface ShadowRow {
  readonly person: string;
  readonly agent: string;
  /** `server/key`. */
  readonly item: string;
  readonly from: string;
  readonly to: string;
  count: number;
  /** Id of the newest such call, as the log knows it, and when it was; ms since the epoch. */
  call: string;
  at: number;
}

export interface ShadowReport {
  readonly since: number;
  readonly evaluated: number;
  readonly unchanged: number;
  /** Calls that were not looked at because too many waited. */
  readonly dropped: number;
  /** Differences whose row had no room. */
  readonly uncounted: number;
  /** Why the draft cannot be asked; null: it can. */
  readonly problem: string | null;
  /** Most often first. */
  readonly rows: readonly ShadowRow[];
}

export interface Shadows {
  /** After the guards of a call. Cheap, never throws, and nothing at all while no policy is in shadow. */
  note(call: Call, denial: Denial | null): void;
  /** Policies changed. */
  refresh(): void;
  /** Null: this policy is not in shadow here. */
  report(policy: string): ShadowReport | null;
  reset(policy: string): void;
  /** When everything noted so far was looked at. */
  idle(): Promise<void>;
  close(): void;
}

interface Draft {
  readonly text: string;
  readonly replaces: readonly string[];
  since: number;
  evaluated: number;
  unchanged: number;
  dropped: number;
  uncounted: number;
  problem: string | null;
  readonly rows: Map<string, ShadowRow>;
  /** For which policies in force the candidate was made. */
  base: PolicySet | null;
  candidate: PolicySet | null;
}

interface Noted {
  readonly id: string;
  readonly bytes: number;
  readonly question: Question;
}

export function watchShadows(deps: {
  readonly snapshot: () => Snapshot;
  readonly records: () => Iterable<StoredRecord>;
  readonly now: () => number;
}): Shadows {
  let drafts = new Map<string, Draft>();
  let waiting: Noted[] = [];
  let bytes = 0;
  let scheduled: NodeJS.Immediate | null = null;
  let whenIdle: Array<() => void> = [];

  function work(): void {
    scheduled = null;
    const until = performance.now() + BATCH_MS;
    let at = 0;
    while (at < waiting.length && (at === 0 || performance.now() < until)) {
      const noted = waiting[at++]!;
      bytes -= noted.bytes;
      look(noted);
    }
    waiting = waiting.slice(at);
    if (waiting.length > 0) scheduled = setImmediate(work);
    else for (const resolve of whenIdle.splice(0)) resolve();
  }

  function look({ id, question }: Noted): void {
    const { policies } = deps.snapshot();
    if (!policies) return;
    const now = decide(policies, question).verdict;
    for (const [policy, draft] of drafts) {
      const candidate = candidateFor(policy, draft, policies);
      if (!candidate) continue;
      draft.evaluated++;
      const then = decide(candidate, question).verdict;
      if (then === now) draft.unchanged++;
      else count(draft, id, question, now, then);
    }
  }

  function candidateFor(policy: string, draft: Draft, base: PolicySet): PolicySet | null {
    if (draft.base === base) return draft.candidate;
    const made = candidateOf(base, { without: draft.replaces, add: [{ id: policy, text: draft.text }] });
    draft.base = base;
    draft.candidate = made.ok ? made.value : null;
    draft.problem = made.ok ? null : made.error.map(({ message }) => message).join('; ');
    return draft.candidate;
  }

  return {
    note(call, denial) {
      if (drafts.size === 0) return;
      try {
        const question = questionFrom(call, denial, deps.now());
        if (!question) return;
        const size = Number(call.headers['content-length'] ?? 65_536) || 65_536;
        if (waiting.length >= MOST_WAITING || bytes + size > MOST_WAITING_BYTES) {
          for (const draft of drafts.values()) draft.dropped++;
          return;
        }
        waiting.push({ id: call.id, bytes: size, question });
        bytes += size;
        scheduled ??= setImmediate(work);
      } catch {
        // A call that cannot be put into a question is not one that policy decided.
      }
    },
    refresh() {
      const next = new Map<string, Draft>();
      for (const { id, body } of deps.records()) {
        if (body['state'] !== 'shadow') continue;
        const parsed = PolicyRecord.safeParse(body);
        if (!parsed.success || next.size >= MOST_SHADOWS) continue;
        const { text, replaces } = parsed.data;
        const before = drafts.get(id);
        const same = before && before.text === text && before.replaces.join() === replaces.join();
        next.set(
          id,
          same ? before : { text, replaces, ...empty(deps.now()), rows: new Map(), base: null, candidate: null },
        );
      }
      drafts = next;
    },
    report(policy) {
      const draft = drafts.get(policy);
      if (!draft) return null;
      const { since, evaluated, unchanged, dropped, uncounted, problem } = draft;
      const rows = [...draft.rows].sort(([a, one], [b, two]) => two.count - one.count || (a < b ? -1 : 1));
      return { since, evaluated, unchanged, dropped, uncounted, problem, rows: rows.map(([, row]) => ({ ...row })) };
    },
    reset(policy) {
      const draft = drafts.get(policy);
      if (!draft) return;
      Object.assign(draft, empty(deps.now()));
      draft.rows.clear();
    },
    idle: () => (waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => void whenIdle.push(resolve))),
    close() {
      if (scheduled) clearImmediate(scheduled);
      scheduled = null;
      waiting = [];
      drafts = new Map();
      for (const resolve of whenIdle.splice(0)) resolve();
    },
  };
}

const empty = (since: number) => ({ since, evaluated: 0, unchanged: 0, dropped: 0, uncounted: 0, problem: null });

function count(draft: Draft, call: string, { person, agent, tool, at }: Question, from: string, to: string): void {
  const item = `${tool.server}/${tool.name}`;
  const key = JSON.stringify([person.id, agent, item, from, to]);
  const row = draft.rows.get(key);
  if (row) {
    row.count++;
    row.call = call;
    row.at = at;
  } else if (draft.rows.size < MOST_ROWS) {
    draft.rows.set(key, { person: person.id, agent, item, from, to, count: 1, call, at });
  } else draft.uncounted++;
}

/** Denials that are policy's; whatever else stopped a call would stop it under any policy. */
const BY_POLICY: ReadonlySet<Denial['reason']> = new Set([
  'policy_denied',
  'scope_missing',
  'step_up',
  'approval_needed',
]);

function questionFrom(call: Call, denial: Denial | null, now: number): Question | null {
  if (call.subject.kind === null || (denial && !BY_POLICY.has(denial.reason))) return null;
  const { facts } = call;
  if (facts.tool && facts.arguments) return questionOf(call, facts.approval !== undefined, now);
  // An item that they do not see: the guard stopped before it told which one it is.
  const { server, kind, name } = { ...call.subject, server: facts.server };
  if (!server || !facts.person || kind === null || name === null) return null;
  const located = kind === 'resource' ? resolveUri(server, name) : null;
  const item = located?.item ?? itemNamed(server, kind, name);
  if (!item?.facts || !withinCeiling(facts.ceiling ?? null, item.facts)) return null;
  const caller = known(call, 'caller');
  const given: unknown = call.message.params['arguments'];
  const args: JsonObject = located ? { ...located.variables, uri: name } : isJsonObject(given) ? given : {};
  return {
    org: call.endpoint.org,
    person: personFacts(facts.person),
    agent: caller.clientId,
    tool: item.facts,
    scopes: caller.scopes,
    approved: false,
    ...(facts.flow ?? NO_FLOW),
    arguments: args,
    signIn: caller,
    alone: caller.alone,
    actors: caller.actChain,
    at: now,
  };
}
