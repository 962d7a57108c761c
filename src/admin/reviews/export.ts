/**
 * A campaign as evidence that anybody can check without us: the document, its digest in a log entry, and the receipt of that entry under a
 * signed checkpoint. `remit-verify --receipt` checks the receipt; the digest is SHA-256 over the document in canonical JSON (RFC 8785).
 */
import { adminEntry } from '../../audit/entries.ts';
import { showEntry } from '../../audit/query.ts';
import { digestOf } from '../../lib/canonical-json.ts';
import type { JsonObject } from '../../lib/json.ts';
import { err, ok } from '../../lib/result.ts';
import { Grant } from '../../policy/grants.ts';
import { exceptionsAt } from '../exceptions.ts';
import { itemOf } from '../records.ts';
import { handler } from '../route.ts';
import { campaignOf, itemsIn } from './campaigns.ts';

export const exportCampaign = handler({
  run: async ({ ctx, who, params, ref }) => {
    const found = campaignOf(ctx, params['review'] ?? '');
    if (!found.ok) return found;
    const { ledger, log } = ctx.audit;
    const items = itemsIn(ctx, found.value.id).map((item) => ({
      ...item,
      access: itemOf(ctx, 'grant', item.grant, Grant) ?? null,
    }));
    const document = JSON.parse(
      JSON.stringify({
        format: 'remit-access-review-1',
        org: ctx.org,
        log: log.origin,
        exportedAt: ctx.clock.now(),
        exportedBy: who.person,
        review: found.value,
        items,
        // AP-08: what is wider than the rules of the house belongs in every report on who may do what.
        exceptions: await exceptionsAt(ctx, ctx.clock.now()),
      }),
    ) as JsonObject;
    const digest = digestOf(document);
    try {
      const event = { what: 'review.exported', subject: `campaign/${found.value.id}`, digest, items: items.length };
      const { index } = await log.record(adminEntry(log.stamp({ ref }), event, who.actor));
      const { text } = await showEntry(ledger, log.log, index);
      return ok({
        body: {
          document,
          digest,
          entry: { index, text },
          receipt: await log.receipt(index),
          verifierKey: ctx.audit.verifierKey,
        },
      });
    } catch (fault) {
      ctx.log.error({ ref, err: fault }, 'an access review could not be exported');
      return err({
        status: 503,
        code: 'record_missing',
        message: 'An export is recorded in the log, and that is not possible now.',
        remedy: 'Repair the audit log, then export again.',
      });
    }
  },
});
