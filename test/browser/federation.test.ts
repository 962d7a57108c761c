/**
 * Federated sign-in in a real browser: what a scripted one cannot know, namely that cookies (SameSite across a cross-site
 * POST), the policy (CSP) and the keyboard let a person through. Needs Chromium; skipped where there is none, and says so.
 */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { oidcSettings, startFederated } from '../authserver/federation-fixture.ts';
import type { Federated } from '../authserver/federation-fixture.ts';
import { samlProvider } from '../support/idp/saml-provider.ts';
import { CHROMIUM, IN_CHROMIUM, launchChromium } from './chromium.ts';

describe.skipIf(CHROMIUM === undefined)(IN_CHROMIUM, () => {
  const saml = samlProvider();
  let browser: Browser;
  let at: Federated;
  let callback: Server;
  let samlSite: Server;
  let redirectUri = '';
  const arrived: URL[] = [];

  beforeAll(async () => {
    callback = createServer((request, response) => {
      if (request.url?.startsWith('/callback')) arrived.push(new URL(request.url, redirectUri));
      response.setHeader('content-type', 'text/plain');
      response.end('You may close this page.');
    });
    await new Promise<void>((resolve) => callback.listen(0, '127.0.0.1', () => resolve()));
    redirectUri = `http://127.0.0.1:${(callback.address() as AddressInfo).port}/callback`;
    // Another site than 127.0.0.1: its form is a cross-site POST, as it is in life.
    samlSite = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      void saml
        .respond(url, { nameId: 'ada', attributes: { displayName: 'Ada Lovelace' } })
        .then(({ xml, relayState, request: asked }) => {
          response.setHeader('content-type', 'text/html');
          response.end(
            `<form method="post" action="${asked['assertionConsumerServiceURL']}"><input type="hidden" name="SAMLResponse" value="${Buffer.from(xml).toString('base64')}"><input type="hidden" name="RelayState" value="${relayState}"></form><script>document.forms[0].submit()</script>`,
          );
        });
    });
    await new Promise<void>((resolve) => samlSite.listen(0, 'localhost', () => resolve()));
    at = await startFederated((issuer) => [
      oidcSettings(issuer),
      {
        id: 'saml',
        title: 'Partner account',
        protocol: 'saml',
        entityId: saml.entityId,
        signOnUrl: `http://localhost:${(samlSite.address() as AddressInfo).port}/sso`,
        certificates: [saml.cert],
        organisation: 'default',
        attributes: { name: 'displayName' },
      },
    ]);
    await at.idp.visitor({ sub: 'ada', claims: { name: 'Ada Lovelace' } });
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await at?.stop();
    callback?.close();
    samlSite?.close();
  });

  async function start(options: BrowserContextOptions = {}): Promise<{ page: Page; complaints: string[] }> {
    arrived.length = 0;
    const { url } = await at.authorizationUrl({ params: { redirect_uri: redirectUri } });
    const page = await (await browser.newContext(options)).newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('favicon')) complaints.push(message.text());
    });
    await page.goto(url.href);
    return { page, complaints };
  }

  async function allow(page: Page): Promise<void> {
    await page.getByRole('heading', { name: /^Allow / }).waitFor();
    expect(await page.locator('main').innerText()).toContain('Ada Lovelace');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByText('You may close this page.').waitFor();
    expect(arrived[0]?.searchParams.get('code')).toMatch(/^\S{20,}$/);
  }

  test('a person chooses the OpenID provider and arrives at the client', async () => {
    const { page, complaints } = await start();
    await page.getByRole('link', { name: 'Corporate account' }).click();
    await allow(page);
    expect(complaints).toEqual([]);
  });

  test('a person chooses the SAML provider, which posts from another site, and arrives at the client', async () => {
    const { page, complaints } = await start();
    await page.getByRole('link', { name: 'Partner account' }).click();
    await allow(page);
    expect(complaints).toEqual([]);
  });

  test('the keyboard is enough', async () => {
    const { page } = await start();
    await page.keyboard.press('Tab');
    await expect.poll(() => page.evaluate(`document.activeElement.textContent`)).toBe('Corporate account');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await allow(page);
  });

  test('a failed sign-in says so, and leads back to the client', async () => {
    await at.idp.visitor({ sub: 'ada', error: 'access_denied' });
    const { page, complaints } = await start();
    await page.getByRole('link', { name: 'Corporate account' }).click();
    await page.getByRole('heading', { name: 'Sign-in did not work' }).waitFor();
    await page.getByRole('button', { name: /^Back to / }).click();
    await page.getByText('You may close this page.').waitFor();
    expect(arrived[0]?.searchParams.get('error')).toBe('access_denied');
    expect(complaints.filter((text) => !text.includes('400'))).toEqual([]);
    await at.idp.visitor({ sub: 'ada', claims: { name: 'Ada Lovelace' } });
  });

  test.for([
    ['on a phone', { viewport: { width: 360, height: 640 } }],
    ['in the dark', { colorScheme: 'dark' }],
  ] as const)('%s nothing overflows and every choice is large enough for a finger', async ([, options]) => {
    const { page } = await start(options);
    const wide = await page.evaluate(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`);
    expect(wide).toBe(true);
    for (const link of await page.getByRole('link').all()) {
      const box = await link.boundingBox();
      expect(box?.height).toBeGreaterThanOrEqual(44);
    }
  });
});
