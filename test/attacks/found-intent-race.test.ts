/**
 * A server that asks and in the same breath answers, or dies: the question makes the call write its intent, the answer ends it. However the
 * two fall, the log has one story of the call: an intent has its outcome, and nothing that was begun reads as unfinished for ever (AE-01).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ASKING_SERVERS, CAN_FILL, FORM } from '../gateway/asks-support.ts';
import { ERAS, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ servers: { old: ASKING_SERVERS['old']! } });
});
afterAll(() => rig.stop());

test.each(ERAS)(
  'AE-01: %s client: a call that ends while its intent is being written has an outcome behind it',
  async (era) => {
    const sink = rig.sink('old');
    sink.onCall(async ({ ask }) => {
      void ask('elicitation/create', FORM);
      return { content: [{ type: 'text', text: 'at once' }] };
    });
    const slow = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    rig.faults.before = async ({ kind }) => {
      if (kind !== 'intent') return;
      begun.resolve();
      await slow.promise;
    };
    const calling = rig.call('old', 'read_note', { text: 'x' }, { era, ...CAN_FILL });
    await begun.promise;
    // The whole answer of the server is here long before the disk is.
    setTimeout(() => slow.resolve(), 300);
    const answer = await calling;
    rig.faults.before = null;
    expect(answer.text).toContain('at once');
    await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
    const story = await rig.entries('intent', 'outcome', 'call');
    const intent = story.findLast(({ kind }) => kind === 'intent');
    expect(intent).toBeDefined();
    expect(story.filter(({ call }) => call?.id === intent?.call?.id).map(({ kind }) => kind)).toEqual([
      'intent',
      'outcome',
    ]);
  },
);
