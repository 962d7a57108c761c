/**
 * Which protected resources exist and which scopes they offer, learnt from the gateways' own metadata (RFC 9728).
 * Promises: only resources of trusted gateway origins, only documents that name exactly this resource and our issuer;
 * bounded in size, time and number. Does not decide who may have a scope.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import { isFault } from '../lib/fault.ts';
import { err, ok } from '../lib/result.ts';
import type { Result } from '../lib/result.ts';
import { guardedJson } from '../upstream/dial.ts';
import { isLoopbackHost } from './config.ts';

/** RFC 6749 section 3.3: printable ASCII without space, quote and backslash. */
const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,200}$/);

const RISKS = ['read', 'write', 'destructive', 'execute', 'regulated'] as const;
export type Risk = (typeof RISKS)[number];

/** Other members are legal and ignored. */
const Metadata = z.object({
  resource: z.string().max(2_000),
  authorization_servers: z.array(z.string().max(2_000)).min(1).max(50),
  resource_name: z.string().max(1_000).optional(),
  /** The smallest useful set: what a client gets that asks for nothing. */
  scopes_supported: z.array(scopeToken).max(200).default([]),
  /** Remit's own member: every scope there is, in plain words. A risk we have no word for counts as not stated. */
  remit_scopes: z
    .array(
      z.object({
        scope: scopeToken,
        description: z.string().max(1_000),
        risk: z.enum(RISKS).optional().catch(undefined),
      }),
    )
    .max(2_000)
    .optional(),
});

export interface OfferedScope {
  readonly scope: string;
  /** As the gateway words it; may be empty. */
  readonly description: string;
  readonly risk: Risk | null;
}

export interface ProtectedResource {
  readonly resource: string;
  readonly name: string;
  readonly defaultScopes: readonly string[];
  readonly offered: ReadonlyMap<string, OfferedScope>;
}

export type ResourceRefusal =
  | { readonly reason: 'malformed' } // not a canonical URL, or with query or fragment
  | { readonly reason: 'not_trusted' } // its origin is no gateway of ours
  | { readonly reason: 'unknown' } // the gateway says there is no such resource
  | { readonly reason: 'mismatch' } // the document speaks of another resource or another issuer
  | { readonly reason: 'unreachable' }; // no usable answer; another try may succeed

export interface TrustedGateway {
  readonly origin: string;
  readonly allowedNetworks: readonly string[];
}

export type FetchJson = typeof guardedJson;

export interface ResourceDirectory {
  find(resource: string): Promise<Result<ProtectedResource, ResourceRefusal>>;
}

const LOOPBACK_NETWORKS = ['127.0.0.0/8', '::1/128'];

export function resourceDirectory(options: {
  readonly issuer: string;
  readonly gateways: readonly TrustedGateway[];
  readonly cacheMs?: number;
  readonly fetchJson?: FetchJson;
}): ResourceDirectory {
  const fetchJson = options.fetchJson ?? guardedJson;
  const cacheMs = options.cacheMs ?? 15_000;
  const cache = new LRUCache<string, Promise<Result<ProtectedResource, ResourceRefusal>>>({ max: 500, ttl: cacheMs });

  const load = async (
    resource: string,
    url: URL,
    gateway: TrustedGateway,
  ): Promise<Result<ProtectedResource, ResourceRefusal>> => {
    const networks = isLoopbackHost(url.hostname) ? LOOPBACK_NETWORKS : gateway.allowedNetworks;
    try {
      const document = await fetchJson(metadataUrl(url), {
        rule: { allowedNetworks: networks, requireHttps: true },
        timeoutMs: 3_000,
        maxBytes: 512 * 1024,
      });
      return readMetadata(document, resource, options.issuer);
    } catch (error) {
      const absent = isFault(error, 'dial_status') && 'status' in error && error.status === 404;
      return err({ reason: absent ? 'unknown' : 'unreachable' });
    }
  };

  return {
    find: async (resource) => {
      const url = canonicalResource(resource);
      if (url === null) return err({ reason: 'malformed' });
      const gateway = options.gateways.find((candidate) => candidate.origin === url.origin);
      if (gateway === undefined) return err({ reason: 'not_trusted' });
      const known = cache.get(resource);
      if (known !== undefined) return known;
      const loading = load(resource, url, gateway);
      cache.set(resource, loading);
      const result = await loading;
      // A refusal is remembered only briefly: enough to stop a storm, too short to outlive a gateway's restart.
      if (!result.ok) cache.set(resource, loading, { ttl: Math.min(cacheMs, 1_000) });
      return result;
    },
  };
}

/** The URL if the text is the one spelling we accept for it, else null. ATTACKER-CONTROLLED: from the `resource` parameter. */
export function canonicalResource(resource: string): URL | null {
  if (resource.length > 2_000) return null;
  const url = URL.parse(resource);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return null;
  if (url.search !== '' || url.hash !== '' || resource.includes('?') || resource.includes('#')) return null;
  return url.href === resource || (url.pathname === '/' && url.origin === resource) ? url : null;
}

/** RFC 9728 section 3.1: the well-known part stands between host and path. */
export function metadataUrl(resource: URL): string {
  return `${resource.origin}/.well-known/oauth-protected-resource${resource.pathname === '/' ? '' : resource.pathname}`;
}

/** RFC 9728 section 3.3: `resource` must be identical to the one asked for, and the resource must accept our tokens. */
export function readMetadata(
  document: unknown,
  resource: string,
  issuer: string,
): Result<ProtectedResource, ResourceRefusal> {
  const parsed = Metadata.safeParse(document);
  if (!parsed.success) return err({ reason: 'unreachable' });
  const metadata = parsed.data;
  if (metadata.resource !== resource || !metadata.authorization_servers.includes(issuer))
    return err({ reason: 'mismatch' });
  const offered = new Map<string, OfferedScope>();
  const entries: readonly { scope: string; description: string; risk?: Risk | undefined }[] =
    metadata.remit_scopes ?? metadata.scopes_supported.map((scope) => ({ scope, description: '' }));
  for (const entry of entries) {
    if (offered.has(entry.scope)) continue;
    offered.set(entry.scope, { scope: entry.scope, description: entry.description, risk: entry.risk ?? null });
  }
  return ok({
    resource,
    name: metadata.resource_name ?? resource,
    defaultScopes: metadata.scopes_supported.filter((scope) => offered.has(scope)),
    offered,
  });
}
