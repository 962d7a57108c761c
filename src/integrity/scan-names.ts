/**
 * Names of tools among the names of other tools (TD-04): the same, nearly the same, or the same to the eye; and texts of one server that speak of
 * another server's tools. Calls never go by any of it: a tool is its server's, whatever it is called. Prepared once per state of the approvals.
 */

export interface NamedItem {
  readonly server: string;
  readonly name: string;
}

export interface Likeness {
  readonly how: 'same' | 'confusable' | 'near';
  /** `server/name` of the other. */
  readonly whose: string;
}

export interface Mention {
  readonly name: string;
  readonly start: number;
  /** It says what to do with it. */
  readonly ordered: boolean;
}

export interface NameIndex {
  /** At most 20, the worst first. An item of `server` with this very name is the item itself. */
  like(name: string, server: string): readonly Likeness[];
  /** Of tools that other servers have and `server` has not; at most 20. */
  mentions(text: string, server: string): readonly Mention[];
}

const MAX = 20;
/** Shorter ones are near to anything. */
const NEAR_FROM = 5;

export function nameIndex(items: Iterable<NamedItem>): NameIndex {
  const byName = new Map<string, Set<string>>();
  const bySkeleton = new Map<string, NamedItem[]>();
  const byGap = new Map<string, NamedItem[]>();
  for (const item of items) {
    const owners = byName.get(item.name) ?? new Set();
    byName.set(item.name, owners.add(item.server));
    push(bySkeleton, skeleton(item.name), item);
    for (const gap of gaps(item.name)) push(byGap, gap, item);
  }
  return {
    like(name, server) {
      const found = new Map<string, Likeness>();
      const add = (how: Likeness['how'], other: NamedItem): void => {
        const whose = `${other.server}/${other.name}`;
        if ((other.server !== server || other.name !== name) && !found.has(whose)) found.set(whose, { how, whose });
      };
      for (const other of bySkeleton.get(skeleton(name)) ?? []) if (other.name !== name) add('confusable', other);
      for (const gap of gaps(name))
        for (const other of byGap.get(gap) ?? []) if (isNear(name, other.name)) add('near', other);
      for (const owner of byName.get(name) ?? []) add('same', { server: owner, name });
      return [...found.values()].slice(0, MAX);
    },
    mentions(text, server) {
      const found: Mention[] = [];
      for (const { index, 0: word } of text.matchAll(/[\p{L}\p{N}_][\p{L}\p{N}_./-]{3,127}/gu)) {
        const name = word.replace(/[./-]+$/, '');
        const owners = byName.get(name) ?? byName.get(name.slice(name.indexOf('/') + 1));
        if (!owners || owners.has(server) || !isDistinct(name)) continue;
        const before = text.slice(Math.max(0, index - 60), index);
        const after = text.slice(index + name.length, index + name.length + 40);
        found.push({ name, start: index, ordered: ORDERED.test(before) || ORDERED.test(after) });
        if (found.length === MAX) break;
      }
      return found;
    },
  };
}

const ORDERED =
  /\b(?:call|use|invoke|run|instead|before|after|first|whenever|when|replace|override|disable|must|always|never)\b/i;

/** A word of the language (`search`, `echo`) says nothing of anybody's tool. */
const isDistinct = (name: string): boolean => name.length >= 6 && (/[_/\d-]/.test(name) || /[a-z][A-Z]/.test(name));

/** Letters that look like one of ASCII. Not all of UTS 39: those that a name of a tool is made of. */
const LOOKS: ReadonlyMap<string, string> = new Map(
  (
    'аa аa еe оo рp сc хx уy іi ѕs јj ԁd һh ӏl кk тt мm нh вb гr ' +
    'αa βb εe ηn ιi κk νv οo ρp τt υu χx γy ωw ' +
    '0o 1l |l ıi ɡg ɑa ʟl ꞁl ѵv ԝw ԛq ոn սu օo ցg հh'
  )
    .split(' ')
    .map((pair): [string, string] => [Array.from(pair)[0]!, Array.from(pair)[1]!]),
);

/** Two names with one skeleton look the same to somebody who reads quickly: compatibility forms, case, separators and look-alikes are gone. */
export function skeleton(name: string): string {
  return Array.from(name.normalize('NFKC').toLowerCase().normalize('NFD').replaceAll(/\p{M}/gu, ''))
    .map((letter) => LOOKS.get(letter) ?? letter)
    .join('')
    .replaceAll(/[\s_.-]/g, '')
    .replaceAll('rn', 'm')
    .replaceAll('vv', 'w');
}

/** The name, and the name without each of its letters: two names are near only if they share one of these. */
function gaps(name: string): ReadonlySet<string> {
  const letters = Array.from(name.toLowerCase()).slice(0, 64);
  if (letters.length < NEAR_FROM) return new Set();
  return new Set([letters.join(''), ...letters.map((_letter, at) => letters.toSpliced(at, 1).join(''))]);
}

/** One letter more, less or other, or two that changed places. */
function isNear(a: string, b: string): boolean {
  const [one, two] = [Array.from(a.toLowerCase()), Array.from(b.toLowerCase())];
  if (a === b || Math.abs(one.length - two.length) > 1) return false;
  let head = 0;
  while (head < one.length && one[head] === two[head]) head++;
  let tail = 0;
  while (tail < Math.min(one.length, two.length) - head && one.at(-1 - tail) === two.at(-1 - tail)) tail++;
  const [left, right] = [one.slice(head, one.length - tail), two.slice(head, two.length - tail)];
  if (left.length <= 1 && right.length <= 1) return true;
  return left.length === 2 && right.length === 2 && left[0] === right[1] && left[1] === right[0];
}

function push(map: Map<string, NamedItem[]>, key: string, item: NamedItem): void {
  const list = map.get(key);
  if (list) list.push(item);
  else map.set(key, [item]);
}
