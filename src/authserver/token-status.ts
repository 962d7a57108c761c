/**
 * Introspection (RFC 7662) and revocation (RFC 7009) of our access tokens. They are JWTs and nobody stores them, so the
 * engine authenticates the client and then refuses; this answers in its place, from the signature and from what has ended.
 * A token that is not ours, not valid, or not the caller's business is not active, and no more is said.
 */
import { createLocalJWKSet, jwtVerify } from 'jose';
import type { JSONWebKeySet, JWTPayload } from 'jose';
import type { Client, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { PreregisteredClient } from './config.ts';
import type { Endings } from './endings.ts';
import type { AuthServerKeys } from './keys.ts';

type Middleware = Parameters<Provider['use']>[0];

export interface TokenStatusParts {
  readonly issuer: string;
  readonly keys: AuthServerKeys;
  readonly endings: Endings;
  readonly clients: readonly PreregisteredClient[];
}

interface OwnToken {
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly sub: string;
  readonly clientId: string;
  readonly grantId: string | null;
  readonly sid: string | null;
  readonly audience: string;
  readonly claims: JWTPayload;
}

export function tokenStatus(provider: Provider, parts: TokenStatusParts): Middleware {
  const mayRead = new Map(parts.clients.map((client) => [client.clientId, new Set(client.introspects)]));
  // INVARIANT: the engine throws this after it has authenticated the client, and for no other reason.
  const structured = new WeakSet<object>();
  const seen = (ctx: KoaContextWithOIDC, error: { readonly error: string }): void => {
    if (error.error === 'unsupported_token_type') structured.add(ctx);
  };
  provider.on('introspection.error', seen);
  provider.on('revocation.error', seen);

  const read = async (token: string): Promise<OwnToken | null> => {
    try {
      const keys = createLocalJWKSet({ keys: parts.keys.published() } as JSONWebKeySet);
      const options = { issuer: parts.issuer, typ: 'at+jwt', algorithms: ['ES256'], requiredClaims: REQUIRED };
      const { payload } = await jwtVerify(token, keys, options);
      return ownToken(payload);
    } catch {
      return null;
    }
  };

  const introspect = async (client: Client, token: string): Promise<Record<string, unknown>> => {
    const own = await read(token);
    if (own === null || parts.endings.isVoid(own)) return { active: false };
    const allowed = own.clientId === client.clientId || mayRead.get(client.clientId)?.has(own.audience) === true;
    if (!allowed) return { active: false };
    return { ...own.claims, active: true, token_type: own.claims['cnf'] === undefined ? 'Bearer' : 'DPoP' };
  };

  const revoke = async (client: Client, token: string): Promise<void> => {
    const own = await read(token);
    if (own === null || own.clientId !== client.clientId) return;
    parts.endings.endToken({ jti: own.jti, clientId: own.clientId, expiresAt: own.exp }, 'client');
    // Who gives back a token is done: the refresh token of the same grant goes with it (RFC 7009 section 2.1).
    if (own.grantId !== null) parts.endings.endGrant(own.grantId, 'client');
  };

  return async (ctx, next) => {
    await next();
    const { route, client, params } = (ctx as Partial<KoaContextWithOIDC>).oidc ?? {};
    if (client === undefined || (route !== 'introspection' && route !== 'revocation')) return;
    if (route === 'introspection' && client.clientAuthMethod === 'none') {
      ctx.status = 401;
      ctx.body = { error: 'invalid_client', error_description: 'a client that introspects must authenticate' };
      return;
    }
    if (!structured.has(ctx)) return;
    const token = String(params?.['token']);
    ctx.status = 200;
    ctx.remove('content-type');
    if (route === 'introspection') {
      ctx.body = await introspect(client, token);
    } else {
      await revoke(client, token);
      ctx.body = '';
    }
  };
}

const REQUIRED = ['jti', 'iat', 'exp', 'sub', 'aud', 'client_id'];

function ownToken(claims: JWTPayload): OwnToken | null {
  const { jti, iat, exp, sub, aud, client_id: clientId, grant_id: grantId, sid } = claims;
  if (typeof jti !== 'string' || typeof iat !== 'number' || typeof exp !== 'number' || typeof sub !== 'string')
    return null;
  if (typeof aud !== 'string' || typeof clientId !== 'string') return null;
  return {
    jti,
    iat,
    exp,
    sub,
    clientId,
    grantId: typeof grantId === 'string' ? grantId : null,
    sid: typeof sid === 'string' ? sid : null,
    audience: aud,
    claims,
  };
}
