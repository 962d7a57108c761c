/**
 * The proofs that were used already (RFC 9449 11.1). Promises: a proof is new once; one that is remembered stays so for the whole time in
 * which it could be accepted; without room it says so and forgets nothing, and one key cannot take all the room.
 * Bounded and in memory: a restart begins anew, and another node knows nothing of it. Where that matters, demand nonces (`dpop.ts`).
 */
import { hash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';

export interface ProofMemory {
  /** `owner`: thumbprint of the key whose possession was just proved, so that only its holder can fill its share. */
  remember(owner: string, id: string): 'new' | 'seen' | 'full';
  /** How many are remembered. */
  size(): number;
}

interface Kept {
  readonly owner: string;
  readonly until: number;
}

export function proofMemory(options: {
  readonly clock: Clock;
  /** How long a proof can be accepted after it first was, ms. */
  readonly keepMs: number;
  readonly capacity: number;
  readonly perKey: number;
}): ProofMemory {
  const { clock, keepMs, capacity, perKey } = options;
  // In the order of arrival, which is the order in which they end.
  const kept = new Map<string, Kept>();
  const shares = new Map<string, number>();

  function dropEnded(now: number): void {
    for (const [key, { owner, until }] of kept) {
      if (until > now) return;
      kept.delete(key);
      const share = (shares.get(owner) ?? 1) - 1;
      if (share === 0) shares.delete(owner);
      else shares.set(owner, share);
    }
  }

  return {
    remember(owner, id) {
      const now = clock.now();
      dropEnded(now);
      // Of a fixed length, whatever the client wrote.
      const key = hash('sha256', `${owner} ${id}`, 'base64').slice(0, 24);
      if (kept.has(key)) return 'seen';
      const share = shares.get(owner) ?? 0;
      if (kept.size >= capacity || share >= perKey) return 'full';
      kept.set(key, { owner, until: now + keepMs });
      shares.set(owner, share + 1);
      return 'new';
    },
    size: () => kept.size,
  };
}
