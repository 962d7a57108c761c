/**
 * What known people were refused, in the log: every refusal for want of rights, and every change that was refused, whatever the reason.
 * Bounded: so many in a minute of one person, and fewer of one person, route and reason, so that nobody easily hides an attempt behind a
 * flood of another kind. The last that is recorded says that what follows is counted; the count stands in their next entry.
 * Codes and ids only: what was sent may hold anything. What the directory does not know is not recorded here (authenticate.ts).
 */
import { LRUCache } from 'lru-cache';
import type { AuditLog } from '../audit/audit-log.ts';
import { adminEntry } from '../audit/entries.ts';
import { holdsLiteralSecret } from '../lib/definition-secrets.ts';
import type { AdminContext } from './context.ts';
import type { Problem } from './problem.ts';
import type { AdminCaller, Route } from './route.ts';

const MINUTE_MS = 60_000;
const PER_MINUTE: Bounds = { alike: 20, person: 240 };
/** Forgetting a count lets its kind be recorded again. */
const REMEMBERED = 20_000;
const PLAIN = /^[\w.:~/-]{1,128}$/;

export interface Refusals {
  /** In the log when it resolves, if it is to be there. Never throws: if the log cannot take it, the refusal stands all the same. */
  note(ref: string, who: AdminCaller, route: Refused, problem: Problem): Promise<void>;
}

export type Refused = Pick<Route, 'method' | 'path'> & {
  readonly scope?: string;
  readonly params?: Readonly<Record<string, string>>;
};

interface Bounds {
  /** Of one person, route and reason. */
  readonly alike: number;
  readonly person: number;
}

interface Count {
  readonly from: number;
  recorded: number;
  silent: number;
}

export function refusals(
  ctx: Pick<AdminContext, 'clock' | 'log'> & { readonly audit: { readonly log: AuditLog } },
  perMinute = PER_MINUTE,
): Refusals {
  const counts = new LRUCache<string, Count>({ max: REMEMBERED });

  function countOf(key: string): Count {
    const now = ctx.clock.now();
    const known = counts.get(key);
    if (known !== undefined && now - known.from < MINUTE_MS && now >= known.from) return known;
    const next = { from: now, recorded: 0, silent: known?.silent ?? 0 };
    counts.set(key, next);
    return next;
  }

  return {
    async note(ref, who, { method, path, scope, params }, { status, code }) {
      if (status >= 500 || (status !== 401 && status !== 403 && scope !== 'admin:write')) return;
      const person = `${who.token.issuer} ${who.token.subject}`;
      const [alike, all] = [countOf(`${person} ${method} ${path} ${code}`), countOf(person)];
      if (alike.recorded >= perMinute.alike || all.recorded >= perMinute.person) {
        all.silent += 1;
        return;
      }
      alike.recorded += 1;
      all.recorded += 1;
      const before = all.silent;
      all.silent = 0;
      const subject = Object.values(params ?? {}).join('/');
      const event = {
        what: 'request.refused',
        route: `${method} ${path}`,
        reason: code,
        ...(PLAIN.test(subject) && !holdsLiteralSecret(subject) && { subject }),
        ...(before > 0 && { unrecordedBefore: before }),
        ...((alike.recorded === perMinute.alike || all.recorded === perMinute.person) && { furtherAreCounted: true }),
      };
      try {
        await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, who.actor));
      } catch (fault) {
        ctx.log.error({ ref, err: fault }, 'refusal could not be recorded');
      }
    },
  };
}
