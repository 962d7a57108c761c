import { assert, constantFrom, property, string } from 'fast-check';
import { expect, test } from 'vitest';
import { holdsLiteralSecret, withoutLiteralSecrets } from '../../src/lib/definition-secrets.ts';
import { LOOK_ALIKES, SECRETS } from '../support/secrets.ts';

test.each(SECRETS)('NH-04: finds a secret of %s anywhere in a text, and takes it out', (_vendor, secret) => {
  for (const text of [secret, `see ${secret}`, `key=${secret} and more`, `("${secret}")`]) {
    expect(holdsLiteralSecret(text)).toBe(true);
    expect(withoutLiteralSecrets(text)).not.toContain(secret);
  }
});
test('NH-04: knows at least forty shapes', () => {
  expect(new Set(SECRETS.map(([vendor]) => vendor)).size).toBeGreaterThanOrEqual(40);
});
test.each(LOOK_ALIKES)('leaves %j alone', (text) => {
  expect([holdsLiteralSecret(text), withoutLiteralSecrets(text)]).toEqual([false, text]);
});
test('is done with hostile text at once', () => {
  const seeds = ['a', 'sk-', '0', 'A-', 'Basic ', 'secret_', '1234567890:AA', 'ab.', 'eyJ', 'AKIA', 'hf_', 'Q~1'];
  const started = performance.now();
  for (const seed of seeds) holdsLiteralSecret(seed.repeat(Math.ceil(200_000 / seed.length)));
  expect(performance.now() - started).toBeLessThan(5_000);
});
test('what is taken out stays out, and the rest stays', () => {
  assert(
    property(string(), string(), constantFrom(...SECRETS), (before, after, [, secret]) => {
      const text = `${before} ${secret} ${after}`;
      expect(withoutLiteralSecrets(text)).not.toContain(secret);
    }),
    { seed: 5, numRuns: 300 },
  );
});
