/** What git knows of this repository, and the fenced commands of its documents. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Files under version control or about to be, relative to the root. */
export function files(): string[] {
  // The folder may belong to another user than the one who runs the tests (a container, a build machine): we only list names.
  const list = execFileSync(
    'git',
    ['-c', 'safe.directory=*', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate'],
    {
      cwd: ROOT,
      maxBuffer: 1e8,
    },
  );
  return list.toString().split('\0').filter(Boolean);
}

export const documents = (): string[] => files().filter((path) => path.endsWith('.md'));

/** Lines of fenced blocks without a language or with `sh`, comments and blanks left out. */
export function commandLines(markdown: string): string[] {
  return [...markdown.matchAll(/^```(?:sh)?\n([\s\S]*?)^```$/gm)]
    .flatMap(([, block]) => block!.split('\n'))
    .flatMap((line) => line.replace(/(^|\s)#.*$/, '').split('&&'))
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** Splits at blanks outside quotes; quotes go. Enough for the commands of our documents, which use nothing else of a shell. */
export function words(line: string): string[] {
  return [...line.matchAll(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g)].map(([word]) => word.replace(/["']/g, ''));
}
