/**
 * Who is asking the admin API, and whether the row of the route table is for them.
 * A token proves issuer and subject; everything else (active, roles, locks) comes from the directory as this node sees it now.
 * Nothing is remembered between two requests.
 */
import { adminEntry } from '../audit/entries.ts';
import { principalOf } from '../gateway/principal.ts';
import { readBearer } from '../identity/bearer.ts';
import type { Caller } from '../identity/caller.ts';
import { publicDescription } from '../identity/token-problem.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { AdminContext } from './context.ts';
import { forbidden, type Problem } from './problem.ts';
import type { AdminCaller, Route } from './route.ts';

const NO_TOKEN: Problem = {
  status: 401,
  code: 'unauthenticated',
  message: 'Sign in to use the admin API.',
  remedy: 'Send an access token for this API as a Bearer token; `remit login` gets one.',
  challenge: 'none',
};
const BAD_TOKEN: Problem = {
  status: 401,
  code: 'invalid_token',
  message: 'The access token is not accepted.',
  remedy: 'Sign in again. The token must be issued for this API.',
  challenge: 'invalid_token',
};
const STALE: Problem = {
  status: 503,
  code: 'state_stale',
  message: 'This node cannot confirm that its view of people and locks is current, so it refuses.',
  remedy: 'Try again in a moment, or another node.',
};
const UNSOUND: Problem = {
  status: 503,
  code: 'state_unsound',
  message: 'A lock cannot be read, so nobody can be known to be free of it.',
  remedy: 'Run the version of Remit that wrote the record.',
};
const NO_KEYS: Problem = {
  status: 503,
  code: 'keys_unavailable',
  message: 'The access token cannot be checked right now.',
  remedy: 'Try again in a moment. If it lasts, the authorization server is not reachable from here.',
};
/** One answer for unknown, inactive and locked: a token holder learns nothing about the directory. */
const NO_STANDING = forbidden(
  'no_standing',
  'You have no active standing in this organisation.',
  'Ask an administrator.',
);

/** Verifies the header for `audience`, then the standing of the person behind it. Scope and role are `permit`'s. */
export async function authenticate(
  ctx: AdminContext,
  request: { readonly rawHeaders: readonly string[]; readonly url: string },
  audience: string,
): Promise<Result<AdminCaller, Problem>> {
  const bearer = readBearer(request.rawHeaders, request.url);
  if (!bearer.ok) return err(bearer.error === 'missing' ? NO_TOKEN : BAD_TOKEN);
  const verified = await ctx.verifier.verify(bearer.value, audience);
  if (!verified.ok) {
    // Anybody can send these: at a level that a flood cannot use to fill the disk of a process in service.
    ctx.log.debug({ problem: verified.error.kind }, 'admin token refused');
    return err(
      verified.error.kind === 'keys_unavailable'
        ? NO_KEYS
        : { ...BAD_TOKEN, message: `${publicDescription(verified.error.kind)}.` },
    );
  }
  return standingOf(ctx, verified.value);
}

/** The person behind a verified token, as the directory sees them at this moment. */
function standingOf(ctx: AdminContext, caller: Caller): Result<AdminCaller, Problem> {
  if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs)) return err(STALE);
  const view = ctx.snapshot();
  if (view.locks === null || view.voids === null) return err(UNSOUND);
  const found = principalOf(view, caller, ctx.clock.now());
  // ID-09: an agent that acts alone, or for somebody, administers nothing.
  if (caller.alone || caller.actChain.length > 0) return err(NO_STANDING);
  // Somebody without a role may see who they are here, and nothing else: no row of the table is open to them.
  const roleless = !found.ok && found.error.reason === 'person_without_role';
  const person = found.ok ? found.value.person : roleless && view.people.byIdentity(caller.issuer, caller.subject);
  if (!person) return err(NO_STANDING);
  return ok({
    person: person.id,
    name: person.name,
    roles: new Set(person.roles),
    token: caller,
    actor: {
      issuer: caller.issuer,
      subject: caller.subject,
      person: person.id,
      client: caller.clientId,
      token: caller.tokenId,
      chain: caller.actChain,
    },
  });
}

/**
 * The same person and row once the body is there. ATTACKER-CONTROLLED: when that is. Who was locked out, left or lost the role
 * while we waited changes nothing any more.
 */
export function stillMay(
  ctx: AdminContext,
  who: AdminCaller,
  route: Pick<Route, 'scope' | 'roles'>,
): Result<AdminCaller, Problem> {
  const now = standingOf(ctx, who.token);
  if (!now.ok) return now;
  const may = permit(now.value, route);
  return may.ok ? now : may;
}

/** Whether a known person may use a row: the scope of their token, then one of the row's roles. */
export function permit(who: AdminCaller, route: Pick<Route, 'scope' | 'roles'>): Result<true, Problem> {
  if (!who.token.scopes.has(route.scope)) {
    return err({
      status: 403,
      code: 'insufficient_scope',
      message: `Your token lacks the scope ${route.scope}.`,
      remedy: `Sign in again with the scope ${route.scope}.`,
      challenge: 'insufficient_scope',
    });
  }
  if (route.roles !== 'everyone' && !route.roles.some((role) => who.roles.has(role))) {
    return err(
      forbidden(
        'role_missing',
        `This needs one of the roles: ${route.roles.join(', ')}.`,
        'Ask an administrator, or somebody who has the role.',
      ),
    );
  }
  return ok(true);
}

/** A refusal of somebody we know is written down; if the log cannot take it, the refusal stands all the same. */
export async function recordRefusal(
  ctx: AdminContext,
  ref: string,
  who: AdminCaller,
  route: Pick<Route, 'method' | 'path'>,
  problem: Problem,
): Promise<void> {
  const event = { what: 'request.refused', route: `${route.method} ${route.path}`, reason: problem.code };
  try {
    await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, who.actor));
  } catch (fault) {
    ctx.log.error({ ref, err: fault }, 'refusal could not be recorded');
  }
}
