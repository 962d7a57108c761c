/** RL-03: a server that does not even open takes no more of a caller's time than a call may take, whoever waits for the same connection. */
import { expect, test } from 'vitest';
import { startRig } from '../support/rig.ts';

const FORMS = { elicitation: {} };

test.each([
  ['that all share', {}, {}],
  ['that may ask, for a caller who can be asked', { asks: ['elicitation.form'] }, FORMS],
  ['that nobody shares', { connections: 'person' }, {}],
] as const)(
  'RL-03: a server %s and that does not answer when it is opened',
  async (_title, record, capabilities) => {
    const rig = await startRig({
      servers: { slow: { era: 'legacy', record: { timeoutMs: 400, ...record } as never } },
    });
    try {
      const call = () => rig.call('slow', 'write_note', { text: 'x' }, { capabilities });
      expect((await call()).result?.['isError']).toBeUndefined();
      const before = rig.sink('slow').calls().length;
      rig.sink('slow').intercept(() => 'hang');
      await rig.pool.close('slow', 'test');
      const began = performance.now();
      const [first, second] = await Promise.all([call(), call()]);
      expect(performance.now() - began).toBeLessThan(5_000);
      for (const answer of [first, second])
        expect(answer.text).toContain('The server cannot be reached, so nothing was sent. Try again later.');
      expect(rig.sink('slow').calls()).toHaveLength(before);
      await rig.until('nothing is in flight', () => rig.gateway.inflight() === 0);
    } finally {
      await rig.stop();
    }
  },
  20_000,
);
