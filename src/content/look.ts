/**
 * Every detector over every text of one value, on given terms: what was found where, what is done about it, and the text as it may go on.
 * A detector that throws, or comes when the time is over, is named in `faults`; the terms say what that means (CI-11). Nothing is skipped silently.
 */
import { hiddenRuns } from '../lib/hidden-text.ts';
import type { HiddenRun } from '../lib/hidden-text.ts';
import type { Detector, Found } from './detectors/found.ts';
import { NOTHING } from './detectors/found.ts';
import { isSecretValue, namesSecret } from './detectors/assigned.ts';
import { links, SIGN_MARKUP } from './detectors/links.ts';
import { secrets } from './detectors/secrets.ts';
import { DETECTORS, HIDDEN, OWN, PLANTED, signsOf } from './detectors/all.ts';
import type { Action, Finding, Terms } from './terms.ts';

/** Findings of one value that are kept, and the first of each class; the rest is counted, and decided about all the same. */
const MAX_FINDINGS = 200;
/** Shorter texts hold nothing that a detector looks for, except hidden characters. */
const SHORTEST = 5;

export type StopReason = 'result_forbidden' | 'inspection_failed';

export interface Look {
  readonly terms: Terms;
  readonly findings: Finding[];
  /** How many were found when the list was full. */
  more: number;
  /** `hidden_text`, `<family>:<kind>`; each once. */
  readonly labels: string[];
  /** Detectors that failed, or did not see all of it; each once. */
  readonly faults: string[];
  /** The strongest thing that has to be done. */
  worst: Action | null;
  stop: StopReason | null;
  /** @param at gives the JSON Pointer; asked only if something is found. @param name of the member that it is the value of. */
  text(given: string, at: () => string, name?: string | null): string;
  /** Something about a value as a whole. */
  whole(findingClass: string, at: () => string): void;
}

interface Edit {
  start: number;
  end: number;
  instead: string;
}

const STRENGTH: Readonly<Record<Action, number>> = { label: 0, redact: 1, hold: 2, withhold: 3, block: 4 };

/**
 * @param now ms, rising: of processor time of this thread, so that a value which took long because the machine did other things is not late.
 */
export function lookOver(terms: Terms, detectors: readonly Detector[] = DETECTORS, now: () => number = workedMs): Look {
  const until = now() + terms.budgetMs;
  const looksFor = activeOf(terms, detectors);
  const looksForHidden = terms.actionFor('hidden.*') !== null;
  const looksForLinks = looksFor.includes(links);
  // In what goes out the tool's own parameter asked for it.
  const looksForNamed = terms.direction === 'in' && looksFor.includes(secrets);
  let seen = 0;
  let classes: Set<string> | null = null;

  const fault = (name: string): void => {
    if (!look.faults.includes(name)) look.faults.push(name);
    if (terms.onFault === 'refuse') look.stop ??= 'inspection_failed';
  };
  /** The clock is read every few thousand characters. */
  const late = (length: number): boolean => {
    seen += length + 16;
    if (seen < 4_096) return false;
    seen = 0;
    return now() > until;
  };
  const record = (
    findingClass: string,
    label: string | null,
    span: Finding['span'],
    at: () => string,
  ): Action | null => {
    const action = terms.actionFor(findingClass);
    if (action === null) return null;
    if (label !== null && !look.labels.includes(label)) look.labels.push(label);
    if (look.findings.length < MAX_FINDINGS || isFirst(findingClass))
      look.findings.push({ class: findingClass, at: at(), span, action });
    else look.more++;
    if (look.worst === null || STRENGTH[action] > STRENGTH[look.worst]) look.worst = action;
    if (action === 'withhold') look.stop ??= 'result_forbidden';
    return action;
  };
  /** ATTACKER-CONTROLLED: how much of one class stands before the first of another, which may be what raises an alarm. */
  const isFirst = (findingClass: string): boolean => {
    classes ??= new Set(look.findings.map((one) => one.class));
    if (classes.has(findingClass)) return false;
    classes.add(findingClass);
    return true;
  };
  const hiddenIn = (given: string): readonly HiddenRun[] => {
    if (!looksForHidden) return NO_RUNS;
    try {
      return hiddenRuns(given);
    } catch {
      fault(HIDDEN);
      return NO_RUNS;
    }
  };
  /** What is left after something was taken out must not load either: `!secret(address)` is a picture once the secret has become a name. */
  const withoutNewLinks = (left: string): string => {
    if (!looksForLinks || !left.includes('](')) return left;
    try {
      const again = links.find(left, terms, SIGN_MARKUP).filter((one) => terms.actionFor(one.class) === 'redact');
      return again.length === 0
        ? left
        : edited(
            left,
            again.map(({ start, end, instead = '' }) => ({ start, end, instead })),
          );
    } catch {
      fault(links.name);
      return left;
    }
  };
  const text = (given: string, at: () => string, name: string | null = null): string => {
    const runs = hiddenIn(given);
    if (given.length < SHORTEST && runs.length === 0) return given;
    let edits: Edit[] | null = null;
    for (const { kind, start, end } of runs) {
      if (record(`hidden.${kind}`, 'hidden_text', [start, end], at) === 'redact')
        (edits ??= []).push({ start, end, instead: '' });
    }
    const visible = runs.length === 0 ? given : withoutRuns(given, runs);
    const shifts = runs.length === 0 ? null : shiftsOf(runs);
    let signs = -1;
    let behind = false;
    for (const detector of looksFor) {
      if (!behind && late(visible.length)) {
        behind = true;
        for (const unasked of looksFor) if (!isExact(unasked)) fault(unasked.name);
        // ATTACKER-CONTROLLED: how long it is. Whoever sends pads nothing past the detectors; who answers does, and the trace says so.
        if (terms.direction === 'out') look.stop ??= 'inspection_failed';
      }
      if (behind && !isExact(detector)) continue;
      if (detector.signs !== 0) {
        if (signs === -1) signs = signsOf(visible);
        if ((detector.signs & signs) === 0) continue;
      }
      let found: readonly Found[] = NOTHING;
      try {
        found = detector.find(visible, terms, signs);
      } catch {
        fault(detector.name);
      }
      for (const one of found) {
        const kind = one.class.slice(one.class.indexOf('.') + 1);
        const start = shifts === null ? one.start : given_(one.start, shifts);
        const end = shifts === null ? one.end : given_(one.end - 1, shifts) + 1;
        const action = record(one.class, `${detector.family}:${kind}`, [start, end], at);
        if (action === 'redact') (edits ??= []).push({ start, end, instead: one.instead ?? `[redacted:${kind}]` });
      }
    }
    if (name !== null && looksForNamed && edits === null && namesSecret(name) && isSecretValue(name, visible)) {
      if (record('secret.assigned', 'secret:assigned', [0, given.length], at) === 'redact')
        return '[redacted:assigned]';
    }
    return edits === null ? given : withoutNewLinks(edited(given, edits));
  };
  const whole = (findingClass: string, at: () => string): void => void record(findingClass, null, null, at);
  // Plain members: see outlet.ts for what an accessor in a literal costs that is made for every call.
  const look: Look = { terms, findings: [], more: 0, labels: [], faults: [], worst: null, stop: null, text, whole };
  return look;
}

const workedMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
};

const NO_RUNS: readonly HiddenRun[] = [];
/** What must never pass is looked for however late it is: its cost is linear and small. */
const isExact = ({ name }: Detector): boolean => name === OWN || name === PLANTED;

/** By terms, so that a call does not ask again what is looked for. */
const ACTIVE = new WeakMap<Terms, readonly Detector[]>();
export function activeOf(terms: Terms, detectors: readonly Detector[] = DETECTORS): readonly Detector[] {
  const known = detectors === DETECTORS ? ACTIVE.get(terms) : undefined;
  if (known) return known;
  const active = detectors.filter(({ name, family }) => {
    if (name === OWN) return terms.own !== null;
    if (name === PLANTED) return terms.planted !== null;
    return terms.actionFor(`${family}.*`) !== null;
  });
  if (detectors === DETECTORS) ACTIVE.set(terms, active);
  return active;
}

function withoutRuns(given: string, runs: readonly HiddenRun[]): string {
  const parts: string[] = [];
  let from = 0;
  for (const { start, end } of runs) {
    parts.push(given.slice(from, start));
    from = end;
  }
  parts.push(given.slice(from));
  return parts.join('');
}

/** For each run: how many hidden characters stand before its end, and where that is in the visible text. */
function shiftsOf(runs: readonly HiddenRun[]): Shifts {
  const at = new Uint32Array(runs.length);
  const by = new Uint32Array(runs.length);
  let sum = 0;
  runs.forEach(({ start, end }, i) => {
    at[i] = start - sum;
    sum += end - start;
    by[i] = sum;
  });
  return { at, by };
}
interface Shifts {
  readonly at: Uint32Array;
  readonly by: Uint32Array;
}

/** Where a character of the visible text stands in the given one. */
function given_(visible: number, { at, by }: Shifts): number {
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle]! <= visible) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? visible : visible + by[low - 1]!;
}

/** What overlaps is one piece, under the name of its beginning; what would only vanish gives way to what has a name. */
function edited(given: string, edits: Edit[]): string {
  edits.sort((a, b) => a.start - b.start || b.end - a.end);
  const parts: string[] = [];
  let from = 0;
  for (let i = 0; i < edits.length;) {
    const { start } = edits[i]!;
    let { end, instead } = edits[i]!;
    for (i++; i < edits.length && edits[i]!.start < end; i++) {
      const other = edits[i]!;
      if (other.end > end) end = other.end;
      if (instead === '') instead = other.instead;
    }
    parts.push(given.slice(from, start), instead);
    from = end;
  }
  parts.push(given.slice(from));
  return parts.join('');
}
