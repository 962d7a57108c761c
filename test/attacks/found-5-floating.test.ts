/** TD-08: a program that fetches what it runs is found behind the programs that only run others. */
import { expect, test } from 'vitest';
import { floatingProblems } from '../../src/inventory/floating.ts';
import { StdioUpstream } from '../../src/inventory/records.ts';

const found = (...command: string[]) =>
  floatingProblems({ upstream: StdioUpstream.parse({ transport: 'stdio', command }) }).map(({ code }) => code);

test.each([
  [['/usr/bin/timeout', '5', 'npx', 'tool']],
  [['/usr/bin/timeout', '-k', '1s', '5m', '/usr/bin/npx', 'tool']],
  [['/usr/bin/nice', '-n', '5', 'npx', 'tool']],
  [['/usr/bin/setsid', '/usr/bin/nohup', 'uvx', 'tool']],
  [['/usr/bin/env', 'A=b', '/usr/bin/timeout', '5', 'npx', 'tool']],
  [['/usr/bin/env', '-S', 'npx tool']],
  [['node', '/usr/lib/node_modules/npm/bin/npx-cli.js', 'tool']],
])('TD-08: %j is refused', (command) => {
  expect(found(...command)).toEqual(['server_floating']);
});

test.each([
  [['/usr/bin/timeout', '5', '/opt/tool/run']],
  [['/usr/bin/nice', '/opt/tool/run', 'npx']],
  [['node', '/opt/tool/cli.js']],
])('TD-08: %j is not', (command) => {
  expect(found(...command)).toEqual([]);
});
