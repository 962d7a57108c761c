/**
 * Who is asking the admin API, and whether the row of the route table is for them.
 * A token proves issuer and subject; everything else (active, roles, locks) comes from the directory as this node sees it now.
 * Nothing is remembered between two requests.
 *
 * A row for newcomers (the claim of the first administrator) is for people without a record: they come by a client of this API, and
 * have nothing but their token.
 */
import type { Actor } from '../audit/entry.ts';
import { trustsIssuer } from '../directory/people.ts';
import { principalOf } from '../gateway/principal.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import { readBearer } from '../identity/bearer.ts';
import type { Caller } from '../identity/caller.ts';
import { publicDescription } from '../identity/token-problem.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { AdminContext } from './context.ts';
import { forbidden, type Problem } from './problem.ts';
import type { AdminCaller, Route } from './route.ts';
import { signInLack, type StepUp } from './sign-in-rule.ts';

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

const NOT_A_CLIENT = forbidden(
  'client_not_allowed',
  'People do not use the admin API by this client.',
  'Use `remit login`, or have the client named under admin.clients in the configuration.',
);
const KNOWN: Problem = {
  status: 409,
  code: 'person_exists',
  message: 'You have a record here already.',
  remedy: 'Ask an administrator for the roles you need.',
};

/** Verifies the header for `audience`, then the standing of the person behind it. Scope and role are `permit`'s. */
export async function authenticate(
  ctx: AdminContext,
  request: { readonly rawHeaders: readonly string[]; readonly url: string },
  audience: string,
  route: Pick<Route, 'roles'>,
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
  const { value: caller } = verified;
  // ID-09: what an agent holds for somebody opens calls, never this.
  const known = standingOf(ctx, caller, route);
  return known.ok && !ctx.facts.clients.includes(caller.clientId) ? err(NOT_A_CLIENT) : known;
}

/** The person behind a verified token, as the directory sees them at this moment. */
function standingOf(ctx: AdminContext, caller: Caller, route: Pick<Route, 'roles'>): Result<AdminCaller, Problem> {
  if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs)) return err(STALE);
  const view = ctx.snapshot();
  if (view.locks === null || view.voids === null) return err(UNSOUND);
  const found = principalOf(view, caller, ctx.clock.now());
  // ID-09: an agent that acts alone, or for somebody, administers nothing.
  if (caller.alone || caller.actChain.length > 0) return err(NO_STANDING);
  if (route.roles === 'newcomer') return newcomer(view, caller, found);
  // Somebody without a role may see who they are here, and nothing else: no row of the table is open to them.
  const roleless = !found.ok && found.error.reason === 'person_without_role';
  const person = found.ok ? found.value.person : roleless && view.people.byIdentity(caller.issuer, caller.subject);
  if (!person) return err(NO_STANDING);
  return ok({
    person: person.id,
    name: person.name,
    roles: new Set(person.roles),
    token: caller,
    actor: actorOf(caller, person.id),
    breakGlass: person.breakGlass === true,
  });
}

const actorOf = (caller: Caller, person: string | null): Actor => ({
  issuer: caller.issuer,
  subject: caller.subject,
  person,
  client: caller.clientId,
  token: caller.tokenId,
  chain: caller.actChain,
});

/** A good token of somebody whom the directory does not know, by a client that is known. Everybody else has nothing to claim. */
function newcomer(view: Snapshot, caller: Caller, found: ReturnType<typeof principalOf>): Result<AdminCaller, Problem> {
  const trusted = view.organisation !== null && trustsIssuer(view.organisation, caller.issuer);
  if (found.ok || found.error.reason === 'person_without_role') return err(KNOWN);
  if (!trusted || found.error.reason !== 'person_unknown') return err(NO_STANDING);
  return ok({
    person: '',
    name: caller.subject,
    roles: new Set(),
    token: caller,
    actor: actorOf(caller, null),
    breakGlass: false,
  });
}

/**
 * The same person and row once the body is there. ATTACKER-CONTROLLED: when that is. Who was locked out, left or lost the role
 * while we waited changes nothing any more.
 */
export function stillMay(
  ctx: AdminContext,
  who: AdminCaller,
  route: Pick<Route, 'scope' | 'roles' | 'sensitive' | 'factor'>,
): Result<AdminCaller, Problem> {
  const now = standingOf(ctx, who.token, route);
  if (!now.ok) return now;
  const may = permit(ctx, now.value, route);
  return may.ok ? now : may;
}

/** Whether a known person may use a row: the scope of their token, then one of the row's roles, then how they signed in (ID-07). */
export function permit(
  ctx: Pick<AdminContext, 'facts' | 'clock'>,
  who: AdminCaller,
  route: Pick<Route, 'scope' | 'roles' | 'sensitive' | 'factor'>,
): Result<true, Problem> {
  if (!who.token.scopes.has(route.scope)) {
    return err({
      status: 403,
      code: 'insufficient_scope',
      message: `Your token lacks the scope ${route.scope}.`,
      remedy: `Sign in again with the scope ${route.scope}.`,
      challenge: 'insufficient_scope',
    });
  }
  if (typeof route.roles !== 'string' && !route.roles.some((role) => who.roles.has(role))) {
    return err(
      forbidden(
        'role_missing',
        `This needs one of the roles: ${route.roles.join(', ')}.`,
        'Ask an administrator, or somebody who has the role.',
      ),
    );
  }
  const lack = signInLack(ctx.facts.signIn, who.token, route, who.breakGlass, ctx.clock.now());
  return lack ? err(weakSignIn(lack)) : ok(true);
}

function weakSignIn(stepUp: StepUp): Problem {
  const { maxAgeSeconds, acrValues, lacks } = stepUp;
  const age = `within the last ${maxAgeSeconds} seconds`;
  const acr = acrValues.length === 0 ? '' : ` --acr-values '${acrValues.join(' ')}'`;
  return {
    status: 401,
    code: 'insufficient_user_authentication',
    message:
      lacks === 'recent_sign_in'
        ? `This needs a sign-in ${age}, and your token does not say that there was one.`
        : 'This needs a sign-in with a second factor, and your token does not say that there was one.',
    remedy: `Sign in again: remit login --max-age ${maxAgeSeconds}${acr}. The keys under admin.signIn say what is asked.`,
    challenge: 'insufficient_user_authentication',
    stepUp,
  };
}
