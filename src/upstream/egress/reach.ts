/**
 * From an allowed name to a TCP connection: the name is resolved here, once; every address is checked as the guarded dialler checks it
 * (addresses.ts), one bad address spoils the name, and the connection goes to exactly what was checked.
 * For tunnels only: whatever is read goes by dial.ts.
 */
import { lookup } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { Fault } from '../../lib/fault.ts';
import { addressClassifier } from '../addresses.ts';
import type { ResolveName } from '../dial.ts';

export type ReachFaultCode =
  | 'egress_address' // the name leads where a server may not go
  | 'egress_unreachable'; // no such name, or nobody answers

export type Reach = (host: string, port: number) => Promise<Socket>;

export const resolveBySystem: ResolveName = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

/**
 * One name at a time, and one name once for all who ask while it is looked up.
 * ATTACKER-CONTROLLED: how slowly the name servers of an allowed host answer. The system's lookups wait in a queue with few places that the
 * whole process shares, so that a server that asks for many slow names would keep the gateway from every name of its own.
 */
export function inTurn(resolve: ResolveName): ResolveName {
  const asked = new Map<string, Promise<readonly string[]>>();
  let last: Promise<unknown> = Promise.resolve();
  return (name) => {
    const known = asked.get(name);
    if (known !== undefined) return known;
    const mine = last.then(() => resolve(name)).finally(() => asked.delete(name));
    last = mine.catch(() => undefined);
    asked.set(name, mine);
    return mine;
  };
}

/** Tried of one name. */
const ADDRESSES = 4;

/**
 * The socket is paused in nothing and belongs to the caller.
 * @throws Fault `dial_rule` at once; the function it returns rejects with a `ReachFaultCode`.
 */
export function checkedReach(networks: readonly string[], timeoutMs: number, resolve = resolveBySystem): Reach {
  const kindOf = addressClassifier(networks);
  return async (host, port) => {
    const addresses = await resolve(host).catch((cause: unknown) => {
      throw new Fault<ReachFaultCode>('egress_unreachable', `the name ${host} does not resolve`, { cause });
    });
    if (addresses.some((address) => kindOf(address) === 'special'))
      throw new Fault<ReachFaultCode>(
        'egress_address',
        `${host} leads to an address that is not public; list its network in egressNetworks if it may be reached`,
      );
    let cause: unknown;
    for (const address of addresses.slice(0, ADDRESSES)) {
      try {
        return await opened(address, port, timeoutMs);
      } catch (error) {
        cause = error;
      }
    }
    throw new Fault<ReachFaultCode>('egress_unreachable', `${host} does not answer on port ${port}`, { cause });
  };
}

/** `host` is an address: node asks nobody. */
function opened(host: string, port: number, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error('timed out')), timeoutMs);
    socket
      .once('connect', () => {
        clearTimeout(timer);
        socket.removeAllListeners('error');
        resolve(socket);
      })
      .once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
  });
}
