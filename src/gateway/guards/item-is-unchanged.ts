/**
 * Immediately before dispatch: what the server says about the item, looked at no longer ago than its risk class allows and on the very
 * connection that will be used, is what was approved (TD-02). A server that cannot be asked is not called.
 */
import { toolStanding } from '../../integrity/standing.ts';
import { abortable } from '../../lib/abortable.ts';
import type { Digest } from '../../lib/canonical-json.ts';
import { isFault } from '../../lib/fault.ts';
import { UpstreamFault } from '../../upstream/connection.ts';
import type { Lane } from '../../upstream/target.ts';
import type { Call } from '../call.ts';
import { CONFIRM_WITHIN_MS } from '../catalogue.ts';
import { known } from '../call.ts';
import type { Denial } from '../denial.ts';
import { deny, guard, learn } from '../guard.ts';
import type { GuardPorts } from '../guard.ts';
import { crowded, keysOf } from '../limits.ts';
import type { Full } from '../limits.ts';

type Seen =
  | { readonly tools: ReadonlyMap<string, Digest>; readonly lane: Lane | null }
  | { readonly fault: string; readonly retryAfterMs?: number | undefined }
  /** Whose places are taken. */
  | { readonly full: Full };

export const itemIsUnchanged = guard<Seen>({
  name: 'item-is-unchanged',
  gather(call, ports) {
    const lane = ports.laneOf(call);
    const looked =
      lane instanceof Promise
        ? abortable(lane, call.inflight.signal).then((found) => look(call, found, ports))
        : look(call, lane, ports);
    return looked instanceof Promise ? waited(call, looked, ports) : looked;
  },
  decide(call, seen) {
    if ('full' in seen) return deny(crowded(seen.full));
    if ('fault' in seen && seen.retryAfterMs !== undefined) return deny(leftAlone(call, seen.retryAfterMs));
    if ('fault' in seen && seen.fault === 'upstream_unlinked')
      return deny({ reason: 'account_not_linked', server: known(call, 'tool').server });
    if ('fault' in seen) return deny({ reason: 'tool_unconfirmed', fault: seen.fault });
    const tool = known(call, 'tool');
    const digest = seen.tools.get(tool.key) ?? null;
    const standing = toolStanding(tool.record, digest);
    if (standing === 'approved') return learn({ seen: seen.tools, lane: seen.lane });
    if (standing === 'changed')
      return deny({ reason: 'tool_changed', approved: tool.approved!.digest, seen: digest ?? '' });
    return deny({ reason: 'tool_gone' });
  },
});

/** Who waits for a server takes a place among those who do: one that does not answer holds no more than its own (RL-04). */
async function waited(call: Call, looked: Promise<Seen>, { limits }: GuardPorts): Promise<Seen> {
  const keys = keysOf(call);
  const full = limits.enter(keys, known(call, 'server').record.limits);
  if (full !== null) {
    looked.catch(() => undefined);
    return { full };
  }
  try {
    return await looked;
  } catch (error) {
    return {
      fault: isFault(error) ? error.code : 'cancelled',
      ...(error instanceof UpstreamFault && { retryAfterMs: error.retryAfterMs }),
    };
  } finally {
    limits.leave(keys);
  }
}

/** Nothing was sent, and nothing will be for so long. */
export const leftAlone = (call: Call, retryAfterMs: number): Denial => ({
  reason: 'server_unwell',
  server: known(call, 'server').id,
  retryAfterSeconds: Math.max(1, Math.ceil(retryAfterMs / 1_000)),
});

function look(call: Call, lane: Lane | null, { catalogue, clock }: GuardPorts): Seen | Promise<Seen> {
  const tool = known(call, 'tool');
  const maxAgeMs = CONFIRM_WITHIN_MS[tool.facts!.risk];
  const last = catalogue.seen(tool.server, lane ?? undefined);
  if (last && maxAgeMs > 0 && clock.now() - last.at <= maxAgeMs) return { tools: last.tools, lane };
  return catalogue
    .confirm(known(call, 'server'), maxAgeMs, call.inflight.signal, lane ?? undefined)
    .then(({ tools }) => ({ tools, lane }));
}
