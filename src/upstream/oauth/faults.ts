/** What goes wrong on the way to a token, as the fault of a server that cannot be used. No message holds a secret or what a peer wrote freely. */
import { ResponseBodyError } from 'oauth4webapi';
import { isFault } from '../../lib/fault.ts';
import { UpstreamFault } from '../connection.ts';

/** No token, and asking again will not help until somebody changes something. */
export const authFault = (message: string, cause?: unknown): UpstreamFault =>
  new UpstreamFault('upstream_auth', message, { dispatched: 'no', ...(cause !== undefined && { cause }) });

/** The caller has no account there, and can do something about it. */
export const unlinkedFault = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_unlinked', message, { dispatched: 'no' });

const ERROR_CODE = /^[a-z_]{1,64}$/;

/** RFC 6749 section 5.2: the code, if it is one. */
export function oauthError(error: unknown): string | null {
  return error instanceof ResponseBodyError && ERROR_CODE.test(error.error) ? error.error : null;
}

/** `what`: what was asked, for the operator. */
export function asAuthFault(error: unknown, what: string): UpstreamFault {
  if (error instanceof UpstreamFault) return error;
  const code = oauthError(error);
  if (code !== null) return authFault(`${what} was refused with ${code}`);
  if (
    isFault(error) &&
    (error.code === 'dial_address' || error.code === 'dial_scheme' || error.code === 'dial_userinfo')
  )
    return new UpstreamFault('upstream_refused_address', `${what}: ${error.message}`, {
      dispatched: 'no',
      cause: error,
    });
  if (isFault(error) && error.code.startsWith('dial_'))
    return new UpstreamFault('upstream_unreachable', `${what}: ${error.message}`, { dispatched: 'no', cause: error });
  if (isFault(error)) return authFault(`${what}: ${error.message}`, error);
  // No cause: errors of the library carry whole answers, and with them tokens and codes (AN-12).
  const { code: kind } = error as { code?: unknown };
  const which = typeof kind === 'string' && /^OAUTH_[A-Z_]{1,60}$/.test(kind) ? ` (${kind})` : '';
  return authFault(`${what} brought no usable answer${which}`);
}
