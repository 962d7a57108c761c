/**
 * EX-06: the gateway in a container, with the flags that docs/guides/containers.md names: not root, no capabilities, a read-only root, one
 * volume. The image is made of this host's files and has the repository mounted read-only, because no registry is asked for one.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { testEngine } from '../support/container.ts';
import { startIssuer } from '../support/issuer.ts';
import { endAll, REPOSITORY, temporaryFolder } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import { gatewayNode, tokensOf } from './node.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const UID = 10_001;
const read = (path: string): string => readFileSync(join(REPOSITORY, path), 'utf8');

describe('deploy/Containerfile', () => {
  const lines = read('deploy/Containerfile')
    .split('\n')
    .filter((line) => !line.startsWith('#'));

  test('EX-06: runs as a user that owns nothing in the image, from a base that is named by whoever builds it', () => {
    expect(lines.filter((line) => line.startsWith('USER'))).toEqual([`USER ${UID}:${UID}`]);
    expect(lines.filter((line) => line.startsWith('FROM'))).toEqual([
      'FROM ${NODE_IMAGE} AS build',
      'FROM ${NODE_IMAGE}',
    ]);
    expect(lines.filter((line) => /^(?:ADD|VOLUME)\b|--chown|curl|wget/.test(line))).toEqual([]);
    expect(lines.filter((line) => line.includes('npm ')).every((line) => line.includes('--ignore-scripts'))).toBe(true);
  });

  test('copies what exists, and its ignore file lets exactly that through', () => {
    const copied = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(copied.filter((path) => !existsSync(join(REPOSITORY, path)))).toEqual([]);
    const through = read('deploy/Containerfile.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'));
    expect(through.map((line) => line.slice(1)).toSorted()).toEqual(copied.toSorted());
  });
});

/** The flags of the guide, word for word. */
const flags = (): string[] => {
  const block = /<!-- flags -->\n+```sh\n([\s\S]*?)```/.exec(read('docs/guides/containers.md'))![1]!;
  return block
    .replaceAll('\\\n', ' ')
    .split(/\s+/)
    .filter((word) => word.startsWith('--') && !/^--(?:name|detach|publish|volume)/.test(word));
};

test('EX-06: the guide names the flags that make it so', () => {
  expect(flags()).toEqual(
    expect.arrayContaining([
      '--read-only',
      '--cap-drop=all',
      '--security-opt=no-new-privileges',
      `--user=${UID}:${UID}`,
    ]),
  );
});

const here =
  process.getuid?.() === 0 ? testEngine() : 'the tests do not run as root, who must own what the volume is made of';

if (typeof here === 'string') {
  test.skipIf(true)(`the gateway in a container: ${here}`, () => {});
} else {
  withEngine(here);
}

function withEngine({ image, runtime, remove }: Exclude<typeof here, string>): void {
  const name = `remit-gateway-${process.pid}`;
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' };
  const podman = (...args: string[]) =>
    spawnSync('podman', [...(runtime === undefined ? [] : ['--runtime', runtime]), ...args], { env });
  afterEach(async () => {
    podman('rm', '-f', name);
    await endAll();
  });
  afterAll(remove);

  test('EX-06: it is ready, a call passes, and it writes nowhere but in its volume', async () => {
    const issuer = await startIssuer();
    const sink = await startSink();
    try {
      const folder = temporaryFolder();
      const node = await gatewayNode(folder, tokensOf(issuer));
      for (const path of [folder, node.configFile]) chownSync(path, UID, UID);
      const wrapper = [
        'podman',
        ...(runtime === undefined ? [] : ['--runtime', runtime]),
        'run',
        '-i',
        '--rm',
        '--pull=never',
        `--name=${name}`,
        ...flags(),
        // The issuer and the upstream of this test are on this host's loopback. The limits are those that this engine must be given.
        '--network=host',
        '--ulimit=nofile=1024:1024',
        '--ulimit=nproc=1024:1024',
        '--env=AWS_SECRET_ACCESS_KEY=canary',
        `--mount=type=bind,src=${REPOSITORY},dst=${REPOSITORY},readonly`,
        `--mount=type=bind,src=${folder},dst=${folder}`,
        image,
      ];
      const { started } = await node.start({ wrapper, env, readyWithinMs: 60_000 });
      expect((await fetch(`${node.adminUrl}/readyz`)).status).toBe(200);
      await node.setUp(sink);
      expect((await node.call('get', { id: 'in-a-container' })).status).toBe(200);
      expect(sink.received.some((one) => JSON.stringify(one).includes('in-a-container'))).toBe(true);

      const { posture } = (await node.api('ada', 'GET', '/status')).body as { posture: { self: object } };
      expect(posture.self).toEqual({
        user: 'not root',
        rootFileSystem: 'read-only',
        code: 'read-only',
        ambientVariables: ['AWS_SECRET_ACCESS_KEY'],
        ambientFiles: [],
      });
      expect(started.err()).not.toMatch(/runs as root|can be written|can change the program/);

      // As the kernel sees it from outside.
      const pid = podman('inspect', '--format', '{{.State.Pid}}', name).stdout.toString().trim();
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(/^Uid:\s+(.*)$/m.exec(status)![1]!.split('\t')).toEqual(Array.from({ length: 4 }, () => `${UID}`));
      expect(status.match(/^Cap(?:Inh|Prm|Eff|Bnd|Amb):\s+0+$/gm)).toHaveLength(5);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(status).toMatch(/^Seccomp:\s+2$/m);

      // As whoever takes the process over.
      const write = (path: string): number | null => podman('exec', name, '/bin/sh', '-c', `: >${path}`).status;
      for (const path of ['/x', '/etc/x', '/usr/bin/x', '/dev/x', join(REPOSITORY, 'src/x')])
        expect(write(path)).not.toBe(0);
      expect(write(join(folder, 'x'))).toBe(0);
      expect(readdirSync(folder)).toContain('x');
      expect(await started.stop('SIGTERM', 30_000)).toEqual({ code: 0, signal: null });
    } finally {
      await sink.close();
      await issuer.close();
    }
  });

  test('EX-06: without those flags it could write to all of it (vulnerable twin)', () => {
    const run = (...args: string[]) =>
      podman(
        'run',
        '--rm',
        '--network=none',
        '--ulimit=nofile=64:64',
        '--ulimit=nproc=64:64',
        ...args,
        image,
        '/bin/sh',
        '-c',
        ': >/etc/x',
      ).status;
    expect(run()).toBe(0);
    expect(run(...flags())).not.toBe(0);
  });
}
