/**
 * Reads a commit request strictly before any database sees it, so that both engines refuse the same things.
 * Bodies become canonical JSON (RFC 8785): one value, one text, one digest.
 */
import { canonicalJson } from '../lib/canonical-json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { CommitRequest, Write } from './state.ts';
import { StoreFault } from './state.ts';

export const MAX_WRITES = 10_000;
export const MAX_NAME_LENGTH = 2048;
export const MAX_REASON_LENGTH = 10_000;
export const MAX_BODY_LENGTH = 4 * 1024 * 1024;

/** A write as the queries want it: the body is canonical JSON text. Crosses to the worker thread as plain data. */
export interface PreparedWrite {
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  readonly key: string | null;
  readonly body: string | null;
  /** undefined: last writer wins. */
  readonly expectedRevision: number | null | undefined;
}

export interface PreparedCommit {
  readonly at: number;
  readonly actor: string;
  readonly reason: string;
  readonly writes: readonly PreparedWrite[];
}

/** @throws StoreFault `store_invalid` that names the field. */
export function prepareCommit(request: CommitRequest, at: number): PreparedCommit {
  checkText('actor', request.actor, MAX_NAME_LENGTH);
  checkText('reason', request.reason, MAX_REASON_LENGTH);
  if (request.writes.length === 0) throw invalid('writes', 'holds at least one write');
  if (request.writes.length > MAX_WRITES) throw invalid('writes', `holds at most ${MAX_WRITES} writes`);
  const writes = request.writes.map(prepareWrite);
  const names = new Set(writes.map((write) => JSON.stringify([write.kind, write.org, write.id])));
  if (names.size !== writes.length) throw invalid('writes', 'names each record at most once');
  return { at, actor: request.actor, reason: request.reason, writes };
}

function prepareWrite(write: Write, position: number): PreparedWrite {
  const field = (name: string): string => `writes[${position}].${name}`;
  checkText(field('kind'), write.kind, MAX_NAME_LENGTH);
  checkText(field('org'), write.org, MAX_NAME_LENGTH);
  checkText(field('id'), write.id, MAX_NAME_LENGTH);
  if (write.key !== undefined) checkText(field('key'), write.key, MAX_NAME_LENGTH);
  const expected = write.expectedRevision;
  if (typeof expected === 'number' && !(Number.isSafeInteger(expected) && expected > 0)) {
    throw invalid(field('expectedRevision'), 'is a revision, null (must not exist) or left out');
  }
  if (write.body === null && expected === null) {
    throw invalid(field('body'), 'is not null when expectedRevision is null: what must not exist cannot be deleted');
  }
  return {
    kind: write.kind,
    org: write.org,
    id: write.id,
    key: write.key ?? null,
    body: write.body === null ? null : bodyText(field('body'), write.body),
    expectedRevision: expected,
  };
}

function bodyText(field: string, body: unknown): string {
  if (!isJsonObject(body)) throw invalid(field, 'is a JSON object or null');
  let text: string;
  try {
    text = canonicalJson(body);
  } catch (cause) {
    throw new StoreFault('store_invalid', `${field} is plain JSON without undefined, NaN or lone surrogates`, {
      cause,
    });
  }
  if (text.length > MAX_BODY_LENGTH) throw invalid(field, `has at most ${MAX_BODY_LENGTH} characters as JSON`);
  return text;
}

/** PostgreSQL cannot store U+0000 in text and neither engine stores half a surrogate pair; a name that changes on the way is refused. */
function checkText(field: string, value: unknown, maxLength: number): void {
  if (typeof value !== 'string' || value.length === 0) throw invalid(field, 'is a non-empty text');
  if (value.length > maxLength) throw invalid(field, `has at most ${maxLength} characters`);
  if (value.includes('\0') || !value.isWellFormed()) throw invalid(field, 'is well-formed Unicode without U+0000');
}

const invalid = (field: string, rule: string): StoreFault => new StoreFault('store_invalid', `${field} ${rule}`);
