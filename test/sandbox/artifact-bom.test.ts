/** What npm's lockfile may say: everything from the registry by version, with an integrity; the rest is refused by name. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { billOfMaterials, readLockfile } from '../../src/sandbox/artifact-bom.ts';

const integrity = `sha512-${'A'.repeat(86)}==`;
const lock = (packages: object): string => JSON.stringify({ lockfileVersion: 3, packages: { '': {}, ...packages } });
const read = (packages: object) => readLockfile(lock(packages), 'mail', () => true);
const mail = { version: '1.0.0', integrity };

test.each<readonly [string, object, string]>([
  [
    'git',
    { 'node_modules/mail': { ...mail, dependencies: { evil: 'git+https://x.example/evil.git' } } },
    'mail takes evil from "git+https://x.example/evil.git" and not from the registry',
  ],
  [
    'a short address',
    { 'node_modules/mail': { ...mail, optionalDependencies: { evil: 'acme/evil' } } },
    'mail takes evil from "acme/evil" and not from the registry',
  ],
  [
    'a URL',
    { 'node_modules/mail': { ...mail, dependencies: { evil: 'https://x.example/e.tgz' } } },
    'mail takes evil from',
  ],
  ['a folder', { 'node_modules/mail': { ...mail, dependencies: { evil: 'file:../evil' } } }, 'mail takes evil from'],
  [
    'an alias of git',
    { 'node_modules/mail': { ...mail, dependencies: { evil: 'npm:x@git+ssh://x' } } },
    'mail takes evil from',
  ],
  ['a link', { 'node_modules/mail': mail, 'node_modules/evil': { link: true, resolved: '../evil' } }, 'evil is a link'],
  [
    'no integrity',
    { 'node_modules/mail': { version: '1.0.0' } },
    'the registry gives no sha512 integrity for mail@1.0.0',
  ],
  [
    'a weak one',
    { 'node_modules/mail': { ...mail, integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' } },
    'the registry gives no sha512 integrity for mail@1.0.0',
  ],
  ['another package', { 'node_modules/other': mail }, 'mail is not among what was installed'],
  [
    'another under its name',
    { 'node_modules/mail': { ...mail, name: 'evil' } },
    'mail is not among what was installed',
  ],
  ['its own name further down', { 'node_modules/x/node_modules/mail': mail }, 'mail is not among what was installed'],
])('%s is refused', (_title, packages, problem) => {
  expect(read(packages)).toEqual({
    ok: false,
    problems: expect.arrayContaining([expect.stringContaining(problem)]) as string[],
  });
});

test('aliases, bundled packages and what is for other platforms are told apart', () => {
  const found = readLockfile(
    lock({
      'node_modules/mail': {
        ...mail,
        dependencies: { a: '^1', b: 'npm:@x/b@2', c: 'latest', d: '1.0.0 || >2' },
        hasInstallScript: true,
      },
      'node_modules/b': { name: '@x/b', version: '2.0.0', integrity },
      'node_modules/mail/node_modules/inside': { version: '3.0.0', inBundle: true },
      'node_modules/elsewhere': { version: '4.0.0', optional: true },
    }),
    'mail',
    (place) => place !== 'node_modules/elsewhere',
  );
  if (!found.ok) throw new Error(found.problems.join());
  expect(found.packages).toEqual([
    { name: '@x/b', version: '2.0.0', integrity, installScript: false },
    { name: 'inside', version: '3.0.0', integrity: null, installScript: false },
    { name: 'mail', version: '1.0.0', integrity, installScript: true },
  ]);
  const bom = JSON.parse(billOfMaterials(found.root, found.packages)) as { components: Array<Record<string, unknown>> };
  expect(bom.components.map(({ purl }) => purl)).toEqual(['pkg:npm/%40x/b@2.0.0', 'pkg:npm/inside@3.0.0']);
  expect(bom.components[0]).toMatchObject({
    group: '@x',
    name: 'b',
    hashes: [{ alg: 'SHA-512', content: '00'.repeat(64) }],
  });
});

test('whatever npm writes, it is read or refused', () => {
  const entry = fc.record(
    {
      version: fc.string(),
      integrity: fc.string(),
      link: fc.boolean(),
      dependencies: fc.dictionary(fc.string(), fc.string()),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), fc.dictionary(fc.string(), entry).map(lock)), (text) => {
      const found = readLockfile(text, 'mail', () => true);
      expect(found.ok || found.problems.length > 0).toBe(true);
    }),
    { seed: 6, numRuns: 500 },
  );
});
