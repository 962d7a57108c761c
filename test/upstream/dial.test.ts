import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, LookupFunction } from 'node:net';
import { isIP } from 'node:net';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { isFault } from '../../src/lib/fault.ts';
import {
  DialFault,
  dialUrl,
  guardedDispatcher,
  guardedJson,
  guardedRequest,
  type DialRule,
  type ResolveName,
} from '../../src/upstream/dial.ts';
import { selfSigned } from '../support/certificate.ts';

const SERVER = '127.0.0.2'; // stands for a host that may be reached
const ALLOW_SERVER: DialRule = { allowedNetworks: [`${SERVER}/32`], requireHttps: true };
const PUBLIC_ONLY: DialRule = { allowedNetworks: [], requireHttps: false };

const servers: Server[] = [];
let trapHits = 0;
let trapPort = 0;

async function listen(host: string, handler: RequestListener, tls?: { cert: string; key: string }): Promise<number> {
  const server = tls ? createTlsServer(tls, handler) : createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  trapPort = await listen('127.0.0.1', (_request, response) => response.end('{"trap":true}'));
  servers[0]?.on('connection', () => trapHits++);
});
beforeEach(() => void (trapHits = 0));
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function faultOf(work: Promise<unknown>): Promise<DialFault> {
  const error: unknown = await work.then(
    () => expect.unreachable('was not refused'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof DialFault)) throw error;
  return error;
}

/** A DNS zone in the attacker's hands. */
const ZONE: Record<string, readonly string[]> = {
  'loopback.example': ['127.0.0.1'],
  'private.example': ['10.1.2.3'],
  'metadata.example': ['169.254.169.254'],
  'mixed.example': ['1.1.1.1', '127.0.0.1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'nat64.example': ['64:ff9b::7f00:1'],
  'six.example': ['::1'],
  'zoned.example': ['fe80::1%lo'],
  'nonsense.example': ['127.1'],
  'localhost.': ['127.0.0.1'],
  localhost: ['127.0.0.1'],
  'empty.example': [],
};
const resolveZone: ResolveName = async (name) => {
  const answer = ZONE[name];
  if (answer === undefined) throw new Error('ENOTFOUND');
  return answer;
};

/** `hits`: with plain undici this row reaches the trap on loopback, so the twin below must count it. */
const REFUSED: readonly (readonly [url: string, code: string, hits?: 'hits'])[] = [
  // One address, many spellings
  ['http://127.0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://127.1:PORT/', 'dial_address', 'hits'],
  ['http://127.0.1:PORT/', 'dial_address', 'hits'],
  ['http://2130706433:PORT/', 'dial_address', 'hits'],
  ['http://0x7f000001:PORT/', 'dial_address', 'hits'],
  ['http://0x7f.1:PORT/', 'dial_address', 'hits'],
  ['http://0x7F.0x0.0x0.0x1:PORT/', 'dial_address', 'hits'],
  ['http://0177.0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://017700000001:PORT/', 'dial_address', 'hits'],
  ['http://0177.0x0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://127.0.0.1.:PORT/', 'dial_address', 'hits'],
  ['http://%31%32%37.0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://127。0。0。1:PORT/', 'dial_address', 'hits'],
  ['http://127.0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://①②⑦.⓪.⓪.①:PORT/', 'dial_address', 'hits'],
  ['HTTP://127.0.0.1:PORT/', 'dial_address', 'hits'],
  ['http://0.0.0.0:PORT/', 'dial_address', 'hits'],
  ['http://0:PORT/', 'dial_address', 'hits'],
  ['http://[::ffff:127.0.0.1]:PORT/', 'dial_address', 'hits'],
  ['http://[::ffff:7f00:1]:PORT/', 'dial_address', 'hits'],
  ['http://[0:0:0:0:0:ffff:7f00:0001]:PORT/', 'dial_address', 'hits'],
  ['http://localhost:PORT/', 'dial_address', 'hits'],
  ['http://LOCALHOST:PORT/', 'dial_address', 'hits'],
  ['http://localhost.:PORT/', 'dial_address', 'hits'],
  // Names that lead inside
  ['http://loopback.example:PORT/', 'dial_address', 'hits'],
  ['https://loopback.example:PORT/', 'dial_address', 'hits'],
  ['http://mapped.example:PORT/', 'dial_address', 'hits'],
  ['http://mixed.example:PORT/', 'dial_address'],
  ['http://private.example/', 'dial_address'],
  ['http://metadata.example/latest/meta-data/', 'dial_address'],
  ['http://nat64.example/', 'dial_address'],
  ['http://six.example:PORT/', 'dial_address'],
  ['http://zoned.example/', 'dial_address'],
  ['http://nonsense.example/', 'dial_address'],
  ['http://empty.example/', 'dial_failed'],
  ['http://unknown.example/', 'dial_failed'],
  // Userinfo and parser confusion
  ['http://public.example@127.0.0.1:PORT/', 'dial_userinfo', 'hits'],
  ['http://user:secret@127.0.0.1:PORT/', 'dial_userinfo', 'hits'],
  ['http://@127.0.0.1:PORT/', 'dial_userinfo', 'hits'],
  ['http://127.0.0.1:PORT\\@public.example/', 'dial_scheme', 'hits'],
  ['http:\\\\127.0.0.1:PORT/', 'dial_scheme', 'hits'],
  ['http:///127.0.0.1:PORT/', 'dial_scheme', 'hits'],
  ['http:127.0.0.1:PORT/', 'dial_scheme', 'hits'],
  ['ht\ttp://127.0.0.1:PORT/', 'dial_scheme', 'hits'],
  ['http://127.0.\n0.1:PORT/', 'dial_scheme', 'hits'],
  [' http://127.0.0.1:PORT/', 'dial_scheme', 'hits'],
  // Other schemes
  ['file:///etc/passwd', 'dial_scheme'],
  ['ftp://127.0.0.1:PORT/', 'dial_scheme'],
  ['gopher://127.0.0.1:PORT/_x', 'dial_scheme'],
  ['data:application/json,{}', 'dial_scheme'],
  ['javascript:1', 'dial_scheme'],
  ['ws://127.0.0.1:PORT/', 'dial_scheme'],
  ['blob:http://127.0.0.1:PORT/x', 'dial_scheme'],
  ['unix:/run/docker.sock', 'dial_scheme'],
  ['//127.0.0.1:PORT/', 'dial_scheme'],
  ['/relative', 'dial_scheme'],
  ['', 'dial_scheme'],
  // Special-purpose space, literally
  ['http://169.254.169.254/latest/meta-data/', 'dial_address'],
  ['http://0xA9FEA9FE/', 'dial_address'],
  ['http://168.63.129.16/', 'dial_address'],
  ['http://100.100.100.200/', 'dial_address'],
  ['http://192.0.0.192/', 'dial_address'],
  ['http://10.0.0.1/', 'dial_address'],
  ['http://172.16.0.1/', 'dial_address'],
  ['http://172.31.255.255/', 'dial_address'],
  ['http://192.168.1.1/', 'dial_address'],
  ['http://198.19.0.1/', 'dial_address'],
  ['http://192.0.2.1/', 'dial_address'],
  ['http://224.0.0.1/', 'dial_address'],
  ['http://255.255.255.255/', 'dial_address'],
  ['http://[::]/', 'dial_address'],
  ['http://[::1]:PORT/', 'dial_address'],
  ['http://[::127.0.0.1]/', 'dial_address'],
  ['http://[64:ff9b::169.254.169.254]/', 'dial_address'],
  ['http://[64:ff9b:1::1]/', 'dial_address'],
  ['http://[2002:7f00:1::]/', 'dial_address'],
  ['http://[2001:0:7f00:1::]/', 'dial_address'],
  ['http://[2001:db8::1]/', 'dial_address'],
  ['http://[3fff::1]/', 'dial_address'],
  ['http://[fe80::1]/', 'dial_address'],
  ['http://[fec0::1]/', 'dial_address'],
  ['http://[fc00::1]/', 'dial_address'],
  ['http://[fd00:ec2::254]/', 'dial_address'],
  ['http://[ff02::1]/', 'dial_address'],
  ['http://[100::1]/', 'dial_address'],
  ['http://[5f00::1]/', 'dial_address'],
];
const ROWS = REFUSED.map(([url, code]) => [url, code] as const);
const HITTING = REFUSED.filter(([, , hits]) => hits).map(([url]) => url);
const withPort = (url: string): string => url.replace('PORT', String(trapPort));

/** What one has without the dialler: undici, which resolves for itself and connects to any answer. */
function unguarded(resolve: ResolveName): Agent {
  const lookup: LookupFunction = (name, options, done) => {
    const answer = async (): Promise<void> => {
      const [first = ''] = await resolve(name);
      if (options.all) done(null, [{ address: first, family: isIP(first) }]);
      else done(null, first, isIP(first));
    };
    void answer();
  };
  return new Agent({ connect: { lookup } });
}

describe('AN-15: URLs that a peer names', () => {
  test.each(ROWS)('AN-15: refuses %j with %s', async (url, code) => {
    const fault = await faultOf(guardedRequest(withPort(url), { rule: PUBLIC_ONLY, resolve: resolveZone }));
    expect(fault.code).toBe(code);
    expect(fault.message).not.toBe('');
    expect(trapHits).toBe(0);
  });

  test('AN-15: the table is long enough to mean something', () => {
    expect(ROWS.length).toBeGreaterThanOrEqual(60);
    expect(HITTING.length).toBeGreaterThanOrEqual(30);
  });

  // Vulnerable twin: the same rows, the same resolver, no guard.
  test.each(HITTING)('AN-15 twin: plain undici lands %j in the trap', async (url) => {
    const dispatcher = unguarded(resolveZone);
    try {
      // A URL object, as a program has it after parsing what the peer sent; a TLS row fails after it has connected.
      await request(new URL(withPort(url)), { dispatcher }).then(
        ({ body }) => body.dump(),
        () => {},
      );
    } finally {
      await dispatcher.destroy();
    }
    expect(trapHits).toBe(1);
  });
});

describe('AN-15: rebinding names', () => {
  /** First answer: the host that may be reached. Every later answer: the trap. */
  const rebinding = (): { resolve: ResolveName; asked: () => number } => {
    let asked = 0;
    return { resolve: async () => [asked++ === 0 ? SERVER : '127.0.0.1'], asked: () => asked };
  };

  test('AN-15: connects to the address that was checked, and asks for it once', async () => {
    const seen: string[] = [];
    const port = await listen(SERVER, (incoming, response) => {
      seen.push(incoming.headers.host ?? '');
      response.end('ok');
    });
    const { resolve, asked } = rebinding();
    const answer = await guardedRequest(`http://rebind.example:${port}/`, { rule: ALLOW_SERVER, resolve });
    expect(Buffer.from(answer.body).toString()).toBe('ok');
    expect({ seen, asked: asked(), trapHits }).toEqual({ seen: [`rebind.example:${port}`], asked: 1, trapHits: 0 });
  });

  test('AN-15: the second connection is checked again and refused', async () => {
    const { resolve } = rebinding();
    await faultOf(guardedRequest(`http://rebind.example:${trapPort}/`, { rule: ALLOW_SERVER, resolve })); // nobody listens
    const fault = await faultOf(guardedRequest(`http://rebind.example:${trapPort}/`, { rule: ALLOW_SERVER, resolve }));
    expect(fault.code).toBe('dial_address');
    expect(fault.message).toBe(
      'rebind.example (127.0.0.1) is not a public address; list its network in the allowed networks if it may be reached',
    );
    expect(trapHits).toBe(0);
  });

  test('AN-15 twin: check first, then let undici resolve again: the trap is hit', async () => {
    const { resolve } = rebinding();
    expect(await resolve('rebind.example')).toEqual([SERVER]); // "checked"
    const dispatcher = unguarded(resolve);
    await (await request(`http://rebind.example:${trapPort}/`, { dispatcher })).body.dump();
    await dispatcher.destroy();
    expect(trapHits).toBe(1);
  });
});

describe('redirects', () => {
  const redirectTo = (location: string, status = 302): Promise<number> =>
    listen(SERVER, (incoming, response) => {
      if (incoming.url === '/end') response.end(JSON.stringify(incoming.headers));
      else response.writeHead(status, { location }).end();
    });

  test('refuses every redirect by default', async () => {
    const port = await redirectTo('/end');
    const fault = await faultOf(guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER }));
    expect([fault.code, fault.message]).toEqual([
      'dial_redirect',
      `${SERVER}:${port} answered with a redirect, which is not followed`,
    ]);
  });

  test.each([
    ['http://127.0.0.1:PORT/', 'dial_address'],
    ['http://0x7f.1:PORT/', 'dial_address'],
    ['//localhost:PORT/', 'dial_address'],
    ['http://user@127.0.0.1:PORT/', 'dial_userinfo'],
    ['http://169.254.169.254/latest/', 'dial_address'],
    ['file:///etc/passwd', 'dial_scheme'],
    ['http://[', 'dial_redirect'],
  ])('AN-15: a redirect to %s is checked like the first URL', async (location, code) => {
    const port = await redirectTo(withPort(location));
    const fault = await faultOf(
      guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER, maxRedirects: 3, resolve: resolveZone }),
    );
    expect(fault.code).toBe(code);
    expect(trapHits).toBe(0);
  });

  test('AN-15 twin: a client that follows by itself lands in the trap', async () => {
    const port = await redirectTo(`http://127.0.0.1:${trapPort}/`);
    await (await fetch(`http://${SERVER}:${port}/`)).text();
    expect(trapHits).toBe(1);
  });

  test('follows within one origin when asked, and keeps the headers', async () => {
    const port = await redirectTo('/end');
    const answer = await guardedRequest(`http://${SERVER}:${port}/`, {
      rule: ALLOW_SERVER,
      maxRedirects: 1,
      headers: { Authorization: 'Bearer canary' },
    });
    expect(answer.url).toBe(`http://${SERVER}:${port}/end`);
    expect(JSON.parse(Buffer.from(answer.body).toString())).toMatchObject({ authorization: 'Bearer canary' });
  });

  test('drops everything but Accept and User-Agent across origins', async () => {
    const end = await redirectTo('/end');
    const port = await redirectTo(`http://${SERVER}:${end}/end`, 307);
    const answer = await guardedRequest(`http://${SERVER}:${port}/`, {
      rule: ALLOW_SERVER,
      maxRedirects: 1,
      headers: { authorization: 'Bearer canary', cookie: 'a=canary', 'x-api-key': 'canary', accept: 'text/plain' },
    });
    const received = JSON.parse(Buffer.from(answer.body).toString()) as Record<string, string>;
    expect(received).toMatchObject({ accept: 'text/plain' });
    expect(JSON.stringify(received)).not.toContain('canary');
  });

  test('stops after the number of redirects that was asked for', async () => {
    const port = await redirectTo('/again');
    const fault = await faultOf(guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER, maxRedirects: 3 }));
    expect(fault.code).toBe('dial_redirect');
  });

  test('never goes from https back to http, not even where plain http is allowed', async () => {
    const tls = selfSigned('server.example');
    const end = await redirectTo('/end');
    const location = `http://${SERVER}:${end}/end`;
    const port = await listen(SERVER, (_incoming, response) => response.writeHead(302, { location }).end(), tls);
    const fault = await faultOf(
      guardedRequest(`https://server.example:${port}/`, {
        rule: { ...ALLOW_SERVER, extraCa: [tls.cert] },
        maxRedirects: 1,
        resolve: async () => [SERVER],
      }),
    );
    expect([fault.code, fault.message]).toEqual([
      'dial_redirect',
      `server.example:${port} redirected from https to http`,
    ]);
  });

  test('never sends a POST twice', async () => {
    const port = await redirectTo('/end', 307);
    const fault = await faultOf(
      guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER, maxRedirects: 3, method: 'POST', body: 'x' }),
    );
    expect([fault.code, fault.message]).toEqual([
      'dial_redirect',
      `${SERVER}:${port} redirected a POST, which is never sent twice`,
    ]);
  });
});

describe('bounds', () => {
  test('refuses a body over the limit, announced or not, and takes one exactly at it', async () => {
    const port = await listen(SERVER, (incoming, response) => {
      response.write('x'.repeat(600));
      response.end('x'.repeat(incoming.url === '/fits' ? 400 : 401));
    });
    const options = { rule: ALLOW_SERVER, maxBytes: 1000 };
    expect((await guardedRequest(`http://${SERVER}:${port}/fits`, options)).body.length).toBe(1000);
    const fault = await faultOf(guardedRequest(`http://${SERVER}:${port}/`, options));
    expect([fault.code, fault.message]).toEqual(['dial_too_large', `${SERVER}:${port} sent more than 1000 bytes`]);
  });

  test.each(['no headers', 'no body'])('gives up on a server that sends %s', async (kind) => {
    const port = await listen(SERVER, (_incoming, response) => void (kind === 'no body' && response.write('x')));
    const fault = await faultOf(guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER, timeoutMs: 100 }));
    expect([fault.code, fault.message]).toEqual(['dial_timeout', `${SERVER}:${port} did not answer within 100 ms`]);
  });

  test('gives up on a name server that never answers', async () => {
    const resolve: ResolveName = () => new Promise(() => {});
    const fault = await faultOf(guardedRequest('http://slow.example/', { rule: PUBLIC_ONLY, timeoutMs: 100, resolve }));
    expect(fault.code).toBe('dial_timeout');
  });

  test('stops when the caller goes away', async () => {
    const caller = new AbortController();
    const port = await listen(SERVER, () => caller.abort());
    const fault = await faultOf(
      guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER, signal: caller.signal }),
    );
    expect(fault.code).toBe('dial_failed');
  });
});

describe('transport', () => {
  test('plain http to a public address is refused when https is required', async () => {
    const fault = await faultOf(
      guardedRequest('http://public.example/', { rule: ALLOW_SERVER, resolve: async () => ['1.1.1.1'] }),
    );
    expect([fault.code, fault.message]).toEqual([
      'dial_scheme',
      'public.example (1.1.1.1) must be reached by https; plain http is only for allowed networks',
    ]);
  });

  test('verifies TLS against the name of the URL, whatever the environment says', async () => {
    const tls = selfSigned('server.example');
    const port = await listen(SERVER, (_incoming, response) => response.end('ok'), tls);
    const resolve: ResolveName = async () => [SERVER];
    const trusted = { ...ALLOW_SERVER, extraCa: [tls.cert] };

    const good = await guardedRequest(`https://server.example:${port}/`, { rule: trusted, resolve });
    expect(good.status).toBe(200);

    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    try {
      const otherName = await faultOf(guardedRequest(`https://other.example:${port}/`, { rule: trusted, resolve }));
      expect(otherName).toMatchObject({ code: 'dial_failed', cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } });
      const unknownCa = await faultOf(
        guardedRequest(`https://server.example:${port}/`, { rule: ALLOW_SERVER, resolve }),
      );
      expect(unknownCa).toMatchObject({ code: 'dial_failed', cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('ignores proxies from the environment', async () => {
    const port = await listen(SERVER, (_incoming, response) => response.end('direct'));
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) vi.stubEnv(name, `http://127.0.0.1:${trapPort}`);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    try {
      const answer = await guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER });
      expect(Buffer.from(answer.body).toString()).toBe('direct');
      expect(trapHits).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('keeps no cookies', async () => {
    const cookies: (string | undefined)[] = [];
    const port = await listen(SERVER, (incoming, response) => {
      cookies.push(incoming.headers.cookie);
      response.setHeader('set-cookie', 'a=b').end();
    });
    for (let i = 0; i < 2; i++) await guardedRequest(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER });
    expect(cookies).toEqual([undefined, undefined]);
  });

  test('a dispatcher for many requests refuses with the fault itself, and reuses connections', async () => {
    let connections = 0;
    const port = await listen(SERVER, (_incoming, response) => response.end('ok'));
    servers.at(-1)?.on('connection', () => connections++);
    const dispatcher = guardedDispatcher(ALLOW_SERVER, { agent: { connections: 1 } });
    try {
      for (let i = 0; i < 3; i++) {
        const { body } = await dispatcher.request({ origin: `http://${SERVER}:${port}`, path: '/', method: 'GET' });
        expect(await body.text()).toBe('ok');
      }
      const refused = dispatcher.request({ origin: `http://127.0.0.1:${trapPort}`, path: '/', method: 'GET' });
      expect((await faultOf(refused)).code).toBe('dial_address');
      expect({ connections, trapHits }).toEqual({ connections: 1, trapHits: 0 });
    } finally {
      await dispatcher.destroy();
    }
  });

  test.each(['10.0.0.0', '10.0.0.0/33', '10.0.0/8', 'localhost/8', '::1/129', '/8', '10.0.0.0/08', '10.0.0.0/8 '])(
    'a rule with the network %j is refused as a whole',
    (network) => {
      expect(() => guardedDispatcher({ allowedNetworks: [network], requireHttps: true })).toThrow(
        `"${network}" is not a network; write it as address/prefix, for example 10.20.0.0/16`,
      );
    },
  );

  test('an allowed IPv4 network does not admit the mapped IPv6 spelling', async () => {
    const rule = { allowedNetworks: ['127.0.0.0/8'], requireHttps: true };
    const fault = await faultOf(guardedRequest(`http://[::ffff:127.0.0.1]:${trapPort}/`, { rule }));
    expect(fault.code).toBe('dial_address');
    expect((await guardedRequest(`http://127.0.0.1:${trapPort}/`, { rule })).status).toBe(200);
  });

  test('public addresses pass the URL check', () => {
    expect(dialUrl('https://example.com/a?b#c').href).toBe('https://example.com/a?b#c');
    expect(isFault(new DialFault('dial_failed', 'x'), 'dial_failed')).toBe(true);
  });
});

describe('guardedJson', () => {
  const serve = (status: number, type: string | undefined, body: string, more: Record<string, string> = {}) =>
    listen(SERVER, (_incoming, response) => {
      response.writeHead(status, { ...(type !== undefined && { 'content-type': type }), ...more }).end(body);
    });

  test.each(['application/json', 'application/json; charset=utf-8', 'application/jwk-set+json'])(
    'reads a document of type %s',
    async (type) => {
      const port = await serve(200, type, '{"keys":[]}');
      expect(await guardedJson(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER })).toEqual({ keys: [] });
    },
  );

  test.each([
    [404, 'application/json', '{}', {}, 'dial_status'],
    [204, 'application/json', '', {}, 'dial_status'],
    [200, undefined, '{}', {}, 'dial_media_type'],
    [200, 'text/html', '{}', {}, 'dial_media_type'],
    [200, 'application/jsonp', '{}', {}, 'dial_media_type'],
    [200, 'application/json', '{}', { 'content-encoding': 'gzip' }, 'dial_media_type'],
    [200, 'application/json', '{"a":', {}, 'dial_not_json'],
    [200, 'application/json', '', {}, 'dial_not_json'],
    [200, 'application/json', '{"issuer":"a","issuer":"b"}', {}, 'dial_not_json'],
  ] as const)('refuses status %s, type %s, body %j, headers %j: %s', async (status, type, body, more, code) => {
    const port = await serve(status, type, body, more);
    const fault = await faultOf(guardedJson(`http://${SERVER}:${port}/`, { rule: ALLOW_SERVER }));
    expect(fault.code).toBe(code);
    expect(fault.status).toBe(code === 'dial_status' ? status : undefined);
  });
});
