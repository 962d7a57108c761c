/** Signing in with the real authorization server, a scripted browser, and the real admin plane. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAuthServer, type RunningAuthServer } from '../../src/authserver/server.ts';
import { credentialsFile, readCredentials, writeCredentials } from '../../src/cli/credentials.ts';
import { startPlane, type Plane } from '../admin/plane.ts';
import { browser, cookieJar, signInAndConsent, type Page } from '../support/browser.ts';
import { STRICT_SIGN_IN } from '../support/sign-in.ts';
import { remit, type Ran } from './remit.ts';

let plane: Plane;
let auth: RunningAuthServer;
let user: { readonly username: string; readonly password: string; readonly sub: string };
let dir: string;
/** How far the admin plane's clock is ahead: how long ago everybody signed in. */
let aheadMs = 0;
let env: { readonly XDG_CONFIG_HOME: string };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'remit-login-'));
  env = { XDG_CONFIG_HOME: join(dir, 'config') };
  const port = await freePort();
  auth = await startAuthServer(
    {
      issuer: 'http://127.0.0.1:0',
      listen: { host: '127.0.0.1', port: 0 },
      dataDir: join(dir, 'auth'),
      trustedGateways: [{ origin: `http://127.0.0.1:${port}` }],
      evaluationUsers: true,
      requestsPerMinute: 100_000,
    },
    { log: pino({ level: 'silent' }) },
  );
  const [created] = await auth.createEvaluationUsers([{ username: 'sven', name: 'Sven', email: 'sven@example.com' }]);
  user = created!;
  plane = await startPlane({
    // People of this authorization server have a password.
    facts: { port, signIn: { ...STRICT_SIGN_IN, unsafeNoSecondFactor: true } },
    trust: { issuer: auth.issuer, subjects: { sven: user.sub } },
    wrap: (ctx) => ({ ...ctx, clock: { now: () => Date.now() + aheadMs } }),
  });
});
afterAll(async () => {
  await plane.close();
  await auth.close();
  rmSync(dir, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** `remit login`, with a person at the browser who does `act` at the address it prints. */
async function login(act: (address: string) => Promise<unknown>, ...args: string[]): Promise<Ran> {
  let acted: Promise<unknown> | undefined;
  const ran = await remit(['login', '--url', plane.url, '--json', '--timeout', '20s', ...args], {
    env,
    onErr: (soFar) => {
      const address = /^ {2}(http\S+)$/m.exec(soFar)?.[1];
      if (address !== undefined && acted === undefined) acted = act(address);
    },
  });
  await acted;
  return ran;
}

const signIn = async (address: string, decision: 'allow' | 'deny' = 'allow'): Promise<void> => {
  const callback = await signInAndConsent({
    authorizationUrl: address,
    username: user.username,
    password: user.password,
    decision,
  });
  await (await fetch(callback)).text();
};

test('login asks for this API only, with PKCE, stores tokens for its owner, and never prints one', async () => {
  let asked = new URL('http://unset');
  const ran = await login(async (address) => {
    asked = new URL(address);
    await signIn(address);
  });
  expect([ran.code, ran.json()]).toEqual([
    0,
    expect.objectContaining({ person: 'sven', roles: ['security_reviewer'] }),
  ]);
  expect(Object.fromEntries(asked.searchParams)).toMatchObject({
    client_id: 'remit-cli',
    resource: `${plane.url}/api/v1`,
    code_challenge_method: 'S256',
    redirect_uri: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/callback$/),
  });
  const file = credentialsFile(env);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const { logins } = readCredentials(env);
  const stored = logins[plane.url]!;
  for (const secret of [stored.accessToken, stored.refreshToken ?? 'none'])
    expect(`${ran.out}${ran.err}`.includes(secret)).toBe(false);
});

test('later commands need no URL and no token, and refresh silently', async () => {
  const before = readCredentials(env);
  const login = before.logins[plane.url]!;
  expect((await remit(['whoami', '--json'], { env })).json()).toMatchObject({ person: 'sven' });
  writeCredentials(env, { ...before, logins: { [plane.url]: { ...login, expiresAt: 0 } } });
  const ran = await remit(['whoami', '--json'], { env });
  expect([ran.code, ran.err]).toEqual([0, '']);
  const after = readCredentials(env).logins[plane.url]!;
  expect([
    after.accessToken === login.accessToken,
    after.refreshToken === login.refreshToken,
    after.expiresAt > Date.now(),
  ]).toEqual([false, false, true]);
});

test(
  'ID-07: a command that needs a newer sign-in asks for one, once, and goes on by itself',
  { timeout: 120_000 },
  async () => {
    const put = plane.put('lock', 'old-lock', {
      subject: { kind: 'agent', value: 'a' },
      reason: 'x',
      by: 'sven',
      until: null,
    });
    await plane.seed([put]);
    aheadMs = 20 * 60_000;
    const lift = ['lock', 'lift', 'old-lock', '--reason', 'over', '--json'];
    try {
      const alone = await remit(lift, { env });
      expect([alone.code, alone.err]).toEqual([3, expect.stringContaining('remit login --max-age 900')]);
      const before = readCredentials(env).logins[plane.url]!;
      const asked: URL[] = [];
      let acted: Promise<void> | undefined;
      const ran = await remit(lift, {
        env: { ...env, REMIT_SIGN_IN: 'browser' },
        onErr: (soFar) => {
          const address = /^ {2}(http\S+)$/m.exec(soFar)?.[1];
          if (address === undefined || acted !== undefined) return;
          asked.push(new URL(address));
          // The person signs in now, so the plane's clock stands where theirs does.
          aheadMs = 0;
          acted = signIn(address);
        },
      });
      await acted;
      expect([ran.code, ran.err]).toEqual([0, expect.stringContaining('This needs a newer or stronger sign-in.')]);
      expect(asked.map((url) => url.searchParams.get('max_age'))).toEqual(['900']);
      expect(plane.snapshot().locks?.size).toBe(0);
      const after = readCredentials(env).logins[plane.url]!;
      expect([after.accessToken === before.accessToken, after.scope]).toEqual([false, before.scope]);
    } finally {
      aheadMs = 0;
    }
  },
);

test(
  'login by a code on another machine: the code is shown, never a token, and the sign-in is stored',
  { timeout: 120_000 },
  async () => {
    const page = (result: { page: Page } | { leftFor: URL }): Page => {
      if ('leftFor' in result) throw new Error(`left for ${result.leftFor.href}`);
      return result.page;
    };
    let acted: Promise<void> | undefined;
    const act = async (address: string, userCode: string, decision: string): Promise<void> => {
      const visit = browser(cookieJar());
      let seen = page(await visit.open(address));
      seen = page(await visit.submit(seen, { user_code: userCode }));
      seen = page(await visit.submit(seen, { confirm: 'yes' }));
      const { username, password } = user;
      seen = page(await visit.submit(seen, { username, password, decision: 'continue' }));
      await visit.submit(seen, { decision });
    };
    const login = (decision: string) => {
      acted = undefined;
      return remit(['login', '--device', '--url', plane.url, '--json', '--timeout', '40s'], {
        env,
        onErr: (soFar) => {
          const [, address, code] = /^ {2}(http\S+)$[^]*^ {2}([A-Z-]{9})$/m.exec(soFar) ?? [];
          if (address !== undefined && code !== undefined) acted ??= act(address, code, decision);
        },
      });
    };
    const before = readCredentials(env).logins[plane.url]!;
    const ran = await login('allow');
    await acted;
    expect([ran.code, ran.json()]).toEqual([0, expect.objectContaining({ person: 'sven' })]);
    const after = readCredentials(env).logins[plane.url]!;
    expect(after.accessToken).not.toBe(before.accessToken);
    for (const secret of [after.accessToken, after.refreshToken ?? 'none'])
      expect(`${ran.out}${ran.err}`.includes(secret)).toBe(false);
    const denied = await login('deny');
    expect([denied.code, denied.err]).toEqual([3, expect.stringContaining('access_denied')]);
    expect(readCredentials(env).logins[plane.url]).toEqual(after);
  },
);

test('a refusal in the browser is code 3 and stores nothing new', async () => {
  const before = readFileSync(credentialsFile(env), 'utf8');
  const ran = await login((address) => signIn(address, 'deny'));
  expect([ran.code, ran.err]).toEqual([3, expect.stringContaining('access_denied')]);
  expect(readFileSync(credentialsFile(env), 'utf8')).toBe(before);
});

test('an answer with another state, or for another issuer, is not taken', async () => {
  for (const forge of [
    (_address: URL) => `code=stolen&state=other&iss=${encodeURIComponent(auth.issuer)}`,
    (address: URL) => `code=stolen&state=${address.searchParams.get('state') ?? ''}&iss=https%3A%2F%2Fevil.example`,
  ]) {
    const ran = await login(async (text) => {
      const address = new URL(text);
      await (await fetch(`${address.searchParams.get('redirect_uri') ?? ''}?${forge(address)}`)).text();
    });
    expect([ran.code, ran.err]).toEqual([3, expect.stringContaining('Sign-in was not completed')]);
  }
});

test('an issuer that the API does not trust is refused', async () => {
  const ran = await remit(['login', '--url', plane.url, '--issuer', 'https://evil.example'], { env });
  expect([ran.code, ran.err]).toEqual([2, expect.stringContaining('does not trust https://evil.example')]);
});

test('metadata that names another resource is refused: the token would be for somebody else', async () => {
  const liar = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ resource: `${plane.url}/api/v1`, authorization_servers: [auth.issuer] }));
  });
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve));
  const ran = await remit(['login', '--url', `http://127.0.0.1:${(liar.address() as AddressInfo).port}`], { env });
  expect([ran.code, ran.err]).toEqual([1, expect.stringContaining('The API calls itself')]);
  liar.close();
});

test('logout forgets the sign-in and revokes the refresh token', async () => {
  const refreshToken = readCredentials(env).logins[plane.url]!.refreshToken!;
  const ran = await remit(['logout', '--json'], { env });
  expect([ran.code, ran.json()]).toEqual([0, { url: plane.url, was: true, revoked: true }]);
  expect(readCredentials(env)).toEqual({ current: null, logins: {} });
  const again = await fetch(`${auth.issuer}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'remit-cli' }),
  });
  expect([again.status, ((await again.json()) as { error: string }).error]).toEqual([400, 'invalid_grant']);
  expect((await remit(['whoami', '--url', plane.url], { env })).code).toBe(3);
  writeFileSync(credentialsFile(env), '{"broken"', { mode: 0o600 });
  expect((await remit(['whoami', '--url', plane.url], { env })).err).toContain('is damaged');
});
