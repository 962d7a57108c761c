/**
 * When grants were last used, as the log proves it (NH-09): every admitted call names the policies that decided, and a grant is the policy
 * `grant.<id>`. Pure over entries. A grant that decided is not always one that was needed: another rule may have permitted the call as well.
 */
import type { Indexed } from '../audit/query.ts';

export interface Use {
  /** ms since the epoch. */
  readonly lastUsedAt: number;
  /** Of the entry that proves it. */
  readonly index: number;
  /** Admitted calls since we began to count. */
  readonly uses: number;
}

const PREFIX = 'grant.';

/** By grant id; what these entries add to `known`. Entries come in the order of the log. */
export function usesIn(entries: Iterable<Indexed>, known: (grant: string) => Use | undefined): Map<string, Use> {
  const found = new Map<string, Use>();
  for (const { index, entry } of entries) {
    // An admitted call has its decision in its intent, or in its one entry when it left none.
    if (entry.kind !== 'intent' && entry.kind !== 'call') continue;
    if (entry.decision?.verdict !== 'allow') continue;
    const at = Date.parse(entry.time);
    for (const rule of entry.decision.rules) {
      const grant = grantOf(rule);
      if (grant === null) continue;
      const before = found.get(grant) ?? known(grant);
      if (before && before.index >= index) continue;
      found.set(grant, { lastUsedAt: at, index, uses: (before?.uses ?? 0) + 1 });
    }
  }
  return found;
}

const grantOf = (rule: string): string | null => (rule.startsWith(PREFIX) ? rule.slice(PREFIX.length) : null);
