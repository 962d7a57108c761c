/**
 * Tells people what happened, at every active target, each on its own: one that is away delays nobody else. Follows the target records as
 * they change. Nothing waits for it: a gateway whose messages do not leave decides as before.
 */
import { isFault } from '../../lib/fault.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Snapshot } from '../../gateway/snapshot.ts';
import type { Follower, StateStore } from '../../store/state.ts';
import { deliver } from '../../upstream/event-delivery.ts';
import type { Answer, DeliveryStatus, EventDelivery } from '../../upstream/event-delivery.ts';
import { noticesFor, STALE_MS } from './history.ts';
import { sendMail } from './mail.ts';
import type { SmtpSettings } from './mail.ts';
import { noticesOf } from './notices.ts';
import type { Notice } from './notices.ts';
import { NotificationTarget } from './records.ts';
import { sendWebhook } from './webhook.ts';

export interface NotifierDeps {
  readonly org: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly follower: Pick<Follower, 'records' | 'revision' | 'onAdvance'>;
  readonly snapshot: () => Snapshot;
  readonly resolveSecret: (reference: { readonly secret: string }) => Promise<string>;
  /** Null: no e-mail leaves. */
  readonly smtp: SmtpSettings | null;
  /** Where people meet the pages: an origin. */
  readonly publicUrl: string;
  readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
}

export interface Notifier {
  status(): ReadonlyMap<string, DeliveryStatus>;
  close(): Promise<void>;
}

interface Running {
  readonly revision: number;
  readonly delivery: EventDelivery;
}

export function startNotifier(deps: NotifierDeps): Notifier {
  const { org, state, follower, log } = deps;
  const running = new Map<string, Running>();
  const ending = new Set<Promise<void>>();

  const end = ({ delivery }: Running): void => {
    const closing = delivery.close().finally(() => ending.delete(closing));
    ending.add(closing);
  };

  function follow(): void {
    const seen = new Set<string>();
    for (const { id, revision, body } of follower.records.list('notification_target', org)) {
      const target = NotificationTarget.safeParse(body).data;
      if (target?.state !== 'active') continue;
      seen.add(id);
      const before = running.get(id);
      if (before?.revision === revision) continue;
      if (before) end(before);
      running.set(id, { revision, delivery: deliveryTo(id, target, deps) });
    }
    for (const [id, one] of running) {
      if (seen.has(id)) continue;
      running.delete(id);
      end(one);
    }
  }

  follow();
  const stopFollowing = follower.onAdvance((changed) => {
    try {
      if (changed.some(({ kind }) => kind === 'notification_target')) follow();
    } catch (fault) {
      log.error({ err: fault }, 'notification targets cannot be followed');
    }
  });
  const stopWaking = state.onCommit(() => {
    for (const { delivery } of running.values()) delivery.wake();
  });

  return {
    status: () => new Map([...running].map(([id, { delivery }]) => [id, delivery.status()])),
    async close() {
      stopFollowing();
      stopWaking();
      await Promise.all([...[...running.values()].map(({ delivery }) => delivery.close()), ...ending]);
    },
  };
}

function deliveryTo(id: string, target: NotificationTarget, deps: NotifierDeps): EventDelivery {
  const { clock, log } = deps;
  const { types } = target;
  return deliver<Notice & { readonly completes: number | null }>({
    source: noticesFor({
      ...deps,
      target: id,
      wanted: ({ type }) => types === undefined || types.includes(type),
      noticesOf: (changes) => noticesOf(changes, deps),
    }),
    send: (notice, signal) => sendTo(target, notice, deps, signal),
    clock,
    onRefused: (notice, code) =>
      log.warn({ target: id, notice: notice.id, type: notice.type, code }, 'a notice was not taken'),
    onLater: (code) => log.warn({ target: id, code }, 'notices cannot be sent now'),
    onFault: (fault) =>
      log.error({ target: id, err: isFault(fault) ? { code: fault.code } : fault }, 'notices cannot be sent'),
  });
}

async function sendTo(
  { channel }: NotificationTarget,
  notice: Notice,
  deps: NotifierDeps,
  signal: AbortSignal,
): Promise<Answer> {
  // One that is never taken must not hold up the others for ever.
  if (deps.clock.now() - notice.at >= STALE_MS) return { kind: 'refused', code: 'too_old' };
  const url = `${deps.publicUrl}${notice.path}`;
  if (channel.kind === 'webhook') {
    const secret = () => deps.resolveSecret(channel.secret);
    return sendWebhook(
      { url: channel.url, allowedNetworks: channel.allowedNetworks, secret },
      notice,
      url,
      deps.clock,
      signal,
    );
  }
  if (deps.smtp === null) return { kind: 'later', code: 'smtp_not_configured' };
  return sendMail(deps.smtp, notice, url, channel.to === 'concerned' ? addressesOf(notice, deps) : channel.to);
}

function addressesOf({ concerns }: Notice, { snapshot }: NotifierDeps): readonly string[] {
  const { people } = snapshot();
  return concerns.flatMap((id) => people.byId(id)?.email ?? []);
}
