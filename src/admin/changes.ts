/** The history of governance state, read back: what changed after a revision, and every change of one record. */
import { z } from 'zod';
import { err, ok } from '../lib/result.ts';
import { notFound } from './problem.ts';
import { handler, queryNumber } from './route.ts';

const FEED_LIMIT = 500;

export const changesFeed = handler({
  query: z.strictObject({ after: queryNumber(0, Number.MAX_SAFE_INTEGER).default(0) }),
  run: async ({ ctx, query }) => {
    const changes = await ctx.state.changesAfter(query.after, FEED_LIMIT);
    const last = changes.at(-1)?.revision ?? query.after;
    // Revisions of other organisations leave gaps, never content.
    return ok({
      body: { changes: changes.filter(({ org }) => org === ctx.org), next: last, more: changes.length >= FEED_LIMIT },
    });
  },
});

export const recordHistory = handler({
  run: async ({ ctx, params }) => {
    const { kind = '', id = '' } = params;
    const changes = await ctx.state.history(kind, ctx.org, id);
    return changes.length === 0 ? err(notFound(`history of ${kind}`, id)) : ok({ body: { changes } });
  },
});
