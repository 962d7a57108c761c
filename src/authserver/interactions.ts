/**
 * The two steps a person takes: sign in (at their provider, or here with a password), then allow or deny. Promises: a form
 * counts only from our own origin, with the interaction's cookie and its form token; nothing is granted that was not shown.
 * Does not check tokens or redirect addresses (the engine did, before it sent the browser here).
 * Longer than other files: two sequences, step by step, that a reviewer should see whole.
 */
import { errors } from 'oidc-provider';
import type { Client, Provider } from 'oidc-provider';
import { newId } from '../lib/ids.ts';
import { clientFacts } from './client-facts.ts';
import { isLoopbackHost } from './config.ts';
import type { Consents } from './consents.ts';
import { formToken, readForm } from './forms.ts';
import { OWN_SCOPES, grantScopes, resourceError, wordsOf } from './scopes.ts';
import type { FailedSignIn, Federation } from './federation/federation.ts';
import { mayUse, organisationOfResource } from './federation/organisation.ts';
import { askedOf } from './federation/step-up.ts';
import { consentPage, formTarget, pageHeaders, signInFailedPage, signInPage } from './pages.ts';
import type { OfferedScope, ResourceDirectory, TrustedGateway } from './resources.ts';
import type { PasswordDirectory, UserDirectory } from './users.ts';

type Middleware = Parameters<Provider['use']>[0];
type Context = Parameters<Middleware>[0];
type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;

export interface InteractionParts {
  readonly issuer: string;
  readonly provider: Provider;
  readonly directory: UserDirectory;
  /** Local users; null: nobody signs in with a password here. */
  readonly passwords: PasswordDirectory | null;
  readonly federation: Federation;
  readonly settings: { readonly trustedGateways: readonly TrustedGateway[] };
  readonly resources: ResourceDirectory;
  readonly consents: Consents;
  readonly cookieKeys: () => readonly string[];
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}

/** The interaction; `/federation/{provider}`: off to this provider; `/federation`: back from it. */
const ROUTE = /^\/interaction\/([\w-]{16,64})(\/federation)?(?:(?<=federation)\/([a-z0-9][a-z0-9-]{0,39}))?$/;

export function interactionRoutes(parts: InteractionParts): Middleware {
  return async (ctx, next) => {
    const [, uid, federated, providerId] = ROUTE.exec(ctx.path) ?? [];
    if (uid === undefined) return next();
    const allowed = federated === undefined ? ['GET', 'HEAD', 'POST'] : ['GET'];
    if (!allowed.includes(ctx.method)) return next();
    const interaction = await parts.provider.interactionDetails(ctx.req, ctx.res);
    if (interaction.uid !== uid) throw new errors.SessionNotFound('another sign-in was started in this browser');
    const client = await parts.provider.Client.find(String(interaction.params['client_id']));
    if (client === undefined) throw new errors.InvalidClient('client is invalid');
    if (interaction.prompt.name !== 'login') {
      // The way back of a sign-in that is done, by the browser's history.
      if (federated !== undefined) return seeOther(ctx, `/interaction/${uid}`);
      return consent(parts, ctx, interaction, client);
    }
    if (federated === undefined) return signIn(parts, ctx, interaction, client);
    if (providerId === undefined) return comeBack(parts, ctx, interaction, client);
    return goToProvider(parts, ctx, interaction, client, providerId);
  };
}

export const SIGN_IN_CLOSED = 'sign-in is not set up: turn on evaluation users or connect an identity provider';

/** Remembers across the new start of a request that the person asked for another account. It decides nothing. */
const SWITCH_COOKIE = 'remit_switch';

async function signIn(parts: InteractionParts, ctx: Context, interaction: Interaction, client: Client): Promise<void> {
  const providers = parts.federation.providersOf(organisationAsked(parts, interaction));
  if (parts.passwords === null && providers.length === 0) throw new errors.SessionNotFound(SIGN_IN_CLOSED);
  const show = (failed: boolean, username: string): void => {
    const form = formOf(parts, interaction, 'sign-in');
    const view = {
      ...form,
      clientName: clientFacts(client).name,
      failed,
      username,
      passwords: parts.passwords !== null,
      providers: providers.map(({ id, title }) => ({ title, address: `${form.action}/federation/${id}` })),
    };
    respond(ctx, interaction, failed ? 400 : 200, signInPage(view));
  };
  if (ctx.method !== 'POST') {
    const [only, ...others] = providers;
    if (only !== undefined && others.length === 0 && parts.passwords === null && ctx.method === 'GET')
      return goToProvider(parts, ctx, interaction, client, only.id);
    return show(false, '');
  }
  const form = await formSent(parts, ctx, interaction, 'sign-in');
  const decision = form.get('decision');
  if (decision === 'cancel') return deny(parts, ctx, 'the person did not sign in');
  // Where a failed sign-in leads back to the application. What it is told is no secret of anybody's.
  if (decision === 'temporarily_unavailable' || decision === 'unmet_authentication_requirements')
    return deny(parts, ctx, TOLD[decision], decision);
  if (decision === 'access_denied') return deny(parts, ctx, TOLD.access_denied);
  if (parts.passwords === null) throw new errors.InvalidRequest('nobody signs in with a password here');
  const username = (form.get('username') ?? '').trim();
  const password = form.get('password') ?? '';
  const possible = username.length <= 64 && password.length > 0 && password.length <= 200;
  const person = possible
    ? await parts.passwords.authenticate({ username, password, address: ctx.req.socket.remoteAddress ?? '' })
    : null;
  if (person === null) {
    parts.note('sign-in refused', { clientId: client.clientId });
    return show(true, username);
  }
  // Somebody whom a gateway reported inactive: the page must not tell that from a wrong password.
  if ((await parts.directory.find(person.sub)) === null) return show(true, username);
  if (askedOf(interaction.params).acr.length > 0)
    return deny(parts, ctx, TOLD.unmet_authentication_requirements, 'unmet_authentication_requirements');
  parts.note('signed in', { sub: person.sub, clientId: client.clientId });
  return accept(parts, ctx, interaction, { accountId: person.sub, amr: ['pwd'], remember: false });
}

async function goToProvider(
  parts: InteractionParts,
  ctx: Context,
  interaction: Interaction,
  client: Client,
  provider: string,
): Promise<void> {
  const organisation = organisationAsked(parts, interaction);
  const chooseAccount = ctx.cookies.get(SWITCH_COOKIE) !== undefined;
  if (chooseAccount) ctx.cookies.set(SWITCH_COOKIE, null, switchCookie(parts));
  const flow = { interaction: interaction.uid, provider, organisation };
  const began = await parts.federation.begin(flow, askedOf(interaction.params), chooseAccount);
  if (!began.ok) return signInFailed(parts, ctx, interaction, client, began.error);
  seeOther(ctx, began.value);
}

async function comeBack(
  parts: InteractionParts,
  ctx: Context,
  interaction: Interaction,
  client: Client,
): Promise<void> {
  const { receipt } = ctx.query;
  const brought = typeof receipt === 'string' ? receipt : '';
  const done = await parts.federation.finish(interaction.uid, brought, organisationAsked(parts, interaction));
  if (!done.ok) return signInFailed(parts, ctx, interaction, client, done.error);
  const { person, facts } = done.value;
  // INVARIANT: whoever the engine does not find is asked to sign in again, and the provider would send them back at once.
  if ((await parts.directory.find(person.account)) === null) {
    parts.note('sign-in refused', { sub: person.account, clientId: client.clientId, reason: 'the person is inactive' });
    return signInFailed(parts, ctx, interaction, client, 'access_denied');
  }
  parts.note('signed in', { sub: person.account, clientId: client.clientId, organisation: person.organisation });
  return accept(parts, ctx, interaction, {
    accountId: person.account,
    remember: false,
    // INVARIANT: never later than the sign-in at the provider. Where that is not known, long ago: no policy may take it for recent.
    ts: facts.authTime ?? 0,
    ...(facts.acr !== null && { acr: facts.acr }),
    ...(facts.amr.length > 0 && { amr: [...facts.amr] }),
  });
}

interface Login {
  readonly accountId: string;
  readonly remember: false;
  readonly ts?: number;
  readonly acr?: string;
  readonly amr?: string[];
}

async function accept(parts: InteractionParts, ctx: Context, interaction: Interaction, login: Login): Promise<void> {
  // Somebody else was signed in here: their session ends, this one starts anew.
  if (interaction.session?.accountId !== undefined && interaction.session.accountId !== login.accountId)
    await endSession(parts, ctx, interaction);
  const result = { login: { ...login } };
  seeOther(ctx, await parts.provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: false }));
}

/** What the client is told; the person sees the same in a sentence, with a reference to the log line. */
const TOLD: Readonly<Record<FailedSignIn, string>> = {
  access_denied: 'the person could not be signed in',
  temporarily_unavailable: 'the identity provider cannot be reached now; try again',
  unmet_authentication_requirements: 'the sign-in was not as recent or as strong as was asked for',
};

function signInFailed(
  parts: InteractionParts,
  ctx: Context,
  interaction: Interaction,
  client: Client,
  failed: FailedSignIn,
): void {
  const reference = newId('ref');
  parts.note('sign-in failed', { reference, code: failed, clientId: client.clientId });
  const form = formOf(parts, interaction, 'sign-in');
  const clientName = clientFacts(client).name;
  respond(
    ctx,
    interaction,
    failed === 'temporarily_unavailable' ? 503 : 400,
    signInFailedPage({ ...form, clientName, failed, reference }),
  );
}

/** The organisation of the server that the token is to be for; the person must be of it. null: for no resource. The engine lets that pass for the list of consents only, and gives no token for it. */
function organisationAsked(parts: InteractionParts, interaction: Interaction): string | null {
  const { resource } = interaction.params;
  return typeof resource === 'string' ? (organisationOfResource(parts.settings.trustedGateways, resource) ?? '') : null;
}

async function consent(parts: InteractionParts, ctx: Context, interaction: Interaction, client: Client): Promise<void> {
  const accountId = interaction.session?.accountId;
  const person = accountId === undefined ? null : await parts.directory.find(accountId);
  if (accountId === undefined || person === null) throw new errors.SessionNotFound('the person is not signed in');
  const resource = String(interaction.params['resource']);
  if (!mayUse(parts.settings.trustedGateways, person, resource)) {
    parts.note('another organisation', { sub: accountId, clientId: client.clientId, resource });
    // Whoever is signed in stays so, for the servers of their own organisation.
    return deny(parts, ctx, 'the signed-in person may not use this server');
  }
  const found = await parts.resources.find(resource);
  if (!found.ok) throw resourceError(found.error);
  // What is shown is what is granted: the scopes asked for that are still offered.
  const asked = wordsOf(interaction.params['scope']);
  const shown = asked.flatMap((scope): OfferedScope[] => {
    const offered = found.value.offered.get(scope);
    if (offered !== undefined) return [offered];
    return OWN_SCOPES.includes(scope)
      ? [{ scope, description: 'Know your identifier at this server', risk: 'read' }]
      : [];
  });
  const scopes = shown.map(({ scope }) => scope);
  const key = { accountId, clientId: client.clientId, resource };

  if (ctx.method !== 'POST') {
    const before = parts.consents.allowed(key);
    const redirect = describeRedirect(interaction.params['redirect_uri']);
    const facts = clientFacts(client);
    const page = consentPage({
      ...formOf(parts, interaction, 'consent'),
      client: {
        id: facts.clientId,
        name: facts.name,
        vouchedBy: facts.vouchedBy,
        registeredItself: facts.registeredItself,
      },
      redirectHost: redirect.host,
      redirectIsLocal: redirect.local,
      person,
      resource: { name: found.value.name, url: resource },
      scopes: shown,
      allowedBefore: scopes.length > 0 && scopes.every((scope) => before.has(scope)),
    });
    return respond(ctx, interaction, 200, page);
  }

  const form = await formSent(parts, ctx, interaction, 'consent');
  if (form.get('decision') === 'switch') {
    await endSession(parts, ctx, interaction);
    ctx.cookies.set(SWITCH_COOKIE, '1', switchCookie(parts));
    // Without a session the engine starts the same request again, at the sign-in page.
    return seeOther(
      ctx,
      await parts.provider.interactionResult(ctx.req, ctx.res, {}, { mergeWithLastSubmission: false }),
    );
  }
  if (form.get('decision') !== 'allow') {
    parts.note('consent denied', { sub: accountId, clientId: client.clientId, resource });
    return deny(parts, ctx, 'the person did not allow it');
  }
  const grant = new parts.provider.Grant({ accountId, clientId: client.clientId });
  grantScopes(grant, resource, scopes);
  const grantId = await grant.save();
  parts.consents.remember(key, scopes);
  parts.note('consent given', { sub: accountId, clientId: client.clientId, resource, scopes });
  const result = { consent: { grantId } };
  seeOther(ctx, await parts.provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true }));
}

async function endSession(parts: InteractionParts, ctx: Context, interaction: Interaction): Promise<void> {
  const session = await parts.provider.Session.get(ctx);
  await session.destroy();
  delete interaction.session;
  await interaction.persist();
}

const switchCookie = (parts: InteractionParts) =>
  ({
    path: '/interaction',
    httpOnly: true,
    sameSite: 'lax',
    secure: parts.issuer.startsWith('https:'),
    maxAge: 600_000,
    signed: false,
    overwrite: true,
  }) as const;

async function deny(
  parts: InteractionParts,
  ctx: Context,
  description: string,
  error: FailedSignIn = 'access_denied',
): Promise<void> {
  const result = { error, error_description: description };
  seeOther(ctx, await parts.provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: false }));
}

function respond(ctx: Context, interaction: Interaction, status: number, page: string): void {
  const target = formTarget(String(interaction.params['redirect_uri']));
  ctx.set(pageHeaders(target === null ? [] : [target]));
  ctx.status = status;
  ctx.body = page;
}

function seeOther(ctx: Context, location: string): void {
  ctx.status = 303;
  ctx.redirect(location);
  ctx.body = '';
}

function describeRedirect(redirectUri: unknown): { host: string; local: boolean } {
  // RFC 8628: who asked waits somewhere else, and gets the tokens there.
  if (typeof redirectUri !== 'string') return { host: 'nowhere: the device that showed you the code', local: false };
  const url = URL.parse(redirectUri);
  if (url === null) return { host: redirectUri, local: true };
  if (!/^https?:$/.test(url.protocol))
    return { host: `an application on this computer (${url.protocol})`, local: true };
  const local = isLoopbackHost(url.hostname);
  return { host: local ? `${url.host} (this computer)` : url.host, local };
}

type Step = 'sign-in' | 'consent';

/** Ties a form to one interaction and one step. */
const purposeOf = (interaction: Interaction, step: Step): string => `${interaction.uid} ${step}`;

function formOf(parts: InteractionParts, interaction: Interaction, step: Step): { action: string; formToken: string } {
  const token = formToken(parts.cookieKeys(), purposeOf(interaction, step));
  return { action: `/interaction/${interaction.uid}`, formToken: token };
}

async function formSent(
  parts: InteractionParts,
  ctx: Context,
  interaction: Interaction,
  step: Step,
): Promise<ReadonlyMap<string, string>> {
  const form = await readForm(ctx, parts.issuer, parts.cookieKeys(), purposeOf(interaction, step));
  // The token says so already; a page that says otherwise is not the one that was shown.
  if (form.get('step') !== step) throw new errors.InvalidRequest('the form is out of date; go back and try again', 403);
  return form;
}
