/**
 * What is worked out once per policy set instead of once per call. Tools that no policy can tell apart form one class, people and
 * agents that no policy names are one person and one agent, so the number of kept answers is small and fixed by the policies and the
 * directory, never by who calls: role combinations x named people x memberships of named groups x named agents x scope held x approved,
 * per class. A change of somebody's groups needs no word here: they are then asked about under another name.
 */
import type { JsonObject } from '../lib/json.ts';
import { exposeArguments } from './arguments.ts';
import type { CompiledPolicy, PolicySet } from './compile.ts';
import type { Answer, Slice } from './engine.ts';
import { evaluate, sliceOf } from './engine.ts';
import { uidOf } from './reads.ts';
import type { Who } from './request.ts';
import { requestFor } from './request.ts';
import type { ToolFacts } from './schema.ts';
import type { SignInFacts, SignInReads } from './sign-in.ts';

export interface Prepared {
  /** Policies whose head names no server or tool. */
  readonly general: readonly CompiledPolicy[];
  /** The others, by the entity their head names: `Remit::Server files`, `Remit::Tool files/read`. */
  readonly targeted: ReadonlyMap<string, readonly CompiledPolicy[]>;
  readonly classes: Map<string, ToolClass>;
  readonly tools: Map<ToolFacts, ToolClass>;
  readonly room: Room;
}

/** What all classes of a set keep together. */
interface Room {
  /** Answers for people in named groups. */
  ofGroups: number;
  readonly caches: Array<Map<string, unknown>>;
}

/** Memberships combine as people do, not as policies do: more answers than this for them, and all are worked out anew. */
const MAX_OF_GROUPS = 200_000;

/** Tools that every policy treats alike. */
export interface ToolClass {
  /** One of them, to ask Cedar about. */
  readonly example: ToolFacts;
  /** Policies whose answer may be kept. */
  readonly kept: Slice;
  /** Policies that read the call; null when there are none, which is the normal case. */
  readonly perCall: Slice | null;
  /** Upper bound of all of them, for lists. */
  readonly lists: Slice;
  /** One of `perCall` reads arguments. */
  readonly readsArguments: boolean;
  /** Those of `perCall` that read the sign-in, by policy id; null when there are none. */
  readonly signIn: ReadonlyMap<string, SignInReads> | null;
  readonly persons: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly agents: ReadonlySet<string>;
  readonly answers: Map<string, Map<number, Answer>>;
  readonly listAnswers: Map<string, Map<number, Answer>>;
  /** Whole decisions, kept by decide.ts when nothing is per call. */
  readonly decisions: Map<string, Map<number, unknown>>;
  readonly room: Room;
}

/** Policies in force at `at`: permits whose `@until` has passed are gone. The usual set has none and costs nothing. */
export function preparedAt(set: PolicySet, at: number): Prepared {
  let expired = 0;
  for (const end of set.ends) if (end <= at) expired++;
  let prepared = set.prepared.get(expired);
  if (!prepared) {
    const policies = set.policies.filter(({ expiresAt }) => expiresAt === null || expiresAt > at);
    const byTarget = Map.groupBy(policies, targetOf);
    const general = byTarget.get('') ?? [];
    const room = { ofGroups: 0, caches: [] };
    prepared = { general, targeted: byTarget, classes: new Map(), tools: new Map(), room };
    set.prepared.set(expired, prepared);
  }
  return prepared;
}

export function classOf(prepared: Prepared, tool: ToolFacts): ToolClass {
  const known = prepared.tools.get(tool);
  if (known) return known;
  const { general, targeted } = prepared;
  const slice = [
    ...general,
    ...(targeted.get(`Remit::Server ${tool.server}`) ?? []),
    ...(targeted.get(`Remit::Tool ${tool.server}/${tool.name}`) ?? []),
  ];
  const named = slice.slice(general.length).map(({ id }) => id);
  const apart = (reads: (policy: CompiledPolicy) => boolean, value: string): string => (slice.some(reads) ? value : '');
  const key = [
    tool.kind,
    tool.risk,
    tool.environment,
    tool.dataClasses.toSorted().join(),
    apart(({ reads }) => reads.namesServers || reads.namesTools, tool.server),
    apart(({ reads }) => reads.namesTools, tool.name),
    ...named,
  ].join('\n');
  const shared = prepared.classes.get(key) ?? newClass(slice, tool, prepared.room);
  prepared.classes.set(key, shared);
  prepared.tools.set(tool, shared);
  return shared;
}

export function whoFor(
  cls: ToolClass,
  roles: number,
  { id: person, groups: theirs }: { readonly id: string; readonly groups: readonly string[] },
  agent: string,
): Who {
  const groups = cls.groups.size === 0 ? NO_GROUPS : namedGroups(cls.groups, theirs);
  const named =
    groups.length > 0 || cls.persons.has(person) || cls.agents.has(agent)
      ? JSON.stringify([cls.persons.has(person) ? person : '', cls.agents.has(agent) ? agent : '', ...groups])
      : '';
  return { roles, named, groups, person, agent };
}

const NO_GROUPS: readonly string[] = [];

/** In one order, each once: the same memberships are the same name, however the record lists them. */
function namedGroups(named: ReadonlySet<string>, theirs: readonly string[]): readonly string[] {
  const found: string[] = [];
  for (const group of theirs) if (named.has(group) && !found.includes(group)) found.push(group);
  return found.length === 0 ? NO_GROUPS : found.sort();
}

/** The answer of the policies that do not read the call. */
export function keptAnswer(cls: ToolClass, who: Who, scopeHeld: boolean, approved: boolean): Answer {
  return kept(cls, cls.answers, who, scopeHeld, approved, () =>
    evaluate(cls.kept, requestFor(cls.example, who, scopeHeld, approved)),
  );
}

export function listAnswer(cls: ToolClass, who: Who, scopeHeld: boolean, approved: boolean): Answer {
  return kept(cls, cls.listAnswers, who, scopeHeld, approved, () =>
    evaluate(cls.lists, requestFor(cls.example, who, scopeHeld, approved)),
  );
}

/** The answer of the policies that read the call; evaluated now and not kept. */
export function perCallAnswer(
  slice: Slice,
  cls: ToolClass,
  who: Who,
  call: {
    readonly scopeHeld: boolean;
    readonly approved: boolean;
    readonly scopes: readonly string[];
    readonly arguments: JsonObject;
    readonly parameters: ToolFacts['parameters'];
    readonly at: number;
    readonly signIn: SignInFacts;
    readonly alone: boolean;
    readonly actors: readonly string[];
  },
): Answer {
  const { scopeHeld, approved, scopes, at, signIn, alone, actors } = call;
  const request = requestFor(cls.example, who, scopeHeld, approved);
  if (cls.readsArguments) {
    const exposed = exposeArguments(call.arguments, call.parameters);
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
  };
  return evaluate(slice, { ...request, context });
}

export function kept<T>(
  cls: ToolClass,
  cache: Map<string, Map<number, T>>,
  who: Who,
  scopeHeld: boolean,
  approved: boolean,
  make: () => T,
): T {
  let ofWho = cache.get(who.named);
  if (!ofWho) cache.set(who.named, (ofWho = new Map()));
  const key = who.roles * 4 + (scopeHeld ? 2 : 0) + (approved ? 1 : 0);
  let value = ofWho.get(key);
  if (value === undefined) {
    value = make();
    const { room } = cls;
    if (who.groups.length > 0 && ++room.ofGroups > MAX_OF_GROUPS) {
      for (const one of room.caches) one.clear();
      room.ofGroups = 0;
    } else ofWho.set(key, value);
  }
  return value;
}

function newClass(policies: readonly CompiledPolicy[], example: ToolFacts, room: Room): ToolClass {
  const text = policies.map((policy) => ({ id: policy.id, body: policy.text, perCall: policy.reads.perCall }));
  const perCall = text.filter((policy) => policy.perCall);
  const signIn = policies.flatMap(({ id, reads }) => (reads.signIn ? [[id, reads.signIn] as const] : []));
  const cls: ToolClass = {
    example,
    kept: sliceOf(text.filter((policy) => !policy.perCall)),
    perCall: perCall.length > 0 ? sliceOf(perCall) : null,
    lists: sliceOf(policies.flatMap(({ id, forLists }) => (forLists ? [{ id, body: forLists }] : []))),
    readsArguments: policies.some(({ reads }) => reads.context.has('arguments') || reads.context.has('*')),
    signIn: signIn.length > 0 ? new Map(signIn) : null,
    persons: new Set(policies.flatMap(({ reads }) => [...reads.persons])),
    groups: new Set(policies.flatMap(({ reads }) => [...reads.groups])),
    agents: new Set(policies.flatMap(({ reads }) => [...reads.agents])),
    answers: new Map(),
    listAnswers: new Map(),
    decisions: new Map(),
    room,
  };
  room.caches.push(cls.answers, cls.listAnswers, cls.decisions);
  return cls;
}

/** The server or tool that the head of a policy names; '' when it may concern any tool. */
function targetOf({ json: { resource } }: CompiledPolicy): string {
  const head = resource.op === 'is' ? resource.in : resource.op === 'All' ? null : resource;
  if (!head || !('entity' in head)) return '';
  const { type, id } = uidOf(head.entity);
  return `${type} ${id}`;
}
