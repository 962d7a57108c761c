/**
 * What the configuration table says, as rows: for the guide, for `remit init`, and for remedies in error messages.
 * Everything is derived from `config-keys.ts`; nothing about a key is written twice.
 */
import { z } from 'zod';
import { ConfigSchema } from './config-keys.ts';

export interface KeyRow {
  /** Dotted; list elements as `issuers[]`. */
  readonly key: string;
  readonly type: string;
  /** JSON text; empty when the key has no default. */
  readonly defaultText: string;
  readonly says: string;
  readonly section: boolean;
}

type Schema = z.core.JSONSchema.BaseSchema;
type Path = readonly (string | number)[];

const ROOT: Schema = z.toJSONSchema(ConfigSchema, { io: 'input', unrepresentable: 'any' });

/** Every key in file order; a section stands before its keys. */
export function keyRows(): readonly KeyRow[] {
  const rows: KeyRow[] = [];
  const walk = (schema: Schema, prefix: string): void => {
    for (const [name, value] of Object.entries(schema.properties ?? {})) {
      if (typeof value === 'boolean') continue;
      const key = prefix === '' ? name : `${prefix}.${name}`;
      const section = value.type === 'object' && value.properties !== undefined && !('secret' in value.properties);
      rows.push({
        key,
        type: typeText(value),
        defaultText: section || value.default === undefined ? '' : JSON.stringify(value.default),
        says: value.description ?? '',
        section,
      });
      if (section) walk(value, key);
      const element = value.items;
      if (value.type === 'array' && isSchema(element) && element.properties !== undefined) walk(element, `${key}[]`);
    }
  };
  walk(ROOT, '');
  return rows;
}

/** The keys that may stand at `path`; empty when the path is not in the table. */
export function knownKeysAt(path: Path): readonly string[] {
  return Object.keys(schemaAt(path)?.properties ?? {});
}

/** One sentence that says what to write at `path`. */
export function describeKey(path: Path): string {
  const schema = schemaAt(path);
  if (schema === null) return 'See docs/guides/configuration.md.';
  const fallback = schema.default === undefined ? '' : `, or leave it out for ${JSON.stringify(schema.default)}`;
  return `Use ${typeText(schema)}${schema.properties === undefined ? fallback : ''}.`;
}

/** The candidate that is at most a few typing mistakes away, or null. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(word.length / 3));
  let best: string | null = null;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.slice(0, 64).toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** The tables of docs/guides/configuration.md: one per section, in file order. */
export function configurationTables(): string {
  const rows = keyRows();
  const groups = Map.groupBy(rows, (row) =>
    row.section || row.key.includes('.') ? (row.key.split('.')[0] ?? '') : '',
  );
  const line = (row: KeyRow): string =>
    `| \`${row.key}\` | ${row.type.replaceAll('|', '\\|')} | ${row.defaultText === '' ? '' : `\`${row.defaultText}\``} | ${row.says.replaceAll('|', '\\|')} |`;
  const head = '| key | value | default | what it does, and what changes with it |\n|---|---|---|---|';
  return [...groups]
    .map(([name, members]) => {
      const intro = members.find((row) => row.section && row.key === name);
      const title = name === '' ? '### Top level' : `### \`${name.replace('[]', '')}\``;
      const body = members.filter((row) => !row.section).map(line);
      return [title, '', ...(intro === undefined ? [] : [intro.says, '']), head, ...body].join('\n');
    })
    .join('\n\n');
}

function schemaAt(path: Path): Schema | null {
  let schema: Schema = ROOT;
  for (const part of path) {
    const next =
      typeof part === 'number'
        ? schema.items
        : Object.hasOwn(schema.properties ?? {}, part)
          ? schema.properties?.[part]
          : undefined;
    if (!isSchema(next)) return null;
    schema = next;
  }
  return schema;
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function typeText(schema: Schema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(' | ');
  if (schema.properties !== undefined && 'secret' in schema.properties)
    return 'a secret reference: `{ secret: env:NAME }` or `{ secret: file:PATH }`';
  if (schema.type === 'array') {
    return isSchema(schema.items) && typeText(schema.items) !== 'a section'
      ? `a list of ${typeText(schema.items)}`
      : 'a list of sections';
  }
  if (schema.type === 'object') return 'a section';
  if (schema.type === 'boolean') return '`true` | `false`';
  if (schema.type === 'integer' || schema.type === 'number')
    return `a whole number from ${schema.minimum ?? 0} to ${schema.maximum ?? ''}`;
  if (schema.format === 'uri') return 'an http(s) URL';
  if (schema.anyOf?.some((one) => isSchema(one) && one.properties !== undefined)) return 'a section';
  if (schema.anyOf !== undefined) return 'a network such as 10.0.0.0/8';
  return 'text';
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    }
    row = next;
  }
  return row[b.length] ?? Number.MAX_SAFE_INTEGER;
}
