/**
 * On what terms a text is looked at: which way it goes, what is done about each class of finding, and the books of exact values. Built when
 * the state changes (rules.ts), read per call. Classes are dotted, the first word is the family: `secret.github`, `own_secret.<credential>`,
 * `honeytoken.<id>`, `personal.iban`, `hidden.bidi`, `link.image`, `instruction.override`, `media.image`, `copied.<server>`.
 */
import type { InspectedDataClass, InspectedRisk, InspectionPolicy } from './records.ts';

/** `out`: towards a server (arguments, answers). `in`: towards a client (results, resources, prompts, notifications, questions). */
export type Direction = 'out' | 'in';

/**
 * `label`: goes on and is recorded. `redact`: goes on without it (`in` only; what a server is sent is never rewritten behind its caller's back).
 * `hold`: goes on once a person agreed (`out` only). `withhold`: nothing of it goes on (`in` only). `block`: the call is refused (`out` only).
 */
export type Action = 'label' | 'redact' | 'hold' | 'withhold' | 'block';

export const FAMILIES = [
  'secret',
  'own_secret',
  'honeytoken',
  'personal',
  'hidden',
  'link',
  'instruction',
  'media',
  'copied',
] as const;
export type Family = (typeof FAMILIES)[number];

export interface Finding {
  readonly class: string;
  /** JSON Pointer (RFC 6901) into what was looked at. */
  readonly at: string;
  /** UTF-16 offsets in that text, end exclusive; null: the whole value. */
  readonly span: readonly [start: number, end: number] | null;
  readonly action: Action;
}

export interface ExactValue {
  readonly id: string;
  readonly value: string;
}

/** Values that are looked for; another `revision` means other ones. */
export interface ExactBook {
  readonly revision: number;
  readonly values: readonly ExactValue[];
}

/** Finds exact values in any of their encodings, in time linear in the text. */
export interface Matcher {
  /** Ranges in order; `id` says whose value it is. */
  find(text: string): ReadonlyArray<{ readonly id: string; readonly start: number; readonly end: number }>;
  /** What it looks for at this moment, so that another thread can look for it, too. @throws what the source of the values throws. */
  readonly book?: () => ExactBook;
}

export interface Terms {
  readonly direction: Direction;
  /** What is done about a class; the first rule that fits wins. Null: it is not looked for. `family.*` asks for a family as a whole. */
  actionFor(findingClass: string): Action | null;
  /** Hosts that may be loaded from by themselves (CI-06). */
  readonly linkHosts: ReadonlySet<string>;
  /** Secrets that Remit holds, and planted ones; null: there are none. */
  readonly own: Matcher | null;
  readonly planted: Matcher | null;
  /** What a failing or late detector means (CI-11): `label`: it goes on, marked `uninspected:<detector>`; `refuse`: it does not. */
  readonly onFault: 'label' | 'refuse';
  /** Of processor time, for all texts of one value together, ms. */
  readonly budgetMs: number;
  /** What they were made of, as plain data: `compileRules(policy).terms({ ...asked, own, planted })` makes them again in another thread. */
  readonly recipe?: { readonly policy: InspectionPolicy; readonly asked: AskedTerms };
}

export interface AskedTerms {
  readonly direction: Direction;
  /** Of the item; null: none is meant (a notification, a list), which counts as the most dangerous one. */
  readonly risk: InspectedRisk | null;
  readonly server: string;
  /** Of the server. */
  readonly dataClasses: readonly InspectedDataClass[];
  /** Ids of the credentials that this server is sent anyway: its own (`out` only). */
  readonly except?: ReadonlySet<string> | null;
}
