/**
 * What a change of policies does, as concrete triples of person, agent and item: gained, lost, decided otherwise (AZ-08). Exact in its counts
 * and worked out by classes of people, agents and items that the policies cannot tell apart, so that a large organisation takes seconds.
 * What a call brings (arguments, time, chain, sign-in) is not known here: a triple is *possible* if some call could be allowed, as in lists, and
 * where the change may matter only to some calls it is told as `may_change`. So what is not told here is decided as before, whatever the call.
 * Not part of it: server states, locks, pins; they stop calls under any policy.
 */

import { digestOf } from '../lib/canonical-json.ts';
import type { CompiledPolicy, PolicySet } from './compile.ts';
import { decide, visible } from './decide.ts';
import type { Decision, PersonFacts } from './decide.ts';
import { effectBook } from './effect-book.ts';
import type { Effect, EffectKind, EffectRow } from './effect-book.ts';
import type { Label } from './labels.ts';
import { BIT, COPIED, LABELS, NO_FLOW, combinationsOf, labelsOf } from './labels.ts';
import { classOf, listAnswer, preparedAt, whoFor } from './prepare.ts';
import type { ToolClass } from './prepare.ts';
import { labelsRead, withoutCallContext } from './reads.ts';
import { roleBits } from './request.ts';
import type { ToolFacts } from './schema.ts';

export interface EffectPerson extends PersonFacts {
  /** Issuers of their identities: an agent of another issuer cannot act for them. */
  readonly issuers: readonly string[];
}

export interface EffectAgent {
  /** Record id. */
  readonly id: string;
  readonly client: string;
  readonly issuer: string;
  /** Its own roles, when it may act alone; null: it never does. */
  readonly roles: readonly string[] | null;
  /** Agents of one bound reach the same items. */
  readonly bound: string;
  reaches(item: ToolFacts): boolean;
}

/** Who could call: everybody and every agent that stands at this moment. */
export interface EffectWorld {
  readonly people: Iterable<EffectPerson>;
  readonly agents: readonly EffectAgent[];
}

interface Actor {
  readonly person: EffectPerson;
  /** Acts alone, as this agent. */
  readonly alone: EffectAgent | null;
}

/** People whom no policy tells apart unless it names them or a group of theirs. */
interface Bucket {
  readonly key: string;
  readonly ids: readonly string[];
  readonly actors: readonly Actor[];
}

/** What only a call knows and no standard question stands for. */
const OPEN = ['arguments', 'scopes', 'at', 'actors', 'copiedFrom', 'receivedFrom', '*'];

/** Scope held, approved, labels of the trace. */
type Situation = readonly [boolean, boolean, number];
/** Those of a trace without labels come first; labels that no policy reads make none. */
const situationsOf = (sets: readonly PolicySet[]): readonly Situation[] => {
  const read = sets.flatMap(({ policies }) => policies).reduce((mask, { reads }) => mask | labelsRead(reads), 0);
  return combinationsOf(read).flatMap((labels): Situation[] => [
    [true, false, labels],
    [false, false, labels],
    [true, true, labels],
    [false, true, labels],
  ]);
};

/** Both sets over the same tools, `before` being in force. `at`: ms since the epoch. */
export function effectOf(before: PolicySet, after: PolicySet, world: EffectWorld, at: number): Effect {
  const steps = effectSteps(before, after, world, at);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in small steps, for a process that has calls to serve meanwhile. */
export function* effectSteps(
  before: PolicySet,
  after: PolicySet,
  world: EffectWorld,
  at: number,
): Generator<void, Effect> {
  const changed = [...notIn(after, before), ...notIn(before, after)];
  const book = effectBook(digestOf([before.digest, after.digest]));
  if (changed.length === 0) return book.close();
  const touched = probeOf(before, changed);
  const situations = situationsOf([before, after]);
  const sides = [before, after].map((set) => ({ set, calls: probeOf(set, set.policies.filter(readsCall)) }));
  const { buckets, byId, byGroup } = yield* bucketsOf(world);

  for (const items of yield* itemClasses(touched, [before, after], at)) {
    const example = items.tools[0]!;
    const people = new Set(items.classes.flatMap(({ persons }) => [...persons]));
    const groups = new Set(items.classes.flatMap(({ groups: named }) => [...named]));
    const agents = new Set(items.classes.flatMap(({ agents: named }) => [...named]));
    const special = new Map<string, Actor>();
    for (const id of people) if (byId.has(id)) special.set(id, byId.get(id)!);
    for (const group of groups) for (const actor of byGroup.get(group) ?? []) special.set(actor.person.id, actor);
    const rows = new Map<string, EffectRow | null>();
    const rowOf = ({ person, alone }: Actor, agent: EffectAgent): EffectRow | null => {
      const key = JSON.stringify([
        roleBits(person.roles),
        person.groups.filter((group) => groups.has(group)).toSorted(),
        people.has(person.id) ? person.id : '',
        agents.has(agent.client) ? agent.client : '',
        alone !== null,
      ]);
      let row = rows.get(key);
      if (row === undefined) rows.set(key, (row = rowFor({ person, alone, agent: agent.client })));
      return row;
    };
    const rowFor = (who: Asker): EffectRow | null => {
      const matching = matches(touched, who, example, at, situations);
      if (matching.length === 0) return null;
      const [now, then] = sides.map(({ set, calls }) => tableOf(set, calls, who, example, at, situations));
      return compare(now!, then!, matching.some(readsCall), situations);
    };
    const reach = new Map<string, readonly ToolFacts[]>();
    const reached = (agent: EffectAgent): readonly ToolFacts[] => {
      let found = reach.get(agent.bound);
      if (!found) reach.set(agent.bound, (found = items.tools.filter((tool) => agent.reaches(tool))));
      return found;
    };
    for (const bucket of buckets) {
      const first = bucket.actors.find(({ person }) => !special.has(person.id));
      if (!first) continue;
      for (const [agent, alike] of agentsOf(world, first, agents)) {
        const row = reached(agent).length === 0 ? null : rowOf(first, agent);
        if (row) book.many(row, bucket, special, alike, reached(agent));
        yield;
      }
    }
    for (const actor of special.values()) {
      for (const [agent, alike] of agentsOf(world, actor, agents)) {
        const row = reached(agent).length === 0 ? null : rowOf(actor, agent);
        if (row) book.one(row, actor.person.id, alike, reached(agent));
        yield;
      }
    }
  }
  return book.close();
}

const readsCall = ({ reads }: CompiledPolicy): boolean => reads.perCall;

/** By content: the same id with another text is another policy. */
function notIn(one: PolicySet, other: PolicySet): CompiledPolicy[] {
  const known = new Map(other.policies.map(({ id, digest }) => [id, digest]));
  return one.policies.filter(({ id, digest }) => known.get(id) !== digest);
}

/**
 * These policies as permits without what needs the call: whom and what they could concern at all, never less.
 * An id stands twice when its text changes, so ids are numbered.
 */
function probeOf(set: PolicySet, policies: readonly CompiledPolicy[]): PolicySet {
  const probes = policies.map((policy, index) => ({
    ...policy,
    id: `${index}:${policy.id}`,
    forLists: withoutCallContext({ ...policy.json, effect: 'permit' }),
  }));
  return { ...set, policies: probes, prepared: new Map() };
}

interface Asker {
  readonly person: EffectPerson;
  readonly alone: EffectAgent | null;
  readonly agent: string;
}

/** The policies of a probe that could concern this. What errs could concern anything. */
function matches(
  probe: PolicySet,
  { person, agent }: Asker,
  tool: ToolFacts,
  at: number,
  situations: readonly Situation[],
): CompiledPolicy[] {
  const roles = roleBits(person.roles);
  if (roles === null || roles === 0) return [];
  const cls = classOf(preparedAt(probe, at), tool);
  if (cls.lists.empty) return [];
  const who = whoFor(cls, roles, person, agent);
  const ids = new Set<string>();
  for (const [scopeHeld, approved, labels] of situations) {
    const { permits, errors } = listAnswer(cls, { ...who, labels }, scopeHeld, approved);
    if (errors.length > 0) return [...probe.policies];
    for (const id of permits) ids.add(id);
  }
  return probe.policies.filter(({ id }) => ids.has(id));
}

interface Table {
  readonly possible: boolean;
  /** One word per situation. */
  readonly words: readonly string[];
  /** Some policy that reads the call may concern this. */
  readonly byCall: boolean;
}

function tableOf(
  set: PolicySet,
  calls: PolicySet,
  who: Asker,
  tool: ToolFacts,
  at: number,
  situations: readonly Situation[],
): Table {
  const { person, alone, agent } = who;
  const byCall = calls.policies.length === 0 ? [] : matches(calls, who, tool, at, situations);
  const possible = visible(set, { person, agent, at }, tool);
  if (!possible) return { possible, words: situations.map(() => 'deny'), byCall: false };
  const open = byCall.some(({ reads }) => OPEN.some((name) => reads.context.has(name)));
  const words = situations.map(([scopeHeld, approved, labels]) => {
    if (open) return 'depends_on_call';
    const scopes = new Set(scopeHeld ? [tool.scope] : []);
    const call = {
      scopes,
      approved,
      ...NO_FLOW,
      ...labelsOf(labels),
      copied: (labels & COPIED) !== 0,
      arguments: {},
      signIn: UNSAID,
      alone: alone !== null,
      actors: [],
      at,
    };
    return wordOf(decide(set, { org: '', person, agent, tool, ...call }));
  });
  return { possible, words, byCall: byCall.length > 0 };
}

/** A token that says nothing of the sign-in: every policy that asks for a better one shows. */
const UNSAID = { authTime: null, amr: [], acr: null };

function wordOf({ verdict, stepUp }: Decision): string {
  if (!stepUp) return verdict;
  const { maxAgeSeconds, acrValues, after } = stepUp;
  const age = maxAgeSeconds === null ? [] : [`max_age=${maxAgeSeconds}`];
  return [verdict, ...age, ...(acrValues.length === 0 ? [] : [`acr=${acrValues.join('|')}`]), `then=${after}`].join(
    ' ',
  );
}

function compare(
  now: Table,
  then: Table,
  changeReadsCall: boolean,
  situations: readonly Situation[],
): EffectRow | null {
  const kind = kindOf(now, then, changeReadsCall);
  if (kind === null) return null;
  // The first in which they differ: with the scope and no approval, then without the scope, then approved; then of labelled traces.
  const at = Math.max(
    now.words.findIndex((word, index) => word !== then.words[index]),
    0,
  );
  const [scopeHeld, approved, labels] = situations[at]!;
  const received: Partial<Record<Label | 'copied', true>> = {};
  for (const label of LABELS) if ((labels & BIT[label]) !== 0) received[label] = true;
  if ((labels & COPIED) !== 0) received.copied = true;
  return { kind, from: now.words[at]!, to: then.words[at]!, scopeHeld, approved, ...received };
}

function kindOf(now: Table, then: Table, changeReadsCall: boolean): EffectKind | null {
  if (now.possible !== then.possible) return then.possible ? 'gained' : 'lost';
  if (!now.possible) return null;
  if (now.words.some((word, index) => word !== then.words[index])) return 'changed';
  return changeReadsCall || now.byCall || then.byCall ? 'may_change' : null;
}

interface ItemClass {
  readonly tools: readonly ToolFacts[];
  /** Of the set before and of the one after. */
  readonly classes: readonly ToolClass[];
}

/** Items that neither set tells apart, as far as the change could concern them. */
function* itemClasses(touched: PolicySet, sets: readonly PolicySet[], at: number): Generator<void, ItemClass[]> {
  const found = new Map<string, { tools: ToolFacts[]; classes: readonly ToolClass[] }>();
  const numbers = new Map<ToolClass, number>();
  const numberOf = (cls: ToolClass): number => numbers.get(cls) ?? numbers.set(cls, numbers.size).size - 1;
  const probe = preparedAt(touched, at);
  const prepared = sets.map((set) => preparedAt(set, at));
  for (const ofServer of touched.tools.values()) {
    yield;
    for (const tool of ofServer.values()) {
      const mark = classOf(probe, tool);
      if (mark.lists.empty) continue;
      const classes = prepared.map((one) => classOf(one, tool));
      // What reads the scope list may tell tools of one class apart.
      const scope = classes.some(({ perCall }) => perCall) ? tool.scope : '';
      const key = JSON.stringify([...[mark, ...classes].map(numberOf), scope]);
      const same = found.get(key);
      if (same) same.tools.push(tool);
      else found.set(key, { tools: [tool], classes: [mark, ...classes] });
    }
  }
  return [...found.values()];
}

interface Census {
  readonly buckets: readonly Bucket[];
  readonly byId: ReadonlyMap<string, Actor>;
  readonly byGroup: ReadonlyMap<string, readonly Actor[]>;
}

function* bucketsOf({ people, agents }: EffectWorld): Generator<void, Census> {
  const actors: Actor[] = [];
  for (const person of people) {
    actors.push({ person, alone: null });
    if (actors.length % 500 === 0) yield;
  }
  for (const agent of agents) {
    if (agent.roles === null) continue;
    const person = { id: `agent/${agent.id}`, roles: agent.roles, groups: [], issuers: [agent.issuer] };
    actors.push({ person, alone: agent });
  }
  const standing = actors.filter(({ person }) => (roleBits(person.roles) ?? 0) !== 0);
  standing.sort((a, b) => (a.person.id < b.person.id ? -1 : 1));
  yield;
  const byGroup = new Map<string, Actor[]>();
  for (const actor of standing) {
    for (const group of new Set(actor.person.groups)) {
      const members = byGroup.get(group);
      if (members) members.push(actor);
      else byGroup.set(group, [actor]);
    }
  }
  const keyOf = ({ person, alone }: Actor): string =>
    JSON.stringify([alone?.id ?? '', roleBits(person.roles), person.issuers.toSorted()]);
  const buckets = [...Map.groupBy(standing, keyOf)].map(([key, of]) => ({
    key,
    ids: of.map(({ person }) => person.id),
    actors: of,
  }));
  return { buckets, byId: new Map(standing.map((actor) => [actor.person.id, actor])), byGroup };
}

/** The agents that can act for somebody, those together that are the same to these policies. */
function agentsOf(
  world: EffectWorld,
  { person, alone }: Actor,
  named: ReadonlySet<string>,
): Array<readonly [EffectAgent, readonly string[]]> {
  if (alone) return [[alone, [alone.id]]];
  const theirs = world.agents.filter(({ issuer }) => person.issuers.includes(issuer));
  const alike = Map.groupBy(theirs, ({ client, bound }) => JSON.stringify([named.has(client) ? client : '', bound]));
  return [...alike.values()].map((of) => [of[0]!, of.map(({ id }) => id).sort()] as const);
}
