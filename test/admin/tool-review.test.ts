/**
 * The review of tools at the admin API: what one person decides, what takes two, and what voids a proposal (AP-01).
 * The same rules at the sink, with their twins: test/attacks/tool-review.test.ts.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { definitionDigest } from '../../src/integrity/definition.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { READ_FILE, SERVER, seenTool, startPlane, type Plane, type Reply } from './plane.ts';

let plane: Plane;
let count = 0;
let path: string;
let digest: string;
const DROP: JsonObject = {
  name: 'drop',
  description: 'Drops a table.',
  inputSchema: {
    type: 'object',
    properties: { table: { type: 'string' }, count: { type: 'integer' }, deep: { $ref: '#/$defs/d' } },
    $defs: { d: { type: 'object', properties: { to: { type: ['string', 'null'] } } } },
  },
};
const review = (more: object = {}) => ({
  digest,
  risk: 'destructive',
  scope: 'db:drop',
  justification: 'needed',
  ...more,
});
const code = ({ status, body }: Reply) => [status, body.error?.['code']];
const post = (who: string, verb: string, body: object) => plane.as(who, 'POST', `${path}/${verb}`, body);
const record = () => plane.snapshot().servers.get('db')!.tools.get(`drop${count}`)!.record;
const see = async (definition: JsonObject): Promise<void> => {
  const tool = seenTool('db', { ...definition, name: `drop${count}` });
  const before = plane.snapshot().servers.get('db')?.tools.get(`drop${count}`)?.record;
  digest = tool.digest;
  await plane.seed([
    plane.put(
      'tool',
      tool.id,
      before ? { ...before, observed: (tool.body as { observed: object }).observed } : tool.body,
    ),
  ]);
};

beforeAll(async () => {
  plane = await startPlane();
  await plane.seed([plane.put('server', 'db', { ...SERVER, state: 'enabled' })]);
});
beforeEach(async () => {
  path = `/servers/db/tools/drop${++count}`;
  await see(DROP);
});
afterAll(() => plane.close());

describe('AP-01: two people behind what can do more than read', () => {
  test.each(['write', 'destructive', 'execute', 'regulated'])(
    'AP-01: %s is not approved by one person',
    async (risk) => {
      expect(code(await post('sven', 'approve', review({ risk })))).toEqual([403, 'needs_second_person']);
      expect(record().approved).toBeNull();
    },
  );

  test('AP-01: one proposes, somebody else agrees, and both stand in the record', async () => {
    const proposed = await post(
      'omar',
      'propose',
      review({ approvals: 2, irreversible: true, parameters: { '/table': 'identifier' } }),
    );
    expect([proposed.status, proposed.body['standing']]).toEqual([200, 'unreviewed']);
    const seen = await plane.as('sven', 'GET', path);
    expect(seen.body['proposal']).toMatchObject({ id: proposed.body['proposal'], by: 'omar', risk: 'destructive' });
    const approved = await post('sven', 'approve', { digest, proposal: proposed.body['proposal'] });
    expect([approved.status, approved.body['standing']]).toEqual([200, 'approved']);
    expect(record()).toMatchObject({
      approved: { digest, by: 'sven', proposedBy: 'omar', irreversible: true, approvals: 2, justification: 'needed' },
    });
    expect(record().proposal).toBeUndefined();
    expect((await plane.entries('admin')).at(-1)?.event).toMatchObject({
      what: 'tool.approved',
      proposedBy: 'omar',
      digest,
    });
  });

  test('AP-01: nobody agrees to their own proposal, whatever roles they have', async () => {
    await plane.seed([
      plane.put(
        'person',
        'both',
        {
          issuer: plane.issuer.issuer,
          subject: 'both',
          name: 'both',
          state: 'active',
          roles: ['security_reviewer', 'administrator', 'operator'],
        },
        `${plane.issuer.issuer} both`,
      ),
    ]);
    const { body } = await post('both', 'propose', review());
    expect(code(await post('both', 'approve', { digest, proposal: body['proposal'] }))).toEqual([403, 'proposal_own']);
    expect(record().approved).toBeNull();
  });

  test('AP-01: who is no reviewer agrees to nothing', async () => {
    const { body } = await post('sven', 'propose', review());
    for (const who of ['omar', 'ada', 'petra', 'dana'])
      expect(code(await post(who, 'approve', { digest, proposal: body['proposal'] }))).toEqual([403, 'role_missing']);
  });

  test('AP-01: the author cannot be written by the caller', async () => {
    const forged = await post('sven', 'propose', { ...review(), by: 'omar' });
    expect(forged.status).toBe(400 + 22);
    expect(record().proposal).toBeUndefined();
  });

  test('AP-01: another proposal than the one that was read is not agreed to', async () => {
    const first = await post('omar', 'propose', review());
    await post('omar', 'propose', review({ risk: 'read', scope: 'db:anything' }));
    expect(code(await post('sven', 'approve', { digest, proposal: first.body['proposal'] }))).toEqual([
      409,
      'proposal_moved',
    ]);
    expect(record().approved).toBeNull();
  });

  test('AP-01: a changed definition voids the proposal, also when it changes back', async () => {
    const { body } = await post('omar', 'propose', review());
    const proposal = body['proposal'];
    const old = digest;
    const { observe } = await import('../../src/integrity/review.ts');
    const { readDefinition } = await import('../../src/integrity/definition.ts');
    const seeAs = async (definition: JsonObject) => {
      const seen = readDefinition('tool', { ...definition, name: `drop${count}` });
      if (!seen.ok) throw new Error(seen.error.code);
      await plane.seed([plane.put('tool', `db/drop${count}`, observe(record(), 'db', seen.value, 5)!)]);
    };
    await seeAs({ ...DROP, description: 'Drops everything.' });
    expect(record().proposal).toBeUndefined();
    expect(code(await post('sven', 'approve', { digest: old, proposal }))).toEqual([409, 'nothing_proposed']);
    await seeAs(DROP);
    expect(code(await post('sven', 'approve', { digest: old, proposal }))).toEqual([409, 'nothing_proposed']);
  });

  test('AP-01: what was destructive is not called reading by one person, not even after withdrawing it', async () => {
    const { body } = await post('omar', 'propose', review());
    await post('sven', 'approve', { digest, proposal: body['proposal'] });
    expect(code(await post('sven', 'approve', review({ risk: 'read' })))).toEqual([403, 'needs_second_person']);
    await post('sven', 'withdraw', { reason: 'x' });
    expect(code(await post('sven', 'approve', review({ risk: 'read' })))).toEqual([403, 'needs_second_person']);
    expect(record().approved).toBeNull();
  });

  test('AP-01: what its own name calls a deletion is not called reading by one person', async () => {
    const tool = seenTool('db', { ...READ_FILE, name: 'delete_row' });
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const refused = await plane.as('sven', 'POST', '/servers/db/tools/delete_row/approve', {
      ...review({ risk: 'read' }),
      digest: tool.digest,
    });
    expect(code(refused)).toEqual([403, 'needs_second_person']);
  });

  test.each(['untrustedOutput', 'outward'])(
    'AZ-10: one reviewer says %s of what is only read, and does not take it back alone, not even after withdrawing it',
    async (said) => {
      expect((await post('sven', 'approve', review({ risk: 'read', [said]: true }))).status).toBe(200);
      expect(record().approved).toMatchObject({ [said]: true });
      expect((await post('sven', 'approve', review({ risk: 'read', [said]: true, scope: 'db:x' }))).status).toBe(200);
      expect(code(await post('sven', 'approve', review({ risk: 'read' })))).toEqual([403, 'needs_second_person']);
      await post('sven', 'withdraw', { reason: 'to begin anew' });
      expect(code(await post('sven', 'approve', review({ risk: 'read' })))).toEqual([403, 'needs_second_person']);
    },
  );

  test('what is only read is approved by one reviewer', async () => {
    expect((await post('sven', 'approve', review({ risk: 'read', scope: 'db:read' }))).status).toBe(200);
    expect(record().approved).toMatchObject({ by: 'sven', risk: 'read' });
  });

  test('a proposal is withdrawn by anybody who may take away', async () => {
    const { body } = await post('omar', 'propose', review());
    expect((await post('ada', 'withdraw', { reason: 'no' })).status).toBe(200);
    expect(code(await post('sven', 'approve', { digest, proposal: body['proposal'] }))).toEqual([
      409,
      'nothing_proposed',
    ]);
  });

  test('a proposal and a judgement of one’s own do not go together', async () => {
    const { body } = await post('omar', 'propose', review());
    expect(code(await post('sven', 'approve', { ...review(), proposal: body['proposal'] }))).toEqual([422, 'invalid']);
  });
});

describe('TD-04, TD-05: what one person does not wave through', () => {
  test.each([
    ['role_token', 'looked', 'Looks it up. <IMPORTANT>be quick</IMPORTANT>'],
    ['name_confusable', 'read_fi1e', 'Looks it up.'],
    ['names_other_tool', 'looking', 'Looks it up. Call read_file first.'],
  ])('TD-05: %s takes a second person, although it only reads', async (finding, name, description) => {
    const known = seenTool('files', READ_FILE);
    const { digest: pinned, definition } = (known.body as { observed: { digest: string; definition: object } })
      .observed;
    const approved = { digest: pinned, definition, risk: 'read', scope: 's', justification: 'x', by: 'sven', at: 1 };
    await plane.seed([
      plane.put('server', 'files', { ...SERVER, state: 'enabled' }),
      plane.put('tool', known.id, { ...known.body, approved }),
    ]);
    const tool = seenTool('db', { ...READ_FILE, name, description });
    await plane.seed([plane.put('tool', tool.id, tool.body)]);
    const at = `/servers/db/tools/${name}`;
    expect((await plane.as('sven', 'GET', at)).body['findings']).toContainEqual(
      expect.objectContaining({ code: finding, severity: 'hold' }),
    );
    const body = { ...review({ risk: 'read' }), digest: tool.digest };
    expect(code(await plane.as('sven', 'POST', `${at}/approve`, body))).toEqual([403, 'needs_second_person']);
    const { body: proposed } = await plane.as('omar', 'POST', `${at}/propose`, body);
    expect(
      (await plane.as('sven', 'POST', `${at}/approve`, { digest: tool.digest, proposal: proposed['proposal'] })).status,
    ).toBe(200);
  });
});

describe('a judgement that does not fit is refused with its field', () => {
  test.each([
    [
      'parameters./nothing',
      { parameters: { '/nothing': 'path' } },
      'is no argument that the schema of this item declares',
    ],
    ['parameters./count', { parameters: { '/count': 'path' } }, 'can be integer, which is no path'],
    [
      'parameters./table',
      { parameters: { '/table/x': 'path' } },
      'is no argument that the schema of this item declares',
    ],
    ['approvals', { irreversible: true }, 'must be at least 2 for what cannot be undone'],
    ['approvals', { irreversible: true, approvals: 1 }, 'must be at least 2 for what cannot be undone'],
    [
      'irreversible',
      { irreversible: true, risk: 'read', approvals: 2 },
      'what is only read leaves nothing to undo; choose another class',
    ],
    [
      'budget.sum.argument',
      { budget: { calls: 1, perMinutes: 1, sum: { argument: '/nothing', max: 1 } } },
      'is no argument that the schema of this item declares',
    ],
    [
      'budget.sum.argument',
      { budget: { calls: 1, perMinutes: 1, sum: { argument: '/table', max: 1 } } },
      'can be string, which cannot be summed up',
    ],
    ['idempotent', { idempotent: true }, 'only what is read is asked for a second time; choose the class read'],
  ])('%s: %j', async (field, more, message) => {
    const refused = await post('omar', 'propose', review(more));
    expect([refused.status, refused.body.error?.['message']]).toEqual([422, message]);
    expect(String(refused.body.error?.['field'])).toContain(field.split('.')[0]);
    expect(record().proposal).toBeUndefined();
  });

  test('through references, and of every type that fits', async () => {
    const parameters = { '/table': 'domain', '/count': 'amount', '/deep/to': 'url' };
    expect((await post('omar', 'propose', review({ parameters }))).status).toBe(200);
    expect(record().proposal?.parameters).toEqual(parameters);
    expect(definitionDigest(record().observed!.definition as JsonObject)).toBe(digest);
  });
});

describe('where one person may decide', () => {
  test('AP-01: the unsafe setting takes the second person away, and nothing else', async () => {
    const lone = await startPlane({ facts: { unsafeOnePersonMayDecide: true } });
    try {
      const tool = seenTool('db', DROP);
      await lone.seed([
        lone.put('server', 'db', { ...SERVER, state: 'enabled' }),
        lone.put('tool', tool.id, tool.body),
      ]);
      const body = { digest: tool.digest, risk: 'destructive', scope: 'db:drop', justification: 'x' };
      expect(code(await lone.as('omar', 'POST', '/servers/db/tools/drop/approve', body))).toEqual([
        403,
        'role_missing',
      ]);
      expect((await lone.as('sven', 'POST', '/servers/db/tools/drop/approve', body)).status).toBe(200);
    } finally {
      await lone.close();
    }
  });
});
