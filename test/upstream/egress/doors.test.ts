/** One folder with one socket per process, for nobody else, and nothing left of it; also not of a gateway that was killed. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { egressDoors } from '../../../src/upstream/egress/doors.ts';
import type { RefusedEgress } from '../../../src/upstream/egress/proxy.ts';
import { REPOSITORY } from '../../support/upstreams/open.ts';

function parentFolder(): string {
  const parent = mkdtempSync(join(realpathSync(tmpdir()), 'remit-d-'));
  onTestFinished(() => rmSync(parent, { recursive: true }));
  return parent;
}

const open = { serverId: 'a', egress: [{ scheme: 'https', host: 'a.example' }], egressNetworks: [] } as const;
const read = { ...open, serverId: 'b', egress: [{ scheme: 'https', host: 'b.example', methods: ['GET'] }] } as const;

const ask = (socketPath: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: 'http://evil.example/', headers: { host: 'evil.example' } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asked.once('error', reject).end();
  });

test('each process has a folder that only the gateway may enter by its path, and what is refused is told with the server', async () => {
  const parent = parentFolder();
  const told: Array<[string, RefusedEgress]> = [];
  const doors = await egressDoors({ parent, refused: (...what) => void told.push(what) });
  expect(readdirSync(parent)).toEqual([]);
  const [one, other] = await Promise.all([doors.open(open), doors.open(read)]);
  expect(one.folder).not.toBe(other.folder);
  expect(statSync(dirname(one.folder)).mode & 0o777).toBe(0o700);
  expect([one, other].map(({ folder }) => statSync(folder).mode & 0o777)).toEqual([0o755, 0o755]);
  expect([readdirSync(one.folder), readdirSync(other.folder)]).toEqual([['s'], ['bundle.pem', 'ca.pem', 's']]);
  expect([one.authority, other.authority]).toEqual([false, true]);

  const [ca, bundle] = ['ca.pem', 'bundle.pem'].map((name) => readFileSync(join(other.folder, name), 'utf8'));
  expect(bundle).toContain(ca);
  expect(bundle!.length).toBeGreaterThan(50_000);
  expect(`${ca}${bundle}`).not.toContain('PRIVATE');

  expect(await ask(join(other.folder, 's'))).toBe(403);
  expect(told).toEqual([['b', { scheme: 'http', host: 'evil.example', port: 80, why: 'no_rule' }]]);

  for (const folder of ['/', dirname(parent), parent, dirname(one.folder), one.folder])
    expect(doors.touches(folder), folder).toBe(true);
  for (const folder of [`${parent}x`, join(parent, 'x'), '/srv']) expect(doors.touches(folder), folder).toBe(false);

  await one.close();
  await one.close();
  expect([existsSync(one.folder), existsSync(other.folder)]).toEqual([false, true]);
  await doors.close();
  expect(readdirSync(parent)).toEqual([]);
  await expect(doors.open(open)).rejects.toMatchObject({ code: 'egress_folder' });
});

test('rules that cannot be read open nothing and leave nothing', async () => {
  const parent = parentFolder();
  const doors = await egressDoors({ parent, refused: () => {} });
  await expect(doors.open({ ...open, egress: [{ scheme: 'https', host: '0x7f.1' }] })).rejects.toMatchObject({
    code: 'egress_rule',
  });
  await expect(doors.open({ ...open, egressNetworks: ['10.0.0.0'] })).rejects.toMatchObject({ code: 'dial_rule' });
  const [home = ''] = readdirSync(parent);
  expect(readdirSync(join(parent, home))).toEqual(['alive']);
  await doors.close();
});

test('what a killed gateway left is removed by the next one; what is in use, young or not ours is not', async () => {
  const parent = parentFolder();
  const program = `
    import { egressDoors } from ${JSON.stringify(join(REPOSITORY, 'src/upstream/egress/doors.ts'))};
    const doors = await egressDoors({ parent: ${JSON.stringify(parent)}, refused: () => {} });
    await doors.open(${JSON.stringify(read)});
    process.kill(process.pid, 'SIGKILL');`;
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
  expect(signal).toBe('SIGKILL');
  const [left = ''] = readdirSync(parent);
  expect(left).toMatch(/^remit-egress-\w{6}$/);

  const living = await egressDoors({ parent, refused: () => {} });
  await living.open(open);
  expect(readdirSync(parent)).not.toContain(left);
  const [used = ''] = readdirSync(parent);

  const elsewhere = join(parent, 'precious');
  for (const name of ['precious', 'remit-egress-young1', 'remit-egress-old123', 'remit-egress-notes-of-mine'])
    mkdirSync(join(parent, name));
  writeFileSync(join(elsewhere, 'file'), 'kept');
  symlinkSync(elsewhere, join(parent, 'remit-egress-link12'));
  for (const name of ['remit-egress-old123', 'precious', 'remit-egress-notes-of-mine'])
    utimesSync(join(parent, name), 1, 1);
  const next = await egressDoors({ parent, refused: () => {} });
  expect(readdirSync(parent).toSorted()).toEqual(
    ['precious', 'remit-egress-link12', 'remit-egress-notes-of-mine', 'remit-egress-young1', used].toSorted(),
  );
  expect(existsSync(join(elsewhere, 'file'))).toBe(true);
  await next.close();
  await living.close();
});

test('a folder whose path is too long for a socket is a fault that says what to set', async () => {
  const parent = join(parentFolder(), 'x'.repeat(100));
  mkdirSync(parent);
  const doors = await egressDoors({ parent, refused: () => {} });
  await expect(doors.open(open)).rejects.toMatchObject({
    code: 'egress_folder',
    message: expect.stringContaining('set TMPDIR to a shorter one') as string,
  });
  await doors.close();
});
