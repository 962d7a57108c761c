/**
 * What was let through by a rule does not lose it afterwards: an enabled credential keeps what had to be said of it and an owner who is
 * there, and a definition that came to count as consequential does not become reading again by the way back.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { READ_FILE, startPlane, type Plane } from '../admin/plane.ts';

const DAY = 86_400_000;
let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  const now = Date.now();
  await plane.seed([
    plane.put('server', 'github', {
      title: 'GitHub',
      owner: 'omar',
      purpose: 'issues',
      environment: 'production',
      dataClasses: ['internal'],
      state: 'enabled',
      upstream: { transport: 'http', url: 'https://mcp.example.com' },
    }),
    plane.put('credential', 'token', { ...SAID(now), state: 'enabled', versions: [version(now)] }),
    plane.put('sealed_secret', 'token/v1', { jwe: 'sealed' }),
  ]);
});
afterAll(() => plane.close());

const SAID = (now: number) => ({
  title: 'Token',
  owner: 'omar',
  purpose: 'reads issues',
  environment: 'production',
  riskTier: 'high',
  revocation: 'at the issuer',
  reviewBy: now + 90 * DAY,
  source: { kind: 'sealed' },
  servers: ['github'],
  maxAgeDays: 30,
});
const version = (now: number) => ({
  id: 'v1',
  fingerprint: 'f'.repeat(64),
  at: now,
  by: 'omar',
  expiresAt: now + DAY,
});

const without = (said: Record<string, unknown>, member: string) =>
  Object.fromEntries(Object.entries(said).filter(([name]) => name !== member));

async function put(change: (said: Record<string, unknown>) => Record<string, unknown>) {
  const { headers } = await plane.as('omar', 'GET', '/credentials/token');
  const body = { reason: 'test', credential: change(SAID(Date.now())) };
  return plane.as('omar', 'PUT', '/credentials/token', body, { 'if-match': headers.get('etag') ?? '' });
}

test.each([
  ['who revokes it', (said) => without(said, 'revocation'), 'credential.revocation'],
  ['its risk', (said) => without(said, 'riskTier'), 'credential.riskTier'],
  ['its next review', (said) => without(said, 'reviewBy'), 'credential.reviewBy'],
  ['the day of its review', (said) => ({ ...said, reviewBy: 5 }), 'credential.reviewBy'],
  ['its owner, to nobody', (said) => ({ ...said, owner: 'ghost' }), 'credential.owner'],
] as const satisfies ReadonlyArray<
  readonly [string, (said: Record<string, unknown>) => Record<string, unknown>, string]
>)('NH-01: an enabled credential does not lose %s', async (_what, change, field) => {
  const reply = await put(change);
  expect([reply.status, reply.body.error?.['field']]).toEqual([422, field]);
  expect((await plane.as('sven', 'GET', '/credentials/token')).body).toMatchObject({
    state: 'enabled',
    riskTier: 'high',
    owner: 'omar',
  });
});

test('NH-05: naming one absent owner after another does not put off the end', async () => {
  for (const owner of ['ghost-1', 'ghost-2']) expect((await put((said) => ({ ...said, owner }))).status).toBe(422);
});

test('NH-07: the place of a credential is not taken from past it, whichever of the two is there first', async () => {
  const now = Date.now();
  const reference = 'env:REMIT_SECRET_FOUND_5';
  const server = (id: string, state: string) =>
    plane.put('server', id, {
      title: 'Try',
      owner: 'omar',
      purpose: 'x',
      environment: 'development',
      dataClasses: ['internal'],
      riskTier: 'low',
      revocation: 'x',
      reviewBy: now + DAY,
      source: { vendor: 'x', version: '1.0.0' },
      state,
      upstream: {
        transport: 'http',
        url: 'https://try.example.com',
        headers: [{ name: 'X-Key', value: { secret: reference } }],
      },
    });
  await plane.seed([
    plane.put('credential', 'placed', {
      ...SAID(now),
      source: { kind: 'reference', reference },
      state: 'in_review',
      versions: [{ ...version(now), fingerprint: 'e'.repeat(64) }],
    }),
    server('try', 'in_review'),
  ]);
  const enable = async (path: string) => {
    const { headers } = await plane.as('sven', 'GET', path);
    const reply = await plane.as(
      'sven',
      'POST',
      `${path}/enable`,
      { reason: 'test' },
      { 'if-match': headers.get('etag') ?? '' },
    );
    return [reply.status, String(reply.body.error?.['message'])] as const;
  };
  const [status, message] = await enable('/servers/try');
  expect([status, message]).toEqual([
    422,
    expect.stringContaining('refers to the place of the credential placed; refer to it as credential:placed'),
  ]);
  // Enabled before the credential was there.
  await plane.seed([server('early', 'enabled')]);
  expect(await enable('/credentials/placed')).toEqual([
    422,
    expect.stringContaining('is taken from its place by the server early'),
  ]);
  await plane.seed([server('early', 'suspended')]);
  expect((await enable('/credentials/placed'))[0]).toBe(200);
});

test('NH-03: what was sealed is gone from the records once its credential has its value elsewhere', async () => {
  const sealed = async () => (await plane.state.load()).records.filter(({ kind }) => kind === 'sealed_secret');
  expect(await sealed()).toHaveLength(1);
  const moved = await put((said) => ({ ...said, source: { kind: 'reference', reference: 'env:REMIT_SECRET_X' } }));
  expect([moved.status, moved.body['state']]).toEqual([200, 'in_review']);
  expect(await sealed()).toEqual([]);
});

test.each([
  ['since found to destroy', 'destructive', 403],
  ['always only read', 'read', 200],
] as const)(
  'AP-01: one person goes back to what one person once called reading only if it was %s',
  async (_what, risk, status) => {
    const name = `read_${risk}`;
    const [first, second] = ['Reads.', 'Reads, and tidies up.'].map((description) => ({
      ...READ_FILE,
      name,
      description,
    }));
    const seen = (definition: object) => ({ digest: definitionDigest(definition as never), definition });
    const approved = (definition: object, more: object) => ({
      ...seen(definition),
      scope: 'x:read',
      justification: 'x',
      by: 'sven',
      at: 1,
      ...more,
    });
    const record = (observed: object, review: object) =>
      plane.seed([
        plane.put('tool', `github/${name}`, {
          server: 'github',
          kind: 'tool',
          name,
          observed: { ...seen(observed), seenAt: 1 },
          approved: review,
        }),
      ]);
    await record(first!, approved(first!, { risk: 'read' }));
    await record(second!, approved(second!, { risk, ...(risk !== 'read' && { by: 'sven', proposedBy: 'omar' }) }));
    await record(first!, approved(second!, { risk, ...(risk !== 'read' && { by: 'sven', proposedBy: 'omar' }) }));
    const back = await plane.as('sven', 'POST', `/servers/github/tools/${name}/rollback`, { reason: 'as before' });
    expect([back.status, back.text]).toEqual([status, back.text]);
    if (status === 403) expect(back.body.error?.['code']).toBe('needs_second_person');
  },
);
