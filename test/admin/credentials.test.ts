/** Credentials through the API: what is refused and with which words, who enables, and that a value never comes out again. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPlane, type Plane, type Reply } from './plane.ts';

let plane: Plane;
beforeAll(async () => void (plane = await startPlane()));
afterAll(() => plane.close());

const DAY = 86_400_000;
const soon = () => Date.now() + 7 * DAY;
const CANARY = 'canary-credential-value-81f2';

const metadata = (more: object = {}) => ({
  title: 'Token of GitHub',
  owner: 'omar',
  purpose: 'reads issues',
  environment: 'production',
  riskTier: 'high',
  revocation: 'github.com, settings, tokens',
  reviewBy: Date.now() + 90 * DAY,
  source: { kind: 'sealed' },
  servers: ['github'],
  maxAgeDays: 30,
  ...more,
});
const server = (environment: string) =>
  plane.put('server', environment === 'production' ? 'github' : environment, {
    title: 'GitHub',
    owner: 'omar',
    purpose: 'issues',
    environment,
    dataClasses: ['internal'],
    state: 'enabled',
    upstream: { transport: 'http', url: 'https://mcp.example.com' },
  });

const put = (id: string, more: object = {}, headers: Record<string, string> = {}) =>
  plane.as('omar', 'PUT', `/credentials/${id}`, { reason: 'test', credential: metadata(more) }, headers);
const give = (id: string, body: object) =>
  plane.as('omar', 'POST', `/credentials/${id}/versions`, { reason: 'test', ...body });
async function move(who: string, id: string, to: string): Promise<Reply> {
  const { headers } = await plane.as('sven', 'GET', `/credentials/${id}`);
  return plane.as(
    who,
    'POST',
    `/credentials/${id}/${to}`,
    { reason: 'test' },
    { 'if-match': headers.get('etag') ?? '' },
  );
}
async function enabled(id: string, value: string, more: object = {}): Promise<Reply> {
  await put(id, more);
  await give(id, { value, expiresAt: soon() });
  await move('omar', id, 'submit');
  return move('sven', id, 'enable');
}

describe('credentials', () => {
  beforeAll(async () => void (await plane.seed([server('production'), server('staging'), server('development')])));

  test('a draft gets a value, is reviewed by somebody else, enabled, suspended and retired', async () => {
    expect(await put('one')).toMatchObject({ status: 201, body: { state: 'draft', version: null } });
    expect(await give('one', { value: CANARY, expiresAt: soon() })).toMatchObject({ status: 201 });
    expect((await move('omar', 'one', 'submit')).body).toMatchObject({ state: 'in_review' });
    expect((await move('sven', 'one', 'enable')).body).toMatchObject({ state: 'enabled' });
    expect((await move('omar', 'one', 'suspend')).body).toMatchObject({ state: 'suspended' });
    expect(plane.revoked).toContain('one');
    expect((await move('omar', 'one', 'retire')).body).toMatchObject({ state: 'retired' });
    expect((await plane.state.load()).records.filter(({ kind }) => kind === 'sealed_secret')).toEqual([]);
    expect(await give('one', { value: 'x', expiresAt: soon() })).toMatchObject({ status: 409 });
    expect(await move('sven', 'one', 'enable')).toMatchObject({
      status: 409,
      body: { error: { code: 'credential_transition' } },
    });
  });

  test('AN-12: a value that was given stands in no answer, record, history, entry or log line', async () => {
    await put('quiet');
    const answers = [
      await give('quiet', { value: CANARY, expiresAt: soon() }),
      await give('quiet', { value: CANARY, expiresAt: 5 }),
      await give('quiet', { value: CANARY, unknown: true }),
      await give('quiet', { value: `${CANARY}\0`, expiresAt: soon() }),
      await plane.as('sven', 'GET', '/credentials/quiet'),
      await plane.as('sven', 'GET', '/credentials'),
      await plane.as('sven', 'GET', '/history/sealed_secret/quiet'),
      await plane.as('sven', 'GET', '/findings'),
    ];
    const stored = JSON.stringify([(await plane.state.load()).records, await plane.state.changesAfter(0, 100_000)]);
    for (const text of [
      ...answers.map(({ text }) => text),
      stored,
      JSON.stringify(await plane.entries()),
      JSON.stringify(plane.logged),
    ])
      expect(text).not.toContain(CANARY);
    expect(answers.map(({ status }) => status).slice(0, 4)).toEqual([201, 422, 422, 422]);
  });

  test('NH-03: without an end, or too old, it does not come into production, and all reasons are told at once', async () => {
    await put('static', { riskTier: undefined, owner: 'nobody-there', revocation: undefined });
    await give('static', { value: 'a-static-token-0001' });
    await move('omar', 'static', 'submit');
    const refused = await move('sven', 'static', 'enable');
    expect(refused.status).toBe(422);
    for (const said of ['owner', 'riskTier', 'revocation', 'without an end, which is not let into production'])
      expect(String(refused.body.error?.['message'])).toContain(said);
    // Elsewhere than in production it is a finding and no obstacle.
    expect(
      (await enabled('loose', 'a-loose-token-0001', { environment: 'staging', servers: ['staging'] })).body,
    ).toMatchObject({ state: 'enabled' });
  });

  test('NH-07: production and anything else do not meet, whoever names whom', async () => {
    await put('crossed', { servers: ['github', 'staging'] });
    await give('crossed', { value: 'crossed-value-0001', expiresAt: soon() });
    await move('omar', 'crossed', 'submit');
    const refused = await move('sven', 'crossed', 'enable');
    expect(String(refused.body.error?.['message'])).toContain(
      'names staging, which is of staging; the credential is of production',
    );
  });

  test('NH-08: one secret for two servers is refused, in one credential and in two, unless there is a reason that ends', async () => {
    expect((await enabled('first', 'the-same-secret-0001')).status).toBe(200);
    const second = await enabled('second', 'the-same-secret-0001', { servers: ['github-2'] });
    expect(String(second.body.error?.['message'])).toContain(
      'holds the same secret as the credential first, which serves github',
    );
    await plane.seed([plane.put('server', 'github-2', { ...server('production').body })]);
    const both = await enabled('both', 'another-secret-0001', { servers: ['github', 'github-2'] });
    expect(String(both.body.error?.['message'])).toContain('one secret for 2 servers');
    const sharing = { reason: 'one account for both', until: soon() };
    const excepted = await enabled('excepted', 'third-secret-00001', { servers: ['github', 'github-2'], sharing });
    expect(excepted.body).toMatchObject({ state: 'enabled' });
    const over = await put('late', { sharing: { reason: 'x', until: 5 } });
    expect(over).toMatchObject({ status: 422, body: { error: { field: 'credential.sharing.until' } } });
  });

  test('NH-08: a rotation to a secret that another credential holds is refused, and the old value stays', async () => {
    await enabled('alone', 'a-secret-alone-0001', { servers: ['github-2'] });
    const refused = await give('alone', { value: 'the-same-secret-0001', expiresAt: soon() });
    expect(refused).toMatchObject({
      status: 422,
      body: { error: { message: expect.stringContaining('holds the same secret') } },
    });
    expect((await plane.as('sven', 'GET', '/credentials/alone')).body['versions']).toHaveLength(1);
  });

  test('two people: whoever wrote it or gave its value does not enable it, and a change goes back in review', async () => {
    await plane.as('ada', 'PUT', '/credentials/own', { reason: 'test', credential: metadata({ servers: [] }) });
    await plane.as('ada', 'POST', '/credentials/own/versions', {
      reason: 'test',
      value: 'own-secret-000001',
      expiresAt: soon(),
    });
    await move('ada', 'own', 'submit');
    expect(await move('ada', 'own', 'enable')).toMatchObject({ status: 403, body: { error: { code: 'two_people' } } });
    expect((await move('sven', 'own', 'enable')).status).toBe(200);
    const { headers } = await plane.as('sven', 'GET', '/credentials/own');
    const words = { 'if-match': headers.get('etag') ?? '' };
    expect((await put('own', { servers: [], title: 'Another title' }, words)).body).toMatchObject({ state: 'enabled' });
    const next = (await plane.as('sven', 'GET', '/credentials/own')).headers.get('etag') ?? '';
    expect((await put('own', { servers: ['github'] }, { 'if-match': next })).body).toMatchObject({
      state: 'in_review',
    });
  });

  test.each([
    [
      'a value for a reference',
      { source: { kind: 'reference', reference: 'env:REMIT_TEST_CREDENTIAL' } },
      { value: 'x' },
      422,
    ],
    ['no value for a sealed one', {}, {}, 422],
    ['an end that is over', {}, { value: 'x', expiresAt: 5 }, 422],
    ['a place that cannot be read', { source: { kind: 'reference', reference: 'env:REMIT_TEST_ABSENT' } }, {}, 409],
    ['a vault that is not configured', { source: { kind: 'reference', reference: 'vault:secret/a#b' } }, {}, 409],
  ])('%s is refused and changes nothing', async (name, more, body, status) => {
    const id = name.replaceAll(' ', '-');
    await put(id, more);
    expect(await give(id, body)).toMatchObject({ status });
    expect((await plane.as('sven', 'GET', `/credentials/${id}`)).body['versions']).toEqual([]);
  });

  test('a reference is read, and its fingerprint is that of the same value elsewhere', async () => {
    process.env['REMIT_TEST_CREDENTIAL'] = 'the-same-secret-0001';
    await put('referred', {
      source: { kind: 'reference', reference: 'env:REMIT_TEST_CREDENTIAL' },
      servers: ['github-2'],
    });
    expect((await give('referred', { expiresAt: soon() })).status).toBe(201);
    await move('omar', 'referred', 'submit');
    expect(String((await move('sven', 'referred', 'enable')).body.error?.['message'])).toContain(
      'holds the same secret',
    );
  });

  test('only keepers of servers write, only reviewers enable, only administrators reseal; a stale revision is refused', async () => {
    expect((await plane.as('dana', 'GET', '/credentials')).status).toBe(403);
    expect((await plane.as('dana', 'PUT', '/credentials/x', { reason: 'test', credential: metadata() })).status).toBe(
      403,
    );
    expect((await move('omar', 'first', 'enable')).status).toBe(403);
    expect((await plane.as('omar', 'POST', '/credentials/reseal', { reason: 'test' })).status).toBe(403);
    expect((await put('first')).status).toBe(428);
    expect((await put('first', {}, { 'if-match': '"1"' })).status).toBe(412);
  });

  test('findings tell of what ends soon, has no end, or is in two places', async () => {
    const { body } = await plane.as('sven', 'GET', '/findings');
    const codes = (body['findings'] as { id: string; code: string }[]).map(({ id, code }) => `${id} ${code}`);
    expect(codes).toContain('first credential_expiring');
    expect(codes.some((one) => one.endsWith('credential_no_expiry'))).toBe(true);
    expect(codes).toContain('second credential_shared');
  });

  test('resealing says under which key everything lies, and what it could not open', async () => {
    const done = await plane.as('ada', 'POST', '/credentials/reseal', { reason: 'test' });
    expect(done.body).toMatchObject({ resealed: 0, unreadable: [] });
    await plane.seed([plane.put('sealed_secret', 'first/ver_x', { jwe: 'not.a.sealed.value.x' })]);
    expect((await plane.as('ada', 'POST', '/credentials/reseal', { reason: 'test' })).body).toMatchObject({
      unreadable: ['first/ver_x'],
    });
  });

  test('NH-03: a server of production is not enabled with a secret that nobody governs, nor NH-07 with a credential of elsewhere', async () => {
    const upstream = {
      transport: 'http',
      url: 'https://mcp.example.com',
      headers: [
        { name: 'X-One', value: { secret: 'env:REMIT_SECRET_A' } },
        { name: 'X-Two', value: { secret: 'credential:loose' } },
      ],
    };
    await plane.seed([
      plane.put('server', 'ungoverned', { ...server('production').body, state: 'in_review', upstream }),
    ]);
    const { headers } = await plane.as('sven', 'GET', '/servers/ungoverned');
    const refused = await plane.as(
      'sven',
      'POST',
      '/servers/ungoverned/enable',
      { reason: 'test' },
      { 'if-match': headers.get('etag') ?? '' },
    );
    expect(refused.status).toBe(422);
    const said = String(refused.body.error?.['message']);
    expect(said).toContain('upstream.headers.0.value: It refers to env:REMIT_SECRET_A, whose age and end nobody knows');
    expect(said).toContain('refers to the credential loose, which does not name the server ungoverned');
  });
});
