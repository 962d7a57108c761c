/** Groups, agents, mappings, the organisation, void tokens: who may change what, and what is in force when the answer comes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestApproval } from '../../src/approvals/machine.ts';
import { personKey } from '../../src/directory/records.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { SERVER, startPlane, type Plane, type Reply } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  // The agents of these tests are also clients of the API, so that what they may shows.
  const clients = ['remit-cli', ...Array.from({ length: 40 }, (_, at) => `client-a${at}`)];
  plane = await startPlane({ facts: { clients } });
});
afterAll(() => plane.close());

const ABSENT = { 'if-none-match': '*' };
const code = (reply: Reply) => [reply.status, reply.body.error?.['code']];
const etag = (reply: Reply) => ({ 'if-match': reply.headers.get('etag') ?? '' });
const reason = 'x';
const lastEvent = async () => (await plane.entries('admin')).at(-1)?.event;

const person = (subject: string, more: object = {}) => ({
  issuer: plane.issuer.issuer,
  subject,
  name: subject,
  state: 'active',
  roles: [],
  ...more,
});
const seedPerson = (id: string, more: object = {}) =>
  plane.seed([plane.put('person', id, person(id, more), personKey(plane.issuer.issuer, id))]);

describe('people', () => {
  test('a list of thousands comes in pages, each found by part of a name, an identity or a group', async () => {
    const many = Array.from({ length: 2_500 }, (_, at) => `m${String(at).padStart(5, '0')}`);
    await plane.seed(
      many.map((id, at) =>
        plane.put(
          'person',
          id,
          person(id, { name: `Member ${at}`, ...(at % 500 === 0 && { groups: ['g'] }) }),
          personKey(plane.issuer.issuer, id),
        ),
      ),
    );
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const reply: Reply = await plane.as('ada', 'GET', `/people?limit=1000${after === null ? '' : `&after=${after}`}`);
      const page = reply.body['people'] as Array<{ id: string }>;
      expect(page.length).toBeLessThanOrEqual(1_000);
      seen.push(...page.map(({ id }) => id));
      after = reply.body['next'] as string | null;
    } while (after !== null);
    expect(seen).toEqual(seen.toSorted());
    expect(seen.filter((id) => /^m\d/.test(id))).toEqual(many);
    const first = await plane.as('ada', 'GET', '/people');
    expect([(first.body['people'] as object[]).length, first.body['total']]).toEqual([100, seen.length]);
    const ids = async (query: string) =>
      ((await plane.as('ada', 'GET', `/people?${query}`)).body['people'] as Array<{ id: string }>).map(({ id }) => id);
    expect(await ids('search=MEMBER%202499')).toEqual(['m02499']);
    expect(await ids('group=g')).toEqual(['m00000', 'm00500', 'm01000', 'm01500', 'm02000']);
    expect(code(await plane.as('ada', 'GET', '/people?limit=5000'))).toEqual([400, 'invalid']);
  });

  test('of a provisioned person only the roles are ours; the refusal says where the rest is changed', async () => {
    const provisioned = { connection: 'entra', userName: 'pia@corp.example', profile: { title: 'Analyst' } };
    await seedPerson('pia', { provisioned });
    const read = await plane.as('ada', 'GET', '/people/pia');
    const { id: _, revision: __, ...before } = read.body;
    const put = (change: object) =>
      plane.as('ada', 'PUT', '/people/pia', { reason, person: { ...before, ...change } }, etag(read));
    for (const change of [{ name: 'Other' }, { state: 'inactive' }, { groups: ['g'] }, { breakGlass: true }]) {
      const refused = await put(change);
      expect([Object.keys(change), ...code(refused)]).toEqual([Object.keys(change), 403, 'provisioned']);
      expect(refused.body.error?.['remedy']).toContain('remit lock add user');
    }
    expect((await put({ roles: ['developer'] })).status).toBe(200);
    const row = ((await plane.as('ada', 'GET', '/people?search=pia')).body['people'] as Array<typeof before>)[0];
    expect(row).toMatchObject({ roles: ['developer'], provisioned: { connection: 'entra' } });
    expect(JSON.stringify(row)).not.toContain('Analyst');
    expect(code(await plane.as('ada', 'POST', '/people', { reason, person: person('fake', { provisioned }) }))).toEqual(
      [403, 'provisioned'],
    );
  });

  test('further identities are of trusted issuers and nobody else’s; nobody gives themselves one', async () => {
    const also = (subject: string, issuer = plane.issuer.issuer) => [{ issuer, subject }];
    const add = (more: object) => plane.as('ada', 'POST', '/people', { reason, person: person('twin', more) });
    expect(code(await add({ also: also('dana') }))).toEqual([409, 'person_exists']);
    expect(code(await add({ also: also('x', 'https://evil.example') }))).toEqual([422, 'invalid']);
    expect((await add({ also: also('twin-2'), roles: ['auditor'] })).status).toBe(201);
    expect((await plane.as('twin-2', 'GET', '/me')).body['name']).toBe('twin');
    const read = await plane.as('ada', 'GET', '/people/ada');
    const { id: _, revision: __, ...before } = read.body;
    const own = { ...before, also: also('second-ada') };
    expect(code(await plane.as('ada', 'PUT', '/people/ada', { reason, person: own }, etag(read)))).toEqual([
      403,
      'own_standing',
    ]);
  });
});

describe('groups', () => {
  const make = async (name: string, roles: readonly string[] = []): Promise<string> => {
    const reply = await plane.as('ada', 'POST', '/groups', { reason, group: { name, roles } });
    expect([reply.status, reply.text]).toEqual([201, reply.text]);
    return String(reply.body['id']);
  };

  test('a group gives its roles to its members at once, and takes them back at once; its ETag tells of members', async () => {
    await seedPerson('mia');
    const id = await make('Auditors', ['auditor']);
    const before = await plane.as('ada', 'GET', `/groups/${id}`);
    expect(code(await plane.as('mia', 'GET', '/people'))).toEqual([403, 'role_missing']);
    expect((await plane.as('ada', 'PUT', `/groups/${id}/members/mia`, { reason })).status).toBe(200);
    expect((await plane.as('mia', 'GET', '/people')).status).toBe(200);
    const joined = await plane.as('ada', 'GET', `/groups/${id}`);
    expect([joined.body['members'], etag(joined)['if-match'] === etag(before)['if-match']]).toEqual([1, false]);
    expect(await lastEvent()).toMatchObject({ what: 'group.joined', person: 'mia', subject: `group/${id}` });
    expect(
      code(await plane.as('ada', 'PUT', `/groups/${id}`, { reason, group: { name: 'A', roles: [] } }, etag(before))),
    ).toEqual([412, 'precondition_failed']);
    expect((await plane.as('ada', 'DELETE', `/groups/${id}/members/mia`, { reason })).status).toBe(200);
    expect(code(await plane.as('mia', 'GET', '/people'))).toEqual([403, 'role_missing']);
    expect(code(await plane.as('mia', 'GET', `/groups/${id}`))).toEqual([403, 'role_missing']);
  });

  test('a group that is removed gives nothing, and its name is free again', async () => {
    await seedPerson('max');
    const id = await make('Short', ['auditor']);
    await plane.as('ada', 'PUT', `/groups/${id}/members/max`, { reason });
    expect(code(await plane.as('ada', 'POST', '/groups', { reason, group: { name: 'Short', roles: [] } }))).toEqual([
      409,
      'group_exists',
    ]);
    expect((await plane.as('ada', 'DELETE', `/groups/${id}`, { reason })).status).toBe(200);
    expect(code(await plane.as('max', 'GET', '/people'))).toEqual([403, 'role_missing']);
    await make('Short');
  });

  test('members and name of a provisioned group are the directory’s, its roles are ours', async () => {
    await plane.seed([
      plane.put('group', 'g-entra', {
        name: 'Finance',
        roles: [],
        provisioned: { connection: 'entra', externalId: '7' },
      }),
    ]);
    const read = await plane.as('ada', 'GET', '/groups/g-entra');
    for (const [method, path, body] of [
      ['PUT', '/groups/g-entra', { reason, group: { name: 'Other', roles: [] } }],
      ['DELETE', '/groups/g-entra', { reason }],
      ['PUT', '/groups/g-entra/members/dana', { reason }],
      ['DELETE', '/groups/g-entra/members/dana', { reason }],
    ] as const) {
      const refused = await plane.as(
        'ada',
        method,
        path,
        body,
        method === 'PUT' && path.endsWith('entra') ? etag(read) : {},
      );
      expect([method, path, ...code(refused)]).toEqual([method, path, 403, 'provisioned']);
    }
    const roles = { reason, group: { name: 'Finance', roles: ['auditor'] } };
    expect((await plane.as('ada', 'PUT', '/groups/g-entra', roles, etag(read))).status).toBe(200);
    expect(plane.snapshot().groups.get('g-entra')).toMatchObject({
      roles: ['auditor'],
      provisioned: { externalId: '7' },
    });
  });

  test('AZ-11: nobody joins a group, or changes one that they are in', async () => {
    const id = await make('Approvers', ['approver']);
    expect(code(await plane.as('ada', 'PUT', `/groups/${id}/members/ada`, { reason }))).toEqual([403, 'own_standing']);
    expect((await plane.as('abel', 'PUT', `/groups/${id}/members/ada`, { reason })).status).toBe(200);
    const read = await plane.as('ada', 'GET', `/groups/${id}`);
    const wider = { reason, group: { name: 'Approvers', roles: ['approver', 'security_reviewer'] } };
    expect(code(await plane.as('ada', 'PUT', `/groups/${id}`, wider, etag(read)))).toEqual([403, 'own_standing']);
    expect(code(await plane.as('ada', 'DELETE', `/groups/${id}`, { reason }))).toEqual([403, 'own_standing']);
    expect(code(await plane.as('ada', 'DELETE', `/groups/${id}/members/ada`, { reason }))).toEqual([
      403,
      'own_standing',
    ]);
    expect((await plane.as('abel', 'DELETE', `/groups/${id}`, { reason })).status).toBe(200);
  });
});

describe('agents', () => {
  let count = 0;
  const seedAgent = async (more: object = {}): Promise<string> => {
    const id = `a${++count}`;
    const agent = {
      issuer: plane.issuer.issuer,
      clientId: `client-${id}`,
      title: id,
      kind: 'delegate',
      state: 'pending',
      roles: [],
      ceiling: {},
      ...more,
    };
    await plane.seed([plane.put('agent', id, agent, agentKey(plane.issuer.issuer, `client-${id}`))]);
    return id;
  };
  const complete = { title: 'Robot', owner: 'dana', purpose: 'sorts tickets', ceiling: { risks: ['read'] } };
  const me = (token: string) => plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${token}` });

  test('the life of an agent: refused while it waits, reviewed, suspended with its tokens void, active again, retired', async () => {
    const id = await seedAgent();
    const old = plane.tokenOf('dana', { client_id: `client-${id}`, iat: Math.floor(Date.now() / 1000) - 5 });
    expect((await me(old)).status).toBe(403);
    const row = (await plane.as('sven', 'GET', `/agents?state=pending&search=client-${id}`)).body['agents'];
    expect(row).toEqual([expect.objectContaining({ id, findings: ['waiting_for_review'] })]);
    const done = await plane.as('sven', 'POST', `/agents/${id}/activate`, { reason, agent: complete });
    expect([done.status, done.body['state']]).toEqual([200, 'active']);
    expect(await lastEvent()).toMatchObject({ what: 'agent.activated', owner: 'dana', bounds: ['risks'] });
    expect((await me(old)).status).toBe(200);

    expect((await plane.as('omar', 'POST', `/agents/${id}/suspend`, { reason })).status).toBe(200);
    expect((await me(old)).status).toBe(403);
    expect((await plane.as('sven', 'GET', `/agents/${id}`)).body).toMatchObject({
      state: 'suspended',
      next: ['active', 'retired'],
      tokensVoidBefore: expect.any(Number),
    });
    expect((await plane.as('sven', 'POST', `/agents/${id}/activate`, { reason })).status).toBe(200);
    // What was issued before it was suspended stays void.
    expect((await me(old)).status).toBe(403);
    expect(
      (await me(plane.tokenOf('dana', { client_id: `client-${id}`, iat: Math.floor(Date.now() / 1000) + 3 }))).status,
    ).toBe(200);

    expect((await plane.as('omar', 'POST', `/agents/${id}/retire`, { reason })).status).toBe(200);
    for (const verb of ['activate', 'suspend', 'retire'])
      expect([verb, ...code(await plane.as('ada', 'POST', `/agents/${id}/${verb}`, { reason }))]).toEqual(
        [verb, 409, 'agent_state'].slice(0, 3),
      );
  });

  /** What an agent that acts alone must say of itself. */
  const alone = {
    ...complete,
    kind: 'autonomous',
    roles: ['developer'],
    environment: 'development',
    riskTier: 'low',
    revocation: 'remove its client at the identity provider',
    reviewBy: 4_102_444_800_000,
  };
  const activate = (who: string, id: string, agent?: object) =>
    plane.afterReading(who, `/agents/${id}`, 'POST', `/agents/${id}/activate`, {
      reason,
      ...(agent !== undefined && { agent }),
    });
  const store = (who: string, id: string, agent: object) =>
    plane.afterReading(who, `/agents/${id}`, 'PUT', `/agents/${id}`, { reason, agent });

  test.each([
    ['an owner', { owner: undefined }],
    ['an owner who is there', { owner: 'ghost' }],
    ['an owner who is active', { owner: 'gone-owner' }],
    ['a purpose', { purpose: undefined }],
    ['a role', { roles: [] }],
    ['an environment', { environment: undefined }],
    ['a risk tier', { riskTier: undefined }],
    ['a way to revoke it', { revocation: undefined }],
    ['a day of review', { reviewBy: undefined }],
    ['a day of review that is to come', { reviewBy: 1 }],
  ])('NH-01: an agent that acts alone is not activated without %s', async (_name, change) => {
    await seedPerson('gone-owner', { state: 'inactive' });
    const id = await seedAgent({ kind: 'autonomous' });
    const refused = await activate('sven', id, { ...alone, ...change });
    expect(code(refused)).toEqual([422, 'invalid']);
    expect(refused.body.error?.['field']).toBe(`agent.${Object.keys(change)[0]}`);
    expect(plane.snapshot().agents.get(agentKey(plane.issuer.issuer, `client-${id}`))?.state).toBe('pending');
    expect((await store('ada', id, alone)).status).toBe(200);
    expect((await activate('sven', id)).status).toBe(200);
  });

  test('AZ-11: an agent that acts alone is activated by somebody who did not write it, and as they read it', async () => {
    const id = await seedAgent({ kind: 'autonomous' });
    await store('sven', id, alone);
    expect(code(await activate('sven', id))).toEqual([403, 'two_people']);
    // What is said in the same step nobody else has read.
    expect(code(await activate('ada', id, { roles: ['operator'] }))).toEqual([403, 'two_people']);
    expect(code(await plane.as('ada', 'POST', `/agents/${id}/activate`, { reason }))).toEqual([
      428,
      'precondition_required',
    ]);
    const read = await plane.as('ada', 'GET', `/agents/${id}`);
    await store('sven', id, { ...alone, roles: ['operator'] });
    expect(code(await plane.as('ada', 'POST', `/agents/${id}/activate`, { reason }, etag(read)))).toEqual([
      412,
      'precondition_failed',
    ]);
    expect((await activate('ada', id)).status).toBe(200);
  });

  test('AZ-11: while an agent that acts alone is active, a change takes from it and gives nothing', async () => {
    const id = await seedAgent({ ...alone, state: 'active' });
    for (const [change, field] of [
      [{ roles: ['developer', 'operator'] }, 'agent.roles'],
      [{ ceiling: {} }, 'agent.ceiling.risks'],
      [{ ceiling: { risks: ['read', 'write'] } }, 'agent.ceiling.risks'],
      [{ environment: 'production' }, 'agent.environment'],
    ] as const) {
      const refused = await store('sven', id, { ...alone, ...change });
      expect([refused.status, refused.body.error?.['field']]).toEqual([422, field]);
    }
    expect((await store('sven', id, { ...alone, ceiling: { risks: [], servers: ['files'] } })).status).toBe(200);
  });

  test('AZ-11 twin: with one person enough, the author activates their own', async () => {
    const twin = await startPlane({ facts: { unsafeOnePersonMayDecide: true } });
    try {
      const agent = { issuer: twin.issuer.issuer, clientId: 'robot', ...alone };
      const added = await twin.as('ada', 'POST', '/agents', { reason, agent });
      const path = `/agents/${String(added.body['id'])}`;
      expect((await twin.afterReading('ada', path, 'POST', `${path}/activate`, { reason })).status).toBe(200);
    } finally {
      await twin.close();
    }
  });

  test('NH-07: an agent of one side names nothing of the other', async () => {
    await plane.seed([
      plane.put('server', 'live', { ...SERVER, environment: 'production', state: 'enabled' }),
      plane.put('server', 'trial', { ...SERVER, environment: 'staging', state: 'enabled' }),
    ]);
    const id = await seedAgent({ kind: 'autonomous' });
    for (const [environment, ceiling, field] of [
      ['production', { servers: ['live', 'trial'] }, 'agent.ceiling.servers'],
      ['staging', { servers: ['live'] }, 'agent.ceiling.servers'],
      ['staging', { environments: ['staging', 'production'] }, 'agent.ceiling.environments'],
      ['production', { environments: ['evaluation'] }, 'agent.ceiling.environments'],
    ] as const) {
      const refused = await store('ada', id, { ...alone, environment, ceiling });
      expect([environment, refused.status, refused.body.error?.['field']]).toEqual([environment, 422, field]);
    }
    expect((await store('ada', id, { ...alone, environment: 'staging', ceiling: { servers: ['trial'] } })).status).toBe(
      200,
    );
  });

  test('NH-01: an agent for people has an owner and a purpose, and no roles of its own', async () => {
    const id = await seedAgent();
    const said = (agent: object) => plane.as('sven', 'POST', `/agents/${id}/activate`, { reason, agent });
    expect(code(await said({}))).toEqual([422, 'invalid']);
    expect(code(await said({ ...complete, roles: ['operator'] }))).toEqual([422, 'invalid']);
    expect(code(await said({ ...complete, roles: ['administrator'] }))).toEqual([422, 'invalid']);
    expect((await said(complete)).status).toBe(200);
    const read = await plane.as('sven', 'GET', `/agents/${id}`);
    const put = (agent: object) => plane.as('sven', 'PUT', `/agents/${id}`, { reason, agent }, etag(read));
    const bare = { title: 'Robot', kind: 'delegate', roles: [], ceiling: {} };
    expect(code(await put(bare))).toEqual([422, 'invalid']);
    expect(code(await put({ ...bare, ...complete, kind: 'autonomous', roles: ['developer'] }))).toEqual([
      422,
      'invalid',
    ]);
    expect((await put({ ...bare, ...complete, ceiling: { servers: ['files'] } })).status).toBe(200);
    expect(plane.snapshot().agents.get(agentKey(plane.issuer.issuer, `client-${id}`))?.ceiling).toEqual({
      servers: ['files'],
    });
  });

  test('NH-05: when the owner leaves, what they answered for is in the findings with the same commit', async () => {
    await seedPerson('olga', { roles: ['operator'] });
    const id = await seedAgent({ ...complete, owner: 'olga', state: 'active', secretExpiresAt: Date.now() - 1 });
    await plane.seed([
      plane.put('server', 'hers', {
        title: 'Hers',
        owner: 'olga',
        purpose: 'p',
        environment: 'development',
        dataClasses: ['internal'],
        state: 'suspended',
        upstream: { transport: 'stdio', command: ['node', '/opt/x.js'] },
      }),
    ]);
    const found = async () =>
      ((await plane.as('omar', 'GET', '/findings')).body['findings'] as Array<{ id: string; code: string }>)
        .filter((one) => [id, 'hers'].includes(one.id))
        .map((one) => `${one.id} ${one.code}`);
    expect(await found()).toEqual([`${id} secret_expired`]);
    const read = await plane.as('ada', 'GET', '/people/olga');
    const { id: _, revision: __, ...olga } = read.body;
    await plane.as('ada', 'PUT', '/people/olga', { reason, person: { ...olga, state: 'inactive' } }, etag(read));
    expect(await found()).toEqual(['hers owner_gone', `${id} owner_gone`, `${id} secret_expired`]);
  });

  test('AZ-11: nobody reviews an agent that acts alone and is theirs, nor stops the client they are talking through', async () => {
    await seedPerson('seth', { roles: ['security_reviewer'], groups: ['desk'] });
    await plane.seed([plane.put('group', 'desk', { name: 'Desk', roles: [] })]);
    for (const [owner, who] of [
      ['sven', 'sven'],
      ['group/desk', 'seth'],
    ] as const) {
      const id = await seedAgent({ ...alone, owner });
      expect(code(await activate(who, id))).toEqual([403, 'own_agent']);
      expect((await activate('ada', id)).status).toBe(200);
    }
    expect(code(await plane.as('ada', 'POST', '/agents/agent_0/suspend', { reason }))).toEqual([403, 'own_client']);
    expect(plane.snapshot().agents.get(agentKey(plane.issuer.issuer, 'remit-cli'))?.state).toBe('active');
  });

  test('AZ-11: who answers for an agent does not decide on its calls', async () => {
    const id = await seedAgent({ ...complete, owner: 'petra', state: 'active' });
    const held = async (name: string, requester: string, agent: string) => {
      const call = {
        org: 'default',
        person: requester,
        agent,
        server: 'docs',
        tool: 't',
        definition: `sha256:${'1'.repeat(64)}` as const,
        arguments: { name },
        terms: {},
      };
      const approval = requestApproval(call, Date.now(), 60_000);
      await plane.seed([plane.put('approval', name, approval)]);
      return plane.as('petra', 'POST', `/approvals/${name}/approve`, { call: approval.call });
    };
    expect(code(await held('apr_hers', 'dana', `client-${id}`))).toEqual([403, 'approval_self']);
    expect(code(await held('apr_alone', `agent/${id}`, 'other-name'))).toEqual([403, 'approval_self']);
    expect((await held('apr_other', 'dana', 'client-of-somebody')).status).toBe(200);
  });

  test('a client is registered before its first call and waits; the same client is not registered twice', async () => {
    const agent = {
      issuer: plane.issuer.issuer,
      clientId: 'nightly',
      title: 'Nightly',
      kind: 'autonomous',
      roles: ['developer'],
      ceiling: {},
    };
    const add = (change: object = {}) =>
      plane.as('omar', 'POST', '/agents', { reason, agent: { ...agent, ...change } });
    expect((await add()).status).toBe(201);
    expect(plane.snapshot().agents.get(agentKey(plane.issuer.issuer, 'nightly'))?.state).toBe('pending');
    expect(code(await add())).toEqual([409, 'agent_exists']);
    expect(code(await add({ issuer: 'https://evil.example', clientId: 'z' }))).toEqual([422, 'invalid']);
    expect(code(await add({ state: 'active', clientId: 'z' }))).toEqual([422, 'invalid']);
  });
});

describe('mappings and the organisation', () => {
  const mapping = (more: object = {}) => ({ issuer: plane.issuer.issuer, newcomers: 'refuse', rules: [], ...more });
  const put = (id: string, body: object, headers: Record<string, string> = ABSENT) =>
    plane.as('ada', 'PUT', `/mappings/${id}`, { reason, ...body }, headers);

  test('one mapping per issuer that is trusted; a claim does not make an administrator unless somebody insists', async () => {
    expect(code(await put('corp', { mapping: mapping({ issuer: 'https://evil.example' }) }))).toEqual([422, 'invalid']);
    const administrators = mapping({ rules: [{ claim: 'groups', value: 'it', roles: ['administrator'] }] });
    const refused = await put('corp', { mapping: administrators });
    expect([...code(refused), refused.body.error?.['field']]).toEqual([422, 'invalid', 'mapping.rules.0.roles']);
    const done = await put('corp', { mapping: administrators, unsafeAdministratorByClaim: true });
    expect(done.status).toBe(201);
    expect(await lastEvent()).toMatchObject({ what: 'mapping.added', unsafeAdministratorByClaim: 1 });
    expect(code(await put('corp-2', { mapping: mapping() }))).toEqual([409, 'mapping_exists']);
    expect((await put('corp', { mapping: mapping() }, etag(done))).status).toBe(200);
    expect((await plane.as('ada', 'DELETE', '/mappings/corp', { reason })).status).toBe(200);
  });

  test('ID-01: a mapping that keeps other tenants out is not taken away by the way', async () => {
    const tenant = { claim: 'tid', value: 'our-tenant' };
    await plane.seed([
      plane.put('mapping', 'tenants', mapping({ issuer: 'https://other.example', tenant }), 'https://other.example'),
    ]);
    expect(code(await plane.as('ada', 'DELETE', '/mappings/tenants', { reason }))).toEqual([403, 'mapping_tenant']);
    await plane.seed([{ kind: 'mapping', org: 'default', id: 'tenants', body: null }]);
  });

  test('what becomes of new agents is changed here, the issuers are not', async () => {
    const read = await plane.as('ada', 'GET', '/organisation');
    const organisation = { title: 'Test', newAgents: 'refuse' };
    const change = (body: object) =>
      plane.as('ada', 'PUT', '/organisation', { reason, organisation: body }, etag(read));
    expect(code(await change({ ...organisation, issuers: ['https://evil.example'] }))).toEqual([422, 'invalid']);
    expect((await change(organisation)).status).toBe(200);
    expect(plane.snapshot().organisation).toEqual({ ...organisation, issuers: [plane.issuer.issuer] });
  });
});

describe('void tokens', () => {
  const now = () => Math.floor(Date.now() / 1000);
  const me = (token: string) => plane.raw('GET', '/api/v1/me', { authorization: `Bearer ${token}` });

  test('signing a person out everywhere refuses what they have and nothing that comes later', async () => {
    await seedPerson('una', { roles: ['auditor'] });
    const old = plane.tokenOf('una', { iat: now() - 2 });
    expect((await me(old)).status).toBe(200);
    expect((await plane.as('omar', 'POST', '/people/una/sign-out', { reason: 'lost laptop' })).status).toBe(201);
    expect(code(await me(old))).toEqual([403, 'no_standing']);
    expect((await me(plane.tokenOf('una', { iat: now() + 3 }))).status).toBe(200);
    expect(await lastEvent()).toMatchObject({ what: 'tokens.voided', kind: 'person', value: 'una' });
    expect(code(await plane.as('omar', 'POST', '/people/ghost/sign-out', { reason }))).toEqual([404, 'not_found']);
  });

  test('anybody ends their own sign-ins, nobody else’s without a role for it', async () => {
    await seedPerson('uli', { roles: ['developer'] });
    const old = plane.tokenOf('uli', { iat: now() - 2 });
    const headers = { authorization: `Bearer ${old}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ reason });
    expect(code(await plane.raw('POST', '/api/v1/people/ada/sign-out', headers, body))).toEqual([403, 'role_missing']);
    expect((await plane.raw('POST', '/api/v1/me/sign-out', headers, body)).status).toBe(201);
    expect(code(await me(old))).toEqual([403, 'no_standing']);
  });

  test('one token is voided by its id, and the list says what is void and why', async () => {
    const token = plane.tokenOf('dana', { jti: 'jti-7' });
    expect((await me(token)).status).toBe(200);
    const done = await plane.as('omar', 'POST', '/voids', { kind: 'token', value: 'jti-7', reason: 'leaked' });
    expect([done.status, done.body['value']]).toEqual([201, `${plane.issuer.issuer} jti-7`]);
    expect(code(await me(token))).toEqual([403, 'no_standing']);
    expect((await plane.as('aiko', 'GET', '/voids?kind=token')).body['voids']).toEqual([
      expect.objectContaining({ reason: 'leaked', by: 'omar' }),
    ]);
    const foreign = { kind: 'grant', value: 'g', issuer: 'https://evil.example', reason };
    expect(code(await plane.as('omar', 'POST', '/voids', foreign))).toEqual([422, 'invalid']);
  });
});
