/**
 * RL-05: the answer of a call is lost after the server has carried it out. What is then asked for again, and what is not. The oracle is the sink.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { ToolRecord } from '../../src/integrity/records.ts';
import type { Approved } from '../../src/integrity/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, ORG, startRig } from '../support/rig.ts';
import type { Answer, Era, Rig } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());

async function judged(name: string, more: Partial<Approved>): Promise<void> {
  const stored = rig.view.get('tool', ORG, `notes/${name}`)!;
  const record = ToolRecord.parse(stored.body);
  const body = { ...record, approved: { ...record.approved!, ...more } } as JsonObject;
  await rig.commit([{ kind: 'tool', org: ORG, id: stored.id, body }]);
}
/** The first so many answers never arrive. */
function loses(answers: number): void {
  let left = answers;
  rig.sink().intercept(({ message }) => (message?.['method'] === 'tools/call' && left-- > 0 ? 'drop' : null));
}
const call = (tool: string, era: Era): Promise<Answer> => rig.call('notes', tool, { text: 'x' }, { era });
const unknown = 'Whether the call had an effect is unknown: check before you repeat it.';

describe.each(ERAS)('%s', (era) => {
  test.each<[string, string, Partial<Approved>, number, boolean]>([
    ['a call that writes', 'write_note', {}, 1, false],
    ['a call that writes and is called idempotent behind the review', 'write_note', { idempotent: true }, 1, false],
    ['a reading of which nobody said that twice does no harm', 'read_note', {}, 1, false],
    ['a reading that is idempotent by review', 'read_note', { idempotent: true }, 2, true],
    [
      'the same with a budget, which counts what is sent',
      'read_note',
      { idempotent: true, budget: { calls: 5, perMinutes: 1 } },
      1,
      false,
    ],
  ])('RL-05: %s', async (_title, tool, more, sent, answered) => {
    rig = await startRig({ servers: { notes: { era } } });
    await judged(tool, more);
    loses(1);
    const answer = await call(tool, era);
    expect(rig.sink().calls()).toHaveLength(sent);
    if (answered) expect(answer.result?.['isError']).toBeUndefined();
    else expect(answer.text).toContain(unknown);
  });

  test('RL-05: an idempotent reading is asked for twice, not three times', async () => {
    rig = await startRig({ servers: { notes: { era } } });
    await judged('read_note', { idempotent: true });
    loses(9);
    expect((await call('read_note', era)).text).toContain(unknown);
    expect(rig.sink().calls()).toHaveLength(2);
  });
});
