/**
 * What an event means for calls (TRUST.md R1, R2, R4): once the transmitter has its 202, no call of that person reaches a server, what is
 * under way is cut off, what waits for a yes is void. The oracle is what the server received and when.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { learn } from '../../../src/gateway/guard.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { startRig, tableWith } from '../../support/rig.ts';
import type { Rig } from '../../support/rig.ts';
import { CAEP, OAUTH, RISC, issSub, push, startTransmitter } from './transmitter.ts';
import type { EventTransmitter } from './transmitter.ts';

let sender: EventTransmitter;
let rig: Rig;

async function startWithStream(table?: Parameters<typeof startRig>[0]): Promise<Rig> {
  const made = await startRig({ admin: true, limits: { callsPerMinutePerPerson: 1_000_000 }, ...table });
  const body = sender.stream() as unknown as JsonObject;
  // The stream of our own authorization server: it speaks of the grants in our tokens.
  const own = { ...body, issuers: { [sender.issuer.issuer]: made.issuer.issuer } };
  await made.commit([
    { kind: 'event_stream', org: 'default', id: 'idp', body },
    { kind: 'event_stream', org: 'default', id: 'own', body: own },
  ]);
  return made;
}
beforeAll(async () => {
  sender = await startTransmitter();
  rig = await startWithStream();
});
afterAll(async () => {
  await rig?.stop();
  await sender?.close();
});

const tell = async (on: Rig, type: string, members: object, subject: object, stream = 'idp'): Promise<number> => {
  const token = sender.event(type, members as never, subject as never);
  const { status, text } = await push(`${on.adminUrl!}/events/${stream}`, token);
  expect([status, text]).toEqual([202, '']);
  return performance.now();
};
const corp = (on: Rig, id: string): object => issSub(on.issuer.issuer, `${id}@corp`);

function arrivals(on: Rig): number[] {
  const times: number[] = [];
  on.sink().onCall(() => {
    times.push(performance.now());
    return { content: [{ type: 'text', text: 'done' }] };
  });
  return times;
}
function work(on: Rig, token: string): { stop(): Promise<void> } {
  let going = true;
  const hand = async (): Promise<void> => {
    // oxlint-disable-next-line no-unmodified-loop-condition
    while (going) await on.call('notes', 'write_note', { text: 'n' }, { token });
  };
  const all = Promise.all(Array.from({ length: 8 }, hand));
  return {
    async stop() {
      going = false;
      await all;
    },
  };
}

test.for([
  ['session-revoked', `${CAEP}session-revoked`],
  ['account-disabled', `${RISC}account-disabled`],
  ['credential-change', `${CAEP}credential-change`],
] as const)('ID-04, R1, R2: under load, no call reaches the server after %s was acknowledged', async ([name, type]) => {
  const id = `leaver-${name}`;
  await rig.setPerson(id, ['operator']);
  const times = arrivals(rig);
  const load = work(rig, rig.token(id, { claims: { iat: sender.nowSeconds() - 5 } }));
  await rig.until('the load runs', () => times.length > 20);
  const acknowledged = await tell(rig, type, {}, corp(rig, id));
  await load.stop();
  expect(times.filter((time) => time > acknowledged)).toEqual([]);
});

test('AN-08: a grant that our authorization server reports as revoked brings nothing from the acknowledgement on; others of the person do', async () => {
  const claims = { iat: sender.nowSeconds() - 5 };
  const gone = rig.token('omar', { claims: { ...claims, grant_id: 'grant-1' } });
  const other = rig.token('omar', { claims: { ...claims, grant_id: 'grant-2' } });
  const times = arrivals(rig);
  const load = work(rig, gone);
  await rig.until('the load runs', () => times.length > 20);
  const acknowledged = await tell(rig, `${OAUTH}token-revoked`, { grant_id: 'grant-1' }, {}, 'own');
  await load.stop();
  expect(times.filter((time) => time > acknowledged)).toEqual([]);
  expect((await rig.call('notes', 'write_note', { text: 'n' }, { token: gone })).status).toBe(401);
  expect((await rig.call('notes', 'write_note', { text: 'n' }, { token: other })).status).toBe(200);
});

test('R4: what is under way is cut off, its result stays here', async () => {
  await rig.setPerson('slow', ['operator']);
  const sink = rig.sink();
  const left = Promise.withResolvers<void>();
  sink.onCall((call) => call.gone.then(() => (left.resolve(), { content: [{ type: 'text', text: 'SECRET RESULT' }] })));
  const before = sink.calls().length;
  const token = rig.token('slow', { claims: { iat: sender.nowSeconds() - 5 } });
  const answer = rig.call('notes', 'write_note', { text: 'slow' }, { token });
  await rig.until('the server has the call', () => sink.calls().length > before);
  const acknowledged = await tell(rig, `${CAEP}session-revoked`, {}, corp(rig, 'slow'));
  await left.promise;
  expect(performance.now() - acknowledged).toBeLessThan(1_000);
  expect((await answer).text).not.toContain('SECRET RESULT');
});

test('ID-04: what waits for a yes is void with the event', async () => {
  await rig.setPerson('asker', ['operator']);
  arrivals(rig);
  const held = await rig.call('notes', 'delete_note', { text: 'x' }, { as: 'asker' });
  expect(held.text).toContain('approval');
  await tell(rig, `${CAEP}session-revoked`, {}, corp(rig, 'asker'));
  const { body } = await rig.admin('petra', 'GET', '/approvals');
  const open = (body['approvals'] as { person: string; state: string }[]).filter(({ person }) => person === 'asker');
  expect(open.filter(({ state }) => state === 'pending')).toEqual([]);
});

test('twin: with a guard that does not ask for standing, calls go on after the acknowledgement', async () => {
  const open = await startWithStream({
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
    const times = arrivals(open);
    const load = work(open, open.token('omar', { claims: { iat: sender.nowSeconds() - 5 } }));
    await open.until('the load runs', () => times.length > 20);
    const acknowledged = await tell(open, `${CAEP}session-revoked`, {}, corp(open, 'omar'));
    await open.until('calls go on', () => times.some((time) => time > acknowledged));
    await load.stop();
  } finally {
    await open.stop();
  }
});
