/** The proxy of one sandbox, spoken to over its socket as a hostile server would; the oracle is what the other side received. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import {
  createServer as createHttp,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  startProxy,
  type EgressProxy,
  type ProxySetting,
  type RefusedEgress,
} from '../../../src/upstream/egress/proxy.ts';
import { selfSigned } from '../../support/certificate.ts';

const folder = mkdtempSync(join(tmpdir(), 'remit-proxy-'));
const path = join(folder, 's');
const HOST = 'api.example.test';
const certificate = selfSigned(HOST);

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
const received: Received[] = [];
/** TCP connections to the side that stands for the outside. */
let connections = 0;
let secure: Server;
let plain: Server;
let securePort = 0;
let plainPort = 0;
const refused: RefusedEgress[] = [];
let proxy: EgressProxy;
let names: Record<string, readonly string[]>;
const asked: string[] = [];

async function port(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.on('connection', () => connections++);
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
    request.on('end', () => {
      received.push({ method: request.method, url: request.url, headers: request.headers, body });
      if (request.url === '/v1/away') response.writeHead(302, { location: `http://127.0.0.1:${plainPort}/stolen` });
      response.end(`hello ${request.url}`);
    });
  };
  secure = createHttps({ cert: certificate.cert, key: certificate.key }, answer);
  plain = createHttp(answer);
  securePort = await port(secure);
  plainPort = await port(plain);
});
afterAll(async () => {
  for (const server of [secure, plain]) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  rmSync(folder, { recursive: true });
});

async function start(setting: Partial<ProxySetting> = {}): Promise<void> {
  proxy = await startProxy(path, {
    rules: [
      { scheme: 'https', host: HOST, port: securePort },
      { scheme: 'https', host: 'read.example.test', port: securePort, methods: ['GET', 'POST'], pathPrefix: '/v1' },
      { scheme: 'http', host: HOST, port: plainPort, methods: ['GET', 'POST'], pathPrefix: '/v1' },
    ],
    networks: ['127.0.0.1/32'],
    refused: (what) => void refused.push(what),
    resolve: (name) => {
      asked.push(name);
      const found = names[name];
      return found === undefined ? Promise.reject(new Error('ENOTFOUND')) : Promise.resolve(found);
    },
    extraCa: [certificate.cert],
    ...setting,
  });
}

beforeEach(() => {
  names = { [HOST]: ['127.0.0.1'], 'read.example.test': ['127.0.0.1'] };
  for (const list of [received, refused, asked]) list.length = 0;
  connections = 0;
});
afterEach(() => proxy.close());

/** Everything the proxy says to these bytes until it ends, or says enough. */
function raw(text: string | Buffer, enough: RegExp = /\n\r\n|remit: .*\n/): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write(text));
    let said = '';
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1');
      if (enough.test(said)) socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => resolve(said));
    socket.setTimeout(10_000, () => socket.destroy());
  });
}

/** A tunnel, or what was said instead. */
function tunnel(target: string, host = target): Promise<Socket | string> {
  return new Promise((resolve) => {
    const request = httpRequest({ socketPath: path, method: 'CONNECT', path: target, headers: { host } });
    request.once('connect', (response, socket: Socket, head: Buffer) => {
      if (response.statusCode === 200) return resolve(socket);
      let body = `${response.statusCode} ${head.toString()}`;
      socket.on('data', (chunk: Buffer) => (body += chunk.toString()));
      socket.once('close', () => resolve(body));
    });
    request.once('error', (error) => resolve(error.message));
    request.end();
  });
}

const opened = async (target: string): Promise<Socket> => {
  const socket = await tunnel(target);
  if (typeof socket === 'string') throw new Error(socket);
  return socket;
};

/** TLS in a tunnel; what went wrong if it did. */
function inside(
  socket: Socket,
  servername: string,
  ca: readonly string[],
  options: object = {},
): Promise<TLSSocket | string> {
  return new Promise((resolve) => {
    const secured = tlsConnect({ socket, servername, ca: [...ca], ...options }, () => resolve(secured));
    secured.once('error', (error) => resolve(error.message));
  });
}

const get = (target: string, host: string): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

function talk(stream: Socket, text: string): Promise<string> {
  return new Promise((resolve) => {
    let said = '';
    stream.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    stream.on('error', () => {});
    stream.once('close', () => resolve(said));
    stream.setTimeout(10_000, () => stream.destroy());
    stream.write(text);
  });
}

describe('a tunnel', () => {
  test('to an allowed host carries TLS for that host from end to end', async () => {
    await start();
    const stream = await inside(await opened(`${HOST}:${securePort}`), HOST, [certificate.cert]);
    expect(await talk(stream as TLSSocket, get('/anything', HOST))).toContain('hello /anything');
    expect(received).toMatchObject([{ method: 'GET', url: '/anything' }]);
    expect(refused).toEqual([]);
    expect(asked).toEqual([HOST]);
  });

  test.each([
    ['another host', () => `evil.example.test:${securePort}`, 'no_rule'],
    ['another port', () => `${HOST}:${plainPort + 1}`, 'no_rule'],
    ['a name below the host', () => `a.${HOST}:${securePort}`, 'no_rule'],
    ['localhost', () => `localhost:${securePort}`, 'no_rule'],
    ['an address', () => `127.0.0.1:${securePort}`, 'target'],
    ['an address as a number', () => `2130706433:${securePort}`, 'target'],
    ['an address in hex', () => `0x7f000001:${securePort}`, 'target'],
    ['an address in octal', () => `0177.0.0.1:${securePort}`, 'target'],
    ['an address of IPv6', () => `[::1]:${securePort}`, 'target'],
    ['a mapped address', () => `[::ffff:127.0.0.1]:${securePort}`, 'target'],
    ['the metadata address', () => '169.254.169.254:80', 'target'],
    ['the host with a dot at its end', () => `${HOST}.:${securePort}`, 'target'],
    ['user information', () => `${HOST}:443@127.0.0.1:${securePort}`, 'target'],
  ])('to %s is refused and nobody is asked for its address', async (_what, target, why) => {
    await start();
    expect(await tunnel(target())).toContain(`403 remit: refused (${why})`);
    expect(refused.at(-1)).toMatchObject({ why });
    expect([asked, received, connections]).toEqual([[], [], 0]);
  });

  test('whose Host header names another host is refused', async () => {
    await start();
    expect(await tunnel(`${HOST}:${securePort}`, 'evil.example.test')).toContain('403 remit: refused (host_header)');
    expect(refused).toEqual([{ scheme: 'https', host: HOST, port: securePort, why: 'host_header' }]);
  });

  test('with TLS for another host, or for none, does not leave', async () => {
    await start();
    for (const servername of ['evil.example.test', '', 'read.example.test']) {
      const stream = await inside(await opened(`${HOST}:${securePort}`), servername, [certificate.cert]);
      expect(stream, servername).toEqual(expect.stringMatching(/alert number 112|alert unrecognized name/i));
    }
    expect(refused.map(({ why }) => why)).toEqual(['server_name', 'server_name', 'server_name']);
    expect([received, connections]).toEqual([[], 0]);
  });

  test.each([
    ['HTTP', get('/x', HOST)],
    ['a secret', 'secret=hunter2\n'],
    ['SSH', 'SSH-2.0-x\r\n'],
    ['bytes that look like TLS', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ])('that begins with %s does not leave', async (_what, bytes) => {
    await start();
    const socket = await opened(`${HOST}:${securePort}`);
    await talk(socket, bytes as string);
    expect(refused).toEqual([{ scheme: 'https', host: HOST, port: securePort, why: 'not_tls' }]);
    expect(connections).toBe(0);
  });

  test('to a name that leads to a private address does not leave; one bad address is enough', async () => {
    await start({ networks: [] });
    for (const addresses of [
      ['127.0.0.1'],
      ['::ffff:127.0.0.1'],
      ['64:ff9b::7f00:1'],
      ['169.254.169.254'],
      ['fe80::1'],
      ['93.184.216.34', '10.0.0.1'],
    ]) {
      names[HOST] = addresses;
      expect(typeof (await inside(await opened(`${HOST}:${securePort}`), HOST, [certificate.cert]))).toBe('string');
      expect(refused.at(-1), addresses[0]).toEqual({ scheme: 'https', host: HOST, port: securePort, why: 'address' });
    }
    expect(connections).toBe(0);
  });

  test('says nothing for ever: it ends', async () => {
    await start({ limits: { openingMs: 50, idleMs: 60_000 } });
    const socket = await opened(`${HOST}:${securePort}`);
    await new Promise((resolve) => socket.once('close', resolve).resume());
    expect(connections).toBe(0);
  });

  test('on which nothing moves ends', async () => {
    await start({ limits: { idleMs: 150 } });
    const stream = await inside(await opened(`${HOST}:${securePort}`), HOST, [certificate.cert]);
    await new Promise((resolve) => (stream as TLSSocket).once('close', resolve).resume());
    expect(received).toEqual([]);
  });

  test('beyond the number of one process has no place', async () => {
    await start({ limits: { connections: 2 } });
    const held = [await opened(`${HOST}:${securePort}`), await opened(`${HOST}:${securePort}`)];
    expect(typeof (await tunnel(`${HOST}:${securePort}`))).toBe('string');
    for (const socket of held) socket.destroy();
  });
});

describe('TLS that ends at the gateway', () => {
  const READ = 'read.example.test';
  const readInside = async (): Promise<TLSSocket> => {
    const stream = await inside(await opened(`${READ}:${securePort}`), READ, [proxy.certificate ?? '']);
    if (typeof stream === 'string') throw new Error(stream);
    return stream;
  };
  // The outside shows a certificate for HOST only: what is read goes there by another name in these tests.
  const setting = (): Partial<ProxySetting> => ({
    rules: [{ scheme: 'https', host: HOST, port: securePort, methods: ['GET', 'POST'], pathPrefix: '/v1' }],
  });
  const readHost = async (): Promise<TLSSocket> => {
    const stream = await inside(await opened(`${HOST}:${securePort}`), HOST, [proxy.certificate ?? '']);
    if (typeof stream === 'string') throw new Error(stream);
    return stream;
  };

  test('shows a certificate of the authority of this process, and passes what is allowed', async () => {
    await start(setting());
    expect(proxy.certificate).toMatch(/^-----BEGIN CERTIFICATE/);
    expect(await talk(await readHost(), get('/v1/a?b=..%2f', `${HOST}:${securePort}`))).toContain(
      'hello /v1/a?b=..%2f',
    );
    expect(received).toMatchObject([
      { method: 'GET', url: '/v1/a?b=..%2f', headers: { host: `${HOST}:${securePort}` } },
    ]);
    expect(refused).toEqual([]);
  });

  test('sends a body on, written anew, without what belongs to one connection', async () => {
    await start(setting());
    const text =
      `POST /v1/x HTTP/1.1\r\nHost: ${HOST}:${securePort}\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n` +
      'Proxy-Authorization: secret\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: 1\r\n\r\n';
    expect(await talk(await readHost(), text)).toContain('hello /v1/x');
    expect(received).toMatchObject([{ method: 'POST', body: 'abcde', headers: { 'x-kept': '2' } }]);
    for (const name of ['x-hop', 'proxy-authorization', 'te', 'trailer'])
      expect(received[0]?.headers).not.toHaveProperty(name);
  });

  test('answers of the other side are checked: its certificate counts', async () => {
    await start({ ...setting(), extraCa: [] });
    expect(await talk(await readHost(), get('/v1/a', `${HOST}:${securePort}`))).toMatch(/^HTTP\/1.1 502 /);
    expect([received, refused]).toEqual([[], []]);
  });

  test.each([
    ['another path', 'GET', '/admin', {}, 'path'],
    ['dots', 'GET', '/v1/../admin', {}, 'path'],
    ['an encoded slash', 'GET', '/v1/..%2fadmin', {}, 'path'],
    ['another method', 'DELETE', '/v1/a', {}, 'method'],
    ['another host', 'GET', '/v1/a', { Host: 'evil.example.test' }, 'host_header'],
    ['the host without its port', 'GET', '/v1/a', { Host: HOST }, 'host_header'],
    ['a header for another method', 'POST', '/v1/a', { 'X-HTTP-Method-Override': 'DELETE' }, 'override'],
    ['a header for another path', 'GET', '/v1/a', { 'X-Original-URL': '/admin' }, 'override'],
    ['one that WSGI and PHP read as that', 'POST', '/v1/a', { X_HTTP_Method_Override: 'DELETE' }, 'override'],
    ['a second length for those', 'POST', '/v1/a', { Content_Length: '5' }, 'override'],
    ['a coding for those', 'POST', '/v1/a', { Transfer_Encoding: 'chunked' }, 'override'],
    ['an upgrade', 'GET', '/v1/a', { Upgrade: 'websocket', Connection: 'upgrade' }, 'upgrade'],
    ['an absolute target', 'GET', 'http://evil.example.test/v1/a', {}, 'target'],
    ['another transfer coding', 'POST', '/v1/a', { 'Transfer-Encoding': 'gzip, chunked' }, 'framing'],
  ] as const)('refuses %s', async (_what, method, target, headers, why) => {
    await start(setting());
    const lines = Object.entries({ Host: `${HOST}:${securePort}`, ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    const said = await talk(await readHost(), `${method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    expect(said).toMatch(/^HTTP\/1.1 403 Forbidden/);
    expect(said).toContain(`remit: refused (${why})`);
    expect(refused).toEqual([{ scheme: 'https', host: HOST, port: securePort, why }]);
    expect([received, connections]).toEqual([[], 0]);
  });

  test.each([
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc'],
    [
      'a length and chunks',
      'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n',
    ],
    ['a folded header', 'X-A: b\r\n c: d\r\n\r\n'],
    ['a space before the colon', 'X-A : b\r\n\r\n'],
    ['a bare newline', 'X-A: b\nX-B: c\r\n\r\n'],
  ])('does not pass on %s', async (_what, rest) => {
    await start(setting());
    await talk(await readHost(), `POST /v1/a HTTP/1.1\r\nHost: ${HOST}:${securePort}\r\n${rest}`);
    expect(received.filter(({ url }) => url !== '/v1/a')).toEqual([]);
    expect(received.length + refused.length).toBeLessThanOrEqual(1);
  });

  test('two Host headers are none', async () => {
    await start(setting());
    const said = await talk(
      await readHost(),
      `GET /v1/a HTTP/1.1\r\nHost: ${HOST}:${securePort}\r\nHost: evil.test\r\nConnection: close\r\n\r\n`,
    );
    expect(said).toMatch(/^HTTP\/1.1 40[03] /);
    expect(received).toEqual([]);
  });

  test('hands a redirect back, and where it leads is asked for and refused like anything else', async () => {
    await start(setting());
    const said = await talk(await readHost(), get('/v1/away', `${HOST}:${securePort}`));
    expect(said).toMatch(/^HTTP\/1.1 302 /);
    expect(received.map(({ url }) => url)).toEqual(['/v1/away']);
    expect(
      await raw(`GET http://127.0.0.1:${plainPort}/stolen HTTP/1.1\r\nHost: 127.0.0.1:${plainPort}\r\n\r\n`),
    ).toContain('403');
    expect(received.map(({ url }) => url)).toEqual(['/v1/away']);
  });

  test('a name that leads elsewhere for the second connection does not leave', async () => {
    await start({ ...setting(), networks: ['127.0.0.1/32'] });
    expect(await talk(await readHost(), get('/v1/a', `${HOST}:${securePort}`))).toContain('hello');
    names[HOST] = ['127.0.0.2'];
    secure.closeAllConnections();
    await expect
      .poll(async () => talk(await readHost(), get('/v1/b', `${HOST}:${securePort}`)), { timeout: 30_000 })
      .toContain('refused (address)');
    expect(received.map(({ url }) => url)).toEqual(['/v1/a']);
  });

  test('a second tunnel inside of the first is refused', async () => {
    await start(setting());
    const said = await talk(
      await readHost(),
      `CONNECT ${HOST}:${securePort} HTTP/1.1\r\nHost: ${HOST}:${securePort}\r\n\r\n`,
    );
    expect(said).toMatch(/^HTTP\/1.1 403 /);
    expect(connections).toBe(0);
  });

  test('does not happen for a client that speaks no HTTP/1.1', async () => {
    await start();
    const stream = await inside(await opened(`${READ}:${securePort}`), READ, [proxy.certificate ?? ''], {
      ALPNProtocols: ['h2'],
    });
    expect(stream).toEqual(expect.stringMatching(/no application protocol/i));
    expect(await talk(await readInside(), get('/x', READ))).toContain('403');
  });
});

describe('plain http', () => {
  const ask = (target: string, host: string, method = 'GET'): Promise<string> =>
    raw(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, /never/);

  test('passes where a rule says http, asked for as to a proxy and in a tunnel', async () => {
    await start();
    const host = `${HOST}:${plainPort}`;
    expect(await ask(`http://${host}/v1/a`, host)).toContain('hello /v1/a');
    expect(await talk(await opened(host), get('/v1/b', host))).toContain('hello /v1/b');
    expect(received.map(({ url }) => url)).toEqual(['/v1/a', '/v1/b']);
    expect(refused).toEqual([]);
  });

  test('is refused elsewhere, in every form', async () => {
    await start();
    const host = `${HOST}:${plainPort}`;
    const cases: ReadonlyArray<readonly [target: string, host: string, why: string]> = [
      [`http://${HOST}:${plainPort + 1}/v1/a`, `${HOST}:${plainPort + 1}`, 'no_rule'],
      [`http://127.0.0.1:${plainPort}/v1/a`, `127.0.0.1:${plainPort}`, 'target'],
      [`http://2130706433:${plainPort}/v1/a`, host, 'target'],
      [`http://${host}/v1/a`, 'evil.example.test', 'host_header'],
      [`http://${host}/admin`, host, 'path'],
      [`http://u:p@${host}/v1/a`, host, 'target'],
      [`https://${HOST}:${securePort}/v1/a`, `${HOST}:${securePort}`, 'target'],
      ['/v1/a', host, 'target'],
    ];
    for (const [target, named, why] of cases) {
      expect(await ask(target, named), target).toContain(`refused (${why})`);
      expect(refused.at(-1)).toMatchObject({ why });
    }
    expect(await talk(await opened(host), get('/admin', host))).toContain('refused (path)');
    expect([received, connections]).toEqual([[], 0]);
  });

  test('that is no HTTP is reported and ends', async () => {
    await start();
    await raw('secret=hunter2\r\n\r\n', /never/);
    expect(refused).toEqual([{ scheme: 'http', host: null, port: null, why: 'framing' }]);
  });
});

test('who asks too often is not listened to for a while, once told, and then is', async () => {
  await start({ limits: { perSecond: 20, restMs: 1_500 } });
  const host = `${HOST}:${plainPort}`;
  const flood = (): Promise<string[]> =>
    Promise.all(Array.from({ length: 60 }, () => raw(`GET http://${host}/admin HTTP/1.1\r\nHost: ${host}\r\n\r\n`)));
  const told = (why: string): number => refused.filter((one) => one.why === why).length;
  await flood();
  expect(told('rate')).toBe(1);
  expect(told('path')).toBeLessThan(60);
  const allowed = `GET http://${host}/v1/a HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  await expect.poll(() => raw(allowed, /never/), { timeout: 30_000, interval: 100 }).toContain('hello /v1/a');
});

test('the socket may be used by any user who can reach it, and is gone with the proxy', async () => {
  await start();
  expect(statSync(path).mode & 0o777).toBe(0o666);
  await proxy.close();
  expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
});
