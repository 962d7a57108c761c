/**
 * The tool exists, was approved as the server shows it now, is not locked, and policy lets this person see it.
 * A tool they may not see and a tool that does not exist get the same answer at the same cost, without a word to the server (AZ-01).
 */
import { toolStanding } from '../../integrity/standing.ts';
import type { Digest } from '../../lib/canonical-json.ts';
import { visible } from '../../policy/decide.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import { lockOn } from '../standing.ts';

export const toolIsTheirs = guard<{ now: number; seen: ReadonlyMap<string, Digest> | undefined }>({
  name: 'tool-is-theirs',
  gather: (call, ports) => ({ now: ports.clock.now(), seen: ports.catalogue.seen(call.endpoint.server)?.tools }),
  decide(call, { now, seen }) {
    const server = known(call, 'server');
    const person = known(call, 'person');
    const name = call.message.params['name'];
    const tool = typeof name === 'string' ? server.tools.get(name) : undefined;
    if (!tool?.approved || !tool.facts) return deny({ reason: tool ? 'tool_unreviewed' : 'tool_unknown' });

    const { policies } = call.snapshot;
    if (!policies || !visible(policies, { person, agent: known(call, 'caller').clientId, at: now }, tool.facts))
      return deny({ reason: 'policy_denied', visible: false, because: 'not_visible', rules: [] });

    const lock = lockOn(call.snapshot, { server: tool.server, tool: tool.name }, now);
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: 'tool' });

    // Asked again before dispatch: the intent, and any approval, speak of what was found the first time, not of a later review of it.
    const before = call.facts.tool?.approved;
    const { digest, risk, scope } = tool.approved;
    if (before && (before.digest !== digest || before.risk !== risk || before.scope !== scope))
      return deny({ reason: 'tool_changed', approved: before.digest, seen: digest });
    // Never seen by this node yet: the later guard that looks again decides. Once it has, nothing looks again.
    if (!seen && call.facts.seen) return deny({ reason: 'tool_unconfirmed', fault: 'sighting_lost' });
    if (seen) {
      const standing = toolStanding(tool.record, seen.get(tool.name) ?? null);
      if (standing === 'changed')
        return deny({ reason: 'tool_changed', approved: tool.approved.digest, seen: seen.get(tool.name) ?? '' });
      if (standing !== 'approved') return deny({ reason: 'tool_gone' });
    }
    if (!tool.check) return deny({ reason: 'schema_unusable' });
    return learn({ tool });
  },
});
