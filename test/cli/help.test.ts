/** The tree of commands: each explains itself, and the guide knows them all. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';

interface Named {
  readonly name: string;
  readonly command: Command;
  readonly help: string;
}

function all(command: Command, path: string): Named[] {
  let help = '';
  command.configureOutput({ writeOut: (text) => void (help += text), writeErr: () => undefined });
  command.outputHelp();
  return [{ name: path, command, help }, ...command.commands.flatMap((child) => all(child, `${path} ${child.name()}`))];
}
const COMMANDS = all(buildProgram(), 'remit');
/** `remit authserver` runs by itself and has a subcommand besides. */
const LEAVES = COMMANDS.filter(({ name, command }) => command.commands.length === 0 || name === 'remit authserver');
const guide = readFileSync(join(import.meta.dirname, '../../docs/guides/cli.md'), 'utf8');

test.each(COMMANDS)('$name has an example that runs this command', ({ name, help }) => {
  const example = help.split(/Example\n|Example:\n/)[1] ?? '';
  expect([name, example.includes(name) || (name === 'remit verify' && example.includes('remit-verify'))]).toEqual([
    name,
    true,
  ]);
});

test.each(LEAVES)('$name has a summary and takes --json', ({ name, command, help }) => {
  expect([name, command.summary().length > 10, help.includes('--json')]).toEqual([name, true, true]);
});

test('docs/guides/cli.md lists exactly these commands', () => {
  const listed = [...guide.matchAll(/^\| `(remit [^`<.]+?)(?: <.*| \.\.\.)?` \|/gm)].map(([, name]) => name);
  expect(new Set(listed)).toEqual(new Set(LEAVES.map(({ name }) => name)));
  expect(listed.length).toBe(LEAVES.length);
});

test('no option takes a secret: arguments are visible to every user of the machine', () => {
  for (const { name, command } of COMMANDS)
    for (const option of command.options)
      expect([name, /token|password|secret/i.test(option.flags)]).toEqual([name, false]);
});

test('every command that changes something asks for a reason, a note or a justification', () => {
  const changing =
    /^remit (server (add|submit|enable|suspend|retire|remove|switch|owner)|tool (approve|withdraw)|policy (put|activate|deactivate)|lock (add|lift)|person (add|set|sign-out)|group (add|set|remove|join|leave)|agent (add|set|activate|suspend|retire)|mapping (put|remove)|organisation set|void add)$/;
  const found = LEAVES.filter(({ name }) => changing.test(name));
  expect(found.length).toBe(32);
  for (const { name, command } of found)
    expect([
      name,
      command.options.some(({ long, mandatory }) => (long === '--reason' || long === '--justification') && mandatory),
    ]).toEqual([name, true]);
});
