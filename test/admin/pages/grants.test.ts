/** Requests for access on the pages: who decides, and that a yes is to what was read (AZ-08, AZ-11). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formOf, startPages, type PagesRig, type Profile } from './rig.ts';

let rig: PagesRig;
let sven: Profile;
let dana: Profile;
beforeAll(async () => {
  rig = await startPages();
  sven = rig.profile();
  dana = rig.profile();
  await sven.signIn('sven');
  await dana.signIn('dana');
});
afterAll(() => rig.close());

const request = (requestedBy: string, justification = 'the audit needs it') => ({
  who: { kind: 'person', id: requestedBy },
  what: { server: 'files', items: ['read_file'] },
  conditions: [{ argument: '/path', is: 'path_under', values: ['/docs\u202Ex'] }],
  approval: 'by_risk',
  justification,
  expiresAt: Date.now() + 86_400_000,
  state: 'requested',
  requestedBy,
  requestedAt: Date.now(),
  decidedBy: null,
  decidedAt: null,
  note: null,
});
const seed = (id: string, grant: object) => rig.plane.seed([rig.plane.put('grant', id, grant)]);
const stateOf = (id: string) => rig.plane.follower.records.get('grant', 'default', id)?.body['state'];

describe('a request for access', () => {
  test('is read with all its terms and what it would do, and agreed to as it was read', async () => {
    await seed('grant_one', { ...request('dana'), conditions: [] });
    expect((await sven.get('/grants')).text).toContain('href="/grants/grant_one"');
    const page = await sven.get('/grants/grant_one');
    expect(page.status).toBe(200);
    for (const fact of ['dana', 'files', 'read_file', 'the audit needs it', 'What a yes would do'])
      expect(page.text).toContain(fact);
    const fields = formOf(page.text, '/grants/grant_one/deny');
    const done = await sven.post('/grants/grant_one/approve', { ...fields, note: 'fine' });
    expect([done.status, stateOf('grant_one')]).toEqual([303, 'active']);
    expect((await dana.get('/grants/grant_one')).text).toContain('fine');
  });

  test('hides nothing in a condition or a justification; what nobody could agree to is refused and not lost', async () => {
    await seed('grant_odd', request('dana', 'please\u200B\u202Eesaelp'));
    const { text } = await sven.get('/grants/grant_odd');
    expect(text).toContain('/docs⟨U+202E⟩x');
    expect(text).toContain('please<span class="mk">⟨U+200B⟩</span><span class="mk">⟨U+202E⟩</span>esaelp');
    expect(text).toContain('It cannot be agreed to');
    expect(text).not.toContain('>Approve<');
    const denied = await sven.post('/grants/grant_odd/deny', formOf(text, '/grants/grant_odd/deny'));
    expect([denied.status, stateOf('grant_odd')]).toEqual([303, 'denied']);
  });

  test('that changed meanwhile is not agreed to by an old page', async () => {
    await seed('grant_old', { ...request('dana'), conditions: [] });
    const fields = formOf((await sven.get('/grants/grant_old')).text, '/grants/grant_old/deny');
    await seed('grant_old', { ...request('dana', 'something else'), conditions: [] });
    for (const step of ['approve', 'deny'])
      expect((await sven.post(`/grants/grant_old/${step}`, fields)).status).toBe(412);
    const { revision: _, ...unsaid } = fields;
    expect((await sven.post('/grants/grant_old/approve', unsaid)).status).toBe(412);
    expect(stateOf('grant_old')).toBe('requested');
  });

  test('is nothing that its requester decides, and they may take it back', async () => {
    await seed('grant_own', { ...request('dana'), conditions: [] });
    const page = (await dana.get('/grants/grant_own')).text;
    expect(page).not.toContain('>Approve<');
    const fields = formOf(page, '/grants/grant_own/cancel');
    expect(
      (await dana.post('/grants/grant_own/approve', { ...fields, effect: `sha256:${'0'.repeat(64)}` })).status,
    ).toBe(403);
    expect(stateOf('grant_own')).toBe('requested');
    expect((await dana.post('/grants/grant_own/cancel', fields)).status).toBe(303);
    expect(stateOf('grant_own')).toBe('cancelled');
  });

  test('of somebody else is not there', async () => {
    await seed('grant_other', { ...request('dana'), conditions: [] });
    const nobody = rig.profile();
    await nobody.signIn('nobody');
    const strip = (text: string) => text.replace(/ref_\w+/g, '');
    const [theirs, none] = [await nobody.get('/grants/grant_other'), await nobody.get('/grants/grant_none')];
    expect([theirs.status, none.status]).toEqual([404, 404]);
    expect(strip(theirs.text)).toBe(strip(none.text));
  });
});
