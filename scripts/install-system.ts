/**
 * Makes sure that local (stdio) servers can be isolated: installs bubblewrap with apt where that is missing and we may, else
 * says in one sentence what to do. Run it as often as you like; where isolation works it changes nothing.
 * Exit code 0: isolation works. 1: it does not, and stdio servers will not start.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { bubblewrapBackend } from '../src/sandbox/bubblewrap.ts';

const APT = '/usr/bin/apt-get';

function apt(...args: string[]): boolean {
  console.error(`running: apt-get ${args.join(' ')}`);
  const { status } = spawnSync(APT, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: 300_000,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  return status === 0;
}

let probe = await bubblewrapBackend().probe();
const missing = !probe.available && probe.why.includes('not on the PATH');
if (missing && process.getuid?.() === 0 && existsSync(APT)) {
  const install = ['install', '-y', '--no-install-recommends', 'bubblewrap'];
  if (apt(...install) || (apt('update') && apt(...install))) probe = await bubblewrapBackend().probe();
}

if (probe.available) {
  const { version, hostUser } = probe.posture;
  console.log(
    `Isolation works: ${version}; servers run ${hostUser === 'dropped' ? 'as host users of their own' : 'as this user'}, without any capability.`,
  );
} else {
  console.log(`Isolation does not work, so stdio servers will not start: ${probe.why}. ${probe.remedy}`);
  process.exitCode = 1;
}
