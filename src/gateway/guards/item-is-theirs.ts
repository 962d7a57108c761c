/**
 * The item exists, was approved as the server shows it now, no switch takes it away, it is not locked, and policy lets this person see it.
 * An item they may not see and one that does not exist get the same answer at the same cost, without a word to the server (AZ-01, AZ-04).
 */
import { sameJudgement } from '../../integrity/same-judgement.ts';
import { toolStanding } from '../../integrity/standing.ts';
import { lockedUri } from '../../inventory/locks.ts';
import type { Digest } from '../../lib/canonical-json.ts';
import type { Call } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import { maySee } from '../may-see.ts';
import { itemNamed, resolveUri } from '../snapshot.ts';
import type { ToolEntry } from '../snapshot.ts';
import { lockOn } from '../standing.ts';

export const itemIsTheirs = guard<{ now: number; seen: ReadonlyMap<string, Digest> | undefined }>({
  name: 'item-is-theirs',
  gather: (call, ports) => ({
    now: ports.clock.now(),
    seen: ports.catalogue.seen(call.subject.server ?? '', call.facts.lane ?? undefined)?.tools,
  }),
  decide(call, { now, seen }) {
    const tool = itemOf(call);
    if (!tool?.approved || !tool.facts) return deny({ reason: tool ? 'tool_unreviewed' : 'tool_unknown' });
    if (tool.switchedOff !== null) return deny({ reason: 'tool_switched_off', by: tool.switchedOff });
    if (!maySee(call, tool.facts, now))
      return deny({ reason: 'policy_denied', visible: false, because: 'not_visible', rules: [] });

    // A lock on one URI counts although a template answers for it, and however it is spelled.
    const { locks } = call.snapshot;
    const { kind, name } = call.subject;
    const lock =
      lockOn(call.snapshot, { server: tool.server, tool: tool.key }, now) ??
      (kind === 'resource' && locks ? lockedUri(locks, tool.server, name ?? '', now) : null);
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: 'tool' });

    // Asked again before dispatch: the intent, and any approval, speak of what was found the first time, not of a later review of it.
    const before = call.facts.tool?.approved;
    // Arguments were put into one spelling by what was said of them then, too.
    if (before && !sameJudgement(before, tool.approved))
      return deny({ reason: 'tool_changed', approved: before.digest, seen: tool.approved.digest });
    // Never seen by this node yet: the later guard that looks again decides. Once it has, nothing looks again.
    if (!seen && call.facts.seen) return deny({ reason: 'tool_unconfirmed', fault: 'sighting_lost' });
    if (seen) {
      const standing = toolStanding(tool.record, seen.get(tool.key) ?? null);
      if (standing === 'changed')
        return deny({ reason: 'tool_changed', approved: tool.approved.digest, seen: seen.get(tool.key) ?? '' });
      if (standing !== 'approved') return deny({ reason: 'tool_gone' });
    }
    if (!tool.check) return deny({ reason: 'schema_unusable' });
    return learn({ tool });
  },
});

/** A URI belongs to the resource of exactly that URI, else to the first template that matches it (decision 0008). */
function itemOf({ subject: { kind, name }, facts: { server } }: Call): ToolEntry | undefined {
  if (!server || kind === null || name === null) return undefined;
  if (kind === 'resource') return resolveUri(server, name)?.item;
  return itemNamed(server, kind, name);
}
