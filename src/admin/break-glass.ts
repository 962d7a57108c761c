/**
 * Accounts for the day when sign-in is broken (ID-07). Each use is an alarm: an audit entry that must be durable before the request goes on,
 * a line at error level, a counter, and a place in the status. A use is a token: what follows with the same one is the same use.
 */
import { metrics } from '@opentelemetry/api';
import { LRUCache } from 'lru-cache';
import type { AuditLog } from '../audit/audit-log.ts';
import { adminEntry } from '../audit/entries.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { AdminContext } from './context.ts';
import type { Problem } from './problem.ts';
import type { AdminCaller } from './route.ts';

export interface BreakGlassUse {
  readonly person: string;
  readonly name: string;
  /** ms since the epoch. */
  readonly at: number;
  readonly ref: string;
}

export interface BreakGlass {
  /** Nothing for anybody else. The error: the alarm could not be recorded, so the account opens nothing. */
  note(who: AdminCaller, ref: string, route: string): Promise<Result<true, Problem>>;
  /** The last uses on this node since it started, newest first. */
  readonly uses: readonly BreakGlassUse[];
}

const SHOWN = 20;

const NOT_RECORDED: Problem = {
  status: 503,
  code: 'record_missing',
  message: 'The use of a break-glass account could not be recorded, so it opens nothing.',
  remedy: 'Repair the audit log.',
};

export function breakGlass(
  ctx: Pick<AdminContext, 'clock' | 'log'> & { readonly audit: { readonly log: AuditLog } },
): BreakGlass {
  const counter = metrics.getMeter('remit-gateway').createCounter('remit.break_glass.uses', {
    description: 'Uses of break-glass accounts on the admin plane',
  });
  const seen = new LRUCache<string, true>({ max: 1_000 });
  const uses: BreakGlassUse[] = [];
  return {
    uses,
    async note(who, ref, route) {
      if (!who.breakGlass) return ok(true);
      const token = `${who.token.issuer} ${who.token.tokenId}`;
      if (seen.has(token)) return ok(true);
      const event = { what: 'break_glass.used', subject: `person/${who.person}`, route };
      try {
        await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, who.actor));
      } catch (fault) {
        ctx.log.error(
          { ref, person: who.person, err: fault },
          'a break-glass account was refused: its use could not be recorded',
        );
        return err(NOT_RECORDED);
      }
      seen.set(token, true);
      counter.add(1);
      uses.unshift({ person: who.person, name: who.name, at: ctx.clock.now(), ref });
      uses.length = Math.min(uses.length, SHOWN);
      ctx.log.error({ ref, person: who.person, client: who.token.clientId, route }, 'a break-glass account is in use');
      return ok(true);
    },
  };
}
