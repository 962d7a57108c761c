/**
 * Reads the files of `remit apply`: YAML or JSON, several documents in one, whole folders. Every problem of every file at once, each with
 * file, line and field. A file means what it shows: no duplicate keys, anchors, aliases, merges or tags, and bounds on everything.
 * ATTACKER-CONTROLLED: the files may come from a pull request. Nothing of them is quoted in a problem but names that hold no secret.
 * Links are not followed inside a folder: they could bring in what nobody reviewed.
 */
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  visit,
  type Document,
  type Node,
} from 'yaml';
import { insteadOf, kindOf } from '../admin/apply/kinds.ts';
import { APPLY_LIMITS, MAX_RESOURCES } from '../admin/apply/resources.ts';
import { literalSecrets } from '../admin/apply/secrets.ts';
import { withoutLiteralSecrets as withoutSecrets } from '../lib/definition-secrets.ts';

export const FILE_BOUNDS = {
  fileBytes: 1_048_576,
  /** Of all files together; the rest of what the API takes is for what goes around them. */
  totalBytes: APPLY_LIMITS.maxBytes - 262_144,
  files: 1_000,
  folderDepth: 16,
  resources: MAX_RESOURCES,
  /** Lines, quotes, brackets and commas of one file, and of all: what a parser works on. A file of a thousand servers has half of it. */
  fileMarks: 60_000,
  totalMarks: 240_000,
  /** Of one file; the rest is not told. */
  problems: 200,
  /** Levels of one document. */
  depth: 28,
} as const;

export interface FileProblem {
  readonly file: string;
  /** From 1; null: the file as a whole. */
  readonly line: number | null;
  /** Dotted, from the resource on; empty: all of it. */
  readonly field: string;
  readonly message: string;
  readonly remedy?: string;
}

export interface FileResource {
  readonly kind: string;
  readonly id: string;
  readonly spec: Record<string, unknown>;
}

export interface ResourceFiles {
  readonly resources: readonly FileResource[];
  readonly problems: readonly FileProblem[];
  /** Where a member of a resource stands: the nearest that is written. `path` from the resource on. */
  place(index: number, path: readonly string[]): { readonly file: string; readonly line: number };
}

interface Text {
  readonly file: string;
  readonly text: string;
}

interface Held {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** @param stdin what `-` reads. Given apart, so that it is read once. */
export function readResourceFiles(paths: readonly string[], stdin: () => Uint8Array): ResourceFiles {
  const problems: FileProblem[] = [];
  const tell = (file: string, message: string, remedy?: string): void =>
    void problems.push({ file, line: null, field: '', message, ...(remedy !== undefined && { remedy }) });
  const texts: Text[] = [];
  let total = 0;
  let marks = 0;

  function take(file: string, read: () => Uint8Array): void {
    if (texts.length === FILE_BOUNDS.files) {
      if (!problems.some(({ message }) => message.startsWith('more than')))
        tell(file, `more than ${FILE_BOUNDS.files} files`, 'Apply one folder after another.');
      return;
    }
    let bytes: Uint8Array;
    try {
      bytes = read();
    } catch (error) {
      tell(file, `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
      return;
    }
    total += bytes.length;
    if (bytes.length > FILE_BOUNDS.fileBytes) return tell(file, 'is larger than 1 MiB', 'Split it.');
    if (total > FILE_BOUNDS.totalBytes)
      return tell(file, `with it the files are larger than ${FILE_BOUNDS.totalBytes} bytes`, 'Apply fewer at once.');
    const parts = marksIn(bytes);
    marks += parts;
    if (parts > FILE_BOUNDS.fileMarks || marks > FILE_BOUNDS.totalMarks)
      return tell(file, 'has too many lines, quotes, brackets and commas', 'Split it, and apply fewer at once.');
    try {
      texts.push({ file, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) });
    } catch {
      tell(file, 'is not valid UTF-8', 'Save it as UTF-8 text.');
    }
  }

  function walk(folder: string, depth: number): void {
    if (depth > FILE_BOUNDS.folderDepth) return tell(folder, `is deeper than ${FILE_BOUNDS.folderDepth} folders`);
    for (const name of readdirSync(folder).sort()) {
      if (name.startsWith('.')) continue;
      const path = join(folder, name);
      const stats = lstatSync(path);
      if (stats.isDirectory()) walk(path, depth + 1);
      else if (!/\.(?:ya?ml|json)$/.test(name)) continue;
      else if (stats.isFile()) takeFile(path, stats.size);
      else tell(path, 'is a link or a device, and not read', 'Put the file itself there, or name it with -f.');
    }
  }

  /** The size is asked first: what is too large is not read. */
  const takeFile = (path: string, size: number): void =>
    size > FILE_BOUNDS.fileBytes
      ? tell(path, 'is larger than 1 MiB', 'Split it.')
      : take(path, () => readFileSync(path));

  for (const path of paths) {
    if (path === '-') {
      take('(standard input)', stdin);
      continue;
    }
    try {
      const stats = statSync(path);
      if (stats.isDirectory()) walk(path, 1);
      else if (stats.isFile()) takeFile(path, stats.size);
      else tell(path, 'is neither a file nor a folder');
    } catch (error) {
      tell(
        path,
        `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
        'Name a file or a folder.',
      );
    }
  }
  return { ...readTexts(texts, problems) };
}

const MARKS: ReadonlySet<number> = new Set(Buffer.from('\n\r"\'[]{},'));

function marksIn(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (MARKS.has(byte)) count++;
  return count;
}

function readTexts(texts: readonly Text[], problems: FileProblem[]): ResourceFiles {
  const held: Held[] = [];
  const resources: FileResource[] = [];
  const firstPlace = new Map<string, string>();
  for (const { file, text } of texts) {
    for (const one of documentsOf(file, text, problems)) {
      const resource = readResource(one, problems);
      if (!resource) continue;
      const name = `${resource.kind}/${resource.id}`;
      const here = `${file}:${lineOf(one, one.document.contents)}`;
      const first = firstPlace.get(name);
      if (first !== undefined)
        problems.push({
          file,
          line: lineOf(one, one.document.contents),
          field: 'id',
          message: `${withoutSecrets(name)} stands at ${first} as well`,
          remedy: 'Keep one of them.',
        });
      else firstPlace.set(name, here);
      held.push(one);
      resources.push(resource);
    }
  }
  if (resources.length > FILE_BOUNDS.resources)
    problems.push({
      file: held[FILE_BOUNDS.resources]!.file,
      line: null,
      field: '',
      message: `more than ${FILE_BOUNDS.resources} resources`,
      remedy: 'Apply fewer at once.',
    });
  return {
    resources,
    problems,
    place: (index, path) => {
      const one = held[index]!;
      return { file: one.file, line: lineOf(one, nodeAt(one.document, path)) };
    },
  };
}

/** Documents without content are none: a file may begin or end with `---`. */
function documentsOf(file: string, text: string, problems: FileProblem[]): Held[] {
  const lines = new LineCounter();
  const first = problems.length;
  const fail = (offset: number | undefined, field: string, message: string, remedy?: string): void => {
    if (problems.length - first >= FILE_BOUNDS.problems) return;
    problems.push({
      file,
      line: offset === undefined ? null : lines.linePos(offset).line,
      field,
      message,
      ...(remedy !== undefined && { remedy }),
    });
  };
  const deep = deepest(text);
  if (deep !== null) {
    fail(undefined, '', `is nested deeper than ${FILE_BOUNDS.depth} levels`, 'Nest less deeply.');
    return [];
  }
  if ((text.match(/^---/gm)?.length ?? 0) > 2 * FILE_BOUNDS.resources) {
    fail(undefined, '', `has more than ${2 * FILE_BOUNDS.resources} documents`, 'Split it.');
    return [];
  }
  let documents: Document[];
  try {
    documents = parseAllDocuments(text, {
      lineCounter: lines,
      // Checked below: the parser compares each key with all before it, which a hostile file makes last for minutes.
      uniqueKeys: false,
      strict: true,
      merge: false,
      schema: 'core',
      version: '1.2',
      prettyErrors: false,
      logLevel: 'error',
    }) as Document[];
  } catch {
    // The parser gives up on some texts with an error of the engine; it quotes what it read, so its words stay here.
    fail(undefined, '', 'is not valid YAML', 'Check its brackets, indentation and quotes.');
    return [];
  }
  return documents.flatMap((document): Held[] => {
    const before = problems.length;
    for (const { code, pos } of document.errors)
      fail(
        pos[0],
        '',
        `not valid YAML (${code.toLowerCase().replaceAll('_', ' ')})`,
        'Check indentation, quotes and colons at this place.',
      );
    const checkNode = (node: Node, path: readonly unknown[]): symbol | undefined => {
      const at = node.range?.[0];
      if (path.filter(isCollection).length > FILE_BOUNDS.depth) {
        fail(at, '', `is nested deeper than ${FILE_BOUNDS.depth} levels`, 'Nest less deeply.');
        return visit.BREAK;
      }
      const refused = isAlias(node)
        ? 'aliases'
        : node.anchor !== undefined
          ? 'anchors'
          : node.tag !== undefined && 'tags';
      if (refused) fail(at, '', `YAML ${refused} are not accepted`, 'Write the value out in full.');
      else if (isScalar(node) && typeof node.value === 'number' && !exact(node.value))
        fail(at, '', 'this number cannot be kept exactly', 'Put it in quotes, or write a smaller one.');
      return undefined;
    };
    visit(document, {
      Node: (_, node, path) => checkNode(node, path),
      Map: (_, map, path) => {
        const keys = new Set<unknown>();
        for (const { key } of map.items)
          if (isScalar(key)) {
            if (keys.has(key.value))
              fail(
                key.range?.[0],
                withoutSecrets(String(key.value)).slice(0, 100),
                'this key stands twice in the same section',
                'Keep one of them; which one wins would be a guess.',
              );
            keys.add(key.value);
          }
        return checkNode(map, path);
      },
      Pair: (_, pair) => {
        if (!isScalar(pair.key) || typeof pair.key.value !== 'string' || pair.key.value === '__proto__')
          fail(
            isNode(pair.key) ? pair.key.range?.[0] : undefined,
            '',
            'this is no name for a member',
            'Use plain words as keys.',
          );
      },
    });
    if (
      problems.length > before ||
      document.contents === null ||
      (isScalar(document.contents) && document.contents.value === null)
    )
      return [];
    return [{ file, document, lines }];
  });
}

const exact = (value: number): boolean =>
  Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));

/**
 * A bound before the parser, which recurses: flow brackets by counting them, blocks by their indentation (each level takes a column).
 * Brackets inside quotes count, too; a text with that many of them in a row is nobody's policy. Null: not too deep.
 */
function deepest(text: string): number | null {
  let open = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x5b || code === 0x7b) {
      if (++open > 500) return open;
    } else if ((code === 0x5d || code === 0x7d) && open > 0) open--;
    else if (code === 0x0a) {
      let column = 0;
      let dashes = 0;
      for (; column < 2_000; column++) {
        const next = text.charCodeAt(at + 1 + column);
        if (next === 0x2d || next === 0x3f || next === 0x3a) dashes++;
        else if (next !== 0x20) break;
      }
      if (dashes > 500) return dashes;
    }
  }
  return null;
}

const MEMBERS = ['kind', 'id', 'spec'];

/** Kind, id and spec with plain values; what is wrong with it is told. */
function readResource(one: Held, problems: FileProblem[]): FileResource | null {
  const before = problems.length;
  const fail = (at: Node | null | undefined, field: string, message: string, remedy: string): void =>
    void problems.push({ file: one.file, line: lineOf(one, at), field, message, remedy });
  const { contents } = one.document;
  if (!isMap(contents)) {
    fail(
      contents,
      '',
      'a resource is an object with kind, id and spec',
      'Write `kind: server`, `id: files` and `spec:`.',
    );
    return null;
  }
  for (const pair of contents.items)
    if (isPair(pair) && isScalar(pair.key) && !MEMBERS.includes(String(pair.key.value)))
      fail(
        pair.key,
        withoutSecrets(String(pair.key.value)),
        'is no member of a resource',
        'A resource has kind, id and spec; everything else belongs into spec.',
      );
  const { kind, id, spec } = one.document.toJS({ maxAliasCount: 0 }) as Partial<Record<string, unknown>>;
  if (typeof kind !== 'string' || !kindOf(kind))
    fail(nodeAt(one.document, ['kind']), 'kind', 'is no kind that is applied from files', insteadOf(kind));
  if (typeof id !== 'string' || id === '' || id.length > 200)
    fail(nodeAt(one.document, ['id']), 'id', 'is missing or not a text', 'Give it an id; put digits alone in quotes.');
  else if (withoutSecrets(id) !== id)
    fail(
      nodeAt(one.document, ['id']),
      'id',
      'looks like a literal secret',
      'Choose a name. If it was real, rotate it.',
    );
  if (typeof spec !== 'object' || spec === null || Array.isArray(spec))
    fail(nodeAt(one.document, ['spec']), 'spec', 'is missing or not an object', 'Say there what the resource is.');
  // Found here already, so that the value does not travel. The API looks again.
  else
    for (const path of literalSecrets(spec))
      fail(
        nodeAt(one.document, path),
        path.join('.'),
        'looks like a literal secret',
        'Refer to it: credential:ID, env:NAME, file:PATH or vault:MOUNT/PATH#FIELD. If it was real, rotate it.',
      );
  return problems.length > before
    ? null
    : { kind: kind as string, id: id as string, spec: spec as Record<string, unknown> };
}

/** The node at a path, or the deepest on the way to it; the key where a member is meant. */
function nodeAt(document: Document, path: readonly string[]): Node | null {
  let node: unknown = document.contents;
  let place: Node | null = isNode(node) ? node : null;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === part);
      if (!pair) break;
      if (isNode(pair.key)) place = pair.key;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(part)];
      if (!isNode(node)) break;
      place = node;
    } else break;
  }
  return place;
}

const lineOf = ({ lines }: Held, node: Node | null | undefined): number =>
  node?.range ? lines.linePos(node.range[0]).line : 1;
