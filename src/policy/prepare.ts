/**
 * What is worked out once per policy set instead of once per call. Items that no policy can tell apart form one class, people and
 * agents that no policy names are one person and one agent, so the number of kept answers is small and fixed by the policies and the
 * directory, never by who calls: role combinations x named people x memberships of named groups x named agents x scope held x approved
 * x labels of the trace, per class. A change of somebody's groups needs no word here: they are then asked about under another name.
 */
import type { JsonObject } from '../lib/json.ts';
import { exposeArguments } from './arguments.ts';
import type { CompiledPolicy, PolicySet } from './compile.ts';
import type { Answer, Slice } from './engine.ts';
import { evaluate, sliceOf } from './engine.ts';
import type { Names, Part, Parts } from './parts.ts';
import { keptAnswerOf, listAnswerOf, nameIn, namesOf, newParts, partOf, visibleIn } from './parts.ts';
import { labelsRead, principalOf } from './reads.ts';
import type { Who } from './request.ts';
import { requestFor } from './request.ts';
import type { ToolFacts } from './schema.ts';
import { nextSerial } from './serial.ts';
import type { SignInFacts, SignInReads } from './sign-in.ts';

/** The policies in force between two moments at which one begins or ends. */
export interface Prepared {
  readonly from: number;
  readonly until: number;
  /** Policies whose head names no server or tool. */
  readonly general: Layer;
  /** The others, by the entities they are about: `Remit::Server files`, `Remit::Tool files/read`. */
  readonly targeted: ReadonlyMap<string, Layer>;
  readonly classes: Map<string, ToolClass>;
  readonly tools: Map<ToolFacts, ToolClass>;
  readonly parts: Parts;
  /** Standings of people in named groups: how many there are. */
  ofGroups: number;
}

/** Policies about one target. */
interface Layer {
  readonly serial: number;
  /** Those that are not one person's or group's own. */
  readonly common: readonly CompiledPolicy[];
  /** Those whose head names one person or one group, by its id. */
  readonly persons: ReadonlyMap<string, readonly CompiledPolicy[]>;
  readonly groups: ReadonlyMap<string, readonly CompiledPolicy[]>;
  readonly own: readonly CompiledPolicy[];
  readonly names: Names;
}

/** Memberships combine as people do, not as policies do: more than this for them, and all are worked out anew. */
const MAX_OF_GROUPS = 200_000;

/** Items that every policy treats alike. */
export interface ToolClass extends Names {
  /** One of them, to ask Cedar about. */
  readonly example: ToolFacts;
  readonly common: readonly Part[];
  readonly layers: readonly Layer[];
  /** Some policy about them reads the call. */
  readonly perCall: boolean;
  /** `empty`: no policy could permit anybody anything. */
  readonly lists: { readonly empty: boolean };
  readonly standings: Map<string, Standing>;
  readonly prepared: Prepared;
}

/** Everything that concerns one name and one class. */
export interface Standing {
  readonly parts: ReadonlyArray<{ readonly part: Part; readonly name: string }>;
  /** Policies that read the call; null when there are none, which is the normal case. */
  readonly perCall: Slice | null;
  readonly readsArguments: boolean;
  /** Those that read the sign-in, by policy id; null when there are none. */
  readonly signIn: ReadonlyMap<string, SignInReads> | null;
  /** Whole decisions, kept by decide.ts when nothing is per call. */
  readonly decisions: Map<number, unknown>;
  readonly shown: Map<number, boolean>;
  /** Labels of the trace that any of its policies read, as bits; and those of them that a policy reads which reads the call, too. */
  readonly labels: number;
  readonly perCallLabels: number;
  /** Labels that can make a difference, by roles. */
  readonly labelsMatter: Map<number, number>;
}

/** Prepared sets are kept for the interval before and the one now: clocks of calls are not in step. */
const KEPT_INTERVALS = 2;

/** When something begins or ends, in order. */
const MOMENTS = new WeakMap<readonly CompiledPolicy[], readonly number[]>();
/** Parts that a set takes over from the one before it. */
const CARRIED = new WeakMap<PolicySet, Parts>();

function momentsOf(policies: readonly CompiledPolicy[]): readonly number[] {
  let moments = MOMENTS.get(policies);
  if (!moments) {
    const all = policies.flatMap(({ startsAt, expiresAt }) => [startsAt, expiresAt].filter((at) => at !== null));
    MOMENTS.set(policies, (moments = [...new Set(all)].sort((a, b) => a - b)));
  }
  return moments;
}

/** Policies in force at `at`: what has not begun or has ended is not there. Cheap, whatever the number of ends. */
export function preparedAt(set: PolicySet, at: number): Prepared {
  for (const prepared of set.prepared.values()) if (at >= prepared.from && at < prepared.until) return prepared;
  const moments = momentsOf(set.policies);
  let [low, high] = [0, moments.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (moments[middle]! <= at) low = middle + 1;
    else high = middle;
  }
  const newest = [...set.prepared.values()].at(-1);
  const prepared = prepare(set, at, newest?.parts ?? CARRIED.get(set) ?? null, [
    moments[low - 1] ?? Number.NEGATIVE_INFINITY,
    moments[low] ?? Number.POSITIVE_INFINITY,
  ]);
  set.prepared.set(low, prepared);
  for (const index of set.prepared.keys()) {
    if (set.prepared.size <= KEPT_INTERVALS) break;
    set.prepared.delete(index);
  }
  return prepared;
}

/** What was worked out about policies and items that are the same in both is not worked out again. */
export function carryOver(from: PolicySet, to: PolicySet): PolicySet {
  const parts = [...from.prepared.values()].at(-1)?.parts ?? CARRIED.get(from);
  if (parts) CARRIED.set(to, parts);
  return to;
}

function prepare(set: PolicySet, at: number, before: Parts | null, [from, until]: readonly [number, number]): Prepared {
  const inForce = set.policies.filter(
    ({ startsAt, expiresAt }) => (startsAt === null || startsAt <= at) && (expiresAt === null || expiresAt > at),
  );
  const byTarget = new Map<string, CompiledPolicy[]>();
  for (const policy of inForce) {
    for (const target of policy.targets.length === 0 ? [''] : policy.targets) {
      const known = byTarget.get(target);
      if (known) known.push(policy);
      else byTarget.set(target, [policy]);
    }
  }
  const targeted = new Map([...byTarget].map(([target, policies]) => [target, layerOf(policies)]));
  const general = targeted.get('') ?? layerOf([]);
  return { from, until, general, targeted, classes: new Map(), tools: new Map(), parts: newParts(before), ofGroups: 0 };
}

function layerOf(policies: readonly CompiledPolicy[]): Layer {
  const common: CompiledPolicy[] = [];
  const own: CompiledPolicy[] = [];
  const maps = { Person: new Map<string, CompiledPolicy[]>(), Group: new Map<string, CompiledPolicy[]>() };
  for (const policy of policies) {
    const head = principalOf(policy.json);
    if (!head) {
      common.push(policy);
      continue;
    }
    own.push(policy);
    const known = maps[head.kind].get(head.id);
    if (known) known.push(policy);
    else maps[head.kind].set(head.id, [policy]);
  }
  const names = namesOf(own.map(({ reads }) => reads));
  return { serial: nextSerial(), common, persons: maps.Person, groups: maps.Group, own, names };
}

export function classOf(prepared: Prepared, tool: ToolFacts): ToolClass {
  const known = prepared.tools.get(tool);
  if (known) return known;
  const { general, targeted, parts } = prepared;
  const layers = [
    general,
    targeted.get(`Remit::Server ${tool.server}`),
    targeted.get(`Remit::Tool ${tool.server}/${tool.name}`),
  ].filter((layer) => layer !== undefined);
  const common = layers.filter((layer) => layer.common.length > 0).map((layer) => partOf(parts, layer.common, tool));
  const owned = layers.filter(({ own }) => own.length > 0);
  const key = [
    ...common.map(({ key: part }) => part),
    ...owned.map(({ serial, own }) => `${serial}\n${visibleIn(own, tool)}`),
  ].join('\n\n');
  let cls = prepared.classes.get(key);
  if (!cls) {
    const policies = layers.flatMap((layer) => [...layer.common, ...layer.own]);
    cls = {
      ...namesOf([...common.map(({ names }) => names), ...owned.map(({ names }) => names)]),
      example: tool,
      common,
      layers: owned,
      perCall: policies.some(({ reads }) => reads.perCall),
      lists: { empty: !policies.some(({ forLists }) => forLists) },
      standings: new Map(),
      prepared,
    };
    prepared.classes.set(key, cls);
  }
  prepared.tools.set(tool, cls);
  return cls;
}

export function whoFor(
  cls: ToolClass,
  roles: number,
  { id: person, groups: theirs }: { readonly id: string; readonly groups: readonly string[] },
  agent: string,
  labels = 0,
): Who {
  const groups = cls.groups.size === 0 ? NO_GROUPS : namedGroups(cls.groups, theirs);
  const named = nameIn(cls, person, groups, agent);
  return { roles, named, groups, person, agent, labels };
}

const NO_GROUPS: readonly string[] = [];

/** In one order, each once: the same memberships are the same name, however the record lists them. */
function namedGroups(named: ReadonlySet<string>, theirs: readonly string[]): readonly string[] {
  const found: string[] = [];
  for (const group of theirs) if (named.has(group) && !found.includes(group)) found.push(group);
  return found.length === 0 ? NO_GROUPS : found.sort();
}

export function standingOf(cls: ToolClass, who: Who): Standing {
  const known = cls.standings.get(who.named);
  if (known) return known;
  const { prepared } = cls;
  if (who.groups.length > 0 && ++prepared.ofGroups > MAX_OF_GROUPS) {
    prepared.ofGroups = 0;
    for (const other of prepared.classes.values()) {
      other.standings.clear();
      for (const part of other.common) for (const cache of [part.answers, part.listAnswers]) cache.clear();
    }
    prepared.parts.young = new Map();
    prepared.parts.old = new Map();
  }
  const own = new Set<CompiledPolicy>();
  for (const { persons, groups } of cls.layers) {
    for (const policy of persons.get(who.person) ?? []) own.add(policy);
    for (const group of who.groups) for (const policy of groups.get(group) ?? []) own.add(policy);
  }
  const parts = own.size === 0 ? cls.common : [...cls.common, partOf(prepared.parts, [...own], cls.example)];
  const policies = parts.flatMap((part) => part.policies);
  const perCall = policies.filter(({ reads }) => reads.perCall);
  const signIn = policies.flatMap(({ id, reads }) => (reads.signIn ? [[id, reads.signIn] as const] : []));
  const standing: Standing = {
    parts: parts.map((part) => ({ part, name: nameIn(part.names, who.person, who.groups, who.agent) })),
    perCall: perCall.length > 0 ? sliceOf(perCall) : null,
    readsArguments: perCall.some(({ reads }) => reads.context.has('arguments') || reads.context.has('*')),
    signIn: signIn.length > 0 ? new Map(signIn) : null,
    decisions: new Map(),
    shown: new Map(),
    labels: parts.reduce((mask, part) => mask | part.labels, 0),
    perCallLabels: perCall.reduce((mask, { reads }) => mask | labelsRead(reads), 0),
    labelsMatter: new Map(),
  };
  cls.standings.set(who.named, standing);
  return standing;
}

/** The answers of the policies that do not read the call. */
export function keptAnswers({ parts }: Standing, who: Who, scopeHeld: boolean, approved: boolean): Answer[] {
  return parts.map(({ part, name }) => keptAnswerOf(part, name, who, scopeHeld, approved));
}

export function listAnswer(cls: ToolClass, who: Who, scopeHeld: boolean, approved: boolean): Answer {
  const answers = standingOf(cls, who).parts.map(({ part, name }) =>
    listAnswerOf(part, name, who, scopeHeld, approved),
  );
  if (answers.length === 1) return answers[0]!;
  return {
    permits: answers.flatMap(({ permits }) => permits),
    forbids: answers.flatMap(({ forbids }) => forbids),
    errors: answers.flatMap(({ errors }) => errors),
  };
}

/** The answer of the policies that read the call; evaluated now and not kept. */
export function perCallAnswer(
  standing: Standing & { readonly perCall: Slice },
  tool: ToolFacts,
  who: Who,
  call: {
    readonly scopeHeld: boolean;
    readonly approved: boolean;
    readonly scopes: readonly string[];
    readonly arguments: JsonObject;
    readonly at: number;
    readonly signIn: SignInFacts;
    readonly alone: boolean;
    readonly actors: readonly string[];
    readonly copiedFrom: readonly string[];
    readonly receivedFrom: readonly string[];
  },
): Answer {
  const { scopeHeld, approved, scopes, at, signIn, alone, actors } = call;
  const request = requestFor(tool, who, scopeHeld, approved);
  if (standing.readsArguments) {
    const exposed = exposeArguments(call.arguments, tool.parameters);
    if (!exposed.ok) return { permits: [], forbids: [], errors: [exposed.error] };
    request.entities.push(...exposed.value);
  }
  const context = {
    ...request.context,
    scopes: [...scopes],
    at,
    signIn: { ...signIn, factors: [...signIn.factors] },
    alone,
    actors: actors.filter((actor) => actor.isWellFormed()),
    copiedFrom: [...call.copiedFrom],
    receivedFrom: [...call.receivedFrom],
  };
  return evaluate(standing.perCall, { ...request, context });
}
