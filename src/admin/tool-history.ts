/**
 * What happened to an item, and the way back to the last good definition (TD-09). One reviewer rolls back what two people had agreed to:
 * both yeses stand in the record that comes back. What had only one, by the setting for one person or from the samples, is reviewed anew.
 */
import { z } from 'zod';
import { restorable, stepsOf } from '../integrity/history.ts';
import { DigestText, type Approved, type ToolRecord } from '../integrity/records.ts';
import { restore, takesTwo } from '../integrity/review.ts';
import { scanDefinition } from '../integrity/scan.ts';
import { toolStanding } from '../integrity/standing.ts';
import { err, ok } from '../lib/result.ts';
import { conflict, forbidden } from './problem.ts';
import { handler, Reason } from './route.ts';
import { commitTool, everStricter, reviewProblem } from './tool-review.ts';
import { toolOf } from './tools.ts';

export const toolHistory = handler({
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const changes = await ask.ctx.state.history('tool', ask.ctx.org, found.value.id);
    const good = restorable(changes).map(({ digest, risk, scope, by, proposedBy, at }) => ({
      digest,
      risk,
      scope,
      by,
      proposedBy: proposedBy ?? null,
      at,
    }));
    return ok({ body: { tool: found.value.id, standing: toolStanding(found.value), steps: stepsOf(changes), good } });
  },
});

export const rollbackTool = handler({
  body: z.strictObject({
    to: DigestText.optional().describe('Digest of a definition that was approved before; left out: the last good one.'),
    reason: Reason,
  }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { ctx, body } = ask;
    const { id, revision: _revision, ...tool } = found.value;
    const candidates = restorable(await ctx.state.history('tool', ctx.org, id));
    const good = candidates.find(({ digest }) => body.to === undefined || digest === body.to);
    if (good === undefined)
      return err(
        conflict(
          'nothing_good',
          body.to === undefined
            ? 'There is no earlier approval that still stands.'
            : 'That definition is in force, was never approved, or its approval was withdrawn.',
          'Its history shows what can be brought back; anything else takes a review.',
        ),
      );
    if (
      !ctx.facts.unsafeOnePersonMayDecide &&
      !twoAgreed(good) &&
      needsTwo(tool, good, await everStricter(ask, id, good))
    )
      return err(ONE_ONLY);
    const restored = restore(tool, good, ctx.clock.now());
    if (!restored.ok) return err(reviewProblem(restored.error));
    const { digest, risk, scope } = good;
    return commitTool(ask, found.value, restored.value, 'tool.rolled_back', body.reason, {
      digest,
      risk,
      scope,
      replaced: tool.approved?.digest ?? null,
    });
  },
});

const ONE_ONLY = forbidden(
  'needs_second_person',
  'That approval had the yes of one person, and what it allows takes two.',
  'Propose it once the server offers that definition again; somebody else approves.',
);

const twoAgreed = ({ by, proposedBy }: Approved): boolean => proposedBy !== undefined && proposedBy !== by;

/** By the rules of an approval today: else what was called reading once is called so again by one person, whatever has been learned since. */
function needsTwo(tool: ToolRecord, { risk, digest, definition }: Approved, everOther: boolean): boolean {
  const then = { ...tool, observed: { digest, definition, seenAt: 0 } };
  return takesTwo(then, risk, scanDefinition(definition), everOther) !== null;
}
