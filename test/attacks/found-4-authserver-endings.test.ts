/**
 * Somebody's sign-ins are ended (their password changed, a gateway said so, an administrator did) while whoever stole one still has a step in
 * hand: a sign-in that is done and not walked to its end, a request that is still being sent, a device that has not asked yet. None of them
 * may come back afterwards. The oracle is a real server: what the browser is shown, what `/token` answers.
 */
import { request } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { walk } from '../authserver/federation-fixture.ts';
import { post, startFixture } from '../authserver/fixture.ts';
import type { Fixture } from '../authserver/fixture.ts';
import { browser, cookieJar, hiddenFields } from '../support/browser.ts';
import type { CookieJar, Page } from '../support/browser.ts';

let at: Fixture;
beforeEach(async () => {
  at = await startFixture();
});
afterEach(() => at.stop());

/** Signs in with the password, as far as the address that would set the session. */
async function parked(jar: CookieJar): Promise<URL> {
  const { url } = await at.authorizationUrl();
  const page = await walk(url, jar);
  const stop = await walk(page.url, jar, (next) => next.pathname.startsWith('/authorize/'), {
    method: 'POST',
    body: new URLSearchParams({
      ...hiddenFields(page.page?.text ?? ''),
      username: at.user.username,
      password: at.user.password,
    }),
    headers: { origin: at.server.issuer, 'sec-fetch-site': 'same-origin' },
  });
  expect(stop.page).toBeNull();
  return stop.url;
}

test('a sign-in that was kept back before its last step is worth nothing after the person’s sign-ins were ended', async () => {
  const jar = cookieJar();
  const resume = await parked(jar);
  at.server.endings.endPerson(at.user.sub, 'administrator');
  const stop = await walk(resume, jar);
  expect(stop.page?.text).not.toContain('Allow access');
  const twin = cookieJar();
  expect((await walk(await parked(twin), twin)).page?.text).toContain('Allow access');
});

test.for(['person', 'session'] as const)(
  'a request that was under way when the %s was ended does not bring the browser session back',
  async (what) => {
    const jar = cookieJar();
    const tokens = await at.tokens({ jar });
    const sid = String(JSON.parse(Buffer.from(tokens.access_token.split('.')[1]!, 'base64url').toString())['sid']);
    const signedIn = async (): Promise<boolean> =>
      (await walk(`${at.server.issuer}/consents`, jar)).page?.text.includes('Signed in as Ada') === true;
    expect(await signedIn()).toBe(true);
    const cookie = jar.header(new URL(`${at.server.issuer}/device`));
    const body = 'user_code=BBBBBBBB&xsrf=x';
    const slow = request(`${at.server.issuer}/device`, {
      method: 'POST',
      headers: { cookie, 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length },
    });
    const answered = new Promise<number>((resolve, reject) => {
      slow.on('response', (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode ?? 0));
      });
      slow.on('error', reject);
    });
    slow.write(body.slice(0, 5));
    // The server has read the session once it has answered something that was sent later.
    for (let i = 0; i < 5; i++) await (await fetch(`${at.server.issuer}/jwks`)).arrayBuffer();
    if (what === 'person') at.server.endings.endPerson(at.user.sub, 'administrator');
    else at.server.endings.endSession(sid, 'administrator');
    slow.end(body.slice(5));
    expect(await answered).toBeGreaterThanOrEqual(200);
    expect(await signedIn()).toBe(false);
  },
);

test.for(['person', 'session'] as const)(
  'a device that was allowed and has not asked yet gets nothing after the %s was ended',
  async (what) => {
    const fields = { client_id: 'remit-cli', scope: 'files:read', resource: at.gateway.resource };
    const { body } = await post(`${at.server.issuer}/device_authorization`, fields);
    const jar = cookieJar();
    const visit = browser(jar);
    const page = (seen: Awaited<ReturnType<typeof visit.open>>): Page => {
      if (!('page' in seen)) throw new Error(`left for ${seen.leftFor.href}`);
      return seen.page;
    };
    let seen = page(await visit.open(`${at.server.issuer}/device`));
    seen = page(await visit.submit(seen, { user_code: String(body['user_code']) }));
    seen = page(await visit.submit(seen, { confirm: 'yes' }));
    seen = page(await visit.submit(seen, { username: at.user.username, password: at.user.password }));
    seen = page(await visit.submit(seen, { decision: 'allow' }));
    expect(seen.text).toContain('The device is connected');
    if (what === 'person') at.server.endings.endPerson(at.user.sub, 'administrator');
    else {
      // The same browser session, by its name in a token.
      const { access_token: token } = await at.tokens({ jar });
      const sid = String(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())['sid']);
      at.server.endings.endSession(sid, 'administrator');
    }
    const grant = 'urn:ietf:params:oauth:grant-type:device_code';
    const device = { grant_type: grant, client_id: 'remit-cli', device_code: String(body['device_code']) };
    const answer = await post(`${at.server.issuer}/token`, device);
    expect(answer.body).not.toHaveProperty('access_token');
    expect(answer.status).toBe(400);
  },
);

test('a token that is being made when its grant ends is not made', async () => {
  let during = (): void => undefined;
  const own = await startFixture(
    {},
    {
      clientPolicy: () => {
        during();
        return { allow: true };
      },
    },
  );
  try {
    const { refresh_token: token } = await own.tokens();
    const refresh = (value: unknown) =>
      post(`${own.server.issuer}/token`, {
        grant_type: 'refresh_token',
        client_id: 'mcp-client',
        refresh_token: String(value),
      });
    const twin = await refresh(token);
    expect(twin.body).toHaveProperty('access_token');
    // The last time that it asks: what is ended now was good when everything else was checked.
    let asked = 0;
    during = () => {
      if (++asked === 2) own.server.endings.endClient('mcp-client', 'administrator');
    };
    const answer = await refresh(twin.body['refresh_token']);
    expect(asked).toBeGreaterThanOrEqual(2);
    expect(answer.body).toMatchObject({ error: 'invalid_grant' });
  } finally {
    await own.stop();
  }
});
