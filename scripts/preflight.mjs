/**
 * Runs before `npm start`, `npm test` and `npm run demo`: is what they need here? Says in one or two sentences what is missing.
 * Plain JavaScript for any Node of the last years, because a Node that is too old is the first thing it looks for.
 * System packages are the business of install-system.ts, which needs the right Node itself.
 */
import { existsSync, readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const wanted = Number(/\d+/.exec(manifest.engines.node)[0]);
const installed = existsSync(new URL('../node_modules/.package-lock.json', import.meta.url));

function missing(...lines) {
  process.stderr.write(`remit: ${lines.join('\n')}\n`);
  process.exit(1);
}

if (!installed) missing('The dependencies are not installed.', 'Run: npm ci');

if (Number(process.versions.node.split('.')[0]) < wanted) {
  missing(
    `This is Node ${process.versions.node}; Remit needs Node ${wanted} or later.`,
    'It comes with the dependencies (npm package "node", which has an install script), and npm puts it first on the PATH.',
    'Run: npm ci --ignore-scripts=false   and then start this with npm again.',
  );
}

await import('./install-system.ts');
