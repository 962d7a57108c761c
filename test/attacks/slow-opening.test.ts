/** RL-03: a server that does not even open takes no more of a caller's time than a call may take, whoever waits for the same connection. */
import { expect, test } from 'vitest';
import type { Server } from '../../src/inventory/records.ts';
import { startRig } from '../support/rig.ts';
import { SINK_PROGRAM, stdioServer, testPool, until } from '../support/upstreams/open.ts';

/** Starts, and says nothing to the first question. */
const MUTE = stdioServer(SINK_PROGRAM, { env: { BEHAVIOUR: 'mute' } }).upstream as Server['upstream'];

test.each([
  ['that all share', {}, {}],
  ['that may ask, for a caller who can be asked', { asks: ['elicitation.form'] }, { elicitation: {} }],
  ['that nobody shares', { connections: 'person' }, {}],
] as const)(
  'RL-03: a server %s and that never answers when it is opened',
  async (_title, record, capabilities) => {
    const pool = testPool({ probeTimeoutMs: 20_000 });
    const rig = await startRig({
      wrap: (deps) => ({ ...deps, pool }),
      servers: { slow: { era: 'legacy', record: { timeoutMs: 2_000, ...record } as never } },
    });
    try {
      const call = () => rig.call('slow', 'write_note', { text: 'x' }, { capabilities });
      expect((await call()).result?.['isError']).toBeUndefined();
      await rig.setServer('slow', { upstream: MUTE });
      const began = performance.now();
      const answers = await Promise.all([call(), call()]);
      expect(performance.now() - began).toBeLessThan(10_000);
      for (const { text } of answers)
        expect(text).toContain('The server cannot be reached, so nothing was sent. Try again later.');
      await until('nothing is in flight', () => rig.gateway.inflight() === 0);
    } finally {
      await rig.stop();
      await pool.closeAll();
    }
  },
  60_000,
);
