/** What all commands share: `--json`, `--url`, an example in every help text, and reading small files that people name. */
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { parse } from 'yaml';
import { adminUrl, openApi, type Api } from './api.ts';
import { CliFailure } from './failure.ts';

export interface LocalOptions {
  readonly json: boolean;
}
export interface RemoteOptions extends LocalOptions {
  readonly url?: string;
}
export interface ReasonOptions extends RemoteOptions {
  readonly reason: string;
}

/** A command that works on this machine. `usage` as commander writes it: `show <server>`. */
export function local(parent: Command, usage: string, summary: string, example: string): Command {
  return parent
    .command(usage)
    .summary(summary)
    .description(`${summary}.`)
    .option('--json', 'print JSON instead of text', false)
    .addHelpText('after', `\nExample:\n  ${example}`);
}

/** A command that asks a running gateway. */
export function remote(parent: Command, usage: string, summary: string, example: string): Command {
  return local(parent, usage, summary, example).option(
    '--url <origin>',
    'origin of the admin listener (default: $REMIT_ADMIN_URL, then the last sign-in)',
  );
}

/** A command that changes something: the reason goes into the history and the audit log. */
export function change(parent: Command, usage: string, summary: string, example: string): Command {
  return remote(parent, usage, summary, example).requiredOption(
    '--reason <text>',
    'why; goes into the history and the audit log',
  );
}

export interface PageOptions extends RemoteOptions {
  /** The options as a query, with further members that are given. */
  readonly query: (more?: Readonly<Record<string, string | undefined>>) => string;
}

/** A list that may be long: a page of it, and where to go on. */
export function paged(parent: Command, usage: string, summary: string, example: string): Command {
  const command = remote(parent, usage, summary, example)
    .option('--limit <number>', 'rows of one answer, at most 1000', wholeNumber, 100)
    .option('--after <id>', 'go on after this one')
    .option('--search <text>', 'part of a name or an identity');
  const query: PageOptions['query'] = (more = {}) => {
    const { limit, after, search } = command.opts<{ limit: number; after?: string; search?: string }>();
    const given = Object.entries({ limit: String(limit), after, search, ...more });
    return new URLSearchParams(given.filter((pair): pair is [string, string] => pair[1] !== undefined)).toString();
  };
  return command.hook('preAction', () => void command.setOptionValue('query', query));
}

/** A list in one option: `a, b`. */
export const list = (text: string): string[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

export function group(parent: Command, name: string, summary: string, example: string): Command {
  return parent
    .command(name)
    .summary(summary)
    .description(`${summary}.`)
    .addHelpText('after', `\nExample:\n  ${example}`);
}

export const apiOf = (options: RemoteOptions): Api => openApi(adminUrl(options.url, process.env), process.env);

const MAX_FILE_BYTES = 1_048_576;

/** The text of a file that a person named; `-` reads standard input. */
export function readNamedFile(path: string): string {
  try {
    const bytes = readFileSync(path === '-' ? 0 : path);
    if (bytes.length > MAX_FILE_BYTES) throw new CliFailure('usage', `${path} is larger than 1 MiB.`);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof CliFailure) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    throw new CliFailure(
      'usage',
      `${path} cannot be read${code === undefined ? '' : ` (${code})`}.`,
      'Name a readable UTF-8 file.',
    );
  }
}

/** A YAML or JSON file with one object in it. */
export function readObjectFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parse(readNamedFile(path), { uniqueKeys: true, maxAliasCount: 0, schema: 'core' });
  } catch (error) {
    if (error instanceof CliFailure) throw error;
    throw new CliFailure(
      'usage',
      `${path} is not valid YAML: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''}`,
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CliFailure('usage', `${path} does not hold an object.`);
  return value as Record<string, unknown>;
}

/** A duration such as `30m`, `12h`, `7d`, in ms. */
export function duration(text: string): number {
  const match = /^(\d{1,6})(s|m|h|d)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('Use a number and a unit: 90s, 30m, 12h, 7d.');
  return Number(match[1]) * { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 's' | 'm' | 'h' | 'd'];
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Use a whole number.');
  return Number(text);
}

/** What a record must still be: the revision that `show` prints. */
export const etagOf = (revision: number): string => `"${revision}"`;

/** `reviewBy` of a record in a file: there it may be a day. */
export function momentIn(file: string, text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at))
    throw new CliFailure('usage', `${file}: \`reviewBy\` is not a date.`, 'Write it as 2027-01-31.');
  return at;
}

/** A day or a moment as ms since 1970. */
export function moment(text: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw new InvalidArgumentError('Write it as 2027-01-31.');
  return at;
}

/** `files/read_file` → server and tool. The tool's name may hold slashes. */
export function splitTool(text: string): readonly [string, string] {
  const slash = text.indexOf('/');
  if (slash < 1 || slash === text.length - 1)
    throw new CliFailure('usage', `${text} does not name a tool.`, 'Write server/tool, for example files/read_file.');
  return [text.slice(0, slash), text.slice(slash + 1)];
}
