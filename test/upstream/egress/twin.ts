/**
 * The same hostile server where nothing holds it: this runs in a network of its own that leads nowhere and in which every address it aims at is
 * this machine (the test makes it, see test/attacks/egress.test.ts), with traps on every port and a proxy that asks no questions. Prints what
 * came of each attempt, and what the traps got. Argument: as for hostile.ts.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { type Socket, connect, createServer, isIP } from 'node:net';
import { join } from 'node:path';
import { TLSSocket, createSecureContext } from 'node:tls';
import { selfSigned } from '../../support/certificate.ts';
import type { Aim } from './hostile.ts';

const aim = JSON.parse(process.argv[2] ?? '{}') as Aim;
const got: string[] = [];
const { cert, key } = selfSigned('anything');
const secureContext = createSecureContext({ cert, key });

function ip(...words: string[]): void {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
}
ip('link', 'set', 'lo', 'up');
for (const address of new Set([...aim.direct, '64:ff9b::7f00:1'])) {
  if (/^(?:127\.|::1$|fe80:)/.test(address)) continue;
  ip('addr', 'add', `${address}/${isIP(address) === 4 ? 32 : 128}`, 'dev', 'lo');
}

/** Takes anything, in TLS for any name or without, and thanks for it. */
function trap(socket: Socket): void {
  socket.on('error', () => {});
  socket.once('data', (first: Buffer) => {
    socket.pause();
    socket.unshift(first);
    const stream = first[0] === 22 ? new TLSSocket(socket, { isServer: true, secureContext }) : socket;
    stream.on('error', () => {});
    stream.once('data', (bytes: Buffer) => {
      got.push(bytes.toString('latin1'));
      const away = bytes.includes(`GET ${aim.awayPath}`);
      const head = away ? `302 Found\r\nLocation: http://127.0.0.1:${aim.trapPort}/${aim.secret}` : '200 OK';
      stream.end(`HTTP/1.1 ${head}\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwelcome`);
    });
    stream.resume();
  });
}
const listen = (port: number, take: (socket: Socket) => void): Promise<unknown> =>
  new Promise((resolve) => {
    const server = createServer(take).listen({ host: '::', port }, () => resolve(server));
  });
for (const port of new Set([aim.trapPort, aim.httpsPort, aim.httpPort, 443])) await listen(port, trap);
const udp = createSocket('udp6'); // takes IPv4, too
udp.on('message', (message, from) => {
  got.push(message.toString('latin1'));
  udp.send('answer', from.port, from.address);
});
await new Promise<void>((resolve) => udp.bind(aim.udpPort, resolve));

/** Connects wherever it is told to; every name is this machine. */
await listen(3128, (socket) => {
  socket.on('error', () => {});
  socket.once('data', (head: Buffer) => {
    const [method, target = ''] = head.toString('latin1').split(' ');
    const url = URL.parse(method === 'CONNECT' ? `http://${target}` : target);
    const name = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
    const port = Number(url?.port || /:(\d+)(?:\/|$)/.exec(target)?.[1] || aim.trapPort);
    const remote = connect({ host: isIP(name) === 0 ? '127.0.0.1' : name, port }, () => {
      if (method === 'CONNECT') socket.write('HTTP/1.1 200 OK\r\n\r\n');
      else remote.write(head);
      socket.pipe(remote).pipe(socket);
    });
    remote.on('error', () => socket.destroy());
  });
});

const proxy = 'http://127.0.0.1:3128';
const child = spawn(process.execPath, [join(import.meta.dirname, 'hostile.ts'), process.argv[2] ?? ''], {
  env: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: '127.0.0.1', NODE_USE_ENV_PROXY: '1' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
let out = '';
child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
child.once('close', () => {
  process.stdout.write(JSON.stringify({ found: JSON.parse(out) as unknown, got }));
  process.exit();
});
