/** NH-03 for servers that run here: a new value of a credential means a new process, and no call is lost on the way. The process says what it was given. */
import { hash } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { Credential, sealedSecretId } from '../../../src/inventory/credentials.ts';
import { Server } from '../../../src/inventory/records.ts';
import type { Write } from '../../../src/store/state.ts';
import { ORG, type Rig, startRig } from '../../support/rig.ts';
import { REPOSITORY, SINK_PROGRAM, until } from '../../support/upstreams/open.ts';

const DAY = 86_400_000;
const VALUES = ['first-value-0001', 'second-value-0002'];
let rig: Rig;
afterEach(() => rig.stop());

async function writes(value: string, version: string): Promise<Write[]> {
  const now = rig.clock.now();
  const fingerprint = rig.broker.vault.fingerprint(value);
  const body = Credential.parse({
    title: 'Token',
    owner: 'omar',
    purpose: 'reads',
    environment: 'production',
    state: 'enabled',
    source: { kind: 'sealed' },
    servers: ['local'],
    maxAgeDays: 30,
    versions: [{ id: version, fingerprint, at: now, by: 'omar', expiresAt: now + DAY }],
  });
  const jwe = await rig.broker.vault.seal(value, 'token', version);
  return [
    { kind: 'credential', org: ORG, id: 'token', body },
    { kind: 'sealed_secret', org: ORG, id: sealedSecretId('token', version), body: { jwe } },
  ];
}

test('NH-03: a process is replaced with the new value while calls go on; none fails, and the old process ends', async () => {
  rig = await startRig({ servers: {} });
  await rig.commit(await writes('first-value-0001', 'v1'));
  const body = Server.parse({
    title: 'Local',
    owner: 'omar',
    purpose: 'says what it was given',
    environment: 'production',
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: {
      transport: 'stdio',
      command: ['node', `/repo/${SINK_PROGRAM}`],
      mounts: [{ from: REPOSITORY, to: '/repo', mode: 'read' }],
      env: { TOKEN: { secret: 'credential:token' }, ERA: 'legacy', BEHAVIOUR: 'token-digest' },
    },
  });
  await rig.commit([{ kind: 'server', org: ORG, id: 'local', body }]);
  await rig.look('local');
  await rig.approveTool('local', 'echo', 'read', 'notes:read');

  const given: string[] = [];
  const failed: string[] = [];
  const load = { over: false };
  const hands = Array.from({ length: 3 }, async () => {
    while (!load.over) {
      const { result, text } = await rig.call('local', 'echo', { text: 'x' });
      const token = VALUES.find((value) => text.includes(hash('sha256', value)));
      if (result === undefined || result['isError'] === true || token === undefined) failed.push(text);
      else given.push(token);
    }
  });
  await until('calls with the first value', () => given.length > 10, 60_000);
  await rig.commit(await writes('second-value-0002', 'v2'));
  await until('calls with the second value', () => given.filter((one) => one.startsWith('second')).length > 10, 60_000);
  load.over = true;
  await Promise.all(hands);
  expect(failed).toEqual([]);
  expect(given.at(-1)).toBe('second-value-0002');
  expect(JSON.stringify(rig.pool.events)).toContain('the old connection ends once it is unused');
  for (const value of VALUES) expect(JSON.stringify([rig.pool.events, rig.logged]) + rig.disk()).not.toContain(value);
}, 120_000);
