/** Content rules from files: what is stricter holds with the commit, what lets something through waits for somebody else; planted secrets stay out. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { JsonObject } from '../../../src/lib/json.ts';
import { startPlane, type Plane } from '../plane.ts';
import { actions, applied, codeOf, everything, plan, problems, rowsOf, server, type Sent } from './files.ts';

let plane: Plane;
beforeAll(async () => void (plane = await startPlane()));
afterAll(() => plane.close());
beforeEach(async () => {
  const { records } = await plane.state.load();
  const there = records.filter(({ kind }) => kind.startsWith('inspection') || kind === 'applied_set');
  if (there.length > 0) await plane.seed(there.map(({ kind, org, id }) => ({ kind, org, id, body: null })));
});

const rules = (action: string, more: JsonObject = {}): Sent => ({
  kind: 'inspection',
  id: 'default',
  spec: { rules: [{ classes: ['personal.*'], direction: 'out', action, ...more }] },
});
const NONE: Sent = { kind: 'inspection', id: 'default', spec: {} };
const SET = { set: 'rules' };
const stored = async (kind: string) => (await plane.state.load()).records.find((record) => record.kind === kind)?.body;
const inForce = async () =>
  ((await stored('inspection')) as { readonly rules: ReadonlyArray<{ readonly action: string }> }).rules.map(
    ({ action }) => action,
  );
const drift = async () => (await plane.as('sven', 'GET', '/apply/sets/rules/drift')).body['rows'];
const approve = async (who: string) => {
  const { proposed } = (await plane.as(who, 'GET', '/inspection')).body as { proposed: { digest: string } };
  return plane.as(who, 'POST', '/inspection/approve', { reason: 'read', digest: proposed.digest });
};

test('what is stricter holds with the commit; applying it again changes nothing', async () => {
  const planned = await plan(plane, 'sven', [rules('block')], SET);
  expect(actions(planned)).toEqual(['create inspection/default']);
  expect((await applied(plane, 'sven', [rules('block')], SET)).status).toBe(200);
  expect([await inForce(), await stored('inspection_proposal')]).toEqual([['block'], undefined]);
  expect(actions(await plan(plane, 'ada', [rules('block')], SET))).toEqual(['unchanged inspection/default']);
  expect(await drift()).toMatchObject([{ status: 'same' }]);
});

test('AZ-11: what lets something through waits for somebody else, and the plan says so; whoever applied it does not agree', async () => {
  await applied(plane, 'sven', [rules('block')], SET);
  const planned = await plan(plane, 'sven', [rules('label')], SET);
  const [row] = rowsOf(planned);
  expect([row?.action, row?.changes.map(({ field }) => field)]).toEqual([
    'change',
    expect.arrayContaining(['proposed.by', 'proposed.policy.rules', 'proposed.why']),
  ]);
  expect(row?.changes.every(({ field }) => field.startsWith('proposed.'))).toBe(true);
  expect((await applied(plane, 'sven', [rules('label')], SET)).status).toBe(200);
  expect([await inForce(), await stored('inspection_proposal')]).toMatchObject([['block'], { by: 'sven' }]);
  // Applied once more, by whomever, nothing is asked again and nothing is agreed to.
  const asked = await everything(plane);
  for (const who of ['sven', 'ada']) await applied(plane, who, [rules('label')], SET);
  expect(await everything(plane)).toBe(asked);
  expect(await drift()).toMatchObject([{ status: 'same' }]);

  expect(codeOf(await approve('sven'))).toEqual([403, 'two_people']);
  expect(await inForce()).toEqual(['block']);
  expect((await approve('ada')).status).toBe(200);
  expect(await inForce()).toEqual(['label']);
  expect(actions(await plan(plane, 'sven', [rules('label')], SET))).toEqual(['unchanged inspection/default']);
  expect(await drift()).toMatchObject([{ status: 'same' }]);
});

test('where there is no record yet, nothing is in force by a proposal alone', async () => {
  const file = [{ ...NONE, spec: { linkHosts: ['img.example'] } }];
  expect((await applied(plane, 'sven', file, SET)).status).toBe(200);
  expect(await stored('inspection')).toBeUndefined();
  expect(await stored('inspection_proposal')).toMatchObject({ why: 'links to img.example are loaded' });
  expect(await drift()).toMatchObject([{ status: 'same' }]);
  expect(actions(await plan(plane, 'sven', file, SET))).toEqual(['unchanged inspection/default']);
});

test('files that ask for no more than holds take back what waits, and drift tells who changed the rules by hand', async () => {
  await applied(plane, 'sven', [rules('block')], SET);
  await applied(plane, 'sven', [rules('hold')], SET);
  const back = await plan(plane, 'ada', [rules('block')], SET);
  expect(rowsOf(back)[0]?.changes.map(({ field }) => field)).toContain('proposed.policy.rules');
  expect((await applied(plane, 'ada', [rules('block')], SET)).status).toBe(200);
  expect([await inForce(), await stored('inspection_proposal')]).toEqual([['block'], undefined]);

  const { headers } = await plane.as('ada', 'GET', '/inspection');
  const inspection = { rules: [...(rules('block').spec as { rules: object[] }).rules], onFault: { read: 'refuse' } };
  const body = { reason: 'by hand', inspection };
  const put = await plane.as('ada', 'PUT', '/inspection', body, { 'if-match': headers.get('etag') ?? '' });
  expect(put.status).toBe(200);
  expect(await drift()).toMatchObject([
    {
      status: 'changed',
      changes: [{ field: 'onFault.read', before: 'label', after: 'refuse' }],
      since: [{ actor: 'ada', reason: 'by hand' }],
    },
  ]);
});

test('of a proposal that somebody took away drift says so', async () => {
  await applied(plane, 'sven', [rules('block')], SET);
  await applied(plane, 'sven', [rules('hold')], SET);
  const { headers } = await plane.as('ada', 'GET', '/inspection');
  const body = { reason: 'no', inspection: rules('block').spec };
  await plane.as('ada', 'PUT', '/inspection', body, { 'if-match': headers.get('etag') ?? '' });
  expect(await drift()).toMatchObject([
    { status: 'changed', changes: [{ field: 'rules' }], since: [{ actor: 'ada', reason: 'no' }] },
  ]);
});

test('a rule may name a server of the same files, and is refused by its place where there is none', async () => {
  const file = rules('block', { servers: ['planned'] });
  expect(problems(await plan(plane, 'ada', [file]))).toEqual(['inspection/default spec.rules.0.servers.0: invalid']);
  expect((await applied(plane, 'ada', [file, server('planned')])).status).toBe(200);
  expect(await inForce()).toEqual(['block']);
});

test.each<[string, string, Sent, string, string]>([
  ['an operator', 'omar', rules('block'), 'inspection/default : role_missing', 'role'],
  ['another id', 'sven', { ...NONE, id: 'mine' }, 'inspection/mine id: invalid', 'use default'],
  [
    'a rule that lets planted values pass',
    'sven',
    rules('label', { classes: ['honeytoken.*'] }),
    'inspection/default spec.rules.0.action: invalid',
    'may not pass',
  ],
  [
    'a proposal that somebody wrote as if it were made',
    'sven',
    { ...NONE, spec: { proposed: {} } },
    'inspection/default spec.proposed: unknown_member',
    'not said here',
  ],
  [
    'the proposal itself',
    'sven',
    { kind: 'inspection_proposal', id: 'default', spec: {} },
    'inspection_proposal/default kind: unknown_kind',
    'Use one of',
  ],
  [
    'a honeytoken',
    'sven',
    { kind: 'honeytoken', id: 'trap', spec: { title: 'x', placed: 'y', owner: 'sven' } },
    'honeytoken/trap kind: unknown_kind',
    'remit honeytoken create',
  ],
])('is refused: %s', async (_what, who, resource, problem, words) => {
  const before = await everything(plane);
  const planned = await plan(plane, who, [resource]);
  expect(problems(planned)).toEqual([problem]);
  expect(planned.text).toContain(words);
  expect((await applied(plane, who, [resource])).body['digest']).toBeNull();
  expect(await everything(plane)).toBe(before);
});
