/**
 * Host and Origin of a request against the lists of a listener (G2, PH-03): a page that rebinds its name to our address, or one that
 * posts from a browser, is stopped before anything else. Both run before authentication and do not depend on it.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type WireError, invalidRequest } from './errors.ts';

export interface HttpGuards {
  /** `example.com` allows every port, `example.com:8443` and `[::1]:8443` exactly that one. */
  readonly allowedHosts: readonly string[];
  /** Serialised origins, for example `https://console.example.com`. `null` is never allowed. */
  readonly allowedOrigins: readonly string[];
}

/** Prepares the lists once; the answer per request is null (pass) or a 403 without an id. */
export function httpGuards(guards: HttpGuards): (headers: IncomingHttpHeaders) => WireError | null {
  const hosts = new Set(guards.allowedHosts.map((host) => host.toLowerCase()));
  const origins = new Set(guards.allowedOrigins.map((origin) => origin.toLowerCase()));
  origins.delete('null');
  return (headers) => {
    const host = headers.host?.toLowerCase();
    if (host === undefined || !(hosts.has(host) || hosts.has(withoutPort(host)))) {
      return invalidRequest(null, 'Host is not allowed on this listener', 403);
    }
    // A client that is not a browser sends no Origin; absent passes, present must be on the list.
    const origin = headers.origin?.toLowerCase();
    if (origin !== undefined && !origins.has(origin)) {
      return invalidRequest(null, 'Origin is not allowed on this listener', 403);
    }
    return null;
  };
}

const PORT = /:\d{1,5}$/;

/** Leaves `[::1]` whole and an IPv6 address without brackets as it is (it is no valid Host and matches nothing). */
function withoutPort(host: string): string {
  const bare = host.replace(PORT, '');
  return bare.includes(':') && !bare.startsWith('[') ? host : bare;
}
