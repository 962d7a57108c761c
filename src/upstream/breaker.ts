/**
 * When a server is left alone (RL-04). Openings that failed and requests that got no answer count in a row; at the limit nothing more is
 * tried for a while that grows, then one goes ahead to see, and what becomes of it closes the breaker or opens it again for longer.
 * Not counted: whatever the server did answer (an error of a tool, a refusal, nonsense), a caller who left, an account that is not linked.
 * Decides; refusing is the pool's, which has one for every server and one for the opening of every connection. No clock, no timer of its own.
 */
import type { UpstreamFault, UpstreamFaultCode } from './connection.ts';
import { HttpStatusFault } from './http-rules.ts';

export interface Breaker {
  /** Failures in a row since it last worked. */
  failures: number;
  /** How often it opened since then. */
  openings: number;
  /** Not before this time, ms; null: closed. */
  retryAt: number | null;
  /** Since when somebody is trying it out, ms; null: nobody. */
  probedAt: number | null;
  /** Requests under way that try it out. */
  probing: number;
  last: { readonly code: UpstreamFaultCode; readonly message: string } | null;
}

export const newBreaker = (): Breaker => ({
  failures: 0,
  openings: 0,
  retryAt: null,
  probedAt: null,
  probing: 0,
  last: null,
});

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** Requests in a row without an answer: one that timed out may have been a slow tool's. */
export const FAILURES_TO_OPEN = 5;
/** Who was let through to see and then sends nothing holds up nobody for longer. */
const UNUSED_PROBE_MS = 1_000;
/** ATTACKER-CONTROLLED: how long a call that tries it out takes; a slow tool would hold up everybody else. Then another one may try, too. */
const SLOW_PROBE_MS = 5_000;

const COUNTS: ReadonlySet<UpstreamFaultCode> = new Set(['upstream_timeout', 'upstream_unreachable', 'upstream_closed']);

/**
 * No answer came, for a reason that another request would meet, too. ATTACKER-CONTROLLED: arguments that make a server stumble: a 500 is
 * about the request that met it.
 */
const counts = (fault: UpstreamFault): boolean =>
  COUNTS.has(fault.code) && !(fault instanceof HttpStatusFault && (fault.status === 500 || fault.status === 501));

export type Phase = 'closed' | 'open' | 'half_open';

export const phaseOf = ({ retryAt }: Breaker, now: number): Phase =>
  retryAt === null ? 'closed' : now < retryAt ? 'open' : 'half_open';

/** How long to stay away, ms; null: go on. Where it is to be tried out, that is for the caller to do. */
export function refusedFor(breaker: Breaker, now: number): number | null {
  const { retryAt, probedAt, probing } = breaker;
  if (retryAt === null) return null;
  if (now < retryAt) return retryAt - now;
  if (probedAt !== null && now - probedAt < (probing > 0 ? SLOW_PROBE_MS : UNUSED_PROBE_MS)) return UNUSED_PROBE_MS;
  breaker.probedAt = now;
  return null;
}

/** @returns the pause, ms. `pause`: false where trying again at once is right. */
export function open(breaker: Breaker, fault: UpstreamFault, now: number, pause = true): number {
  const pauseMs = pause ? Math.min(FIRST_PAUSE_MS * 2 ** breaker.openings, LONGEST_PAUSE_MS) : 0;
  breaker.openings++;
  breaker.retryAt = now + pauseMs;
  breaker.probedAt = null;
  breaker.last = { code: fault.code, message: fault.message };
  return pauseMs;
}

/** A request goes out. @returns whether it tries the server out. */
export function began(breaker: Breaker, now: number): boolean {
  if (breaker.retryAt === null || now < breaker.retryAt) return false;
  breaker.probing++;
  return true;
}

/** What became of a request; `dropped`: it ended with its connection, or by us, and says nothing. */
export type Ending = 'answered' | 'dropped' | UpstreamFault;

/** @returns for how long this opened it, ms; null: it did not. */
export function ended(breaker: Breaker, tried: boolean, how: Ending, now: number): number | null {
  if (tried) breaker.probing--;
  if (how === 'answered') {
    // `probing` is counted on: others may be trying at the same time.
    if (breaker.failures > 0 || breaker.retryAt !== null)
      Object.assign(breaker, newBreaker(), { probing: breaker.probing });
    return null;
  }
  if (how === 'dropped' || !counts(how)) {
    if (tried) breaker.probedAt = null;
    return null;
  }
  // What went out before it opened says nothing new, nor does a second one of those that tried.
  if (breaker.retryAt !== null && (!tried || now < breaker.retryAt)) return null;
  breaker.failures++;
  // One that tried, while another one was answered, is a failure like any other: the server works.
  return breaker.retryAt !== null || breaker.failures >= FAILURES_TO_OPEN ? open(breaker, how, now) : null;
}
