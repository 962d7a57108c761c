/**
 * Makes sure that local (stdio) servers can be isolated: installs bubblewrap with apt where that is missing and we may (root,
 * or sudo without a password), else says in one sentence what to do. Run it as often as you like; where isolation works it changes nothing.
 * Exit code 0: isolation works. 1: it does not, and stdio servers will not start.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { bubblewrapBackend } from '../src/sandbox/bubblewrap.ts';

const APT = '/usr/bin/apt-get';
const SUDO = '/usr/bin/sudo';

/** What to put before a command so that it runs as root without asking anybody; null: we may not. */
function asRoot(): readonly string[] | null {
  if (process.getuid?.() === 0) return [];
  if (!existsSync(SUDO)) return null;
  return spawnSync(SUDO, ['-n', 'true'], { stdio: 'ignore', timeout: 10_000 }).status === 0 ? [SUDO, '-n'] : null;
}

function apt(prefix: readonly string[], ...args: string[]): boolean {
  console.error(`running: apt-get ${args.join(' ')}`);
  const [program, ...rest] = [...prefix, '/usr/bin/env', 'DEBIAN_FRONTEND=noninteractive', APT, ...args];
  return spawnSync(program!, rest, { stdio: ['ignore', 'ignore', 'inherit'], timeout: 300_000 }).status === 0;
}

let probe = await bubblewrapBackend().probe();
if (!probe.available && probe.why.includes('not on the PATH') && existsSync(APT)) {
  const prefix = asRoot();
  const install = ['install', '-y', '--no-install-recommends', 'bubblewrap'];
  if (prefix && (apt(prefix, ...install) || (apt(prefix, 'update') && apt(prefix, ...install))))
    probe = await bubblewrapBackend().probe();
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
