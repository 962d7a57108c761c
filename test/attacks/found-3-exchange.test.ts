/**
 * What one caller or one server can make the exchange keep: answers to questions nobody asked, sessions that change their mind all day,
 * streams that a server floods. And that a person's posted answer is recorded before a server has it.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { LedgerFault } from '../../src/audit/ledger.ts';
import { eventLogs, newStream } from '../../src/gateway/event-log.ts';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { ASKING_SERVERS, CAN_FILL, GOOD, TOOL_CALL, asksOnce, told } from '../gateway/asks-support.ts';
import { startRig } from '../support/rig.ts';
import type { RigOptions } from '../support/rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
/** A node, and what it asked its exchange to keep: bytes by the first word of the topic. */
async function watched(options: RigOptions) {
  const bytes = new Map<string, number>();
  const topics = new Set<string>();
  let exchange: GatewayDeps['exchange'] | null = null;
  const rig = await startRig({
    ...options,
    wrap: (deps) => {
      exchange = deps.exchange;
      return {
        ...deps,
        exchange: {
          ...deps.exchange,
          append(topic, texts, more) {
            const [kind = ''] = topic.split('/');
            topics.add(topic);
            bytes.set(kind, (bytes.get(kind) ?? 0) + texts.reduce((sum, text) => sum + text.length, 0));
            return deps.exchange.append(topic, texts, more);
          },
        },
      };
    },
  });
  closers.push(() => rig.stop());
  const stored = async (kind: string): Promise<number> => {
    let count = 0;
    for (const topic of topics) {
      if (!topic.startsWith(`${kind}/`)) continue;
      const items = await exchange!.read(topic, 0, 1000);
      count += items.length;
    }
    return count;
  };
  return { rig, bytes, stored };
}

describe('an answer that somebody posts', () => {
  const servers = { old: ASKING_SERVERS['old']! };

  test('to a question that no node asked is written nowhere, whatever node its id names', async () => {
    const { rig, bytes } = await watched({ servers });
    const token = rig.token('dana', { server: 'old' });
    const session = await rig.openSession('old', token, undefined, CAN_FILL.capabilities);
    const headers = { authorization: `Bearer ${token}`, 'mcp-session-id': session };
    const big = 'x'.repeat(100_000);
    const ids = ['rig-1', 'rig-2', 'ghost'].map(
      (node) => `ask.${Buffer.from(node).toString('base64url')}.${'A'.repeat(22)}`,
    );
    const posted = await Promise.all(
      [...ids, 'ask.', `ask.${'A'.repeat(100)}`].map((id) =>
        rig.post('old', { jsonrpc: '2.0', id, result: { action: 'accept', content: { colour: big } } }, headers),
      ),
    );
    expect(posted.map(({ status }) => status)).toEqual([400, 400, 400, 400, 400]);
    expect(bytes.get('node') ?? 0).toBe(0);
  });

  test('reaches the server after its record, and not without one', async () => {
    const { rig } = await watched({ servers });
    const sink = rig.sink('old');
    asksOnce(sink);
    const call = await rig.live('old', 'tools/call', TOOL_CALL, { ...CAN_FILL, era: 'legacy' });
    const { id } = await call.event('elicitation/create');
    rig.faults.before = () => {
      throw new LedgerFault('ledger_unavailable', 'the disk is full');
    };
    const refused = await call.say({ id: id as string, result: GOOD['elicitation.form'] });
    expect(refused.status).toBe(503);
    expect(told(sink)).toEqual([]);
    rig.faults.before = null;
    expect((await call.say({ id: id as string, result: GOOD['elicitation.form'] })).status).toBe(202);
    expect((await call.answer).text).toContain('told');
    const entries = await rig.entries('call');
    expect(entries.filter(({ call: one }) => one?.method === 'response')).toHaveLength(1);
  });
});

test('a session that changes its mind all day is kept once', async () => {
  const { rig, stored } = await watched({ servers: { notes: { era: 'legacy' } } });
  const token = rig.token('dana');
  const session = await rig.openSession('notes', token);
  const how = { era: 'legacy', token, session } as const;
  for (let i = 0; i < 40; i++)
    expect((await rig.ask('notes', 'logging/setLevel', { level: i % 2 ? 'info' : 'error' }, how)).status).toBe(200);
  expect(await stored('session')).toBe(1);
});

test('what a server floods one stream with is kept up to a bound, however often it pauses; after that the stream cannot be resumed', async () => {
  let bytes = 0;
  let removed = 0;
  const topic = {
    append: async (values: readonly unknown[]) => {
      bytes += JSON.stringify(values).length;
      return (written += values.length);
    },
    latest: async () => null,
    read: async () => [],
    watch: () => () => undefined,
    remove: async () => void removed++,
  };
  let written = 0;
  const writer = eventLogs({ topicOf: () => topic }, systemClock).open('session', newStream('call'), {
    server: 'notes',
    tool: 'read_note',
  });
  for (let i = 0; i < 60; i++) {
    writer.append('x'.repeat(1_000_000));
    await new Promise((resolve) => void setImmediate(resolve));
  }
  writer.end();
  expect(bytes).toBeGreaterThan(10_000_000);
  expect(bytes).toBeLessThan(20_000_000);
  expect(removed).toBe(1);
});
