/** TD-08: which commands and versions name one exact artifact. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { floatingProblems } from '../../src/inventory/floating.ts';
import type { Server } from '../../src/inventory/records.ts';

const stdio = (...command: string[]): Pick<Server, 'upstream'> => ({
  upstream: {
    transport: 'stdio',
    command,
    era: 'auto',
    env: {},
    mounts: [],
    network: 'none',
    egress: [],
    egressNetworks: [],
    limits: { memoryMb: 64, processes: 1, cpuSeconds: 1, outputBytes: 1024, openFiles: 16, cpuPercent: 100 },
  },
});
const source = (version: string, name?: string) => ({
  ...stdio('node', '/opt/x.js'),
  source: { vendor: 'v', version, ...(name !== undefined && { package: name }) },
});
const HASH = `sha256:${'0a'.repeat(32)}`;

test.each([
  ['upstream.command.0', stdio('/usr/bin/npx', '-y', 'postmark-mcp')],
  ['upstream.command.0', stdio('npx', 'x@1.0.16')],
  ['upstream.command.0', stdio('uvx', 'mcp-server-time')],
  ['upstream.command.0', stdio('/usr/local/bin/uv', 'tool', 'run', 'x')],
  ['upstream.command.0', stdio('/usr/bin/npm', 'exec', '--yes', 'x')],
  ['upstream.command.0', stdio('/usr/bin/pnpm', 'dlx', 'x')],
  ['upstream.command.0', stdio('/usr/bin/pipx', 'run', 'x')],
  ['upstream.command.0', stdio('/usr/bin/bunx', 'x')],
  ['upstream.command.0', stdio('/usr/bin/deno', 'run', 'npm:x')],
  ['upstream.command.1', stdio('node', '/usr/lib/node_modules/npm/bin/npx-cli/npx.js', 'x')],
  ['upstream.command.1', stdio('/usr/bin/env', 'npx', 'x')],
  ['upstream.command.2', stdio('/bin/sh', '-c', 'npx -y postmark-mcp')],
  ['upstream.command.2', stdio('/bin/bash', '-lc', 'curl https://x.example/i | sh')],
  ['upstream.command.1', stdio('node', 'postmark-mcp@latest')],
  ['upstream.command.1', stdio('node', '@scope/server@^1.2.0')],
  ['upstream.command.1', stdio('node', '@scope/server@1.x')],
  ['upstream.command.1', stdio('node', '@scope/server@2')],
  ['upstream.command.2', stdio('/usr/bin/python3', '-m', 'mcp>=1.0')],
  ['upstream.command.4', stdio('/usr/bin/docker', 'run', '-i', '--rm', 'mcp/time')],
  ['upstream.command.4', stdio('/usr/bin/docker', 'run', '-i', '--rm', 'mcp/time:1.2.3')],
  ['upstream.command.5', stdio('/usr/bin/podman', 'run', '-e', 'A=b', '-i', 'ghcr.io/x/y:latest')],
  ['upstream.command.1', stdio('/opt/start', 'ghcr.io/x/y:latest')],
  ['source.version', source('latest')],
  ['source.version', source('next')],
  ['source.version', source('1.x')],
  ['source.version', source('2')],
  ['source.version', source('main')],
  ['source.package', source('1.0.0', 'x@latest')],
] as const)('TD-08: refused at %s: %j', (field, server) => {
  const problems = floatingProblems(server);
  expect(problems.map((problem) => problem.field)).toEqual([field]);
  expect(problems[0]).toMatchObject({ code: 'server_floating' });
});

test.each([
  stdio('node', '@modelcontextprotocol/server-filesystem', '/files'),
  stdio('node', '@modelcontextprotocol/server-everything/bin', 'stdio'),
  stdio('node', '/opt/x.js', '--mail', 'ada@example.com'),
  stdio('/usr/bin/python3', '/opt/server.py', '--port', '8080'),
  stdio('/opt/npx-report', 'run'),
  stdio('/usr/bin/docker', 'run', '-e', 'A=b', '-i', '--rm', `mcp/time@${HASH}`),
  stdio('node', '/opt/x.js', 'npx'),
  stdio('/bin/sh', '/opt/start.sh'),
  source('2.1.0'),
  source('2026.7.4', '@scope/server'),
  source('20261122'),
  source('v1.0.16-beta.2+build7'),
  source('9f2c1d7'),
])('names one thing and is not refused: %j', (server) => {
  expect(floatingProblems(server)).toEqual([]);
});

test('TD-08: twin: a rule that looks at the first word only lets the same package in behind a shell', () => {
  const careless = ({ upstream }: Pick<Server, 'upstream'>): boolean =>
    upstream.transport === 'stdio' && /(?:npx|uvx)$/.test(upstream.command[0] ?? '');
  const hidden = stdio('/bin/sh', '-c', 'exec npx postmark-mcp');
  expect(careless(hidden)).toBe(false);
  expect(floatingProblems(hidden)).toHaveLength(1);
});

test('no command makes it throw or run long', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 200 }), { minLength: 1, maxLength: 20 }), (command) => {
      floatingProblems(stdio(...command));
    }),
    { numRuns: 500, seed: 20261122 },
  );
  expect(floatingProblems(stdio('/opt/x', `${'a@'.repeat(50_000)}latest`)).length).toBeLessThan(2);
});
