/**
 * The rules of the HTTP wire apart from its course: which headers a record may add, what a status, a session id or a
 * broken connection means, and how much of a body is read.
 */
import { isFault } from '../lib/fault.ts';
import { UpstreamFault } from './connection.ts';

/** An HTTP status instead of an answer. `status` is evidence for era detection. */
export class HttpStatusFault extends UpstreamFault {
  readonly status: number;

  constructor(status: number, dispatched: 'no' | 'unknown' = 'unknown') {
    const code =
      status === 401 || status === 403
        ? 'upstream_auth'
        : status === 429 || status >= 500
          ? 'upstream_unreachable'
          : 'upstream_protocol';
    const why = status >= 300 && status < 400 ? 'with a redirect, which is not followed' : `with HTTP status ${status}`;
    super(code, `the server answered ${why}`, { dispatched });
    this.status = status;
  }
}

/** Statuses whose body says nothing we would act on: a redirect (not followed), our credential, the server's trouble. */
export const UNREAD = (status: number): boolean =>
  (status >= 300 && status < 400) || status === 401 || status === 403 || status === 429 || status >= 500;

const OURS: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'accept',
  'accept-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'last-event-id',
  'cookie',
]);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FIELD_VALUE = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;
const SESSION_ID = /^[\x21-\x7e]{1,1024}$/;

/** Why a header of a server's record may not be sent, or null. */
export function headerProblem(name: string, value: string): string | null {
  if (!TOKEN.test(name)) return `the header name ${JSON.stringify(name)} is not a token`;
  const lower = name.toLowerCase();
  if (OURS.has(lower) || lower.startsWith('mcp-')) return `the header ${name} belongs to the transport`;
  return FIELD_VALUE.test(value) ? null : `the value for header ${name} holds characters a header cannot carry`;
}

export const violation = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_protocol', message, { dispatched: 'unknown' });

export function sessionOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null;
  if (typeof header !== 'string' || !SESSION_ID.test(header)) throw violation('the session id is not visible ASCII');
  return header;
}

const NEVER_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_DESTROYED',
  'UND_ERR_CLOSED',
]);

/** Says of a failed request whether a byte of it can have left. */
export function transportFault(error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault) return error;
  if (isFault(error, 'dial_address') || isFault(error, 'dial_scheme')) {
    return new UpstreamFault('upstream_refused_address', error.message, { dispatched: 'no', cause: error });
  }
  if (isFault(error, 'dial_identity'))
    return new UpstreamFault('upstream_identity', error.message, { dispatched: 'no', cause: error });
  const { code } = error as { code?: unknown };
  if (
    isFault(error) ||
    NEVER_CONNECTED.has(code) ||
    (typeof code === 'string' && /^(?:ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code))
  ) {
    return new UpstreamFault('upstream_unreachable', 'the server cannot be reached', {
      dispatched: 'no',
      cause: error,
    });
  }
  return new UpstreamFault('upstream_closed', 'the connection broke before the answer', {
    dispatched: 'unknown',
    cause: error,
  });
}
