/**
 * Which way out of a sandbox a record allows (EX-04): pure, by exact text. A host is the name in the rule and no other spelling of it;
 * what is not named is refused, and nothing here asks a resolver. Paths are compared only when there is one way to read them.
 * Not done here: where the name leads (reach.ts), what a connection really says (tunnel.ts, forward.ts).
 */
import { Fault } from '../../lib/fault.ts';
import type { EgressRule } from '../target.ts';

export interface Destination {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port: number;
}

/** Why something was refused, for the log and for whoever asked. */
export type EgressRefusal =
  | 'no_rule' // neither this host nor this port
  | 'target' // not a plain host and port: an address, user information, another spelling
  | 'host_header' // names another host than the one that was asked for
  | 'method'
  | 'path'
  | 'override' // a header that makes some servers read another method, host or path
  | 'upgrade'
  | 'framing'
  | 'not_tls' // what came first is not a TLS ClientHello
  | 'server_name' // TLS for another name, or for none that can be read
  | 'rate' // more than one server may take of the gateway's time
  | 'address'; // the name leads where a server may not go

export interface EgressRules {
  /** `open`: bytes pass once they begin with TLS for the host; `read`: every request is looked at; null: no way. */
  tls(host: string, port: number): 'open' | 'read' | null;
  plain(host: string, port: number): boolean;
  /** Hosts for which TLS ends at the gateway. */
  readonly readHosts: readonly string[];
  /** Of a request that was read; null: allowed. `path` is the request target in origin form. */
  refusal(to: Destination, method: string, path: string): 'no_rule' | 'method' | 'path' | null;
}

const DEFAULT_PORT = { https: 443, http: 80 } as const;

/** @throws Fault `egress_rule`: a list that cannot be read must not be half used. */
export function egressRules(list: readonly EgressRule[]): EgressRules {
  const ways = new Map<string, EgressRule[]>();
  for (const rule of list) {
    // ATTACKER-CONTROLLED in a proposed record: `0x7f.1` has a letter, and is an address.
    if (URL.parse(`http://${rule.host}/`)?.hostname !== rule.host || !isHostName(rule.host))
      throw new Fault('egress_rule', `egress: "${rule.host}" is not one host name in lower case`);
    const key = keyOf({ ...rule, port: rule.port ?? DEFAULT_PORT[rule.scheme] });
    ways.set(key, [...(ways.get(key) ?? []), rule]);
  }
  const read = ({ methods, pathPrefix }: EgressRule): boolean => methods !== undefined || pathPrefix !== undefined;
  const tls: EgressRules['tls'] = (host, port) => {
    const rules = ways.get(keyOf({ scheme: 'https', host, port }));
    return rules === undefined ? null : rules.every(read) ? 'read' : 'open';
  };
  const readHosts = list
    .filter(({ scheme, host, port }) => scheme === 'https' && tls(host, port ?? 443) === 'read')
    .map(({ host }) => host);
  return {
    tls,
    plain: (host, port) => ways.has(keyOf({ scheme: 'http', host, port })),
    readHosts: [...new Set(readHosts)],
    refusal(to, method, path) {
      const rules = ways.get(keyOf(to)) ?? [];
      if (rules.length === 0) return 'no_rule';
      const inPath = rules.filter(({ pathPrefix }) => pathPrefix === undefined || isBelow(path, pathPrefix));
      if (inPath.length === 0) return 'path';
      const inMethod = inPath.some(({ methods }) => methods === undefined || methods.includes(method));
      return inMethod ? null : 'method';
    },
  };
}

const keyOf = ({ scheme, host, port }: Destination): string => `${scheme}://${host}:${port}`;

const HOST_NAME = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** A name as it stands in DNS, in lower case, and not an address in any spelling. */
export const isHostName = (text: string): boolean =>
  HOST_NAME.test(text) && !/^(?:\d+|0x[0-9a-f]*)$/.test(text.slice(text.lastIndexOf('.') + 1));

/** `host:port` of a CONNECT; names are the same in any case (RFC 4343). Null: anything else. */
export function readAuthority(text: string): { readonly host: string; readonly port: number } | null {
  const [, name = '', digits = ''] = /^([A-Za-z0-9.-]{1,253}):([1-9]\d{0,4})$/.exec(text) ?? [];
  const host = name.toLowerCase();
  return isHostName(host) && Number(digits) <= 65_535 ? { host, port: Number(digits) } : null;
}

/** The target of a request to a proxy (RFC 9112 3.2.2). Null: not plain http to a plain name. */
export function readAbsolute(text: string): { readonly to: Destination; readonly path: string } | null {
  const [, authority, path] = /^http:\/\/([^/?#@\\]+)([/?].*)?$/is.exec(text) ?? [];
  if (authority === undefined) return null;
  const at = readAuthority(authority.includes(':') ? authority : `${authority}:80`);
  const origin = path === undefined ? '/' : path.startsWith('/') ? path : `/${path}`;
  return at === null || !isTarget(origin) ? null : { to: { scheme: 'http', ...at }, path: origin };
}

/** Origin form: visible ASCII, without what some servers read as a path and others do not. */
export const isTarget = (path: string): boolean => /^\/[\x21\x22\x24-\x5b\x5d-\x7e]*$/.test(path);

/** Whether a Host header names exactly this destination. */
export function isHostOf(header: string, { scheme, host, port }: Destination): boolean {
  const text = header.toLowerCase();
  return text === `${host}:${port}` || (text === host && port === DEFAULT_PORT[scheme]);
}

/**
 * Whether a path lies in a folder, however the server over there reads paths: one that somebody could read in two ways lies in none.
 * `/v1` holds `/v1` and `/v1/x`, not `/v1x`.
 */
function isBelow(target: string, prefix: string): boolean {
  const [path = ''] = target.split('?', 1);
  if (!isUnambiguous(path)) return false;
  const folder = prefix.endsWith('/') ? prefix : `${prefix}/`;
  return path === prefix || path.startsWith(folder);
}

function isUnambiguous(path: string): boolean {
  // An encoded slash, backslash, dot, semicolon, NUL or percent sign: what is behind it depends on how often the server decodes.
  if (!isTarget(path) || /%(?:2f|5c|2e|3b|25|[01]|7f)/i.test(path)) return false;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    return false; // not UTF-8: overlong spellings of dots and slashes among them
  }
  // Wide forms of a dot or a slash become plain ones on some systems.
  const plain = decoded.normalize('NFKC');
  if (plain.includes('\\') || plain.split('/').length !== path.split('/').length) return false;
  // Some servers drop `;parameters`, or what was an encoded `?` or `#`, before they look for dots.
  return plain.split('/').every((segment) => !/^\.{1,2}(?:[;?#]|$)/.test(segment.trim()));
}
