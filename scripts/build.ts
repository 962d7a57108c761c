/**
 * `npm run build`: compiles src/ to dist/ for publication. Development needs no build: Node runs the sources.
 * Starts from an empty dist/, so that nothing of an older version is published. Ends with code 1 and no dist/ when the types are wrong.
 * samples/ and docs/ are published as they stand; no file but TypeScript lies in src/, and this fails if that changes. Declarations
 * (`.d.ts` in src/) are for the compiler alone: they say what types of a dependency leave out, and are not published.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

function fail(message: string): never {
  rmSync(dist, { recursive: true, force: true });
  console.error(`build: ${message}`);
  process.exit(1);
}

const strangers = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
  .map((entry) => join(entry.parentPath, entry.name));
if (strangers.length > 0) fail(`these files of src/ would not be published: ${strangers.join(', ')}`);

rmSync(dist, { recursive: true, force: true });
const compiler = join(root, 'node_modules', '.bin', 'tsc');
const { status } = spawnSync(compiler, ['-p', join(root, 'tsconfig.build.json'), '--noEmitOnError'], {
  stdio: 'inherit',
});
if (status !== 0) fail('the types are wrong, so nothing was written');

const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> };
for (const program of Object.values(bin)) chmodSync(join(root, program), 0o755);
console.log(`built dist/: ${readdirSync(dist, { recursive: true }).length} files and folders`);
