/**
 * `/consents`: what a person allowed, and the way to take it back. Promises: only the person who is signed in in this
 * browser sees and ends their own; ending one ends its grants and refresh tokens at once and tells who must know. Signing
 * in goes through the ordinary flow, with a client of this server's own that gets nothing but the session.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { ClientMetadata, Provider } from 'oidc-provider';
import type { Consents } from './consents.ts';
import type { Endings } from './endings.ts';
import { formToken, readForm } from './forms.ts';
import { markup, shortText } from '../lib/html.ts';
import type { Markup } from '../lib/html.ts';
import { page, pageHeaders } from './pages.ts';
import type { UserDirectory } from './users.ts';

type Middleware = Parameters<Provider['use']>[0];

export const CONSENTS_CLIENT = 'remit-consents';
const PATH = '/consents';
const SIGNED_IN_PATH = '/consents/signed-in';

/** Gets a code that nobody can redeem: its PKCE verifier is thrown away. */
export const consentsClient = (issuer: string): ClientMetadata => ({
  client_id: CONSENTS_CLIENT,
  client_name: 'your list of consents',
  application_type: 'web',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: [issuer + SIGNED_IN_PATH],
});

export interface ConsentsPageParts {
  readonly issuer: string;
  readonly provider: Provider;
  readonly directory: UserDirectory;
  readonly consents: Consents;
  readonly endings: Endings;
  readonly cookieKeys: () => readonly string[];
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}

export function consentsPage(parts: ConsentsPageParts): Middleware {
  return async (ctx, next) => {
    const get = ctx.method === 'GET' || ctx.method === 'HEAD';
    if (ctx.path === SIGNED_IN_PATH && get) {
      // Whatever came back, also an error: the page decides by the session alone, once.
      ctx.status = 303;
      ctx.redirect(`${PATH}?signed_in=tried`);
      ctx.body = '';
      return;
    }
    if (ctx.path !== PATH || (!get && ctx.method !== 'POST')) return next();
    const session = await parts.provider.Session.get(ctx);
    const person = session.accountId === undefined ? null : await parts.directory.find(session.accountId);
    ctx.set(pageHeaders([]));
    if (person === null) {
      if (get && ctx.query['signed_in'] === undefined) {
        ctx.status = 303;
        ctx.redirect(signInUrl(parts.issuer));
        ctx.body = '';
        return;
      }
      ctx.status = 403;
      ctx.body = signedOutPage();
      return;
    }
    const purpose = `consents ${session.uid}`;
    if (!get) {
      const form = await readForm(ctx, parts.issuer, parts.cookieKeys(), purpose);
      const key = { accountId: person.sub, clientId: form.get('client') ?? '', resource: form.get('resource') ?? '' };
      for (const grantId of parts.consents.revoke(key)) parts.endings.endGrant(grantId, 'person');
      parts.note('consent revoked', { sub: person.sub, clientId: key.clientId, resource: key.resource });
      ctx.status = 303;
      ctx.redirect(PATH);
      ctx.body = '';
      return;
    }
    const token = formToken(parts.cookieKeys(), purpose);
    const rows = await Promise.all(
      parts.consents.list(person.sub).map(async (given): Promise<Row> => {
        // A client that is gone has no name any more; its consent can still be taken back.
        const client = await parts.provider.Client.find(given.clientId).catch(() => undefined);
        return { ...given, name: client?.clientName ?? given.clientId };
      }),
    );
    ctx.body = listPage(person.name, rows, token);
  };
}

interface Row {
  readonly clientId: string;
  readonly name: string;
  readonly resource: string;
  readonly scopes: readonly string[];
  /** Milliseconds since the epoch. */
  readonly givenAt: number;
}

function signInUrl(issuer: string): string {
  const challenge = createHash('sha256').update(randomBytes(32)).digest('base64url');
  const query = new URLSearchParams({
    client_id: CONSENTS_CLIENT,
    response_type: 'code',
    scope: 'openid',
    redirect_uri: issuer + SIGNED_IN_PATH,
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  return `/authorize?${query.toString()}`;
}

function listPage(name: string, rows: readonly Row[], token: string): string {
  return page(
    'What you allowed',
    markup`<h1>What you allowed</h1>
<p>Signed in as ${shortText(name, 100)}. Taking something back signs the application out everywhere it works in your name.</p>
${
  rows.length === 0
    ? markup`<p class="note">You have not allowed anything.</p>`
    : markup`<ul>
${rows.map((row) => line(row, token))}
</ul>`
}`,
  );
}

function line(row: Row, token: string): Markup {
  return markup`<li><strong>${shortText(row.name, 60)}</strong> <small>since ${new Date(row.givenAt).toISOString().slice(0, 10)}</small><br>
<code>${shortText(row.clientId, 200)}</code><br>
at <code>${shortText(row.resource, 300)}</code><br>
${row.scopes.map((scope) => markup`<code>${shortText(scope, 200)}</code> `)}
<form method="post" action="${PATH}">
<input type="hidden" name="form_token" value="${token}">
<input type="hidden" name="client" value="${row.clientId}">
<input type="hidden" name="resource" value="${row.resource}">
<div class="row"><button type="submit" class="quiet">Take back</button></div>
</form></li>
`;
}

function signedOutPage(): string {
  return page(
    'Not signed in',
    markup`<h1>You are not signed in</h1>
<p>The list of what you allowed is shown after you have signed in. <a href="${PATH}">Try again</a></p>`,
  );
}
