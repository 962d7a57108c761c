/** What was found against access reviews: anybody who knew the id of one read who has which access, and why. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AdminContext } from '../../src/admin/context.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { Grant } from '../../src/policy/grants.ts';
import { startPlane } from '../admin/plane.ts';
import type { Plane, Reply } from '../admin/plane.ts';

let plane: Plane;
let ctx: AdminContext;
let id: string;
const SERVER = {
  title: 'Files',
  owner: 'petra',
  purpose: 'files',
  environment: 'production',
  dataClasses: ['internal'],
  state: 'enabled',
  upstream: { transport: 'http', url: 'https://files.example/mcp' },
};
const grant = (person: string, server: string): object =>
  Grant.parse({
    who: { kind: 'person', id: person },
    what: { server, items: ['read_file'] },
    conditions: [],
    approval: 'by_risk',
    justification: `${person} investigates a colleague`,
    expiresAt: null,
    state: 'active',
    requestedBy: person,
    requestedAt: 0,
    decidedBy: 'sven',
    decidedAt: 0,
    note: null,
  });
const put = async (kind: string, of: string, body: object): Promise<void> => {
  const writes = [{ kind, org: ctx.org, id: of, body: body as JsonObject }];
  const { revision } = await ctx.state.commit({ actor: 'test', reason: 'test', writes });
  await ctx.follower.advanceTo(revision);
};
beforeAll(async () => {
  plane = await startPlane({ wrap: (plain) => (ctx = plain) });
  await put('server', 'files', SERVER);
  await put('server', 'mail', { ...SERVER, owner: 'abel' });
  await put('grant', 'grant_omar', grant('omar', 'files'));
  await put('grant', 'grant_petra', grant('petra', 'mail'));
  const review = { title: 'Q4', purpose: 'quarterly', dueAt: ctx.clock.now() + 14 * 86_400_000 };
  const opened = await plane.as('ada', 'POST', '/reviews', { reason: 'policy 7', review });
  expect(opened.status, opened.text).toBe(201);
  id = opened.body['id'] as string;
});
afterAll(() => plane.close());
const read = (who: Parameters<Plane['as']>[0], query = ''): Promise<Reply> =>
  plane.as(who, 'GET', `/reviews/${id}${query}`);
const grantsIn = ({ body }: Reply): readonly unknown[] =>
  (body['items'] as readonly JsonObject[]).map((item) => item['grant']);

test('NH-10: who is asked about nothing in it learns nothing of a review, not that it is there', async () => {
  for (const query of ['', '?mine=true']) {
    const answer = await read('dana', query);
    expect(answer.status).toBe(404);
    expect(answer.body).toMatchObject({ error: { code: 'not_found' } });
    expect(answer.text).not.toContain('investigates');
  }
  expect((await plane.as('dana', 'GET', '/reviews/review_0')).status).toBe(404);
});

test('NH-10: who is asked sees what they are asked about; who oversees sees all of it', async () => {
  const mine = await read('petra');
  expect(grantsIn(mine)).toEqual(['grant_omar']);
  expect(mine.body).toMatchObject({ grants: 1, pending: 1 });
  expect(mine.text).not.toContain('petra investigates');
  for (const who of ['ada', 'sven', 'aiko'] as const)
    expect(grantsIn(await read(who))).toEqual(expect.arrayContaining(['grant_petra', 'grant_omar']));
});
