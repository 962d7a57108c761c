/**
 * Floods: a server that asks without end, two retries of one parked call at once, and one request id twice in a session. The oracle is what
 * the server received, and that another caller is answered meanwhile.
 */
import { afterEach, describe, expect, test } from 'vitest';
import {
  ASKING_SERVERS,
  CAN_FILL,
  GOOD,
  TOOL_CALL,
  askedIn,
  asksOnce,
  retry,
  told,
  FORM,
} from '../gateway/asks-support.ts';
import { startRig } from '../support/rig.ts';
import type { Rig, RigOptions } from '../support/rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
async function rigOf(options: RigOptions): Promise<Rig> {
  const rig = await startRig(options);
  closers.push(() => rig.stop());
  return rig;
}

describe('a server that asks 10,000 times', () => {
  test.each(['legacy', 'modern'] as const)(
    'puts at most 100 questions to a %s client, and others are served',
    async (era) => {
      const rig = await rigOf({ servers: { old: ASKING_SERVERS['old']!, other: {} } });
      const { promise: asked, resolve } = Promise.withResolvers<void>();
      const answers: unknown[] = [];
      rig.sink('old').onCall(async ({ ask }) => {
        for (let i = 0; i < 10_000; i++) void ask('elicitation/create', FORM).then((one) => answers.push(one));
        resolve();
        await new Promise((done) => setTimeout(done, 3_000));
        return { content: [{ type: 'text', text: 'enough' }] };
      });
      const call = await rig.live('old', 'tools/call', TOOL_CALL, { ...CAN_FILL, era });
      await asked;
      const started = performance.now();
      const { status } = await rig.call('other', 'read_note', { text: 'x' });
      expect(status).toBe(200);
      const waited = performance.now() - started;
      const answer = await call.answer;
      const shown =
        era === 'legacy'
          ? call.events.filter(({ method }) => method === 'elicitation/create').length
          : Object.keys((answer.result?.['inputRequests'] ?? {}) as object).length;
      expect(shown).toBeLessThanOrEqual(100);
      expect(waited).toBeLessThan(5_000);
    },
    30_000,
  );
});

describe('two retries of one parked call at the same time', () => {
  test('bring one answer to the server, and the call is made once', async () => {
    const rig = await rigOf({ servers: { old: ASKING_SERVERS['old']! } });
    const sink = rig.sink('old');
    asksOnce(sink);
    const asked = askedIn(await rig.ask('old', 'tools/call', TOOL_CALL, CAN_FILL));
    const both = await Promise.all([1, 2, 3, 4].map(() => retry(rig, 'old', asked, GOOD['elicitation.form'])));
    expect(both.filter(({ text }) => text.includes('told'))).toHaveLength(1);
    expect(told(sink)).toHaveLength(1);
    expect(sink.calls()).toHaveLength(1);
    expect(rig.gateway.inflight()).toBe(0);
  });
});

describe('one person who watches everything there is', () => {
  test('leaves room for others to watch one resource', async () => {
    const rig = await rigOf({
      servers: {
        notes: {
          era: 'legacy',
          tools: [],
          script(sink) {
            sink.offer({ resourceTemplates: [{ uriTemplate: 'note://{name}', name: 'notes' }], subscribe: true });
            sink.on('resources/subscribe', () => ({}));
          },
        },
      },
    });
    const watch = async (as: string, resourceSubscriptions: readonly string[]) => {
      const live = await rig.live(
        'notes',
        'subscriptions/listen',
        { notifications: { resourceSubscriptions } },
        { as },
      );
      closers.unshift(async () => live.leave());
      const { params } = await live.event('notifications/subscriptions/acknowledged');
      const { notifications } = params as { notifications: { resourceSubscriptions?: readonly string[] } };
      return notifications.resourceSubscriptions?.length ?? 0;
    };
    let dora = 0;
    for (let i = 0; i < 6; i++)
      dora += await watch(
        'dora',
        Array.from({ length: 500 }, (_, n) => `note://${i}-${n}`),
      );
    expect(dora).toBeGreaterThanOrEqual(500);
    expect(await watch('dana', ['note://dana'])).toBe(1);
  }, 120_000);
});
