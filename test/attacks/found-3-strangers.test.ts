/** A check that takes long must not turn a refusal into a stream: a stream begins with 200, and then nobody is told how to sign in. */
import { afterEach, expect, test, vi } from 'vitest';
import { startRig } from '../support/rig.ts';

afterEach(() => void vi.useRealTimers());

test.each(['modern', 'legacy'] as const)(
  'a %s stranger gets 401 and the way to a token, however long the check takes',
  async (era) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    let checking = false;
    let slow = false;
    const checked = Promise.withResolvers<void>();
    const rig = await startRig({
      wrap: (deps) => ({
        ...deps,
        verifier: {
          ...deps.verifier,
          async verify(token, resource) {
            checking ||= slow;
            if (slow) await checked.promise;
            return deps.verifier.verify(token, resource);
          },
        },
      }),
    });
    try {
      const session = await rig.openSession('notes', rig.token('dana'));
      slow = true;
      const asked = rig.call('notes', 'read_note', { text: 'x' }, { era, session, token: 'no.to.ken' });
      await rig.until('the token is checked', () => checking);
      vi.advanceTimersByTime(11_000);
      checked.resolve();
      const answer = await asked;
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toContain('resource_metadata');
    } finally {
      vi.useRealTimers();
      await rig.stop();
    }
  },
);
