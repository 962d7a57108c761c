/** What every SecretSource must do. Run for variables, files, the sealed store and Vault; `open` gives one that nothing is in yet. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SecretSource } from '../../src/upstream/broker/secret-source.ts';

export interface SecretPlace {
  readonly source: SecretSource;
  /** Writes a value, or the next value, and returns the name to read it by. */
  put(value: string): Promise<string> | string;
  /** A well-formed name under which there is nothing. */
  readonly absent: string;
  /** Names that this source does not read: malformed, or outside of what it may read. */
  readonly refused: readonly string[];
  close?(): Promise<void>;
}

const CANARY = 'canary-value-7d21e0';

export function secretSourceContract(name: string, open: () => Promise<SecretPlace>): void {
  describe(`secret source contract: ${name}`, () => {
    let place: SecretPlace;
    beforeEach(async () => void (place = await open()));
    afterEach(async () => place.close?.());

    test.each([
      CANARY,
      'x',
      ' leading and trailing ',
      'line one\nline two',
      'ünïcødé 🔑',
      '{"a":1}',
      'k'.repeat(60_000),
    ])('gives the value as it was put: %#', async (value) => {
      const name = await place.put(value);
      expect(await place.source.read(name)).toMatchObject({ value });
    });

    test('a value that changed has another version, one that did not has the same, and neither version says the value', async () => {
      const before = await place.put(CANARY);
      const first = await place.source.read(before);
      expect(await place.source.read(before)).toEqual(first);
      const name = await place.put(`${CANARY}-2`);
      const second = await place.source.read(name);
      const third = await place.source.read(name);
      expect(second.value).toBe(`${CANARY}-2`);
      expect(second.version).not.toBe(first.version);
      expect(third).toEqual(second);
      for (const { version } of [first, second]) expect(version).not.toContain('canary');
    });

    test('what is not there is missing, and an error names it', async () => {
      await place.put(CANARY);
      await expect(place.source.read(place.absent)).rejects.toMatchObject({ code: 'secret_missing' });
    });

    test('names that are no names, or lie outside, are refused and nothing is read', async () => {
      await place.put(CANARY);
      for (const refused of ['', 'nonsense', 'env:', 'file:relative', 'http://x', ...place.refused])
        await expect(place.source.read(refused), refused).rejects.toMatchObject({
          code: expect.stringMatching(/^secret_(?:reference|missing)$/),
          message: expect.not.stringContaining('canary'),
        });
    });
  });
}
