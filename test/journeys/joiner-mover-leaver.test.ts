/**
 * Somebody joins, moves and leaves, told by the directory and by events, while they work (issue 4). Identity provider, authorization server
 * and gateway are processes; the client that signs in is the official SDK. The oracle is what the server behind the gateway received and when.
 * Two nodes: leaver-two-nodes.test.ts.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import { sha256Hex } from '../../src/lib/bytes.ts';
import { CAEP, RISC } from '../admin/events/transmitter.ts';
import { DIALECTS, USER, startCompany, work } from '../support/company.ts';
import type { Company, Dialect, Person, SignedIn } from '../support/company.ts';
import { startRig, tableWith } from '../support/rig.ts';
import { until } from '../support/upstreams/open.ts';
import type { Reply } from './node.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let at: Company;
/** When the server received each call, and whose, on the clock of this process. */
const arrived: Array<{ readonly who: string; readonly text: string; readonly time: number }> = [];
const groups: Record<string, string> = {};
beforeAll(async () => {
  at = await startCompany();
  at.sink.onCall(async ({ arguments: { id, text }, gone }) => {
    arrived.push({ who: String(id), text: String(text), time: performance.now() });
    if (text === 'slow') await gone;
    return { content: [{ type: 'text', text: text === 'slow' ? 'LATE RESULT' : 'done' }] };
  });
  groups['readers'] = await at.group('entra', 'Readers', ['security_reviewer']);
  groups['engineers'] = await at.group('entra', 'Engineers', ['developer']);
  groups['operators'] = await at.group('entra', 'Operators', ['operator']);
  groups['on call'] = await at.group('okta', 'On call', ['operator']);
});
afterAll(() => at?.stop());

const passed = ({ body }: Reply): boolean => body.result !== undefined && body.result['isError'] !== true;
const callsOf = ({ name }: Person) => arrived.filter(({ who }) => who === name);

test('ID-08, ID-04: provisioned into groups, signed in by the SDK, listed, called, moved: the same token follows the directory with the next call', async () => {
  const mia = await at.joins('entra', 'mia', groups['readers']!, groups['engineers']!);
  const session = await at.signIn(mia);
  const client = await session.connect();
  // The client keeps a list for as long as the gateway says it may; what is asked here is what the gateway lists.
  const list = async (): Promise<string[]> =>
    (await client.listTools(undefined, { cacheMode: 'refresh' })).tools.map(({ name }) => name).sort();
  const move = (group: string, change: 'join' | 'leave') =>
    at.scim('entra', 'PATCH', `/Groups/${groups[group]}`, DIALECTS.entra[change](mia.id));

  expect(await list()).toEqual(['get', 'put', 'wrong']);
  const done = await client.callTool({ name: 'put', arguments: { id: 'mia', text: 'first' } });
  expect(done.content).toEqual([{ type: 'text', text: 'done' }]);
  const { entries } = (await at.admin('aiko', 'GET', `/audit/entries?kind=intent&person=${mia.id}`)) as {
    entries?: ReadonlyArray<{ entry: { actor: object; call: object } }>;
  };
  expect(entries?.map(({ entry }) => entry)).toMatchObject([
    {
      actor: { issuer: at.login, subject: 'corp|mia', person: mia.id, client: 'mcp-client', chain: [] },
      call: { server: 'sink', tool: 'put' },
    },
  ]);

  const left = await move('engineers', 'leave');
  expect([200, 204]).toContain(left.status);
  const refused = await session.call('put', 'after the move');
  expect([passed(refused), refused.text]).toEqual([false, expect.stringContaining('Unknown tool.')]);
  expect(await list()).toEqual(['get', 'wrong']);
  expect(passed(await session.call('get', 'still reads'))).toBe(true);

  await move('operators', 'join');
  expect(passed(await session.call('put', 'as an operator'))).toBe(true);
  expect(await list()).toEqual(['drop', 'get', 'put', 'wrong']);
  expect((await session.call('drop', 'x')).text).toContain('approval');
  expect(callsOf(mia).map(({ text }) => text)).toEqual(['first', 'still reads', 'as an operator']);
  await client.close();
});

type Leaving = (person: Person) => Promise<number>;
const scim =
  (dialect: Dialect, method: string, body?: object): Leaving =>
  async ({ id }) =>
    (await at.scim(dialect, method, `/Users/${id}`, body)).status;

/** What takes somebody away, the answer to it, and what brings them back (null: they were never gone, only their tokens). */
const WAYS: ReadonlyArray<[string, Dialect, Leaving, number, Leaving | null]> = [
  [
    'Entra says "False"',
    'entra',
    scim('entra', 'PATCH', DIALECTS.entra.inactive),
    200,
    scim('entra', 'PATCH', DIALECTS.entra.active),
  ],
  [
    'Okta says false',
    'okta',
    scim('okta', 'PATCH', DIALECTS.okta.inactive),
    200,
    scim('okta', 'PATCH', DIALECTS.okta.active),
  ],
  [
    'the directory deletes them',
    'entra',
    scim('entra', 'DELETE'),
    204,
    async ({ name }) => (await at.joins('entra', name, groups['operators']!), 201),
  ],
  ['CAEP session-revoked is pushed', 'okta', (person) => at.tell(`${CAEP}session-revoked`, person), 202, null],
  [
    'RISC account-disabled is pushed',
    'entra',
    (person) => at.tell(`${RISC}account-disabled`, person),
    202,
    (person) => at.tell(`${RISC}account-enabled`, person),
  ],
];

test.each(WAYS.map((way, i) => [...way, i] as const))(
  'ID-04, AN-08, R1, R4, R5: under load, %s: nothing is received after the answer, and nothing is left',
  async (_, dialect, leave, status, comeBack, i) => {
    const person = await at.joins(dialect, `leaver${i}`, groups[dialect === 'entra' ? 'operators' : 'on call']!);
    const session = await at.signIn(person);
    expect([await session.refresh(), await session.hasSession()]).toEqual(['ok', true]);
    expect((await session.call('drop', 'held')).text).toContain('approval');
    const held = async () => {
      const { approvals } = await at.admin('aiko', 'GET', '/approvals');
      return (approvals as Array<{ person: string; state: string }>).filter((one) => one.person === person.id);
    };
    expect(await held()).toMatchObject([{ state: 'pending' }]);
    const slow = session.call('put', 'slow');
    await until('the slow call runs', () => callsOf(person).some(({ text }) => text === 'slow'));
    const load = work(() => session.call('put', 'load'));
    await until('the load runs', () => callsOf(person).length > 30, 60_000);

    expect(await leave(person)).toBe(status);
    // What the gateway sent before it answered may lie unread in the sockets of this process: two turns accept and read it.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
    const acknowledged = performance.now();
    const told = await slow;
    expect(told.text).toContain('Access was withdrawn while the call ran');
    expect(told.text).not.toContain('LATE RESULT');
    // Eight hands that learned of it have certainly asked again since.
    expect(passed(await session.call('put', 'after'))).toBe(false);
    expect(await load.stop()).toBeGreaterThan(30);
    expect(callsOf(person).filter(({ time }) => time > acknowledged)).toEqual([]);
    expect((await held()).filter(({ state }) => state === 'pending')).toEqual([]);

    await until('the refresh token is dead', async () => (await session.refresh()) === 'invalid_grant', 5_000);
    await until('the browser is signed out', async () => !(await session.hasSession()), 5_000);
    if (comeBack !== null) {
      // Whoever is inactive is barred at the door. Whoever is deleted may still have an account there, and is nobody here.
      const tried = await at.signIn(person).catch(() => null);
      expect(tried === null).toBe(status !== 204);
      if (tried !== null) expect(passed(await tried.call('put', 'nobody'))).toBe(false);
      expect(await comeBack(person)).toBeLessThan(300);
    }
    const old = await session.call('put', 'with the old token');
    expect([old.status, old.text]).toEqual([401, expect.stringContaining('was revoked. Sign in again.')]);
    // `iat` has whole seconds, and the second of the departure counts as before it; the authorization server hears of the return by event.
    await until(
      'a new sign-in works',
      async () => {
        const again = await at.signIn(person).catch(() => null);
        return again !== null && passed(await again.call('put', 'back'));
      },
      60_000,
    );
    expect(
      callsOf(person)
        .filter(({ time }) => time > acknowledged)
        .map(({ text }) => text),
    ).toEqual(['back']);
  },
);

test('ID-04, ID-08: who was made inactive, then deleted, and is hired again under the same account can sign in', async () => {
  const before = await at.joins('entra', 'again', groups['operators']!);
  const session = await at.signIn(before);
  expect((await at.scim('entra', 'PATCH', `/Users/${before.id}`, DIALECTS.entra.inactive)).status).toBe(200);
  await until('the refresh token is dead', async () => (await session.refresh()) === 'invalid_grant', 5_000);
  await expect(at.signIn(before)).rejects.toThrow(/no code for again/);
  expect((await at.scim('entra', 'DELETE', `/Users/${before.id}`)).status).toBe(204);
  const after = await at.joins('entra', 'again', groups['operators']!);
  await until(
    'a new sign-in works',
    async () => {
      const again = await at.signIn(after).catch(() => null);
      if (again !== null && passed(await again.call('put', 'back'))) return true;
      // Tokens say their time in whole seconds: one of the second of the revocation counts as older than it.
      await new Promise((resolve) => setTimeout(resolve, 300));
      return false;
    },
    60_000,
  );
  expect((await session.call('put', 'with the old token')).status).toBe(401);
});

test('NH-05, ID-04: a suspended agent stops for everybody at once; one that acts alone stops when its owner leaves', async () => {
  const agentOf = async (client: string) =>
    (
      (await at.admin('sven', 'GET', `/agents?search=${client}`))['agents'] as Array<{ id: string; issuer: string }>
    ).find(({ issuer }) => issuer === at.login)!.id;
  const people = await Promise.all(['nora', 'nils'].map((name) => at.joins('okta', name, groups['on call']!)));
  const sessions: SignedIn[] = [];
  for (const person of people) sessions.push(await at.signIn(person));
  const outcomes = () => Promise.all(sessions.map(async (session) => passed(await session.call('put', 'x'))));
  expect(await outcomes()).toEqual([true, true]);
  const agent = await agentOf('mcp-client');
  await at.admin('omar', 'POST', `/agents/${agent}/suspend`, { reason: 'a drill' });
  expect(await outcomes()).toEqual([false, false]);

  const olga = await at.joins('entra', 'olga', groups['engineers']!);
  const token = await at.robot();
  const robot = (text: string) => at.node.call('put', { id: 'robot', text }, { token });
  const first = await robot('unreviewed');
  expect([passed(first), first.text]).toEqual([
    false,
    expect.stringContaining('This client may not be used here yet.'),
  ]);
  const path = `/agents/${await agentOf('robot')}`;
  const said = {
    title: 'Robot',
    kind: 'autonomous',
    owner: olga.id,
    purpose: 'tidies up',
    environment: 'development',
    riskTier: 'low',
    revocation: 'remove its client from the authorization server',
    reviewBy: 4_102_444_800_000,
    roles: ['developer'],
    ceiling: {},
  };
  const seen = async () => ({ 'if-match': `"${(await at.admin('sven', 'GET', path))['revision'] as number}"` });
  await at.admin('ada', 'PUT', path, { reason: 'asked for', agent: said }, await seen());
  await at.admin('sven', 'POST', `${path}/activate`, { reason: 'reviewed' }, await seen());
  expect(passed(await robot('reviewed'))).toBe(true);
  expect((await at.scim('entra', 'PATCH', `/Users/${olga.id}`, DIALECTS.entra.inactive)).status).toBe(200);
  expect(passed(await robot('orphaned'))).toBe(false);
  expect(arrived.filter(({ who }) => who === 'robot').map(({ text }) => text)).toEqual(['reviewed']);
});

test('ID-04, R6: the status says how long each source of identity has been silent', async () => {
  const { sources, alarms } = await at.admin('aiko', 'GET', '/status');
  const heard = { contactAt: expect.any(Number), ageMs: expect.any(Number), silent: false };
  expect(sources).toEqual(
    expect.arrayContaining(['entra', 'okta', 'idp'].map((id) => expect.objectContaining({ id, ...heard }))),
  );
  expect(alarms).toEqual([]);
});

test('ID-04, twin: a gateway whose guard does not ask for standing goes on after the directory has its answer', async () => {
  const TOKEN = 'remit_scim_of_the_twin_0123456789abcdef';
  const rig = await startRig({
    admin: true,
    limits: { callsPerMinutePerPerson: 1_000_000 },
    table: tableWith({
      'caller-stands': ({ snapshot, facts: { caller } }) =>
        learn({
          person: {
            ...snapshot.people.byIdentity(caller!.issuer, caller!.subject)!,
            state: 'active',
            roles: ['operator'],
          },
          ceiling: null,
          owner: null,
        }),
    }),
  });
  let load: ReturnType<typeof work> | null = null;
  try {
    const expiresAt = Date.now() + 3_600_000;
    const tokens = [{ id: 'tok_1', sha256: sha256Hex(TOKEN), createdAt: 0, expiresAt, by: 'ada' }];
    const identities = [{ issuer: rig.issuer.issuer, subject: '{externalId}@corp' }];
    const body = { title: 'Entra', state: 'active', identities, tokens, silenceAfterMs: null, whenSilent: 'alarm' };
    await rig.commit([{ kind: 'scim_connection', org: 'default', id: 'entra', body }]);
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/scim+json' };
    const scimOf = (method: string, path: string, sent: object) =>
      rig.send(method, `/scim/v2${path}`, headers, JSON.stringify(sent), rig.adminUrl!);
    const user = { schemas: [USER], userName: 'mover', externalId: 'mover' };
    const { id } = (await scimOf('POST', '/Users', { ...user, active: true })).body as { id?: string };
    const times: number[] = [];
    rig.sink().onCall(() => (times.push(performance.now()), { content: [{ type: 'text', text: 'done' }] }));
    const token = rig.token('mover');
    load = work(() => rig.call('notes', 'write_note', { text: 'x' }, { token }));
    await rig.until('the load runs', () => times.length > 20, 60_000);
    expect((await scimOf('PATCH', `/Users/${id}`, DIALECTS.entra.inactive)).status).toBe(200);
    const acknowledged = performance.now();
    await rig.until('calls go on', () => times.some((time) => time > acknowledged));
  } finally {
    await load?.stop();
    await rig.stop();
  }
});
