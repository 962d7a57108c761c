/**
 * The suite's `auth/*` scenarios: which `auth` the record of the server under test gets, and the operator who connects it,
 * as a browser without a screen. Whatever an operator is told out of band (issuer, client id, secrets) comes from the suite's context.
 */
import type { z } from 'zod';
import type { UpstreamAuth } from '../../src/inventory/records.ts';
import { isFault } from '../../src/lib/fault.ts';
import type { ConformanceNode, Ready } from './node.ts';

type Auth = z.input<typeof UpstreamAuth>;
type Context = Readonly<Record<string, string>>;
type Revision = '2025-03-26' | '2025-11-25' | '2026-07-28';
/** Extensions have no revision; the suite then takes one of its own. */
type At = Revision | 'extension';

interface AuthScript {
  readonly revision: At;
  auth(context: Context, issuer: () => Promise<string>): Auth | Promise<Auth>;
  /** The gateway has to refuse while it connects, or (`use`) afterwards. */
  readonly refuses?: 'connect' | 'use';
  /** More consent is demanded in the middle of a call. */
  readonly stepsUp?: boolean;
}

const REDIRECT = 'http://127.0.0.1:3999/callback';

/** A secret that the record refers to. */
function kept(name: string, value: string | undefined): { readonly secret: string } {
  process.env[`CONFORMANCE_${name}`] = value ?? '';
  return { secret: `env:CONFORMANCE_${name}` };
}

const registered: AuthScript['auth'] = () => ({ grant: 'authorization_code', client: { method: 'register' } });
const registers = (revision: At, more: Partial<AuthScript> = {}): AuthScript => ({
  revision,
  auth: registered,
  ...more,
});
const bound: AuthScript['auth'] = () => ({
  grant: 'authorization_code',
  dpop: true,
  client: { method: 'register' },
});
const ofOrigin: AuthScript['auth'] = () => ({
  grant: 'authorization_code',
  client: { method: 'register' },
  unsafeOriginIsAuthorizationServer: true,
});
const NEW: At = '2026-07-28';

export const AUTH_SCRIPTS: Readonly<Record<string, AuthScript>> = {
  'auth/metadata-default': registers(NEW),
  'auth/metadata-var1': registers(NEW),
  'auth/metadata-var2': registers(NEW),
  'auth/metadata-var3': registers('2025-11-25'),
  'auth/basic-cimd': {
    revision: NEW,
    auth: () => ({
      grant: 'authorization_code',
      client: { method: 'metadata_document', url: 'https://conformance-test.local/client-metadata.json' },
    }),
  },
  'auth/scope-from-www-authenticate': registers(NEW),
  'auth/scope-from-scopes-supported': registers(NEW),
  'auth/scope-omitted-when-undefined': registers(NEW),
  'auth/scope-step-up': registers(NEW, { stepsUp: true }),
  'auth/scope-retry-limit': registers(NEW, { refuses: 'use' }),
  'auth/token-endpoint-auth-basic': registers(NEW),
  'auth/token-endpoint-auth-post': registers(NEW),
  'auth/token-endpoint-auth-none': registers(NEW),
  'auth/pre-registration': {
    revision: NEW,
    auth: async (context, issuer) => ({
      grant: 'authorization_code',
      issuer: await issuer(),
      client: {
        method: 'client_secret_basic',
        id: context['client_id']!,
        secret: kept('SECRET', context['client_secret']),
      },
    }),
  },
  'auth/2025-03-26-oauth-metadata-backcompat': { revision: '2025-03-26', auth: ofOrigin },
  'auth/2025-03-26-oauth-endpoint-fallback': { revision: '2025-03-26', auth: ofOrigin },
  'auth/resource-mismatch': registers(NEW, { refuses: 'connect' }),
  'auth/offline-access-scope': registers(NEW),
  'auth/offline-access-not-supported': registers(NEW),
  'auth/authorization-server-migration': registers(NEW),
  'auth/iss-supported': registers(NEW),
  'auth/iss-not-advertised': registers(NEW),
  'auth/iss-supported-missing': registers(NEW, { refuses: 'connect' }),
  'auth/iss-wrong-issuer': registers(NEW, { refuses: 'connect' }),
  'auth/iss-unexpected': registers(NEW, { refuses: 'connect' }),
  'auth/iss-normalized': registers(NEW, { refuses: 'connect' }),
  'auth/metadata-issuer-mismatch': registers(NEW, { refuses: 'connect' }),
  'auth/client-credentials-jwt': {
    revision: 'extension',
    auth: async (context, issuer) => ({
      grant: 'client_credentials',
      issuer: await issuer(),
      client: { method: 'private_key_jwt', id: context['client_id']!, key: kept('KEY', context['private_key_pem']) },
    }),
  },
  'auth/client-credentials-basic': {
    revision: 'extension',
    auth: async (context, issuer) => ({
      grant: 'client_credentials',
      issuer: await issuer(),
      client: {
        method: 'client_secret_basic',
        id: context['client_id']!,
        secret: kept('SECRET', context['client_secret']),
      },
    }),
  },
  'auth/enterprise-managed-authorization': {
    revision: 'extension',
    auth: async (context, issuer) => ({
      grant: 'enterprise_managed',
      issuer: await issuer(),
      client: {
        method: 'client_secret_basic',
        id: context['client_id']!,
        secret: kept('SECRET', context['client_secret']),
      },
      identityProvider: {
        issuer: context['idp_issuer']!,
        // The suite's provider looks at no secret and says nothing about methods, which means client_secret_basic.
        client: { method: 'client_secret_basic', id: context['idp_client_id']!, secret: kept('IDP', 'any-secret') },
        subject: { token: kept('ID_TOKEN', context['idp_id_token']) },
      },
    }),
  },
  'auth/dpop': { revision: 'extension', auth: bound },
  'auth/dpop-nonce': { revision: 'extension', auth: bound },
  'auth/wif-jwt-bearer': {
    revision: 'extension',
    auth: async (context, issuer) => ({
      grant: 'workload_identity',
      issuer: await issuer(),
      assertion: kept('JWT', context['valid_jwt']),
    }),
  },
};

/** What the operator knows of the server from whoever runs it. */
async function issuerOf(url: string): Promise<string> {
  const { origin, pathname } = new URL(url);
  const answer = await fetch(`${origin}/.well-known/oauth-protected-resource${pathname}`);
  const { authorization_servers: servers } = (await answer.json()) as { authorization_servers: string[] };
  return servers[0]!;
}

/** Agrees to everything, as the suite's authorization servers do. */
const operator =
  ({ accounts }: ConformanceNode): Ready =>
  async (target) => {
    if (target.auth.grant !== 'authorization_code') return;
    const { url } = await accounts.begin('it', target, { redirectUri: REDIRECT, by: 'omar' });
    const answer = await fetch(url, { redirect: 'manual' });
    const callback = answer.headers.get('location');
    if (callback === null) throw new Error(`nobody was sent back: ${answer.status}`);
    await accounts.finish('it', target, callback, 'omar');
  };

/**
 * Makes the URL a server of the gateway and uses it: `use` lists and calls. Where the gateway has to refuse, its refusal
 * is the good end.
 */
export async function driveAuth(
  scenario: string,
  url: string,
  context: Context,
  node: ConformanceNode,
  modern: boolean,
  use: () => Promise<unknown>,
): Promise<void> {
  const script = AUTH_SCRIPTS[scenario];
  if (!script) throw new Error(`no script for ${scenario}`);
  const auth = await script.auth(context, () => issuerOf(url));
  const connect = operator(node);
  const parts = {
    upstream: {
      transport: 'http' as const,
      url,
      era: modern ? ('modern' as const) : ('legacy' as const),
      // The suite listens on `localhost`, whichever address that is.
      allowedNetworks: ['127.0.0.1/32', '::1/128'],
      auth,
    },
  };
  let consents = 0;
  let target: Parameters<Ready>[0] | undefined;
  const ready: Ready = async (given) => {
    target = given;
    // Whoever is refused again and again is not asked again and again.
    if (++consents > 2) throw new Error('connected twice, and still refused');
    await connect(given);
  };
  try {
    await node.add('it', parts, ready);
  } catch (error) {
    const isRefusal = isFault(error) || consents > 2;
    if (script.refuses !== undefined && isRefusal) return;
    throw error;
  }
  if (script.refuses !== undefined) throw new Error('the gateway went on where it has to refuse');
  if (script.stepsUp === true) {
    await use().catch(() => undefined);
    await connect(target!);
  }
  await use();
}
