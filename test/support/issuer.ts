/**
 * A real, small token issuer for tests: an HTTP server on loopback with metadata (RFC 8414, OIDC) and a key set, and a mint that signs
 * anything, also what no honest issuer would: raw header and payload texts, `none`, HS256 with any secret, withdrawn keys.
 */
import {
  type KeyObject,
  constants,
  createHmac,
  createSecretKey,
  generateKeyPairSync,
  randomUUID,
  sign,
} from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../src/lib/clock.ts';

export type SigningAlgorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA';

export interface IssuerKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** How the server behaves. `hang`: accepts and never answers. `garbage`: 200 and no key set. */
export type IssuerMode = 'up' | 'down' | 'hang' | 'garbage';

/** A member that is undefined removes the default of that name. */
export type Members = Readonly<Record<string, unknown>>;

export interface MintOptions {
  /** Default: the newest key. */
  readonly key?: IssuerKey;
  /** Signs with HMAC SHA-256 and this secret, whatever the header says. */
  readonly hmacSecret?: string | Buffer;
  /** Leaves the signature empty. */
  readonly unsigned?: boolean;
}

export interface TestIssuer {
  readonly issuer: string;
  readonly jwksUri: string;
  /** Requests received so far. */
  readonly hits: { jwks: number; metadata: number };
  readonly mode: IssuerMode;
  setMode(mode: IssuerMode): void;
  /** Members that replace those of the metadata document. */
  setMetadata(members: Members): void;
  /** Keys of the document, replaced verbatim; null publishes our own again. */
  setPublished(keys: readonly unknown[] | null): void;
  currentKey(): IssuerKey;
  /** Adds a key and signs with it from now on. The earlier ones stay published unless `withdraw`. */
  rotate(options?: { algorithm?: SigningAlgorithm; withdraw?: boolean }): IssuerKey;
  /** Defaults: this issuer, 5 minutes from the clock, `sub` user-1, `client_id` agent-1, a fresh `jti`, no scope, no audience. */
  mint(claims: Members, header?: Members, options?: MintOptions): string;
  /** Signs exactly these texts as header and payload. */
  mintRaw(header: string, payload: string, options?: MintOptions): string;
  close(): Promise<void>;
}

export interface IssuerOptions {
  readonly clock?: Clock;
  readonly algorithm?: SigningAlgorithm;
  /** For issuers with a path: `/tenant`. */
  readonly path?: string;
  /** Which metadata documents are served. Default: both. */
  readonly discovery?: 'both' | 'oauth' | 'oidc' | 'none';
}

export async function startIssuer(options: IssuerOptions = {}): Promise<TestIssuer> {
  const { clock = systemClock, path = '', discovery = 'both' } = options;
  // An issuer that ends in a slash is written so, and serves its documents at the root.
  const base = path.replace(/\/$/, '');
  let keys: IssuerKey[] = [generateKey(options.algorithm ?? 'ES256')];
  let published: readonly unknown[] | null = null;
  let metadata: Members = {};
  let mode: IssuerMode = 'up';
  const hits = { jwks: 0, metadata: 0 };

  const server = createServer((request, response) => {
    const isJwks = request.url === `${base}/jwks`;
    const isMetadata =
      (discovery !== 'oidc' &&
        discovery !== 'none' &&
        request.url === `/.well-known/oauth-authorization-server${base}`) ||
      (discovery !== 'oauth' && discovery !== 'none' && request.url === `${base}/.well-known/openid-configuration`);
    if (isJwks) hits.jwks++;
    else if (isMetadata) hits.metadata++;
    response.setHeader('content-type', 'application/json');
    if (mode === 'hang') return;
    if (mode === 'down') response.writeHead(503).end();
    else if (!isJwks && !isMetadata) response.writeHead(404).end();
    else if (mode === 'garbage') response.end('{"keys":"none"}');
    else if (isJwks) response.end(JSON.stringify({ keys: published ?? keys.map(publicJwk) }));
    else response.end(JSON.stringify({ issuer, jwks_uri: jwksUri, ...metadata }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const jwksUri = `${new URL(issuer).origin}${base}/jwks`;
  const currentKey = (): IssuerKey => keys.at(-1) as IssuerKey;

  const mintRaw: TestIssuer['mintRaw'] = (header, payload, options = {}) => {
    const input = `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}`;
    return `${input}.${signatureOf(input, options, currentKey())}`;
  };

  return {
    issuer,
    jwksUri,
    hits,
    get mode() {
      return mode;
    },
    setMode: (next) => void (mode = next),
    setMetadata: (members) => void (metadata = members),
    setPublished: (next) => void (published = next),
    currentKey,
    rotate({ algorithm = currentKey().algorithm, withdraw = false } = {}) {
      const key = generateKey(algorithm);
      keys = withdraw ? [key] : [...keys, key];
      return key;
    },
    mint(claims, header = {}, options = {}) {
      const key = options.key ?? currentKey();
      const now = Math.floor(clock.now() / 1000);
      const payload = {
        iss: issuer,
        sub: 'user-1',
        client_id: 'agent-1',
        jti: randomUUID(),
        iat: now,
        exp: now + 300,
        // The admin plane asks how somebody signed in (ID-07).
        ...(String(claims['aud']).endsWith('/api/v1') && { auth_time: now, amr: ['pwd', 'otp'] }),
        ...claims,
      };
      return mintRaw(
        JSON.stringify({ alg: key.algorithm, typ: 'at+jwt', kid: key.kid, ...header }),
        JSON.stringify(payload),
        options,
      );
    },
    mintRaw,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function generateKey(algorithm: SigningAlgorithm): IssuerKey {
  const pair =
    algorithm === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : algorithm === 'EdDSA'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { kid: randomUUID(), algorithm, ...pair };
}

/** As it stands in the key set. */
export function publicJwk(key: IssuerKey): Members {
  return { ...key.publicKey.export({ format: 'jwk' }), kid: key.kid, alg: key.algorithm, use: 'sig' };
}

function signatureOf(input: string, options: MintOptions, current: IssuerKey): string {
  if (options.unsigned === true) return '';
  if (options.hmacSecret !== undefined) {
    const secret = createSecretKey(Buffer.from(options.hmacSecret));
    return createHmac('sha256', secret).update(input).digest('base64url');
  }
  const { algorithm, privateKey: key } = options.key ?? current;
  const bytes = Buffer.from(input);
  switch (algorithm) {
    case 'EdDSA':
      return sign(null, bytes, key).toString('base64url');
    case 'ES256':
      return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
    case 'RS256':
      return sign('sha256', bytes, key).toString('base64url');
    case 'PS256':
      return sign('sha256', bytes, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      }).toString('base64url');
    default:
      return algorithm satisfies never;
  }
}
