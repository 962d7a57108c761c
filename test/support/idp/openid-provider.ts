/**
 * An enterprise identity provider in a process of its own: oidc-provider, certified, as another company would run it.
 * Whoever sits at the browser is told to it by messages; so is how it lies when a test wants it to. Tests only.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT, importJWK } from 'jose';
import type { JWK } from 'jose';
import { Provider, interactionPolicy } from 'oidc-provider';

export interface Visitor {
  readonly sub: string;
  readonly claims?: Record<string, unknown>;
  readonly acr?: string;
  readonly amr?: string[];
  /** Seconds. Left out: now. */
  readonly authTime?: number;
  /** The person, or the provider, says no. */
  readonly error?: string;
}

/** Changes to the ID token before it goes out, signed by the provider's own key unless said otherwise. */
export interface Lie {
  readonly claims?: Record<string, unknown>;
  readonly drop?: string;
  readonly alg?: 'none' | 'HS256';
  readonly kid?: string;
  readonly foreignKey?: boolean;
  readonly breakSignature?: boolean;
  /** The token endpoint answers this instead. */
  readonly status?: number;
}

export type Order =
  | { readonly order: 'configure'; readonly redirectUri: string; readonly clientSecret: string }
  | { readonly order: 'visitor'; readonly visitor: Visitor }
  | { readonly order: 'lie'; readonly lie: Lie | null }
  | { readonly order: 'rotate' }
  | { readonly order: 'stop' };

const freshKey = (): JWK => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: randomUUID(),
  alg: 'RS256',
  use: 'sig',
});

let visitor: Visitor = { sub: 'nobody', error: 'access_denied' };
let lie: Lie | null = null;
let key = freshKey();
let client = { redirectUri: '', clientSecret: '' };
let handle: ReturnType<Provider['callback']> | undefined;
const seen: string[] = [];

const server = createServer((request, response) => {
  seen.push(`${request.method} ${request.url}`);
  if (request.url === '/seen') response.end(JSON.stringify(seen));
  else if (handle === undefined) response.writeHead(503).end();
  else void handle(request, response);
});

function build(issuer: string): void {
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'remit',
        client_secret: client.clientSecret,
        redirect_uris: [client.redirectUri],
        token_endpoint_auth_method: 'client_secret_basic',
      },
    ],
    claims: {
      // Real providers list the methods whether asked or not.
      openid: ['sub', 'amr'],
      profile: ['name', 'preferred_username'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
      tenant: ['tid', 'department', 'sid'],
      acr: null,
      auth_time: null,
      iss: null,
    },
    scopes: ['openid', 'profile', 'email', 'groups', 'tenant'],
    conformIdTokenClaims: false,
    // Real providers say when somebody signed in whether asked or not.
    clientDefaults: { require_auth_time: true },
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ['idp'], names: { session: 'idp_session', interaction: 'idp_interaction', resume: 'idp_resume' } },
    acrValues: ['urn:example:mfa', 'urn:example:pwd'],
    pkce: { required: () => true },
    jwks: { keys: [key] },
    findAccount: async (_ctx, sub) => ({ accountId: sub, claims: async () => ({ sub, ...visitor.claims }) }),
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        accountId: ctx.oidc.account?.accountId ?? '',
        clientId: ctx.oidc.client?.clientId ?? '',
      });
      grant.addOIDCScope('openid profile email groups tenant');
      await grant.save();
      return grant;
    },
    interactions: { policy: interactionPolicy.base(), url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  });
  provider.use(async (ctx, next) => {
    if (ctx.path.startsWith('/interaction/')) {
      await provider.interactionDetails(ctx.req, ctx.res);
      const { sub, acr, amr, authTime, error } = visitor;
      const result =
        error === undefined
          ? {
              login: {
                accountId: sub,
                remember: false,
                ...(acr !== undefined && { acr }),
                ...(amr !== undefined && { amr }),
                ...(authTime !== undefined && { ts: authTime }),
              },
            }
          : { error, error_description: '<b>text of the provider</b>' };
      ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: false }));
      return;
    }
    await next();
    const body = ctx.body as { id_token?: string } | undefined;
    if (lie !== null && ctx.path === '/token' && lie.status !== undefined) {
      ctx.status = lie.status;
      ctx.body = { error: 'server_error' };
    } else if (lie !== null && ctx.path === '/token' && typeof body?.id_token === 'string') {
      body.id_token = await retold(body.id_token, lie);
    }
  });
  handle = provider.callback();
}

async function retold(token: string, change: Lie): Promise<string> {
  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
  Object.assign(claims, change.claims);
  if (change.drop !== undefined) delete claims[change.drop];
  if (change.alg === 'none') {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'none' })}.${part(claims)}.`;
  }
  const header = { alg: change.alg ?? 'RS256', kid: change.kid ?? key.kid ?? '' };
  const signer =
    change.alg === 'HS256' ? Buffer.from(client.clientSecret) : await importJWK(change.foreignKey ? freshKey() : key);
  const signed = await new SignJWT(claims).setProtectedHeader(header).sign(signer);
  return change.breakSignature ? `${signed.slice(0, -8)}${signed.slice(-8) === 'AAAAAAAA' ? 'B' : 'A'}AAAAAAA` : signed;
}

server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  process.on('message', (order: Order) => {
    if (order.order === 'configure') client = order;
    if (order.order === 'visitor') visitor = order.visitor;
    if (order.order === 'lie') lie = order.lie;
    if (order.order === 'rotate') key = freshKey();
    if (order.order === 'configure' || order.order === 'rotate') build(issuer);
    if (order.order === 'stop') process.disconnect();
    else process.send?.({ done: order.order });
  });
  // A test that ends badly takes this process with it.
  process.on('disconnect', () => process.exit(0));
  process.send?.({ issuer });
});
