/** The browser of these tests: Debian's Chromium, quiet and without a network of its own. Undefined where there is none. */
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Browser } from 'playwright-core';

export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);
/** Says in the output why nothing ran, where nothing can. */
export const IN_CHROMIUM = `in Chromium${CHROMIUM === undefined ? ' (skipped: none is installed; apt-get install chromium)' : ''}`;

const QUIET = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launchChromium(): Promise<Browser> {
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: CHROMIUM!, args: [...QUIET, ...sandbox] });
}
