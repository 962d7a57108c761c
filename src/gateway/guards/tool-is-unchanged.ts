/**
 * Immediately before dispatch: what the server says about the tool, looked at no longer ago than its risk class allows,
 * is what was approved (TD-02). A server that cannot be asked is not called.
 */
import { toolStanding } from '../../integrity/standing.ts';
import type { Digest } from '../../lib/canonical-json.ts';
import { isFault } from '../../lib/fault.ts';
import { CONFIRM_WITHIN_MS } from '../catalogue.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';

type Seen = { readonly tools: ReadonlyMap<string, Digest> } | { readonly fault: string };

export const toolIsUnchanged = guard<Seen>({
  name: 'tool-is-unchanged',
  gather(call, ports) {
    const tool = known(call, 'tool');
    const maxAgeMs = CONFIRM_WITHIN_MS[tool.facts!.risk];
    const last = ports.catalogue.seen(call.endpoint.server);
    if (last && maxAgeMs > 0 && ports.clock.now() - last.at <= maxAgeMs) return { tools: last.tools };
    return ports.catalogue.confirm(known(call, 'server'), maxAgeMs, call.inflight.signal).then(
      ({ tools }) => ({ tools }),
      (error: unknown) => ({ fault: isFault(error) ? error.code : 'cancelled' }),
    );
  },
  decide(call, seen) {
    if ('fault' in seen) return deny({ reason: 'tool_unconfirmed', fault: seen.fault });
    const tool = known(call, 'tool');
    const digest = seen.tools.get(tool.name) ?? null;
    const standing = toolStanding(tool.record, digest);
    if (standing === 'approved') return learn({ seen: seen.tools });
    if (standing === 'changed')
      return deny({ reason: 'tool_changed', approved: tool.approved!.digest, seen: digest ?? '' });
    return deny({ reason: 'tool_gone' });
  },
});
