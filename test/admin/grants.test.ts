/** Who may ask for access, who may agree to it, and what is refused whole. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { SERVER, startPlane, type Plane } from './plane.ts';

const definition = {
  name: 'send',
  inputSchema: {
    type: 'object',
    properties: {
      to: { type: 'string' },
      amount: { type: 'integer' },
      folder: { type: 'string' },
      note: { type: 'string' },
    },
  },
};
const digest = definitionDigest(definition);
const AGENT = { kind: 'delegate', state: 'active', roles: [], ceiling: {} };

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  const issuer = plane.issuer.issuer;
  const person = (id: string, groups: readonly string[]) =>
    plane.put(
      'person',
      id,
      { issuer, subject: id, name: id, state: 'active', roles: ['member'], groups },
      `${issuer} ${id}`,
    );
  const item = (name: string, approved: boolean) => {
    const mine = { ...definition, name };
    const of = definitionDigest(mine);
    return plane.put('tool', `bank/${name}`, {
      server: 'bank',
      kind: 'tool',
      name,
      observed: { digest: of, definition: mine, seenAt: 1 },
      approved: approved
        ? {
            digest: of,
            definition: mine,
            risk: 'write',
            scope: 'bank:write',
            justification: 'x',
            by: 'sven',
            at: 1,
            parameters: { '/folder': 'path', '/amount': 'amount' },
          }
        : null,
    });
  };
  await plane.seed([
    plane.put('group', 'group_pay', { name: 'Payments', roles: [] }),
    plane.put('group', 'group_own', { name: 'Owners', roles: [] }),
    person('olga', ['group_own']),
    person('pia', ['group_pay']),
    plane.put('server', 'bank', { ...SERVER, owner: 'group/group_own', state: 'enabled' }),
    item('send', true),
    item('fresh', false),
    plane.put(
      'agent',
      'agent_bot',
      { ...AGENT, issuer, clientId: 'bot', title: 'Bot', kind: 'autonomous', roles: ['developer'], owner: 'pia' },
      `${issuer} bot`,
    ),
  ]);
});
afterAll(() => plane.close());

const wanted = (over: object = {}) => ({
  grant: {
    who: { kind: 'person', id: 'dana' },
    what: { server: 'bank', items: ['send'] },
    justification: 'ticket 7',
    ...over,
  },
});
const code = (reply: { status: number; body: { error?: Record<string, unknown> } }) => [
  reply.status,
  reply.body.error?.['code'],
];

async function asked(by: string, over: object = {}): Promise<{ id: string; etag: Record<string, string> }> {
  const reply = await plane.as(by, 'POST', '/grants', wanted(over));
  expect([reply.status, reply.text]).toEqual([201, reply.text]);
  return { id: String(reply.body['id']), etag: { 'if-match': reply.headers.get('etag') ?? '' } };
}
const decide = (
  by: string,
  step: string,
  { id, etag }: { id: string; etag: Record<string, string> },
  body: object = {},
) => plane.as(by, 'POST', `/grants/${id}/${step}`, body, etag);

describe('asking', () => {
  test('anybody asks for themselves; it waits, is recorded, and gives nothing', async () => {
    const { id } = await asked('dana');
    const read = await plane.as('dana', 'GET', `/grants/${id}`);
    expect(read.body).toMatchObject({
      state: 'requested',
      standing: 'requested',
      requestedBy: 'dana',
      decidedBy: null,
      whoName: 'dana',
    });
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'dana' },
      event: { what: 'grant.requested', subject: `grant/${id}`, to: 'person/dana', server: 'bank' },
    });
  });

  test.each([
    ['dana', { who: { kind: 'person', id: 'pia' } }, 403],
    ['dana', { who: { kind: 'group', id: 'group_pay' } }, 403],
    ['pia', { who: { kind: 'group', id: 'group_pay' } }, 403],
    ['dana', { who: { kind: 'agent', id: 'agent_bot' } }, 403],
    ['pia', { who: { kind: 'agent', id: 'agent_bot' } }, 201],
    ['sven', { who: { kind: 'group', id: 'group_pay' } }, 201],
    ['ada', { who: { kind: 'person', id: 'pia' } }, 201],
    ['olga', { who: { kind: 'person', id: 'pia' } }, 201],
    ['omar', { who: { kind: 'person', id: 'pia' } }, 403],
  ] as const)('%s asks for %j: %i', async (by, over, status) => {
    expect((await plane.as(by, 'POST', '/grants', wanted(over))).status).toBe(status);
  });

  test('everything that is wrong with a request is told at once, and nothing is stored', async () => {
    const before = (await plane.as('sven', 'GET', '/grants?limit=1000')).body['grants'] as unknown[];
    const reply = await plane.as(
      'sven',
      'POST',
      '/grants',
      wanted({
        who: { kind: 'group', id: 'no_group' },
        through: 'nobody-client',
        what: { server: 'bank', items: ['send', 'missing', 'fresh'] },
        conditions: [
          { argument: '/folder', is: 'path_under', values: ['/tmp'] },
          { argument: '/amount', is: 'at_most', value: 100 },
          { argument: '/note', is: 'path_under', values: ['/tmp'] },
          { argument: '/amount', is: 'host_in', values: ['example.com'] },
          { argument: '/absent', is: 'one_of', values: ['x'] },
        ],
        startsAt: 5,
        expiresAt: 4,
        lastsMs: 8 * 86_400_000,
      }),
    );
    expect(code(reply)).toEqual([422, 'invalid']);
    expect(String(reply.body.error?.['message']).split('; ')).toEqual([
      'who.id: there is no group "no_group"',
      'name it by the id of its record',
      'through: there is no agent with the client id "nobody-client"',
      'what.items.1: "bank" has no item "missing"',
      'what.items.2: "fresh" is not reviewed',
      'conditions.2: "send": "/note" is not reviewed as path, so path_under cannot be judged',
      'conditions.3: "send": "/amount" is reviewed as amount, which does not fit host_in',
      'conditions.4: "send": has no argument "/absent"',
      'expiresAt: lies in the past',
      'startsAt: must lie before its end',
      'lastsMs: says the end already',
      'leave out `expiresAt`',
      'lastsMs: begins with the yes',
      'leave out `startsAt`',
      'lastsMs: is longer than a week',
      'ask for a grant with an end instead',
    ]);
    expect((await plane.as('sven', 'GET', '/grants?limit=1000')).body['grants']).toHaveLength(before.length);
  });

  test.each([
    ['a state', { state: 'active' }],
    ['who decided', { decidedBy: 'sven' }],
    ['who asked', { requestedBy: 'pia' }],
    ['a condition of no kind', { conditions: [{ argument: '/to', is: 'matches', values: ['.*'] }] }],
    ['a pointer that is none', { conditions: [{ argument: 'to', is: 'one_of', values: ['x'] }] }],
    ['no justification', { justification: '' }],
  ])('%s is not for the requester to write', async (_, over) => {
    expect(code(await plane.as('dana', 'POST', '/grants', wanted(over)))).toEqual([422, 'invalid']);
  });
});

describe('deciding', () => {
  test('AZ-11: neither requester nor beneficiary decides, by whatever role; an owner of the server and a reviewer do', async () => {
    const mine = await asked('sven', { who: { kind: 'person', id: 'pia' } });
    expect(code(await decide('sven', 'approve', mine))).toEqual([403, 'grant_requester']);
    expect(code(await decide('pia', 'approve', mine))).toEqual([403, 'grant_beneficiary']);
    expect(code(await decide('omar', 'approve', mine))).toEqual([403, 'grant_not_yours']);
    expect(code(await decide('dana', 'approve', mine))).toEqual([404, 'not_found']);
    const done = await decide('olga', 'approve', mine, { note: 'fine' });
    expect([done.status, done.body['state']]).toEqual([200, 'active']);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'olga' },
      event: { what: 'grant.active', subject: `grant/${mine.id}`, reason: 'fine', requester: 'sven' },
    });
    const bots = await asked('sven', { who: { kind: 'agent', id: 'agent_bot' } });
    expect(code(await decide('pia', 'approve', bots))).toEqual([403, 'grant_beneficiary']);
    expect((await decide('ada', 'approve', bots)).status).toBe(200);
  });

  test('AZ-11: a member of the group that gets it does not decide, even as a reviewer', async () => {
    const { body } = await plane.as('ada', 'GET', '/people/abel');
    const { id: _id, revision, ...abel } = body as { id: string; revision: number };
    await plane.seed([plane.put('person', 'abel', { ...abel, groups: ['group_pay'] })]);
    expect(revision).toBeGreaterThan(0);
    const forGroup = await asked('sven', { who: { kind: 'group', id: 'group_pay' } });
    expect(code(await decide('abel', 'approve', forGroup))).toEqual([403, 'grant_beneficiary']);
    expect((await decide('ada', 'approve', forGroup)).status).toBe(200);
  });

  test('AZ-11 twin: where one person may decide, the requester lets themselves in', async () => {
    const twin = await startPlane({ facts: { unsafeOnePersonMayDecide: true } });
    await twin.seed([
      twin.put('server', 'bank', { ...SERVER, state: 'enabled' }),
      twin.put('tool', 'bank/send', {
        server: 'bank',
        kind: 'tool',
        name: 'send',
        observed: { digest, definition, seenAt: 1 },
        approved: { digest, definition, risk: 'write', scope: 's', justification: 'x', by: 'x', at: 1 },
      }),
    ]);
    const reply = await twin.as('ada', 'POST', '/grants', wanted({ who: { kind: 'person', id: 'ada' } }));
    const etag = { 'if-match': reply.headers.get('etag') ?? '' };
    expect((await twin.as('ada', 'POST', `/grants/${String(reply.body['id'])}/approve`, {}, etag)).status).toBe(200);
    await twin.close();
  });

  test('a decision names the revision that was read; a stale or missing one changes nothing', async () => {
    const one = await asked('dana');
    expect(code(await plane.as('sven', 'POST', `/grants/${one.id}/approve`, {}))).toEqual([
      428,
      'precondition_required',
    ]);
    expect(code(await decide('sven', 'approve', { ...one, etag: { 'if-match': '"1"' } }))).toEqual([
      412,
      'precondition_failed',
    ]);
    expect((await decide('sven', 'deny', one, { note: 'no' })).body).toMatchObject({ state: 'denied' });
    expect(code(await decide('ada', 'approve', one))).toEqual([409, 'grant_state']);
  });

  test('what was right when asked for and is gone since is not agreed to', async () => {
    const gone = await asked('ada', { who: { kind: 'group', id: 'group_gone_0' } }).catch(() => null);
    expect(gone).toBeNull();
    await plane.seed([plane.put('group', 'group_soon', { name: 'Soon', roles: [] })]);
    const one = await asked('ada', { who: { kind: 'group', id: 'group_soon' } });
    await plane.seed([{ kind: 'group', org: 'default', id: 'group_soon', body: null }]);
    expect(code(await decide('sven', 'approve', one))).toEqual([422, 'invalid']);
  });

  test('AZ-07: an elevation ends so long after the yes', async () => {
    const one = await asked('dana', { lastsMs: 60_000 });
    const before = Date.now();
    const done = await decide('sven', 'approve', one);
    expect(done.status).toBe(200);
    const ends = Number(done.body['expiresAt']);
    expect(ends).toBeGreaterThanOrEqual(before + 60_000);
    expect(ends).toBeLessThanOrEqual(Date.now() + 60_000);
  });

  test('taking away is one person and at once; coming back is a fresh decision', async () => {
    const one = await asked('dana');
    expect((await decide('sven', 'approve', one)).status).toBe(200);
    expect((await plane.as('omar', 'POST', `/grants/${one.id}/suspend`, { reason: 'odd calls' })).body).toMatchObject({
      state: 'suspended',
    });
    const read = await plane.as('dana', 'GET', `/grants/${one.id}`);
    const etag = { 'if-match': read.headers.get('etag') ?? '' };
    expect(code(await decide('omar', 'resume', { id: one.id, etag }))).toEqual([403, 'grant_not_yours']);
    expect((await decide('ada', 'resume', { id: one.id, etag })).body).toMatchObject({ state: 'active' });
    expect((await plane.as('dana', 'POST', `/grants/${one.id}/end`, { reason: 'done' })).body).toMatchObject({
      state: 'ended',
    });
  });

  test('the requester takes a request back, nobody else does', async () => {
    const one = await asked('dana');
    expect(code(await plane.as('sven', 'POST', `/grants/${one.id}/cancel`, { reason: 'x' }))).toEqual([
      403,
      'grant_not_yours',
    ]);
    expect((await plane.as('dana', 'POST', `/grants/${one.id}/cancel`, { reason: 'x' })).body).toMatchObject({
      state: 'cancelled',
    });
  });
});

describe('lists', () => {
  test('staff see all, others what they asked for, have or answer for; filters narrow it', async () => {
    const list = async (who: string, query = '') =>
      ((await plane.as(who, 'GET', `/grants?limit=1000${query}`)).body['grants'] as Array<
        Record<string, unknown> & { readonly who: { readonly kind: string; readonly id: string } }
      >) ?? [];
    const all = await list('aiko');
    expect(all.length).toBeGreaterThan(5);
    const danas = await list('dana');
    expect(danas.every((one) => one['requestedBy'] === 'dana' || one['who'].id === 'dana')).toBe(true);
    expect(danas.length).toBeLessThan(all.length);
    expect((await list('olga')).length).toBe(all.length);
    expect((await list('aiko', '&standing=denied')).every((one) => one['state'] === 'denied')).toBe(true);
    expect((await list('aiko', '&person=pia')).some((one) => one['who'].kind === 'group')).toBe(true);
    expect(await list('aiko', '&server=none')).toEqual([]);
    const page = await plane.as('aiko', 'GET', '/grants?limit=2');
    const rest = await plane.as('aiko', 'GET', `/grants?limit=1000&after=${String(page.body['next'])}`);
    expect([...(page.body['grants'] as unknown[]), ...(rest.body['grants'] as unknown[])]).toEqual(all);
  });

  test('somebody whom it does not concern is told that there is no such grant', async () => {
    const one = await asked('sven', { who: { kind: 'person', id: 'pia' } });
    expect(code(await plane.as('dana', 'GET', `/grants/${one.id}`))).toEqual([404, 'not_found']);
    expect((await plane.as('pia', 'GET', `/grants/${one.id}`)).status).toBe(200);
  });

  test('one person does not fill the desks of those who decide', async () => {
    let last = 201;
    for (let at = 0; at < 21 && last === 201; at++)
      last = (await plane.as('petra', 'POST', '/grants', wanted({ who: { kind: 'person', id: 'petra' } }))).status;
    expect(last).toBe(409);
  });
});
