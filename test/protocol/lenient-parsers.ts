/**
 * How servers in the field read JSON, as far as they differ: which of two equal keys wins, whether case matters, whether NUL ends a key.
 * Test-only. `entries` keeps every member in order; each reader then picks the way its language does.
 */

type Node = readonly (readonly [string, Node])[] | { readonly list: readonly Node[] } | { readonly scalar: unknown };

/** A tokenizer that loses nothing. Input is JSON that JSON.parse accepts. */
export function entries(text: string): Node {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/gs) ?? [];
  let at = 0;
  const value = (): Node => {
    const token = tokens[at++];
    if (token === '{') {
      const members: [string, Node][] = [];
      while (tokens[at] !== '}') {
        if (tokens[at] === ',') at++;
        const key = JSON.parse(tokens[at++] ?? '') as string;
        at++;
        members.push([key, value()]);
      }
      at++;
      return members;
    }
    if (token === '[') {
      const list: Node[] = [];
      while (tokens[at] !== ']') {
        if (tokens[at] === ',') at++;
        list.push(value());
      }
      at++;
      return { list };
    }
    return { scalar: JSON.parse(token ?? 'null') as unknown };
  };
  return value();
}

type Pick = (members: readonly (readonly [string, Node])[], key: string) => Node | undefined;

const foldGo = (key: string): string => key.replaceAll('\u017f', 's').replaceAll('\u212a', 'k').toLowerCase();

const PICKS: Readonly<Record<string, Pick>> = {
  'Node and Python (last wins)': (members, key) => members.findLast(([name]) => name === key)?.[1],
  'first wins': (members, key) => members.find(([name]) => name === key)?.[1],
  'Go (case folded, last wins)': (members, key) => members.findLast(([name]) => foldGo(name) === foldGo(key))?.[1],
  'C strings (NUL ends a key)': (members, key) => members.findLast(([name]) => name.split('\0')[0] === key)?.[1],
};

/** What each kind of server would run: the method, and the string at `params.name`. */
export function whatServersSee(text: string): ReadonlyMap<string, string> {
  const root = entries(text);
  const seen = new Map<string, string>();
  for (const [reader, pick] of Object.entries(PICKS)) {
    const under = (node: Node | undefined, key: string): Node | undefined =>
      Array.isArray(node) ? pick(node, key) : undefined;
    const scalar = (node: Node | undefined): unknown => (node !== undefined && 'scalar' in node ? node.scalar : null);
    const params = under(root, 'params');
    const path = scalar(under(under(params, 'arguments'), 'path'));
    seen.set(reader, JSON.stringify([scalar(under(root, 'method')), scalar(under(params, 'name')), path]));
  }
  return seen;
}
