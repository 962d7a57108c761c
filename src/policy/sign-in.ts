/**
 * How somebody signed in, as policies see it, and which better sign-in a policy would be content with (step-up, RFC 9470).
 * What a token does not say counts as the worst: signed in long ago, with nothing. Not done here: asking the person; the challenge on
 * the wire says what to ask for.
 */
import { hasSecondFactor } from '../lib/second-factor.ts';

/** As the token says it. */
export interface SignIn {
  /** `auth_time`, seconds since the epoch; null when the token does not say. */
  readonly authTime: number | null;
  readonly amr: readonly string[];
  readonly acr: string | null;
}

/** As a policy reads it: `context.signIn`. */
export interface SignInFacts {
  /** Seconds since the person signed in. */
  readonly age: number;
  readonly factors: readonly string[];
  readonly secondFactor: boolean;
  /** '' when the token does not say. */
  readonly acr: string;
}

/** What one policy compares the sign-in with: literals of its text, in the order of the text. */
export interface SignInReads {
  readonly ages: readonly number[];
  readonly acrs: readonly string[];
  readonly factors: readonly string[];
}

/** A sign-in that a person could go and make. */
export interface BetterSignIn {
  readonly facts: SignInFacts;
  readonly fresh: boolean;
  readonly stronger: boolean;
}

/** Over thirty thousand years, and small enough for a policy to do sums with. */
export const NEVER_SIGNED_IN = 1_000_000_000_000;

/** Clocks differ. An `auth_time` further ahead than this is no statement about the past. */
const MAX_SKEW_SECONDS = 60;

/** For answers that no sign-in changes. */
export const NO_SIGN_IN: SignInFacts = { age: NEVER_SIGNED_IN, factors: [], secondFactor: false, acr: '' };

/** `at`: ms since the epoch. */
export function signInAt(signIn: SignIn, at: number): SignInFacts {
  const { authTime, amr, acr } = signIn;
  const age = authTime === null ? Number.NaN : Math.floor(at / 1_000) - Math.floor(authTime);
  return {
    age: age >= -MAX_SKEW_SECONDS && age < NEVER_SIGNED_IN ? Math.max(age, 0) : NEVER_SIGNED_IN,
    factors: amr.filter((method) => method.isWellFormed()),
    secondFactor: hasSecondFactor(signIn),
    acr: acr?.isWellFormed() ? acr : '',
  };
}

/** More values of `acr` than this in the policies of one tool are not tried. Each costs evaluations, and denied calls are free to come. */
const MAX_ACRS = 4;

/** The sign-ins worth trying, the least demanding first: a fresh one, a stronger one, both. */
export function betterSignIns(now: SignInFacts, reads: Iterable<SignInReads>): readonly BetterSignIn[] {
  const all = [...reads];
  const wanted = all.flatMap(({ factors }) => factors);
  const acrs = [...new Set(all.flatMap(({ acrs }) => acrs))].slice(0, MAX_ACRS);
  const strong: SignInFacts = { ...now, secondFactor: true, factors: [...now.factors, 'mfa', ...wanted] };
  const stronger = [strong, ...acrs.map((acr) => ({ ...strong, acr }))];
  // A policy may also want that some method was not used.
  if (now.factors.length + wanted.length > 0) stronger.push({ ...strong, factors: ['mfa'] });
  return [
    { facts: { ...now, age: 0 }, fresh: true, stronger: false },
    ...stronger.map((facts) => ({ facts, fresh: false, stronger: true })),
    ...stronger.map((facts) => ({ facts: { ...facts, age: 0 }, fresh: true, stronger: true })),
  ];
}

/** What a header can carry as one value of a list (RFC 9470 section 3). */
const ACR_VALUE = /^[\x21\x23-\x5B\x5D-\x7E]{1,255}$/;

/** Compares found in a policy's JSON form: anything that stands opposite `context.signIn.<member>`. Null: it does not read the sign-in. */
export function signInReads(conditions: unknown, context: ReadonlySet<string>): SignInReads | null {
  if (!context.has('signIn') && !context.has('*')) return null;
  const found = { age: [] as unknown[], acr: [] as unknown[], factors: [] as unknown[] };
  walk(conditions, found);
  const texts = (values: readonly unknown[]): string[] =>
    values.filter((value) => typeof value === 'string' && value.isWellFormed()) as string[];
  return {
    ages: found.age.filter((value) => Number.isSafeInteger(value) && (value as number) >= 0) as number[],
    acrs: texts(found.acr).filter((acr) => ACR_VALUE.test(acr)),
    factors: texts(found.factors),
  };
}

/** Not the sums: `age * 2 < 100` compares the age with nothing that could be asked for. */
const COMPARES = new Set(['<', '<=', '>', '>=', '==', '!=', 'contains', 'containsAll', 'containsAny']);

type Member = 'age' | 'acr' | 'factors';

function walk(node: unknown, found: Readonly<Record<Member, unknown[]>>): void {
  if (typeof node !== 'object' || node === null) return;
  for (const [operator, value] of Object.entries(node)) {
    if (COMPARES.has(operator)) {
      const { left, right } = value as { left?: unknown; right?: unknown };
      const member = memberOf(left) ?? memberOf(right);
      if (member) found[member].push(...literalsOf([left, right]));
    }
    walk(value, found);
  }
}

/** `{".": {left: {".": {left: {Var: "context"}, attr: "signIn"}}, attr: "age"}}` is `age`. */
function memberOf(node: unknown): Member | null {
  const outer = access(node);
  const inner = access(outer?.left);
  const isContext = (inner?.left as { Var?: unknown } | undefined)?.Var === 'context';
  if (!isContext || inner?.attr !== 'signIn') return null;
  const name = outer?.attr;
  return name === 'age' || name === 'acr' || name === 'factors' ? name : null;
}

function access(node: unknown): { readonly left?: unknown; readonly attr?: unknown } | undefined {
  return (node as { '.'?: { left?: unknown; attr?: unknown } } | null | undefined)?.['.'];
}

function literalsOf(node: unknown): unknown[] {
  if (Array.isArray(node)) return node.flatMap(literalsOf);
  if (typeof node !== 'object' || node === null) return [];
  const { Value, Set: members } = node as { Value?: unknown; Set?: unknown };
  return Value === undefined ? literalsOf(members ?? null) : [Value];
}
