/**
 * Preload (`node --import`) for programs of others that listen on every interface by default: every TCP listen goes to 127.0.0.1.
 * A convenience for sample servers on the host's network, not a boundary: a hostile program can undo it.
 */
import net from 'node:net';

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function listenOnLoopback(this: net.Server, ...args: unknown[]): net.Server {
  const [first] = args;
  const callback = args.findLast((argument) => typeof argument === 'function');
  const isOptions = typeof first === 'object' && first !== null;
  // Without a port node takes any free one, on every interface.
  const port = isOptions ? (first as { port?: unknown }).port : typeof first === 'function' ? 0 : (first ?? 0);
  if (!/^\d+$/.test(String(port))) throw new Error('only TCP ports can be listened on here');
  return Reflect.apply(listen, this, [
    { ...(isOptions && first), port: Number(port), host: '127.0.0.1' },
    callback,
  ]) as net.Server;
} as typeof listen;
