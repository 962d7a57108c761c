/**
 * What a client asked of a sign-in (max_age, prompt=login, acr_values) and whether the provider's answer is that.
 * Promises: an answer that does not say when or how the person signed in satisfies nothing that was asked.
 * OpenID Connect Core 3.1.2.1, RFC 9470. Does not decide what a policy demands.
 */
import { SECOND_FACTOR_ACR, hasSecondFactor } from '../../lib/second-factor.ts';

export interface AskedSignIn {
  /** Seconds; null: not asked. */
  readonly maxAge: number | null;
  /** prompt=login: a sign-in from now. */
  readonly fresh: boolean;
  /** One of these; empty: any. */
  readonly acr: readonly string[];
}

/** How somebody signed in, as the provider says. */
export interface SignInFacts {
  /** Seconds since the epoch; null: the provider does not say. */
  readonly authTime: number | null;
  readonly acr: string | null;
  readonly amr: readonly string[];
}

export type StepUpProblem = 'time_unknown' | 'too_old' | 'acr_not_met';

/** `startedAt`, `now`: seconds. */
export function stepUpProblem(
  asked: AskedSignIn,
  facts: SignInFacts,
  times: { readonly startedAt: number; readonly now: number; readonly skew: number },
): StepUpProblem | null {
  if (asked.fresh || asked.maxAge !== null) {
    if (facts.authTime === null) return 'time_unknown';
    // A sign-in of the future is a clock that cannot be trusted.
    if (facts.authTime > times.now + times.skew) return 'time_unknown';
    const fresh = asked.fresh || asked.maxAge === 0;
    const least = fresh ? times.startedAt : times.now - (asked.maxAge ?? 0);
    if (facts.authTime < least - times.skew) return 'too_old';
  }
  if (asked.acr.length > 0 && (facts.acr === null || !asked.acr.includes(facts.acr))) return 'acr_not_met';
  return null;
}

/**
 * The context a sign-in is recorded under: as the provider names it; where that is none of those asked for and the well-known name of a
 * second factor is, that name, if the methods show one (RFC 8176). Providers rarely know the name, and nearly all list the methods.
 */
export function acrOf(asked: AskedSignIn, facts: SignInFacts): string | null {
  const { acr } = facts;
  if (acr !== null && asked.acr.includes(acr)) return acr;
  return asked.acr.includes(SECOND_FACTOR_ACR) && hasSecondFactor(facts) ? SECOND_FACTOR_ACR : acr;
}

/** From the parameters of an authorization request, which the engine has checked. */
export function askedOf(params: Readonly<Record<string, unknown>>): AskedSignIn {
  const words = (name: string): string[] =>
    (typeof params[name] === 'string' ? params[name] : '').split(' ').filter(Boolean);
  const maxAge = params['max_age'];
  const seconds = typeof maxAge === 'number' || typeof maxAge === 'string' ? Number(maxAge) : NaN;
  return {
    maxAge: Number.isSafeInteger(seconds) && seconds >= 0 ? seconds : null,
    fresh: words('prompt').includes('login'),
    acr: words('acr_values'),
  };
}
