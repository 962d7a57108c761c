/**
 * Policies that are asked together, with the answers that may be kept: those of everybody, or those of somebody's own (a grant to a person
 * or group concerns nobody else, because Cedar asks the head first). A part is a function of its policies and of what they can see of an
 * item, so items, and one set of policies after the other, share it (AZ-02: another policy, another part).
 */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { sha256Hex } from '../lib/bytes.ts';
import type { CompiledPolicy } from './compile.ts';
import type { Answer, Slice } from './engine.ts';
import { evaluate, sliceOf } from './engine.ts';
import { labelsRead } from './reads.ts';
import type { Who } from './request.ts';
import { requestFor } from './request.ts';
import type { ToolFacts } from './schema.ts';

export interface Part {
  readonly key: string;
  readonly policies: readonly CompiledPolicy[];
  /** One of the items it is about, to ask Cedar about. */
  readonly example: ToolFacts;
  /** Policies whose answer may be kept. */
  readonly kept: Slice;
  /** Upper bound of all of them, for lists. */
  readonly lists: Slice;
  readonly names: Names;
  /** Labels of the trace, and what flows into the call, that its answers depend on, as bits. */
  readonly labels: number;
  readonly answers: Map<string, Map<number, Answer>>;
  readonly listAnswers: Map<string, Map<number, Answer>>;
}

/** Whom policies tell apart from everybody else. */
export interface Names {
  readonly persons: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
  readonly agents: ReadonlySet<string>;
}

const NOBODY: ReadonlySet<string> = new Set();

/** One set for all where one has everything: most items share the names of what concerns every item. */
function union(sets: ReadonlyArray<ReadonlySet<string>>): ReadonlySet<string> {
  const filled = sets.filter(({ size }) => size > 0);
  return filled.length < 2 ? (filled[0] ?? NOBODY) : new Set(filled.flatMap((set) => [...set]));
}

export const namesOf = (parts: readonly Names[]): Names => ({
  persons: union(parts.map(({ persons }) => persons)),
  groups: union(parts.map(({ groups }) => groups)),
  agents: union(parts.map(({ agents }) => agents)),
});

/** Parts by key; what was not asked for between two turns is dropped. */
export interface Parts {
  young: Map<string, Part>;
  old: Map<string, Part>;
}

export const newParts = (before: Parts | null): Parts => ({ young: new Map(), old: before?.young ?? new Map() });

export function partOf(parts: Parts, policies: readonly CompiledPolicy[], tool: ToolFacts): Part {
  const key = `${visibleIn(policies, tool)}\n${policies.map(({ serial }) => serial).join()}`;
  let part = parts.young.get(key);
  if (!part) {
    part = parts.old.get(key) ?? newPart(key, policies, tool);
    parts.young.set(key, part);
  }
  return part;
}

/** What these policies can see of an item: items with the same answer are one to them. */
export function visibleIn(policies: readonly CompiledPolicy[], { server, name, ...facts }: ToolFacts): string {
  const namesTools = policies.some(({ reads }) => reads.namesTools);
  const namesServers = namesTools || policies.some(({ reads }) => reads.namesServers);
  return [
    facts.kind,
    facts.risk,
    facts.environment,
    facts.dataClasses.toSorted().join(),
    facts.outward ? 'outward' : '',
    namesServers ? server : '',
    namesTools ? name : '',
  ].join('\n');
}

const DIGESTS = new WeakMap<PolicyJson, string>();
function digestOfJson(json: PolicyJson): string {
  let digest = DIGESTS.get(json);
  if (digest === undefined) DIGESTS.set(json, (digest = sha256Hex(JSON.stringify(json))));
  return digest;
}

function newPart(key: string, policies: readonly CompiledPolicy[], example: ToolFacts): Part {
  return {
    key,
    policies,
    example,
    kept: sliceOf(policies.filter(({ reads }) => !reads.perCall)),
    lists: sliceOf(
      policies.flatMap(({ id, forLists: json }) =>
        json ? [{ id, digest: digestOfJson(json), text: '', json, link: null }] : [],
      ),
    ),
    names: namesOf(policies.map(({ reads }) => reads)),
    labels: policies.reduce((mask, { reads }) => mask | labelsRead(reads), 0),
    answers: new Map(),
    listAnswers: new Map(),
  };
}

/** The names of a person as one part knows them: everybody else is nobody. */
export function nameIn(
  { persons, groups, agents }: Names,
  person: string,
  theirs: readonly string[],
  agent: string,
): string {
  if (persons.size === 0 && groups.size === 0 && !agents.has(agent)) return '';
  const named = groups.size === 0 ? NONE : theirs.filter((group) => groups.has(group));
  const known = persons.has(person);
  const through = agents.has(agent);
  if (!known && !through && named.length === 0) return '';
  return JSON.stringify([known ? person : '', through ? agent : '', ...named]);
}
const NONE: readonly string[] = [];

const situationOf = ({ labels: read }: Part, { roles, labels }: Who, scopeHeld: boolean, approved: boolean): number =>
  situation(roles, labels & read, scopeHeld, approved);

/** One number for what a kept answer stands for. */
export const situation = (roles: number, labels: number, scopeHeld: boolean, approved: boolean): number =>
  roles * 256 + labels * 4 + (scopeHeld ? 2 : 0) + (approved ? 1 : 0);

export function keptAnswerOf(part: Part, name: string, who: Who, scopeHeld: boolean, approved: boolean): Answer {
  return keep(part.answers, name, situationOf(part, who, scopeHeld, approved), () =>
    evaluate(part.kept, requestFor(part.example, seenBy(part, who), scopeHeld, approved)),
  );
}

export function listAnswerOf(part: Part, name: string, who: Who, scopeHeld: boolean, approved: boolean): Answer {
  return keep(part.listAnswers, name, situationOf(part, who, scopeHeld, approved), () =>
    evaluate(part.lists, requestFor(part.example, seenBy(part, who), scopeHeld, approved)),
  );
}

/** Each entity costs: of the groups only those that these policies name. */
const seenBy = ({ names }: Part, who: Who): Who =>
  who.groups.length === 0 ? who : { ...who, groups: who.groups.filter((group) => names.groups.has(group)) };

function keep<T>(cache: Map<string, Map<number, T>>, name: string, key: number, make: () => T): T {
  let ofName = cache.get(name);
  if (!ofName) cache.set(name, (ofName = new Map()));
  let value = ofName.get(key);
  if (value === undefined) ofName.set(key, (value = make()));
  return value;
}
