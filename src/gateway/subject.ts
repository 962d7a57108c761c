/**
 * What a message is about, read off it before any guard: which server, and which of its items. On an aggregate endpoint the name or URI
 * says which server; that is routing by a prefix of ours and no decision (TD-04: a server's own words never route).
 */
import type { ItemKind } from '../integrity/records.ts';
import { isJsonObject } from '../lib/json.ts';
import type { InboundMessage } from '../protocol/read-request.ts';
import { unprefixName, unprefixUri } from '../protocol/rename.ts';
import type { Endpoint } from './call.ts';

export interface Subject {
  /** Null: the endpoint as a whole (an aggregate), or a name that belongs to no server. */
  readonly server: string | null;
  /** `resource` stands for whatever answers to the URI. Null: about no item. */
  readonly kind: Exclude<ItemKind, 'server'> | null;
  /** As the server calls it. */
  readonly name: string | null;
}

export function subjectOf(endpoint: Endpoint, message: InboundMessage): Subject {
  const { params, rule } = message;
  switch (rule?.family) {
    case 'call':
      return named(endpoint, 'tool', params['name']);
    case 'prompt':
      return named(endpoint, 'prompt', params['name']);
    case 'read':
    case 'subscribe':
      return located(endpoint, 'resource', params['uri']);
    case 'complete': {
      const { ref } = params;
      if (!isJsonObject(ref)) return nothing(endpoint);
      if (ref['type'] === 'ref/prompt') return named(endpoint, 'prompt', ref['name']);
      if (ref['type'] === 'ref/resource') return located(endpoint, 'template', ref['uri']);
      return nothing(endpoint);
    }
    default:
      return nothing(endpoint);
  }
}

const nothing = ({ server }: Endpoint): Subject => ({ server, kind: null, name: null });

function named(endpoint: Endpoint, kind: 'tool' | 'prompt', name: unknown): Subject {
  if (typeof name !== 'string') return nothing(endpoint);
  if (endpoint.server !== null) return { server: endpoint.server, kind, name };
  const found = unprefixName(name);
  return { server: found?.server ?? null, kind, name: found?.name ?? name };
}

function located(endpoint: Endpoint, kind: 'resource' | 'template', uri: unknown): Subject {
  if (typeof uri !== 'string') return nothing(endpoint);
  if (endpoint.server !== null) return { server: endpoint.server, kind, name: uri };
  const found = unprefixUri(uri);
  return { server: found?.server ?? null, kind, name: found?.uri ?? uri };
}
