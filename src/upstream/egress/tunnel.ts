/**
 * What was asked for by CONNECT: the first bytes decide. TLS for the host goes on as it is, or ends here where a rule wants it read; plain HTTP
 * only where a rule allows http; anything else ends. No connection to the other side exists before the first bytes are right.
 * Not seen: what is said inside of TLS that goes on as it is, and where the bytes go behind that host.
 */
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { isFault } from '../../lib/fault.ts';
import type { EgressAuthority } from './authority.ts';
import { MAX_HELLO, readClientHello } from './client-hello.ts';
import type { Reach } from './reach.ts';
import type { Destination, EgressRefusal, EgressRules } from './rules.ts';

export interface TunnelSetting {
  readonly rules: EgressRules;
  readonly authority: EgressAuthority | null;
  readonly reach: Reach;
  /** Longest time without a byte, ms. */
  readonly idleMs: number;
  /** Longest time for the first bytes, ms. */
  readonly openingMs: number;
  readonly refused: (to: Destination, why: EgressRefusal) => void;
  /** Requests on it are for this destination, and are read. */
  readonly serve: (stream: Duplex, to: Destination) => void;
}

/** RFC 8446 6: a fatal alert, in the clear because nothing was agreed yet. */
const alert = (description: number): Buffer => Buffer.from([21, 3, 3, 0, 2, 2, description]);
const UNRECOGNIZED_NAME = 112;
const INTERNAL_ERROR = 80;

/** `socket` has been told that it is connected. Never throws; owns the socket from here on. */
export async function openTunnel(socket: Duplex, host: string, port: number, setting: TunnelSetting): Promise<void> {
  const { rules, authority, reach, refused, serve } = setting;
  const tls = rules.tls(host, port);
  const opening = await openingOf(socket, setting.openingMs, tls !== null);
  if (opening === null) return void socket.destroy();
  const { bytes, hello } = opening;
  socket.unshift(bytes);

  if (hello === null && rules.plain(host, port)) {
    serve(socket, { scheme: 'http', host, port });
    return void socket.resume();
  }
  const to: Destination = { scheme: 'https', host, port };
  if (hello === null || hello.state !== 'hello' || hello.serverName.toLowerCase() !== host || tls === null) {
    const why = hello === null ? 'not_tls' : hello.state === 'refused' ? hello.why : 'server_name';
    refused(to, why);
    return void socket.end(why === 'not_tls' ? '' : alert(UNRECOGNIZED_NAME), () => socket.destroy());
  }
  if (tls === 'read' && authority !== null) {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: authority.contextFor(host),
      ALPNProtocols: ['http/1.1'],
    });
    secure.on('error', () => secure.destroy());
    return serve(secure, to);
  }
  try {
    const remote = await reach(host, port);
    // Longer than a look, because a quiet line is no broken one; shorter than for ever, because places are few.
    remote.setTimeout(setting.idleMs, () => remote.destroy());
    join(socket, remote);
  } catch (error) {
    if (isFault(error, 'egress_address')) refused(to, 'address');
    socket.end(alert(INTERNAL_ERROR), () => socket.destroy());
  }
}

/** Both ways with back-pressure; when one side is gone, so is the other. */
function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => from.destroy());
    from.once('close', () => to.destroy());
    from.pipe(to);
  }
  if (one.destroyed) other.destroy();
}

interface Opening {
  readonly bytes: Buffer;
  /** Null: the first byte is not TLS. */
  readonly hello: ReturnType<typeof readClientHello> | null;
}

/** Null: it ended or took too long before it could be told. The stream is paused after that, and what was read is not in it. */
function openingOf(socket: Duplex, timeoutMs: number, tls: boolean): Promise<Opening | null> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = (opening: Opening | null): void => {
      clearTimeout(timer);
      socket.off('data', take).off('end', gone).off('close', gone);
      socket.pause();
      resolve(opening);
    };
    const gone = (): void => settle(null);
    const take = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!tls || bytes[0] !== 22) return settle({ bytes, hello: null });
      const hello = readClientHello(bytes.subarray(0, MAX_HELLO));
      if (hello.state !== 'more') settle({ bytes, hello });
    };
    const timer = setTimeout(gone, timeoutMs);
    socket.on('error', () => socket.destroy());
    socket.on('data', take).once('end', gone).once('close', gone);
    socket.resume();
  });
}
