/**
 * The one way out of the building for HTTP (CONTROLS AN-15). Promises: a connection goes only to an address that was
 * checked, and to exactly that address (the name is resolved once, here); TLS is always verified and has no switch;
 * no proxy from the environment, no cookies, no HTTP/2; redirects are refused unless asked for, and then re-checked.
 * Not done here: whether a host belongs to a server's record (inventory), what the reply says (the caller).
 */
import { lookup as systemLookup } from 'node:dns/promises';
import { createHash } from 'node:crypto';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import { TLSSocket, getCACertificates } from 'node:tls';
import { Agent, buildConnector, errors } from 'undici';
import type { Dispatcher } from 'undici';
import { Fault } from '../lib/fault.ts';
import type { Json } from '../lib/json.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import { addressClassifier, type AddressKind } from './addresses.ts';

export interface DialRule {
  /** Networks that may be reached although they are not public, in CIDR form: `127.0.0.1/32`, `10.20.0.0/16`. */
  readonly allowedNetworks: readonly string[];
  /** Plain http only towards `allowedNetworks`. With false, plain http also to public addresses. */
  readonly requireHttps: boolean;
  /** Shown to a server that asks for one: chain and key in PEM. It takes nothing from what is checked of the server. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
  /** Certificates (PEM) trusted in addition to the system's, for a private certificate authority. */
  readonly extraCa?: readonly string[];
  /** `sha256:` of the public keys (SubjectPublicKeyInfo) that may be shown, beside everything else that is checked; then only by https. */
  readonly pins?: readonly string[];
}

export type DialFaultCode =
  | 'dial_scheme' // not a plain http(s) URL, or http where https is required
  | 'dial_address' // the name or literal leads to an address that is not allowed
  | 'dial_identity' // a valid certificate, and not the key that was pinned (TD-07)
  | 'dial_userinfo' // user:password@ in the URL
  | 'dial_redirect'
  | 'dial_too_large'
  | 'dial_timeout'
  | 'dial_failed' // refused, reset, name not found, certificate not valid
  | 'dial_status' // guardedJson: not 200
  | 'dial_media_type' // guardedJson: not JSON by its Content-Type
  | 'dial_not_json'; // guardedJson: JSON by its Content-Type, but not strictly parseable

/** `status` is set for `dial_status` only. The message names host and address: for the operator, not for a caller. */
export class DialFault extends Fault<DialFaultCode> {
  readonly status: number | undefined;

  constructor(code: DialFaultCode, message: string, options: { cause?: unknown; status?: number } = {}) {
    super(code, message, 'cause' in options ? { cause: options.cause } : {});
    this.status = options.status;
  }
}

/** All addresses of a name. Called once for each new connection; its answer is what gets connected to. */
export type ResolveName = (name: string) => Promise<readonly string[]>;

const resolveBySystem: ResolveName = async (name) =>
  (await systemLookup(name, { all: true })).map(({ address }) => address);

/**
 * Parses a URL for dialling: http or https, no userinfo, nothing that two URL parsers read differently.
 * Address spellings (octal, hex, short) are normalised by the WHATWG parser; the address itself is checked at connect.
 * @throws DialFault `dial_scheme`, `dial_userinfo`
 */
export function dialUrl(url: string | URL): URL {
  const text = typeof url === 'string' ? url : url.href;
  // ATTACKER-CONTROLLED: tabs and newlines are dropped and backslashes turned by WHATWG parsers, and by no other.
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f\\]/.test(text)) {
    throw new DialFault('dial_scheme', 'the URL contains white space, a control character or a backslash');
  }
  const parsed = /^https?:\/\/[^/]/i.test(text) ? URL.parse(text) : null;
  if (parsed === null) throw new DialFault('dial_scheme', 'not an absolute http or https URL');
  if (parsed.username !== '' || parsed.password !== '' || /^[^/]*\/\/[^/?#]*@/.test(text)) {
    throw new DialFault('dial_userinfo', `the URL for ${parsed.host} carries user information before its host`);
  }
  return parsed;
}

export interface DispatcherOptions {
  /** For tests of rebinding names. Default: the system's resolver. */
  readonly resolve?: ResolveName;
  readonly connectTimeoutMs?: number;
  readonly agent?: Pick<
    Agent.Options,
    'connections' | 'pipelining' | 'keepAliveTimeout' | 'headersTimeout' | 'bodyTimeout' | 'maxResponseSize'
  >;
}

/**
 * An undici dispatcher whose every connection obeys `rule`. It follows no redirects. The address is checked when a
 * connection opens, not for each request on it; make a new dispatcher when the rule changes.
 * Give it URLs that passed `dialUrl`. A refused connection rejects the request with the DialFault itself: not one byte was sent.
 * @throws Fault `dial_rule` when the rule cannot be read.
 */
export function guardedDispatcher(rule: DialRule, options: DispatcherOptions = {}): Dispatcher {
  const kindOf = addressClassifier(rule.allowedNetworks);
  const resolve = options.resolve ?? resolveBySystem;
  const connector = (protocol: string): buildConnector.connector =>
    buildConnector({
      lookup: checkedLookup(protocol, rule, kindOf, resolve),
      timeout: options.connectTimeoutMs ?? 5_000,
      allowH2: false,
      // Said aloud, because NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes the default.
      rejectUnauthorized: true,
      // A resumed session shows no certificate of this moment.
      ...(rule.pins && { maxCachedSessions: 0 }),
      ...(rule.clientCertificate && { cert: rule.clientCertificate.certificate, key: rule.clientCertificate.key }),
      ...(rule.extraCa && { ca: [...getCACertificates('default'), ...rule.extraCa] }),
    });
  const plain = connector('http:');
  const secure = connector('https:');

  return new Agent({
    ...options.agent,
    connect: (target, done) => {
      const hostname = target.hostname.replace(/^\[|\]$/g, '');
      // Node asks `lookup` only for names; literals are checked here.
      const refusal = isIP(hostname) === 0 ? null : refusalOf(hostname, hostname, target.protocol, rule, kindOf);
      if (refusal !== null) done(refusal, null);
      else (target.protocol === 'https:' ? secure : plain)({ ...target, hostname }, pinned(rule, hostname, done));
    },
  });
}

type Connected = Parameters<buildConnector.connector>[1];

/** Looks at the key after Node has accepted the certificate and before a byte of a request is written. */
function pinned({ pins }: DialRule, hostname: string, done: Connected): Connected {
  if (pins === undefined) return done;
  return (...[error, socket]) => {
    if (error !== null || socket === null) return done(error ?? new Error('no socket'), null);
    const key = keyOf(socket);
    if (key !== null && pins.includes(key)) return done(null, socket);
    socket.destroy();
    const shown = key === null ? 'is not reached by TLS' : `shows the key ${key}`;
    return done(new DialFault('dial_identity', `${hostname} ${shown}, and another one is pinned`), null);
  };
}

/** `sha256:` of the public key that the other side has proven to hold; null without TLS. */
function keyOf(socket: Socket): string | null {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return null;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}

/**
 * The key that a server shows now, as `DialRule.pins` names it; everything else is checked as for a request, and none is sent.
 * @throws DialFault
 */
export async function shownKey(
  url: string | URL,
  rule: Omit<DialRule, 'pins'>,
  resolve?: ResolveName,
): Promise<string> {
  const target = dialUrl(url);
  if (target.protocol !== 'https:') throw new DialFault('dial_scheme', `${target.host} has no key: it is not https`);
  try {
    // No key has this name, so the answer is always what was shown instead.
    await guardedRequest(target, { rule: { ...rule, pins: ['none'] }, method: 'HEAD', ...(resolve && { resolve }) });
  } catch (error) {
    const [, key] = /shows the key (sha256:[0-9a-f]{64}),/.exec((error as Error).message) ?? [];
    if (error instanceof DialFault && error.code === 'dial_identity' && key !== undefined) return key;
    throw error;
  }
  throw new DialFault('dial_failed', `${target.host} shows no key`);
}

/** The lookup given to net.connect: it connects to what this answers and asks nobody else. One bad address spoils a name. */
function checkedLookup(
  protocol: string,
  rule: DialRule,
  kindOf: (address: string) => AddressKind,
  resolve: ResolveName,
): LookupFunction {
  return (name, options, done) => {
    const answer = async (): Promise<void> => {
      let addresses: readonly string[];
      try {
        addresses = await resolve(name);
      } catch (cause) {
        return done(new DialFault('dial_failed', `the name ${name} does not resolve`, { cause }), '');
      }
      const [first] = addresses;
      if (first === undefined) return done(new DialFault('dial_failed', `the name ${name} has no address`), '');
      for (const address of addresses) {
        const refusal = refusalOf(name, address, protocol, rule, kindOf);
        if (refusal !== null) return done(refusal, '');
      }
      if (options.all)
        done(
          null,
          addresses.map((address) => ({ address, family: isIP(address) })),
        );
      else done(null, first, isIP(first));
    };
    void answer();
  };
}

function refusalOf(
  name: string,
  address: string,
  protocol: string,
  rule: DialRule,
  kindOf: (address: string) => AddressKind,
): DialFault | null {
  const kind = kindOf(address);
  const where = name === address ? address : `${name} (${address})`;
  if (kind === 'special') {
    return new DialFault(
      'dial_address',
      `${where} is not a public address; list its network in the allowed networks if it may be reached`,
    );
  }
  if (kind === 'public' && protocol !== 'https:' && rule.requireHttps) {
    return new DialFault('dial_scheme', `${where} must be reached by https; plain http is only for allowed networks`);
  }
  return null;
}

export interface GuardedRequestOptions {
  readonly rule: DialRule;
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** For everything together: resolving, connecting, redirects, the whole body. Default 5 s. */
  readonly timeoutMs?: number;
  /** Largest body accepted. Default 256 KiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
  /** 0 to 3, default 0. Only GET and HEAD are redirected; across origins only Accept and User-Agent travel on. */
  readonly maxRedirects?: 0 | 1 | 2 | 3;
  readonly resolve?: ResolveName;
}

export interface GuardedResponse {
  readonly status: number;
  /** Lower-case names; a repeated header is a list. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array;
  /** Where the response came from, after redirects. */
  readonly url: string;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const CROSSES_ORIGINS: ReadonlySet<string> = new Set(['accept', 'user-agent']);

/**
 * One bounded request on a connection of its own. Any status is an answer, except a redirect that may not be followed.
 * Does not decode Content-Encoding and asks for none.
 * @throws DialFault
 */
export async function guardedRequest(url: string | URL, options: GuardedRequestOptions): Promise<GuardedResponse> {
  let target = dialUrl(url);
  const method = options.method ?? 'GET';
  const timeoutMs = options.timeoutMs ?? 5_000;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const dispatcher = guardedDispatcher(options.rule, {
    connectTimeoutMs: timeoutMs,
    ...(options.resolve && { resolve: options.resolve }),
  });
  let headers = new Headers({ 'accept-encoding': 'identity', ...options.headers });
  try {
    for (let hops = 0; ; hops++) {
      const response = await dispatcher.request({
        origin: target.origin,
        path: target.pathname + target.search,
        method,
        headers: Object.fromEntries(headers),
        body: options.body ?? null,
        signal,
        headersTimeout: 0, // `signal` bounds the whole
        bodyTimeout: 0,
      });
      if (!REDIRECTS.has(response.statusCode)) {
        const body = await readBounded(response.body, options.maxBytes ?? 256 * 1024, target);
        return { status: response.statusCode, headers: response.headers, body, url: target.href };
      }
      response.body.on('error', () => {}).destroy();
      const next = redirectTarget(target, method, response.headers.location, (options.maxRedirects ?? 0) - hops);
      if (next.origin !== target.origin) {
        headers = new Headers([...headers].filter(([name]) => CROSSES_ORIGINS.has(name)));
      }
      target = next;
    }
  } catch (error) {
    throw asDialFault(error, target, timeout.aborted, timeoutMs);
  } finally {
    await dispatcher.destroy();
  }
}

function redirectTarget(from: URL, method: string, location: unknown, left: number): URL {
  if (left <= 0) throw new DialFault('dial_redirect', `${from.host} answered with a redirect, which is not followed`);
  if (method !== 'GET' && method !== 'HEAD') {
    throw new DialFault('dial_redirect', `${from.host} redirected a ${method}, which is never sent twice`);
  }
  if (typeof location !== 'string')
    throw new DialFault('dial_redirect', `${from.host} redirected without one Location`);
  const absolute = URL.canParse(location) ? location : URL.parse(location, from.href)?.href;
  if (absolute === undefined) throw new DialFault('dial_redirect', `${from.host} redirected to something unreadable`);
  const next = dialUrl(absolute);
  if (from.protocol === 'https:' && next.protocol !== 'https:') {
    throw new DialFault('dial_redirect', `${from.host} redirected from https to http`);
  }
  return next;
}

async function readBounded(body: AsyncIterable<Buffer>, maxBytes: number, from: URL): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw new DialFault('dial_too_large', `${from.host} sent more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function asDialFault(error: unknown, target: URL, timedOut: boolean, timeoutMs: number): DialFault {
  if (error instanceof DialFault) return error;
  if (timedOut || error instanceof errors.ConnectTimeoutError) {
    return new DialFault('dial_timeout', `${target.host} did not answer within ${timeoutMs} ms`, { cause: error });
  }
  return new DialFault('dial_failed', `the request to ${target.host} failed`, { cause: error });
}

const JSON_MEDIA_TYPE = /^application\/(?:json|[a-z0-9][a-z0-9.+-]{0,60}\+json)\s*(?:;|$)/i;

/**
 * Fetches one JSON document: status 200, a JSON media type, strictly parsed (no duplicate members, bounded depth).
 * Does not check what the document says.
 * @throws DialFault
 */
export async function guardedJson(url: string | URL, options: GuardedRequestOptions): Promise<Json> {
  const { accept = 'application/json', ...headers } = options.headers ?? {};
  const response = await guardedRequest(url, { ...options, headers: { accept, ...headers } });
  const host = new URL(response.url).host;
  if (response.status !== 200) {
    throw new DialFault('dial_status', `${host} answered ${response.status}`, { status: response.status });
  }
  const { 'content-type': type, 'content-encoding': encoding = 'identity' } = response.headers;
  if (typeof type !== 'string' || !JSON_MEDIA_TYPE.test(type) || encoding !== 'identity') {
    throw new DialFault('dial_media_type', `${host} did not answer with plain JSON`);
  }
  const parsed = parseStrictJson(response.body, { maxBytes: response.body.length, maxDepth: 32 });
  if (!parsed.ok)
    throw new DialFault('dial_not_json', `${host} sent text that is not strict JSON (${parsed.error.tag})`);
  return parsed.value;
}
