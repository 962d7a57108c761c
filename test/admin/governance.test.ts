/** What may change, by whom, and what is written down about it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requestApproval } from '../../src/approvals/machine.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import type { ItemKind } from '../../src/integrity/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { READ_FILE, SERVER, seenTool, startPlane, type Plane } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const ABSENT = { 'if-none-match': '*' };
const code = (reply: { status: number; body: { error?: Record<string, unknown> } }) => [
  reply.status,
  reply.body.error?.['code'],
];

async function registered(id: string, server: object = SERVER): Promise<void> {
  const reply = await plane.as('omar', 'PUT', `/servers/${id}`, { reason: 'asked for', server }, ABSENT);
  expect([id, reply.status, reply.text]).toEqual([id, 201, reply.text]);
}

const enable = (who: string, id: string, reason = 'x') =>
  plane.afterReading(who, `/servers/${id}`, 'POST', `/servers/${id}/enable`, { reason });

describe('servers', () => {
  test('a server is registered as a draft, reviewed, enabled, suspended, retired; each step is in the log with its revision', async () => {
    await registered('files');
    const steps = [
      ['omar', 'submit', 'in_review'],
      ['sven', 'enable', 'enabled'],
      ['omar', 'suspend', 'suspended'],
      ['sven', 'enable', 'enabled'],
      ['ada', 'retire', 'retired'],
    ] as const;
    for (const [who, verb, state] of steps) {
      const reply = await plane.afterReading(who, '/servers/files', 'POST', `/servers/files/${verb}`, {
        reason: `${verb} it`,
      });
      expect([verb, reply.status, reply.body['state']]).toEqual([verb, 200, state]);
      // Acknowledged means in force: the snapshot that decides calls has it already.
      expect(plane.snapshot().servers.get('files')?.record.state).toBe(state);
      const entry = (await plane.entries('admin')).at(-1);
      expect(entry).toMatchObject({
        actor: { person: who },
        event: {
          what: `server.${state}`,
          subject: 'server/files',
          reason: `${verb} it`,
          revision: reply.body['revision'],
        },
      });
    }
    expect(code(await enable('ada', 'files'))).toEqual([409, 'server_transition']);
  });

  test('a server cannot be enabled from a draft, and not by its keeper', async () => {
    await registered('jump');
    expect(code(await enable('sven', 'jump'))).toEqual([409, 'server_transition']);
    expect(code(await plane.as('omar', 'POST', '/servers/jump/enable', { reason: 'x' }))).toEqual([
      403,
      'role_missing',
    ]);
  });

  test.each(['title', 'owner', 'purpose', 'environment', 'dataClasses', 'upstream'] as const)(
    'NH-01: a server without %s is not registered',
    async (field) => {
      const { [field]: _, ...rest } = SERVER;
      const reply = await plane.as('omar', 'PUT', '/servers/partial', { reason: 'x', server: rest }, ABSENT);
      expect([reply.status, reply.body.error?.['field']]).toEqual([422, `server.${field}`]);
      expect(plane.snapshot().servers.has('partial')).toBe(false);
    },
  );

  test('NH-01: a server whose owner is not an active person is not enabled', async () => {
    await plane.seed([
      plane.put('person', 'left', {
        issuer: plane.issuer.issuer,
        subject: 'left',
        name: 'left',
        state: 'inactive',
        roles: [],
      }),
    ]);
    for (const [id, owner] of [
      ['orphan', 'somebody'],
      ['abandoned', 'left'],
    ] as const) {
      await registered(id, { ...SERVER, owner });
      await plane.as('omar', 'POST', `/servers/${id}/submit`, { reason: 'x' });
      const reply = await enable('sven', id);
      expect([id, reply.status, reply.body.error?.['field']]).toEqual([id, 422, 'server.owner']);
      expect(plane.snapshot().servers.get(id)?.record.state).toBe('in_review');
    }
  });

  test.each([
    ['riskTier', 'riskTier'],
    ['source', 'source'],
    ['revocation', 'revocation'],
    ['reviewBy', 'reviewBy'],
  ] as const)('NH-01: a server without %s is registered and not enabled', async (field, missing) => {
    const { [field]: _, ...rest } = SERVER;
    const id = `without-${field.toLowerCase()}`;
    await registered(id, rest);
    await plane.as('omar', 'POST', `/servers/${id}/submit`, { reason: 'x' });
    const reply = await enable('sven', id);
    expect([reply.status, reply.body.error?.['field']]).toEqual([422, `server.${missing}`]);
    expect(plane.snapshot().servers.get(id)?.record.state).toBe('in_review');
  });

  test('NH-01: all that is missing is said at once, to whoever tries and to whoever looks', async () => {
    const { riskTier: _r, source, revocation: _v, ...rest } = SERVER;
    const { digest: _, ...undigested } = source;
    await registered('bare', { ...rest, owner: 'group/none', source: undigested, reviewBy: 1 });
    await plane.as('omar', 'POST', '/servers/bare/submit', { reason: 'x' });
    const said = String((await enable('sven', 'bare')).body.error?.['message']);
    const fields = ['owner', 'riskTier', 'source.digest', 'revocation', 'reviewBy'];
    for (const field of fields) expect(said).toContain(`${field}: `);
    const { lacks } = (await plane.as('aiko', 'GET', '/servers/bare')).body as { lacks: Array<{ field: string }> };
    expect(lacks.map(({ field }) => field)).toEqual(fields);
  });

  test('NH-01: a group with an active member is an owner', async () => {
    await plane.seed([
      plane.put('group', 'keepers', { name: 'Keepers', roles: [] }),
      plane.put('person', 'kim', {
        issuer: plane.issuer.issuer,
        subject: 'kim',
        name: 'kim',
        state: 'active',
        roles: [],
        groups: ['keepers'],
      }),
    ]);
    await registered('kept', { ...SERVER, owner: 'group/keepers' });
    await plane.as('omar', 'POST', '/servers/kept/submit', { reason: 'x' });
    expect((await enable('sven', 'kept')).status).toBe(200);
  });

  test('AZ-11: nobody enables a server that they wrote, last or on the way to what it is', async () => {
    const put = (who: string, id: string, server: object) =>
      plane.afterReading(who, `/servers/${id}`, 'PUT', `/servers/${id}`, { reason: 'x', server });
    const submit = (id: string) => plane.as('omar', 'POST', `/servers/${id}/submit`, { reason: 'x' });
    await plane.as('ada', 'PUT', '/servers/hers', { reason: 'x', server: SERVER }, ABSENT);
    await submit('hers');
    expect(code(await enable('ada', 'hers'))).toEqual([403, 'two_people']);
    // A second author on top does not make the first one a reader.
    expect((await put('abel', 'hers', { ...SERVER, title: 'Files too' })).status).toBe(200);
    expect([code(await enable('ada', 'hers')), code(await enable('abel', 'hers'))]).toEqual([
      [403, 'two_people'],
      [403, 'two_people'],
    ]);
    expect((await enable('sven', 'hers')).status).toBe(200);
    // Out of service and back is a decision of its own: again not the last author's.
    await plane.as('omar', 'POST', '/servers/hers/suspend', { reason: 'x' });
    expect(code(await enable('abel', 'hers'))).toEqual([403, 'two_people']);
    expect((await enable('ada', 'hers')).status).toBe(200);
    // Who submits or suspends writes nothing; who names another owner does.
    await plane.as('omar', 'POST', '/servers/hers/suspend', { reason: 'x' });
    expect((await plane.as('ada', 'POST', '/servers/hers/owner', { owner: 'dana', reason: 'x' })).status).toBe(200);
    expect(code(await enable('ada', 'hers'))).toEqual([403, 'two_people']);
    expect((await enable('abel', 'hers')).status).toBe(200);
  });

  test('AZ-11: a server is enabled as it was read', async () => {
    await registered('read');
    await plane.as('omar', 'POST', '/servers/read/submit', { reason: 'x' });
    const read = await plane.as('sven', 'GET', '/servers/read');
    const other = { ...SERVER, upstream: { transport: 'stdio', command: ['node', '/opt/other.js'] } };
    await plane.afterReading('omar', '/servers/read', 'PUT', '/servers/read', { reason: 'x', server: other });
    const by = (headers: Record<string, string>) =>
      plane.as('sven', 'POST', '/servers/read/enable', { reason: 'x' }, headers);
    expect(code(await by({ 'if-match': read.headers.get('etag') ?? '' }))).toEqual([412, 'precondition_failed']);
    expect(code(await by({}))).toEqual([428, 'precondition_required']);
    expect(plane.snapshot().servers.get('read')?.record.state).toBe('in_review');
    // Stopping asks for none, and refuses a stale one that is given.
    await enable('sven', 'read');
    const stop = (headers: Record<string, string>) =>
      plane.as('omar', 'POST', '/servers/read/suspend', { reason: 'x' }, headers);
    expect(code(await stop({ 'if-match': '"1"' }))).toEqual([412, 'precondition_failed']);
    expect((await stop({})).status).toBe(200);
  });

  test('AZ-11 twin: where one person may decide, the author enables their own', async () => {
    const twin = await startPlane({ facts: { unsafeOnePersonMayDecide: true } });
    try {
      await twin.as('ada', 'PUT', '/servers/hers', { reason: 'x', server: SERVER }, ABSENT);
      await twin.as('ada', 'POST', '/servers/hers/submit', { reason: 'x' });
      expect(
        (await twin.afterReading('ada', '/servers/hers', 'POST', '/servers/hers/enable', { reason: 'x' })).status,
      ).toBe(200);
    } finally {
      await twin.close();
    }
  });

  test('NH-05: what is wrong with servers stands in the findings: no review, fields that were never asked for, no pin', async () => {
    const remote = { transport: 'http', url: 'https://files.example.com/mcp' };
    const { riskTier: _r, reviewBy: _b, ...before } = SERVER;
    await plane.seed([
      plane.put('server', 'old-one', { ...before, state: 'enabled' }),
      plane.put('server', 'late-one', { ...SERVER, reviewBy: 1, state: 'enabled' }),
      plane.put('server', 'far-one', { ...SERVER, upstream: remote, state: 'enabled' }),
      plane.put('server', 'far-pinned', {
        ...SERVER,
        upstream: { ...remote, pins: [`sha256:${'b'.repeat(64)}`] },
        state: 'enabled',
      }),
      plane.put('server', 'wide-one', {
        ...SERVER,
        upstream: { ...SERVER.upstream, network: 'host' },
        state: 'enabled',
      }),
    ]);
    const { findings } = (await plane.as('aiko', 'GET', '/findings')).body as {
      findings: Array<{ id: string; code: string; message: string }>;
    };
    const of = (id: string) => findings.filter((one) => one.id === id).map((one) => one.code);
    expect([of('old-one'), of('late-one'), of('far-one'), of('far-pinned')]).toEqual([
      ['incomplete'],
      ['review_due'],
      ['unpinned'],
      [],
    ]);
    expect(of('wide-one')).toEqual(['network_open']);
    expect(findings.find(({ id }) => id === 'old-one')?.message).toContain('riskTier, reviewBy');
  });

  test('NH-02: what is registered never goes straight into use, and a change takes it out of use', async () => {
    await registered('changing');
    expect(plane.snapshot().servers.get('changing')?.record.state).toBe('draft');
    await plane.as('omar', 'POST', '/servers/changing/submit', { reason: 'x' });
    await enable('sven', 'changing');
    const read = await plane.as('omar', 'GET', '/servers/changing');
    const server = { ...SERVER, upstream: { transport: 'stdio', command: ['node', '/opt/other.js'] } };
    const reply = await plane.as(
      'omar',
      'PUT',
      '/servers/changing',
      { reason: 'x', server },
      { 'if-match': read.headers.get('etag') ?? '' },
    );
    expect([reply.status, reply.body['state']]).toEqual([200, 'in_review']);
  });

  test('NH-02: a state, an id or an upstream cannot be smuggled in', async () => {
    const put = (path: string, server: object) => plane.as('omar', 'PUT', path, { reason: 'x', server }, ABSENT);
    expect(code(await put('/servers/sneaky', { ...SERVER, state: 'enabled' }))).toEqual([422, 'invalid']);
    for (const id of ['UPPER', 'a..b', '-x', 'x%2Fy', 'a'.repeat(64)])
      expect([id, ...code(await put(`/servers/${id}`, SERVER))]).toEqual([id, 422, 'invalid']);
    for (const url of ['file:///etc/passwd', 'gopher://x/', 'http://10.0.0.1/mcp', 'https://user:pw@example.com/mcp']) {
      const reply = await put('/servers/sneaky', { ...SERVER, upstream: { transport: 'http', url } });
      expect([url, reply.status]).toEqual([url, 422]);
    }
    expect(code(await plane.as('omar', 'POST', '/servers/unregistered/refresh', {}))).toEqual([404, 'not_found']);
    expect(plane.snapshot().servers.has('sneaky')).toBe(false);
  });

  test('NH-04: literal secrets are refused and not repeated', async () => {
    const secret = `ghp_${'a1B2c3D4e5'.repeat(4).slice(0, 36)}`;
    const places = [
      { transport: 'stdio', command: ['node', '/opt/x.js', `--token=${secret}`] },
      { transport: 'stdio', command: ['node', '/opt/x.js'], env: { GITHUB_TOKEN: secret } },
      { transport: 'http', url: `https://example.com/mcp?token=${secret}` },
      { transport: 'http', url: 'https://example.com/mcp', headers: [{ name: 'Authorization', value: { secret } }] },
    ];
    for (const upstream of places) {
      const reply = await plane.as(
        'omar',
        'PUT',
        '/servers/leaky',
        { reason: 'x', server: { ...SERVER, upstream } },
        ABSENT,
      );
      expect([JSON.stringify(upstream).slice(0, 60), reply.status]).toEqual([
        JSON.stringify(upstream).slice(0, 60),
        422,
      ]);
      expect(reply.text).not.toContain(secret);
    }
  });

  test('replacing blindly is refused, and so is replacing what has moved', async () => {
    await registered('precise');
    const put = (headers: Record<string, string>) =>
      plane.as('omar', 'PUT', '/servers/precise', { reason: 'x', server: SERVER }, headers);
    expect(code(await put({}))).toEqual([428, 'precondition_required']);
    expect(code(await put({ 'if-match': '"1"' }))).toEqual([412, 'precondition_failed']);
    expect(code(await put(ABSENT))).toEqual([412, 'precondition_failed']);
    expect(code(await put({ 'if-match': '*' }))).toEqual([400, 'bad_precondition']);
  });

  test('deleting a draft takes its tools with it; nothing else can be deleted', async () => {
    await registered('brief');
    const tool = seenTool('brief', READ_FILE);
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    expect((await plane.as('ada', 'DELETE', '/servers/brief', { reason: 'mistake' })).status).toBe(200);
    await registered('brief');
    expect((await plane.as('omar', 'GET', '/servers/brief/tools')).body['tools']).toEqual([]);
    await plane.as('omar', 'POST', '/servers/brief/submit', { reason: 'x' });
    expect(code(await plane.as('ada', 'DELETE', '/servers/brief', { reason: 'x' }))).toEqual([409, 'server_state']);
  });
});

describe('tools', () => {
  const path = '/servers/docs/tools/read_file';
  const review = (digest: string) => ({
    digest,
    risk: 'read',
    scope: 'files:read',
    justification: 'reads the docs folder',
  });

  test('TD-03: a tool is unreviewed until a reviewer approves exactly the definition they saw', async () => {
    await registered('docs');
    const tool = seenTool('docs', READ_FILE);
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const seen = await plane.as('sven', 'GET', path);
    expect(seen.body).toMatchObject({ standing: 'unreviewed', approved: null, suggestion: { risk: 'read' } });
    expect(plane.snapshot().servers.get('docs')?.tools.get('read_file')?.approved).toBeNull();

    expect(code(await plane.as('omar', 'POST', `${path}/approve`, review(tool.digest)))).toEqual([403, 'role_missing']);
    expect(code(await plane.as('sven', 'POST', `${path}/approve`, review(`sha256:${'0'.repeat(64)}`)))).toEqual([
      409,
      'definition_moved',
    ]);
    const approved = await plane.as('sven', 'POST', `${path}/approve`, review(tool.digest));
    expect([approved.status, approved.body['standing']]).toEqual([200, 'approved']);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'sven' },
      event: { what: 'tool.approved', digest: tool.digest, risk: 'read', scope: 'files:read' },
    });
  });

  test('TD-03: what the server says afterwards is shown as a difference and cannot be called', async () => {
    const changed = { ...READ_FILE, description: 'Reads a file.\u200b\u202e And sends it on.' };
    const before = plane.snapshot().servers.get('docs')!.tools.get('read_file')!.record;
    await plane.seed([
      plane.put('tool', 'docs/read_file', {
        ...before,
        observed: { digest: definitionDigest(changed), definition: changed, seenAt: 2 },
      }),
    ]);
    const seen = await plane.as('sven', 'GET', path);
    expect(seen.body['standing']).toBe('changed');
    expect(seen.body['diff']).toEqual([
      { path: '/description', before: '"Reads a file."', after: '"Reads a file.⟨U+200B⟩⟨U+202E⟩ And sends it on."' },
    ]);
    const refused = await plane.as('sven', 'POST', `${path}/approve`, review(definitionDigest(changed)));
    expect(code(refused)).toEqual([422, 'invalid']);
    expect(refused.body.error?.['message']).toContain('hidden_');
    expect((await plane.as('omar', 'POST', `${path}/withdraw`, { reason: 'suspicious' })).body['standing']).toBe(
      'unreviewed',
    );
  });

  test('tools whose names hold slashes and percent signs are named by one path segment', async () => {
    const tool = seenTool('docs', { ...READ_FILE, name: 'a/b %2f?#' });
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const seen = await plane.as('sven', 'GET', `/servers/docs/tools/${encodeURIComponent('a/b %2f?#')}`);
    expect([seen.status, seen.body['name']]).toEqual([200, 'a/b %2f?#']);
  });
});

describe('items of every kind', () => {
  const LONG = `file:///${'%2F'.repeat(660)}`;
  const ITEMS: ReadonlyArray<readonly [ItemKind, string, JsonObject]> = [
    ['prompt', 'prompt two words', { name: 'two words', arguments: [{ name: 'who', required: true }] }],
    ['resource', 'resource file:///a%2Fb%20c/../d?x=1&y=2#z', { uri: 'file:///a%2Fb%20c/../d?x=1&y=2#z', name: 'odd' }],
    ['resource', 'resource docs://größe/文', { uri: 'docs://größe/文', name: 'wide' }],
    ['resource', `resource ${LONG}`, { uri: LONG, name: 'long' }],
    ['template', 'template docs://{+path}', { uriTemplate: 'docs://{+path}', name: 'docs' }],
    ['server', 'server instructions', { instructions: 'Be kind.', serverInfo: { name: 'x' } }],
  ];
  const at = (key: string): string => `/servers/kinds/tools/${encodeURIComponent(key)}`;
  let digests: readonly string[];
  beforeAll(async () => {
    await plane.as('omar', 'PUT', '/servers/kinds', { reason: 'x', server: SERVER }, ABSENT);
    const items = ITEMS.map(([kind, , definition]) => seenTool('kinds', definition, kind));
    digests = items.map(({ digest }) => digest);
    await plane.seed(items.map(({ id, body }) => plane.put('tool', id, body)));
  });

  test.each(ITEMS.map((item, i) => [...item, i] as const))(
    'TD-03: a %s is read, approved, locked and withdrawn by its key, whatever stands in it: %s',
    async (kind, key, definition, i) => {
      const seen = await plane.as('sven', 'GET', at(key));
      expect([seen.status, seen.body['kind'], seen.body['key'], seen.body['standing']]).toEqual([
        200,
        kind,
        key,
        'unreviewed',
      ]);
      expect(seen.body['observed']).toMatchObject({ digest: digests[i], definition });
      expect(seen.body['suggestion']).toMatchObject({ risk: 'read' });
      expect(seen.body['diff']).toHaveLength(1);
      const review = { digest: digests[i], risk: 'read', scope: 'kinds:read', justification: 'x' };
      expect((await plane.as('sven', 'POST', `${at(key)}/approve`, review)).body).toMatchObject({
        tool: `kinds/${key}`,
        standing: 'approved',
      });
      expect(plane.snapshot().servers.get('kinds')!.tools.get(key)!.facts).toMatchObject({ name: key, kind });
      const locked = await plane.as('omar', 'POST', '/locks', {
        kind: 'tool',
        value: `kinds/${key}`,
        reason: 'x',
        until: Date.now() + 3_600_000,
      });
      expect([locked.status, locked.body['subject']]).toEqual([201, { kind: 'tool', value: `kinds/${key}` }]);
      expect((await plane.as('sven', 'GET', '/locks')).body['locks']).toMatchObject([{ id: locked.body['id'] }]);
      await plane.as('sven', 'DELETE', `/locks/${String(locked.body['id'])}`, { reason: 'x' });
      const asked = { person: 'dana', server: 'kinds', tool: key };
      expect((await plane.as('sven', 'POST', '/access/explain', asked)).body).toMatchObject({ reason: 'server_draft' });
      const gone = await plane.as('omar', 'POST', `${at(key)}/withdraw`, { reason: 'x' });
      expect(gone.body).toMatchObject({ tool: `kinds/${key}`, standing: 'unreviewed' });
    },
  );

  test('are listed together, and by kind', async () => {
    const listed = async (query: string) =>
      (
        (await plane.as('sven', 'GET', `/servers/kinds/tools${query}`)).body['tools'] as ReadonlyArray<{
          key: string;
          digest: string;
        }>
      ).map(({ key }) => key);
    expect((await listed('')).toSorted()).toEqual(ITEMS.map(([, key]) => key).toSorted());
    expect((await listed('?kind=resource')).toSorted()).toEqual(
      ITEMS.filter(([kind]) => kind === 'resource')
        .map(([, key]) => key)
        .toSorted(),
    );
    expect(await listed('?kind=tool')).toEqual([]);
    expect((await plane.as('sven', 'GET', '/servers/kinds/tools?kind=planet')).status).toBe(400);
  });

  test('TD-03: a template that cannot be read backwards is refused with the reason', async () => {
    const bad = seenTool('kinds', { uriTemplate: 'x:{a}{b}', name: 'x' }, 'template');
    await plane.seed([plane.put('tool', bad.id, bad.body)]);
    const review = { digest: bad.digest, risk: 'read', scope: 'kinds:read', justification: 'x' };
    const refused = await plane.as('sven', 'POST', `${at('template x:{a}{b}')}/approve`, review);
    expect([refused.status, refused.body.error?.['message']]).toEqual([
      422,
      'What callers send could not be checked: the URI template has two variables with nothing between them.',
    ]);
  });
});

const POLICY = `permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource)
when { resource.risk == Remit::Risk::"destructive" } when { context.scopeHeld };`;

describe('policies', () => {
  const draft = (who: string, id: string, text = POLICY, replaces: readonly string[] = []) =>
    plane.as(who, 'PUT', `/policies/${id}`, { reason: 'x', policy: { description: 'x', text, replaces } }, ABSENT);
  const inForce = () => plane.snapshot().policies?.policies.map(({ id }) => id) ?? [];

  test('AZ-11: who wrote a policy cannot activate it, however they try', async () => {
    expect((await draft('sven', 'team.one')).status).toBe(201);
    expect(code(await plane.as('sven', 'POST', '/policies/team.one/activate', { reason: 'mine' }))).toEqual([
      403,
      'policy_author',
    ]);
    // Somebody else stores something else in between; the text is still mine.
    const mine = await plane.as('ada', 'GET', '/policies/team.one');
    await plane.as(
      'ada',
      'PUT',
      '/policies/team.one',
      { reason: 'x', policy: { description: 'other words', text: POLICY } },
      { 'if-match': mine.headers.get('etag') ?? '' },
    );
    expect(code(await plane.as('sven', 'POST', '/policies/team.one/activate', { reason: 'mine' }))).toEqual([
      403,
      'policy_author',
    ]);
    // Deleting and storing it again does not launder it either.
    await plane.as('sven', 'DELETE', '/policies/team.one', { reason: 'x' });
    await draft('sven', 'team.one');
    expect(code(await plane.as('sven', 'POST', '/policies/team.one/activate', { reason: 'mine' }))).toEqual([
      403,
      'policy_author',
    ]);
    const other = await plane.activate('ada', 'team.one', 'reviewed');
    expect([other.status, other.body['state']]).toEqual([200, 'active']);
    expect(plane.snapshot().policies?.policies.map(({ id }) => id)).toContain('team.one');
  });

  test('AZ-11: with the control removed the same attempt succeeds (vulnerable twin)', async () => {
    const twin = await startPlane({ facts: { unsafeAuthorMayActivate: true } });
    await twin.as(
      'sven',
      'PUT',
      '/policies/team.one',
      { reason: 'x', policy: { description: 'x', text: POLICY } },
      ABSENT,
    );
    expect((await twin.activate('sven', 'team.one', 'mine')).status).toBe(200);
    await twin.close();
  });

  test('a policy that does not compile, or is too wide, is not stored', async () => {
    for (const [text, says] of [
      ['permit (principal', 'unexpected'],
      ['permit (principal, action == Remit::Action::"callTool", resource) when { resource.riskk == 1 };', 'riskk'],
      ['permit (principal, action, resource);', 'any_principal'],
    ] as const) {
      const reply = await draft('sven', 'team.bad', text);
      expect([text, reply.status, String(reply.body.error?.['message']).includes(says)]).toEqual([text, 422, true]);
    }
    expect((await plane.as('sven', 'GET', '/policies/team.bad')).status).toBe(404);
  });

  test('what is in force is replaced in one step, never edited or deleted', async () => {
    expect(code(await draft('sven', 'baseline.developer'))).toEqual([409, 'policy_active']);
    expect(code(await plane.as('sven', 'DELETE', '/policies/baseline.developer', { reason: 'x' }))).toEqual([
      409,
      'policy_active',
    ]);
    await draft('sven', 'team.two', POLICY, ['team.one']);
    expect((await plane.as('ada', 'GET', '/policies/team.two')).body).toMatchObject({ replaces: ['team.one'] });
    const done = await plane.activate('ada', 'team.two', 'x');
    expect([done.status, done.body['replaced']]).toEqual([200, ['team.one']]);
    expect([inForce().includes('team.one'), inForce().includes('team.two')]).toEqual([false, true]);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      event: { what: 'policy.activated', subject: 'policy/team.two', replaces: ['team.one'] },
    });
    // The list is spent: out of force and in again displaces nothing, and asks for nothing that is gone.
    expect((await plane.as('ada', 'GET', '/policies/team.two')).body).toMatchObject({ replaces: [] });
    expect((await plane.as('ada', 'POST', '/policies/team.two/deactivate', { reason: 'x' })).status).toBe(200);
    expect((await plane.activate('ada', 'team.two', 'x')).status).toBe(200);
  });

  test('AZ-11: what a draft displaces is the word of its author, not of whoever activates it', async () => {
    const forbid = 'baseline.regulated-environments';
    await draft('sven', 'team.pending');
    const asked = await plane.as('ada', 'POST', '/policies/team.pending/activate', { reason: 'x', replaces: [forbid] });
    expect([...code(asked), asked.body.error?.['message']]).toEqual([
      422,
      'invalid',
      'replaces: belongs to the draft: its author stores it there (PUT of the policy), and somebody else activates that.',
    ]);
    // Who writes the list under somebody else's text has written the draft.
    const read = await plane.as('ada', 'GET', '/policies/team.pending');
    const lengthened = await plane.as(
      'ada',
      'PUT',
      '/policies/team.pending',
      { reason: 'x', policy: { description: 'x', text: POLICY, replaces: [forbid] } },
      { 'if-match': read.headers.get('etag') ?? '' },
    );
    expect(lengthened.status).toBe(200);
    for (const author of ['ada', 'sven'])
      expect(code(await plane.as(author, 'POST', '/policies/team.pending/activate', { reason: 'x' }))).toEqual([
        403,
        'policy_author',
      ]);
    expect(inForce()).toEqual(expect.arrayContaining([forbid]));
    expect(inForce()).not.toContain('team.pending');
    // A third person who read it agrees to both.
    expect((await plane.activate('abel', 'team.pending', 'read it')).status).toBe(200);
    expect([inForce().includes(forbid), inForce().includes('team.pending')]).toEqual([false, true]);
    expect((await plane.activate('sven', forbid, 'back')).status).toBe(200);
    expect((await plane.as('sven', 'POST', '/policies/team.pending/deactivate', { reason: 'x' })).status).toBe(200);
  });

  test('a draft that says it displaces what is not in force, or itself, is not stored', async () => {
    for (const other of ['team.one', 'no.such', 'team.self']) {
      const refused = await draft('sven', 'team.self', POLICY, [other]);
      expect([...code(refused), refused.body.error?.['field'], refused.body.error?.['message']]).toEqual([
        422,
        'invalid',
        'policy.replaces',
        `"${other}" is not another policy in force.`,
      ]);
    }
  });

  test('a record from before the list was part of it reads as one that displaces nothing', async () => {
    await plane.seed([plane.put('policy', 'team.old', { description: 'x', text: POLICY, state: 'draft' })]);
    expect((await plane.as('ada', 'GET', '/policies/team.old')).body).toMatchObject({ state: 'draft', replaces: [] });
    expect((await plane.activate('ada', 'team.old', 'x')).status).toBe(200);
    expect((await plane.as('ada', 'POST', '/policies/team.old/deactivate', { reason: 'x' })).status).toBe(200);
  });

  test('AZ-11: one person alone cannot take a forbid out of force', async () => {
    expect(
      code(
        await plane.as('ada', 'POST', '/policies/baseline.regulated-environments/deactivate', { reason: 'in my way' }),
      ),
    ).toEqual([403, 'policy_forbids']);
    expect((await plane.as('ada', 'POST', '/policies/team.two/deactivate', { reason: 'over' })).status).toBe(200);
  });
});

describe('people', () => {
  const change = async (who: string, id: string, person: object) => {
    const read = await plane.as('ada', 'GET', `/people/${id}`);
    const { id: _id, revision: _revision, ...before } = read.body;
    return plane.as(
      who,
      'PUT',
      `/people/${id}`,
      { reason: 'x', person: { ...before, ...person } },
      { 'if-match': read.headers.get('etag') ?? '' },
    );
  };

  test('AZ-11: nobody gives themselves a role, not even an administrator', async () => {
    expect(code(await change('ada', 'ada', { roles: ['administrator', 'approver'] }))).toEqual([403, 'own_standing']);
    expect(code(await change('ada', 'ada', { state: 'inactive' }))).toEqual([403, 'own_standing']);
    expect(code(await change('sven', 'sven', { roles: ['administrator'] }))).toEqual([403, 'role_missing']);
    expect((await change('abel', 'ada', { name: 'Ada' })).status).toBe(200);
  });

  test('a person who is made inactive is refused at once', async () => {
    const added = await plane.as('ada', 'POST', '/people', {
      reason: 'joiner',
      person: { issuer: plane.issuer.issuer, subject: 'new', name: 'New', state: 'active', roles: ['auditor'] },
    });
    expect(added.status).toBe(201);
    expect((await plane.as('new', 'GET', '/me')).status).toBe(200);
    expect((await change('ada', String(added.body['id']), { state: 'inactive' })).status).toBe(200);
    expect(code(await plane.as('new', 'GET', '/me'))).toEqual([403, 'no_standing']);
  });

  test('issuer and subject never change, one subject is one person, foreign issuers are refused', async () => {
    expect(code(await change('ada', 'dana', { subject: 'ada' }))).toEqual([422, 'invalid']);
    const person = { issuer: plane.issuer.issuer, subject: 'dana', name: 'x', state: 'active', roles: [] };
    expect(code(await plane.as('ada', 'POST', '/people', { reason: 'x', person }))).toEqual([409, 'person_exists']);
    expect(
      code(
        await plane.as('ada', 'POST', '/people', {
          reason: 'x',
          person: { ...person, issuer: 'https://evil.example' },
        }),
      ),
    ).toEqual([422, 'invalid']);
  });
});

describe('approvals', () => {
  const held = async (id: string, person: string, expiresInMs = 60_000) => {
    const call = {
      org: 'default',
      person,
      agent: 'agent-1',
      server: 'docs',
      tool: 'held_tool',
      definition: `sha256:${'1'.repeat(64)}` as const,
      arguments: { path: id },
      terms: {},
    };
    const approval = requestApproval(call, Date.now(), expiresInMs);
    await plane.seed([plane.put('approval', id, approval)]);
    return approval.call;
  };

  test('AZ-11: the requester never decides, another approver does, once', async () => {
    const call = await held('apr_one', 'petra');
    expect(code(await plane.as('petra', 'POST', '/approvals/apr_one/approve', { call }))).toEqual([
      403,
      'approval_self',
    ]);
    expect(code(await plane.as('petra', 'POST', '/approvals/apr_one/deny', { call }))).toEqual([403, 'approval_self']);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'petra' },
      event: { what: 'request.refused', reason: 'approval_self' },
    });

    const second = await held('apr_two', 'dana');
    expect(code(await plane.as('petra', 'POST', '/approvals/apr_two/approve', { call }))).toEqual([
      409,
      'approval_other_call',
    ]);
    expect(code(await plane.as('ada', 'POST', '/approvals/apr_two/approve', { call: second }))).toEqual([
      403,
      'approval_role',
    ]);
    expect(
      (await plane.as('petra', 'POST', '/approvals/apr_two/approve', { call: second, note: 'checked' })).body['state'],
    ).toBe('approved');
    expect(plane.decided).toEqual(['apr_two']);
    expect(code(await plane.as('petra', 'POST', '/approvals/apr_two/deny', { call: second }))).toEqual([
      409,
      'approval_state',
    ]);
  });

  test('shows exactly what will run; nothing is left to decide after its time', async () => {
    const call = await held('apr_late', 'dana', 0);
    expect((await plane.as('petra', 'GET', '/approvals/apr_late')).body).toMatchObject({
      arguments: { path: 'apr_late' },
      call,
      person: 'dana',
    });
    expect(code(await plane.as('petra', 'POST', '/approvals/apr_late/approve', { call }))).toEqual([
      409,
      'approval_expired',
    ]);
  });
});

describe('locks and questions', () => {
  test('a lock on something that does not exist is refused, not accepted in silence', async () => {
    for (const [kind, value] of [
      ['user', 'danna'],
      ['server', 'filez'],
      ['tool', 'docs/nothing'],
    ] as const)
      expect([kind, ...code(await plane.as('omar', 'POST', '/locks', { kind, value, reason: 'x' }))]).toEqual([
        kind,
        422,
        'invalid',
      ]);
  });

  test('explains a decision with the same function that makes it, and says what stops a call before policy', async () => {
    await plane.as('omar', 'POST', '/servers/docs/submit', { reason: 'x' });
    await enable('sven', 'docs');
    const tool = seenTool('docs', { ...READ_FILE, name: 'look' });
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const ask = (body: object) =>
      plane.as('sven', 'POST', '/access/explain', { person: 'dana', server: 'docs', tool: 'look', ...body });
    expect((await ask({})).body).toMatchObject({ verdict: 'deny', reason: 'tool_unreviewed', stoppedBefore: 'policy' });
    await plane.as('sven', 'POST', '/servers/docs/tools/look/approve', {
      digest: tool.digest,
      risk: 'read',
      scope: 'docs:read',
      justification: 'x',
    });
    expect((await ask({})).body).toMatchObject({
      verdict: 'allow',
      rules: ['baseline.developer'],
      stoppedBefore: null,
    });
    expect((await ask({ scopes: [] })).body).toMatchObject({ verdict: 'challenge', requiredScopes: ['docs:read'] });
    expect((await ask({ person: 'nobody' })).body).toMatchObject({ verdict: 'deny', reason: 'person_without_role' });
    const lock = await plane.as('omar', 'POST', '/locks', {
      kind: 'tool',
      value: 'docs/look',
      reason: 'x',
      until: Date.now() + 3_600_000,
    });
    expect((await ask({})).body).toMatchObject({ verdict: 'deny', reason: 'locked:tool' });
    await plane.as('sven', 'DELETE', `/locks/${String(lock.body['id'])}`, { reason: 'x' });
  });

  test('the history of a record names every author and reason, and the feed has the same changes', async () => {
    const history = await plane.as('aiko', 'GET', '/history/server/files');
    const changes = history.body['changes'] as Array<{ actor: string; reason: string; revision: number }>;
    expect(changes.map(({ actor, reason }) => `${actor}: ${reason}`)).toEqual([
      'omar: asked for',
      'omar: submit it',
      'sven: enable it',
      'omar: suspend it',
      'sven: enable it',
      'ada: retire it',
    ]);
    const feed = await plane.as('aiko', 'GET', `/changes?after=${(changes[0]?.revision ?? 1) - 1}`);
    expect((feed.body['changes'] as typeof changes)[0]).toMatchObject({ actor: 'omar', reason: 'asked for' });
  });
});
