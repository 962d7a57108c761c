/**
 * The arguments of a held call at rest: sealed to this call in this organisation, so that a copy of the store holds none of them and a
 * sealed text moved to another record opens as nothing. Opened for who asked and for who decides, nowhere else.
 */
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import { sealedBox } from '../lib/sealed-box.ts';
import type { Approval } from './records.ts';

export interface ArgumentsBox {
  /** @throws Fault `sealed_too_large` */
  seal(args: JsonObject, call: string): string;
  /** Null: altered, of another call, or sealed by a key that we no longer hold. */
  open(approval: Pick<Approval, 'arguments' | 'sealed' | 'call'>): JsonObject | null;
}

/** @param keys 32 random bytes each, the same on all nodes; the first seals, all open. */
export function argumentsBox(keys: readonly Uint8Array[], org: string): ArgumentsBox {
  const box = sealedBox(keys, 'approval');
  return {
    seal: (args, call) => box.seal(JSON.stringify(args), `${org} ${call}`),
    open({ arguments: plain, sealed, call }) {
      if (sealed === undefined) return plain ?? null;
      const opened = box.open(sealed, `${org} ${call}`);
      const value: unknown = opened === null ? null : JSON.parse(opened);
      return isJsonObject(value) ? value : null;
    },
  };
}
