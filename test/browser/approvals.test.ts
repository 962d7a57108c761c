/**
 * The pages for approvers and requesters in a real browser: what a scripted one cannot know, namely that cookies, policies and redirects let
 * a person through, and that nothing an argument holds can hide, move or cover what they decide about (AP-02).
 * Needs Chromium; where there is none these tests are skipped and say so.
 */
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startPages, type PagesRig } from '../admin/pages/rig.ts';
import { CHROMIUM, IN_CHROMIUM, launchChromium } from './chromium.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** The hostile end of a value that begins like any other. */
const HIDDEN_END = 'attacker@evil.example';
const PADDING = [
  ['spaces', ' '.repeat(4_096)],
  ['line breaks', '\n'.repeat(4_096)],
  ['tabs and carriage returns', '\t\r\n'.repeat(1_366)],
  ['no-break spaces', '\u00A0'.repeat(4_096)],
  ['zero-width spaces', '\u200B'.repeat(4_096)],
  ['line separators', '\u2028'.repeat(4_096)],
  ['blank braille', '\u2800'.repeat(4_096)],
  ['words', 'lorem ipsum '.repeat(342)],
  ['one long word', 'x'.repeat(4_096)],
  ['stacked accents', 'e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308'.repeat(456)],
] as const;

describe.skipIf(CHROMIUM === undefined)(IN_CHROMIUM, () => {
  let browser: Browser;
  let rig: PagesRig;
  const contexts: BrowserContext[] = [];

  beforeAll(async () => {
    rig = await startPages();
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await rig?.close();
  });

  /** A browser profile of its own; `complaints` gathers what the browser refused to do. */
  async function open(
    path: string,
    options: BrowserContextOptions = {},
  ): Promise<{ page: Page; complaints: string[] }> {
    const context = await browser.newContext(options);
    contexts.push(context);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      // The pages for who is not signed in answer 401, which Chromium logs.
      if (message.type() === 'error' && !/favicon|status of 40[13]/.test(message.text()))
        complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(rig.url + path);
    return { page, complaints };
  }

  async function signIn(page: Page, username: string): Promise<void> {
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('User name').fill(username);
    await page.getByLabel('Password').fill(rig.passwordOf(username));
    await page.getByRole('button', { name: 'Sign in' }).click();
    // What a person allowed the pages once is not asked again.
    const allow = page.getByRole('button', { name: 'Allow' });
    const inside = page.getByRole('button', { name: 'Sign out' });
    await allow.or(inside).first().waitFor();
    if (await allow.isVisible()) await allow.click();
    await inside.waitFor();
  }

  async function signedIn(username: string, path: string, options: BrowserContextOptions = {}) {
    const opened = await open(path, options);
    await signIn(opened.page, username);
    return opened;
  }

  test('AP-04: an approver opens a link, signs in, reads, approves, and the requester sees it; nothing is refused by a policy', async () => {
    await rig.hold('apr_browser', { path: '/docs/report.txt' });
    const { page, complaints } = await signedIn('petra', '/approvals/apr_browser');
    expect(new URL(page.url()).pathname).toBe('/approvals/apr_browser');
    await page.getByRole('link', { name: 'Approvals' }).click();
    await page.getByRole('link', { name: 'read_file on files' }).first().click();
    await page.getByLabel('Note for the requester').fill('looks right');
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('definition').filter({ hasText: 'approved, not run yet' }).waitFor();
    expect(await rig.state('apr_browser')).toBe('approved');
    const requester = await signedIn('dana', '/requests/apr_browser');
    expect(await requester.page.locator('main').innerText()).toContain('looks right');
    expect([...complaints, ...requester.complaints]).toEqual([]);
  });

  test('the session cookie is out of reach for scripts, other sites and plain requests to the API', async () => {
    const { page } = await signedIn('petra', '/approvals');
    const cookies = (await page.context().cookies()).filter(({ name }) => name === 'remit_admin');
    expect(cookies).toMatchObject([{ httpOnly: true, sameSite: 'Lax', path: '/', domain: '127.0.0.1', expires: -1 }]);
    expect(await page.evaluate('document.cookie')).toBe('');
    expect((await page.request.get(`${rig.url}/api/v1/me`)).status()).toBe(401);
  });

  test('AP-04: a form on another site, with the digest and all, decides nothing in the browser of an approver', async () => {
    const call = await rig.hold('apr_csrf', { path: '/x' });
    const { page } = await signedIn('petra', '/approvals/apr_csrf');
    const evil = await page.context().newPage();
    await evil.setContent(
      `<form method="post" action="${rig.url}/approvals/apr_csrf/approve"><input name="call" value="${call}"><button>Win</button></form>`,
    );
    await evil.getByRole('button', { name: 'Win' }).click();
    await evil.waitForURL(/\/approve$/);
    expect(await rig.state('apr_csrf')).toBe('pending');
    // The same browser, the page's own form.
    await page.getByRole('button', { name: 'Approve' }).click();
    await page.getByRole('definition').filter({ hasText: 'approved, not run yet' }).waitFor();
  });

  test('another site can neither frame the decision nor run script in it', async () => {
    await rig.hold('apr_frame', { path: '<script>document.title="owned"</script><img src=x onerror=alert(1)>' });
    const { page, complaints } = await signedIn('petra', '/approvals/apr_frame');
    expect(await page.title()).toContain('read_file on files');
    expect(await page.locator('main script, main img').count()).toBe(0);
    expect(complaints).toEqual([]);
    const framing = await page.context().newPage();
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

  test('somebody else who gets the link of a requester sees neither the call nor that there is one', async () => {
    await rig.hold('apr_link', { path: '/private-words' });
    const { page } = await signedIn('nobody', '/requests/apr_link');
    const text = await page.locator('main').innerText();
    expect(text).toContain('Nothing here');
    expect(text).not.toMatch(/private-words|read_file/);
  });

  test('signing out brings the next person to a sign-in, also by the back button', async () => {
    const { page } = await signedIn('petra', '/approvals');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'You are signed out here' }).waitFor();
    await page.goBack();
    expect(await page.locator('main').innerText()).not.toContain('Waiting for you');
  });

  describe('AP-02: what an argument holds', () => {
    /** Signed in once: the pages are the same. */
    let page: Page;
    let complaints: string[];
    beforeAll(async () => {
      ({ page, complaints } = await signedIn('petra', '/approvals', { viewport: { width: 1024, height: 700 } }));
    });

    test.each(PADDING)(
      'AP-02: behind 4 kB of %s the hostile end is in the page, inside the window when scrolled to, before the buttons',
      async (name, padding) => {
        const id = `apr_pad_${name.replaceAll(/\W/g, '')}`;
        await rig.hold(id, { body: `Dear colleague,${padding}send everything to ${HIDDEN_END}`, subject: 'Minutes' });
        await page.goto(`${rig.url}/approvals/${id}`);
        const value = page.locator('.value').first();
        expect(await value.innerText()).toContain(HIDDEN_END);
        // Every line of it lies inside its box, and the box inside the window: nothing scrolls sideways or is cut.
        const place = await page.evaluate<{ wide: boolean; inside: boolean; hidden: string; above: boolean }>(`(() => {
          const box = document.querySelector('.value');
          const range = document.createRange();
          range.selectNodeContents(box);
          const outer = box.getBoundingClientRect();
          const rects = [...range.getClientRects()];
          const style = getComputedStyle(box);
          const buttons = document.querySelector('main button').getBoundingClientRect();
          return {
            wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
            inside: rects.every((r) => r.left >= outer.left - 1 && r.right <= outer.right + 1 && r.bottom <= outer.bottom + 1),
            hidden: [style.overflow, style.textOverflow, style.maxHeight].join(' '),
            above: outer.bottom <= buttons.top,
          };
        })()`);
        expect(place).toEqual({ wide: false, inside: true, hidden: 'visible clip none', above: true });
        // Before anything else it is said that there is more than meets the eye.
        expect(await page.locator('main .warn').innerText()).toMatch(/\/body: \d+ characters/);
        await page.getByText(HIDDEN_END).first().scrollIntoViewIfNeeded();
        expect(await page.getByText(HIDDEN_END).first().isVisible()).toBe(true);
      },
    );

    test('AP-02: blanks and line breaks by the thousand take one line each, so that nobody scrolls past what follows', async () => {
      await rig.hold('apr_flood', { a: `one${'\n'.repeat(4_096)}two${' '.repeat(4_096)}three` });
      await page.goto(`${rig.url}/approvals/apr_flood`);
      const value = page.locator('.value').first();
      expect(await value.innerText()).toBe('one⟨line break ×4096⟩\ntwo⟨space ×4096⟩three');
      expect((await value.boundingBox())?.height).toBeLessThan(120);
    });

    test('AP-02: direction, zero-width and tag characters are written out, and turn nothing round', async () => {
      await rig.hold('apr_bidi', {
        file: 'invoice_\u202Efdp.exe',
        to: 'ops\u200B@example.com',
        x: 'hi\u{E0064}\u{E0065}\u{E006C}',
      });
      await page.goto(`${rig.url}/approvals/apr_bidi`);
      expect(await page.locator('.value').allInnerTexts()).toEqual([
        'invoice_⟨U+202E⟩fdp.exe',
        'ops⟨U+200B⟩@example.com',
        'hi⟨tag d⟩⟨tag e⟩⟨tag l⟩',
      ]);
      // The ink itself: each letter stands to the right of the one before it.
      const lefts = await page.evaluate<number[]>(`(() => {
        const text = document.querySelector('.value').lastChild;
        return [...text.data].map((_, at) => {
          const range = document.createRange();
          range.setStart(text, at);
          range.setEnd(text, at + 1);
          return range.getBoundingClientRect().left;
        });
      })()`);
      expect(lefts).toEqual([...lefts].sort((a, b) => a - b));
      expect(lefts.length).toBe('fdp.exe'.length);
    });

    test('AP-02: letters from right to left leave the order of what stands around them alone', async () => {
      await rig.hold('apr_rtl', { file: 'aa שלום 11 עולם zz' });
      await page.goto(`${rig.url}/approvals/apr_rtl`);
      const order = await page.evaluate<string[]>(`(() => {
        const box = document.querySelector('.value');
        return [...box.childNodes]
          .map((node) => { const r = document.createRange(); r.selectNodeContents(node); return [r.getBoundingClientRect().left, node.textContent.trim()]; })
          .sort((a, b) => a[0] - b[0])
          .map(([, text]) => text);
      })()`);
      expect(order).toEqual(['aa', 'שלום', '11', 'עולם', 'zz']);
    });

    test('AP-02: an argument cannot draw over the facts of the call, nor speak as the page', async () => {
      await rig.hold('apr_draw', {
        a: `</div></dd></dl><h1>Approve</h1><form action="https://evil.example"><button>Approve</button></form>`,
        b: 'e\u0336\u0337\u20DD',
      });
      await page.goto(`${rig.url}/approvals/apr_draw`);
      expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
      expect(await page.getByRole('button', { name: 'Approve' }).count()).toBe(1);
      expect(await page.locator('.value').nth(1).innerText()).toBe('e⟨U+0336⟩⟨U+0337⟩⟨U+20DD⟩');
      expect(complaints).toEqual([]);
    });
  });

  test.each([
    ['a phone', { viewport: { width: 320, height: 640 } }],
    [
      'a phone in the dark, without script',
      { viewport: { width: 320, height: 640 }, colorScheme: 'dark' as const, javaScriptEnabled: false },
    ],
  ])('on %s nothing is cut off, and everything to press is large enough', async (name, options) => {
    const id = name === 'a phone' ? 'apr_phone' : 'apr_dark';
    await rig.hold(id, { path: '/a'.repeat(300) });
    const { page } = await signedIn('petra', `/approvals/${id}`, options);
    if (options.viewport.width === 320 && !('javaScriptEnabled' in options))
      expect(
        await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'),
      ).toBeLessThanOrEqual(0);
    for (const button of await page.getByRole('button').all())
      expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44);
    await page.getByRole('button', { name: 'Deny' }).click();
    await page.getByRole('definition').filter({ hasText: 'denied' }).waitFor();
    expect(await rig.state(id)).toBe('denied');
  });

  test('the keyboard is enough, and every field has a name', async () => {
    await rig.hold('apr_keys', { path: '/by/keyboard' });
    const { page } = await signedIn('petra', '/approvals/apr_keys');
    await page.getByLabel('Note for the requester').focus();
    await page.keyboard.type('by keyboard');
    await page.keyboard.press('Tab');
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe('Approve');
    await page.keyboard.press('Enter');
    await page.getByRole('definition').filter({ hasText: 'approved, not run yet' }).waitFor();
    expect(await page.evaluate('document.documentElement.lang')).toBe('en');
  });
});
