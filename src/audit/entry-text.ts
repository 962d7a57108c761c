/**
 * From an entry to the bytes that are hashed: RFC 8785 canonical JSON of at most 8 KiB.
 * ATTACKER-CONTROLLED: names of methods, servers and tools in denials. A long name must not make its own refusal unrecordable,
 * so texts over the limit stand as their beginning and the SHA-256 of the whole, and lists over the limit say how many they left out.
 * The rule is fixed (docs/audit-format.md): the same entry always gives the same text.
 */
import { sha256Hex } from '../lib/bytes.ts';
import { canonicalJson } from '../lib/canonical-json.ts';
import type { AuditEntry } from './entry.ts';
import { LedgerFault } from './ledger.ts';

export const MAX_ENTRY_BYTES = 8192;

interface Limits {
  /** UTF-16 code units of one text. */
  readonly text: number;
  /** Items of one list. */
  readonly items: number;
}

/** The second line is used only when the first still gives more than 8 KiB. */
const LIMITS: readonly Limits[] = [
  { text: 512, items: 128 },
  { text: 96, items: 8 },
];

/**
 * The canonical text of an entry, shortened by rule if it must be.
 * @throws LedgerFault `ledger_entry_too_large` when even the shortened entry is over 8 KiB: the call it speaks of must be refused.
 */
export function entryText(entry: AuditEntry): string {
  for (const limits of LIMITS) {
    const text = canonicalJson(fits(entry, limits) ? entry : bounded(entry, limits));
    if (Buffer.byteLength(text) <= MAX_ENTRY_BYTES) return text;
  }
  throw new LedgerFault('ledger_entry_too_large', `an entry of kind ${entry.kind} is over ${MAX_ENTRY_BYTES} bytes`);
}

/** True when the rule leaves the value as it is; the common case, and then nothing is copied. */
function fits(value: unknown, limits: Limits): boolean {
  if (typeof value === 'string') return value.length <= limits.text && value.isWellFormed();
  if (typeof value !== 'object' || value === null) return value !== undefined;
  if (Array.isArray(value)) return value.length <= limits.items && value.every((item: unknown) => fits(item, limits));
  return Object.values(value).every((member: unknown) => fits(member, limits));
}

function bounded(value: unknown, limits: Limits): unknown {
  if (typeof value === 'string') return boundedText(value, limits.text);
  if (Array.isArray(value)) {
    const kept = value.slice(0, limits.items).map((item: unknown) => bounded(item, limits));
    if (value.length > limits.items) kept.push(`…and ${value.length - limits.items} more`);
    return kept;
  }
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const member: unknown = (value as Record<string, unknown>)[key];
    if (member !== undefined) copy[key] = bounded(member, limits);
  }
  return copy;
}

/** Lone surrogates have no UTF-8 form; they become U+FFFD, as every UTF-8 encoder would write them. */
function boundedText(text: string, limit: number): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  if (wellFormed.length <= limit) return wellFormed;
  const digest = `…sha256:${sha256Hex(wellFormed)}`;
  // The cut may fall inside a surrogate pair: the half that stays becomes U+FFFD.
  return wellFormed.slice(0, Math.max(0, limit - digest.length)).toWellFormed() + digest;
}
