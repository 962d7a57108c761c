/**
 * The way out of one sandbox (EX-04): an HTTP/1.1 proxy on a Unix socket that only this sandbox has. Default deny. `CONNECT host:port` becomes a
 * tunnel (tunnel.ts), `http://…` and whatever is read inside a tunnel becomes a request of the guarded dialler (forward.ts). Every refusal is
 * told to whoever asked (403, or the end of the tunnel) and reported. Whoever speaks on the socket is the server: nothing here trusts more.
 * Not seen: what an allowed host does with what it is sent.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ResolveName, guardedDispatcher } from '../dial.ts';
import type { EgressRule } from '../target.ts';
import { type EgressAuthority, egressAuthority } from './authority.ts';
import { SHORT, forward, requestRefusal } from './forward.ts';
import { checkedReach, inTurn, resolveBySystem } from './reach.ts';
import {
  type Destination,
  type EgressRefusal,
  egressRules,
  isHostOf,
  isTarget,
  readAbsolute,
  readAuthority,
} from './rules.ts';
import { openTunnel } from './tunnel.ts';

export interface RefusedEgress {
  readonly scheme: 'https' | 'http';
  /** Null: not a plain host name. */
  readonly host: string | null;
  readonly port: number | null;
  readonly why: EgressRefusal;
}

export interface ProxySetting {
  readonly rules: readonly EgressRule[];
  /** CIDR. */
  readonly networks: readonly string[];
  readonly refused: (what: RefusedEgress) => void;
  /** Default: the system's resolver. */
  readonly resolve?: ResolveName;
  /** PEM; trusted beside the system's where TLS ends here. */
  readonly extraCa?: readonly string[];
  readonly limits?: Partial<typeof LIMITS>;
}

export const LIMITS = {
  /** Open at once, of one process. */
  connections: 64,
  idleMs: 300_000,
  openingMs: 10_000,
  connectMs: 10_000,
  /** Connections and requests in a second. They are the gateway's time, and so that of all other servers. */
  perSecond: 1_000,
  /** How long a server that asks for more is not listened to. */
  restMs: 1_000,
  /** Of one answer that is read, bytes. */
  answerBytes: 1_073_741_824,
};

export interface EgressProxy {
  /** PEM of the authority for hosts where TLS ends here; null: there is none. */
  readonly certificate: string | null;
  close(): Promise<void>;
}

/** Listens on a socket path that anybody may connect to who can reach it. @throws Fault `egress_rule`, `dial_rule`; or as net.Server.listen. */
export async function startProxy(path: string, setting: ProxySetting): Promise<EgressProxy> {
  const limits = { ...LIMITS, ...setting.limits };
  const rules = egressRules(setting.rules);
  const authority: EgressAuthority | null = rules.readHosts.length > 0 ? egressAuthority(rules.readHosts) : null;
  const resolve = inTurn(setting.resolve ?? resolveBySystem);
  const reach = checkedReach(setting.networks, limits.connectMs, resolve);
  const dispatcher = guardedDispatcher(
    { allowedNetworks: setting.networks, requireHttps: false, ...(setting.extraCa && { extraCa: setting.extraCa }) },
    {
      resolve,
      connectTimeoutMs: limits.connectMs,
      agent: {
        connections: 16,
        keepAliveTimeout: 10_000,
        headersTimeout: limits.idleMs,
        bodyTimeout: limits.idleMs,
        maxResponseSize: limits.answerBytes,
      },
    },
  );
  /** Streams whose requests are for one destination, whatever they say. */
  const inside = new WeakMap<Duplex, Destination>();

  const server = createServer({
    maxHeaderSize: 16_384,
    requireHostHeader: true,
    insecureHTTPParser: false,
    headersTimeout: Math.min(limits.openingMs * 3, limits.idleMs),
    requestTimeout: limits.idleMs,
    keepAliveTimeout: 30_000,
  });
  server.maxConnections = limits.connections;
  server.timeout = limits.idleMs;
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // Not HTTP, or HTTP that could be read in two ways.
    if (error.code?.startsWith('HPE_')) report(inside.get(socket) ?? {}, 'framing');
    socket.destroy();
  });

  const report = (to: Partial<Destination>, why: EgressRefusal): void =>
    setting.refused({ scheme: to.scheme ?? 'http', host: to.host ?? null, port: to.port ?? null, why });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const target = request.url ?? '';
    const fixed = inside.get(request.socket);
    const asked = fixed === undefined ? readAbsolute(target) : isTarget(target) ? { to: fixed, path: target } : null;
    if (asked === null) return refuse(response, fixed ?? {}, 'target');
    const { to, path } = asked;
    const why =
      requestRefusal(request) ??
      (isHostOf(request.headers.host ?? '', to) ? null : 'host_header') ??
      rules.refusal(to, request.method ?? '', path) ??
      (request.method === 'TRACE' ? 'method' : null) ??
      (await forward(dispatcher, to, path, request, response));
    if (why !== null) refuse(response, to, why);
  }

  function refuse(response: ServerResponse, to: Partial<Destination>, why: EgressRefusal): void {
    report(to, why);
    response.writeHead(403, SHORT).end(textOf(why));
  }

  server.on('request', (request, response) => {
    if (tooMany()) return;
    answer(request, response).catch(() => response.destroy());
  });
  server.on('connect', (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    if (tooMany()) return;
    const to = inside.has(request.socket) ? null : readAuthority(request.url ?? '');
    const { host: named } = request.headers;
    const why =
      to === null
        ? 'target'
        : named !== undefined && ![to.host, `${to.host}:${to.port}`].includes(named.toLowerCase())
          ? 'host_header'
          : rules.tls(to.host, to.port) === null && !rules.plain(to.host, to.port)
            ? 'no_rule'
            : null;
    if (to === null || why !== null) {
      report({ scheme: 'https', ...to }, why ?? 'target');
      const text = textOf(why ?? 'target');
      const lines = ['HTTP/1.1 403 Forbidden', 'Content-Type: text/plain', 'Connection: close'];
      return void socket.end([...lines, `Content-Length: ${text.length}`, '', text].join('\r\n'), () =>
        socket.destroy(),
      );
    }
    request.socket.setTimeout(limits.idleMs, () => socket.destroy());
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) socket.unshift(head);
    openTunnel(socket, to.host, to.port, {
      ...limits,
      rules,
      authority,
      reach,
      refused: report,
      serve(stream, destination) {
        inside.set(stream, destination);
        server.emit('connection', stream);
      },
    }).catch(() => socket.destroy());
  });

  const sockets = new Set<Duplex>();
  server.on('connection', (socket: Duplex) => {
    socket.on('error', () => socket.destroy());
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (!inside.has(socket)) tooMany();
  });
  server.on('drop', () => void tooMany());

  let second = 0;
  let count = 0;
  let resting: NodeJS.Timeout | null = null;
  /** Ends everything and listens to nobody for a while: who cannot connect costs nothing. */
  function tooMany(): boolean {
    const now = Math.floor(Date.now() / 1_000);
    if (now !== second) [second, count] = [now, 0];
    if (++count <= limits.perSecond) return false;
    if (resting !== null) return true;
    report({}, 'rate');
    server.close();
    for (const socket of sockets) socket.destroy();
    resting = setTimeout(() => {
      resting = null;
      count = 0;
      listen().catch(() => undefined); // its folder is gone, and so is the server
    }, limits.restMs).unref();
    return true;
  }

  const listen = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, readableAll: true, writableAll: true }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  await listen();
  return {
    certificate: authority?.certificate ?? null,
    async close() {
      if (resting !== null) clearTimeout(resting);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await Promise.all([closed, dispatcher.destroy()]);
    },
  };
}

const WHY: Record<EgressRefusal, string> = {
  no_rule: 'the record of this server allows no such host and port',
  target: 'the target must be a plain host name and a port',
  host_header: 'the Host header names another host than the target',
  method: 'the record of this server does not allow this method there',
  path: 'the record of this server does not allow this path there',
  override: 'a header would replace the method, host or path that was checked',
  upgrade: 'an upgrade cannot be read',
  framing: 'this is not HTTP/1.1 that can be read in one way only',
  not_tls: 'the tunnel does not begin with TLS',
  server_name: 'TLS names another host than the tunnel, or none that can be read',
  rate: 'too many connections or requests',
  address: 'the name leads to an address that this server may not reach',
};

const textOf = (why: EgressRefusal): string => `remit: refused (${why}): ${WHY[why]}\n`;
