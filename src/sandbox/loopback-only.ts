/**
 * Preload (`node --import`) for programs of others that listen on every interface by default: every TCP listen goes to 127.0.0.1.
 * A convenience for sample servers on the host's network, not a boundary: a hostile program can undo it.
 */
import net from 'node:net';

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function listenOnLoopback(this: net.Server, ...args: unknown[]): net.Server {
  const [first, ...rest] = args;
  const callback = rest.findLast((argument) => typeof argument === 'function');
  const isPort = typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first));
  const options = isPort
    ? { port: Number(first) }
    : typeof first === 'object' && first !== null && 'port' in first
      ? first
      : null;
  if (options === null) return Reflect.apply(listen, this, args) as net.Server;
  return Reflect.apply(listen, this, [{ ...options, host: '127.0.0.1' }, callback]) as net.Server;
} as typeof listen;
