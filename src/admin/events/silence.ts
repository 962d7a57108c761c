/**
 * Sources of identity that say nothing (TRUST.md R6): the age of their last word, and an alarm, once for each silence, when it is longer than
 * their record allows; the same for authorization servers that do not take our events. Whether silence closes the door is the record's
 * `whenSilent`, and decided where calls are decided (gateway/principal.ts), not by this clock.
 */
import { metrics } from '@opentelemetry/api';
import { adminEntry } from '../../audit/entries.ts';
import type { AdminContext } from '../context.ts';

export interface SourceStatus {
  readonly id: string;
  readonly kind: 'scim_connection' | 'event_stream';
  readonly title: string;
  readonly contactAt: number | null;
  readonly ageMs: number | null;
  readonly silenceAfterMs: number | null;
  readonly whenSilent: 'alarm' | 'refuse';
  readonly silent: boolean;
}

/** An authorization server that has not taken an event for so long is an alarm. */
export const NOT_TAKEN_AFTER_MS = 60_000;
const LOOK_EVERY_MS = 5_000;

type Parts = Pick<AdminContext, 'clock' | 'snapshot' | 'events'>;

export function sourcesStatus({ clock, snapshot }: Pick<Parts, 'clock' | 'snapshot'>): readonly SourceStatus[] {
  const now = clock.now();
  return [...snapshot().sources].map(([id, { kind, title, contactAt, silenceAfterMs, whenSilent }]) => {
    const ageMs = contactAt === null ? null : Math.max(0, now - contactAt);
    const silent = silenceAfterMs !== null && (ageMs === null || ageMs > silenceAfterMs);
    return { id, kind, title, contactAt, ageMs, silenceAfterMs, whenSilent, silent };
  });
}

/** Codes for the status: `source_silent:okta`, `events_not_taken:https://as.example.com`. */
export function eventAlarms(ctx: Parts): readonly string[] {
  const now = ctx.clock.now();
  const late = (ctx.events?.peers() ?? []).filter(
    ({ waitingSince }) => waitingSince !== null && now - waitingSince > NOT_TAKEN_AFTER_MS,
  );
  return [
    ...sourcesStatus(ctx)
      .filter(({ silent }) => silent)
      .map(({ id }) => `source_silent:${id}`),
    ...late.map(({ issuer }) => `events_not_taken:${issuer}`),
  ];
}

export interface SilenceWatch {
  /** Looks now. Resolves when what is new is recorded. */
  look(): Promise<void>;
  close(): Promise<void>;
}

export function watchSilence(ctx: Parts & Pick<AdminContext, 'audit' | 'log'>): SilenceWatch {
  /** When this node saw each source first that has not spoken yet. */
  const waitedSince = new Map<string, number>();
  const raised = new Set<string>();
  const age = metrics.getMeter('remit-gateway').createObservableGauge('remit.identity_source.age', {
    unit: 'ms',
    description: 'Time since the last word of a source of identity',
  });
  const observe = (result: { observe(value: number, labels: Record<string, string>): void }): void => {
    for (const { id, kind, ageMs } of sourcesStatus(ctx))
      if (ageMs !== null) result.observe(ageMs, { source: id, kind });
  };
  age.addCallback(observe);

  async function look(): Promise<void> {
    const now = ctx.clock.now();
    const since = (id: string): number => {
      if (!waitedSince.has(id)) waitedSince.set(id, now);
      return waitedSince.get(id)!;
    };
    for (const id of waitedSince.keys()) if (!ctx.snapshot().sources.has(id)) waitedSince.delete(id);
    const never = new Set(
      sourcesStatus(ctx)
        // A source that was connected a moment ago has as long for its first word as for every other.
        .filter(({ contactAt, silenceAfterMs, id }) => contactAt === null && now - since(id) <= (silenceAfterMs ?? 0))
        .map(({ id }) => `source_silent:${id}`),
    );
    const alarms = new Set(eventAlarms(ctx).filter((alarm) => !never.has(alarm)));
    for (const alarm of raised) {
      if (alarms.has(alarm)) continue;
      raised.delete(alarm);
      ctx.log.warn({ alarm }, 'alarm over: the other side was heard again');
    }
    for (const alarm of alarms) {
      if (raised.has(alarm)) continue;
      raised.add(alarm);
      ctx.log.warn({ alarm }, 'alarm: nothing was heard for longer than allowed');
      const [what = '', ...rest] = alarm.split(':');
      const event = { what: `alarm.${what}`, subject: rest.join(':') };
      await ctx.audit.log
        .record(adminEntry(ctx.audit.log.stamp(), event))
        .catch((fault: unknown) => ctx.log.error({ alarm, err: fault }, 'an alarm could not be recorded'));
    }
  }

  let looking: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look);
  }, LOOK_EVERY_MS);
  timer.unref();
  return {
    look,
    async close() {
      clearInterval(timer);
      age.removeCallback(observe);
      await looking;
    },
  };
}
