/** What a verification found. A report is a value: a log that does not verify is an answer, not a fault. */

export type Severity = 'error' | 'warning' | 'note';

export type FindingCode =
  // The log is not what was signed.
  | 'checkpoint_missing'
  | 'checkpoint_untrusted'
  | 'checkpoint_mismatch'
  | 'entry_changed'
  | 'entry_hash_changed'
  | 'entries_missing'
  | 'entries_malformed'
  | 'tile_missing'
  | 'tile_changed'
  | 'unexpected_file'
  | 'directory_keys_differ'
  | 'held_checkpoint_unusable'
  | 'held_checkpoint_contradicts'
  | 'rolled_back'
  // The log is what was signed, and what was signed is not a well-formed history.
  | 'entry_not_canonical'
  | 'entry_malformed'
  | 'entry_unknown_member'
  | 'link_broken'
  | 'outcome_without_intent'
  | 'outcome_repeated'
  | 'outcome_amended'
  | 'foreign_organisation'
  | 'clock_went_back'
  | 'silence'
  | 'stopped'
  | 'not_covered';

export interface Finding {
  readonly severity: Severity;
  readonly code: FindingCode;
  readonly message: string;
  readonly index?: number;
  readonly time?: string;
  readonly call?: string;
}

/** An intent that no outcome follows. `recoveredAt`: index of the gate entry that named it after a stop; null: in flight, or nobody looked. */
export interface Unfinished {
  readonly index: number;
  readonly time: string;
  readonly call: string;
  readonly recoveredAt: number | null;
}

export interface Report {
  /** No finding of severity `error`. */
  readonly verified: boolean;
  readonly origin: string | null;
  readonly size: number;
  /** Base64, of the signed checkpoint. */
  readonly root: string | null;
  readonly signedBy: readonly string[];
  readonly heldCheckpoints: readonly { readonly name: string; readonly size: number; readonly consistent: boolean }[];
  readonly kinds: Readonly<Record<string, number>>;
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  readonly unfinished: readonly Unfinished[];
  /** Larger than `unfinished.length` when the list was cut. */
  readonly unfinishedCount: number;
  readonly findings: readonly Finding[];
  /** Larger than `findings.length` when the list was cut. */
  readonly findingCount: number;
}

export const MAX_LISTED = 1000;

/** Collects findings in two drawers, so that what breaks the proof is listed before what is odd inside it. */
export interface Findings {
  add(finding: Finding): void;
  readonly failed: boolean;
  readonly count: number;
  list(): Finding[];
}

const ORDER: Record<Severity, number> = { error: 0, warning: 1, note: 2 };

export function findings(): Findings {
  const kept: Finding[] = [];
  const perCode = new Map<string, number>();
  let count = 0;
  let failed = false;
  return {
    add(finding) {
      count += 1;
      failed ||= finding.severity === 'error';
      const same = (perCode.get(finding.code) ?? 0) + 1;
      perCode.set(finding.code, same);
      if (same <= MAX_LISTED / 10) kept.push(finding);
    },
    get failed() {
      return failed;
    },
    get count() {
      return count;
    },
    list: () => kept.toSorted((a, b) => ORDER[a.severity] - ORDER[b.severity]),
  };
}

/** ATTACKER-CONTROLLED: text out of a log goes to terminals. No control, no format character, no endless line. */
export function printable(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  const clean = text.slice(0, 200).replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd');
  return text.length > 200 ? `${clean}…` : clean;
}
