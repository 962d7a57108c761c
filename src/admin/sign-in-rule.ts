/**
 * How somebody must have signed in for a row of the route table (ID-07): not too long ago for anything, a moment ago for what has
 * consequences, with a second factor wherever a role is needed or a row says so. Pure; the challenge is RFC 9470's, so a client can ask the person again.
 * What a token does not say counts as not done.
 */
import type { Caller } from '../identity/caller.ts';
import { signInAt } from '../policy/sign-in.ts';

/** `admin.signIn` of the configuration. */
export interface SignInRule {
  readonly maxAgeSeconds: number;
  readonly sensitiveMaxAgeSeconds: number;
  /** What is asked for where a second factor is needed; a token that says one of them has it. */
  readonly acrValues: readonly string[];
  readonly unsafeNoSecondFactor: boolean;
  /** A token without `auth_time` counts as signed in when it was issued. */
  readonly unsafeIssuedAtAsSignIn: boolean;
  readonly unsafeBreakGlassWithoutSecondFactor: boolean;
}

/** What another sign-in must be like. */
export interface StepUp {
  readonly maxAgeSeconds: number;
  /** Empty: any way of signing in will do. */
  readonly acrValues: readonly string[];
  readonly lacks: 'recent_sign_in' | 'second_factor';
}

/** Null: the sign-in is good enough. `now`: ms since the epoch. */
export function signInLack(
  rule: SignInRule,
  token: Pick<Caller, 'authTime' | 'issuedAt' | 'amr' | 'acr'>,
  row: { readonly sensitive: boolean; readonly factor?: boolean; readonly roles: readonly string[] | string },
  breakGlass: boolean,
  now: number,
): StepUp | null {
  const maxAgeSeconds = row.sensitive ? rule.sensitiveMaxAgeSeconds : rule.maxAgeSeconds;
  const authTime = token.authTime ?? (rule.unsafeIssuedAtAsSignIn ? token.issuedAt : null);
  const facts = signInAt({ authTime, amr: token.amr, acr: token.acr }, now);
  const relaxed = rule.unsafeNoSecondFactor || (breakGlass && rule.unsafeBreakGlassWithoutSecondFactor);
  const needsFactor = !relaxed && (row.sensitive || row.factor === true || typeof row.roles !== 'string');
  const hasFactor = facts.secondFactor || (facts.acr !== '' && rule.acrValues.includes(facts.acr));
  const lacks = facts.age > maxAgeSeconds ? 'recent_sign_in' : needsFactor && !hasFactor ? 'second_factor' : null;
  return lacks && { maxAgeSeconds, acrValues: needsFactor ? rule.acrValues : [], lacks };
}
