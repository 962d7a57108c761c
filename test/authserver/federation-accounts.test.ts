/** What is kept of federated people and of sign-ins under way: for whom, how long, how often. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { DatabaseSync as Database } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/authserver/database.ts';
import { federatedAccounts, forgetFederated } from '../../src/authserver/federation/accounts.ts';
import { flows } from '../../src/authserver/federation/flows.ts';
import { mayUse, organisationOfResource } from '../../src/authserver/federation/organisation.ts';
import { IdentityProviders } from '../../src/authserver/federation/settings.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { cookieJar } from '../support/browser.ts';
import { NOTHING_ASKED, press, startFederated } from './federation-fixture.ts';

let db: DatabaseSync;
let folder: string;
const clock = manualClock(1_800_000_000_000);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remit-accounts-'));
  db = openDatabase(folder);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

const providers = (change: Record<string, unknown> = {}) =>
  IdentityProviders.parse([
    {
      id: 'corp',
      title: 'Corp',
      protocol: 'oidc',
      issuer: 'https://idp.example',
      clientId: 'remit',
      clientAuthentication: { method: 'none' },
      organisation: 'acme',
      forward: ['groups', 'department'],
      ...change,
    },
  ]);

const ADA = {
  account: 'corp|ada',
  organisation: 'acme',
  name: 'Ada',
  email: null,
  forwarded: { groups: ['dev'], department: 'R' },
  unknown: [],
  upstreamSession: 's-1',
};
const FACTS = { authTime: 1_799_999_000, acr: 'mfa', amr: ['pwd', 'otp'] };

describe('an account', () => {
  test('is found with what the settings forward', async () => {
    const accounts = federatedAccounts(db, providers(), clock);
    accounts.save(ADA, FACTS);
    expect(await accounts.find('corp|ada')).toEqual({
      sub: 'corp|ada',
      name: 'Ada',
      email: '',
      organisation: 'acme',
      groups: ['dev'],
      forwarded: { department: 'R' },
    });
    expect(await accounts.find('corp|eve')).toBeNull();
  });

  test.for([
    ['whose provider is gone', { id: 'other' }],
    ['whose provider serves their organisation no more', { organisation: 'globex' }],
  ] as const)('%s is nobody', async ([, change]) => {
    federatedAccounts(db, providers(), clock).save(ADA, FACTS);
    expect(await federatedAccounts(db, providers(change), clock).find('corp|ada')).toBeNull();
  });

  test('brings no claim that the settings forward no more', async () => {
    federatedAccounts(db, providers(), clock).save(ADA, FACTS);
    const found = await federatedAccounts(db, providers({ forward: ['department'] }), clock).find('corp|ada');
    expect(found).toMatchObject({ forwarded: { department: 'R' } });
    expect(found?.groups).toBeUndefined();
  });

  test('that is purged leaves nothing', async () => {
    const accounts = federatedAccounts(db, providers(), clock);
    accounts.save(ADA, FACTS);
    forgetFederated(db, 'corp|ada');
    expect(await accounts.find('corp|ada')).toBeNull();
    expect(db.prepare('SELECT count(*) AS n FROM federated_account').get()?.['n']).toBe(0);
  });
});

describe('AN-11: a sign-in under way', () => {
  const flow = (state: string, change: { interaction?: string; provider?: string } = {}) => ({
    interaction: 'i1',
    provider: 'corp',
    secret: { verifier: 'v' },
    asked: NOTHING_ASKED,
    ...change,
    state,
  });

  test('is answered once and taken once, with the receipt of whoever brought the answer', () => {
    const under = flows(db, clock);
    under.begin(flow('s1'));
    expect(under.take('i1', '')).toBeNull();
    const { interaction, receipt } = under.answer('corp', 's1', 'code=a')!;
    expect(interaction).toBe('i1');
    expect(under.answer('corp', 's1', 'code=b')).toBeNull();
    expect(under.take('i1', '')).toBeNull();
    expect(under.take('i1', receipt.toLowerCase())).toBeNull();
    expect(under.take('i1', receipt)).toMatchObject({ provider: 'corp', answer: 'code=a', secret: { verifier: 'v' } });
    expect(under.take('i1', receipt)).toBeNull();
    expect(under.answer('corp', 's1', 'code=a')).toBeNull();
  });

  test('is answered by the provider that was asked and by no other', () => {
    const under = flows(db, clock);
    under.begin(flow('s1'));
    expect(under.answer('other', 's1', 'code=a')).toBeNull();
    expect(under.answer('corp', 's1', 'code=a')?.interaction).toBe('i1');
  });

  test('that begins anew in the same interaction voids the one before, also when that was answered', () => {
    const under = flows(db, clock);
    under.begin(flow('s1'));
    const first = under.answer('corp', 's1', 'code=a')!;
    under.begin(flow('s2', { provider: 'other' }));
    expect(under.answer('corp', 's1', 'code=a')).toBeNull();
    expect(under.take('i1', first.receipt)).toBeNull();
    expect(under.answer('other', 's2', 'code=b')?.interaction).toBe('i1');
    expect(under.take('i1', first.receipt)).toBeNull();
  });

  test('ends after ten minutes, answered or not', () => {
    const ticking = manualClock(1_800_000_000_000);
    const under = flows(db, ticking);
    under.begin(flow('s1'));
    under.begin(flow('s2', { interaction: 'i2' }));
    const { receipt } = under.answer('corp', 's2', 'code=b')!;
    ticking.advance(600_000);
    expect(under.answer('corp', 's1', 'code=a')).toBeNull();
    expect(under.take('i2', receipt)).toBeNull();
    under.begin(flow('s3', { interaction: 'i3' }));
    expect(db.prepare('SELECT count(*) AS n FROM federation_flow').get()?.['n']).toBe(1);
  });

  test('an answer that nobody comes for is kept for a minute', () => {
    const ticking = manualClock(1_800_000_000_000);
    const under = flows(db, ticking);
    under.begin(flow('s1'));
    const { receipt } = under.answer('corp', 's1', 'x'.repeat(200_000))!;
    ticking.advance(60_000);
    expect(under.take('i1', receipt)).toBeNull();
  });

  test('is kept without its state in clear', () => {
    flows(db, clock).begin(flow('a-state-in-clear'));
    expect(JSON.stringify(db.prepare('SELECT * FROM federation_flow').all())).not.toContain('a-state-in-clear');
  });

  test('an assertion counts once until it expires', () => {
    const ticking = manualClock(1_800_000_000_000);
    const under = flows(db, ticking);
    const until = 1_800_000_000 + 60;
    expect(under.useOnce('saml corp _1', until)).toBe(true);
    expect(under.useOnce('saml corp _1', until)).toBe(false);
    expect(under.useOnce('saml other _1', until)).toBe(true);
    ticking.advance(61_000);
    expect(under.useOnce('saml corp _2', until + 100)).toBe(true);
    expect(db.prepare('SELECT count(*) AS n FROM federation_used').get()?.['n']).toBe(1);
  });
});

test.for([
  ['acme', 'https://mcp.example/mcp/default/files', false],
  ['default', 'https://mcp.example/mcp/default/files', true],
  [undefined, 'https://mcp.example/mcp/default/files', true],
  ['globex', 'https://mcp.globex.example/x', true],
  [undefined, 'https://mcp.globex.example/x', false],
  ['globex', 'https://mcp.globex.example.evil/x', false],
  ['default', 'nonsense', false],
] as const)('ID-01: somebody of %s may use %s: %s', ([organisation, resource, allowed]) => {
  const gateways = [
    { origin: 'https://mcp.example' },
    { origin: 'https://mcp.globex.example', organisation: 'globex' },
  ];
  expect(mayUse(gateways, organisation === undefined ? {} : { organisation }, resource)).toBe(allowed);
  if (allowed) expect(organisationOfResource(gateways, resource)).toBe(organisation ?? 'default');
});

test('somebody who is inactive gets a page, and no circle between two servers that both know them', async () => {
  const at = await startFederated();
  try {
    await at.idp.visitor({ sub: 'gone', claims: { name: 'Gwen' } });
    const jar = cookieJar();
    expect((await at.visit({ jar })).page?.text).toContain('Gwen');
    await at.server.close();
    const file = new Database(join(at.dataDir, 'authserver.db'));
    file
      .prepare('INSERT INTO event_disabled (sub, told_by, since) VALUES (?, ?, 0)')
      .run('corp|gone', 'https://gw.example');
    file.close();
    await at.restart({ gatewayStatus: 200 });
    const stop = await at.visit({ jar });
    expect([stop.page?.status, stop.page?.text.includes('access_denied')]).toEqual([400, true]);
    expect((await press(stop, jar, 'access_denied')).url.searchParams.get('error')).toBe('access_denied');
  } finally {
    await at.stop();
  }
});
