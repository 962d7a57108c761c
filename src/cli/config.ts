/**
 * Reads `remit.yaml` into a checked Config, or tells every problem at once: file, line, column, key, reason, remedy.
 * YAML is read narrowly: one document, no duplicate keys, no anchors, no tags. Nothing is taken from the environment
 * but the existence of the variables that secret references name; their values never enter the Config.
 * Not checked: whether a port is free or a database answers (`remit doctor` does).
 */
import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, join, resolve, sep } from 'node:path';
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml';
import type { z } from 'zod';
import { issuerProblems } from '../identity/issuer-rule.ts';
import type { SecretRef } from '../inventory/records.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { describeKey, nearest, knownKeysAt } from './config-docs.ts';
import { ConfigSchema, type ConfigValues } from './config-keys.ts';

export interface Config extends ConfigValues {
  /** Absolute path of the file that was read; null when all defaults hold. */
  readonly file: string | null;
  /** Folder that relative paths in the file start from. `dataDir`, `audit.publishDir` and those of `artifacts` are absolute already. */
  readonly baseDir: string;
  readonly artifacts: ConfigValues['artifacts'] & { readonly folder: string };
}

export interface ConfigProblem {
  readonly file: string;
  /** From 1; null when the key is missing or there is no file. */
  readonly line: number | null;
  readonly column: number | null;
  /** Dotted, for example `issuers[0].issuer`; empty for the file as a whole. */
  readonly key: string;
  readonly reason: string;
  readonly remedy: string;
}

type Path = readonly (string | number)[];
type Problem = { readonly path: Path; readonly at: Node | null; readonly reason: string; readonly remedy: string };

const MAX_FILE_BYTES = 1_048_576;

/**
 * Loads and checks the configuration. `path` null: defaults only, relative to the current folder.
 * Never throws for what a person wrote; the problems come sorted by their place in the file.
 */
export function loadConfig(
  path: string | null,
  env: Readonly<Record<string, string | undefined>>,
): Result<Config, ConfigProblem[]> {
  const file = path === null ? null : resolve(path);
  const baseDir = file === null ? process.cwd() : dirname(file);
  const shown = path ?? '(defaults)';
  let text = '';
  if (file !== null) {
    const read = readText(file);
    if (!read.ok) return err([{ file: shown, line: null, column: null, key: '', ...read.error }]);
    text = read.value;
  }
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: true,
    strict: true,
    merge: false,
    schema: 'core',
  });
  const place = (offset: number | undefined): { line: number | null; column: number | null } => {
    if (file === null || offset === undefined) return { line: null, column: null };
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const problems: ConfigProblem[] = document.errors.map((error) => ({
    file: shown,
    ...place(error.pos[0]),
    key:
      error.code === 'DUPLICATE_KEY'
        ? (/^["']?([\w.-]+)/.exec(text.slice(error.pos[0], error.pos[0] + 200))?.[1] ?? '')
        : '',
    ...readableYamlError(error.code, error.message),
  }));
  const add = (problem: Problem): void => {
    const at = problem.at ?? nodeAt(document, problem.path);
    problems.push({
      file: shown,
      ...place(at?.range?.[0]),
      key: keyText(problem.path),
      reason: problem.reason,
      remedy: problem.remedy,
    });
  };

  findForbiddenYaml(document).forEach(add);
  // After a syntax error the rest of the tree is a guess: report what is certain.
  if (problems.some((problem) => problem.reason !== DUPLICATE_REASON)) return err(sorted(problems));

  const input: unknown = document.toJS({ maxAliasCount: 0 }) ?? {};
  const parsed = ConfigSchema.safeParse(input);
  if (!parsed.success) parsed.error.issues.flatMap((issue) => explainIssue(issue, document)).forEach(add);
  const checkable = parsed.success ? { values: parsed.data, bad: [] } : withoutBadKeys(input, parsed.error.issues);
  if (checkable !== null)
    crossChecks(checkable.values, env, baseDir)
      .filter(({ path }) => !checkable.bad.some((bad) => bad.every((part, index) => part === path[index])))
      .forEach(add);
  if (problems.length > 0 || !parsed.success) return err(sorted(problems));

  const values = parsed.data;
  const { folder, advisories } = values.artifacts;
  return ok({
    ...values,
    dataDir: resolve(baseDir, values.dataDir),
    artifacts: {
      folder: artifactsIn(baseDir, values.dataDir, folder),
      ...(advisories !== undefined && { advisories: resolve(baseDir, advisories) }),
    },
    audit: {
      ...values.audit,
      ...(values.audit.publishDir === undefined ? {} : { publishDir: resolve(baseDir, values.audit.publishDir) }),
    },
    file,
    baseDir,
  });
}

/** Beside the data and not in it: no server may see a part of that folder, and each must see its own package. */
const artifactsIn = (baseDir: string, dataDir: string, folder: string | undefined): string =>
  folder === undefined ? join(dirname(resolve(baseDir, dataDir)), 'remit-artifacts') : resolve(baseDir, folder);

/** The dotted names of every `unsafe…` key that is in force. The process warns about each at start and reports them. */
export function unsafeKeysInForce(config: Config): readonly string[] {
  const found: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) return value.forEach((inner, index) => walk(inner, `${path}[${index}]`));
    for (const [key, inner] of Object.entries(value)) {
      const name = path === '' ? key : `${path}.${key}`;
      if (name === 'authserver') continue;
      if (key.startsWith('unsafe')) {
        if (inner !== false) found.push(name);
      } else walk(inner, name);
    }
  };
  walk(config, '');
  return found;
}

/** One line per problem, for a person at a terminal. */
export function formatProblem(problem: ConfigProblem): string {
  const place = problem.line === null ? problem.file : `${problem.file}:${problem.line}:${problem.column ?? 1}`;
  return `${place}: ${problem.key === '' ? '' : `${problem.key}: `}${problem.reason}. ${problem.remedy}`;
}

function readText(file: string): Result<string, { reason: string; remedy: string }> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    return err(
      code === 'ENOENT'
        ? { reason: 'the file does not exist', remedy: 'Write one with `remit init`, or name another with --config.' }
        : { reason: `the file cannot be read (${code ?? 'unknown error'})`, remedy: 'Check its type and permissions.' },
    );
  }
  if (bytes.length > MAX_FILE_BYTES)
    return err({ reason: 'the file is larger than 1 MiB', remedy: 'Is this the right file?' });
  try {
    return ok(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return err({ reason: 'the file is not valid UTF-8', remedy: 'Save it as UTF-8 text.' });
  }
}

const DUPLICATE_REASON = 'this key stands twice in the same section';

function readableYamlError(code: string, message: string): { reason: string; remedy: string } {
  if (code === 'DUPLICATE_KEY')
    return { reason: DUPLICATE_REASON, remedy: 'Keep one of them; which one wins would be a guess.' };
  if (code === 'MULTIPLE_DOCS')
    return { reason: 'the file holds more than one YAML document', remedy: 'Remove the `---` line.' };
  const first = message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? message;
  return { reason: `not valid YAML: ${first}`, remedy: 'Check indentation, quotes and colons at this place.' };
}

/** Anchors, aliases and tags make a file mean something else than it shows. */
function findForbiddenYaml(document: Document): Problem[] {
  const found: Problem[] = [];
  const refuse = (at: Node, reason: string): void =>
    void found.push({ path: [], at, reason, remedy: 'Write the value out in full.' });
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) refuse(node, 'YAML aliases are not accepted');
      else if (node.anchor !== undefined) refuse(node, 'YAML anchors are not accepted');
      else if (node.tag !== undefined) refuse(node, 'YAML tags are not accepted');
    },
    Pair: (_, pair) => {
      if (!isScalar(pair.key) || typeof pair.key.value !== 'string')
        found.push({
          path: [],
          at: pair.key as Node,
          reason: 'a key must be plain text',
          remedy: 'Put the key in quotes if it is meant as text.',
        });
    },
  });
  return found;
}

function nodeAt(document: Document, path: Path): Node | null {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true);
    if (typeof node === 'object' && node !== null && 'range' in node) return node as Node;
  }
  return document.contents;
}

function keyNode(document: Document, path: Path, key: string): Node | null {
  const map = path.length === 0 ? document.contents : document.getIn(path, true);
  if (!isMap(map)) return isSeq(map) ? map : null;
  const pair = map.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === key);
  return isScalar(pair?.key) ? pair.key : null;
}

function explainIssue(issue: z.core.$ZodIssue, document: Document): Problem[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeysAt(path);
    return issue.keys.map((key) => {
      const guess = nearest(key, known);
      return {
        path: [...path, key],
        at: keyNode(document, path, key),
        reason: 'this key is not known',
        remedy: guess === null ? `Known here: ${known.join(', ')}.` : `Did you mean \`${guess}\`?`,
      };
    });
  }
  const value = path.length === 0 ? document.contents : document.getIn(path, true);
  const missing = value === undefined && issue.code === 'invalid_type';
  return [
    {
      path,
      at: null,
      reason: missing ? 'this key is missing' : lowerFirst(issue.message.replace(/^Invalid input: /, '')),
      remedy: describeKey(path),
    },
  ];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, '');

/**
 * The configuration with every key that has a problem left out, so that the rules between keys are checked in the same run.
 * A problem inside a list leaves out the list. Null when even that does not parse.
 */
function withoutBadKeys(
  input: unknown,
  issues: readonly z.core.$ZodIssue[],
): { values: ConfigValues; bad: Path[] } | null {
  const copy: unknown = structuredClone(input);
  const bad: Path[] = [];
  for (const issue of issues) {
    const path = issue.path.filter((part) => typeof part !== 'symbol');
    const keys = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...path, key]) : [path];
    for (const full of keys) {
      const list = full.findIndex((part) => typeof part === 'number');
      const cut = list === -1 ? full : full.slice(0, list);
      const last = cut.at(-1);
      if (last === undefined) return null;
      let parent: unknown = copy;
      for (const part of cut.slice(0, -1)) parent = isRecord(parent) ? parent[part] : undefined;
      if (isRecord(parent)) delete parent[last];
      if (issue.code !== 'unrecognized_keys') bad.push(cut);
    }
  }
  const again = ConfigSchema.safeParse(copy);
  return again.success ? { values: again.data, bad } : null;
}

const isRecord = (value: unknown): value is Record<string | number, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Rules that more than one key takes part in, and the existence of what secret references name. */
function crossChecks(
  config: ConfigValues,
  env: Readonly<Record<string, string | undefined>>,
  baseDir: string,
): Problem[] {
  const found: Problem[] = [];
  const add = (path: Path, reason: string, remedy: string): void => void found.push({ path, at: null, reason, remedy });

  const [data, artifacts] = [
    resolve(baseDir, config.dataDir),
    artifactsIn(baseDir, config.dataDir, config.artifacts.folder),
  ];
  if (`${artifacts}${sep}`.startsWith(`${data}${sep}`) || `${data}${sep}`.startsWith(`${artifacts}${sep}`))
    add(
      ['artifacts', 'folder'],
      'it is dataDir, lies in it or holds it',
      'Name a folder of its own, or leave it out for remit-artifacts beside dataDir.',
    );

  if (config.sandbox.backend === 'container' && config.sandbox.container === undefined)
    add(
      ['sandbox', 'container'],
      'it is missing, and sandbox.backend is container',
      'Name at least the image: sandbox.container.image.',
    );

  for (const room of ['public', 'admin'] as const) {
    const { host, publicUrl } = config[room];
    if (publicUrl !== undefined) {
      if (new URL(publicUrl).pathname !== '/' || /[?#]/.test(publicUrl))
        add(
          [room, 'publicUrl'],
          'it has a path, query or fragment',
          'Use the origin only, for example https://mcp.example.com.',
        );
      if (!mayCarryTokens(publicUrl, config.unsafePlainHttp))
        add(
          [room, 'publicUrl'],
          'it is plain http on an address that is not loopback',
          'Use https, or read about unsafePlainHttp.',
        );
    } else if (!isLoopbackHost(host))
      add(
        [room, 'publicUrl'],
        `it is missing, and ${room}.host is not a loopback address`,
        'Name the https origin that clients use.',
      );
    if (/[/\s]/.test(host))
      add([room, 'host'], 'it is not an address', 'Use an IP address or a host name without scheme and port.');
  }
  if (config.public.port !== 0 && config.public.port === config.admin.port)
    add(
      ['admin', 'port'],
      'it is the port of the MCP listener',
      'Give the admin listener its own port, off the networks of agents.',
    );

  if (config.store.kind === 'postgres' && config.store.url === undefined)
    add(['store', 'url'], 'it is needed when store.kind is postgres', 'Add `url: { secret: env:REMIT_DATABASE_URL }`.');
  if (config.store.kind === 'sqlite' && config.store.url !== undefined)
    add(['store', 'url'], 'it has no meaning when store.kind is sqlite', 'Remove it, or set store.kind to postgres.');
  if (config.store.url !== undefined) {
    const missing = missingSecret(config.store.url, env, baseDir);
    if (missing !== null)
      add(['store', 'url', 'secret'], missing, 'Set it before starting; the value itself never stands in this file.');
  }

  const seen = new Set<string>();
  config.issuers.forEach((entry, index) => {
    const at = ['issuers', index] as const;
    if (seen.has(entry.issuer)) add([...at, 'issuer'], 'this issuer stands twice', 'Keep one entry per issuer.');
    seen.add(entry.issuer);
    if (/[?#]/.test(entry.issuer))
      add([...at, 'issuer'], 'it has a query or fragment', 'An issuer identifier has neither (RFC 8414 section 2).');
    for (const key of ['issuer', 'jwksUri'] as const) {
      const url = entry[key];
      if (url !== undefined && !mayCarryTokens(url, config.unsafePlainHttp))
        add(
          [...at, key],
          'it is plain http on an address that is not loopback',
          'Use https: keys fetched over http can be replaced on the way.',
        );
    }
    issuerProblems(entry).forEach(({ path, reason, remedy }) => add([...at, ...path], reason, remedy));
    entry.audiences?.forEach(({ resource }, place) => {
      const ours = [config.public.publicUrl, config.admin.publicUrl].filter((url) => url !== undefined);
      if (ours.length > 0 && !ours.some((url) => new URL(url).origin === new URL(resource).origin))
        add(
          [...at, 'audiences', place, 'resource'],
          'it is no URL of this gateway',
          'It begins with public.publicUrl.',
        );
    });
    if (entry.introspection === undefined) return;
    const { url, clientSecret } = entry.introspection;
    const where = [...at, 'introspection'] as const;
    if (!mayCarryTokens(url, config.unsafePlainHttp))
      add(
        [...where, 'url'],
        'it is plain http on an address that is not loopback',
        'Use https: tokens are sent there.',
      );
    const missing = missingSecret(clientSecret, env, baseDir);
    if (missing !== null) add([...where, 'clientSecret', 'secret'], missing, 'Set it before starting.');
    if (config.issuers.some((other, place) => place < index && other.introspection !== undefined))
      add(
        [...where],
        'another issuer has it already',
        'An opaque token does not say whose it is: one issuer can be asked.',
      );
  });
  const { issuer: signInAt } = config.admin.pages;
  if (signInAt !== undefined && !seen.has(signInAt))
    add(['admin', 'pages', 'issuer'], 'it is not one of the issuers', 'Use the exact text of an entry under issuers.');
  const first = config.firstAdministrator;
  if (first !== undefined && config.issuers.length > 0 && !seen.has(first.issuer))
    add(
      ['firstAdministrator', 'issuer'],
      'it is not one of the issuers',
      'Use the exact text of an entry under issuers.',
    );
  return found;
}

function missingSecret(
  ref: SecretRef,
  env: Readonly<Record<string, string | undefined>>,
  baseDir: string,
): string | null {
  const colon = ref.secret.indexOf(':');
  const name = ref.secret.slice(colon + 1);
  if (ref.secret.startsWith('env:'))
    return env[name] === undefined || env[name] === '' ? `the environment variable ${name} is not set` : null;
  return existsSync(resolve(baseDir, name)) ? null : `the file ${name} does not exist`;
}

const mayCarryTokens = (url: string, unsafePlainHttp: boolean): boolean => {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || unsafePlainHttp || isLoopbackHost(hostname);
};

/** True for `localhost`, 127.0.0.0/8 and ::1, as text; names are not resolved. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

const keyText = (path: Path): string =>
  path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`),
    '',
  );

const sorted = (problems: readonly ConfigProblem[]): ConfigProblem[] =>
  problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
