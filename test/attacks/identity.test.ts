/** ID-01, ID-03, ID-06, ID-08 on the wire: the oracle is what the server behind the gateway received. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, ORG, startRig, tableWith } from '../support/rig.ts';

type Rig = Awaited<ReturnType<typeof startRig>>;
const ARGS = { text: 'x' };

const put = (rig: Rig, kind: string, id: string, body: JsonObject | null, key?: string) =>
  rig.commit([{ kind, org: ORG, id, body, ...(key !== undefined && { key }) }]);
const agentRecord = (rig: Rig, clientId: string, more: JsonObject = {}): Promise<unknown> => {
  const issuer = rig.issuer.issuer;
  const body = {
    issuer,
    clientId,
    title: clientId,
    kind: 'delegate',
    state: 'active',
    roles: [],
    ceiling: {},
    ...more,
  };
  return put(rig, 'agent', `id-${clientId}`, body, `${issuer} ${clientId}`);
};
/** What somebody is told who is turned away: with the call, or already when their session is opened. */
const told = (answer: Promise<{ readonly text: string }>): Promise<string> =>
  answer.then(
    ({ text }) => text,
    (error: unknown) => String(error),
  );
const sent = (rig: Rig): number => rig.sink().calls().length;

describe('on the wire', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    await put(rig, 'group', 'ops', { name: 'Operations', roles: ['operator'] });
  });
  afterAll(() => rig.stop());

  describe.each(ERAS)('%s', (era) => {
    test('ID-03: a person without a role is shown nothing and calls nothing; a role from a group changes that at once', async () => {
      await rig.setPerson('nobody', []);
      const before = sent(rig);
      expect(await told(rig.call('notes', 'read_note', ARGS, { as: 'nobody', era }))).toContain('has no access here.');
      expect(await told(rig.ask('notes', 'tools/list', {}, { as: 'nobody', era }))).toContain('has no access here.');
      expect(sent(rig)).toBe(before);
      await rig.setPerson('nobody', [], { groups: ['ops'] });
      expect(await rig.names('notes', { as: 'nobody', era })).toContain('read_note');
      await rig.call('notes', 'read_note', ARGS, { as: 'nobody', era });
      expect(sent(rig)).toBe(before + 1);
      await rig.setPerson('nobody', []);
    });

    test('ID-08: out of the group, the same token loses the tool with the next call', async () => {
      await rig.setPerson('mona', ['auditor'], { groups: ['ops'] });
      const how = { as: 'mona', era, token: rig.token('mona') };
      const start = sent(rig);
      await rig.call('notes', 'write_note', ARGS, how);
      expect(sent(rig)).toBe(start + 1);
      // The role of their own stays: it is the group alone that goes.
      await rig.setPerson('mona', ['auditor'], { groups: [] });
      expect((await rig.call('notes', 'write_note', ARGS, how)).text).toContain('Unknown tool.');
      expect(await rig.names('notes', how)).not.toContain('write_note');
      expect(sent(rig)).toBe(start + 1);
    });

    test('ID-06: an operator through an agent that may only read does not write, and is not shown that writing exists', async () => {
      await agentRecord(rig, 'reader', { ceiling: { risks: ['read'] } });
      const how = { as: 'omar', client: 'reader', era };
      const before = sent(rig);
      expect(await rig.names('notes', how)).toEqual(['read_note']);
      const hidden = await rig.call('notes', 'write_note', ARGS, how);
      const absent = await rig.call('notes', 'no_such_tool', ARGS, how);
      const plain = (text: string, reference: string | undefined): string => text.replaceAll(reference ?? '', 'REF');
      expect(plain(hidden.text, hidden.reference)).toBe(plain(absent.text, absent.reference));
      expect(sent(rig)).toBe(before);
      await rig.call('notes', 'read_note', ARGS, how);
      expect(sent(rig)).toBe(before + 1);
    });

    test('ID-06: each actor of a delegation bounds it, and the record holds the whole chain', async () => {
      await agentRecord(rig, 'outer');
      await agentRecord(rig, 'inner', { ceiling: { risks: ['read'] } });
      const token = rig.token('omar', { client: 'outer', claims: { act: { sub: 'outer', act: { sub: 'inner' } } } });
      const before = sent(rig);
      await rig.call('notes', 'write_note', ARGS, { token, era });
      expect(sent(rig)).toBe(before);
      const read = await rig.call('notes', 'read_note', ARGS, { token, era });
      expect(read.result).toBeDefined();
      const [entry] = (await rig.entries('call')).slice(-1);
      expect(entry?.actor).toMatchObject({ person: 'omar', client: 'outer', chain: ['outer', 'inner'] });
    });
  });

  test('ID-06: an agent alone waits for a reviewer, acts by roles of its own, and stops with its owner', async () => {
    const token = rig.token('', { claims: { sub: 'night-job', client_id: 'night-job' } });
    const before = sent(rig);
    expect((await rig.call('notes', 'read_note', ARGS, { token })).text).toContain('may not be used here yet');
    const key = `${rig.issuer.issuer} night-job`;
    const waiting = rig.gateway.snapshot().agents.get(key);
    expect(waiting).toMatchObject({ state: 'pending', kind: 'autonomous', roles: [] });
    const { id, ...record } = waiting!;
    await put(rig, 'agent', id, { ...record, state: 'active', owner: 'omar', roles: ['developer'] }, key);
    await rig.call('notes', 'read_note', ARGS, { token });
    expect(sent(rig)).toBe(before + 1);
    const [entry] = (await rig.entries('call')).slice(-1);
    expect(entry?.actor).toMatchObject({
      person: `agent/${id}`,
      owner: 'omar',
      client: 'night-job',
      subject: 'night-job',
    });
    await rig.setPerson('omar', ['operator', 'approver'], { state: 'inactive' });
    expect((await rig.call('notes', 'read_note', ARGS, { token })).text).toContain('may not be used here yet');
    expect(sent(rig)).toBe(before + 1);
    await rig.setPerson('omar', ['operator']);
  });

  test('an organisation that has new agents reviewed lists a stranger and lets nothing through until then', async () => {
    const { issuers } = rig.gateway.snapshot().organisation!;
    await put(rig, 'organisation', ORG, { title: 'Test', issuers: [...issuers], newAgents: 'pending' });
    const before = sent(rig);
    const how = { as: 'dana', client: 'new-tool' };
    // Many first calls at once make one record.
    const answers = await Promise.all(Array.from({ length: 8 }, () => rig.call('notes', 'read_note', ARGS, how)));
    for (const { text } of answers) expect(text).toContain('may not be used here yet');
    expect(sent(rig)).toBe(before);
    const agents = [...rig.gateway.snapshot().agents.values()].filter((one) => one?.clientId === 'new-tool');
    expect(agents).toMatchObject([{ state: 'pending', kind: 'delegate' }]);
    await put(rig, 'organisation', ORG, { title: 'Test', issuers: [...issuers], newAgents: 'refuse' });
    expect((await rig.call('notes', 'read_note', ARGS, { as: 'dana', client: 'other-tool' })).text).toContain(
      'may not be used',
    );
    expect([...rig.gateway.snapshot().agents.values()].some((one) => one?.clientId === 'other-tool')).toBe(false);
    await put(rig, 'organisation', ORG, { title: 'Test', issuers: [...issuers], newAgents: 'active' });
  });

  test('ID-01: nothing that a client can write says which organisation it is of', async () => {
    await rig.commit([
      { kind: 'organisation', org: 'rival', id: 'rival', body: { title: 'Rival', issuers: [rig.issuer.issuer] } },
      {
        kind: 'person',
        org: 'rival',
        id: 'rita',
        body: {
          issuer: rig.issuer.issuer,
          subject: 'rita@corp',
          name: 'Rita',
          email: 'dana@corp.example',
          state: 'active',
          roles: ['operator'],
        },
      },
    ]);
    const before = sent(rig);
    const spoofs: Readonly<Record<string, string>>[] = [
      { 'x-org': ORG },
      { 'x-tenant': ORG, 'x-organization-id': ORG },
      { forwarded: `host=${ORG}` },
    ];
    for (const headers of spoofs) {
      const answer = await rig.call('notes', 'read_note', ARGS, {
        as: 'rita',
        headers,
        meta: { org: ORG, tenant: ORG },
      });
      expect(answer.text).toContain('Your account has no access here.');
    }
    const claims = { org: ORG, tenant: ORG, email: 'dana@corp.example' };
    expect((await rig.call('notes', 'read_note', ARGS, { token: rig.token('rita', { claims }) })).text).toContain(
      'no access',
    );
    expect(sent(rig)).toBe(before);
  });

  test('ID-07: an emergency account calls no tool, and the try is on record', async () => {
    await rig.setPerson('glass', ['administrator', 'operator'], { breakGlass: true });
    const before = sent(rig);
    const answer = await rig.call('notes', 'read_note', ARGS, { as: 'glass' });
    expect(answer.text).toContain('This account is for emergencies and administers only.');
    expect(sent(rig)).toBe(before);
    expect((await rig.about(answer.reference)).map(({ decision }) => decision?.reason)).toEqual(['break_glass']);
  });

  test('a mapping that creates people makes a record first, without a role, and roles come from its rules', async () => {
    await put(rig, 'mapping', 'default', { issuer: rig.issuer.issuer, newcomers: 'create', rules: [] });
    const answer = await rig.call('notes', 'read_note', ARGS, { as: 'newbie' });
    expect(answer.text).toContain('Your account has no access here.');
    expect(rig.gateway.snapshot().people.byIdentity(rig.issuer.issuer, 'newbie@corp')).toMatchObject({
      state: 'active',
      roles: [],
    });
    // ID-08: where a directory provisions, a token makes nobody: whom the directory deleted would be back.
    const identities = [{ issuer: rig.issuer.issuer, subject: '{externalId}' }];
    const connection = {
      title: 'Corp',
      state: 'active',
      identities,
      tokens: [],
      silenceAfterMs: null,
      whenSilent: 'alarm',
    };
    await put(rig, 'scim_connection', 'corp', connection);
    await rig.call('notes', 'read_note', ARGS, { as: 'deleted' });
    expect(rig.gateway.snapshot().people.byIdentity(rig.issuer.issuer, 'deleted@corp')).toBeUndefined();
    await put(rig, 'scim_connection', 'corp', null);
    await put(rig, 'mapping', 'default', null);
  });
});

describe('twins', () => {
  test('ID-06 twin: a gateway that does not ask for the ceiling lets the agent write', async () => {
    const open = await startRig({
      table: tableWith({
        'caller-stands': ({ snapshot, facts: { caller } }) =>
          learn({ person: snapshot.people.byIdentity(caller!.issuer, caller!.subject)!, ceiling: null, owner: null }),
      }),
    });
    try {
      await agentRecord(open, 'reader', { ceiling: { risks: ['read'] } });
      await open.call('notes', 'write_note', ARGS, { as: 'omar', client: 'reader' });
      expect(sent(open)).toBe(1);
      // ID-03: without a role the policies would still say no; the guard is the first of two.
      await open.policy('all', 'permit (principal, action, resource);');
      await open.call('notes', 'read_note', ARGS, { as: 'nobody' });
      expect(sent(open)).toBe(1);
    } finally {
      await open.stop();
    }
  });
});
