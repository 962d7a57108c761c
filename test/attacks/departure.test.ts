/**
 * ID-04, R1, R2, R4, R5: somebody is made inactive while they work. Once the admin API has answered, no call of theirs reaches a server, what is
 * under way is cut off, what waits for a yes is void, and coming back revives nothing. The oracle is what the server received and when.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import { startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ admin: true, limits: { callsPerMinutePerPerson: 1_000_000 } });
});
afterAll(() => rig.stop());

async function setState(person: string, state: 'active' | 'inactive', on: Rig = rig): Promise<number> {
  const { body, status, text } = await on.admin('ada', 'GET', `/people/${person}`);
  expect(status, text).toBe(200);
  const { id: _id, revision, rolesFrom: _from, ...record } = body as Record<string, unknown>;
  const answer = await on.admin(
    'ada',
    'PUT',
    `/people/${person}`,
    { reason: 'leaves', person: { ...record, state } as never },
    { 'if-match': `"${String(revision)}"` },
  );
  expect(answer.status, answer.text).toBe(200);
  return performance.now();
}
const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;

/** Calls without a pause, on several connections at once, until told to stop. */
function work(on: Rig, token: string, hands = 8): { stop(): Promise<number> } {
  const shift = { over: false };
  let made = 0;
  const hand = async (): Promise<void> => {
    while (!shift.over) {
      await on.call('notes', 'write_note', { text: `n${made++}` }, { token });
    }
  };
  const all = Promise.all(Array.from({ length: hands }, hand));
  return {
    async stop() {
      shift.over = true;
      await all;
      return made;
    },
  };
}

/** When the server received each call, on the clock of this process. */
function arrivals(on: Rig): number[] {
  const times: number[] = [];
  on.sink().onCall(({ arguments: args }) => {
    times.push(performance.now());
    return { content: [{ type: 'text', text: JSON.stringify(args) }] };
  });
  return times;
}

test('ID-04, R1, R2: under load, the last call the server sees came before the acknowledgement; zero after it', async () => {
  for (let round = 0; round < 3; round++) {
    const id = `mover${round}`;
    await rig.setPerson(id, ['operator']);
    const times = arrivals(rig);
    const load = work(rig, rig.token(id));
    await rig.until('the load runs', () => times.length > 20);
    const acknowledged = await setState(id, 'inactive');
    const until = times.length;
    const made = await load.stop();
    expect(made).toBeGreaterThan(20);
    expect(times.filter((time) => time > acknowledged)).toEqual([]);
    expect(times.length).toBe(until);
    expect(rig.gateway.snapshot().voids?.get(`person ${id}`)).toBeGreaterThan(0);
  }
});

test('R2: every admission says by which revision it was decided, and none after the departure by an older one', async () => {
  await rig.setPerson('stated', ['operator']);
  const load = work(rig, rig.token('stated'), 4);
  const times = arrivals(rig);
  await rig.until('the load runs', () => times.length > 10);
  await setState('stated', 'inactive');
  await load.stop();
  await rig.call('notes', 'write_note', { text: 'after' }, { as: 'stated' });
  const { revision } = rig.gateway.snapshot();
  const left = (await rig.entries('intent', 'denial')).filter(({ actor }) => actor?.subject === 'stated@corp');
  const denied = left.filter(({ kind }) => kind === 'denial');
  expect(denied.length).toBeGreaterThan(0);
  for (const { decision } of denied) expect(decision?.revision).toBeLessThanOrEqual(revision);
  const first = Math.min(...denied.map(({ decision }) => decision!.revision));
  for (const { kind, decision } of left) if (kind === 'intent') expect(decision!.revision).toBeLessThan(first);
});

test('R4: what is under way is cut off at the server, its result stays here, and the record says so', async () => {
  await rig.setPerson('slow', ['operator']);
  const sink = rig.sink();
  let gone = (): void => undefined;
  const left = new Promise<void>((resolve) => (gone = resolve));
  sink.onCall((call) => call.gone.then(() => (gone(), { content: [{ type: 'text', text: 'SECRET RESULT' }] })));
  const before = sink.calls().length;
  const answer = rig.call('notes', 'write_note', { text: 'slow' }, { as: 'slow' });
  await rig.until('the server has the call', () => sink.calls().length > before);
  const acknowledged = await setState('slow', 'inactive');
  await left;
  expect(performance.now() - acknowledged).toBeLessThan(1_000);
  const told = await answer;
  expect(told.text).toContain('Access was withdrawn while the call ran');
  expect(told.text).not.toContain('SECRET RESULT');
  const outcome = (await rig.entries('outcome')).find(({ actor }) => actor?.subject === 'slow@corp');
  expect(outcome?.outcome).toMatchObject({ status: 'cancelled' });
});

test('R7: out of the group that gave the tool, a call of it that is under way is cut off; one that they may still make goes on', async () => {
  await rig.commit([{ kind: 'group', org: 'default', id: 'writers', body: { name: 'Writers', roles: [] } }]);
  const write = 'Remit::Tool::"notes/write_note"';
  await rig.policy(
    'writers-only',
    `forbid (principal, action, resource == ${write}) unless { principal in Remit::Group::"writers" };`,
  );
  await rig.setPerson('mover', ['operator'], { groups: ['writers'] });
  const sink = rig.sink();
  const answers = new Map<string, () => void>();
  sink.onCall(
    (call) =>
      new Promise((resolve) => {
        const { text } = call.arguments as { text: string };
        answers.set(text, () => resolve({ content: [{ type: 'text', text: `RESULT ${text}` }] }));
        void call.gone.then(() => resolve({ content: [] }));
      }),
  );
  const writing = rig.call('notes', 'write_note', { text: 'w' }, { as: 'mover' });
  const reading = rig.call('notes', 'read_note', { text: 'r' }, { as: 'mover' });
  await rig.until('the server has both', () => answers.size === 2);
  await rig.setPerson('mover', ['operator'], { groups: [] });
  expect((await writing).text).toContain('Access was withdrawn while the call ran');
  answers.get('r')!();
  expect((await reading).text).toContain('RESULT r');
  await rig.policy('writers-only', null);
});

test('ID-04: what waits for a yes is void, and an approver finds it cancelled', async () => {
  await rig.setPerson('asker', ['operator']);
  arrivals(rig);
  const held = await rig.call('notes', 'delete_note', { text: 'x' }, { as: 'asker' });
  expect(held.text).toContain('approval');
  const open = async () =>
    ((await rig.admin('petra', 'GET', '/approvals')).body['approvals'] as { person: string; state: string }[]).filter(
      ({ person }) => person === 'asker',
    );
  expect(await open()).toMatchObject([{ state: 'pending' }]);
  await setState('asker', 'inactive');
  expect((await open()).filter(({ state }) => state === 'pending')).toEqual([]);
});

test('R5: who comes back is let in by a new sign-in, never by what was issued before', async () => {
  await rig.setPerson('boomerang', ['operator']);
  const now = Math.floor(rig.clock.now() / 1_000);
  const old = rig.token('boomerang', { claims: { iat: now - 60, exp: now + 300 } });
  const times = arrivals(rig);
  expect(passed(await rig.call('notes', 'write_note', { text: 'x' }, { token: old }))).toBe(true);
  await setState('boomerang', 'inactive');
  await setState('boomerang', 'active');
  const refused = await rig.call('notes', 'write_note', { text: 'x' }, { token: old });
  expect(refused.status).toBe(401);
  expect(refused.text).toContain('The access token was revoked. Sign in again.');
  expect(times).toHaveLength(1);
  // The seconds of `iat` are whole: the next sign-in is told apart from the second of the departure.
  const fresh = rig.token('boomerang', { claims: { iat: now + 2, exp: now + 300, nbf: now } });
  expect(passed(await rig.call('notes', 'write_note', { text: 'x' }, { token: fresh }))).toBe(true);
});

test('twin: a gateway whose guard does not ask for standing goes on after the acknowledgement', async () => {
  const open = await startRig({
    admin: true,
    limits: { callsPerMinutePerPerson: 1_000_000 },
    table: tableWith({
      'caller-stands': ({ snapshot, facts: { caller } }) =>
        learn({
          person: { ...snapshot.people.byIdentity(caller!.issuer, caller!.subject)!, state: 'active' },
          ceiling: null,
          owner: null,
        }),
    }),
  });
  try {
    await open.setPerson('mover', ['operator']);
    const times = arrivals(open);
    const load = work(open, open.token('mover'));
    await open.until('the load runs', () => times.length > 20);
    const acknowledged = await setState('mover', 'inactive', open);
    await open.until('calls go on', () => times.some((time) => time > acknowledged));
    await load.stop();
  } finally {
    await open.stop();
  }
});
