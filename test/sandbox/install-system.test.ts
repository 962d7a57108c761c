/** The installer of system packages: quiet and quick where isolation works, one clear sentence where it cannot help. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REPOSITORY } from '../support/upstreams/open.ts';

const run = (env: Record<string, string>, uid?: number) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(REPOSITORY, 'scripts/install-system.ts')], {
    env,
    ...(uid !== undefined && process.getuid?.() === 0 && { uid, gid: uid }),
  });
  return { status, out: stdout.toString(), err: stderr.toString() };
};

test('changes nothing where isolation works, and says how it works', () => {
  const { status, out, err } = run({ PATH: process.env['PATH'] ?? '' });
  expect({ status, err }).toEqual({ status: 0, err: '' });
  expect(out).toMatch(/^Isolation works: bubblewrap \d[\d.]*; servers run as [a-z ]+, without any capability\.\n$/);
});

test.runIf(process.getuid?.() !== undefined)(
  'an ordinary user without bubblewrap gets one sentence and exit code 1',
  () => {
    const { status, out, err } = run({ PATH: '/nowhere' }, 65_534);
    expect({ status, err }).toEqual({ status: 1, err: '' });
    expect(out).toBe(
      'Isolation does not work, so stdio servers will not start: the program bwrap is not on the PATH. Install bubblewrap: apt-get install bubblewrap, dnf install bubblewrap, or apk add bubblewrap setpriv.\n',
    );
  },
);
