/**
 * The labels of a trace as policies see them (decisions 0012, 0013), each one bit. `private` is the union: who received confidential,
 * regulated or secret data received private data. Beside them what a call carries: text that was received elsewhere, and from whom.
 * What no policy reads is no bit of any kept answer, so it costs nothing.
 */
export interface Labels {
  /** It received what strangers may have written. */
  readonly untrusted: boolean;
  /** It received data above the threshold. */
  readonly private: boolean;
  readonly confidential: boolean;
  readonly regulated: boolean;
  /** What it received held a secret: a credential, a key, a token. */
  readonly secret: boolean;
}

export const NO_LABELS: Labels = Object.freeze({
  untrusted: false,
  private: false,
  confidential: false,
  regulated: false,
  secret: false,
});

/** What flows into a call (CI-08). */
export interface Flow extends Labels {
  /** Its arguments hold text that another server with confidential or regulated data gave, and may not go where they go. */
  readonly copied: boolean;
  /** Servers with confidential or regulated data whose text it holds, wherever it goes. */
  readonly copiedFrom: readonly string[];
  /** Servers whose output the trace received. */
  readonly receivedFrom: readonly string[];
}

const NO_SERVERS: readonly string[] = Object.freeze([]);
export const NO_FLOW: Flow = Object.freeze({
  ...NO_LABELS,
  copied: false,
  copiedFrom: NO_SERVERS,
  receivedFrom: NO_SERVERS,
});

export type Label = keyof Labels;
/** What is left out is not there. */
export type SomeLabels = { readonly [label in Label]?: boolean | undefined };
/** In this order where they are told. */
export const LABELS = ['untrusted', 'private', 'confidential', 'regulated', 'secret'] as const satisfies Label[];

export const PRIVATE = 1;
export const UNTRUSTED = 2;
export const CONFIDENTIAL = 4;
export const REGULATED = 8;
export const SECRET = 16;
export const ALL_BITS = 31;
/** Not a label of the trace: of the call. */
export const COPIED = 32;
/** No bit of any answer: some policy reads `receivedFrom`, for every call anew. */
export const FROM = 64;
/** All that a kept answer may depend on. */
const KEPT_BITS = ALL_BITS | COPIED;
const ABOVE = CONFIDENTIAL | REGULATED | SECRET;

export const BIT: Readonly<Record<Label, number>> = {
  private: PRIVATE,
  untrusted: UNTRUSTED,
  confidential: CONFIDENTIAL,
  regulated: REGULATED,
  secret: SECRET,
};

export const labelBits = (labels: SomeLabels): number => {
  const bits =
    (labels.private ? PRIVATE : 0) |
    (labels.untrusted ? UNTRUSTED : 0) |
    (labels.confidential ? CONFIDENTIAL : 0) |
    (labels.regulated ? REGULATED : 0) |
    (labels.secret ? SECRET : 0);
  return (bits & ABOVE) === 0 ? bits : bits | PRIVATE;
};

const BY_BITS: readonly Labels[] = Array.from({ length: ALL_BITS + 1 }, (_, bits) =>
  Object.freeze({
    untrusted: (bits & UNTRUSTED) !== 0,
    private: (bits & PRIVATE) !== 0,
    confidential: (bits & CONFIDENTIAL) !== 0,
    regulated: (bits & REGULATED) !== 0,
    secret: (bits & SECRET) !== 0,
  }),
);
/** One object for each, made once. */
export const labelsOf = (bits: number): Labels => BY_BITS[bits & ALL_BITS]!;

/** What may be said of a call that nobody makes; what is left out is not so. */
export type SomeFlow = SomeLabels & { readonly [K in Exclude<keyof Flow, Label>]?: Flow[K] | undefined };
export const flowFrom = (some: SomeFlow): Flow => ({
  ...labelsOf(labelBits(some)),
  copied: some.copied ?? false,
  copiedFrom: some.copiedFrom ?? NO_SERVERS,
  receivedFrom: some.receivedFrom ?? NO_SERVERS,
});

export const flowBits = (flow: SomeLabels & { readonly copied?: boolean | undefined }): number =>
  labelBits(flow) | (flow.copied ? COPIED : 0);

const POSSIBLE = BY_BITS.flatMap((labels) => [labelBits(labels), labelBits(labels) | COPIED]);
const COMBINATIONS: ReadonlyArray<readonly number[]> = Array.from({ length: KEPT_BITS + 1 }, (_, mask) => {
  const possible = POSSIBLE.map((bits) => bits & mask);
  return [...new Set([0, ...possible.toSorted((a, b) => b - a)])];
});
/** What the bits in `mask` can be together: none first, then from the most to the least. */
export const combinationsOf = (mask: number): readonly number[] => COMBINATIONS[mask & KEPT_BITS]!;
