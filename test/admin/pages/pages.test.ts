/** The pages for people on the admin listener: who sees what, and who decides how (AP-02, AP-03, AP-04). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formOf, startPages, type PagesRig, type Profile } from './rig.ts';

let rig: PagesRig;
let petra: Profile;
let dana: Profile;
beforeAll(async () => {
  rig = await startPages();
  petra = rig.profile();
  dana = rig.profile();
  await petra.signIn('petra');
  await dana.signIn('dana');
});
afterAll(() => rig.close());

const decide = async (by: Profile, id: string, outcome: 'approve' | 'deny', change: Record<string, string> = {}) => {
  const fields = formOf((await by.get(`/approvals/${id}`)).text, `/approvals/${id}/deny`);
  return by.post(`/approvals/${id}/${outcome}`, { ...fields, note: 'read it', ...change });
};

describe('the inbox and the decision', () => {
  test('AP-02: an approver sees the call whole and approves exactly it; the log has who and why', async () => {
    const call = await rig.hold('apr_whole', { path: '/etc/passwd', depth: 3, all: true });
    const inbox = await petra.get('/approvals');
    expect(inbox.text).toContain('href="/approvals/apr_whole"');
    const shown = await petra.get('/approvals/apr_whole');
    for (const fact of [
      'dana (dana)',
      'agent-7',
      'Files',
      'production',
      'read_file',
      rig.definition,
      'destructive',
      call,
      '/etc/passwd',
      '0 of 1',
    ])
      expect(shown.text).toContain(fact);
    const done = await decide(petra, 'apr_whole', 'approve');
    expect([done.status, done.headers.get('location')]).toEqual([303, '/approvals/apr_whole']);
    expect(await rig.state('apr_whole')).toBe('approved');
    expect((await rig.plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'petra', client: 'remit-console' },
      event: { what: 'approval.approved', subject: 'approval/apr_whole', call },
    });
  });

  test('AP-02: a page that showed another call than the record holds now decides nothing', async () => {
    const old = await rig.hold('apr_stale', { path: '/tmp/a' });
    const page = (await petra.get('/approvals/apr_stale')).text;
    await rig.hold('apr_stale', { path: '/etc/shadow' });
    const fields = formOf(page, '/approvals/apr_stale/deny');
    expect(fields['call']).toBe(old);
    const reply = await petra.post('/approvals/apr_stale/approve', fields);
    expect([reply.status, /<code>approval_other_call<\/code>/.test(reply.text)]).toEqual([409, true]);
    expect(await rig.state('apr_stale')).toBe('pending');
  });

  test('AP-02: with the digest of the record in place of the one that was shown, the stale page approves (vulnerable twin)', async () => {
    await rig.hold('apr_twin', { path: '/tmp/a' });
    const page = (await petra.get('/approvals/apr_twin')).text;
    const now = await rig.hold('apr_twin', { path: '/etc/shadow' });
    const reply = await petra.post('/approvals/apr_twin/approve', {
      ...formOf(page, '/approvals/apr_twin/deny'),
      call: now,
    });
    expect([reply.status, await rig.state('apr_twin')]).toEqual([303, 'approved']);
  });

  test('two people decide where two are needed, and the page says how far it is', async () => {
    await rig.hold('apr_two', { path: '/x' }, { needed: 2 });
    expect((await decide(petra, 'apr_two', 'approve')).status).toBe(303);
    expect(await rig.state('apr_two')).toBe('pending');
    const after = (await petra.get('/approvals/apr_two')).text;
    expect(after).toContain('1 of 2');
    expect(after).not.toContain('Your decision');
  });

  test('a denial says why to the requester', async () => {
    await rig.hold('apr_no', { path: '/x' });
    await decide(petra, 'apr_no', 'deny', { note: 'ask for <b>less</b>' });
    expect(await rig.state('apr_no')).toBe('denied');
    const told = (await dana.get('/requests/apr_no')).text;
    expect(told).toContain('ask for &lt;b&gt;less&lt;/b&gt;');
  });

  test('decisions about the same tool before are shown', async () => {
    await rig.hold('apr_before', { path: '/same' });
    await decide(petra, 'apr_before', 'deny');
    await rig.hold('apr_after', { path: '/same' });
    const text = (await petra.get('/approvals/apr_after')).text;
    expect(text).toContain('Decisions about this tool before');
    expect(text).toContain('(exactly this call)');
  });
});

describe('AP-03', () => {
  test('AP-03: the requester sees the call and no way to decide, and a form of their own making is refused', async () => {
    const call = await rig.hold('apr_own', { path: '/x' }, { person: 'petra' });
    for (const path of ['/approvals/apr_own', '/requests/apr_own']) {
      const page = await petra.get(path);
      expect(page.status).toBe(200);
      expect(page.text).not.toMatch(/>Approve<|\/approve"/);
    }
    // The token of the withdrawal form is one for this record: only the rule stands between them.
    const { form_token: token = '' } = formOf(
      (await petra.get('/requests/apr_own')).text,
      '/requests/apr_own/withdraw',
    );
    const reply = await petra.post('/approvals/apr_own/approve', { form_token: token, call });
    expect([reply.status, reply.text.includes('<code>approval_self</code>')]).toEqual([403, true]);
    expect(await rig.state('apr_own')).toBe('pending');
  });

  test('the requester takes a call back, and an approver cannot approve it then', async () => {
    await rig.hold('apr_back', { path: '/x' });
    const page = (await petra.get('/approvals/apr_back')).text;
    const fields = formOf((await dana.get('/requests/apr_back')).text, '/requests/apr_back/withdraw');
    expect((await dana.post('/requests/apr_back/withdraw', fields)).headers.get('location')).toBe('/requests/apr_back');
    expect(await rig.state('apr_back')).toBe('cancelled');
    const late = await petra.post('/approvals/apr_back/approve', formOf(page, '/approvals/apr_back/deny'));
    expect(late.status).toBe(409);
  });
});

describe('who sees what', () => {
  test('AP-04: somebody else gets of a request what they get of none: the same page, word for word', async () => {
    await rig.hold('apr_secret', { path: '/secret-place' });
    const nobody = rig.profile();
    await nobody.signIn('nobody');
    const strip = (text: string) => text.replace(/ref_\w+/g, '');
    for (const place of ['requests', 'approvals']) {
      const theirs = await nobody.get(`/${place}/apr_secret`);
      const none = await nobody.get(`/${place}/apr_nothing`);
      expect([theirs.status, none.status]).toEqual([404, 404]);
      expect(strip(theirs.text)).toBe(strip(none.text));
      expect(theirs.text).not.toContain('secret-place');
    }
    expect((await dana.get('/requests/apr_secret')).text).toContain('/secret-place');
  });

  test('an overseer sees that a call waits, and not its arguments', async () => {
    await rig.hold('apr_over', { path: '/private-words' });
    const aiko = rig.profile();
    await aiko.signIn('aiko');
    const page = await aiko.get('/approvals/apr_over');
    expect(page.status).toBe(200);
    expect(page.text).not.toContain('/private-words');
    expect(page.text).not.toContain('>Approve<');
  });

  test('PH-09: without a session every page answers 401 and tells nothing, and leads back after signing in', async () => {
    await rig.hold('apr_closed', { path: '/x' });
    const visitor = rig.profile();
    for (const path of [
      '/approvals',
      '/approvals/apr_closed',
      '/requests',
      '/requests/apr_closed',
      '/requests/apr_nothing',
    ]) {
      const reply = await visitor.get(path);
      expect([path, reply.status]).toEqual([path, 401]);
      expect(reply.text).toContain(`href="/session/sign-in?return=${encodeURIComponent(path)}"`);
      expect(reply.text).not.toContain('read_file');
    }
    for (const path of ['/approvals/apr_closed/approve', '/requests/apr_closed/withdraw'])
      expect((await visitor.post(path, { call: 'x' })).status).toBe(401);
    const page = await visitor.signIn('petra', '/session/sign-in?return=%2Fapprovals%2Fapr_closed');
    expect(new URL(page.url).pathname).toBe('/approvals/apr_closed');
  });

  test('AP-04: the session opens no row of the API, and a bearer token opens no page', async () => {
    await rig.hold('apr_api', { path: '/x' });
    for (const path of ['/api/v1/me', '/api/v1/approvals/apr_api']) expect((await petra.get(path)).status).toBe(401);
    const reply = await petra.post('/api/v1/approvals/apr_api/approve', {}, { 'content-type': 'application/json' });
    expect(reply.status).toBe(401);
    expect((await rig.profile().get('/approvals', { authorization: 'Bearer abc' })).status).toBe(401);
  });
});

test('every page says who may frame, script and keep it: nobody', async () => {
  await rig.hold('apr_headers', { path: '/x' });
  for (const [reply, status] of [
    [await petra.get('/approvals'), 200],
    [await petra.get('/approvals/apr_headers'), 200],
    [await petra.get('/requests/none'), 404],
    [await rig.profile().get('/requests'), 401],
  ] as const) {
    expect(reply.status).toBe(status);
    const policy = reply.headers.get('content-security-policy') ?? '';
    for (const part of ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"])
      expect(policy).toContain(part);
    expect(policy).not.toMatch(/script|unsafe|img/);
    expect(reply.headers.get('cache-control')).toBe('no-store');
    expect(reply.headers.get('referrer-policy')).toBe('same-origin');
    expect(reply.headers.get('x-content-type-options')).toBe('nosniff');
    expect(reply.text).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(reply.text).not.toMatch(/<script|<img|\son\w+=|javascript:|style="/i);
  }
});
