/** `fetch` for one provider, over the guarded dialler: its networks, https except on loopback, bounded in size and time, no redirect. */
import { guardedRequest } from '../../upstream/dial.ts';
import { isLoopbackHost } from '../config.ts';

const LOOPBACK_NETWORKS = ['127.0.0.0/8', '::1/128'];

type FetchOptions = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
};

export type ProviderFetch = (url: string, options: FetchOptions) => Promise<Response>;

/** Its promise rejects with a DialFault. Answers of any status are answers. */
export function providerFetch(allowedNetworks: readonly string[]): ProviderFetch {
  return async (url, { method = 'GET', headers, body, signal }) => {
    const { hostname } = new URL(url);
    const answer = await guardedRequest(url, {
      // ATTACKER-CONTROLLED: a public provider's metadata may name any address as its token endpoint.
      rule: {
        allowedNetworks: isLoopbackHost(hostname) ? LOOPBACK_NETWORKS : allowedNetworks,
        requireHttps: true,
      },
      method: method === 'POST' ? 'POST' : 'GET',
      ...(headers && { headers }),
      ...(body instanceof URLSearchParams || typeof body === 'string' ? { body: body.toString() } : {}),
      ...(signal && { signal }),
      timeoutMs: 10_000,
      maxBytes: 512 * 1_024,
    });
    const kept = Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
      (name === 'content-type' || name === 'cache-control' || name === 'www-authenticate') && typeof value === 'string'
        ? [[name, value]]
        : [],
    );
    const empty = answer.status === 204 || answer.status === 304;
    return new Response(empty ? null : Buffer.from(answer.body), { status: answer.status, headers: kept });
  };
}
