/**
 * What leaves towards a server because of a client's later word (an answer to a task, a retry, a subscription) waits for a record of its own,
 * and for the rules of the moment it leaves. The oracle is what the server received.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { LedgerFault } from '../../src/audit/ledger.ts';
import { ASKING_SERVERS, CAN_FILL, GOOD, askedIn, asksOnce, retry, told } from '../gateway/asks-support.ts';
import { TOOL_CALL } from '../gateway/asks-support.ts';
import { openStream } from '../support/event-stream.ts';
import { LEGACY, startRig } from '../support/rig.ts';
import type { Rig, RigOptions } from '../support/rig.ts';
import { ALLOW_ALL, JOBS, TASKS_AND_FORMS, begin, onTask, reaches } from '../support/tasks.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
async function rigOf(options: RigOptions): Promise<Rig> {
  const rig = await startRig(options);
  closers.push(() => rig.stop());
  return rig;
}
const COLOUR = GOOD['elicitation.form'];
const full = () => {
  throw new LedgerFault('ledger_unavailable', 'the disk is full');
};

describe('an answer to a task', () => {
  test('does not reach the server while no record of it can be made', async () => {
    const rig = await rigOf({ servers: { notes: { ...ASKING_SERVERS['old']!, tools: JOBS } } });
    await rig.policy('all', ALLOW_ALL);
    const sink = rig.sink();
    asksOnce(sink);
    const how = { capabilities: TASKS_AND_FORMS };
    const id = await begin(rig, 'optional_job', how);
    const { inputRequests } = await reaches(rig, id, 'input_required', how);
    const [key] = Object.keys(inputRequests as object);
    rig.faults.before = full;
    const more = { inputResponses: { [key!]: COLOUR } };
    const update = await onTask(rig, 'tasks/update', id, { ...how, more });
    expect(update.status).toBe(503);
    expect(told(sink)).toEqual([]);
    rig.faults.before = null;
    expect((await onTask(rig, 'tasks/update', id, { ...how, more })).status).toBe(200);
    await reaches(rig, id, 'completed', how);
    expect(told(sink)).toHaveLength(1);
  });
});

describe('the retry of a parked call', () => {
  test.each([
    ['a policy that forbids the call', (rig: Rig) => rig.policy('no', 'forbid (principal, action, resource);')],
    ['a lock on its token', (rig: Rig, token: string) => rig.lock({ kind: 'token', value: idOf(token) })],
  ])(
    'does not bring its answer to the server after %s came into force while it was recorded',
    async (_what, withdraw) => {
      const rig = await rigOf({ servers: { old: ASKING_SERVERS['old']! } });
      const sink = rig.sink('old');
      asksOnce(sink);
      const asked = askedIn(await rig.ask('old', 'tools/call', TOOL_CALL, CAN_FILL));
      const token = rig.token('dana', { server: 'old' });
      let done = false;
      rig.faults.after = async ({ kind }) => {
        if (kind !== 'intent' || done) return;
        done = true;
        await withdraw(rig, token);
      };
      const answer = await retry(rig, 'old', asked, COLOUR, { ...CAN_FILL, token });
      expect(done).toBe(true);
      expect(answer.text).not.toContain('told');
      expect(told(sink).filter((body) => body.includes('"red"'))).toEqual([]);
    },
  );
});

const idOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { jti: string }).jti;

describe('a subscription to a resource', () => {
  const URI = 'note://one';
  const servers: RigOptions['servers'] = {
    notes: {
      era: 'legacy',
      tools: [],
      script(sink) {
        sink.offer({ resources: [{ uri: URI, name: 'one' }], subscribe: true });
        sink.on('resources/subscribe', () => ({}));
      },
    },
  };
  async function listener(rig: Rig, session: string, token: string) {
    const stream = await openStream(`${rig.url}${rig.endpoint('notes')}`, {
      method: 'GET',
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
        'mcp-session-id': session,
        'mcp-protocol-version': LEGACY,
      },
    });
    closers.unshift(async () => stream.cut());
    await rig.until('it listens', () => stream.events.length > 0);
    return stream;
  }
  const asked = (rig: Rig) => rig.sink().requests('resources/subscribe').length;
  const settled = () => new Promise((resolve) => setTimeout(resolve, 300));

  test('does not reach the server while no record of it can be made', async () => {
    const rig = await rigOf({ servers });
    const token = rig.token('dana');
    const session = await rig.openSession('notes', token);
    await listener(rig, session, token);
    const how = { era: 'legacy', token, session } as const;
    rig.faults.before = full;
    expect((await rig.ask('notes', 'resources/subscribe', { uri: URI }, how)).status).toBe(503);
    await settled();
    expect(asked(rig)).toBe(0);
    rig.faults.before = null;
    expect((await rig.ask('notes', 'resources/subscribe', { uri: URI }, how)).status).toBe(200);
    await rig.until('the server is asked', () => asked(rig) === 1);
    const entries = (await rig.entries('intent', 'outcome')).filter(
      ({ call }) => call?.method === 'resources/subscribe',
    );
    expect(entries.map(({ kind }) => kind)).toEqual(['intent', 'outcome']);
  });

  test('is not taken up again by a later stream of the session once the resource is locked', async () => {
    const rig = await rigOf({ servers });
    const token = rig.token('dana');
    const session = await rig.openSession('notes', token);
    const how = { era: 'legacy', token, session } as const;
    expect((await rig.ask('notes', 'resources/subscribe', { uri: URI }, how)).status).toBe(200);
    await settled();
    expect(asked(rig)).toBe(0);
    const lock = await rig.lock({ kind: 'tool', value: `notes/resource ${URI}` });
    const first = await listener(rig, session, token);
    await settled();
    expect(asked(rig)).toBe(0);
    first.cut();
    await rig.unlock(lock);
    await listener(rig, session, token);
    await rig.until('the server is asked', () => asked(rig) === 1);
  });
});
