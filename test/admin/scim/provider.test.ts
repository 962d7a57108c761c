/** The protocol: who may ask, what is answered, what happens all at once or not at all. */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../../src/admin/context.ts';
import { sha256Hex } from '../../../src/lib/bytes.ts';
import { StoreFault } from '../../../src/store/state.ts';
import { startPlane, type Plane, type Reply } from '../plane.ts';
import { BULK, connect, DAY, GROUP, idpOver, newGroup, newUser, patch, USER, type Idp } from './support.ts';

const ERROR = 'urn:ietf:params:scim:api:messages:2.0:Error';
let plane: Plane;
let idp: Idp;
let failing: Error | null = null;
/** So many commits meet another node's. */
let conflicts = 0;
const wrap = (ctx: AdminContext): AdminContext => ({
  ...ctx,
  state: {
    ...ctx.state,
    commit(request) {
      if (request.reason === 'contact') return ctx.state.commit(request);
      if (failing !== null) return Promise.reject(failing);
      if (conflicts === 0) return ctx.state.commit(request);
      conflicts--;
      return Promise.reject(new StoreFault('store_conflict', 'somebody was quicker'));
    },
  },
});
beforeAll(async () => {
  plane = await startPlane({ wrap });
  idp = await connect(plane, 'entra');
  // Its first word is contact, which is a change of its own.
  await idp('GET', '/Me');
});
afterAll(() => plane.close());

const problem = ({ status, body }: Reply): unknown[] => [status, body['scimType'], body['detail']];
/** Everything that decisions read of people and groups. */
const picture = (): string =>
  JSON.stringify([[...plane.snapshot().people.all()], [...plane.snapshot().groups], plane.snapshot().revision]);

/** A connection whose only token, the right one, ends at this time. */
const endingAt = (id: string, expiresAt: number): Promise<Idp> =>
  connect(plane, id, {
    tokens: [{ id: 't', sha256: sha256Hex(`remit_scim_${id}_0123456789abcdef`), createdAt: 0, expiresAt, by: 'ada' }],
  });

describe('a request', () => {
  test.each<[string, () => Record<string, string>]>([
    ['without a token', () => ({})],
    ['with another token', () => ({ authorization: 'Bearer remit_scim_wrong' })],
    ['with a token of a person', () => ({ authorization: `Bearer ${plane.tokenOf('ada')}` })],
    ['with a token of a disabled connection', () => ({ authorization: 'Bearer remit_scim_off_0123456789abcdef' })],
    ['with a token that ended', () => ({ authorization: 'Bearer remit_scim_ended_0123456789abcdef' })],
    ['with the token in the address', () => ({ authorization: `Bearer ${idp.token}` })],
  ])('%s gets 401 in the shape of SCIM, and nothing else', async (title, headers) => {
    await connect(plane, 'off', { state: 'disabled' });
    await endingAt('ended', Date.now() - 1);
    const path = title.includes('address') ? `/Users?access_token=${idp.token}` : '/Users';
    const reply = await plane.raw('GET', `/scim/v2${path}`, headers());
    expect(reply.status).toBe(401);
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="scim"');
    expect(reply.body).toEqual({
      schemas: [ERROR],
      status: '401',
      detail:
        'Send the token of an active provisioning connection as a Bearer token. It may have expired or been replaced.',
    });
  });

  test('with the same tokens, of a connection that is active and before they end, is let in (twin)', async () => {
    const ending = await endingAt('ended', Date.now() + DAY);
    const off = await connect(plane, 'off');
    expect([(await ending('GET', '/Users')).status, (await off('GET', '/Users')).status]).toEqual([200, 200]);
  });

  test('with a token of a connection opens nothing of the admin API', async () => {
    const reply = await plane.raw('GET', '/api/v1/people', { authorization: `Bearer ${idp.token}` });
    expect(reply.status).toBe(401);
  });

  test('that fails to authenticate is counted, not told one by one', async () => {
    const told = () => plane.logged.filter(({ message }) => message.startsWith('SCIM requests without')).length;
    const before = told();
    for (let i = 0; i < 20; i++) await plane.raw('GET', '/scim/v2/Users', { authorization: 'Bearer remit_scim_x' });
    expect(told() - before).toBeLessThanOrEqual(1);
  });

  test.each<[string, string, unknown, Record<string, string>, unknown[]]>([
    ['bad JSON', '/Users', '{"a":1,}', {}, [400, 'invalidSyntax', 'The body is not acceptable JSON: syntax.']],
    [
      'a key twice',
      '/Users',
      '{"userName":"a","userName":"b"}',
      {},
      [400, 'invalidSyntax', 'The body is not acceptable JSON: duplicate_key.'],
    ],
    ['no body', '/Users', undefined, {}, [400, 'invalidSyntax', 'The resource must be a JSON object.']],
    [
      'another media type',
      '/Users',
      '<a/>',
      { 'content-type': 'text/xml' },
      [415, undefined, 'Set Content-Type to application/scim+json or application/json.'],
    ],
    [
      'another schema',
      '/Users',
      { schemas: [GROUP], userName: 'a' },
      {},
      [400, 'invalidSyntax', `schemas must name "${USER}".`],
    ],
    [
      'no userName',
      '/Users',
      { schemas: [USER], externalId: 'x' },
      {},
      [400, 'invalidValue', 'userName is required and has at most 500 characters.'],
    ],
    [
      'nobody to be',
      '/Users',
      { schemas: [USER], userName: 'a' },
      {},
      [400, 'invalidValue', 'externalId is needed: this connection names people by it.'],
    ],
    [
      'too much to keep',
      '/Users',
      {
        userName: 'a',
        externalId: 'a',
        emails: Array.from({ length: 90 }, (_, i) => ({ value: `${i}${'x'.repeat(300)}` })),
      },
      {},
      [413, undefined, 'The attributes of a resource have at most 16384 characters as JSON.'],
    ],
    [
      'a stranger as a member',
      '/Groups',
      { displayName: 'a', members: [{ value: 'ada' }] },
      {},
      [400, 'invalidValue', 'members: there is no user "ada".'],
    ],
  ])('with %s is refused and changes nothing', async (_, path, body, headers, expected) => {
    const before = picture();
    expect(problem(await idp('POST', path, body, headers))).toEqual(expected);
    expect(picture()).toBe(before);
  });

  test('with a group as a member is told that groups within groups are refused', async () => {
    const inner = await newGroup(idp, 'inner');
    const reply = await idp('POST', '/Groups', { displayName: 'outer', members: [{ value: inner }] });
    expect(problem(reply)).toEqual([
      400,
      'invalidValue',
      expect.stringMatching(/^Groups within groups are not supported/),
    ]);
  });

  test('to /Me gets 501, to nowhere 404, to a document with a filter 403', async () => {
    expect((await idp('GET', '/Me')).status).toBe(501);
    expect(problem(await idp('GET', '/Nothing'))).toEqual([404, undefined, 'There is nothing at this path.']);
    expect((await idp('GET', '/Schemas?filter=id+eq+%22x%22')).status).toBe(403);
    expect((await idp('POST', '/Schemas', {})).status).toBe(405);
  });

  test.each<[string, string, Record<string, string>, number]>([
    ['with a target that cannot be decoded', '/Users/%E0%A4%A', {}, 400],
    ['of a page of another origin', '/Users', { origin: 'https://evil.example' }, 403],
  ])('%s is refused at the door in the shape of SCIM', async (_, path, headers, status) => {
    const reply = await idp('GET', path, undefined, headers);
    expect([reply.status, reply.headers.get('content-type')]).toEqual([
      status,
      expect.stringContaining('application/scim+json'),
    ]);
    expect(reply.body).toEqual({
      schemas: [ERROR],
      status: String(status),
      detail: expect.stringMatching(/Reference: ref_\w+\.$/),
    });
  });
});

describe('discovery', () => {
  test('says what is true: PATCH, bulk, filters, ETags, sorting; no passwords', async () => {
    const { body } = await idp('GET', '/ServiceProviderConfig');
    expect(body).toMatchObject({
      patch: { supported: true },
      bulk: { supported: true, maxOperations: 1_000, maxPayloadSize: 2_097_152 },
      filter: { supported: true, maxResults: 200 },
      changePassword: { supported: false },
      sort: { supported: true },
      etag: { supported: true },
    });
    expect((await idp('GET', '/ResourceTypes')).body).toMatchObject({ totalResults: 2 });
    expect((await idp('GET', `/Schemas/${USER}`)).body).toMatchObject({ id: USER, name: 'User' });
  });
});

describe('ETags', () => {
  test('a change of what somebody has not seen is refused; what has not changed is not sent', async () => {
    const id = await newUser(idp, 'etag');
    const read = await idp('GET', `/Users/${id}`);
    const etag = read.headers.get('etag') ?? '';
    expect(etag).toMatch(/^W\/"\d+"$/);
    expect(read.body['meta']).toMatchObject({ version: etag, location: `${plane.url}/scim/v2/Users/${id}` });
    expect((await idp('GET', `/Users/${id}`, undefined, { 'if-none-match': etag })).status).toBe(304);
    const change = (value: string, match: string) =>
      idp('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'title', value }), { 'if-match': match });
    expect((await change('one', etag)).status).toBe(200);
    expect(problem(await change('two', etag))).toEqual([
      412,
      undefined,
      'The resource has changed since the version in If-Match. Read it again.',
    ]);
    expect((await idp('DELETE', `/Users/${id}`, undefined, { 'if-match': etag })).status).toBe(412);
    expect((await change('three', '*')).status).toBe(200);
    expect((await idp('GET', `/Users/${id}`)).body['title']).toBe('three');
  });

  test('a change of members changes the ETag of the group; a change that says the same changes nothing', async () => {
    const user = await newUser(idp, 'etag-member');
    const group = await newGroup(idp, 'etag-group');
    const etag = async () => (await idp('GET', `/Groups/${group}`)).headers.get('etag');
    const before = await etag();
    const add = () => idp('PATCH', `/Groups/${group}`, patch({ op: 'add', path: 'members', value: [{ value: user }] }));
    await add();
    const after = await etag();
    expect(after).not.toBe(before);
    const { revision } = plane.snapshot();
    expect((await add()).status).toBe(200);
    expect([await etag(), plane.snapshot().revision]).toEqual([after, revision]);
  });
});

describe('lists', () => {
  let lister: Idp;
  const ids: string[] = [];
  beforeAll(async () => {
    lister = await connect(plane, 'lister');
    for (const name of ['cid', 'ann', 'bob', 'dan', 'eve'])
      ids.push(
        await newUser(lister, name, {
          title: name < 'd' ? 'a' : 'b',
          emails: [{ value: `${name}@x.example`, type: 'work' }],
        }),
      );
    await newGroup(lister, 'Staff', ids.slice(0, 3));
  });
  const shown = (reply: Reply): unknown[] =>
    (reply.body['Resources'] as Array<Record<string, unknown>>).map(({ externalId }) => externalId);

  test('pages are by id and stable while people come', async () => {
    const first = await lister('GET', '/Users?startIndex=1&count=2');
    expect(first.body).toMatchObject({ totalResults: 5, itemsPerPage: 2, startIndex: 1 });
    const late = await newUser(lister, 'aaa');
    const rest = await lister('GET', '/Users?startIndex=3&count=100');
    expect([...shown(first), ...shown(rest)]).toEqual(['cid', 'ann', 'bob', 'dan', 'eve', 'aaa']);
    await lister('DELETE', `/Users/${late}`);
    expect((await lister('GET', '/Users?count=0')).body).toMatchObject({ totalResults: 5, Resources: [] });
    expect((await lister('GET', '/Users?startIndex=-3&count=-1')).body).toMatchObject({
      totalResults: 5,
      startIndex: 1,
      itemsPerPage: 0,
    });
    expect(problem(await lister('GET', '/Users?count=many'))).toEqual([
      400,
      'invalidValue',
      'count must be a whole number.',
    ]);
  });

  test.each([
    ['/Users?filter=userName eq "ANN@example.com"', ['ann']],
    ['/Users?filter=externalId eq "ann"', ['ann']],
    ['/Users?filter=externalId eq "ANN"', []],
    ['/Users?filter=emails[type eq "work"].value eq "bob@x.example"', ['bob']],
    ['/Users?filter=title eq "b" and userName sw "d"', ['dan']],
    ['/Users?sortBy=userName', ['ann', 'bob', 'cid', 'dan', 'eve']],
    ['/Users?sortBy=userName&sortOrder=descending&count=2', ['eve', 'dan']],
    ['/Users?filter=groups.display eq "staff"', ['cid', 'ann', 'bob']],
  ])('%s', async (path, expected) => {
    const reply = await lister('GET', encodeURI(path));
    expect([reply.status, shown(reply)]).toEqual([200, expected]);
  });

  test('by id, by group and by member, from the index', async () => {
    const [cid = ''] = ids;
    expect(shown(await lister('GET', encodeURI(`/Users?filter=id eq "${cid}"`)))).toEqual(['cid']);
    const group = (await lister('GET', encodeURI('/Groups?filter=displayName eq "STAFF"'))).body['Resources'] as Array<
      Record<string, unknown>
    >;
    expect(group).toHaveLength(1);
    expect(
      shown(await lister('GET', encodeURI(`/Users?filter=groups.value eq "${group[0]?.['id'] as string}"`))),
    ).toEqual(['cid', 'ann', 'bob']);
    expect((await lister('GET', encodeURI(`/Groups?filter=members eq "${cid}"`))).body['totalResults']).toBe(1);
  });

  test('attributes and excludedAttributes', async () => {
    const [id = ''] = ids;
    const only = await lister('GET', `/Users/${id}?attributes=userName,emails.value`);
    expect(only.body).toEqual({
      schemas: [USER],
      id,
      userName: 'cid@example.com',
      emails: [{ value: 'cid@x.example' }],
    });
    const without = await lister('GET', `/Users/${id}?excludedAttributes=emails,id,meta.location`);
    expect(without.body).toMatchObject({ id, userName: 'cid@example.com' });
    expect(without.body).not.toHaveProperty('emails');
    expect(without.body['meta']).not.toHaveProperty('location');
  });

  test('a search by POST, of one kind and of all', async () => {
    const search = {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:SearchRequest'],
      filter: 'userName eq "ann@example.com"',
    };
    expect(shown(await lister('POST', '/Users/.search', search))).toEqual(['ann']);
    expect((await lister('POST', '/.search', search)).body['totalResults']).toBe(1);
    expect((await lister('POST', '/.search', {})).body['totalResults']).toBe(6);
    expect((await lister('POST', '/.search', { filter: 'nothing eq 1' })).status).toBe(400);
  });
});

describe('ID-05: a connection', () => {
  test('cannot read, find, change, name or guess what another one or an administrator keeps', async () => {
    const other = await connect(plane, 'okta');
    const theirs = await newUser(other, 'theirs');
    const group = await newGroup(other, 'their group', [theirs]);
    const before = picture();
    for (const id of [theirs, 'ada']) {
      for (const [method, body] of [
        ['GET', undefined],
        ['PUT', { userName: 'mine' }],
        ['PATCH', patch({ op: 'replace', path: 'active', value: false })],
        ['DELETE', undefined],
      ] as const)
        expect(problem(await idp(method, `/Users/${id}`, body))).toEqual([404, undefined, `There is no User "${id}".`]);
    }
    expect((await idp('GET', `/Groups/${group}`)).status).toBe(404);
    expect((await idp('DELETE', `/Groups/${group}`)).status).toBe(404);
    for (const filter of [
      `id eq "${theirs}"`,
      'userName eq "theirs@example.com"',
      `groups.value eq "${group}"`,
      'userName co "theirs"',
    ])
      expect((await idp('GET', `/Users?filter=${encodeURIComponent(filter)}`)).body['totalResults']).toBe(0);
    const mine = await newGroup(idp, 'mine');
    const add = await idp(
      'PATCH',
      `/Groups/${mine}`,
      patch({ op: 'add', path: 'members', value: [{ value: theirs }] }),
    );
    expect(problem(add)).toEqual([400, 'invalidValue', `members: there is no user "${theirs}".`]);
    await idp('DELETE', `/Groups/${mine}`);
    expect(JSON.parse(picture())[0]).toEqual(JSON.parse(before)[0]);
    // The twin: with the other connection's token the same requests land.
    expect((await other('GET', `/Users/${theirs}`)).status).toBe(200);
  });

  test('of another organisation over the same store is nobody here', async () => {
    const connection = plane.put('scim_connection', 'entra-b', {
      title: 'b',
      state: 'active',
      identities: [{ issuer: plane.issuer.issuer, subject: '{id}' }],
      tokens: [{ id: 't', sha256: sha256Hex('remit_scim_b'), createdAt: 0, expiresAt: Date.now() + DAY, by: 'x' }],
      silenceAfterMs: null,
      whenSilent: 'alarm',
    });
    const ask = () => idpOver(plane, 'entra-b', 'remit_scim_b')('GET', '/Users?count=0');
    await plane.seed([{ ...connection, org: 'elsewhere' }]);
    expect((await ask()).status).toBe(401);
    // The twin: the same connection, of this organisation.
    await plane.seed([connection]);
    expect((await ask()).status).toBe(200);
  });

  test('a conflict says that a name is taken, and not by whom', async () => {
    const other = await connect(plane, 'twin', {
      identities: [{ issuer: plane.issuer.issuer, subject: 'entra|{externalId}' }],
    });
    await newUser(idp, 'unique');
    const reply = await other('POST', '/Users', { userName: 'somebody', externalId: 'unique' });
    expect(problem(reply)).toEqual([409, 'uniqueness', 'Somebody signs in under this identity already.']);
    expect(problem(await idp('POST', '/Users', { userName: 'UNIQUE@example.com', externalId: 'new' }))).toEqual([
      409,
      'uniqueness',
      'A user with this userName exists already.',
    ]);
    expect(problem(await idp('POST', '/Users', { userName: 'new', externalId: 'unique' }))).toEqual([
      409,
      'uniqueness',
      'A user with this externalId exists already.',
    ]);
  });

  test('takes people over only if it may, and nobody for break-glass', async () => {
    const local = (id: string, more: object = {}) =>
      plane.put(
        'person',
        id,
        { issuer: plane.issuer.issuer, subject: `hr|${id}`, name: id, state: 'active', roles: ['approver'], ...more },
        `${plane.issuer.issuer} hr|${id}`,
      );
    await plane.seed([local('loc1'), local('loc2'), local('loc3', { breakGlass: true })]);
    const subject = 'hr|{externalId}';
    const identities = [{ issuer: plane.issuer.issuer, subject }];
    const plain = await connect(plane, 'plain', { identities });
    expect((await plain('POST', '/Users', { userName: 'a', externalId: 'loc1' })).status).toBe(409);
    const taker = await connect(plane, 'taker', { identities, adopt: true });
    const taken = await taker('POST', '/Users', { userName: 'a', externalId: 'loc1', displayName: 'Ann' });
    expect([taken.status, taken.body['id']]).toEqual([201, 'loc1']);
    expect(plane.snapshot().people.byId('loc1')).toMatchObject({
      roles: ['approver'],
      name: 'Ann',
      provisioned: { connection: 'taker' },
    });
    expect((await taker('POST', '/Users', { userName: 'c', externalId: 'loc3' })).status).toBe(409);
    const second = await connect(plane, 'second', { identities, adopt: true });
    expect((await second('POST', '/Users', { userName: 'b', externalId: 'loc1' })).status).toBe(409);
  });
});

describe('bulk', () => {
  const bulk = (Operations: unknown[], more: object = {}) =>
    idp('POST', '/Bulk', { schemas: [BULK], Operations, ...more });
  const user = (bulkId: string) => ({
    method: 'POST',
    path: '/Users',
    bulkId,
    data: { schemas: [USER], userName: bulkId, externalId: bulkId },
  });
  const statuses = (reply: Reply): unknown[] =>
    (reply.body['Operations'] as Array<Record<string, unknown>>).map(({ status }) => status);

  test('makes people and a group of them in one commit, in whatever order', async () => {
    const { revision } = plane.snapshot();
    const reply = await bulk([
      {
        method: 'POST',
        path: '/Groups',
        bulkId: 'g',
        data: { schemas: [GROUP], displayName: 'Tour', members: [{ value: 'bulkId:b1' }, { value: 'bulkId:b2' }] },
      },
      user('b1'),
      user('b2'),
      { method: 'PATCH', path: '/Users/bulkId:b1', data: patch({ op: 'add', path: 'title', value: 'Guide' }) },
    ]);
    expect(statuses(reply)).toEqual(['201', '201', '201', '200']);
    expect(plane.snapshot().revision).toBe(revision + 1);
    const operations = reply.body['Operations'] as Array<Record<string, string>>;
    expect(operations[0]).toMatchObject({
      bulkId: 'g',
      version: `W/"${revision + 1}"`,
      location: expect.stringContaining('/scim/v2/Groups/group_') as string,
    });
    const group = await idp('GET', `/Groups/${operations[0]?.['location']?.split('/').at(-1) ?? ''}`);
    expect(group.body['members']).toHaveLength(2);
    expect((await idp('GET', `/Users/${operations[1]?.['location']?.split('/').at(-1) ?? ''}`)).body['title']).toBe(
      'Guide',
    );
  });

  test.each<[string, unknown[], object, string[]]>([
    [
      'one that fails takes the others along',
      [user('c1'), { method: 'DELETE', path: '/Users/nobody' }, user('c2')],
      {},
      ['424', '404', '424'],
    ],
    [
      'after as many errors as allowed the rest is not tried',
      [{ method: 'DELETE', path: '/Users/x' }, { method: 'DELETE', path: '/Users/y' }, user('c3')],
      { failOnErrors: 1 },
      ['404', '424', '424'],
    ],
    [
      'two under one name',
      [user('c4'), { ...user('c5'), data: { userName: 'C4', externalId: 'c5' } }],
      {},
      ['424', '409'],
    ],
    [
      'a reference to nothing',
      [
        {
          method: 'POST',
          path: '/Groups',
          bulkId: 'g2',
          data: { displayName: 'x', members: [{ value: 'bulkId:none' }] },
        },
      ],
      {},
      ['400'],
    ],
    [
      'references in a circle',
      [
        { ...user('d1'), data: { userName: 'd1', externalId: 'd1', manager: 'bulkId:d2' } },
        { ...user('d2'), data: { userName: 'd2', externalId: 'd2', manager: 'bulkId:d1' } },
      ],
      {},
      ['409', '409'],
    ],
  ])('%s, and nothing is changed', async (_, operations, more, expected) => {
    const before = picture();
    expect(statuses(await bulk(operations, more))).toEqual(expected);
    expect(picture()).toBe(before);
  });

  test('has at most a thousand operations', async () => {
    const reply = await bulk(Array.from({ length: 1_001 }, (_, i) => user(`m${i}`)));
    expect(problem(reply)).toEqual([413, 'tooMany', 'A bulk has at most 1000 operations.']);
  });

  test('no bulk leaves anything half done', async () => {
    const operation = fc.oneof(
      fc.constantFrom('f1', 'f2', 'f3').map(user),
      fc.record({
        method: fc.constantFrom('PUT', 'PATCH', 'DELETE', 'POST', 'x'),
        path: fc.constantFrom('/Users/bulkId:f1', '/Users/ada', '/Groups', '/Me', '/Users/__proto__'),
        bulkId: fc.string({ minLength: 1, maxLength: 3 }),
        data: fc.jsonValue({ maxDepth: 2 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 5 }), async (operations) => {
        const before = picture();
        const reply = await bulk([...operations, { method: 'DELETE', path: '/Users/nobody' }]);
        expect([200, 400, 413]).toContain(reply.status);
        expect(picture()).toBe(before);
      }),
      { seed: 37, numRuns: 60 },
    );
  });
});

describe('a change', () => {
  test('of which one part is wrong changes nothing', async () => {
    const user = await newUser(idp, 'half');
    const group = await newGroup(idp, 'half');
    const before = picture();
    const reply = await idp(
      'PATCH',
      `/Groups/${group}`,
      patch(
        { op: 'replace', path: 'displayName', value: 'whole' },
        { op: 'add', path: 'members', value: [{ value: user }, { value: 'nobody' }] },
      ),
    );
    expect(problem(reply)).toEqual([400, 'invalidValue', 'members: there is no user "nobody".']);
    expect(picture()).toBe(before);
  });

  test('that the store does not confirm is 503 with Retry-After, never 2xx', async () => {
    const id = await newUser(idp, 'unstored');
    failing = new StoreFault('store_unavailable', 'the disk is full at /var/lib/secret');
    try {
      for (const [method, path, body] of [
        ['POST', '/Users', { userName: 'x1', externalId: 'x1' }],
        ['PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'active', value: false })],
        ['DELETE', `/Users/${id}`, undefined],
      ] as const) {
        const reply = await idp(method, path, body);
        expect([reply.status, reply.headers.get('retry-after'), reply.body['schemas']]).toEqual([503, '5', [ERROR]]);
        expect(reply.text).not.toContain('secret');
      }
    } finally {
      failing = null;
    }
    expect(plane.snapshot().people.byId(id)?.state).toBe('active');
  });

  test('that meets another node’s is done anew on what stands then', async () => {
    const id = await newUser(idp, 'race');
    conflicts = 1;
    const reply = await idp('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'title', value: 'x' }));
    expect([reply.status, conflicts, reply.body['title']]).toEqual([200, 0, 'x']);
    // One that never ends is told, and nothing is changed.
    conflicts = 100;
    const refused = await idp('PATCH', `/Users/${id}`, patch({ op: 'replace', path: 'title', value: 'y' }));
    conflicts = 0;
    expect([refused.status, refused.body['scimType']]).toEqual([409, 'uniqueness']);
    expect((await idp('GET', `/Users/${id}`)).body['title']).toBe('x');
  });

  test('of thousands of members is one commit; more than fit in one are refused whole', async () => {
    const big = await connect(plane, 'big');
    const ids: string[] = [];
    for (let part = 0; part < 3; part++) {
      const reply = await big('POST', '/Bulk', {
        schemas: [BULK],
        Operations: Array.from({ length: 1_000 }, (_, i) => ({
          method: 'POST',
          path: '/Users',
          bulkId: `${i}`,
          data: { userName: `p${part}-${i}`, externalId: `p${part}-${i}` },
        })),
      });
      for (const { location } of reply.body['Operations'] as Array<{ location: string }>)
        ids.push(location.split('/').at(-1)!);
    }
    const group = await newGroup(big, 'All');
    const { revision } = plane.snapshot();
    const add = await big(
      'PATCH',
      `/Groups/${group}?attributes=id`,
      patch({ op: 'add', path: 'members', value: ids.map((value) => ({ value })) }),
    );
    expect([add.status, plane.snapshot().revision]).toEqual([200, revision + 1]);
    expect((await big('GET', `/Groups/${group}`)).body['members']).toHaveLength(3_000);
    expect(plane.snapshot().people.byId(ids[2_999]!)?.groups).toEqual([group]);
    expect((await big('DELETE', `/Groups/${group}`)).status).toBe(204);
    expect(plane.snapshot().people.byId(ids[2_999]!)?.groups).toBeUndefined();
  }, 120_000);

  test('over the limit is 429 with Retry-After', async () => {
    const replies = await Promise.all(
      Array.from({ length: 160 }, (_, i) => idp('POST', '/Users', { userName: `q${i}`, externalId: `q${i}` })),
    );
    const refused = replies.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.headers.get('retry-after')).toBe('2');
    for (const { status } of replies) expect([201, 429]).toContain(status);
  });

  test('is contact, on record at most once a minute', async () => {
    const at = plane.snapshot().sources.get('entra')?.contactAt ?? 0;
    expect(Date.now() - at).toBeLessThan(120_000);
    await idp('GET', '/Users?count=0');
    expect(plane.snapshot().sources.get('entra')?.contactAt).toBe(at);
  });
});
