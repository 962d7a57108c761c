#!/usr/bin/env node
/**
 * The executable. Runs one command; turns every failure a person can cause into a sentence, a remedy and an exit code.
 * A stack is shown for defects of ours only, and only with REMIT_DEBUG=1.
 */
import { Command, CommanderError } from 'commander';
import { isFault } from '../lib/fault.ts';
import { CliFailure, EXIT } from './failure.ts';
import { visible } from './output.ts';
import { buildProgram } from './program.ts';

// `remit … | head` closes the pipe early; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.ok);
});
process.exitCode = await run(process.argv.slice(2));

async function run(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json');
  const program = buildProgram();
  forEach(program, (command) => {
    command.exitOverride().showHelpAfterError(`Try ${pathOf(command)} --help.`);
    command.configureOutput({ outputError: (text, write) => write(explained(text, command)) });
    if (json) command.configureOutput({ writeErr: () => undefined });
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return fail(error, json);
  }
}

/** What a missing option is for stands in its help; who forgot it should not have to look. */
function explained(text: string, command: Command): string {
  const flags = /^error: required option '([^']+)' not specified/.exec(text)?.[1];
  const missing = command.options.find((option) => option.flags === flags);
  return missing === undefined ? text : `${text.trimEnd()}: ${missing.description}\n`;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function fail(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    // Help and version end this way too, with code 0; commander has said the rest, except under --json.
    if (error.exitCode === 0) return EXIT.ok;
    if (json) tell(json, error.message.replace(/^error: /, ''), 'Run the command with --help.', 'usage');
    return EXIT.usage;
  }
  if (error instanceof CliFailure) {
    tell(json, error.message, error.remedy, error.code, error.details);
    return EXIT[error.code];
  }
  if (isFault(error)) {
    // Faults of the house carry a message for the operator, who is the one at this terminal.
    tell(json, error.message, undefined, error.code);
    return error.code === 'config_invalid' ? EXIT.usage : EXIT.failed;
  }
  tell(
    json,
    `This is a defect of Remit: ${error instanceof Error ? error.message : String(error)}`,
    'Run again with REMIT_DEBUG=1 and report what it prints.',
    'defect',
  );
  if (process.env['REMIT_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  return EXIT.failed;
}

function tell(json: boolean, message: string, remedy: string | undefined, code: string, details?: object): void {
  const text = json
    ? JSON.stringify({ error: { code, message, ...(remedy === undefined ? {} : { remedy }), ...details } })
    : `remit: ${visible(message)}${remedy === undefined ? '' : `\n${visible(remedy)}`}`;
  process.stderr.write(`${text}\n`);
}

function forEach(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) forEach(child, visit);
}
