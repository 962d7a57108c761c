/** Whoever a directory takes away has no right any more when it gets its answer; and nobody comes back with an old token. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { requestApproval } from '../../../src/approvals/machine.ts';
import { voidIndex } from '../../../src/directory/voids.ts';
import { principalOf } from '../../../src/gateway/principal.ts';
import type { Caller } from '../../../src/identity/caller.ts';
import { callerLike } from '../../support/caller.ts';
import { SERVER, startPlane, type Plane } from '../plane.ts';
import { connect, GROUP, newGroup, newUser, patch, USER, type Idp } from './support.ts';

let plane: Plane;
let idp: Idp;
beforeAll(async () => {
  plane = await startPlane();
  idp = await connect(plane, 'entra');
});
afterAll(() => plane.close());

/** A token of a provisioned person, issued ten seconds ago, as the gateway would have verified it. */
const tokenOf = (externalId: string, issuedAt = Math.floor(Date.now() / 1_000) - 10): Caller =>
  callerLike({ issuer: plane.issuer.issuer, subject: `entra|${externalId}`, clientId: 'agent-7', issuedAt });
/** Why the token brings nobody; `let in` when it does. A new caller each time: nothing is remembered. */
function judged(caller: Caller, view = plane.snapshot()): string {
  const found = principalOf(view, { ...caller }, Date.now());
  return found.ok ? 'let in' : found.error.reason;
}

/** An administrator gives a group its roles; the connection cannot. */
async function giveRoles(group: string): Promise<void> {
  const { provisioned, name } = plane.snapshot().groups.get(group)!;
  await plane.seed([plane.put('group', group, { name, roles: ['developer'], provisioned })]);
}

let count = 0;
let name: string;
let user: string;
let group: string;
beforeEach(async () => {
  name = `u${++count}`;
  user = await newUser(idp, name);
  group = await newGroup(idp, `G${count}`, [user]);
  await giveRoles(group);
  expect(judged(tokenOf(name))).toBe('let in');
});

describe('ID-04: a person who is taken away', () => {
  test.each<[string, string, unknown]>([
    ['PATCH active false', 'PATCH', patch({ op: 'replace', path: 'active', value: false })],
    ['PATCH active "False"', 'PATCH', patch({ op: 'Replace', path: 'active', value: 'False' })],
    ['PATCH without a path', 'PATCH', patch({ op: 'replace', value: { active: false } })],
    ['PUT', 'PUT', 'put'],
    ['DELETE', 'DELETE', undefined],
  ])('by %s is refused from the answer on, and their old tokens stay void', async (_, method, sent) => {
    const body = sent === 'put' ? { schemas: [USER], userName: `${name}@example.com`, active: false } : sent;
    const reply = await idp(method, `/Users/${user}`, body);
    expect([reply.status, reply.text]).toEqual([method === 'DELETE' ? 204 : 200, reply.text]);
    expect(judged(tokenOf(name))).toBe('token_void');
    expect(judged(tokenOf(name, Math.floor(Date.now() / 1_000) + 60))).toBe(
      method === 'DELETE' ? 'person_unknown' : 'person_inactive',
    );

    // Back again: active, or made anew under the same identity. The old token must not come back with them.
    if (method === 'DELETE') {
      user = await newUser(idp, name);
      await idp('PATCH', `/Groups/${group}`, patch({ op: 'add', path: 'members', value: [{ value: user }] }));
    } else await idp('PATCH', `/Users/${user}`, patch({ op: 'replace', path: 'active', value: true }));
    expect(judged(tokenOf(name))).toBe('token_void');
    expect(judged(tokenOf(name, Math.floor(Date.now() / 1_000) + 60))).toBe('let in');
    // The twin: without the voids the old token lands.
    expect(judged(tokenOf(name), { ...plane.snapshot(), voids: voidIndex([]) })).toBe('let in');
  });

  test('takes the calls along that wait for a yes', async () => {
    const approval = requestApproval(
      {
        org: 'default',
        person: user,
        agent: 'agent-7',
        server: 'files',
        tool: 'read_file',
        definition: `sha256:${'0'.repeat(64)}`,
        arguments: {},
        terms: {},
      },
      Date.now(),
      60_000,
    );
    await plane.seed([plane.put('approval', `apr_${name}`, approval)]);
    const pending = () => [...plane.snapshot().approvals.values()].flat().filter(({ person }) => person === user);
    expect(pending()).toHaveLength(1);
    await idp('PATCH', `/Users/${user}`, patch({ op: 'replace', path: 'active', value: false }));
    expect(pending()).toEqual([]);
  });

  test('NH-05: is named with the servers that nobody answers for any more', async () => {
    await plane.seed([plane.put('server', `srv${count}`, { ...SERVER, owner: user, state: 'enabled' })]);
    await idp('PATCH', `/Users/${user}`, patch({ op: 'replace', path: 'active', value: false }));
    const entry = (await plane.entries('admin')).at(-1);
    expect(entry?.event).toMatchObject({
      what: 'scim.user.changed',
      source: 'scim:entra',
      subject: `person/${user}`,
      deactivated: [user],
      serversWithoutOwner: [`srv${count}`],
      revision: plane.snapshot().revision,
    });
  });
});

describe('ID-08: a person who is taken out of a group', () => {
  test.each<[string, string, () => [string, unknown]]>([
    [
      'a path with a filter',
      'PATCH',
      () => [`/Groups/${group}`, patch({ op: 'remove', path: `members[value eq "${user}"]` })],
    ],
    [
      'a value',
      'PATCH',
      () => [`/Groups/${group}`, patch({ op: 'Remove', path: 'members', value: [{ value: user }] })],
    ],
    [
      'replacing the members',
      'PATCH',
      () => [`/Groups/${group}`, patch({ op: 'replace', path: 'members', value: [] })],
    ],
    ['removing all members', 'PATCH', () => [`/Groups/${group}`, patch({ op: 'remove', path: 'members' })]],
    [
      'PUT of the group',
      'PUT',
      () => [`/Groups/${group}`, { schemas: [GROUP], displayName: `G${count}`, members: [] }],
    ],
    ['PUT that names no members', 'PUT', () => [`/Groups/${group}`, { schemas: [GROUP], displayName: `G${count}` }]],
    ['DELETE of the group', 'DELETE', () => [`/Groups/${group}`, undefined]],
  ])('by %s loses its roles with the answer, with the same token', async (_, method, request) => {
    const before = plane.snapshot();
    const [path, body] = request();
    const reply = await idp(method, path, body);
    expect([200, 204]).toContain(reply.status);
    expect(judged(tokenOf(name))).toBe('person_without_role');
    expect(plane.snapshot().people.byId(user)?.groups).toBeUndefined();
    // The twin: by the picture of before, the same token is let in.
    expect(judged(tokenOf(name), before)).toBe('let in');
  });

  test('a group gives nothing that an administrator did not give it', async () => {
    const other = await newGroup(idp, `H${count}`, [user]);
    await idp('DELETE', `/Groups/${group}`);
    const put = await idp('PUT', `/Groups/${other}`, {
      schemas: [GROUP],
      displayName: 'H',
      roles: ['administrator'],
      members: [{ value: user, roles: ['administrator'] }],
    });
    expect(put.status).toBe(200);
    expect(plane.snapshot().groups.get(other)?.roles).toEqual([]);
    await idp('PATCH', `/Users/${user}`, patch({ op: 'add', path: 'roles', value: [{ value: 'administrator' }] }));
    expect(plane.snapshot().people.byId(user)?.roles).toEqual([]);
    expect(judged(tokenOf(name))).toBe('person_without_role');
  });

  test('what an administrator gave the group or the person stays when the directory writes them', async () => {
    const person = plane.snapshot().people.byId(user)!;
    const { id: _, ...record } = person;
    await plane.seed([
      plane.put('person', user, { ...record, roles: ['approver'] }, `${person.issuer} ${person.subject}`),
    ]);
    await idp('PUT', `/Users/${user}`, { schemas: [USER], userName: 'renamed' });
    await idp('PATCH', `/Groups/${group}`, patch({ op: 'replace', path: 'displayName', value: 'renamed' }));
    expect(plane.snapshot().people.byId(user)).toMatchObject({ roles: ['approver'], groups: [group], state: 'active' });
    expect(plane.snapshot().groups.get(group)).toMatchObject({ roles: ['developer'], name: 'renamed' });
  });
});

describe('an identity', () => {
  test('that passes from one person to another takes no tokens along', async () => {
    const byName = await connect(plane, `byname${count}`, {
      identities: [{ issuer: plane.issuer.issuer, subject: `n${count}|{userName}` }],
    });
    const token = callerLike({
      issuer: plane.issuer.issuer,
      subject: `n${count}|ann@example.com`,
      clientId: 'agent-7',
      issuedAt: Math.floor(Date.now() / 1_000) - 10,
    });
    const ann = await newUser(byName, 'ann');
    await byName('PATCH', `/Users/${ann}`, patch({ op: 'replace', path: 'userName', value: 'ann.lee@example.com' }));
    expect(judged(token)).toBe('token_void');
    expect(judged({ ...token, issuedAt: token.issuedAt + 60 })).toBe('person_unknown');
    const second = await newUser(byName, 'ann', { externalId: 'second' });
    expect(plane.snapshot().people.byIdentity(plane.issuer.issuer, token.subject)?.id).toBe(second);
    expect(judged(token)).toBe('token_void');
  });
});
