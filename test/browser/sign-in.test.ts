/**
 * The authorization server's pages in a real browser: what a scripted one cannot know, namely that the policies (CSP, cookies,
 * form-action across the final redirect) let a person through, by mouse and by keyboard, in light and dark and on a phone.
 * Needs Chromium; where there is none these tests are skipped and say so.
 */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture } from '../authserver/fixture.ts';
import type { Fixture } from '../authserver/fixture.ts';
import { CHROMIUM, IN_CHROMIUM, launchChromium } from './chromium.ts';

describe.skipIf(CHROMIUM === undefined)(IN_CHROMIUM, () => {
  let browser: Browser;
  let fixture: Fixture;
  let callback: Server;
  let redirectUri = '';
  const arrived: URL[] = [];

  beforeAll(async () => {
    callback = createServer((request, response) => {
      arrived.push(new URL(request.url ?? '/', redirectUri));
      response.setHeader('content-type', 'text/plain');
      response.end('You may close this page.');
    });
    await new Promise<void>((resolve) => callback.listen(0, '127.0.0.1', () => resolve()));
    redirectUri = `http://127.0.0.1:${(callback.address() as AddressInfo).port}/callback`;
    fixture = await startFixture();
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await fixture?.stop();
    callback?.close();
  });

  /** A page of a fresh browser profile at the start of a sign-in; `complaints` gathers what the browser refused to do. */
  async function start(options: BrowserContextOptions = {}): Promise<{ page: Page; complaints: string[] }> {
    const { url } = await fixture.authorizationUrl({
      params: { redirect_uri: redirectUri, scope: 'files:read files:write' },
    });
    const page = await (await browser.newContext(options)).newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('favicon')) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url.href);
    return { page, complaints };
  }

  async function signIn(page: Page): Promise<void> {
    await page.getByLabel('User name').fill(fixture.user.username);
    await page.getByLabel('Password').fill(fixture.user.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: /^Allow / }).waitFor();
  }

  test('a person signs in, reads what is asked, allows it, and arrives at the client with a code', async () => {
    arrived.length = 0;
    const { page, complaints } = await start();
    await expect
      .poll(() => page.getByText('Evaluation sign-in: local users of this installation').isVisible())
      .toBe(true);
    await signIn(page);
    const text = await page.locator('main').innerText();
    expect(text).toContain('Sample files');
    expect(text).toContain('127.0.0.1');
    expect(text).toContain('Read files in the sample folder');
    expect(text).toContain('Change files in the sample folder');
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByText('You may close this page.').waitFor();
    expect(arrived[0]?.searchParams.get('code')).toMatch(/^\S{20,}$/);
    expect(arrived[0]?.searchParams.get('iss')).toBe(fixture.server.issuer);
    expect(complaints).toEqual([]);
  });

  test('Deny leads back to the client with access_denied', async () => {
    arrived.length = 0;
    const { page } = await start();
    await signIn(page);
    await page.getByRole('button', { name: 'Deny' }).click();
    await page.getByText('You may close this page.').waitFor();
    expect(arrived[0]?.searchParams.get('error')).toBe('access_denied');
  });

  test('the keyboard is enough: tab from field to field, Enter to sign in and to allow', async () => {
    arrived.length = 0;
    const { page } = await start();
    // The page asks for the focus, and the browser grants it with its next frame: a busy machine may draw that after `load`.
    await page.locator('input[name=username]:focus').waitFor();
    await page.keyboard.type(fixture.user.username);
    await page.keyboard.press('Tab');
    await page.keyboard.type(fixture.user.password);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /^Allow / }).waitFor();
    await page.getByRole('button', { name: 'Allow' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('You may close this page.').waitFor();
    expect(arrived[0]?.searchParams.has('code')).toBe(true);
  });

  test.each([
    ['a phone', { viewport: { width: 320, height: 640 } }],
    ['dark mode', { colorScheme: 'dark' as const }],
  ])('on %s nothing is cut off and the text stands out from its ground', async (_name, options) => {
    const { page } = await start(options);
    await signIn(page);
    const wide = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    expect(wide).toBeLessThanOrEqual(0);
    const [ground, ink] = await page.evaluate<[string, string]>(`(() => {
        const title = document.querySelector('h1');
        const transparent = /^rgba\\(.*, 0\\)$/;
        let under = title;
        while (under.parentElement && transparent.test(getComputedStyle(under).backgroundColor)) under = under.parentElement;
        return [getComputedStyle(under).backgroundColor, getComputedStyle(title).color];
      })()`);
    expect(contrast(ground, ink)).toBeGreaterThan(7);
  });

  test('another site can neither frame the consent page nor run script in it', async () => {
    const { page } = await start();
    const headers = (await page.reload())?.headers() ?? {};
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    const framing = await (await browser.newContext()).newPage();
    await framing.setContent(`<iframe src="${page.url()}"></iframe>`);
    const inside = framing.frames().find((frame) => frame !== framing.mainFrame());
    await inside?.waitForLoadState().catch(() => undefined);
    expect(
      await inside
        ?.locator('form')
        .count()
        .catch(() => 0),
    ).toBe(0);
  });
});

/** WCAG 2 contrast ratio of two `rgb(...)` colours; `rgba(…, 0)` counts as white. */
function contrast(ground: string, ink: string): number {
  const luminance = (colour: string): number => {
    const [r = 255, g = 255, b = 255, alpha = 1] = (colour.match(/[\d.]+/g) ?? []).map(Number);
    const linear = [r, g, b].map((part) => {
      const value = (alpha === 0 ? 255 : part) / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0]! + 0.7152 * linear[1]! + 0.0722 * linear[2]!;
  };
  const [light, dark] = [luminance(ground), luminance(ink)].sort((a, b) => b - a) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}
