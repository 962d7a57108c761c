/**
 * What a reviewer must notice in a definition (TD-04, TD-05, TD-06): each finding with its JSON Pointer and span. `block` cannot be approved,
 * `hold` needs a second person whatever the class, `warn` and `info` are to be read. What other servers offer comes in as plain facts.
 * A heuristic: it misses what is said in plain words. What holds without it is the pin (TD-01) and the review.
 */
import type { HiddenKind } from '../lib/hidden-text.ts';
import { hiddenRuns, showHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { headerDeclarations, sensitiveDeclarations } from '../protocol/param-headers.ts';
import type { SchemaProblem } from './bound-schema.ts';
import { boundSchema, pointerPart } from './bound-schema.ts';
import type { NameIndex } from './scan-names.ts';
import type { TextCode } from './scan-text.ts';
import { CONTEXT_NAME, textFindings } from './scan-text.ts';

export type FindingCode =
  | `hidden_${HiddenKind}`
  | TextCode
  | SchemaProblem['code']
  | 'oversize_text'
  | 'external_reference'
  | 'secret_in_header'
  | 'loads_icon'
  | 'name_mixed_script'
  | 'name_same'
  | 'name_confusable'
  | 'name_near'
  | 'names_other_tool';

export type Severity = 'block' | 'hold' | 'warn' | 'info';

export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** JSON Pointer of the text; a member name itself is meant when `inName`. */
  readonly path: string;
  readonly inName: boolean;
  /** UTF-16 offsets into the text, end exclusive. */
  readonly span: readonly [start: number, end: number];
  /** At most 120 characters of it, hidden ones made visible. */
  readonly excerpt: string;
}

/** Whose the definition is, and what the others of the organisation offer. */
export interface Around {
  readonly server: string;
  readonly names: NameIndex;
}

const MAX_TEXT = 8192;
const MAX_FINDINGS = 200;

/** Deterministic; at most 200 findings, and oversize texts are read in part: the oversize finding says so. */
export function scanDefinition(definition: JsonObject, around?: Around): Finding[] {
  const findings: Finding[] = [];
  const add = (finding: Omit<Finding, 'excerpt'>, text: string): void => {
    const [start, end] = finding.span;
    if (findings.length < MAX_FINDINGS) {
      findings.push({ ...finding, excerpt: showHidden(text.slice(start, Math.min(end, start + 60))).slice(0, 120) });
    }
  };
  const scanText = (whole: string, path: string, inName: boolean): void => {
    if (whole.length > MAX_TEXT)
      add({ code: 'oversize_text', severity: 'block', path, inName, span: [MAX_TEXT, whole.length] }, whole);
    const text = whole.slice(0, MAX_TEXT);
    for (const { kind, start, end } of hiddenRuns(text)) {
      add({ code: `hidden_${kind}`, severity: 'block', path, inName, span: [start, end] }, text);
    }
    for (const found of textFindings(text)) add({ ...found, path, inName }, text);
    for (const { name, start, ordered } of around?.names.mentions(text, around.server) ?? []) {
      const span = [start, start + name.length] as const;
      add({ code: 'names_other_tool', severity: ordered ? 'hold' : 'warn', path, inName, span }, text);
    }
  };
  const visit = (value: Json, path: string): void => {
    if (typeof value === 'string') scanText(value, path, false);
    else if (Array.isArray(value)) value.forEach((item: Json, index) => visit(item, `${path}/${index}`));
    else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value as JsonObject)) {
        const below = `${path}/${pointerPart(key)}`;
        scanText(key, below, true);
        if (path.endsWith('/properties') && CONTEXT_NAME.test(key))
          add({ code: 'collects_context', severity: 'hold', path: below, inName: true, span: [0, key.length] }, key);
        if (REFERENCES.has(key) && typeof item === 'string' && !item.startsWith('#')) {
          add(
            { code: 'external_reference', severity: 'block', path: below, inName: false, span: [0, item.length] },
            item,
          );
        }
        visit(item, below);
      }
    }
  };
  visit(definition, '');
  for (const found of wholeFindings(definition, around)) add(found, found.text);
  return findings;
}

const REFERENCES: ReadonlySet<string> = new Set(['$ref', '$dynamicRef', '$recursiveRef']);

/** What only the definition as a whole shows: its schemas, its icons, its name among the others. */
function* wholeFindings(
  definition: JsonObject,
  around: Around | undefined,
): Generator<Omit<Finding, 'excerpt'> & { readonly text: string }> {
  for (const member of ['inputSchema', 'outputSchema']) {
    const schema = definition[member];
    if (!isJsonObject(schema)) continue;
    const bound = boundSchema(schema);
    // References that leave are found where they stand.
    if (!bound.ok && bound.error.code !== 'schema_external_reference') {
      const { code, path, message } = bound.error;
      yield {
        code,
        severity: 'block',
        path: `/${member}${path}`,
        inName: false,
        span: [0, message.length],
        text: message,
      };
    }
  }
  const input = definition['inputSchema'];
  const declared = isJsonObject(input) ? headerDeclarations(input) : null;
  for (const { path, name } of declared?.ok ? sensitiveDeclarations(declared.value) : []) {
    const at = path.map((part) => `/properties/${pointerPart(part)}`).join('');
    yield {
      code: 'secret_in_header',
      severity: 'block',
      path: `/inputSchema${at}/x-mcp-header`,
      inName: false,
      span: [0, name.length],
      text: name,
    };
  }
  const icons = Array.isArray(definition['icons']) ? (definition['icons'] as readonly Json[]) : [];
  for (const [index, icon] of icons.entries()) {
    const source = isJsonObject(icon) ? icon['src'] : undefined;
    if (typeof source === 'string' && !/^data:image\/(?!svg)/i.test(source))
      yield {
        code: 'loads_icon',
        severity: 'warn',
        path: `/icons/${index}/src`,
        inName: false,
        span: [0, source.length],
        text: source,
      };
  }
  const { name } = definition;
  if (typeof name !== 'string') return;
  const own = { path: '/name', inName: false, span: [0, name.length] as const, text: name };
  if (/[a-z]/i.test(name) && /[\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Cherokee}\p{Script=Armenian}]/u.test(name))
    yield { ...own, code: 'name_mixed_script', severity: 'hold' };
  for (const { how, whose } of around?.names.like(name, around.server) ?? []) {
    const severity = how === 'confusable' ? 'hold' : how === 'near' ? 'warn' : 'info';
    yield {
      ...own,
      code: `name_${how}`,
      severity,
      text: `${name} (${whose})`,
      span: [0, name.length + whose.length + 3],
    };
  }
}
