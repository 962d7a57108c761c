/**
 * Planted secrets (CI-07): values that open nothing and that nobody has a reason to send. One that turns up in what goes to a server, or in
 * what comes from one, says that somebody reads where it lies. The value is sealed to its record and shown once, when it is made; record
 * kind `honeytoken`. Not done here: finding it (content/matcher.ts), what is done then (the gateway).
 */
import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { sealedBox } from '../lib/sealed-box.ts';

/** Short ones turn up by chance. */
export const HoneytokenValue = z
  .string()
  .regex(/^[\x21-\x7e]{20,200}$/, 'must be 20 to 200 visible ASCII characters without spaces');

const Said = z.strictObject({
  by: z.string().min(1),
  at: z.number().int(),
  reason: z.string().min(1).max(1_000),
});

export const Honeytoken = z.strictObject({
  title: z.string().min(1).max(200),
  /** Where it lies, in words: whoever reads the incident has to find out who reads there. */
  placed: z.string().min(1).max(500),
  /** Directory id, or `group/` and an id: who is told. */
  owner: z.string().min(1).max(200),
  sealed: z.string().max(4_096),
  madeAt: z.number().int(),
  /** Who wants it looked for no longer. It is, until somebody else agrees. */
  retiring: Said.exactOptional(),
  /** From then on it is not looked for. `agreed`: who agreed to what `by` proposed. */
  retired: Said.extend({ agreed: z.string().min(1).exactOptional() }).exactOptional(),
});
export type Honeytoken = z.infer<typeof Honeytoken>;

export interface HoneytokenBox {
  seal(value: string, id: string): string;
  /** Null: altered, of another record, or sealed by a key that we no longer hold. */
  open(sealed: string, id: string): string | null;
}

/** @param keys 32 random bytes each, the same on all nodes; the first seals, all open. */
export function honeytokenBox(keys: readonly Uint8Array[], org: string): HoneytokenBox {
  const box = sealedBox(keys, 'honeytoken', 4_096);
  return {
    seal: (value, id) => box.seal(value, `${org} ${id}`),
    open: (sealed, id) => box.open(sealed, `${org} ${id}`),
  };
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** 40 letters and digits, about 238 bits: it is nobody's but by being copied. */
export const newHoneytoken = (): string =>
  Array.from({ length: 40 }, () => LETTERS[randomInt(LETTERS.length)]!).join('');
