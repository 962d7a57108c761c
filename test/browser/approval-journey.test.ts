/**
 * A held call from the first word to the effect, in whole processes and a real browser: an operator's client asks for a file to be moved and
 * gets the address of a page; an approver reads the call and agrees; the same call then moves the file, once.
 * Needs Chromium; where there is none this test is skipped and says so.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { passwordOf, serverToken, urlOf, type UpReady } from '../journeys/people.ts';
import { endAll, startRemit, temporaryFolder } from '../support/processes.ts';
import { CHROMIUM, IN_CHROMIUM, launchChromium } from './chromium.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

describe.skipIf(CHROMIUM === undefined)(IN_CHROMIUM, () => {
  let browser: Browser;
  let ready: UpReady;
  beforeAll(async () => {
    ready = await startRemit([
      'up',
      '--dir',
      join(temporaryFolder(), 'data'),
      '--port',
      '0',
      '--json',
    ]).ready<UpReady>();
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await endAll();
  });

  async function pageOf(username: string, address: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage();
    await page.goto(address);
    await page.getByRole('link', { name: 'Sign in' }).click();
    await page.getByLabel('User name').fill(username);
    await page.getByLabel('Password').fill(passwordOf(ready, username));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    return page;
  }

  async function move(token: string, from: string, to: string): Promise<Record<string, unknown>> {
    const response = await fetch(urlOf(ready, 'files'), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': 'move_file',
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'move_file',
          arguments: { source: from, destination: to },
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientCapabilities': { elicitation: { url: {} } },
          },
        },
      }),
      signal: AbortSignal.timeout(60_000),
    });
    const { result } = (await response.json()) as { result?: Record<string, unknown> };
    return result ?? {};
  }

  test('AP-04: the client gets the page of who asked; another person approves on theirs; the call runs then, once', async () => {
    writeFileSync(join(ready.filesDir, 'old.txt'), 'moved by agreement');
    const token = await serverToken(ready, 'files', 'files:destroy', 'omar', passwordOf(ready, 'omar'));
    const held = await move(token, '/files/old.txt', '/files/new.txt');
    const address = /http:[^"\\]+\/requests\/apr_\w+/.exec(JSON.stringify(held))?.[0] ?? '';
    expect([held['resultType'], address.startsWith(`${ready.adminUrl}/requests/`)]).toEqual(['input_required', true]);
    expect(existsSync(join(ready.filesDir, 'old.txt'))).toBe(true);

    const omar = await pageOf('omar', address);
    expect(await omar.locator('main').innerText()).toContain('/files/new.txt');
    expect(await omar.getByRole('button', { name: 'Approve' }).count()).toBe(0);

    const petra = await pageOf('petra', `${ready.adminUrl}/approvals`);
    await petra.getByRole('link', { name: 'move_file on files' }).click();
    expect(await petra.locator('.value').allInnerTexts()).toEqual(['/files/new.txt', '/files/old.txt']);
    await petra.getByRole('button', { name: 'Approve' }).click();
    await petra.getByRole('definition').filter({ hasText: 'approved, not run yet' }).waitFor();
    expect(existsSync(join(ready.filesDir, 'new.txt'))).toBe(false);

    const done = await move(token, '/files/old.txt', '/files/new.txt');
    expect([done['resultType'] ?? 'complete', done['isError'] ?? false]).toEqual(['complete', false]);
    expect(existsSync(join(ready.filesDir, 'new.txt'))).toBe(true);
    await omar.reload();
    expect(await omar.locator('main').innerText()).toContain('approved and handed to the server once');
    // It was good for one call.
    writeFileSync(join(ready.filesDir, 'old.txt'), 'again');
    expect((await move(token, '/files/old.txt', '/files/new.txt'))['resultType']).toBe('input_required');
    expect(existsSync(join(ready.filesDir, 'old.txt'))).toBe(true);
  });
});
