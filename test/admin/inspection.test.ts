/** Content rules through the API: what is stricter holds at once, what lets something through needs two people, and nothing lets secrets of ours pass. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { relaxes } from '../../src/admin/inspection-relaxes.ts';
import { InspectionPolicy } from '../../src/content/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { SERVER, startPlane, type Name, type Plane } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  await plane.seed([plane.put('server', 'crm', { ...SERVER, state: 'enabled' })]);
});
afterAll(() => plane.close());
beforeEach(async () => {
  const { records } = await plane.state.load();
  const there = records.filter(({ kind }) => kind.startsWith('inspection'));
  if (there.length > 0) await plane.seed(there.map(({ kind, org, id }) => ({ kind, org, id, body: null })));
});

const rule = (more: JsonObject): JsonObject => ({
  classes: ['personal.*'],
  direction: 'out',
  action: 'block',
  ...more,
});
async function put(who: Name, inspection: JsonObject) {
  const { headers } = await plane.as('sven', 'GET', '/inspection');
  const etag = headers.get('etag');
  return plane.as(who, 'PUT', '/inspection', { reason: 'test', inspection }, etag === null ? {} : { 'if-match': etag });
}
const show = async () => (await plane.as('omar', 'GET', '/inspection')).body;

test('without a record the defaults stand', async () => {
  expect(await show()).toMatchObject({
    inspection: { rules: [], onFault: { write: 'refuse' } },
    readable: true,
    revision: null,
    effective: expect.arrayContaining([
      expect.objectContaining({ direction: 'out', class: 'secret.*', action: 'block', from: 'default' }),
    ]),
  });
});

test('what is stricter holds at once', async () => {
  expect(await put('sven', { rules: [rule({})] })).toMatchObject({ status: 200, body: { state: 'in force' } });
  const shown = await show();
  expect(shown).toMatchObject({ inspection: { rules: [{ action: 'block' }] }, proposed: null });
  expect(shown['effective']).toContainEqual(
    expect.objectContaining({ direction: 'out', class: 'personal.*', action: 'block', from: 'record', rule: 0 }),
  );
});

test('AZ-11: what lets something through waits for somebody else, who agrees to exactly that', async () => {
  await put('sven', { rules: [rule({})] });
  const proposed = await put('sven', { rules: [rule({ action: 'label' })] });
  expect(proposed.body).toMatchObject({ state: 'proposed', why: 'personal.other towards servers in all calls' });
  expect(await show()).toMatchObject({ inspection: { rules: [{ action: 'block' }] }, proposed: { by: 'sven' } });
  const approve = (who: Name, digest: unknown) =>
    plane.as(who, 'POST', '/inspection/approve', { reason: 'test', digest });
  const { digest } = proposed.body;
  expect(await approve('sven', digest)).toMatchObject({ status: 403, body: { error: { code: 'two_people' } } });
  expect(await approve('ada', 'sha256:other')).toMatchObject({
    status: 409,
    body: { error: { code: 'inspection_moved' } },
  });
  expect((await approve('omar', digest)).status).toBe(403);
  expect((await approve('ada', digest)).status).toBe(200);
  expect(await show()).toMatchObject({ inspection: { rules: [{ action: 'label' }] }, proposed: null });
  expect((await approve('ada', digest)).status).toBe(404);
});

test.each<[string, JsonObject, string]>([
  ['an own secret may pass', { rules: [rule({ classes: ['own_secret.*'], action: 'label' })] }, 'may not pass'],
  ['a planted one may pass', { rules: [rule({ classes: ['honeytoken.*'], action: 'hold' })] }, 'may not pass'],
  ['arguments are rewritten', { rules: [rule({ action: 'redact' })] }, 'does not go with direction out'],
  ['a server that is not there', { rules: [rule({ servers: ['crm', 'nowhere'] })] }, 'inspection.rules.0.servers.1'],
  ['an unknown family', { rules: [rule({ classes: ['personel.*'] })] }, 'there is no family personel'],
  ['an unknown member', { rule: [] }, 'rule'],
])('is refused, and names what is wrong: %s', async (_what, inspection, words) => {
  const refused = await put('sven', inspection);
  expect(refused.status).toBe(422);
  expect(refused.text).toContain(words);
  expect(await show()).toMatchObject({ revision: null });
});

test('CI-11: a record that cannot be read is shown as such, and is replaced by whoever has seen it', async () => {
  await plane.seed([plane.put('inspection', 'default', { rules: 'none' })]);
  const unread = (await show()) as { readonly effective?: ReadonlyArray<{ readonly direction: string }> };
  expect(unread).toMatchObject({ readable: false });
  expect([...new Set(unread.effective?.map(({ direction }) => direction))]).toEqual(['in']);
  expect((await put('sven', { rules: [rule({})] })).status).toBe(200);
  expect(await show()).toMatchObject({ readable: true });
});

describe('what lets something through', () => {
  const policy = (more: JsonObject = {}): InspectionPolicy => InspectionPolicy.parse(more);

  test('all of it is named, not the first of it alone', () => {
    const before = {
      rules: [rule({ classes: ['personal.card'], direction: 'in', action: 'withhold' }), rule({ risks: ['read'] })],
    };
    const after = { rules: [], linkHosts: ['img.example'] };
    expect(relaxes(policy(before), policy(after))).toBe(
      'links to img.example are loaded; personal.other towards servers in read calls and outside of calls; personal.card towards servers in read calls and outside of calls; personal.card from servers in all calls',
    );
    const hosts = Array.from({ length: 90 }, (_, at) => `img-${at}${`.${'long'.repeat(14)}`.repeat(8)}`);
    const named = relaxes(policy(), policy({ linkHosts: hosts }))!;
    expect(named).toMatch(/^links to img-0\..*; 89 more$/);
    expect(named.length).toBeLessThanOrEqual(500);
  });

  test.each<[string, JsonObject, JsonObject, boolean]>([
    ['nothing changed', { rules: [rule({})] }, { rules: [rule({})] }, false],
    ['a rule more', {}, { rules: [rule({})] }, false],
    ['a rule less', { rules: [rule({})] }, {}, true],
    [
      'an exception before a rule',
      { rules: [rule({})] },
      { rules: [rule({ classes: ['personal.iban'], action: 'label' }), rule({})] },
      true,
    ],
    [
      'an exception behind it, which never counts',
      { rules: [rule({})] },
      { rules: [rule({}), rule({ classes: ['personal.iban'], action: 'label' })] },
      false,
    ],
    ['for one server', { rules: [rule({})] }, { rules: [rule({ servers: ['crm'], action: 'hold' }), rule({})] }, true],
    [
      'for one risk class',
      { rules: [rule({})] },
      { rules: [rule({ risks: ['read'], action: 'label' }), rule({})] },
      true,
    ],
    [
      'for one data class',
      { rules: [rule({})] },
      { rules: [rule({ dataClasses: ['public'], action: 'label' }), rule({})] },
      true,
    ],
    ['a secret of a known shape', {}, { rules: [rule({ classes: ['secret.github'], action: 'hold' })] }, true],
    [
      'hidden characters for clients',
      {},
      { rules: [rule({ classes: ['hidden.*'], direction: 'in', action: 'label' })] },
      true,
    ],
    [
      'for what belongs to no call, of which the first rule counts whatever risks it names',
      { rules: [rule({ risks: ['read'], direction: 'in', action: 'withhold' })] },
      {
        rules: [
          rule({ risks: ['write'], direction: 'in', action: 'label' }),
          rule({ risks: ['read'], direction: 'in', action: 'withhold' }),
        ],
      },
      true,
    ],
    [
      'for servers of which no data class is said',
      { rules: [rule({})] },
      { rules: [rule({ dataClasses: ['public', 'internal', 'confidential', 'regulated'] })] },
      true,
    ],
    ['a host', {}, { linkHosts: ['img.example'] }, true],
    ['a fault', {}, { onFault: { write: 'label' } }, true],
    ['a stricter fault', {}, { onFault: { read: 'refuse' } }, false],
    ['less time', {}, { budgetMs: 5 }, true],
  ])('%s', (_what, before, after, lets) => {
    expect(relaxes(policy(before), policy(after)) !== null).toBe(lets);
  });
});
