/** AN-12 for servers that run here: what they were given in their environment comes back in no answer, and no part of it in a log. */
import { PassThrough } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { serverPace } from '../../src/upstream/pace.ts';
import { captureStderr } from '../../src/upstream/stderr.ts';
import { textOf } from '../contracts/connection.ts';
import { SINK_PROGRAM, stdioServer, testPool } from '../support/upstreams/open.ts';

const TOKEN = 'canary-of-a-process-0001';
process.env['REMIT_TEST_FOUND_5_STDIO'] = TOKEN;
const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function open(token: string | { readonly secret: string }) {
  const pool = testPool();
  closers.push(() => pool.closeAll());
  const env = { BEHAVIOUR: 'env', TOKEN: token };
  return { pool, connection: await pool.connection('local', stdioServer(SINK_PROGRAM, { env })) };
}

test('AN-12: a process that answers with its environment does not get its secret to the caller, and goes on', async () => {
  const { pool, connection } = await open({ secret: 'env:REMIT_TEST_FOUND_5_STDIO' });
  for (let calls = 0; calls < 12; calls++)
    await expect(textOf(connection, 'echo')).rejects.toMatchObject({
      code: 'upstream_protocol',
      message: 'the answer repeats a credential that was sent with the request',
    });
  expect(pool.status()[0]).toMatchObject({ state: 'up' });
  expect(JSON.stringify(pool.events)).not.toContain(TOKEN);
});

test('AN-12: twin: a value that nobody called a secret is in the answer', async () => {
  const { connection } = await open(TOKEN);
  expect(await textOf(connection, 'echo')).toContain(TOKEN);
});

test.each([
  ['a key in PEM, line by line', 'MIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n', (key: string) => `key: ${key}`],
  ['a secret where a line is cut', 'canary-that-is-cut-0001', (token: string) => `${'x'.repeat(1_990)}${token}`],
] as const)('AN-12: of %s, no line of the log has a part', async (_what, secret, said) => {
  const lines: string[] = [];
  const stream = new PassThrough();
  captureStderr(stream, {
    clock: systemClock,
    pace: serverPace(),
    bytesPerMinute: 100_000,
    secrets: [secret],
    onLine: (line) => void lines.push(line),
  });
  const closed = new Promise((resolve) => stream.once('close', resolve));
  stream.end(`${said(secret)}\n`);
  await closed;
  const parts = secret.split('\n').filter((part) => part !== '');
  expect(lines.length).toBeGreaterThan(0);
  for (const part of parts) expect(lines.join('\n')).not.toContain(part.slice(0, 8));
});
