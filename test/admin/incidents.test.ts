/** Incidents and planted secrets through the API: who may, what is refused and with which words, and that a value never comes out again. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { honeytokenBox } from '../../src/inventory/honeytokens.ts';
import { noticesOf } from '../../src/admin/notify/notices.ts';
import { HELD_KEY, startPlane, type Name, type Plane, type Reply } from './plane.ts';

let plane: Plane;
beforeAll(async () => void (plane = await startPlane()));
afterAll(() => plane.close());

const planted = { id: 'crm', title: 'CRM', placed: 'row 7', owner: 'sven', reason: 'test' };

test('CI-07: a planted value is made, shown once, and lies sealed to its record', async () => {
  const made = await plane.as('sven', 'POST', '/honeytokens', planted);
  expect(made).toMatchObject({ status: 201, body: { id: 'crm', value: expect.stringMatching(/^[A-Za-z0-9]{40}$/) } });
  const value = made.body['value'] as string;

  const list = await plane.as('aiko', 'GET', '/honeytokens');
  expect(list.body).toMatchObject({ honeytokens: [{ id: 'crm', placed: 'row 7', owner: 'sven', state: 'planted' }] });
  const { records } = await plane.state.load();
  const record = records.find(({ kind }) => kind === 'honeytoken')!;
  const history = await plane.as('aiko', 'GET', '/history/honeytoken/crm');
  for (const text of [list.text, JSON.stringify(records), history.text]) expect(text).not.toContain(value);
  const box = honeytokenBox([HELD_KEY], 'default');
  const { sealed } = record.body;
  expect([box.open(sealed as string, 'crm'), box.open(sealed as string, 'other')]).toEqual([value, null]);
});

test.each([
  ['a short value', 'sven', { ...planted, id: 'short', value: 'short' }, 422, 'value'],
  ['nobody to tell', 'sven', { ...planted, id: 'gone', owner: 'nobody-here' }, 422, 'owner'],
  ['an id that is taken', 'sven', planted, 409, 'honeytoken_exists'],
  ['an operator', 'omar', { ...planted, id: 'ops' }, 403, 'role'],
])('is refused: %s', async (_what, who, body, status, word) => {
  const refused = await plane.as(who, 'POST', '/honeytokens', body);
  expect(refused.status).toBe(status);
  expect(refused.text).toContain(word);
});

test('AZ-11: a honeytoken is retired by two people, the second of whom names what they read; until then it stays', async () => {
  const made = await plane.as('sven', 'POST', '/honeytokens', { ...planted, id: 'old', value: 'x'.repeat(30) });
  expect(made.body['value']).toBeUndefined();
  const retire = (who: Name, match?: string) =>
    plane.as(who, 'POST', '/honeytokens/old/retire', { reason: 'gone' }, match ? { 'if-match': match } : {});
  const approve = (who: Name, digest: unknown) =>
    plane.as(who, 'POST', '/honeytokens/old/retire/approve', { reason: 'looked', digest });
  const keep = (who: Name) => plane.as(who, 'DELETE', '/honeytokens/old/retire', { reason: 'not yet' });
  interface Shown {
    readonly id: string;
    readonly state: string;
    readonly revision: number;
    readonly retiring?: { readonly digest: string };
  }
  const shown = async (): Promise<Shown> => {
    const { honeytokens } = (await plane.as('aiko', 'GET', '/honeytokens')).body;
    return (honeytokens as Shown[]).find(({ id }) => id === 'old')!;
  };
  const code = ({ status, body }: Reply) => [status, body.error?.['code']];
  expect(code(await approve('ada', 'sha256:none'))).toEqual([409, 'honeytoken_planted']);
  expect(code(await keep('ada'))).toEqual([409, 'honeytoken_planted']);
  expect((await retire('ada')).status).toBe(428);
  expect((await retire('ada', '"1"')).status).toBe(412);
  const proposed = await retire('ada', `"${String(made.body['revision'])}"`);
  expect(proposed).toMatchObject({ status: 200, body: { state: 'retiring', retiring: { by: 'ada', reason: 'gone' } } });
  expect(proposed.text).not.toContain('sealed');
  const early = (await shown()).retiring?.digest;
  expect(code(await retire('sven', `"${(await shown()).revision}"`))).toEqual([409, 'honeytoken_retiring']);
  expect(code(await approve('ada', early))).toEqual([403, 'two_people']);
  expect(code(await approve('omar', early))).toEqual([403, 'role_missing']);
  expect(code(await keep('omar'))).toEqual([403, 'role_missing']);

  // Somebody says no; whoever agrees to that proposal later agrees to nothing.
  expect((await keep('sven')).status).toBe(200);
  const { state, revision } = await shown();
  expect(state).toBe('planted');
  expect((await retire('abel', `"${revision}"`)).status).toBe(200);
  expect(code(await approve('ada', early))).toEqual([409, 'honeytoken_moved']);
  expect((await shown()).state).toBe('retiring');
  expect(await approve('ada', (await shown()).retiring?.digest)).toMatchObject({
    status: 200,
    body: { state: 'retired', retired: { by: 'abel', agreed: 'ada' } },
  });
  for (const again of [await retire('abel', `"${revision}"`), await approve('sven', early), await keep('sven')])
    expect(code(again)).toEqual([409, 'honeytoken_retired']);
  const said = (await plane.entries('admin')).filter(({ event }) => event?.['subject'] === 'honeytoken/old');
  expect(said.map(({ actor, event }) => [actor?.person, event?.['what']])).toEqual([
    ['sven', 'honeytoken.added'],
    ['ada', 'honeytoken.retirement_proposed'],
    ['sven', 'honeytoken.kept'],
    ['abel', 'honeytoken.retirement_proposed'],
    ['ada', 'honeytoken.retired'],
  ]);
});

test('an alarm is a finding until somebody closes it and says what they found', async () => {
  const body = { what: 'honeytoken', subject: 'honeytoken/crm', facts: { server: 'mail' }, openedAt: 1 };
  await plane.seed([plane.put('incident', 'honeytoken-1', body)]);
  expect((await plane.as('omar', 'GET', '/findings')).text).toContain('incident_open');
  const { headers } = await plane.as('omar', 'GET', '/incidents/honeytoken-1');
  const match = { 'if-match': headers.get('etag') ?? '' };
  const close = (who: 'omar' | 'sven', reason: string) =>
    plane.as(who, 'POST', '/incidents/honeytoken-1/close', { reason }, match);
  expect((await close('omar', 'fine')).status).toBe(403);
  expect((await close('sven', '')).status).toBe(422);
  expect((await close('sven', 'the red team')).status).toBe(200);
  expect(await close('sven', 'again')).toMatchObject({ status: 409, body: { error: { code: 'incident_closed' } } });
  expect((await plane.as('omar', 'GET', '/findings')).text).not.toContain('incident_open');
  expect((await plane.as('omar', 'GET', '/incidents')).body).toEqual({ incidents: [] });
  expect((await plane.as('omar', 'GET', '/incidents?state=all')).body).toMatchObject({
    incidents: [{ id: 'honeytoken-1', severity: 'alarm', closed: { by: 'sven', reason: 'the red team' } }],
  });
});

test('CI-07: an alarm that opens, or opens again, is told to reviewers and to whoever planted it; nothing else of it is', async () => {
  const body = { what: 'honeytoken', subject: 'honeytoken/told', facts: { owner: 'dana' }, openedAt: 1 };
  const closed = { by: 'sven', at: 2, reason: 'red team' };
  for (const one of [body, { ...body, facts: { ...body.facts, more: 1 } }, { ...body, closed }, body])
    await plane.seed([plane.put('incident', 'told', one)]);
  const changes = await plane.state.history('incident', 'default', 'told');
  const facts = { org: 'default', state: plane.state, snapshot: plane.snapshot };
  const told = await Promise.all(changes.map((change) => noticesOf([change], facts)));
  expect(told.map((notices) => notices.length)).toEqual([1, 0, 0, 1]);
  const [notice] = told[0]!;
  expect(notice).toMatchObject({
    type: 'incident.opened',
    title: 'A planted secret was seen: honeytoken/told',
    data: { severity: 'alarm', what: 'honeytoken' },
    path: '/incidents/told',
  });
  expect(notice?.concerns.toSorted()).toEqual(['dana', 'sven']);
});
