/** What must not be in the repository: paths of one machine, registry addresses, unfinished code, tests that are switched off. */
import { homedir } from 'node:os';
import { sep } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT, files, read } from './repository.ts';

const TEXT = files().filter((path) => /\.(ts|mjs|js|json|md|yaml|yml|cedar|html|css)$|^\.ci\/|^\.npmrc$/.test(path));

/** `file:line` of every line that matches. */
function lines(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, at) => (pattern.test(line) ? [`${path}:${at + 1}`] : [])),
  );
}

const literally = (text: string): RegExp => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
const code = (folder: string): string[] => TEXT.filter((path) => path.startsWith(`${folder}/`));

test('no file names the folder of this checkout or of its user', () => {
  const here = [ROOT, homedir()].filter((path) => path.split(sep).length > 2);
  for (const path of here) expect(lines(TEXT, literally(path))).toEqual([]);
});

test('no file names a package registry', () => {
  const hosts = ['registry.npmjs', 'registry.yarnpkg', 'npmmirror', 'jfrog', 'artifactory'].map((name) => `${name}.`);
  const own = 'test/packaging/hygiene.test.ts';
  for (const host of hosts)
    expect(
      lines(
        TEXT.filter((path) => path !== own),
        literally(host),
      ),
    ).toEqual([]);
  expect(
    lines(
      TEXT.filter((path) => path === '.npmrc'),
      /registry\s*=|_auth/,
    ),
  ).toEqual([]);
});

test('the lock file fits any registry and pins every package it can fetch here', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { resolved?: string; integrity?: string; optional?: boolean; link?: boolean }>;
  };
  const entries = Object.entries(packages).filter(([path]) => path !== '');
  expect(entries.length).toBeGreaterThan(300);
  expect(entries.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  // Optional binaries of other platforms may be absent from the registry that made the lock.
  expect(entries.filter(([, { integrity, optional }]) => !integrity && !optional).map(([path]) => path)).toEqual([]);
});

test('the source has nothing that says it is unfinished', () => {
  expect(lines(code('src'), /\b(?:TODO|FIXME|XXX|HACK)\b|not implemented/i)).toEqual([]);
});

test('no test is switched off or runs alone', () => {
  const own = 'test/packaging/hygiene.test.ts';
  expect(
    lines(
      code('test').filter((path) => path !== own),
      /\b(?:test|it|describe)\.(?:only|skip|todo|fails)\b/,
    ),
  ).toEqual([]);
});

test('the search finds what is there', () => {
  expect(lines(['README.md'], /^# Remit$/)).toEqual(['README.md:1']);
});
