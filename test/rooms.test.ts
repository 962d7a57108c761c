/**
 * The arrows of DESIGN.md section 3, held by reading every import (type-only imports too).
 * A room that is not in the table, or an arrow that is not in it, fails and names the file.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { expect, test } from 'vitest';
import { ARROWS } from './rooms.ts';

const SRC = join(import.meta.dirname, '..', 'src');

/** `gateway` and `admin` may know ports of the store, never a driver. */
const PORT_ONLY: Record<string, readonly string[]> = {
  gateway: ['store/state.ts', 'store/exchange.ts'],
  admin: ['store/state.ts'],
};

function* sourceFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]|(?:^|[^.\w])import\s*\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|new URL\(\s*['"](\.[^'"]+)['"]/g;

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? '');
}

interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly file: string;
  readonly target: string;
}

function arrows(): Arrow[] {
  const found: Arrow[] = [];
  for (const file of sourceFiles(SRC)) {
    const name = relative(SRC, file);
    const from = name.includes(sep) ? (name.split(sep)[0] ?? '') : 'index';
    for (const specifier of importsOf(file)) {
      if (!specifier.startsWith('.')) continue;
      const target = relative(SRC, normalize(join(dirname(file), specifier)));
      if (target.startsWith('..')) continue; // package.json, samples: data, not rooms
      const to = target.split(sep)[0] ?? '';
      if (to !== from) found.push({ from, to, file: name, target: target.split(sep).join('/') });
    }
  }
  return found;
}

test('every import between rooms is an arrow of the table', () => {
  const wrong = arrows().filter(({ from, to }) => from !== 'index' && !(ARROWS[from] ?? []).includes(to));
  expect(wrong.map(({ file, target }) => `${file} may not import ${target}`)).toEqual([]);
});

test('gateway and admin know ports of the store and no driver', () => {
  const wrong = arrows().filter(
    ({ from, to, target }) => to === 'store' && PORT_ONLY[from]?.includes(target) === false,
  );
  expect(wrong.map(({ file, target }) => `${file} may not import ${target}`)).toEqual([]);
});

test('the offline verifier reaches nothing but node built-ins', () => {
  const wrong = [...sourceFiles(join(SRC, 'verify'))].flatMap((file) =>
    importsOf(file)
      .filter(
        (specifier) => !specifier.startsWith('node:') && !(specifier.startsWith('./') || specifier === '../verify'),
      )
      .map((specifier) => `${relative(SRC, file)} may not import ${specifier}`),
  );
  expect(wrong).toEqual([]);
});

test('the reader of imports finds value, type, side-effect and dynamic imports', () => {
  const text = `import a from './a.ts';\nimport type { B } from './b.ts';\nexport { c } from './c.ts';\nimport './d.ts';\nconst e = await import('./e.ts');\nnew Worker(new URL('./f.ts', import.meta.url));`;
  expect([...text.matchAll(IMPORT)].map((m) => m[1] ?? m[2] ?? m[3] ?? m[4])).toEqual([
    './a.ts',
    './b.ts',
    './c.ts',
    './d.ts',
    './e.ts',
    './f.ts',
  ]);
});
