/**
 * For `vitest.config.ts`: worker threads of the product run from one file each, bundled from the sources as they are. A thread that reads its
 * three hundred modules one by one takes three times as long to start, and every rig starts several. Whole processes (`processes.ts`, the
 * commands of `test/cli`) load theirs as users do, and so does a run that watches files.
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { build } from 'vite';
import type { Plugin } from 'vite';

const ENTRIES = 'src/**/*-{worker,thread}.ts';
const VARIABLE = 'REMIT_TEST_WORKERS';
const NAMED = 'export const workerModule =';
const DAY_MS = 86_400_000;

/** Makes the bundles of these sources unless they are there, and says in the environment of the tests where. */
export async function bundleWorkers(root: string): Promise<void> {
  const hash = createHash('sha256');
  for (const path of [...globSync('src/**/*.ts', { cwd: root }).sort(), 'package-lock.json'])
    hash.update(`${path}\0`).update(readFileSync(join(root, path)));
  const folder = join(root, 'node_modules', '.cache', `remit-workers-${hash.digest('hex').slice(0, 32)}`);
  if (!existsSync(folder)) await makeBundles(root, folder);
  process.env[VARIABLE] = folder;
}

/** Whole or not at all: several runs may begin at once. */
async function makeBundles(root: string, folder: string): Promise<void> {
  const entries = globSync(ENTRIES, { cwd: root });
  mkdirSync(dirname(folder), { recursive: true });
  const outDir = mkdtempSync(`${folder}.`);
  try {
    await build({
      root,
      configFile: false,
      logLevel: 'error',
      ssr: { noExternal: true },
      build: {
        ssr: true,
        outDir,
        target: 'node24',
        minify: false,
        rollupOptions: {
          input: Object.fromEntries(entries.map((path) => [basename(path, '.ts'), join(root, path)])),
          output: { format: 'esm', entryFileNames: '[name].mjs' },
        },
      },
    });
    renameSync(outDir, folder);
    for (const old of globSync(`${dirname(folder)}/remit-workers-*`))
      if (statSync(old).mtimeMs < Date.now() - DAY_MS) rmSync(old, { recursive: true, force: true });
  } catch (error) {
    rmSync(outDir, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
}

/** What is bundled is started from its bundle. INVARIANT: the same text for the same source, since what is transformed is kept over runs. */
export const workersFromBundles: Plugin = {
  name: 'remit:workers-from-bundles',
  enforce: 'post',
  transform(code) {
    if (!code.includes(NAMED)) return null;
    return `${code.replace(NAMED, 'const sourceModule =')}
const bundles = process.env['${VARIABLE}'];
export const workerModule = (module, callerUrl) => {
  const source = sourceModule(module, callerUrl);
  if (!bundles || !/-(?:worker|thread)\\.ts$/.test(source.pathname)) return source;
  return new URL('file://' + bundles + source.pathname.replace(/^.*(\\/[^/]*)\\.ts$/, '$1.mjs'));
};`;
  },
};
