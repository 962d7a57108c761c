/**
 * Assertions that were used (EMA 7.4.2): an id counts once for its issuer until the assertion has expired, whoever races. Durable before it
 * says yes: the insert decides, not a look before it. Survives restarts and rotations of keys.
 */
import { errors } from 'oidc-provider';
import { sha256Hex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { AuthStorage } from '../adapter.ts';

export interface UsedAssertions {
  /** False: it was used before. `expiresAt` in seconds: from then on the assertion is refused for its age. */
  use(issuer: string, id: string, expiresAt: number): Promise<boolean>;
}

export function usedAssertions(storage: AuthStorage, clock: Clock): UsedAssertions {
  const entries = storage.adapter('ReplayDetection');
  return {
    use: async (issuer, id, expiresAt) => {
      // A list, so that no issuer and id run together into another pair.
      const key = sha256Hex(JSON.stringify(['assertion', issuer, id]));
      const seconds = Math.max(1, expiresAt - Math.floor(clock.now() / 1_000));
      try {
        await entries.upsert(key, {}, seconds);
        return true;
      } catch (error) {
        if (error instanceof errors.OIDCProviderError) return false;
        throw error;
      }
    },
  };
}
