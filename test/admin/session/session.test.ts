/** The browser session of the admin listener: how it begins, what it is worth, how it ends (ID-07, PH-09). */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cookie } from '../../../src/admin/session/cookies.ts';
import { returnPath } from '../../../src/admin/session/return-path.ts';
import { openSessions } from '../../../src/admin/session/sessions.ts';
import { Person, personKey } from '../../../src/directory/records.ts';
import { manualClock, systemClock } from '../../../src/lib/clock.ts';
import { STRICT_SIGN_IN } from '../../support/sign-in.ts';
import { formOf, startPages, type PagesRig, type Profile } from '../pages/rig.ts';

let rig: PagesRig;
beforeAll(async () => {
  rig = await startPages();
});
afterAll(() => rig.close());

const codeOf = (text: string): string => /<dt>Code<\/dt><dd><code>(\w+)<\/code>/.exec(text)?.[1] ?? '';
const sessionOf = (profile: Profile): string | undefined =>
  /remit_admin=([^;]+)/.exec(profile.jar.header(new URL(rig.url)))?.[1];
/** Puts a cookie into a browser as a neighbour on this machine could. */
const plant = (profile: Profile, line: string): void =>
  profile.jar.store(new URL(rig.url), new Response(null, { headers: [['set-cookie', line]] }));

describe('beginning', () => {
  test('asks for a code with PKCE, for this API, at the issuer, with a state that only this browser can answer', async () => {
    const begun = await rig.profile().get('/session/sign-in?return=/requests');
    const url = new URL(begun.headers.get('location') ?? '');
    expect([begun.status, url.origin]).toEqual([303, rig.auth.issuer]);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      response_type: 'code',
      client_id: 'remit-console',
      redirect_uri: `${rig.url}/session/callback`,
      resource: `${rig.url}/api/v1`,
      code_challenge_method: 'S256',
      max_age: '43200',
    });
    for (const name of ['state', 'code_challenge']) expect(url.searchParams.get(name)).toMatch(/^[\w-]{43}$/);
    const set = begun.headers.getSetCookie().join();
    expect(set).toMatch(/^remit_admin_sign_in=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/);
    expect(set).not.toContain(url.searchParams.get('state'));
  });

  test('the session cookie is HttpOnly, Lax and of this host; no token and no name is in it or in a page', async () => {
    const dana = rig.profile();
    const callback = await dana.authorize('dana');
    const landed = await dana.get(callback.pathname + callback.search);
    expect([landed.status, landed.headers.get('location')]).toEqual([303, '/requests']);
    const set = landed.headers.getSetCookie();
    expect(set).toHaveLength(2);
    expect(set[0]).toMatch(/^remit_admin_sign_in=; .*Max-Age=0$/);
    expect(set[1]).toMatch(/^remit_admin=[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/);
    expect((await dana.get('/requests')).text).not.toMatch(/\beyJ[\w-]+\.|Bearer/);
    expect(cookie('remit_admin', true).set('x')).toBe('__Host-remit_admin=x; Path=/; HttpOnly; SameSite=Lax; Secure');
  });

  test('of two cookies of one name neither counts, and over https a plain name never does', () => {
    const [plain, secure] = [cookie('remit_admin', false), cookie('remit_admin', true)];
    expect(plain.read('a=b; remit_admin=one')).toBe('one');
    expect(plain.read('remit_admin=one; remit_admin=two')).toBe(null);
    expect(plain.read('remit_admin=a b')).toBe(null);
    expect(secure.read('remit_admin=one')).toBe(null);
    expect(secure.read('remit_admin=one; __Host-remit_admin=two')).toBe('two');
    expect(plain.read(undefined)).toBe(null);
  });

  test("ID-07: somebody else's answer signs nobody in (login CSRF); in the browser that began, it does (vulnerable twin)", async () => {
    const mallory = rig.profile();
    const answer = await mallory.authorize('nobody');
    const victim = rig.profile();
    for (const begin of [false, true]) {
      if (begin) await victim.get('/session/sign-in');
      const reply = await victim.get(answer.pathname + answer.search);
      expect([reply.status, codeOf(reply.text)]).toEqual([403, 'sign_in_not_begun_here']);
      expect(sessionOf(victim)).toBe(undefined);
    }
    const own = await mallory.get(answer.pathname + answer.search);
    expect([own.status, sessionOf(mallory) === undefined]).toEqual([303, false]);
  });

  test('an answer is taken once', async () => {
    const dana = rig.profile();
    const answer = await dana.authorize('dana');
    const begun = dana.jar.header(new URL(rig.url));
    expect((await dana.get(answer.pathname + answer.search)).status).toBe(303);
    const again = await rig.profile().get(answer.pathname + answer.search, { cookie: begun });
    expect([again.status, codeOf(again.text)]).toEqual([403, 'sign_in_not_begun_here']);
  });

  test.each([
    ['another issuer (RFC 9207)', (url: URL) => url.searchParams.set('iss', 'https://evil.example'), 'sign_in_answer'],
    ['no issuer', (url: URL) => url.searchParams.delete('iss'), 'sign_in_answer'],
    ['another state', (url: URL) => url.searchParams.set('state', 'x'.repeat(43)), 'sign_in_not_begun_here'],
    ['two states', (url: URL) => url.searchParams.append('state', 'x'), 'sign_in_not_begun_here'],
    ['another code', (url: URL) => url.searchParams.set('code', 'x'.repeat(43)), 'sign_in_refused'],
    ['no code', (url: URL) => url.searchParams.delete('code'), 'sign_in_answer'],
    [
      'an error with markup',
      (url: URL) => {
        url.searchParams.delete('code');
        url.searchParams.set('error', '<b>x</b>');
      },
      'sign_in_answer',
    ],
  ])('an answer with %s opens nothing', async (_name, change, expected) => {
    const dana = rig.profile();
    const answer = await dana.authorize('dana');
    change(answer);
    const reply = await dana.get(answer.pathname + answer.search);
    expect([reply.status, codeOf(reply.text)]).toEqual([403, expected]);
    expect(reply.text).not.toContain('<b>');
    expect(sessionOf(dana)).toBe(undefined);
  });

  test('a session that was planted before is not the one that signing in makes (session fixation)', async () => {
    const mallory = rig.profile();
    await mallory.signIn('nobody');
    const victim = rig.profile();
    plant(victim, `remit_admin=${sessionOf(mallory)}; Path=/`);
    await victim.signIn('petra');
    expect(sessionOf(victim)).not.toBe(sessionOf(mallory));
    expect((await victim.get('/approvals')).text).toContain('petra');
    // The planted one is over for who made it, too.
    expect((await mallory.get('/requests')).status).toBe(401);
  });

  test('an issuer that gives no answer is said to be away, and nothing more', async () => {
    const away = await startPages({
      wrap: (ctx) => ({ ...ctx, pages: ctx.pages && { ...ctx.pages, issuer: 'http://127.0.0.1:1' } }),
    });
    try {
      const reply = await away.profile().get('/session/sign-in');
      expect([reply.status, codeOf(reply.text)]).toEqual([503, 'issuer_unavailable']);
      expect(reply.text).not.toContain('127.0.0.1:1');
    } finally {
      await away.close();
    }
  });
});

describe('the way back', () => {
  test.each([
    ['/requests/apr_1', '/requests/apr_1'],
    ['/approvals', '/approvals'],
    ['https://evil.example/', null],
    ['//evil.example', null],
    ['/\\evil.example', null],
    ['/requests//evil', null],
    ['/requests/..', null],
    ['/requests?x=y', null],
    ['/requests#x', null],
    ['/%2f%2fevil.example', null],
    ['/session/sign-out', null],
    ['/api/v1/me', null],
    ['/', null],
    ['javascript:alert(1)', null],
    ['/requests/a\nb', null],
    [['/requests'], null],
    [undefined, null],
  ])('%s leads to %s', (text, expected) => {
    expect(returnPath(text)).toBe(expected);
  });

  test('whatever is accepted stays on this origin', () => {
    fc.assert(
      fc.property(fc.oneof(fc.webUrl(), fc.string(), fc.stringMatching(/^[/\\.\w%?#@:-]{0,30}$/)), (text) => {
        const path = returnPath(text);
        if (path === null) return;
        const url = new URL(path, 'https://here.example');
        expect([url.origin, url.pathname]).toEqual(['https://here.example', path]);
      }),
      { seed: 5, numRuns: 2_000 },
    );
  });

  test('a link of somebody else brings a person to their own first page', async () => {
    const page = await rig.profile().signIn('petra', '/session/sign-in?return=//evil.example');
    expect(new URL(page.url).pathname).toBe('/approvals');
  });
});

describe('forms', () => {
  let petra: Profile;
  let fields: Record<string, string>;
  let other: Record<string, string>;
  let foreign: Record<string, string>;
  beforeAll(async () => {
    petra = rig.profile();
    await petra.signIn('petra');
    await rig.hold('apr_form', { path: '/x' });
    await rig.hold('apr_other', { path: '/y' });
    const formIn = async (who: Profile, id: string) =>
      formOf((await who.get(`/approvals/${id}`)).text, `/approvals/${id}/deny`);
    fields = await formIn(petra, 'apr_form');
    other = await formIn(petra, 'apr_other');
    const again = rig.profile();
    await again.signIn('petra');
    foreign = await formIn(again, 'apr_form');
  });

  const without = (name: string) => () => Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name));
  test.each<[string, () => Record<string, string>, Record<string, string>, string]>([
    ['no token', without('form_token'), {}, 'form_out_of_date'],
    ['a made-up token', () => ({ ...fields, form_token: 'x'.repeat(43) }), {}, 'form_out_of_date'],
    ['the token for another call', () => ({ ...fields, form_token: other['form_token']! }), {}, 'form_out_of_date'],
    ['the token of another session of the same person', () => foreign, {}, 'form_out_of_date'],
    ['another site', () => fields, { origin: 'https://evil.example' }, 'origin_not_allowed'],
    ['a sandboxed frame', () => fields, { origin: 'null' }, 'origin_not_allowed'],
    ['no origin', () => fields, { origin: '' }, 'form_from_elsewhere'],
    ['a neighbour on this machine', () => fields, { 'sec-fetch-site': 'same-site' }, 'form_from_elsewhere'],
    ['a cross-site navigation', () => fields, { 'sec-fetch-site': 'cross-site' }, 'form_from_elsewhere'],
    ['JSON', () => fields, { 'content-type': 'application/json' }, 'form_unreadable'],
    ['plain text', () => fields, { 'content-type': 'text/plain' }, 'form_unreadable'],
    ['no digest', without('call'), {}, 'invalid'],
  ])('AP-04: a form with %s decides nothing (CSRF)', async (_name, body, headers, expected) => {
    const reply = await petra.post('/approvals/apr_form/approve', body(), headers);
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect(reply.text).toContain(expected);
    expect(await rig.state('apr_form')).toBe('pending');
  });

  test('AP-04: no form acts by being opened', async () => {
    for (const path of ['/approvals/apr_form/approve', '/approvals/apr_form/deny', '/session/sign-out'])
      expect([path, (await petra.get(`${path}?${new URLSearchParams(fields).toString()}`)).status]).toEqual([
        path,
        404,
      ]);
    expect(await rig.state('apr_form')).toBe('pending');
    expect((await petra.get('/approvals')).status).toBe(200);
  });

  test('AP-04: the same form as it was made decides (vulnerable twin)', async () => {
    expect((await petra.post('/approvals/apr_form/approve', fields)).status).toBe(303);
    expect(await rig.state('apr_form')).toBe('approved');
  });

  test('a form that names a field twice, or is too large, is not read', async () => {
    await rig.hold('apr_large', { path: '/x' });
    const reply = await petra.post('/approvals/apr_large/deny', { ...fields, note: 'x'.repeat(40_000) });
    expect([reply.status, codeOf(reply.text)]).toEqual([413, 'form_unreadable']);
    const twice = `${new URLSearchParams(fields).toString()}&call=sha256:0`;
    const headers = {
      origin: rig.url,
      cookie: petra.jar.header(new URL(rig.url)),
      'content-type': 'application/x-www-form-urlencoded',
    };
    const sent = await fetch(`${rig.url}/approvals/apr_large/deny`, { method: 'POST', headers, body: twice });
    expect([sent.status, codeOf(await sent.text())]).toEqual([403, 'form_unreadable']);
  });
});

describe('ending', () => {
  test('ID-07: a lock ends the session at the next request, and lifting it does not bring it back', async () => {
    const abel = rig.profile();
    await abel.signIn('abel');
    expect((await abel.get('/requests')).status).toBe(200);
    const lock = { subject: { kind: 'user', value: 'abel' }, reason: 'x', by: 'sven', until: null };
    await rig.plane.seed([rig.plane.put('lock', 'lock_abel', lock)]);
    const refused = await abel.get('/requests');
    expect([refused.status, codeOf(refused.text)]).toEqual([403, 'no_standing']);
    await rig.plane.seed([{ kind: 'lock', org: 'default', id: 'lock_abel', body: null }]);
    expect((await abel.get('/requests')).status).toBe(401);
    await rig.plane.seed([rig.plane.put('lock', 'lock_abel', lock)]);
    const page = await abel.signIn('abel');
    expect([page.status, codeOf(page.text), sessionOf(abel) === undefined]).toEqual([403, 'no_standing', false]);
    await rig.plane.seed([{ kind: 'lock', org: 'default', id: 'lock_abel', body: null }]);
    expect((await abel.get('/requests')).status).toBe(401);
  });

  test('a role that is gone is gone at the next request', async () => {
    const profile = rig.profile();
    await profile.signIn('petra');
    await rig.hold('apr_role', { path: '/x' });
    const fields = formOf((await profile.get('/approvals/apr_role')).text, '/approvals/apr_role/deny');
    const { body } = rig.plane.follower.records.get('person', 'default', 'petra')!;
    const key = personKey(rig.auth.issuer, Person.parse(body).subject);
    await rig.plane.seed([{ ...rig.plane.put('person', 'petra', { ...body, roles: ['developer'] }), key }]);
    const reply = await profile.post('/approvals/apr_role/approve', fields);
    await rig.plane.seed([{ ...rig.plane.put('person', 'petra', body), key }]);
    expect(reply.status).toBe(403);
    expect(await rig.state('apr_role')).toBe('pending');
  });

  test('signing out ends it for whoever has the cookie', async () => {
    const dana = rig.profile();
    await dana.signIn('dana');
    const stolen = dana.jar.header(new URL(rig.url));
    expect((await dana.post('/session/sign-out', { form_token: 'x' })).status).toBe(403);
    const out = await dana.post('/session/sign-out', formOf((await dana.get('/requests')).text, '/session/sign-out'));
    expect(out.status).toBe(200);
    expect(out.headers.getSetCookie()).toEqual(['remit_admin=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0']);
    expect((await rig.profile().get('/requests', { cookie: stolen })).status).toBe(401);
  });

  test('who signs in next in the same browser gets a session of their own, and the forms of the first are void', async () => {
    const shared = rig.profile();
    await shared.signIn('petra');
    await rig.hold('apr_shared', { path: '/x' });
    const fields = formOf((await shared.get('/approvals/apr_shared')).text, '/approvals/apr_shared/deny');
    const first = sessionOf(shared)!;
    const abel = rig.profile();
    await abel.signIn('abel');
    plant(shared, `remit_admin=${sessionOf(abel)}; Path=/`);
    const reply = await shared.post('/approvals/apr_shared/approve', fields);
    expect([reply.status, codeOf(reply.text)]).toEqual([403, 'form_out_of_date']);
    await shared.signIn('petra');
    expect(sessionOf(shared)).not.toBe(first);
    expect(await rig.state('apr_shared')).toBe('pending');
  });

  test('idle for too long, old, or one of too many: over', () => {
    const clock = manualClock(1_000_000);
    const sessions = openSessions(clock, { idleMs: 1_000, maxMs: 2_500, perPerson: 2 });
    const tokens = { access: 'a', refresh: null, expiresAt: 9e15 };
    const first = sessions.open('i dana', tokens);
    clock.advance(999);
    expect(sessions.find(first.cookie)).toBe(first.session);
    clock.advance(999);
    expect(sessions.find(first.cookie)).toBe(first.session);
    clock.advance(502);
    expect(sessions.find(first.cookie)).toBe(null);
    const second = sessions.open('i dana', tokens);
    clock.advance(1_000);
    expect(sessions.find(second.cookie)).toBe(null);
    const [a, b, c] = [0, 1, 2].map(() => {
      clock.advance(1);
      return sessions.open('i dana', tokens);
    });
    expect([a, b, c].map((one) => sessions.find(one!.cookie) !== null)).toEqual([false, true, true]);
    expect(sessions.find('x')).toBe(null);
    expect(sessions.find(b!.session.key)).toBe(null);
  });
});

describe('the token of the session', () => {
  test('ID-07: a decision needs the second factor; the page says so, and the link asks for it (RFC 9470)', async () => {
    const strict = await startPages({ facts: { signIn: STRICT_SIGN_IN } });
    try {
      const petra = strict.profile();
      await petra.signIn('petra');
      await strict.hold('apr_factor', { path: '/x' });
      const fields = formOf((await petra.get('/approvals/apr_factor')).text, '/approvals/apr_factor/deny');
      const reply = await petra.post('/approvals/apr_factor/approve', fields);
      expect([reply.status, codeOf(reply.text)]).toEqual([401, 'insufficient_user_authentication']);
      const link = '/session/sign-in?return=%2Fapprovals%2Fapr_factor&amp;need=factor';
      expect(reply.text).toContain(`href="${link}"`);
      const begun = new URL((await petra.get(link.replaceAll('&amp;', '&'))).headers.get('location') ?? '');
      expect(begun.searchParams.get('acr_values')).toBe('https://refeds.org/profile/mfa');
      expect(await strict.state('apr_factor')).toBe('pending');
    } finally {
      await strict.close();
    }
  });

  test('is renewed once for all requests that need it, and the session goes on', async () => {
    let ahead = 0;
    const clock = { ...systemClock, now: () => Date.now() + ahead };
    const short = await startPages({ accessSeconds: 60, wrap: (ctx) => ({ ...ctx, clock }) });
    try {
      const petra = short.profile();
      await petra.signIn('petra');
      await short.hold('apr_renew', { path: '/x' });
      const fields = formOf((await petra.get('/approvals/apr_renew')).text, '/approvals/apr_renew/deny');
      ahead = 45_000;
      const all = await Promise.all(Array.from({ length: 8 }, () => petra.get('/approvals')));
      expect(all.map(({ status }) => status)).toEqual(all.map(() => 200));
      ahead = 0;
      expect((await petra.post('/approvals/apr_renew/approve', fields)).status).toBe(303);
      const entries = await short.plane.entries('admin');
      const opened = entries.find(({ event }) => event?.what === 'session.opened');
      expect(entries.at(-1)).toMatchObject({ actor: { person: 'petra' }, event: { what: 'approval.approved' } });
      expect(entries.at(-1)?.actor?.token).not.toBe(opened?.actor?.token);
    } finally {
      await short.close();
    }
  });
});
