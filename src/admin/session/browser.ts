/**
 * The browser side of the admin listener: sessions, the sign-in that opens them, and the pages `/session/…`. Whatever serves pages here asks
 * `visit` who is there, for each request; nothing else reads the cookie. INVARIANT: no route of the API does.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { adminEntry } from '../../audit/entries.ts';
import { newId } from '../../lib/ids.ts';
import { err, type Result } from '../../lib/result.ts';
import type { AdminContext } from '../context.ts';
import type { Problem } from '../problem.ts';
import type { AdminCaller } from '../route.ts';
import { API_PATH } from '../routes.ts';
import { codeFlow, SIGN_IN_SECONDS, type BrowserSignIn, type Demand, type SignInFault } from './code-flow.ts';
import { cookie, type Cookie } from './cookies.ts';
import { checkForm, fromOurPage } from './form.ts';
import { returnPath } from './return-path.ts';
import { openSessions } from './sessions.ts';
import { ownerOf, SIGNED_OUT, visits, type PageRow, type Visit } from './visits.ts';

export const SIGN_IN_PATH = '/session/sign-in';
const CALLBACK_PATH = '/session/callback';
const SIGN_OUT_PATH = '/session/sign-out';
export const SIGN_OUT = 'sign-out';

export interface BrowserSide {
  visit(request: FastifyRequest, row: PageRow, ref: string): Promise<Result<Visit, Problem>>;
  routes(instance: FastifyInstance): void;
}

/** How `/session/…` looks; the pages' own frame. */
export interface SessionPages {
  problem(request: FastifyRequest, reply: FastifyReply, problem: Problem, ref: string): FastifyReply;
  signedOut(reply: FastifyReply): FastifyReply;
  /** Where somebody begins who came from nowhere. */
  home(who: AdminCaller): string;
}

/** Whoever signed in may have a session, also to be told that they may do nothing. */
const ANYBODY: PageRow = {
  method: 'GET',
  path: CALLBACK_PATH,
  scope: 'admin:read',
  roles: 'everyone',
  sensitive: false,
};

export function browserSide(
  ctx: AdminContext,
  setup: BrowserSignIn,
  origin: () => string,
  pages: SessionPages,
): BrowserSide {
  const sessions = openSessions(ctx.clock, setup);
  const flow = codeFlow(setup, ctx.clock);
  const place = () => ({ redirectUri: `${origin()}${CALLBACK_PATH}`, resource: `${origin()}${API_PATH}` });
  const known = visits(ctx, { sessions, flow, clientId: setup.clientId, place });
  const jar = (name: string): Cookie => cookie(name, origin().startsWith('https:'));
  // Names of their own: on loopback an authorization server of ours shares this host, and cookies know no ports.
  const sessionCookie = () => jar('remit_admin');
  const signInCookie = () => jar('remit_admin_sign_in');
  const sent = (request: FastifyRequest) => request.headers.cookie;

  async function begin(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const ref = newId('ref', ctx.clock);
    const query = request.query as Record<string, unknown>;
    const begun = await flow.begin(place(), returnPath(query['return']), demandOf(ctx, query['need']));
    if (!begun.ok) return pages.problem(request, reply, faultProblem(ctx, begun.error, ref), ref);
    return reply
      .header('set-cookie', signInCookie().set(begun.value.sealed, SIGN_IN_SECONDS))
      .redirect(begun.value.url, 303);
  }

  async function finish(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const ref = newId('ref', ctx.clock);
    const query = new URL(request.raw.url ?? '/', 'http://here').searchParams;
    const finished = await flow.finish(place(), query, signInCookie().read(sent(request)));
    if (!finished.ok) return pages.problem(request, reply, faultProblem(ctx, finished.error, ref), ref);
    void reply.header('set-cookie', signInCookie().clear());
    const { tokens, returnTo } = finished.value;
    const who = await known.check(tokens, ANYBODY, ref);
    if (!who.ok) return pages.problem(request, reply, who.error, ref);
    // Whoever had this browser before, and whatever id it brought along: neither lives on (session fixation).
    const before = sessions.find(sessionCookie().read(sent(request)));
    if (before !== null) sessions.end(before);
    const entry = adminEntry(ctx.audit.log.stamp({ ref }), { what: 'session.opened' }, who.value.actor);
    await ctx.audit.log.record(entry);
    const { cookie: value } = sessions.open(ownerOf(who.value), tokens);
    return reply.header('set-cookie', sessionCookie().set(value)).redirect(returnTo ?? pages.home(who.value), 303);
  }

  return {
    visit: (request, row, ref) => known.admit(sessionCookie().read(sent(request)), row, ref),
    routes(instance) {
      instance.get(SIGN_IN_PATH, begin);
      instance.get(CALLBACK_PATH, finish);
      instance.post(SIGN_OUT_PATH, {
        onRequest: async (request, reply) => {
          const ours = fromOurPage(request.headers, origin());
          if (!ours.ok) return pages.problem(request, reply, ours.error, newId('ref', ctx.clock));
        },
        // Also for somebody who may do nothing any more: signing out is never refused to the session's own form.
        handler: async (request, reply) => {
          const session = sessions.find(sessionCookie().read(sent(request)));
          const form = session === null ? err(SIGNED_OUT) : checkForm(request.body, session, SIGN_OUT);
          if (session === null || !form.ok) {
            if (session === null) return pages.signedOut(reply.header('set-cookie', sessionCookie().clear()));
            return pages.problem(request, reply, form.ok ? SIGNED_OUT : form.error, newId('ref', ctx.clock));
          }
          sessions.end(session);
          return pages.signedOut(reply.header('set-cookie', sessionCookie().clear()));
        },
      });
    },
  };
}

/** What a link may ask for. Only these three, so that a link from elsewhere can ask for nothing else. */
export type Need = 'sign-in' | 'factor' | 'recent';

export function needOf(ctx: AdminContext, { stepUp }: Problem): Need {
  if (stepUp === undefined) return 'sign-in';
  if (stepUp.maxAgeSeconds === ctx.facts.signIn.sensitiveMaxAgeSeconds) return 'recent';
  return stepUp.acrValues.length > 0 ? 'factor' : 'sign-in';
}

function demandOf(ctx: AdminContext, need: unknown): Demand {
  const { maxAgeSeconds, sensitiveMaxAgeSeconds, acrValues, unsafeNoSecondFactor } = ctx.facts.signIn;
  const factor = unsafeNoSecondFactor ? [] : acrValues;
  if (need === 'recent') return { maxAgeSeconds: sensitiveMaxAgeSeconds, acrValues: factor };
  return { maxAgeSeconds, acrValues: need === 'factor' ? factor : [] };
}

const AGAIN = 'Sign in again from the page that you want to see.';

function faultProblem(ctx: AdminContext, fault: SignInFault, ref: string): Problem {
  ctx.log.debug({ ref, fault }, 'sign-in from a browser did not work');
  switch (fault.code) {
    case 'sign_in_not_begun_here':
      return {
        status: 403,
        code: fault.code,
        message: 'This sign-in was not begun in this browser, took too long, or was overtaken by a newer one.',
        remedy: AGAIN,
      };
    case 'sign_in_refused':
      return {
        status: 403,
        code: fault.code,
        message: `The authorization server did not sign you in (${fault.error}).`,
        remedy: AGAIN,
      };
    case 'sign_in_answer':
      return {
        status: 403,
        code: fault.code,
        message: 'The answer is not one of the authorization server that was asked.',
        remedy: AGAIN,
      };
    case 'issuer_unavailable':
      ctx.log.warn({ ref, why: fault.why }, 'people cannot sign in to the pages: the issuer gives no usable answer');
      return {
        status: 503,
        code: fault.code,
        message: 'The authorization server cannot be used right now.',
        remedy: 'Try again in a moment. The process log names the cause.',
      };
    default:
      return fault satisfies never;
  }
}
