/** Commands resolve to one entry file of an installed package and the one mount it needs; uids are stable and apart. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { resolveCommand } from '../../src/sandbox/artifact.ts';
import { hasServerUids, serverUid } from '../../src/sandbox/host-user.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'remit-artifact-')));
const modules = join(root, 'node_modules');
const from = join(root, 'node_modules', 'remit-gateway', 'dist', 'sandbox');
function packageAt(folder: string, bin: unknown): void {
  mkdirSync(join(folder, 'dist'), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'x', ...(bin !== undefined && { bin }) }));
  writeFileSync(join(folder, 'dist', 'index.js'), '');
}
mkdirSync(from, { recursive: true });
packageAt(join(modules, 'one'), 'dist/index.js');
packageAt(join(modules, '@scope', 'many'), { a: 'dist/index.js', b: './dist/index.js' });
packageAt(join(modules, 'none'), undefined);
packageAt(join(modules, 'broken'), 'dist/missing.js');
packageAt(join(modules, 'escaping'), '../../outside.js');
packageAt(join(modules, 'remit-gateway', 'node_modules', 'nested'), 'dist/index.js');
packageAt(join(root, 'elsewhere'), 'dist/index.js');
writeFileSync(join(root, 'outside.js'), '');
symlinkSync(join(root, 'elsewhere'), join(modules, 'linked'));
afterAll(() => rmSync(root, { recursive: true }));

const NODE = ['/remit/node', '--max-old-space-size=384'];
const MOUNT = [{ from: modules, to: '/remit/node_modules', mode: 'read' }];

describe('resolveCommand', () => {
  test.each([
    [['node', 'one', 'arg'], [...NODE, '/remit/node_modules/one/dist/index.js', 'arg'], MOUNT],
    [['node', 'one/bin'], [...NODE, '/remit/node_modules/one/dist/index.js'], MOUNT],
    [['node', '@scope/many/bin/b', '-x'], [...NODE, '/remit/node_modules/@scope/many/dist/index.js', '-x'], MOUNT],
    [['node', 'nested'], [...NODE, '/remit/node_modules/remit-gateway/node_modules/nested/dist/index.js'], MOUNT],
    [['node', '/srv/server.js', ''], [...NODE, '/srv/server.js', ''], []],
    [['/usr/bin/python3', '/srv/server.py'], ['/usr/bin/python3', '/srv/server.py'], []],
  ])('%j', (command, argv, mounts) => {
    expect(resolveCommand(command, 384, from)).toEqual({ argv, mounts });
  });

  test.each([
    [[], 'the command is empty'],
    [['npx', 'one'], '"npx" is neither "node" nor an absolute path inside the sandbox'],
    [['node'], 'after "node" comes an npm package or an absolute path'],
    [['node', '--eval', '1'], 'options of node are not accepted'],
    [
      ['node', 'missing'],
      'the package missing is not installed with Remit or as an artifact; run: remit artifact install missing@VERSION',
    ],
    [['node', 'none'], 'the package none has no program'],
    [['node', '@scope/many'], 'the package @scope/many has the programs a, b; write @scope/many/bin/PROGRAM'],
    [['node', '@scope/many/bin/__proto__'], 'has the programs a, b'],
    [['node', 'one/../../outside.js'], 'is not the name of an npm package'],
    [['node', '../outside.js'], 'is not the name of an npm package'],
    [['node', 'ONE'], 'is not the name of an npm package'],
    [['node', 'linked'], 'the package linked is linked from outside node_modules; install it'],
    [['node', 'escaping'], 'the package escaping is linked from outside node_modules; install it'],
    [['node', 'broken'], 'the program of the package broken is missing'],
  ])('refuses %j', (command, message) => {
    expect(() => resolveCommand(command, 384, from)).toThrow(
      expect.objectContaining({
        code: 'sandbox_command',
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });
});

describe('users', () => {
  test('a server keeps its user, and others have others', () => {
    expect(serverUid('files')).toBe(serverUid('files'));
    expect(serverUid('files')).not.toBe(serverUid('mail'));
    for (const name of ['a', 'files', 'x'.repeat(63)]) {
      expect(serverUid(name)).toBeGreaterThanOrEqual(1_900_000_000);
      expect(serverUid(name)).toBeLessThan(2_100_000_000);
    }
  });

  test.each([
    ['         0          0 4294967295\n', true],
    ['         0     100000      65536\n', false],
    ['0 0 1000\n1000 1000 2146483648\n', true],
    ['', false],
  ])('a host with the uid map %j has them: %j', (map, expected) => {
    expect(hasServerUids(map)).toBe(expected);
  });
});
