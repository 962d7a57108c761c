/**
 * The triples of an effect, kept as products of people, agents and items instead of one by one: counts are exact, a page is found without
 * counting through what lies before it, and the digest names exactly this outcome. The order is that of the blocks and does not change while
 * policies, people, agents and items stay as they are.
 */
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Label } from './labels.ts';
import { flowBits } from './labels.ts';
import type { ToolFacts } from './schema.ts';

/** `may_change`: possible before and after, and some calls may be decided otherwise. */
export const EFFECT_KINDS = ['gained', 'lost', 'changed', 'may_change'] as const;
export type EffectKind = (typeof EFFECT_KINDS)[number];

/** With what the trace has received before, and whether what is sent is a copy of it; left out: nothing of the kind. */
export interface EffectRow extends Readonly<Partial<Record<Label | 'copied', true>>> {
  readonly kind: EffectKind;
  /** Verdicts in the first situation in which they differ; `depends_on_call` where only the call can tell. */
  readonly from: string;
  readonly to: string;
  /** That situation: the token holds the item's scope; the call is approved. */
  readonly scopeHeld: boolean;
  readonly approved: boolean;
}

export interface EffectTriple extends EffectRow {
  /** Directory id, or `agent/<id>` of an agent that acts alone. */
  readonly person: string;
  /** Record id. */
  readonly agent: string;
  /** `server/key`. */
  readonly item: string;
}

/** All triples of one row, with how many different people, agents and items they hold. */
export interface EffectGroup extends EffectRow {
  readonly triples: number;
  readonly people: number;
  readonly agents: number;
  readonly items: number;
}

export interface Effect {
  /** Changes with anything that a page could show. */
  readonly digest: Digest;
  readonly counts: Readonly<Record<EffectKind, number>>;
  readonly groups: readonly EffectGroup[];
  /** `limit` triples after the first `offset`, of one kind or of all. */
  page(offset: number, limit: number, kind?: EffectKind): EffectTriple[];
}

interface Bucket {
  readonly key: string;
  readonly ids: readonly string[];
}

interface Block {
  readonly row: EffectRow;
  readonly bucket: Bucket | null;
  /** Without a bucket, these are the people; with one, those of it who are not meant. */
  readonly ids: readonly string[];
  readonly people: number;
  readonly agents: readonly string[];
  readonly items: readonly string[];
}

export interface EffectBook {
  /** Everybody of the bucket but `without`. */
  many(
    row: EffectRow,
    bucket: Bucket,
    without: ReadonlyMap<string, unknown>,
    agents: readonly string[],
    items: readonly ToolFacts[],
  ): void;
  one(row: EffectRow, person: string, agents: readonly string[], items: readonly ToolFacts[]): void;
  close(): Effect;
}

const NAMES = new WeakMap<readonly ToolFacts[], readonly string[]>();

function namesOf(items: readonly ToolFacts[]): readonly string[] {
  let names = NAMES.get(items);
  if (!names) NAMES.set(items, (names = items.map(({ server, name }) => `${server}/${name}`).sort()));
  return names;
}

/** `of`: what stands behind all of it, for the digest. */
export function effectBook(of: Digest): EffectBook {
  const blocks: Block[] = [];
  const inBucket = new WeakMap<ReadonlyMap<string, unknown>, Map<string, readonly string[]>>();
  const without = (bucket: Bucket, special: ReadonlyMap<string, unknown>): readonly string[] => {
    const known = inBucket.get(special) ?? new Map<string, readonly string[]>();
    inBucket.set(special, known);
    let ids = known.get(bucket.key);
    if (!ids) {
      ids =
        special.size < bucket.ids.length
          ? [...special.keys()].filter((id) => has(bucket.ids, id)).sort()
          : bucket.ids.filter((id) => special.has(id));
      known.set(bucket.key, ids);
    }
    return ids;
  };
  const add = (block: Block): void => void (block.people > 0 && blocks.push(block));
  return {
    many(row, bucket, special, agents, items) {
      const ids = without(bucket, special);
      add({ row, bucket, ids, people: bucket.ids.length - ids.length, agents, items: namesOf(items) });
    },
    one(row, person, agents, items) {
      add({ row, bucket: null, ids: [person], people: 1, agents, items: namesOf(items) });
    },
    close: () => effectFrom(of, blocks),
  };
}

/** `ids` are sorted. */
function has(ids: readonly string[], id: string): boolean {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return ids[low] === id;
}

const sizeOf = ({ people, agents, items }: Block): number => people * agents.length * items.length;
const rowKey = ({ kind, from, to, scopeHeld, approved, ...received }: EffectRow): string =>
  JSON.stringify([EFFECT_KINDS.indexOf(kind), from, to, scopeHeld, approved, flowBits(received)]);

function effectFrom(of: Digest, blocks: readonly Block[]): Effect {
  const digests = new Map<readonly string[], Digest>();
  const digest = (ids: readonly string[]): Digest => {
    let known = digests.get(ids);
    if (!known) digests.set(ids, (known = digestOf([...ids])));
    return known;
  };
  const named = blocks
    .map((block) => {
      const { row, bucket, ids, agents, items } = block;
      const people = bucket ? [bucket.key, digest(bucket.ids), digest(ids)] : [...ids];
      return { block, key: `${rowKey(row)} ${JSON.stringify([people, agents, digest(items)])}` };
    })
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const sorted = named.map(({ block }) => block);
  const counts = { gained: 0, lost: 0, changed: 0, may_change: 0 };
  for (const block of sorted) counts[block.row.kind] += sizeOf(block);
  return {
    digest: digestOf([of, named.map(({ key }) => key)]),
    counts,
    groups: [...Map.groupBy(sorted, ({ row }) => rowKey(row)).values()].map(groupOf),
    page: (offset, limit, kind) =>
      pageOf(kind === undefined ? sorted : sorted.filter(({ row }) => row.kind === kind), offset, limit),
  };
}

function groupOf(blocks: readonly Block[]): EffectGroup {
  const missing = new Map<Bucket, ReadonlySet<string>>();
  const single = new Set<string>();
  for (const { bucket, ids } of blocks) {
    if (!bucket) for (const id of ids) single.add(id);
    else {
      const before = missing.get(bucket);
      missing.set(bucket, before ? new Set(ids.filter((id) => before.has(id))) : new Set(ids));
    }
  }
  let people = 0;
  for (const [bucket, out] of missing) people += bucket.ids.length - out.size;
  for (const id of single) {
    const counted = [...missing].some(([bucket, out]) => !out.has(id) && has(bucket.ids, id));
    if (!counted) people++;
  }
  return {
    ...blocks[0]!.row,
    triples: blocks.reduce((sum, block) => sum + sizeOf(block), 0),
    people,
    agents: new Set(blocks.flatMap(({ agents }) => agents)).size,
    items: new Set([...new Set(blocks.map(({ items }) => items))].flat()).size,
  };
}

function pageOf(blocks: readonly Block[], offset: number, limit: number): EffectTriple[] {
  const triples: EffectTriple[] = [];
  let skip = offset;
  for (const block of blocks) {
    const size = sizeOf(block);
    if (skip >= size) {
      skip -= size;
      continue;
    }
    const out = new Set(block.ids);
    const people = block.bucket ? block.bucket.ids.filter((id) => !out.has(id)) : block.ids;
    const { agents, items } = block;
    for (let at = skip; at < size; at++) {
      if (triples.length === limit) return triples;
      const item = items[at % items.length]!;
      const agent = agents[Math.floor(at / items.length) % agents.length]!;
      const person = people[Math.floor(at / (items.length * agents.length))]!;
      triples.push({ ...block.row, person, agent, item });
    }
    skip = 0;
  }
  return triples;
}
