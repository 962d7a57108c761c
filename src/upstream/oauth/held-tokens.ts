/**
 * What authorization servers gave this process and what lives now, for whoever recognises it in content (CI-03): access and refresh tokens,
 * secrets of clients that were registered. By account: what replaces a token takes its place, what is given back is forgotten.
 * Bounded; of the server that has most, the accounts that were used longest ago are forgotten first. Never shown, never stored.
 */
import type { Clock } from '../../lib/clock.ts';
import type { HeldValues } from '../broker/broker.ts';

export interface LiveToken {
  readonly value: string;
  /** ms since the epoch; null: nobody says. */
  readonly expiresAt: number | null;
}

export interface HeldTokens extends HeldValues {
  /** Everything that one account at a server has now, in place of what it had. */
  hold(account: string, serverId: string, tokens: readonly LiveToken[]): void;
  /** All accounts at a server are gone. */
  drop(serverId: string): void;
}

interface Kept {
  readonly serverId: string;
  readonly tokens: ReadonlyArray<LiveToken & { readonly id: string }>;
}

export const MAX_TOKENS = 1_000;
/** All tokens together. */
export const MAX_CHARACTERS = 1_048_576;

const BOUNDS: ReadonlyArray<readonly [most: number, weigh: (tokens: readonly LiveToken[]) => number]> = [
  [MAX_TOKENS, (tokens) => tokens.length],
  [MAX_CHARACTERS, (tokens) => tokens.reduce((sum, { value }) => sum + value.length, 0)],
];

/** Not the id of a credential, which may be named like the server. */
export const tokenOf = (serverId: string): string => `token:${serverId}`;

export function heldTokens(clock: Clock): HeldTokens {
  const kept = new Map<string, Kept>();
  let revision = 0;

  /**
   * Those that ended count for nothing. ATTACKER-CONTROLLED: how many and how long those of one server are, so the server that has most loses
   * what it used longest ago.
   */
  function bound(): void {
    const now = clock.now();
    for (const [account, { serverId, tokens }] of kept) {
      const live = tokens.filter(({ expiresAt }) => expiresAt === null || now < expiresAt);
      if (live.length === 0) kept.delete(account);
      else if (live.length < tokens.length) kept.set(account, { serverId, tokens: live });
    }
    for (const [most, weigh] of BOUNDS) {
      const all = new Map<string, number>();
      let sum = 0;
      for (const { serverId, tokens } of kept.values()) {
        all.set(serverId, (all.get(serverId) ?? 0) + weigh(tokens));
        sum += weigh(tokens);
      }
      while (sum > most) {
        const [greedy] = [...all].reduce((one, other) => (other[1] > one[1] ? other : one));
        const [account, { tokens }] = [...kept].find(([, { serverId }]) => serverId === greedy)!;
        kept.delete(account);
        all.set(greedy, all.get(greedy)! - weigh(tokens));
        sum -= weigh(tokens);
      }
    }
  }

  return {
    hold(account, serverId, tokens) {
      const before = kept.get(account)?.tokens ?? [];
      const now = tokens
        .filter(({ value }, at) => isTelling(value) && tokens.findIndex((one) => one.value === value) === at)
        .map((token) => before.find(({ value }) => value === token.value) ?? { id: tokenOf(serverId), ...token });
      kept.delete(account);
      if (now.length > 0) kept.set(account, { serverId, tokens: now });
      if (now.length === before.length && now.every((one) => before.includes(one))) return;
      bound();
      revision++;
    },
    drop(serverId) {
      for (const [account, one] of kept) if (one.serverId === serverId) kept.delete(account);
      revision++;
    },
    revision: () => revision,
    values: () => [...kept.values()].flatMap(({ tokens }) => tokens),
  };
}

/**
 * ATTACKER-CONTROLLED: a server chooses its authorization server, and that chooses its tokens. One that is a word or a name would make every text
 * with that word a secret; what is looked for must look like nothing that people write: letters and digits, often changing, and no date.
 */
function isTelling(token: string): boolean {
  const body = token.replaceAll(/[^A-Za-z0-9]/g, '');
  const letters = body.replaceAll(/\d/g, '').length;
  return body.length >= 16 && letters >= 6 && (body.match(/(?=[A-Za-z]\d|\d[A-Za-z])/g)?.length ?? 0) >= 4;
}
