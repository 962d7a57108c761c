/**
 * What a reviewer must notice in a definition (TD-05, TD-06): each finding with its JSON Pointer and span. `block` cannot be approved.
 * A heuristic: it misses what is said in plain words. What holds without it is the pin (TD-01) and the review.
 */
import type { HiddenKind } from '../lib/hidden-text.ts';
import { hiddenRuns, showHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';

export type FindingCode =
  | `hidden_${HiddenKind}`
  | 'oversize_text'
  | 'external_reference'
  | 'markup_comment'
  | 'role_token'
  | 'encoded_blob'
  | 'names_sensitive_file'
  | 'instructs_reader';

export interface Finding {
  readonly code: FindingCode;
  readonly severity: 'block' | 'hold' | 'warn' | 'info';
  /** JSON Pointer of the text; a member name itself is meant when `inName`. */
  readonly path: string;
  readonly inName: boolean;
  /** UTF-16 offsets into the text, end exclusive. */
  readonly span: readonly [start: number, end: number];
  /** At most 120 characters of it, hidden ones made visible. */
  readonly excerpt: string;
}

const MAX_TEXT = 8192;
const MAX_FINDINGS = 200;

/** INVARIANT: own patterns, no nested repetition, every quantifier bounded or over a class the next part cannot match. */
const PATTERNS: ReadonlyArray<readonly [FindingCode, Finding['severity'], RegExp]> = [
  ['markup_comment', 'warn', /<!--/g],
  ['role_token', 'warn', /<\|[a-z_]{1,32}\|>|\[\/?INST\]|<\/?(?:system|important|assistant|instructions?)>/gi],
  ['encoded_blob', 'warn', /[A-Za-z0-9+/]{160,}={0,2}/g],
  [
    'names_sensitive_file',
    'warn',
    /(?:~|\$HOME|\/root|\/home\/\w{1,32})\/\.[\w.-]{2,32}|\bid_(?:rsa|ed25519)\b|\/etc\/(?:passwd|shadow)\b/g,
  ],
  [
    'instructs_reader',
    'info',
    /\b(?:ignore (?:all |any )?(?:previous|prior|other)|do not (?:tell|mention|inform|reveal)|before (?:using|calling) (?:this|any)|(?:always|first) (?:call|use|read|invoke)|instead of (?:the )?\w{1,40} tool|must (?:first )?(?:call|read|invoke))\b/gi,
  ],
];

/** Deterministic; at most 200 findings, and oversize texts are read in part: the oversize finding says so. */
export function scanDefinition(definition: JsonObject): Finding[] {
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
    for (const [code, severity, pattern] of PATTERNS) {
      for (const match of text.matchAll(pattern)) {
        add({ code, severity, path, inName, span: [match.index, match.index + match[0].length] }, text);
      }
    }
  };
  const visit = (value: Json, path: string): void => {
    if (typeof value === 'string') scanText(value, path, false);
    else if (Array.isArray(value)) value.forEach((item: Json, index) => visit(item, `${path}/${index}`));
    else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value as JsonObject)) {
        const below = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
        scanText(key, below, true);
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
  return findings;
}

const REFERENCES: ReadonlySet<string> = new Set(['$ref', '$dynamicRef', '$recursiveRef']);
