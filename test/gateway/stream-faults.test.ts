/** An exchange that fails under streams: refusals with a record, no open intent, no end of the node. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { ExchangeFault } from '../../src/store/exchange.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, LEGACY, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
let broken = false;
const failing = (deps: GatewayDeps): GatewayDeps => {
  const refuse = (): Promise<never> => Promise.reject(new ExchangeFault('exchange_unavailable', 'no'));
  const { exchange } = deps;
  return {
    ...deps,
    exchange: {
      ...exchange,
      append: (...given) => (broken ? refuse() : exchange.append(...given)),
      read: (...given) => (broken ? refuse() : exchange.read(...given)),
      latest: (...given) => (broken ? refuse() : exchange.latest(...given)),
    },
  };
};
beforeAll(async () => {
  rig = await startRig({ wrap: failing });
});
afterAll(() => rig.stop());

const headersOf = (session: string, more: Record<string, string> = {}) => ({
  authorization: `Bearer ${token}`,
  'mcp-session-id': session,
  'mcp-protocol-version': LEGACY,
  accept: 'text/event-stream',
  ...more,
});
let token = '';

async function withSession<T>(work: (session: string) => Promise<T>): Promise<T> {
  token = rig.token('dana');
  const session = await rig.openSession('notes', token);
  broken = true;
  try {
    return await work(session);
  } finally {
    broken = false;
  }
}
const url = (): string => `${rig.url}${rig.endpoint('notes')}`;

test('RL-05: a listening session ends, and its intent has an outcome', async () => {
  await withSession(async (session) => {
    const stream = await openStream(url(), { method: 'GET', headers: headersOf(session) });
    await stream.end();
    expect(stream.messages()).toEqual([]);
  });
  await rig.until('the outcome is recorded', async () =>
    (await rig.entries('outcome')).some(({ outcome }) => outcome?.detail === 'exchange_unavailable'),
  );
  const intents = (await rig.entries('intent')).map(({ ref }) => ref);
  const outcomes = (await rig.entries('outcome')).map(({ ref }) => ref);
  expect(intents.filter((ref) => !outcomes.includes(ref))).toEqual([]);
  expect(rig.gateway.openStreams).toBe(0);
});

test('RL-05: resuming is refused with 503', async () => {
  await withSession(async (session) => {
    const headers = headersOf(session, { 'last-event-id': `c${'A'.repeat(16)}.1` });
    const stream = await openStream(url(), { method: 'GET', headers });
    await stream.end();
    expect(stream.status).toBe(503);
  });
});

/** A call whose server says one progress line, and then answers. */
async function streamed(): Promise<{ readonly stream: EventStream; readonly session: string }> {
  rig.sink().onCall(({ notify, message }) => {
    const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
    notify('notifications/progress', { ..._meta, progress: 1 });
    return { content: [{ type: 'text', text: 'answered' }] };
  });
  return withSession(async (opened) => {
    const answer = await openStream(url(), {
      method: 'POST',
      headers: { ...headersOf(opened), ...JSON_HEADERS },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'read_note', arguments: { text: 'x' }, _meta: { progressToken: 1 } },
      }),
    });
    await answer.end();
    return { stream: answer, session: opened };
  });
}

test('RL-05, AZ-10: what a call gives is not known to the others without the exchange, so nobody gets it', async () => {
  const { stream } = await streamed();
  expect(stream.status).toBe(503);
  expect(stream.text()).not.toContain('answered');
});

test('RL-05: a call that streams and gives nothing private is answered all the same; it only cannot be resumed', async () => {
  await rig.setServer('notes', { dataClasses: ['public'] });
  await rig.look('notes');
  const { stream, session } = await streamed();
  expect(stream.messages().at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'answered' }] } });
  const resumed = await openStream(url(), {
    method: 'GET',
    headers: headersOf(session, { 'last-event-id': stream.events[0]!.id! }),
  });
  await resumed.end();
  expect(resumed.status).toBe(400);
});
