/**
 * How the record of a tool or another item moves: sightings come from the server, approvals from a person who saw exactly what is approved (AP-01, TD-03).
 * Pure; the caller stores what comes back. Not checked here: that `by` may review; the admin room asks for the role.
 */
import type { Digest } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { SeenDefinition } from './definition.ts';
import { fitOf } from './fit.ts';
import { Approved } from './records.ts';
import type { ItemKind, RiskClass, TaskSupport, ToolRecord } from './records.ts';
import type { Finding } from './scan.ts';
import { scanDefinition } from './scan.ts';

/** The record after a sighting, or null when it says nothing new. An approval stays in place, so that the difference can be shown. */
export function observe(
  record: ToolRecord | undefined,
  server: string,
  seen: SeenDefinition,
  at: number,
): ToolRecord | null {
  if (record?.observed?.digest === seen.digest) return null;
  const observed = { digest: seen.digest, definition: { ...seen.definition }, seenAt: at } as ToolRecord['observed'];
  return { server, kind: seen.kind, name: seen.name, observed, approved: record?.approved ?? null };
}

/** The record after the server stopped offering it, or null when that was known. */
export function vanish(record: ToolRecord): ToolRecord | null {
  return record.observed ? { ...record, observed: null } : null;
}

export type ReviewProblem =
  | { readonly code: 'nothing_to_review' }
  /** The definition moved between reading and approving: read it again. */
  | { readonly code: 'definition_moved'; readonly expected: Digest; readonly observed: Digest }
  | { readonly code: 'definition_refused'; readonly findings: readonly Finding[] }
  | { readonly code: 'schema_refused'; readonly message: string }
  | { readonly code: 'review_invalid'; readonly field: string; readonly message: string };

export interface Review {
  readonly risk: RiskClass;
  readonly scope: string;
  readonly justification: string;
  readonly tasks?: TaskSupport;
  readonly by: string;
  /** ms since the epoch. */
  readonly at: number;
  /** Digest of the definition that the reviewer had before their eyes. */
  readonly expectedDigest: Digest;
}

/** Pins what is observed now, provided it is what the reviewer saw, can be checked at call time and hides nothing from a reader. */
export function approve(record: ToolRecord, review: Review): Result<ToolRecord, ReviewProblem> {
  const { observed } = record;
  if (!observed) return err({ code: 'nothing_to_review' });
  if (observed.digest !== review.expectedDigest) {
    return err({ code: 'definition_moved', expected: review.expectedDigest, observed: observed.digest });
  }
  const blocking = scanDefinition(observed.definition).filter((finding) => finding.severity === 'block');
  if (blocking.length > 0) return err({ code: 'definition_refused', findings: blocking });
  const fit = fitOf(record.kind, observed.definition);
  if (!fit.ok) return err({ code: 'schema_refused', message: fit.error.message });
  const { expectedDigest: digest, ...rest } = review;
  const approved = Approved.safeParse({ digest, definition: observed.definition, ...rest });
  if (!approved.success) {
    const [issue] = approved.error.issues;
    return err({
      code: 'review_invalid',
      field: issue?.path.join('.') ?? '',
      message: issue?.message ?? 'is not valid',
    });
  }
  return ok({ ...record, approved: approved.data });
}

/** The record without its approval: it is invisible and unusable at once. */
export function withdraw(record: ToolRecord): ToolRecord {
  return { ...record, approved: null };
}

export interface RiskHint {
  readonly risk: RiskClass;
  readonly why: string;
}

const WORDS: ReadonlyArray<readonly [RiskClass, ReadonlySet<string>]> = [
  ['execute', new Set(['exec', 'execute', 'run', 'shell', 'eval', 'command', 'script', 'spawn', 'deploy', 'trigger'])],
  [
    'destructive',
    new Set(['delete', 'remove', 'drop', 'purge', 'destroy', 'truncate', 'wipe', 'revoke', 'kill', 'reset']),
  ],
  [
    'write',
    new Set(
      'write create update edit set put post send move rename upload insert add modify patch save merge publish toggle'.split(
        ' ',
      ),
    ),
  ],
  [
    'read',
    new Set(['read', 'get', 'list', 'search', 'find', 'fetch', 'show', 'view', 'describe', 'query', 'count', 'echo']),
  ],
];

const NOUN = {
  prompt: 'prompt',
  resource: 'resource',
  template: 'resource of a template',
  server: 'text of the server',
} as const;

/**
 * A first guess for the review form, from the tool's name. ATTACKER-CONTROLLED: the server chose name and annotations, so this
 * decides nothing; annotations can only raise the guess, and a name that says nothing counts as a write.
 */
export function suggestRisk(kind: ItemKind, definition: JsonObject): RiskHint {
  if (kind !== 'tool') return { risk: 'read', why: `a ${NOUN[kind]} is read` };
  const name = typeof definition['name'] === 'string' ? definition['name'] : '';
  const parts = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const named = WORDS.find(([, words]) => parts.some((part) => words.has(part)));
  const annotations = isJsonObject(definition['annotations']) ? definition['annotations'] : {};
  if (annotations['destructiveHint'] === true && (!named || named[0] === 'read' || named[0] === 'write')) {
    return { risk: 'destructive', why: 'the server says it may destroy (destructiveHint)' };
  }
  if (!named) return { risk: 'write', why: 'the name does not say what it does' };
  return { risk: named[0], why: `the name contains a word of the class ${named[0]}` };
}
