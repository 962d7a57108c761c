/** How somebody must have signed in (ID-07), who does not come in at all (ID-09), accounts for emergencies, and the first administrator. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLAIM_TTL_MS, newClaimCode } from '../../src/admin/claim.ts';
import { ROUTES } from '../../src/admin/routes.ts';
import { signInLack } from '../../src/admin/sign-in-rule.ts';
import { personKey } from '../../src/directory/records.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { STRICT_SIGN_IN } from '../support/sign-in.ts';
import { startPlane, type Name, type Plane, type Reply } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const now = () => Math.floor(Date.now() / 1000);
const code = (reply: Reply) => [reply.status, reply.body.error?.['code']];
const WEAK = [401, 'insufficient_user_authentication'];

const send = (on: Plane, token: string, method: string, path: string, body?: object, headers = {}): Promise<Reply> =>
  on.raw(
    method,
    `/api/v1${path}`,
    {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body === undefined ? undefined : JSON.stringify(body),
  );
const organisation = (on: Plane, token: string) =>
  send(
    on,
    token,
    'PUT',
    '/organisation',
    { reason: 'x', organisation: { title: 'Test', newAgents: 'active' } },
    { 'if-match': '"1"' },
  );

describe('ID-07', () => {
  test.each([
    ['no sign-in time', { auth_time: undefined }],
    ['a sign-in of sixteen minutes ago', { auth_time: now() - 960 }],
    ['no methods', { amr: undefined }],
    ['a password alone', { amr: ['pwd'] }],
    ['two passwords', { amr: ['pwd', 'pin'] }],
    ['an acr that means nothing here', { amr: ['pwd'], acr: 'https://evil.example/mfa' }],
  ])(
    'ID-07: a change with consequences is refused to a token with %s, challenged as RFC 9470 says, and recorded',
    async (_name, claims) => {
      const reply = await organisation(plane, plane.tokenOf('ada', claims));
      expect(code(reply)).toEqual(WEAK);
      const challenge = reply.headers.get('www-authenticate') ?? '';
      expect(challenge).toMatch(/^Bearer error="insufficient_user_authentication"/);
      expect(challenge).toContain('max_age="900"');
      expect(challenge).toContain('acr_values="https://refeds.org/profile/mfa"');
      expect(reply.body.error?.['remedy']).toContain('remit login --max-age 900');
      expect((await plane.entries('admin')).at(-1)).toMatchObject({
        ref: reply.body.error?.['ref'],
        actor: { person: 'ada' },
        event: { what: 'request.refused', reason: 'insufficient_user_authentication' },
      });
    },
  );

  test.each([
    ['mfa', { amr: ['mfa'] }],
    ['a password and a one-time code', { amr: ['pwd', 'otp'] }],
    ['an acr that is asked for', { amr: ['pwd'], acr: 'https://refeds.org/profile/mfa' }],
  ])('ID-07: a recent sign-in with %s opens the same change', async (_name, claims) => {
    // The record has moved on since: the row was reached.
    expect((await organisation(plane, plane.tokenOf('ada', claims))).status).not.toBe(401);
  });

  test('ID-07: without the rule the stale sign-in changes the organisation (vulnerable twin)', async () => {
    const signIn = { ...STRICT_SIGN_IN, unsafeNoSecondFactor: true, sensitiveMaxAgeSeconds: 43_200 };
    const twin = await startPlane({ facts: { signIn } });
    try {
      const reply = await organisation(twin, twin.tokenOf('ada', { auth_time: now() - 960, amr: ['pwd'] }));
      expect(reply.status).toBe(200);
      expect((await organisation(twin, twin.tokenOf('ada', { auth_time: undefined }))).status).toBe(401);
    } finally {
      await twin.close();
    }
  });

  test('ID-07: reading needs the second factor and a sign-in of this half day; who somebody is needs no factor', async () => {
    const get = async (path: string, claims: object) =>
      code(await send(plane, plane.tokenOf('ada', { ...claims }), 'GET', path));
    expect(await get('/people', { auth_time: now() - 960 })).toEqual([200, undefined]);
    expect(await get('/people', { auth_time: now() - 43_300 })).toEqual(WEAK);
    expect(await get('/people', { amr: ['pwd'] })).toEqual(WEAK);
    expect(await get('/me', { amr: ['pwd'] })).toEqual([200, undefined]);
    expect(await get('/me', { auth_time: now() - 43_300 })).toEqual(WEAK);
  });

  test('ID-07: an emergency does not wait: locks, suspensions and sign-outs ask no newer sign-in', async () => {
    const token = plane.tokenOf('omar', { auth_time: now() - 3_600 });
    const lock = await send(plane, token, 'POST', '/locks', { kind: 'user', value: 'dana', reason: 'x' });
    expect(lock.status).toBe(201);
    const lift = (claims: object) =>
      send(plane, plane.tokenOf('sven', { ...claims }), 'DELETE', `/locks/${String(lock.body['id'])}`, { reason: 'x' });
    expect(code(await lift({ auth_time: now() - 3_600 }))).toEqual(WEAK);
    expect((await lift({})).status).toBe(200);
  });

  test('ID-07: what gives rights, takes brakes away or connects somebody is behind the newer sign-in', () => {
    const sensitive = ROUTES.filter((row) => row.sensitive).map(
      ({ method, path }) => `${method} ${path.replace('/api/v1', '')}`,
    );
    expect(sensitive).toEqual(
      expect.arrayContaining([
        'POST /people',
        'PUT /people/:person',
        'PUT /groups/:group',
        'PUT /groups/:group/members/:person',
        'PUT /mappings/:mapping',
        'POST /agents/:agent/activate',
        'POST /policies/:policy/activate',
        'POST /policies/:policy/deactivate',
        'DELETE /locks/:lock',
        'POST /servers/:server/enable',
        'POST /servers/:server/tools/:tool/approve',
        'POST /claim',
      ]),
    );
    expect(ROUTES.filter((row) => row.sensitive && row.method === 'GET')).toEqual([]);
  });

  test('a token without a sign-in time counts from its issue only where the configuration says so', () => {
    const token = { authTime: null, issuedAt: 1_000, amr: ['mfa'], acr: null };
    const row = { sensitive: true, roles: ['administrator'] };
    const lack = (rule: object, at: number) =>
      signInLack({ ...STRICT_SIGN_IN, ...rule }, token, row, false, at * 1_000)?.lacks;
    expect(lack({}, 1_001)).toBe('recent_sign_in');
    expect(lack({ unsafeIssuedAtAsSignIn: true }, 1_900)).toBe(undefined);
    expect(lack({ unsafeIssuedAtAsSignIn: true }, 1_901)).toBe('recent_sign_in');
  });
});

describe('ID-09', () => {
  const agent = (clientId: string, more: object = {}) =>
    plane.put(
      'agent',
      `agent-${clientId}`,
      {
        issuer: plane.issuer.issuer,
        clientId,
        title: clientId,
        kind: 'delegate',
        state: 'active',
        roles: [],
        ceiling: {},
        ...more,
      },
      agentKey(plane.issuer.issuer, clientId),
    );

  test('ID-09: an agent that acts alone, or for somebody, is refused whatever its record says', async () => {
    await plane.seed([
      agent('robot', { kind: 'autonomous', owner: 'ada', purpose: 'p', roles: ['operator'] }),
      agent('helper'),
      plane.put(
        'person',
        'robot-person',
        {
          issuer: plane.issuer.issuer,
          subject: 'robot',
          name: 'robot',
          state: 'active',
          roles: ['administrator'],
        },
        personKey(plane.issuer.issuer, 'robot'),
      ),
    ]);
    const me = async (token: string) => code(await send(plane, token, 'GET', '/me'));
    expect(await me(plane.tokenOf('robot', { client_id: 'robot' }))).toEqual([403, 'no_standing']);
    expect(await me(plane.tokenOf('ada', { act: { sub: 'helper' } }))).toEqual([403, 'no_standing']);
    expect(await me(plane.tokenOf('ada', { client_id: 'helper', act: { sub: 'robot' } }))).toEqual([
      403,
      'no_standing',
    ]);
    // The same person, without an agent in the chain.
    expect(await me(plane.tokenOf('ada'))).toEqual([200, undefined]);
  });

  test('ID-09: a client that is no client of the admin plane is refused, active agent or not', async () => {
    await plane.seed([agent('claude')]);
    const reply = await send(plane, plane.tokenOf('ada', { client_id: 'claude' }), 'GET', '/me');
    expect(code(reply)).toEqual([403, 'client_not_allowed']);
    expect(reply.body.error?.['remedy']).toContain('admin.clients');
    const open = await startPlane({ facts: { clients: ['claude'] } });
    try {
      // The vulnerable twin: with the client on the list the same token reads the directory.
      await open.seed([
        {
          ...agent('claude'),
          body: { ...agent('claude').body, issuer: open.issuer.issuer },
          key: agentKey(open.issuer.issuer, 'claude'),
        },
      ]);
      expect((await send(open, open.tokenOf('ada', { client_id: 'claude' }), 'GET', '/people')).status).toBe(200);
    } finally {
      await open.close();
    }
    expect(code(await send(plane, plane.tokenOf('ada', { client_id: 'unheard-of' }), 'GET', '/me'))).toEqual([
      403,
      'no_standing',
    ]);
  });
});

describe('break glass', () => {
  const account = (id: string, more: object = {}) =>
    plane.as('ada', 'POST', '/people', {
      reason: 'for the day when sign-in is broken',
      person: {
        issuer: plane.issuer.issuer,
        subject: id,
        name: id,
        state: 'active',
        roles: ['administrator'],
        breakGlass: true,
        ...more,
      },
    });

  test('ID-07: each use of a break-glass account is in the log, at error level and in the status, once per token', async () => {
    const id = String((await account('glass')).body['id']);
    const used = async () =>
      (await plane.entries('admin')).filter((entry) => entry.event?.['what'] === 'break_glass.used');
    const first = plane.tokenOf('glass');
    for (let at = 0; at < 3; at++) expect((await send(plane, first, 'GET', '/people?limit=1')).status).toBe(200);
    expect(await used()).toHaveLength(1);
    // A refused request is a use, too.
    await send(plane, plane.tokenOf('glass', { amr: ['pwd'] }), 'GET', '/people');
    const entries = await used();
    expect(entries).toHaveLength(2);
    expect(entries[0]).toMatchObject({
      actor: { person: id },
      event: { subject: `person/${id}`, route: 'GET /api/v1/people' },
    });
    expect(
      plane.logged.filter(({ level, message }) => level === 'error' && message === 'a break-glass account is in use'),
    ).toHaveLength(2);
    const status = await plane.as('ada', 'GET', '/status');
    expect(status.body['alarms']).toEqual([`break_glass_used:${id}`]);
    expect(status.body['breakGlass']).toEqual([
      expect.objectContaining({ person: id }),
      expect.objectContaining({ person: id }),
    ]);
  });

  test('ID-07: a break-glass account whose use cannot be recorded opens nothing', async () => {
    let broken = false;
    const deaf = await startPlane({
      wrap: (ctx) => ({
        ...ctx,
        breakGlass: {
          uses: [],
          note: (who, ...rest) =>
            broken && who.breakGlass
              ? Promise.resolve({ ok: false, error: { status: 503, code: 'record_missing', message: 'x' } })
              : ctx.breakGlass.note(who, ...rest),
        },
      }),
    });
    try {
      await deaf.seed([
        deaf.put(
          'person',
          'glass',
          {
            issuer: deaf.issuer.issuer,
            subject: 'glass',
            name: 'g',
            state: 'active',
            roles: ['administrator'],
            breakGlass: true,
          },
          personKey(deaf.issuer.issuer, 'glass'),
        ),
      ]);
      broken = true;
      expect(code(await send(deaf, deaf.tokenOf('glass'), 'GET', '/people'))).toEqual([503, 'record_missing']);
    } finally {
      await deaf.close();
    }
  });

  test('ID-07: it needs a second factor like everybody, unless the configuration relaxes that for it alone', () => {
    const token = { authTime: 1_000, issuedAt: 1_000, amr: ['pwd'], acr: null };
    const row = { sensitive: true, roles: ['administrator'] };
    const relaxed = { ...STRICT_SIGN_IN, unsafeBreakGlassWithoutSecondFactor: true };
    expect(signInLack(STRICT_SIGN_IN, token, row, true, 1_000_000)?.lacks).toBe('second_factor');
    expect(signInLack(relaxed, token, row, true, 1_000_000)).toBe(null);
    expect(signInLack(relaxed, token, row, false, 1_000_000)?.lacks).toBe('second_factor');
  });

  test('a directory neither keeps one nor does anybody make their own account one', async () => {
    expect(code(await account('kept', { provisioned: { connection: 'entra' } }))).toEqual([403, 'provisioned']);
    const read = await plane.as('ada', 'GET', '/people/ada');
    const { id: _, revision: __, ...ada } = read.body;
    const put = await plane.as(
      'ada',
      'PUT',
      '/people/ada',
      { reason: 'x', person: { ...ada, breakGlass: true } },
      { 'if-match': read.headers.get('etag') ?? '' },
    );
    expect(code(put)).toEqual([403, 'own_standing']);
  });
});

describe('the claim of the first administrator', () => {
  const fresh = async (people: readonly Name[] | null = []) => {
    let removed = 0;
    const claim = newClaimCode(Date.now(), () => void removed++);
    const on = await startPlane({ claim: claim.code, ...(people !== null && { people }) });
    const ask = (token: string, sent: string) => send(on, token, 'POST', '/claim', { code: sent, name: 'Nora' });
    return { on, ask, text: claim.text, removed: () => removed };
  };

  test('PH-09: whoever signed in and knows the code becomes administrator, once; then the route is gone', async () => {
    const { on, ask, text, removed } = await fresh();
    try {
      expect(
        code(
          await on.raw('POST', '/api/v1/claim', { 'content-type': 'application/json' }, JSON.stringify({ code: text })),
        ),
      ).toEqual([401, 'unauthenticated']);
      await on.seed([
        on.put(
          'agent',
          'claude',
          {
            issuer: on.issuer.issuer,
            clientId: 'claude',
            title: 'c',
            kind: 'delegate',
            state: 'active',
            roles: [],
            ceiling: {},
          },
          agentKey(on.issuer.issuer, 'claude'),
        ),
      ]);
      const token = on.tokenOf('nora');
      expect(code(await send(on, token, 'GET', '/people'))).toEqual([403, 'no_standing']);
      expect(code(await ask(token, 'a'.repeat(40)))).toEqual([403, 'claim_code']);
      expect(code(await ask(on.tokenOf('nora', { amr: ['pwd'] }), text))).toEqual(WEAK);
      expect(code(await ask(on.tokenOf('nora', { client_id: 'claude' }), text))).toEqual([403, 'client_not_allowed']);
      expect(code(await ask(on.tokenOf('nora', { act: { sub: 'agent-7' } }), text))).toEqual([403, 'no_standing']);
      const done = await ask(token, ` ${text}\n`);
      expect([done.status, done.body['roles']]).toEqual([201, ['administrator']]);
      expect(removed()).toBe(1);
      expect((await send(on, token, 'GET', '/people')).body['people']).toEqual([
        expect.objectContaining({ name: 'Nora', subject: 'nora' }),
      ]);
      expect((await on.entries('admin')).at(-1)).toMatchObject({
        actor: { subject: 'nora', person: done.body['id'] },
        event: { what: 'administrator.claimed', subject: `person/${String(done.body['id'])}` },
      });
      expect(code(await ask(on.tokenOf('mallory'), text))).toEqual([404, 'no_such_route']);
      expect(JSON.stringify([on.logged, await on.entries()])).not.toContain(text);
    } finally {
      await on.close();
    }
  });

  test('the code is no use where somebody administers already, to people with a record, or to anybody without one', async () => {
    const { on, ask, text, removed } = await fresh(null);
    try {
      expect(code(await ask(on.tokenOf('dana'), text))).toEqual([409, 'person_exists']);
      expect(code(await ask(on.tokenOf('mallory'), text))).toEqual([404, 'no_such_route']);
      expect(removed()).toBe(1);
    } finally {
      await on.close();
    }
    expect(code(await send(plane, plane.tokenOf('mallory'), 'POST', '/claim', { code: 'x' }))).toEqual([
      404,
      'no_such_route',
    ]);
  });

  test('it ends after a day, and after five wrong codes in a minute the right one waits, too', () => {
    const { text, code: claim } = newClaimCode(0, () => undefined);
    expect([claim.open(CLAIM_TTL_MS - 1), claim.open(CLAIM_TTL_MS)]).toEqual([true, false]);
    expect(Array.from({ length: 6 }, () => claim.check('no', 1_000))).toEqual([
      'wrong',
      'wrong',
      'wrong',
      'wrong',
      'wrong',
      'throttled',
    ]);
    expect([claim.check(text, 2_000), claim.check(text, 61_000)]).toEqual(['throttled', 'right']);
  });
});
