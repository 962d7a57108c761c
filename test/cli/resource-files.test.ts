/** The reader of `remit apply`: strict, bounded, every problem with file and line, nothing hostile quoted. */
import { assert, constantFrom, dictionary, jsonValue, oneof, property, string, tuple } from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { FILE_BOUNDS, readResourceFiles } from '../../src/cli/resource-files.ts';
import { SECRETS } from '../support/secrets.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'remit-files-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const read = (text: string | Uint8Array) =>
  readResourceFiles(['-'], () => (typeof text === 'string' ? new TextEncoder().encode(text) : text));
const told = (text: string | Uint8Array): string[] =>
  read(text).problems.map(({ file, line, field, message }) => `${file}:${line ?? ''} ${field} ${message}`);
const GROUP = 'kind: group\nid: a\nspec: { name: A, roles: [] }\n';

describe('reads', () => {
  test('several documents of one file, with comments and empty ones between, and JSON', () => {
    const { resources, problems } = read(
      `# first\n---\n${GROUP}---\n# nothing\n---\n{"kind":"server","id":"b","spec":{"title":"B"}}\n`,
    );
    expect(problems).toEqual([]);
    expect(resources).toEqual([
      { kind: 'group', id: 'a', spec: { name: 'A', roles: [] } },
      { kind: 'server', id: 'b', spec: { title: 'B' } },
    ]);
  });
  test('folders in order, yaml and json only, nothing hidden', () => {
    const root = join(dir, 'tree');
    mkdirSync(join(root, 'b', '.git'), { recursive: true });
    writeFileSync(join(root, 'z.yaml'), GROUP.replace('id: a', 'id: z'));
    writeFileSync(join(root, 'b', 'c.json'), JSON.stringify({ kind: 'group', id: 'c', spec: {} }));
    writeFileSync(join(root, 'b', 'notes.txt'), 'not: [');
    writeFileSync(join(root, 'b', '.git', 'x.yaml'), 'not: [');
    const { resources, problems, place } = readResourceFiles([root], () => new Uint8Array());
    expect([problems, resources.map(({ id }) => id)]).toEqual([[], ['c', 'z']]);
    expect(place(1, ['spec', 'roles', '0'])).toEqual({ file: join(root, 'z.yaml'), line: 3 });
    expect(place(1, ['spec', 'nothing'])).toEqual({ file: join(root, 'z.yaml'), line: 3 });
    expect(place(1, ['id'])).toEqual({ file: join(root, 'z.yaml'), line: 2 });
  });
});

describe('refuses', () => {
  test.each([
    [
      'a key twice',
      'kind: group\nid: a\nspec:\n  name: A\n  name: B\n',
      ['(standard input):5 name this key stands twice in the same section'],
    ],
    [
      'an anchor and its alias',
      'kind: group\nid: &x a\nspec: { name: *x }\n',
      ['(standard input):2  YAML anchors are not accepted', '(standard input):3  YAML aliases are not accepted'],
    ],
    [
      'an anchor of an object',
      'kind: group\nid: a\nspec: &x { name: A }\n',
      ['(standard input):3  YAML anchors are not accepted'],
    ],
    [
      'an anchor of a list',
      'kind: group\nid: a\nspec: { roles: &x [] }\n',
      ['(standard input):3  YAML anchors are not accepted'],
    ],
    [
      'a tag of an object',
      'kind: group\nid: a\nspec: !!map { name: A }\n',
      ['(standard input):3  YAML tags are not accepted'],
    ],
    [
      'too many levels',
      `kind: group\nid: a\nspec: ${'[{a: '.repeat(20)}1${'}]'.repeat(20)}\n`,
      ['(standard input):3  is nested deeper than 28 levels'],
    ],
    ['a tag', 'kind: !!str group\nid: a\nspec: {}\n', ['(standard input):1  YAML tags are not accepted']],
    [
      'a member that is none',
      `${GROUP}state: enabled\nlabels: {}\n`,
      ['(standard input):4 state is no member of a resource', '(standard input):5 labels is no member of a resource'],
    ],
    ['a list', '- 1\n', ['(standard input):1  a resource is an object with kind, id and spec']],
    [
      'a kind that is none',
      'kind: rocket\nid: a\nspec: {}\n',
      ['(standard input):1 kind is no kind that is applied from files'],
    ],
    ['an id that is a number', 'kind: group\nid: 007\nspec: {}\n', ['(standard input):2 id is missing or not a text']],
    ['no spec', 'kind: group\nid: a\n', ['(standard input):1 spec is missing or not an object']],
    [
      'the same record twice',
      `${GROUP}---\n${GROUP}`,
      ['(standard input):5 id group/a stands at (standard input):1 as well'],
    ],
    [
      'a number that is not exact',
      'kind: group\nid: a\nspec: { n: 9007199254740993 }\n',
      ['(standard input):3  this number cannot be kept exactly'],
    ],
    [
      'no number',
      'kind: group\nid: a\nspec: { n: .nan }\n',
      ['(standard input):3  this number cannot be kept exactly'],
    ],
    [
      'a key that is no word',
      'kind: group\nid: a\nspec: { ? [a] : 1 }\n',
      ['(standard input):3  this is no name for a member'],
    ],
    [
      'a key of the engine',
      'kind: group\nid: a\nspec: { __proto__: { x: 1 } }\n',
      ['(standard input):3  this is no name for a member'],
    ],
    ['a broken text', 'kind: group\n  id: a\n', ['(standard input):1  not valid YAML (block as implicit key)']],
    ['no text', Uint8Array.of(0xff, 0xfe, 0x00), ['(standard input):  is not valid UTF-8']],
  ])('%s', (_what, text, expected) => {
    const found = told(text);
    expect(found.slice(0, expected.length)).toEqual(expected);
    expect(found.length).toBeGreaterThan(0);
  });

  test('of what is made by hand the command is named', () => {
    const [problem] = read('kind: honeytoken\nid: trap\nspec: {}\n').problems;
    expect(problem).toMatchObject({ field: 'kind', remedy: expect.stringContaining('remit honeytoken create') });
  });

  test('every problem of every document at once', () => {
    expect(told(`kind: x\nid: 1\n---\n${GROUP}---\nkind: group\nid: b\nmore: 1\n`)).toEqual([
      '(standard input):1 kind is no kind that is applied from files',
      '(standard input):2 id is missing or not a text',
      '(standard input):1 spec is missing or not an object',
      '(standard input):10 more is no member of a resource',
      '(standard input):8 spec is missing or not an object',
    ]);
  });

  test('NH-04: a secret of any shape by file, line and field, and never by its value', () => {
    for (const [vendor, secret] of SECRETS) {
      const text = `# a file\nkind: server\nid: s\nspec:\n  upstream:\n    env:\n      PLAIN: ${JSON.stringify(secret)}\n`;
      const { problems, resources } = read(text);
      expect([vendor, resources, problems.map(({ file, line, field }) => `${file}:${line}:${field}`)]).toEqual([
        vendor,
        [],
        ['(standard input):7:spec.upstream.env.PLAIN'],
      ]);
      expect(JSON.stringify(problems)).not.toContain(JSON.stringify(secret).slice(1, -1));
    }
  });

  test('what the parser says of a broken file does not quote it', () => {
    const [, secret] = SECRETS.find(([vendor]) => vendor === 'github')!;
    for (const text of [
      `a: *${secret}\n`,
      `a: "${secret}`,
      `? ${secret}\n: - [`,
      `%YAML ${secret}\n---\na`,
      `${secret}: 1\n${secret}: 2\n`,
      `kind: ${secret}\n${secret}: 1`,
    ])
      expect([text, JSON.stringify(read(text).problems).includes(secret), read(text).problems.length > 0]).toEqual([
        text,
        false,
        true,
      ]);
  });

  test('a link inside a folder, a file that is too large, too many files', () => {
    const root = join(dir, 'bad');
    mkdirSync(root);
    writeFileSync(join(dir, 'elsewhere.yaml'), GROUP);
    symlinkSync(join(dir, 'elsewhere.yaml'), join(root, 'link.yaml'));
    writeFileSync(join(root, 'large.yaml'), 'x'.repeat(FILE_BOUNDS.fileBytes + 1));
    const { problems, resources } = readResourceFiles([root, join(dir, 'nothing')], () => new Uint8Array());
    expect([resources, problems.map(({ file, message }) => [file, message])]).toEqual([
      [],
      [
        [join(root, 'large.yaml'), 'is larger than 1 MiB'],
        [join(root, 'link.yaml'), 'is a link or a device, and not read'],
        [join(dir, 'nothing'), 'cannot be read (ENOENT)'],
      ],
    ]);
  });
});

describe('is done with hostile files in time', () => {
  const MIB = FILE_BOUNDS.fileBytes;
  const laughs = `a: &a [x,x]\n${Array.from({ length: 30 }, (_, at) => `b${at}: &b${at} [*${at === 0 ? 'a' : `b${at - 1}`},*${at === 0 ? 'a' : `b${at - 1}`}]`).join('\n')}\n`;
  test.each([
    ['a billion laughs', laughs],
    ['brackets', '['.repeat(MIB)],
    ['braces', '{a: '.repeat(MIB / 4)],
    ['indented ones', Array.from({ length: 1_400 }, (_, at) => `${' '.repeat(at)}a:`).join('\n')],
    ['dashes', `a:\n${'- '.repeat(MIB / 2 - 10)}x`],
    ['documents', '---\n'.repeat(MIB / 4)],
    ['different keys', `spec:\n${Array.from({ length: 90_000 }, (_, at) => ` k${at}: 1`).join('\n')}`],
    ['one key again and again', ' a: 1\n'.repeat(MIB / 6)],
    ['one long word', 'a'.repeat(MIB)],
    ['quotes', '"'.repeat(MIB)],
  ])('%s', { timeout: 120_000 }, (_what, text) => {
    const started = performance.now();
    const { resources } = read(text);
    expect(resources).toEqual([]);
    expect(performance.now() - started).toBeLessThan(8_000);
  });
});

describe('fuzz', () => {
  test('no text makes it throw, and what it reads has no problem', () => {
    const piece = oneof(
      string(),
      constantFrom(
        'kind: group\n',
        'id: a\n',
        'spec:\n',
        '  name: A\n',
        '---\n',
        '- ',
        '? ',
        ': ',
        '&a ',
        '*a ',
        '!!x ',
        '{',
        '}',
        '[',
        ']',
        '"',
        "'",
        '|\n',
        '>-\n',
        '\t',
        '#',
        '%TAG',
        '\u0000',
        '<<: ',
      ),
    );
    assert(
      property(tuple(piece, piece, piece, piece, piece, piece), (pieces) => {
        const { resources, problems, place } = read(pieces.join(''));
        for (const [index, { kind, id, spec }] of resources.entries()) {
          expect([typeof kind, typeof id, typeof spec]).toEqual(['string', 'string', 'object']);
          expect(place(index, ['spec', 'a', 'b']).line).toBeGreaterThan(0);
        }
        for (const { line } of problems) expect(line === null || line > 0).toBe(true);
      }),
      { seed: 11, numRuns: 3_000 },
    );
  });
  test('what was written is what is read', () => {
    assert(
      property(
        dictionary(
          string().filter((key) => key !== '__proto__'),
          jsonValue({ maxDepth: 3 }),
        ),
        (spec) => {
          const { resources, problems } = read(
            stringify({ kind: 'group', id: 'a', spec }, { aliasDuplicateObjects: false }),
          );
          if (problems.length === 0) expect(JSON.stringify(resources[0]?.spec)).toBe(JSON.stringify(spec));
        },
      ),
      { seed: 12, numRuns: 500 },
    );
  });
});
