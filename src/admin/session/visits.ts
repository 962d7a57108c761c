/**
 * From a cookie to a person, for each request anew: the token of the session goes the same way as a bearer token (`run-route.ts`), so that
 * locks, voids, roles and the age of the sign-in count at once. What ended is forgotten here at the first request that finds out.
 */
import { err, ok, type Result } from '../../lib/result.ts';
import type { AdminContext } from '../context.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller, Route } from '../route.ts';
import { admit } from '../run-route.ts';
import type { CodeFlow } from './code-flow.ts';
import type { Session, Sessions, Tokens } from './sessions.ts';

export interface Visit {
  readonly who: AdminCaller;
  readonly session: Session;
}

/** What may be done: as in `routes.ts`. */
export type PageRow = Omit<Route, 'handler' | 'summary'>;

export const ownerOf = ({ token }: AdminCaller): string => `${token.issuer} ${token.subject}`;

export const SIGNED_OUT: Problem = {
  status: 401,
  code: 'signed_out',
  message: 'You are not signed in here, or your session has ended.',
  remedy: 'Sign in.',
};

/** After these the session is of no use to anybody. */
const ENDS = new Set(['no_standing', 'invalid_token', 'client_not_allowed']);
const RENEW_BEFORE_MS = 20_000;

export interface Visits {
  admit(cookie: string | null, row: PageRow, ref: string): Promise<Result<Visit, Problem>>;
  /** A token that came just now. It is the same check as for any request. */
  check(tokens: Tokens, row: PageRow, ref: string): Promise<Result<AdminCaller, Problem>>;
}

export function visits(
  ctx: AdminContext,
  parts: {
    readonly sessions: Sessions;
    readonly flow: CodeFlow;
    readonly clientId: string;
    readonly place: () => { readonly redirectUri: string; readonly resource: string };
  },
): Visits {
  const { sessions, flow, place } = parts;

  async function check(tokens: Tokens, row: PageRow, ref: string): Promise<Result<AdminCaller, Problem>> {
    const request = { rawHeaders: ['authorization', `Bearer ${tokens.access}`], url: '/' };
    const who = await admit(ctx, request, place().resource, row, ref);
    // The issuer gave it to us, for us: another client in it means that somebody confuses the two.
    if (who.ok && who.value.token.clientId !== parts.clientId) return err(SIGNED_OUT);
    return who;
  }

  /** Once for all requests that come meanwhile: a refresh token is good for one use. */
  function renewed(session: Session): Promise<boolean> {
    session.renewing ??= (async () => {
      const { refresh } = session.tokens;
      const tokens = refresh === null ? null : await flow.renew(place(), refresh);
      if (tokens !== null) session.tokens = tokens;
      session.renewing = null;
      return tokens !== null;
    })();
    return session.renewing;
  }

  return {
    check,
    async admit(cookie, row, ref) {
      const session = sessions.find(cookie);
      if (session === null) return err(SIGNED_OUT);
      const now = ctx.clock.now();
      if (session.tokens.expiresAt - RENEW_BEFORE_MS <= now && !(await renewed(session))) {
        sessions.end(session);
        return err(SIGNED_OUT);
      }
      const who = await check(session.tokens, row, ref);
      if (!who.ok) {
        if (ENDS.has(who.error.code) || who.error === SIGNED_OUT) sessions.end(session);
        return who.error.code === 'invalid_token' ? err(SIGNED_OUT) : who;
      }
      if (ownerOf(who.value) !== session.owner) {
        sessions.end(session);
        return err(SIGNED_OUT);
      }
      return ok({ who: who.value, session });
    },
  };
}
