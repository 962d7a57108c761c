/**
 * The two steps a person takes: sign in, then allow or deny. Promises: a form counts only from our own origin, with the
 * interaction's cookie and its form token; nothing is granted that was not shown. Does not check tokens or redirect
 * addresses (the engine did, before it sent the browser here).
 */
import { createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { errors } from 'oidc-provider';
import type { Client, Provider } from 'oidc-provider';
import { sameText } from '../lib/bytes.ts';
import { isLoopbackHost } from './config.ts';
import type { Consents } from './consents.ts';
import { OWN_SCOPES, clientFacts, grantScopes, resourceError, wordsOf } from './engine.ts';
import { consentPage, formTarget, pageHeaders, signInPage } from './pages.ts';
import type { OfferedScope, ResourceDirectory } from './resources.ts';
import type { UserDirectory } from './users.ts';

type Middleware = Parameters<Provider['use']>[0];
type Context = Parameters<Middleware>[0];
type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>;

export interface InteractionParts {
  readonly issuer: string;
  readonly provider: Provider;
  readonly directory: UserDirectory;
  /** False: there is no way to sign in, and the page says so. */
  readonly signInOpen: boolean;
  readonly resources: ResourceDirectory;
  readonly consents: Consents;
  readonly cookieKeys: () => readonly string[];
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}

const ROUTE = /^\/interaction\/([\w-]{16,64})$/;
const MAX_FORM_BYTES = 8 * 1_024;

export function interactionRoutes(parts: InteractionParts): Middleware {
  return async (ctx, next) => {
    const uid = ROUTE.exec(ctx.path)?.[1];
    if (uid === undefined) return next();
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD' && ctx.method !== 'POST') return next();
    const interaction = await parts.provider.interactionDetails(ctx.req, ctx.res);
    if (interaction.uid !== uid) throw new errors.SessionNotFound('another sign-in was started in this browser');
    const client = await parts.provider.Client.find(String(interaction.params['client_id']));
    if (client === undefined) throw new errors.InvalidClient('client is invalid');
    const step = interaction.prompt.name === 'login' ? signIn : consent;
    if (step === signIn && !parts.signInOpen) throw new errors.SessionNotFound(SIGN_IN_CLOSED);
    return step(parts, ctx, interaction, client);
  };
}

export const SIGN_IN_CLOSED = 'sign-in is not set up: turn on evaluation users or connect an identity provider';

async function signIn(parts: InteractionParts, ctx: Context, interaction: Interaction, client: Client): Promise<void> {
  const show = (failed: boolean, username: string): void => {
    const view = { ...formOf(parts, interaction, 'sign-in'), clientName: clientFacts(client).name, failed, username };
    respond(ctx, interaction, failed ? 400 : 200, signInPage(view));
  };
  if (ctx.method !== 'POST') return show(false, '');
  const form = await readForm(parts, ctx, interaction, 'sign-in');
  if (form.get('decision') === 'cancel') return deny(parts, ctx, 'the person did not sign in');
  const username = (form.get('username') ?? '').trim();
  const password = form.get('password') ?? '';
  const possible = username.length <= 64 && password.length > 0 && password.length <= 200;
  const person = possible
    ? await parts.directory.authenticate({ username, password, address: ctx.req.socket.remoteAddress ?? '' })
    : null;
  if (person === null) {
    parts.note('sign-in refused', { clientId: client.clientId });
    return show(true, username);
  }
  if (interaction.session?.accountId !== undefined && interaction.session.accountId !== person.sub) {
    // Somebody else was signed in here: their session ends, this one starts anew.
    await endSession(parts, ctx, interaction);
  }
  parts.note('signed in', { sub: person.sub, clientId: client.clientId });
  const login = { accountId: person.sub, amr: ['pwd'], remember: false };
  seeOther(
    ctx,
    await parts.provider.interactionResult(ctx.req, ctx.res, { login }, { mergeWithLastSubmission: false }),
  );
}

async function consent(parts: InteractionParts, ctx: Context, interaction: Interaction, client: Client): Promise<void> {
  const accountId = interaction.session?.accountId;
  const person = accountId === undefined ? null : await parts.directory.find(accountId);
  if (accountId === undefined || person === null) throw new errors.SessionNotFound('the person is not signed in');
  const resource = String(interaction.params['resource']);
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

  const form = await readForm(parts, ctx, interaction, 'consent');
  if (form.get('decision') === 'switch') {
    await endSession(parts, ctx, interaction);
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

async function deny(parts: InteractionParts, ctx: Context, description: string): Promise<void> {
  const result = { error: 'access_denied', error_description: description };
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

/** Ties a form to one interaction and one step, with a key the browser does not have. */
const tokenFor = (key: string, uid: string, step: Step): string =>
  createHmac('sha256', key).update(`form ${uid} ${step}`).digest('base64url');

function formOf(parts: InteractionParts, interaction: Interaction, step: Step): { action: string; formToken: string } {
  const [current = ''] = parts.cookieKeys();
  return { action: `/interaction/${interaction.uid}`, formToken: tokenFor(current, interaction.uid, step) };
}

async function readForm(
  parts: InteractionParts,
  ctx: Context,
  interaction: Interaction,
  step: Step,
): Promise<ReadonlyMap<string, string>> {
  // A form on another site, or another port of this machine, must not act for the person (cookies do not tell ports apart).
  const origin = ctx.get('origin');
  const site = ctx.get('sec-fetch-site');
  if (origin !== parts.issuer || (site !== '' && site !== 'same-origin')) {
    throw new errors.InvalidRequest('the form was not sent from this server', 403);
  }
  if (!ctx.is('application/x-www-form-urlencoded')) throw new errors.InvalidRequest('send a form', 415);
  const form = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(await readText(ctx.req))) {
    if (form.has(name)) throw new errors.InvalidRequest('a form field was sent twice');
    form.set(name, value);
  }
  const token = form.get('form_token') ?? '';
  const genuine = parts.cookieKeys().some((key) => sameText(token, tokenFor(key, interaction.uid, step)));
  if (!genuine || form.get('step') !== step)
    throw new errors.InvalidRequest('the form is out of date; go back and try again', 403);
  return form;
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) throw new errors.InvalidRequest('the form is too large', 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
