/** `remit authserver preview` as a child process: the dry run of a sign-in. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { remit } from './remit.ts';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'remit-preview-'));
  writeFileSync(
    join(cwd, 'remit.yaml'),
    `authserver:
  issuer: https://login.example.com
  listen: { port: 8443 }
  dataDir: ./authserver
  identityProviders:
    - id: entra
      title: Corporate account
      protocol: oidc
      profile: entra
      issuer: https://login.microsoftonline.com/organizations/v2.0
      clientId: 00000000-0000-0000-0000-000000000001
      clientAuthentication: { method: client_secret_post, secret: 'env:ENTRA_SECRET' }
      tenants: { organisations: { 11111111-1111-1111-1111-111111111111: default } }
      forward: [groups]
`,
  );
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

const preview = (claims: object, ...more: string[]) =>
  remit(['authserver', 'preview', '--provider', 'entra', '--claims', '-', ...more], {
    cwd,
    input: JSON.stringify(claims),
  });
const ADA = {
  oid: 'o-1',
  tid: '11111111-1111-1111-1111-111111111111',
  name: 'Ada \u001b[31mLovelace',
  groups: ['dev'],
};

test('says account, organisation and what is forwarded', async () => {
  const ran = await preview(ADA);
  expect([ran.code, ran.err]).toEqual([0, '']);
  expect(ran.out).toContain('account:                 entra|11111111-1111-1111-1111-111111111111.o-1');
  expect(ran.out).toContain('organisation:            default');
  expect(ran.out).toContain('forwarded:               groups=["dev"]');
  expect(ran.out).not.toContain('\u001b[31m');
});

test('as JSON, with groups that are not known whole', async () => {
  const ran = await preview({ ...ADA, hasgroups: true }, '--json');
  expect(ran.json()).toMatchObject({
    outcome: 'signed in',
    organisation: 'default',
    forwarded: {},
    unknown: ['groups'],
  });
});

test('a refusal ends with 1 and says why', async () => {
  const ran = await preview({ ...ADA, tid: 'another' }, '--json');
  expect(ran.code).toBe(1);
  expect(ran.json()).toEqual({
    outcome: 'refused',
    provider: 'entra',
    reason: "the value of tid is no tenant of this provider's table",
  });
});

test('an unknown provider is refused; an unreadable file or configuration is a usage error', async () => {
  const args = ['authserver', 'preview', '--claims', '-', '--provider'];
  const unknown = await remit([...args, 'nobody', '--json'], { cwd, input: '{}' });
  expect([unknown.code, unknown.json()['reason']]).toEqual([1, 'there is no provider of this id']);
  const list = await remit([...args, 'entra'], { cwd, input: '[]' });
  expect([list.code, list.err]).toEqual([2, expect.stringContaining('does not hold one JSON object')]);
  const twice = await remit([...args, 'entra'], { cwd, input: '{"sub":"a","sub":"b"}' });
  expect(twice.code).toBe(2);
  const nothing = await remit([...args, 'entra'], { cwd: tmpdir(), input: '{}' });
  expect([nothing.code, nothing.err]).toEqual([2, expect.stringContaining('There is no remit.yaml here.')]);
});
