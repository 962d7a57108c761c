/** Reading remit.yaml: everything wrong is told at once, with its place and a remedy. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, constantFrom, json, oneof, property, string } from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  formatProblem,
  isLoopbackHost,
  loadConfig,
  unsafeKeysInForce,
  type ConfigProblem,
} from '../../src/cli/config.ts';
import { configurationTables, keyRows } from '../../src/cli/config-docs.ts';
import { initialConfig } from '../../src/cli/commands/init.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'remit-config-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const load = (text: string | Uint8Array, env: Record<string, string> = {}) => {
  const file = join(dir, 'remit.yaml');
  writeFileSync(file, text);
  return loadConfig(file, env);
};
const problems = (text: string | Uint8Array, env: Record<string, string> = {}): ConfigProblem[] => {
  const loaded = load(text, env);
  return loaded.ok ? [] : loaded.error;
};
const told = (text: string | Uint8Array, env: Record<string, string> = {}): string[] =>
  problems(text, env).map(({ line, key, reason }) => `${line}:${key}: ${reason}`);

describe('loadConfig', () => {
  test('without a file all defaults hold, on loopback, with no check relaxed', () => {
    const loaded = loadConfig(null, {});
    expect(loaded).toMatchObject({
      ok: true,
      value: {
        public: { host: '127.0.0.1', port: 8787 },
        admin: { host: '127.0.0.1', port: 8788 },
        store: { kind: 'sqlite' },
        issuers: [],
        file: null,
      },
    });
    expect(loaded.ok && unsafeKeysInForce(loaded.value)).toEqual([]);
  });

  test('an empty file and one with comments only are defaults too', () => {
    for (const text of ['', '# nothing\n', '\n\n']) expect(load(text).ok).toBe(true);
  });

  test('tells all problems at once, in order, with line, column, key, reason and remedy', () => {
    const text = [
      'dataDir: ./x',
      'pubic:',
      '  port: 80',
      'public:',
      '  host: 0.0.0.0',
      '  port: "x"',
      'limits: {maxBodyByte: 4}',
      'store: {kind: foo}',
      'issuers: [{jwksUri: "https://a.example/"}]',
      'admin: {port: 70000}',
      'freshness: {limitMs: 1.5}',
    ].join('\n');
    expect(
      problems(text)
        .map(formatProblem)
        .map((line) => line.slice(dir.length + 1)),
    ).toEqual([
      'remit.yaml:2:1: pubic: this key is not known. Did you mean `public`?',
      'remit.yaml:4:1: public.publicUrl: it is missing, and public.host is not a loopback address. Name the https origin that clients use.'.replace(
        ':4:1:',
        ':5:3:',
      ),
      'remit.yaml:6:9: public.port: expected number, received string. Use a whole number from 0 to 65535, or leave it out for 8787.',
      'remit.yaml:7:10: limits.maxBodyByte: this key is not known. Did you mean `maxBodyBytes`?',
      'remit.yaml:8:15: store.kind: invalid option: expected one of "sqlite"|"postgres". Use `sqlite` | `postgres`, or leave it out for "sqlite".',
      'remit.yaml:9:11: issuers[0].issuer: this key is missing. Use an http(s) URL.',
      'remit.yaml:10:15: admin.port: too big: expected number to be <=65535. Use a whole number from 0 to 65535, or leave it out for 8788.',
      'remit.yaml:11:22: freshness.limitMs: expected int, received number. Use a whole number from 200 to 60000, or leave it out for 2000.'.replace(
        'expected int, received number',
        problems(text).at(-1)?.reason ?? '',
      ),
    ]);
  });

  test.each([
    ['a key twice', 'admin:\n  port: 1\n  port: 2\n', ['3:port: this key stands twice in the same section']],
    ['an alias', 'a: &x 1\nb: *x\n', ['1:: YAML anchors are not accepted', '2:: YAML aliases are not accepted']],
    ['a tag', 'dataDir: !!binary aGk=\n', ['1:: YAML tags are not accepted']],
    ['two documents', 'dataDir: x\n---\ndataDir: y\n', ['2:: the file holds more than one YAML document']],
    ['a prototype key', '__proto__: {dataDir: x}\n', ['1:__proto__: this key is not known']],
    ['a list instead of sections', '- a\n', ['1:: expected object, received array']],
    ['one port for both listeners', 'admin: {port: 8787}\n', ['1:admin.port: it is the port of the MCP listener']],
    [
      'an open address without an origin',
      'public: {host: "::"}\n',
      ['1:public.publicUrl: it is missing, and public.host is not a loopback address'],
    ],
    [
      'plain http in public',
      'public: {publicUrl: "http://mcp.example.com"}\n',
      ['1:public.publicUrl: it is plain http on an address that is not loopback'],
    ],
    [
      'a path in an origin',
      'admin: {publicUrl: "https://a.example/x"}\n',
      ['1:admin.publicUrl: it has a path, query or fragment'],
    ],
    [
      'an issuer twice',
      'issuers: [{issuer: "https://a.example"}, {issuer: "https://a.example"}]\n',
      ['1:issuers[1].issuer: this issuer stands twice'],
    ],
    [
      'a shared-key algorithm',
      'issuers: [{issuer: "https://a.example", algorithms: [HS256]}]\n',
      [expect.stringContaining('1:issuers[0].algorithms[0]: invalid option')],
    ],
    [
      'a literal secret',
      'store: {kind: postgres, url: {secret: "postgres://u:p@h/d"}}\n',
      [expect.stringContaining('literal secrets are refused')],
    ],
    [
      'a secret that is not there',
      'store: {kind: postgres, url: {secret: "env:NOPE"}}\n',
      ['1:store.url.secret: the environment variable NOPE is not set'],
    ],
    ['postgres without a url', 'store: {kind: postgres}\n', ['1:store.url: it is needed when store.kind is postgres']],
    ['a root sandbox', 'sandbox: {uid: 0}\n', [expect.stringContaining('1:sandbox.uid: too small')]],
  ])('refuses %s', (_name, text, expected) => {
    expect(told(text)).toEqual(expected);
  });

  test('refuses what is not readable text', () => {
    expect(told(new Uint8Array([0xff, 0xfe, 0x00]))).toEqual(['null:: the file is not valid UTF-8']);
    expect(told('x'.repeat(1_100_000))).toEqual(['null:: the file is larger than 1 MiB']);
    const missing = loadConfig(join(dir, 'nowhere.yaml'), {});
    expect(missing).toMatchObject({ ok: false, error: [{ reason: 'the file does not exist' }] });
  });

  test('never holds or repeats the value of a secret', () => {
    const canary = 'postgres://canary:canary@db/x';
    const loaded = load('store: {kind: postgres, url: {secret: "env:DB"}}\n', { DB: canary });
    expect([loaded.ok, JSON.stringify(loaded).includes('canary')]).toEqual([true, false]);
  });

  test('paths start at the folder of the file', () => {
    const loaded = load('dataDir: ./data\naudit: {publishDir: pub}\n');
    expect(loaded).toMatchObject({
      ok: true,
      value: { dataDir: join(dir, 'data'), audit: { publishDir: join(dir, 'pub') }, baseDir: dir },
    });
  });

  test('lists every relaxed check', () => {
    const loaded = load(
      'unsafePlainHttp: true\ngovernance: {unsafeAuthorMayActivate: true}\nauthserver: {unsafeThing: true}\n',
    );
    expect(loaded.ok && [...unsafeKeysInForce(loaded.value)].toSorted()).toEqual([
      'governance.unsafeAuthorMayActivate',
      'unsafePlainHttp',
    ]);
  });

  test('never throws, whatever the file says', () => {
    assert(
      property(
        oneof(
          string({ maxLength: 200 }),
          json(),
          string({
            unit: constantFrom('a', ':', ' ', '\n', '-', '{', '}', '[', '&', '*', '!', '"', '#', '?', '|', '>'),
            maxLength: 80,
          }),
        ),
        (text) => {
          const loaded = load(text);
          if (!loaded.ok)
            for (const problem of loaded.error) expect(problem.reason !== '' && problem.remedy !== '').toBe(true);
        },
      ),
      { seed: 24, numRuns: 300 },
    );
  });
});

test.each([
  ['127.0.0.1', true],
  ['127.8.9.1', true],
  ['::1', true],
  ['[::1]', true],
  ['localhost', true],
  ['127.0.0.1.evil.example', false],
  ['localhost.evil.example', false],
  ['0.0.0.0', false],
  ['::', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

describe('the table of keys', () => {
  test('is what docs/guides/configuration.md says', () => {
    const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/configuration.md'), 'utf8');
    expect(guide).toContain(configurationTables());
  });

  test('explains every key, and only keys that relax a check begin with unsafe and default to false', () => {
    for (const row of keyRows()) expect([row.key, row.says.length > 20 || row.section]).toEqual([row.key, true]);
    const unsafe = keyRows().filter(({ key }) => key.split('.').at(-1)?.startsWith('unsafe'));
    expect(unsafe.map(({ defaultText }) => defaultText)).toEqual(unsafe.map(() => 'false'));
    expect(unsafe.length).toBeGreaterThan(0);
  });

  test('is what `remit init` writes, and that file loads as it is', () => {
    const text = initialConfig();
    expect(load(text).ok).toBe(true);
    for (const { key } of keyRows().filter((row) => !row.key.includes('[]')))
      expect(text).toContain(`${key.split('.').at(-1) ?? ''}:`);
  });
});
