import { describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { usesIn } from '../../src/insight/last-use.ts';
import type { Use } from '../../src/insight/last-use.ts';

const entry = (kind: AuditEntry['kind'], time: string, rules: readonly string[], verdict = 'allow'): AuditEntry =>
  ({
    v: 1,
    kind,
    time,
    org: 'default',
    node: 'n',
    decision: { verdict, reason: null, rules, revision: 1, policy: null, approval: null, guard: null },
  }) as unknown as AuditEntry;
const none = (): Use | undefined => undefined;
const [MONDAY, TUESDAY] = ['2026-11-16T10:00:00.000Z', '2026-11-17T10:00:00.000Z'];

describe('the last use of a grant', () => {
  test('is the newest admitted call that it decided', () => {
    const uses = usesIn(
      [
        { index: 4, entry: entry('intent', MONDAY, ['grant.grant_a', 'baseline.developer']) },
        { index: 9, entry: entry('call', TUESDAY, ['grant.grant_a', 'grant.grant_b']) },
      ],
      none,
    );
    expect(Object.fromEntries(uses)).toEqual({
      grant_a: { lastUsedAt: Date.parse(TUESDAY), index: 9, uses: 2 },
      grant_b: { lastUsedAt: Date.parse(TUESDAY), index: 9, uses: 1 },
    });
  });

  test.each([
    ['an outcome', entry('outcome', MONDAY, ['grant.grant_a'])],
    ['a refusal', entry('denial', MONDAY, ['grant.grant_a'], 'deny')],
    ['a held call', entry('denial', MONDAY, ['grant.grant_a'], 'hold')],
    ['a call that other rules decided', entry('call', MONDAY, ['baseline.developer', 'grants', 'my.grant.x'])],
  ])('is not %s', (_title, one) => {
    expect(usesIn([{ index: 1, entry: one }], none).size).toBe(0);
  });

  test('what is read again counts once', () => {
    const known: Use = { lastUsedAt: Date.parse(TUESDAY), index: 9, uses: 5 };
    const again = [{ index: 9, entry: entry('call', TUESDAY, ['grant.grant_a']) }];
    expect(usesIn(again, () => known).size).toBe(0);
    const next = [{ index: 10, entry: entry('call', TUESDAY, ['grant.grant_a']) }];
    expect(usesIn(next, () => known).get('grant_a')?.uses).toBe(6);
  });
});
