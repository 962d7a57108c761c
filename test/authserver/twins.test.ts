/**
 * Vulnerable twins of ID-02, AN-09, AN-11 and AN-14 in running authorization servers: the attack meets the product, then the same server
 * with one row of a table of checks taken out, one list opened, or one question answered by a part that does not ask it.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { metadataProblem } from '../../src/authserver/clients.ts';
import { CLIENT_ASSERTION_CHECKS } from '../../src/authserver/grants/client-assertion.ts';
import { IDENTITY_ASSERTION_CHECKS } from '../../src/authserver/grants/identity-assertion.ts';
import { WORKLOAD_CHECKS } from '../../src/authserver/grants/workload.ts';
import { browser, cookieJar, hiddenFields } from '../support/browser.ts';
import type { CookieJar } from '../support/browser.ts';
import type { Members } from '../support/issuer.ts';
import { REDIRECT, post, startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';
import { JWT_BEARER, startRig } from './grants-rig.ts';
import type { Answer, Rig } from './grants-rig.ts';

/** What a server without the control does instead. Only the tests of this file turn one on, and turn it off again. */
const without = vi.hoisted(() => ({ clientOfConsent: false, originOfForm: false }));

vi.mock('../../src/authserver/consents.ts', async (original) => {
  const real = await original<typeof import('../../src/authserver/consents.ts')>();
  return {
    consents: (...given: Parameters<typeof real.consents>) => {
      const book = real.consents(...given);
      return {
        ...book,
        allowed: (key: Parameters<typeof book.allowed>[0]) =>
          without.clientOfConsent
            ? new Set(book.list(key.accountId).flatMap(({ scopes }) => scopes))
            : book.allowed(key),
      };
    },
  };
});

vi.mock('../../src/authserver/forms.ts', async (original) => {
  const real = await original<typeof import('../../src/authserver/forms.ts')>();
  return {
    ...real,
    readForm: async (...given: Parameters<typeof real.readForm>) => {
      if (!without.originOfForm) return real.readForm(...given);
      const chunks: Buffer[] = [];
      for await (const chunk of given[0].req as AsyncIterable<Buffer>) chunks.push(chunk);
      return new Map(new URLSearchParams(Buffer.concat(chunks).toString()));
    },
  };
});

async function withOut(control: keyof typeof without, use: () => Promise<void>): Promise<void> {
  without[control] = true;
  try {
    await use();
  } finally {
    without[control] = false;
  }
}

/** The table that the running server reads, without these rows. */
async function withoutRows<T>(table: Readonly<Record<string, T>>, rows: readonly string[], use: () => Promise<void>) {
  const whole = { ...table };
  const open = table as Record<string, T>;
  for (const row of rows) {
    expect(Object.keys(table)).toContain(row);
    delete open[row];
  }
  try {
    await use();
  } finally {
    for (const row of Object.keys(open)) delete open[row];
    Object.assign(open, whole);
  }
}

const seconds = (): number => Math.floor(Date.now() / 1_000);

describe('assertions', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig.stop());

  const asDesk = (assertion: string, more: Record<string, string> = {}): Promise<Answer> =>
    rig.token({ grant_type: JWT_BEARER, assertion, ...rig.by(rig.clients.desk), ...more });

  const JAGS: ReadonlyArray<readonly [what: string, rows: readonly string[], claims: () => Members, header: Members]> =
    [
      ['of another type', ['type'], () => ({}), { typ: 'JWT' }],
      ['for another authorization server', ['audience'], () => ({ aud: 'https://b.example' }), {}],
      ['issued to another client', ['client'], () => ({ client_id: 'writer' }), {}],
      ['that has expired', ['expired'], () => ({ iat: seconds() - 200, exp: seconds() - 20 }), {}],
      ['that is not valid yet', ['not_before'], () => ({ nbf: seconds() + 60 }), {}],
      ['that lives for a day', ['lifetime'], () => ({ exp: seconds() + 86_400 }), {}],
      ['of another tenant', ['tenant'], () => ({ tenant: 'other-company' }), {}],
      ['for another tenant', ['audience_tenant'], () => ({ aud_tenant: 'other' }), {}],
      ['of somebody who acts for somebody', ['actor'], () => ({ act: { sub: 'agent' } }), {}],
      ['with a sign-in of tomorrow', ['sign_in'], () => ({ auth_time: seconds() + 86_400 }), {}],
    ];
  test.each(JAGS)(
    'ID-02 twin: an assertion %s brings a token as soon as nobody asks',
    async (_w, rows, claims, header) => {
      const attempt = () => asDesk(rig.idJag(claims(), header));
      expect((await attempt()).body).toMatchObject({ error: 'invalid_grant' });
      await withoutRows(IDENTITY_ASSERTION_CHECKS, rows, async () => expect((await attempt()).status).toBe(200));
      expect((await attempt()).status).toBe(400);
    },
  );

  test('ID-02 twin: an assertion for one server opens another', async () => {
    const attempt = () => asDesk(rig.idJag({ scope: 'mail:send' }), { resource: rig.other.resource });
    expect((await attempt()).body).toMatchObject({ error: 'invalid_grant' });
    await withoutRows(IDENTITY_ASSERTION_CHECKS, ['resource_of_request'], async () =>
      expect((await attempt()).claims().aud).toBe(rig.other.resource),
    );
  });

  const PLATFORM: ReadonlyArray<readonly [string, string, () => Members, Members]> = [
    ['for another server', 'audience', () => ({ aud: 'https://b.example' }), {}],
    ['that has expired', 'expired', () => ({ iat: seconds() - 200, exp: seconds() - 20 }), {}],
    ['that lives for a day', 'lifetime', () => ({ exp: seconds() + 86_400 }), {}],
    ['that was made as an access token', 'type', () => ({}), { typ: 'at+jwt' }],
  ];
  test.each(PLATFORM)('AN-14 twin: a token of the platform %s brings one of ours', async (_w, row, claims, header) => {
    const attempt = () =>
      rig.token({
        grant_type: JWT_BEARER,
        assertion: rig.workload(claims(), header),
        resource: rig.at.gateway.resource,
      });
    expect((await attempt()).body).toMatchObject({ error: 'invalid_grant' });
    await withoutRows(WORKLOAD_CHECKS, [row], async () => expect((await attempt()).claims().sub).toBe('reporter'));
  });

  test('AN-14 twin: a client assertion for a year is a password', async () => {
    const attempt = () =>
      rig.token({
        grant_type: 'client_credentials',
        resource: rig.at.gateway.resource,
        ...rig.by(rig.clients.desk, { exp: seconds() + 31_536_000 }),
      });
    expect((await attempt()).body).toMatchObject({ error: 'invalid_client' });
    await withoutRows(CLIENT_ASSERTION_CHECKS, ['lifetime'], async () => expect((await attempt()).status).toBe(200));
  });
});

const GOOD = 'https://app.example/client.json';
const EVIL = 'https://evil.example/client.json';
const document = (id: string) => ({
  client_id: id,
  client_name: 'App',
  redirect_uris: [`${new URL(id).origin}/callback`],
  token_endpoint_auth_method: 'none',
});
const withDocuments = (allowedHosts: string[], documents: Record<string, unknown> = {}): Promise<Fixture> =>
  startFixture(
    { clientIdMetadata: { allowedHosts } },
    { fetchDocument: async (url) => Response.json(documents[url] ?? document(url)) },
  );
const openAs = async (at: Fixture, clientId: string, redirectUri: string, cookie = '') => {
  const { url } = await at.authorizationUrl({ params: { client_id: clientId, redirect_uri: redirectUri } });
  return fetch(url, { redirect: 'manual', headers: { accept: 'text/html', cookie } });
};
/** Where the browser ends that is signed in already: at a page of ours, or at an address of somebody else with a code. */
async function endOf(at: Fixture, jar: CookieJar, clientId: string): Promise<string> {
  const { url } = await at.authorizationUrl({
    params: { client_id: clientId, redirect_uri: `${new URL(clientId).origin}/callback` },
  });
  const end = await browser(jar).open(url);
  if ('page' in end) return end.page.text.includes('value="allow"') ? 'asked' : `page ${end.page.status}`;
  return `${end.leftFor.origin} ${end.leftFor.searchParams.has('code') ? 'code' : 'no code'}`;
}

describe('AN-09: who may be a client', () => {
  test('AN-09 twin: with the attacker’s host on the list, their document is a client', async () => {
    const [strict, open] = await Promise.all([
      withDocuments(['app.example']),
      withDocuments(['app.example', 'evil.example']),
    ]);
    try {
      const callback = 'https://evil.example/callback';
      expect((await openAs(strict, EVIL, callback)).status).toBe(400);
      expect((await openAs(open, EVIL, callback)).headers.get('location')).toContain('/interaction/');
    } finally {
      await Promise.all([strict.stop(), open.stop()]);
    }
  });

  test('AN-09 twin: with the attacker’s address registered, the code goes there; no other check holds it back', async () => {
    const callback = 'https://evil.example/callback';
    const client = (redirectUris: string[]) => ({
      preregisteredClients: [{ clientId: 'app', name: 'App', redirectUris }],
    });
    const attempt = async (at: Fixture): Promise<string> => {
      try {
        const { status } = await openAs(at, 'app', callback);
        if (status === 400) return 'refused';
        const { callback: left } = await at.authorize({ params: { client_id: 'app', redirect_uri: callback } });
        return `${left.origin} ${left.searchParams.has('code') ? 'code' : 'no code'}`;
      } finally {
        await at.stop();
      }
    };
    expect(await attempt(await startFixture(client([REDIRECT])))).toBe('refused');
    expect(await attempt(await startFixture(client([REDIRECT, callback])))).toBe('https://evil.example code');
  });

  test('AN-09 twin: a document that names another client id fails at nothing else', async () => {
    const stolen = { ...document(GOOD), client_id: 'https://app.example/the-real-one.json' };
    const at = await withDocuments(['app.example'], { [GOOD]: stolen });
    try {
      expect((await openAs(at, GOOD, 'https://app.example/callback')).status).toBe(400);
      expect(metadataProblem(stolen)).toBe(null);
      const honest = 'https://app.example/other.json';
      expect((await openAs(at, honest, 'https://app.example/callback')).status).toBe(303);
    } finally {
      await at.stop();
    }
  });

  test('AN-09 twin: with registration open, a stranger is a client', async () => {
    const register = async (at: Fixture): Promise<number> => {
      try {
        const answer = await fetch(`${at.server.issuer}/register`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ client_name: 'App', redirect_uris: ['http://127.0.0.1/callback'] }),
        });
        return answer.status;
      } finally {
        await at.stop();
      }
    };
    expect(await register(await startFixture())).toBe(404);
    expect(await register(await startFixture({ registration: { mayRegister: 'anybody' } }))).toBe(201);
  });
});

describe('AN-11: a consent is one client’s', () => {
  let at: Fixture;
  const jar = cookieJar();
  beforeAll(async () => {
    at = await withDocuments(['app.example', 'evil.example']);
    await at.authorize({ params: { client_id: GOOD, redirect_uri: 'https://app.example/callback' }, jar });
  });
  afterAll(() => at.stop());

  test('AN-11 twin: a client whose address proves who it is is not asked about again; another one is, and gets no code', async () => {
    expect(await endOf(at, jar, GOOD)).toBe('https://app.example code');
    expect(await endOf(at, jar, EVIL)).toBe('asked');
    await withOut('clientOfConsent', async () => {
      expect(await endOf(at, jar, EVIL)).toBe('https://evil.example code');
    });
    expect(await endOf(at, jar, EVIL)).toBe('asked');
  });

  test('AN-11 twin: a form of another site takes consents back where nobody asks where it came from', async () => {
    const tokens = await at.tokens({ jar });
    const opened = await browser(jar).open(`${at.server.issuer}/consents`);
    if (!('page' in opened)) throw new Error('no page');
    const { form_token: _, ...fields } = hiddenFields(opened.page.text);
    const forged = () =>
      fetch(`${at.server.issuer}/consents`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie: jar.header(new URL(opened.page.url)), origin: 'https://evil.example' },
        body: new URLSearchParams({ ...fields, client: 'mcp-client', resource: at.gateway.resource }),
      });
    const refreshed = (token: unknown) =>
      post(`${at.server.issuer}/token`, {
        grant_type: 'refresh_token',
        client_id: 'mcp-client',
        refresh_token: String(token),
      });
    expect((await forged()).status).toBe(403);
    const kept = await refreshed(tokens.refresh_token);
    expect(kept.status).toBe(200);
    await withOut('originOfForm', async () => expect((await forged()).status).toBe(303));
    expect((await refreshed(kept.body['refresh_token'])).body).toMatchObject({ error: 'invalid_grant' });
  });
});
