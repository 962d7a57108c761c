/** Documents tell the truth: links lead somewhere, files exist, commands parse, the drawing is the code. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { PIPELINE } from '../../src/gateway/pipeline.ts';
import { CONFIRM_WITHIN_MS } from '../../src/gateway/catalogue.ts';
import { ARROWS } from '../rooms.ts';
import { ROOT, commandLines, documents, read, words } from './repository.ts';

interface Manifest {
  readonly scripts: Record<string, string>;
  readonly bin: Record<string, string>;
}
const manifest = JSON.parse(read('package.json')) as Manifest;
const rooms = readdirSync(join(ROOT, 'src')).filter((name) => statSync(join(ROOT, 'src', name)).isDirectory());

/** The anchor of a heading as renderers make it. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replace(/ /g, '-');

function deadLinks(path: string): string[] {
  const text = read(path).replace(/^```[\s\S]*?^```$/gm, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^(https?|mailto):/.test(target))
    .filter((target) => {
      const [file, fragment] = target.split('#');
      const found = file === '' ? path : normalize(join(dirname(path), file!));
      if (!existsSync(join(ROOT, found))) return true;
      if (fragment === undefined) return false;
      return ![...read(found).matchAll(/^#+ (.+)$/gm)].some(([, heading]) => anchor(heading!) === fragment);
    });
}

test.each(documents())('%s has no dead link', (path) => {
  expect(deadLinks(path)).toEqual([]);
});

test('docs/README.md lists every document', () => {
  const index = read('docs/README.md');
  const listed = [...index.matchAll(/\]\(([^)#\s]+)\)/g)].map(([, target]) => normalize(join('docs', target!)));
  const wanted = documents().filter((path) => path.startsWith('docs/') && path !== 'docs/README.md');
  expect(wanted.filter((path) => !listed.includes(path))).toEqual([]);
  expect(new Set(listed).size).toBe(listed.length);
});

test.each(documents())('%s names no file of ours that does not exist', (path) => {
  const named = [...read(path).matchAll(/`((?:src|test|scripts|docs|samples|bench)\/[\w./-]+)`/g)].map(
    ([, file]) => file!,
  );
  expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

/** The program with every action taken out: what remains is the reading of arguments. */
function reader(): Command {
  const program = buildProgram();
  const quiet = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
    // `remit authserver` runs by itself and has a subcommand besides.
    if (command.commands.length === 0 || command.name() === 'authserver') command.action(() => undefined);
    command.commands.forEach(quiet);
  };
  quiet(program);
  return program;
}

/** Why a command line of a document would not run; null if it would. */
function problem(line: string): string | null {
  const [program, ...args] = words(line);
  if (program === 'remit') {
    try {
      reader().parse(args, { from: 'user' });
      return null;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return code === 'commander.helpDisplayed' || code === 'commander.version' ? null : message;
    }
  }
  if (program === 'remit-verify') {
    const known = read('src/verify/command.ts');
    const unknown = args.filter((arg) => arg.startsWith('--') && !known.includes(arg));
    return unknown.length === 0 ? null : `no option ${unknown.join(', ')}`;
  }
  if (program === 'npm') {
    const [verb, name] = args;
    const script = verb === 'run' ? name : verb;
    return verb === 'ci' || Object.hasOwn(manifest.scripts, script ?? '') ? null : `no script ${String(script)}`;
  }
  if (program === 'node') {
    const file = args.find((arg) => !arg.startsWith('--'));
    return existsSync(join(ROOT, file ?? '')) ? null : `no file ${String(file)}`;
  }
  return null;
}

const COMMANDS = documents().flatMap((path) => commandLines(read(path)).map((line) => ({ path, line })));

test.each(COMMANDS)('$path: $line', ({ line }) => {
  expect(problem(line)).toBe(null);
});

test('the README begins with the two commands a stranger needs, and reading commands can fail', () => {
  const lines = read('README.md').match(/^```sh\n[\s\S]*?^```$/gm)!;
  expect(lines.slice(0, 2)).toEqual(['```sh\nnpm ci && npm start\n```', '```sh\nnpm ci && npm test\n```']);
  expect(COMMANDS.filter(({ line }) => line.startsWith('remit ')).length).toBeGreaterThan(20);
  expect(problem('remit lock add user dana')).toMatch(/--reason/);
  expect(problem('remit connect emacs http://127.0.0.1:1/mcp/default/x')).toMatch(/emacs/);
  expect(problem('remit frobnicate')).not.toBe(null);
  expect(problem('npm run nothing')).toBe('no script nothing');
  expect(problem('remit-verify ./x --nonsense')).toBe('no option --nonsense');
});

test('.ci/run calls the test command of the README', () => {
  expect(read('.ci/run')).toMatch(/^ *run tests npm test /m);
});

test('ARCHITECTURE.md has exactly the arrows that the code is held to', () => {
  const rows = [...read('ARCHITECTURE.md').matchAll(/^\| `(\w+)` \|(.*)\|$/gm)];
  const told = Object.fromEntries(
    rows.map(([, room, list]) => [room, list!.split(',').flatMap((name) => name.trim() || [])]),
  );
  const held = Object.fromEntries(
    Object.entries(ARROWS)
      .filter(([room]) => rooms.includes(room))
      .map(([room, list]) => [room, list.filter((name) => rooms.includes(name))]),
  );
  expect(told).toEqual(held);
});

test('the drawing in ARCHITECTURE.md shows every room and no other', () => {
  const drawing = /^## Rooms and arrows[\s\S]*?^```\n([\s\S]*?)^```$/m.exec(read('ARCHITECTURE.md'))![1]!;
  expect(rooms.filter((room) => !new RegExp(`\\b${room}\\b`).test(drawing))).toEqual([]);
});

test('the way of one call names every guard of the pipeline in order', () => {
  const way = /^## The way of one[\s\S]*?(?=^## )/m.exec(read('ARCHITECTURE.md'))![0];
  const guards = new Set(PIPELINE.map(({ guard }) => guard.name));
  const told = [...way.matchAll(/`([\w-]+)`/g)].map(([, name]) => name!).filter((name) => guards.has(name));
  const held = PIPELINE.filter(({ columns }) => columns.has('call')).map(({ guard }) => guard.name);
  expect(told).toEqual(held);
});

test('SECURITY.md states the window of a definition as the code has it', () => {
  expect(CONFIRM_WITHIN_MS).toEqual({ read: 60_000, write: 5_000, destructive: 0, execute: 0, regulated: 0 });
  expect(read('SECURITY.md')).toContain('read 60 seconds, write 5 seconds, all others 0');
});

test('CHANGELOG.md has an entry for this version and a place for the next', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  const heads = [...read('CHANGELOG.md').matchAll(/^## \[([^\]]+)\]/gm)].map(([, head]) => head);
  expect(heads.slice(0, 2)).toEqual(['Unreleased', version]);
});
