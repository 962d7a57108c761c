/**
 * When a source of identity last spoke to us, as a record, so that every node and every restart knows it (TRUST.md R6).
 * Written at most once a minute for each source: the age of a contact is shown and acted on in minutes.
 */
import type { JsonObject } from '../../lib/json.ts';
import type { Write } from '../../store/state.ts';
import type { AdminContext } from '../context.ts';

const AT_MOST_EVERY_MS = 60_000;

type Parts = Pick<AdminContext, 'org' | 'clock' | 'follower'>;

/** To be committed with whatever the source said; null: a contact of less than a minute ago is on record. */
export function contactWrite(ctx: Parts, source: string): Write | null {
  const now = ctx.clock.now();
  const at = Number(ctx.follower.records.get('contact', ctx.org, source)?.body['at'] ?? 0);
  if (now - at < AT_MOST_EVERY_MS && at <= now) return null;
  // Last writer wins: two nodes that hear the source at once say the same.
  return { kind: 'contact', org: ctx.org, id: source, body: { at: now } satisfies JsonObject };
}

/** Records a contact that brought nothing else. No entry in the audit log: nothing was decided. @throws StoreFault */
export async function noteContact(ctx: Parts & Pick<AdminContext, 'state'>, source: string): Promise<void> {
  const write = contactWrite(ctx, source);
  if (write === null) return;
  const { revision } = await ctx.state.commit({ actor: `source:${source}`, reason: 'contact', writes: [write] });
  await ctx.follower.advanceTo(revision);
}
