/**
 * The `requestState` we give to modern clients with an `input_required` result (MRTR; M20): what we must know again when the same
 * request comes back with answers, sealed. It comes back from a client, so it proves that we said it, never who brings it: the gateway
 * compares `who`, `server`, `method`, `item` and `args` with the request that carries it. Single use is a list's business, not ours.
 */
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { Json } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { sealedBox } from '../lib/sealed-box.ts';

const State = z.strictObject({
  /** Person, agent and issuer as the gateway writes them. */
  who: z.string(),
  org: z.string(),
  server: z.string(),
  method: z.string(),
  /** Key of the item that is used. */
  item: z.string(),
  /** Digest of the arguments: the retry must carry the same. */
  args: z.string(),
  /** ms since the epoch. */
  exp: z.number().int(),
  /** How often input was asked for in this request already. */
  round: z.number().int().nonnegative(),
  /** The server's own request state, as it gave it. */
  upstream: z.string().nullable(),
  /** A call that waits on a node for its answers. */
  park: z.strictObject({ node: z.string(), id: z.string() }).nullable(),
  /** What was asked, under the keys the client knows. */
  asked: z.record(z.string(), z.strictObject({ method: z.string(), params: z.record(z.string(), z.json()) })),
  approval: z.strictObject({ id: z.string(), call: z.string() }).nullable(),
  /** The approval that this request waits for; nothing was sent. */
  held: z.string().exactOptional(),
  /** Log index of the entry that says so. */
  heldAt: z.number().int().exactOptional(),
});
type Ask = { readonly method: string; readonly params: { readonly [key: string]: Json } };
export type RequestState = Readonly<Omit<z.infer<typeof State>, 'asked'>> & {
  readonly asked: Readonly<Record<string, Ask>>;
};

export interface RequestStates {
  /** @throws Fault `sealed_too_large` beyond 256 KiB. */
  seal(state: RequestState): string;
  /** `unknown`: not ours, altered, or sealed by a key we no longer hold. Both are -32602 for the client. */
  open(text: string): Result<RequestState, 'unknown' | 'expired'>;
}

const MAX_SEALED = 262_144;

export function requestStates(keys: readonly Uint8Array[], clock: Clock): RequestStates {
  const box = sealedBox(keys, 'request state', MAX_SEALED);
  return {
    seal: (state) => box.seal(JSON.stringify(state)),
    open: (text) => {
      const opened = box.open(text);
      if (opened === null) return err('unknown');
      const state = State.safeParse(JSON.parse(opened));
      if (!state.success) return err('unknown');
      return clock.now() < state.data.exp ? ok(state.data) : err('expired');
    },
  };
}
