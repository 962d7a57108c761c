/**
 * `explain` says what the call would get. The oracle is the whole pipeline, with everything that stands before and after policy, over random
 * organisations: what people, agents, servers, items, locks, ceilings, switches and policies can be in, and what a call can bring.
 */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { explainCall } from '../../src/admin/explain-call.ts';
import { INSIDE } from './explain-worlds.ts';
import { admitted, supposedOf, worlds } from './explain-worlds.ts';

test(
  `explain agrees with the decision on 10,000 random cases, and every change that it names leads where it says`,
  { timeout: 180_000 },
  async () => {
    const seen = new Map<string, number>();
    let cases = 0;
    let changes = 0;
    await fc.assert(
      fc.asyncProperty(worlds, async ({ view, asks }) => {
        for (const ask of asks) {
          cases++;
          const explained = await explainCall(view, supposedOf(ask), INSIDE.now);
          const real = await admitted(view, ask);
          expect([explained.verdict, ask]).toEqual([real, ask]);
          seen.set(
            `${explained.verdict} ${explained.reason}`,
            (seen.get(`${explained.verdict} ${explained.reason}`) ?? 0) + 1,
          );
          for (const { change, value, verdict } of explained.nearest) {
            if (change !== 'scope' && change !== 'approval') continue;
            const scopes = change === 'scope' ? [...ask.scopes, value] : ask.scopes;
            const again = await admitted(view, { ...ask, scopes, approved: ask.approved || change === 'approval' });
            expect([change, again, ask]).toEqual([change, verdict, ask]);
            changes++;
          }
        }
      }),
      { seed: 10_000, numRuns: INSIDE.runs, endOnFailure: true },
    );
    expect(cases).toBe(10_000);
    expect(changes).toBeGreaterThan(300);
    // The cases are not all of one kind.
    for (const reason of [
      'allow null',
      'deny not_permitted',
      'deny forbidden',
      'hold approval_missing',
      'challenge scope_missing',
      'step_up sign_in_insufficient',
    ])
      expect([reason, seen.get(reason) ?? 0]).toEqual([reason, expect.toSatisfy((count: number) => count > 20)]);
    expect(seen.size).toBeGreaterThan(12);
  },
);
