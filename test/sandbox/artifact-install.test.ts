/** TD-08: one exact version is installed by the real npm client, without running a script of it, whole or not at all; and nothing else is. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { installArtifact, readSpec } from '../../src/sandbox/artifact-install.ts';
import { listArtifacts, readArtifact, verifyArtifact } from '../../src/sandbox/artifact-record.ts';
import { artifactFrom, resolveCommand } from '../../src/sandbox/artifact.ts';
import { startRegistry, type Registry } from '../support/registry.ts';

const root = mkdtempSync(join(tmpdir(), 'remit-install-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let registry: Registry;
let artifacts: string;
let count = 0;
beforeAll(async () => void (registry = await startRegistry()));
afterAll(() => registry.close());
beforeEach(() => void (artifacts = join(root, `artifacts-${++count}`)));
/** Nothing is ever left of work that was under way. */
afterEach(() => {
  if (existsSync(artifacts)) expect(readdirSync(artifacts).filter((name) => name.startsWith('.'))).toEqual([]);
});

const said: string[] = [];
const install = (spec: string, more: Partial<Parameters<typeof installArtifact>[0]> = {}) =>
  installArtifact({
    artifacts,
    spec,
    registry: registry.url,
    searchPath: process.env['PATH'] ?? '',
    now: Date.parse('2026-11-22T12:00:00Z'),
    progress: (text) => void said.push(text),
    ...more,
  });

const program = { bin: 'run.js' };
const files = { 'run.js': '#!/usr/bin/env node\n' };
let mailIntegrity: string;
beforeAll(() => {
  registry.publish({ name: 'inner', version: '1.2.0', files: { 'index.js': 'inner' } });
  registry.publish({ name: 'inner', version: '1.2.1', files: { 'index.js': 'inner again' } });
  mailIntegrity = registry.publish({
    name: '@acme/mail',
    version: '1.0.0',
    manifest: {
      ...program,
      dependencies: { inner: '~1.2.0' },
      devDependencies: { absent: '1.0.0' },
      scripts: { preinstall: `node -e "fs.writeFileSync('${join(root, 'canary')}', '')"`, install: 'false' },
    },
    files,
  });
  registry.publish({ name: '@acme/mail', version: '2.0.0', manifest: program, files });
});

test('TD-08: what is installed is the version that was named, with its digest, its bill of materials, and no script run', async () => {
  const record = await install('@acme/mail@1.0.0');
  expect(record).toMatchObject({
    name: '@acme/mail',
    version: '1.0.0',
    integrity: mailIntegrity,
    digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string,
    programs: ['mail'],
    packages: 2,
    scriptsNotRun: ['@acme/mail@1.0.0'],
    installedAt: '2026-11-22T12:00:00.000Z',
  });
  expect(existsSync(join(root, 'canary'))).toBe(false);
  const place = join(artifacts, '@acme', 'mail', '1.0.0');
  expect(readdirSync(place).toSorted()).toEqual(['artifact.json', 'bom.json', 'node_modules']);
  expect(readdirSync(join(place, 'node_modules')).toSorted()).toEqual(['@acme', 'inner']);
  expect(statSync(join(place, 'node_modules/inner/index.js')).mode & 0o777).toBe(0o644);
  expect(statSync(place).mode & 0o777).toBe(0o755);
  const bom = JSON.parse(readFileSync(join(place, 'bom.json'), 'utf8')) as Record<string, unknown>;
  expect(bom).toMatchObject({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    metadata: { component: { group: '@acme', name: 'mail', purl: 'pkg:npm/%40acme/mail@1.0.0' } },
    components: [{ name: 'inner', version: '1.2.1', hashes: [{ alg: 'SHA-512' }] }],
  });
  const text = readdirSync(place, { recursive: true, encoding: 'utf8' })
    .filter((file) => statSync(join(place, file)).isFile())
    .map((file) => readFileSync(join(place, file), 'utf8'))
    .join('\n');
  expect(text).not.toContain('127.0.0.1');
  expect(listArtifacts(artifacts)).toEqual([record]);
  expect(readArtifact(artifacts, '@acme/mail', '1.0.0')).toEqual(record);
  expect(await verifyArtifact(artifacts, record)).toEqual([]);
});

test('TD-08: the command of a server runs from the artifact of exactly its version, and from no other', async () => {
  await install('@acme/mail@1.0.0');
  const command = ['node', '@acme/mail'];
  const from = artifactFrom(artifacts, command, { package: '@acme/mail', version: '1.0.0' });
  expect(resolveCommand(command, 64, from).mounts).toEqual([
    { from: join(artifacts, '@acme/mail/1.0.0/node_modules'), to: '/remit/node_modules', mode: 'read' },
  ]);
  for (const source of [
    { package: '@acme/mail', version: '1.0.1' },
    { package: '@acme/mail' },
    { package: 'inner', version: '1.0.0' },
    { package: '@acme/mail', version: '../1.0.0' },
    undefined,
  ])
    expect(artifactFrom(artifacts, command, source)).toBeUndefined();
  expect(() => resolveCommand(command, 64, undefined)).toThrow('remit artifact install @acme/mail@VERSION');
});

test('an installed version is left as it is, also when the registry says something else now', async () => {
  const record = await install('@acme/mail@2.0.0');
  registry.publish({ name: '@acme/mail', version: '2.0.0', manifest: program, files: { 'run.js': 'other' } });
  await expect(install('@acme/mail@2.0.0')).rejects.toMatchObject({ code: 'artifact_exists' });
  expect(await verifyArtifact(artifacts, record)).toEqual([]);
});

test('verify names what changed', async () => {
  const record = await install('@acme/mail@1.0.0');
  const place = join(artifacts, '@acme/mail/1.0.0');
  writeFileSync(join(place, 'node_modules/inner/index.js'), 'evil');
  expect(await verifyArtifact(artifacts, record)).toEqual([
    expect.stringMatching(/^its files are sha256:\w+, and sha256:\w+ was installed$/),
  ]);
  writeFileSync(join(place, 'bom.json'), '{}');
  expect(await verifyArtifact(artifacts, record)).toContain('bom.json is not the one that was written');
  rmSync(join(place, 'node_modules/@acme'), { recursive: true });
  expect(await verifyArtifact(artifacts, record)).toEqual([expect.stringContaining('is not installed')]);
});

describe('what is no exact version of a package of the registry', () => {
  test.each([
    'mail',
    'mail@latest',
    'mail@^1.0.0',
    'mail@1',
    'mail@1.x',
    'mail@v1.0.0',
    'mail@1.0.0+build',
    'mail@1.0.0 --ignore-scripts=false',
    'mail@*',
    'mail@',
    '@acme/mail',
    '--registry=https://elsewhere.example@1.0.0',
    'https://example.com/mail.tgz',
    'mail@https://example.com/mail.tgz',
    'git+https://example.com/mail.git',
    'acme/mail@1.0.0',
    'mail@npm:evil@1.0.0',
    'file:../mail',
    '../mail@1.0.0',
    '/srv/mail@1.0.0',
    'mail/bin/x@1.0.0',
    'MAIL@1.0.0',
    '',
  ])('TD-08: %j is refused before anything is asked', async (spec) => {
    expect(() => readSpec(spec)).toThrow(expect.objectContaining({ code: 'artifact_spec' }) as Error);
    const before = registry.requests.length;
    await expect(install(spec)).rejects.toMatchObject({ code: 'artifact_spec' });
    expect([registry.requests.length, existsSync(artifacts)]).toEqual([before, false]);
  });

  test.each(['http://registry.example', 'https://user:secret@registry.example', 'ftp://x', 'x', 'https://x/?token=1'])(
    'the registry %j is refused',
    async (address) => {
      await expect(install('@acme/mail@1.0.0', { registry: address })).rejects.toMatchObject({
        code: 'artifact_registry',
      });
    },
  );
});

describe('an installation that cannot be trusted leaves nothing', () => {
  const nothing = (): void => expect(listArtifacts(artifacts)).toEqual([]);
  const one = (name: string, manifest: object = program) =>
    registry.publish({ name, version: '1.0.0', manifest: { ...manifest }, files });

  test('other bytes than the registry vouched for', async () => {
    one('swapped');
    registry.tamper('swapped', '1.0.0', Buffer.from('other bytes'));
    await expect(install('swapped@1.0.0')).rejects.toMatchObject({
      code: 'artifact_npm',
      message: expect.stringContaining('EINTEGRITY') as string,
    });
    nothing();
  });
  test('another archive than the vendor published', async () => {
    one('renewed');
    await expect(install('renewed@1.0.0', { integrity: mailIntegrity })).rejects.toMatchObject({
      code: 'artifact_refused',
      message: expect.stringContaining(`${mailIntegrity} was expected`) as string,
    });
    nothing();
  });
  test('no such version', async () => {
    await expect(install('@acme/mail@9.9.9')).rejects.toMatchObject({
      code: 'artifact_npm',
      message: expect.stringContaining('No matching version found') as string,
    });
    nothing();
  });
  test('no program', async () => {
    one('library', {});
    await expect(install('library@1.0.0')).rejects.toThrow('it has no program, so there is nothing to start');
    nothing();
  });
  test.each([
    ['a URL', (): string => `${registry.url}inner/-/1.2.0.tgz`],
    ['git', () => 'git+file:///srv/evil.git'],
    ['a short address of git', () => 'acme/evil'],
    ['a folder', () => 'file:/srv/evil'],
  ])('a dependency from %s', async (title, spec) => {
    const name = `takes-${title.replaceAll(' ', '-').toLowerCase()}`;
    one(name, { ...program, dependencies: { evil: spec() } });
    // Which of the two speaks depends on the age of the client; that nobody fetches it does not.
    await expect(install(`${name}@1.0.0`)).rejects.toThrow(/EALLOW|takes evil from .* and not from the registry/);
    nothing();
  });
  test('no npm', async () => {
    await expect(install('@acme/mail@1.0.0', { searchPath: '/nowhere' })).rejects.toMatchObject({
      code: 'artifact_npm',
    });
    nothing();
  });
  test('a folder that cannot be written', async () => {
    writeFileSync(join(root, 'file'), '');
    await expect(install('@acme/mail@1.0.0', { artifacts: join(root, 'file') })).rejects.toMatchObject({
      code: 'artifact_folder',
    });
  });
});

test('what a killed installation left is not found, and is swept away later', async () => {
  const left = join(artifacts, '.partial-0123');
  mkdirSync(join(left, 'out', 'node_modules'), { recursive: true });
  expect(listArtifacts(artifacts)).toEqual([]);
  utimesSync(left, 0, 0);
  await install('@acme/mail@1.0.0');
  expect(existsSync(left)).toBe(false);
});
