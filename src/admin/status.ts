/** How this node stands: revision, freshness, log, unsafe settings, records that were left out. Facts only, no secrets. */
import type { AuditLogStatus } from '../audit/audit-log.ts';
import { err, ok } from '../lib/result.ts';
import { eventAlarms, sourcesStatus } from './events/silence.ts';
import { handler } from './route.ts';

export const status = handler({
  run: async ({ ctx }) => {
    const { revision, problems } = ctx.snapshot();
    return ok({
      body: {
        version: ctx.facts.version,
        node: ctx.node,
        organisation: ctx.org,
        mcpUrl: ctx.facts.mcpUrl,
        revision,
        head: await ctx.state.head().catch(() => null),
        fresh: ctx.follower.isFresh(ctx.facts.freshnessLimitMs),
        notReady: ctx.notReady(),
        alarms: [
          ...eventAlarms(ctx),
          ...new Set(ctx.breakGlass.uses.map(({ person }) => `break_glass_used:${person}`)),
        ],
        sources: sourcesStatus(ctx),
        events: ctx.events?.peers() ?? [],
        breakGlass: ctx.breakGlass.uses,
        unsafe: ctx.facts.unsafeKeys,
        problems: [...problems.values()].flat(),
        audit: statusOfLog(ctx.audit.log.status()),
        posture: ctx.facts.posture,
      },
    });
  },
});

export const metrics = handler({
  run: async ({ ctx }) =>
    ctx.metrics === null
      ? err({
          status: 404,
          code: 'metrics_off',
          message: 'Metrics are off on this node.',
          remedy: 'Set telemetry.prometheus to true in remit.yaml and restart.',
        })
      : ok({ body: await ctx.metrics(), contentType: 'text/plain; version=0.0.4; charset=utf-8' }),
});

/** Without the fault's message: it may name files of the host. */
export function statusOfLog(log: AuditLogStatus): object {
  return {
    origin: log.origin,
    lastIndex: log.lastIndex,
    checkpoint: log.checkpoint,
    publishing: log.publishFault === null ? 'ok' : 'behind',
    gate: log.fatal === null ? 'open' : 'closed',
    fatal: log.fatal?.code ?? null,
  };
}
