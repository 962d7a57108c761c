/**
 * The admin API as the commands use it: one function per method, problems as CliFailure with the right exit code.
 * Follows no redirect (the token would travel with it) and sends a token over plain http to loopback addresses only.
 * Where the API asks for a newer or stronger sign-in (RFC 9470), the person is asked once and the request repeated once.
 */
import { systemClock } from '../lib/clock.ts';
import { isLoopbackHost } from './config.ts';
import { readCredentials } from './credentials.ts';
import { CliFailure } from './failure.ts';
import { oneLine } from './output.ts';
import { accessToken, signInAgain, unreachable } from './sign-in.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface Answered<T> {
  readonly body: T;
  readonly etag: string | null;
}

export interface Api {
  readonly url: string;
  get<T>(path: string): Promise<Answered<T>>;
  /** Text as sent, for receipts and checkpoints. */
  text(path: string): Promise<string>;
  /** `etag`: the record must be as it was read. */
  post<T>(path: string, body: object, etag?: string): Promise<Answered<T>>;
  /** `etag` null: the record must not exist yet. `any`: what is put has no revision of its own. */
  put<T>(path: string, body: object, etag: string | null): Promise<Answered<T>>;
  remove<T>(path: string, body: object): Promise<Answered<T>>;
}

const TIMEOUT_MS = 60_000;

/** The admin URL: --url, REMIT_ADMIN_URL, the last sign-in, in this order. */
export function adminUrl(option: string | undefined, env: Env): string {
  const named = option ?? env['REMIT_ADMIN_URL'] ?? readCredentials(env).current;
  if (named === undefined || named === null || named === '')
    throw new CliFailure(
      'signed_out',
      'No gateway is named and nobody is signed in.',
      'Run `remit login --url http://127.0.0.1:8788`, or set REMIT_ADMIN_URL.',
    );
  if (!URL.canParse(named))
    throw new CliFailure(
      'usage',
      `${oneLine(named)} is not a URL.`,
      'Give the origin of the admin listener, for example https://admin.example.com.',
    );
  const url = new URL(named);
  if (
    !['http:', 'https:'].includes(url.protocol) ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== '' ||
    !['/', ''].includes(url.pathname)
  )
    throw new CliFailure(
      'usage',
      `${oneLine(named)} is not an origin.`,
      'Give scheme, host and port only, for example https://admin.example.com.',
    );
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    throw new CliFailure(
      'usage',
      `${url.origin} is plain http and not a loopback address; a token sent there can be read on the way.`,
      'Use https.',
    );
  return url.origin;
}

/** A client for one gateway. Gets its token when the first request is made. */
export function openApi(url: string, env: Env): Api {
  async function send(
    method: string,
    path: string,
    body: object | undefined,
    headers: Record<string, string>,
    again = false,
  ): Promise<Response> {
    const token = await accessToken(url, env, systemClock.now());
    if (!/^[\x21-\x7e]+$/.test(token))
      throw new CliFailure('usage', 'The token holds characters that no token has.', 'Check REMIT_TOKEN.');
    let response: Response;
    try {
      response = await fetch(`${url}/api/v1${path}`, {
        method,
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch {
      throw unreachable(url);
    }
    if (response.ok) return response;
    const wanted = again ? null : stepUpOf(response);
    if (wanted !== null && (await signInAgain(url, env, wanted))) return send(method, path, body, headers, true);
    throw await refused(response, url);
  }
  const json = async <T>(response: Response): Promise<Answered<T>> => ({
    body: (await response.json()) as T,
    etag: response.headers.get('etag'),
  });
  return {
    url,
    get: async (path) => json(await send('GET', path, undefined, {})),
    text: async (path) => (await send('GET', path, undefined, {})).text(),
    post: async (path, body, etag = 'any') => json(await send('POST', path, body, precondition(etag))),
    put: async (path, body, etag) => json(await send('PUT', path, body, precondition(etag))),
    remove: async (path, body) => json(await send('DELETE', path, body, {})),
  };
}

function precondition(etag: string | null): Record<string, string> {
  if (etag === 'any') return {};
  return etag === null ? { 'if-none-match': '*' } : { 'if-match': etag };
}

/** What another sign-in must be like, from the challenge (RFC 9470 section 3); null: it is about something else. */
function stepUpOf(response: Response): { maxAgeSeconds: number | undefined; acrValues: readonly string[] } | null {
  const challenge = response.headers.get('www-authenticate') ?? '';
  if (response.status !== 401 || !/\berror="insufficient_user_authentication"/.test(challenge)) return null;
  const maxAge = /\bmax_age="(\d{1,9})"/.exec(challenge)?.[1];
  const acr = /\bacr_values="([^"]{1,2000})"/.exec(challenge)?.[1];
  return { maxAgeSeconds: maxAge === undefined ? undefined : Number(maxAge), acrValues: acr?.split(' ') ?? [] };
}

async function refused(response: Response, url: string): Promise<CliFailure> {
  const body = (await response.json().catch(() => null)) as { error?: Record<string, unknown> } | null;
  const error = body?.error;
  if (typeof error?.['message'] !== 'string') {
    return new CliFailure(
      'unreachable',
      `${url} answered ${response.status} and not as a Remit admin API.`,
      'Check --url.',
    );
  }
  const text = (key: string): string | undefined => (typeof error[key] === 'string' ? oneLine(error[key]) : undefined);
  const [said, field] = [text('message') ?? '', text('field') ?? ''];
  // Half a sentence says something about a field that it does not name.
  const about = /^[a-z]/.test(said) && field !== '' && !said.includes(field) ? `${field}: ` : '';
  const message = `${about}${said} [${text('code') ?? ''}, ${text('ref') ?? ''}]`;
  return new CliFailure(response.status === 401 ? 'signed_out' : 'failed', message, text('remedy'), error);
}

/** One path segment. */
export const seg = (text: string): string => encodeURIComponent(text);
