/** The commands for identity as child processes against a real admin plane. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newClaimCode } from '../../src/admin/claim.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { startPlane, type Name, type Plane } from '../admin/plane.ts';
import { remit, type RunOptions } from './remit.ts';

let plane: Plane;
let dir: string;
beforeAll(async () => {
  plane = await startPlane();
  dir = mkdtempSync(join(tmpdir(), 'remit-cli-id-'));
});
afterAll(async () => {
  await plane.close();
  rmSync(dir, { recursive: true, force: true });
});

const as = (name: Name, args: readonly string[], options: RunOptions = {}) =>
  remit(args, {
    cwd: dir,
    ...options,
    env: { REMIT_ADMIN_URL: plane.url, REMIT_TOKEN: plane.tokenOf(name), ...options.env },
  });
const done = async (name: Name, ...args: string[]) => {
  const ran = await as(name, [...args, '--json']);
  expect([args.join(' '), ran.code, ran.err]).toEqual([args.join(' '), 0, '']);
  return ran.json();
};
const REASON = ['--reason', 'x'];

test('groups: made, filled, changed, emptied, removed', { timeout: 150_000 }, async () => {
  const { id } = await done('ada', 'group', 'add', 'Night watch', '--roles', 'auditor', ...REASON);
  const group = String(id);
  await done('ada', 'group', 'join', group, 'nobody', ...REASON);
  expect(await done('ada', 'group', 'show', group)).toMatchObject({ members: 1, roles: ['auditor'] });
  expect((await done('nobody', 'person', 'list', '--group', group))['people']).toEqual([
    expect.objectContaining({ id: 'nobody', groups: [group] }),
  ]);
  await done('ada', 'group', 'set', group, '--roles', 'auditor,operator', ...REASON);
  expect(await done('nobody', 'whoami')).toMatchObject({ roles: ['auditor', 'operator'] });
  await done('ada', 'group', 'leave', group, 'nobody', ...REASON);
  const table = await as('ada', ['group', 'list', '--search', 'night']);
  expect([table.code, table.out]).toEqual([
    0,
    expect.stringMatching(new RegExp(`^${group} +Night watch +auditor,operator +0 +Remit$`, 'm')),
  ]);
  await done('ada', 'group', 'remove', group, ...REASON);
  const gone = await as('ada', ['group', 'show', group]);
  expect([gone.code, gone.err]).toEqual([1, expect.stringContaining('not_found')]);
});

test(
  'agents: registered, refused half described, reviewed, bounded, suspended, retired',
  { timeout: 150_000 },
  async () => {
    const { id } = await done(
      'omar',
      'agent',
      'add',
      '--issuer',
      plane.issuer.issuer,
      '--client-id',
      'nightly',
      '--kind',
      'autonomous',
      '--roles',
      'developer',
      ...REASON,
    );
    const agent = String(id);
    const read = async (): Promise<string> => String((await done('sven', 'agent', 'show', agent))['revision']);
    const half = await as('sven', ['agent', 'activate', agent, '--revision', await read(), ...REASON]);
    expect([half.code, half.err]).toEqual([1, expect.stringContaining('owner')]);
    await done(
      'ada',
      'agent',
      'set',
      agent,
      '--owner',
      'dana',
      '--purpose',
      'sorts tickets',
      '--environment',
      'development',
      '--risk-tier',
      'low',
      '--revocation',
      'remove the client',
      '--review-by',
      '2099-01-31',
      '--risks',
      'read,write',
      '--servers',
      'files',
      ...REASON,
    );
    const own = await as('ada', ['agent', 'activate', agent, '--revision', await read(), ...REASON]);
    expect([own.code, own.err]).toEqual([1, expect.stringContaining('two_people')]);
    await done('sven', 'agent', 'activate', agent, '--revision', await read(), ...REASON);
    // Nothing more by a change while it is active; less is fine.
    const wider = await as('sven', ['agent', 'set', agent, '--servers', '', ...REASON]);
    expect([wider.code, wider.err]).toEqual([1, expect.stringContaining('gets nothing more by a change')]);
    await done('sven', 'agent', 'set', agent, '--risks', 'read', '--replace-by', '2020-01-31', ...REASON);
    expect(await done('sven', 'agent', 'show', agent)).toMatchObject({
      state: 'active',
      ceiling: { risks: ['read'], servers: ['files'] },
      ownerName: 'dana',
      findings: ['secret_expired'],
    });
    const findings = await as('omar', ['finding', 'list']);
    expect(findings.out).toMatch(new RegExp(`^agent +${agent} +nightly +secret_expired`, 'm'));
    await done('omar', 'agent', 'suspend', agent, ...REASON);
    expect(plane.snapshot().agents.get(agentKey(plane.issuer.issuer, 'nightly'))?.state).toBe('suspended');
    await done('omar', 'agent', 'retire', agent, ...REASON);
    const listed = await done('sven', 'agent', 'list', '--state', 'retired', '--limit', '1');
    expect(listed['agents']).toEqual([expect.objectContaining({ id: agent })]);
  },
);

test('a mapping is tried with claims before it is in force, and afterwards', { timeout: 150_000 }, async () => {
  const claims = join(dir, 'claims.json');
  writeFileSync(
    claims,
    JSON.stringify({ iss: plane.issuer.issuer, sub: 'newcomer', client_id: 'remit-cli', groups: ['eng'] }),
  );
  const before = await as('ada', ['access', 'token', '--claims', 'claims.json']);
  expect([before.code, before.out]).toEqual([
    1,
    expect.stringMatching(/^admitted: +no: Nobody here has this identity/m),
  ]);
  writeFileSync(
    join(dir, 'corp.yaml'),
    `issuer: ${plane.issuer.issuer}\nnewcomers: create\nrules:\n  - { claim: groups, value: eng, roles: [developer] }\n`,
  );
  await done('ada', 'mapping', 'put', 'corp', '-f', 'corp.yaml', ...REASON);
  const after = await as('ada', ['access', 'token', '--claims', 'claims.json']);
  expect([after.code, after.out]).toEqual([0, expect.stringMatching(/^role: +developer, from claim groups=eng$/m)]);
  expect(after.out).toMatch(/^signature: +not checked$/m);
  const token = join(dir, 'token');
  writeFileSync(token, plane.tokenOf('dana'), { mode: 0o600 });
  const real = await as('ada', ['access', 'token', '--file', 'token']);
  expect([real.code, real.out]).toEqual([0, expect.stringMatching(/^signature: +verified$/m)]);
  const neither = await as('ada', ['access', 'token']);
  expect(neither.code).toBe(2);
  const again = await as('ada', ['mapping', 'put', 'corp', '-f', 'corp.yaml', ...REASON]);
  expect([again.code, again.err]).toEqual([1, expect.stringContaining('precondition_failed')]);
  expect(await done('ada', 'mapping', 'show', 'corp')).toMatchObject({ newcomers: 'create' });
  await done('ada', 'mapping', 'remove', 'corp', ...REASON);
  expect(await done('ada', 'organisation', 'set', '--new-agents', 'refuse', ...REASON)).toMatchObject({
    id: 'default',
  });
  expect(await done('ada', 'organisation', 'show')).toMatchObject({ newAgents: 'refuse' });
});

test('tokens are taken back: of a person, one by its id, one’s own', { timeout: 150_000 }, async () => {
  await done('omar', 'void', 'add', 'token', 'jti-1', ...REASON);
  expect((await done('aiko', 'void', 'list'))['voids']).toContainEqual(
    expect.objectContaining({ subject: { kind: 'token', value: `${plane.issuer.issuer} jti-1` } }),
  );
  const token = plane.tokenOf('petra', { iat: Math.floor(Date.now() / 1000) - 3 });
  const env = { REMIT_TOKEN: token };
  expect((await as('petra', ['whoami'], { env })).code).toBe(0);
  expect((await as('petra', ['person', 'sign-out', ...REASON], { env })).code).toBe(0);
  const after = await as('petra', ['whoami'], { env });
  expect([after.code, after.err]).toEqual([1, expect.stringContaining('no_standing')]);
});

test('the claim code is read from standard input and makes an administrator', { timeout: 120_000 }, async () => {
  const { text, code } = newClaimCode(Date.now(), () => undefined);
  const fresh = await startPlane({ people: [], claim: code });
  try {
    const env = { REMIT_ADMIN_URL: fresh.url, REMIT_TOKEN: fresh.tokenOf('nora') };
    const ran = await remit(['claim', '-', '--name', 'Nora', '--json'], { env, input: `${text}\n` });
    expect([ran.code, ran.err]).toEqual([0, '']);
    expect((await remit(['whoami', '--json'], { env })).json()).toMatchObject({
      name: 'Nora',
      roles: ['administrator'],
    });
    expect((await remit(['claim', '-'], { env, input: text })).code).toBe(1);
  } finally {
    await fresh.close();
  }
});

test(
  'ID-07: where nobody can be asked, a token from the environment is not good enough and the remedy says what is',
  { timeout: 120_000 },
  async () => {
    const env = { REMIT_TOKEN: plane.tokenOf('ada', { amr: ['pwd'] }), REMIT_SIGN_IN: 'browser' };
    const ran = await as('ada', ['organisation', 'set', '--title', 'T', ...REASON], { env });
    expect([ran.code, ran.err]).toEqual([3, expect.stringContaining('remit login --max-age')]);
    expect(ran.err).toContain('insufficient_user_authentication');
  },
);
