/** Notification targets over the API: who is told of what, and whether it arrives. */
import { z } from 'zod';
import { isNetwork } from '../../inventory/servers.ts';
import { err, ok } from '../../lib/result.ts';
import { SLUG } from '../../lib/slug.ts';
import { commitChange, expected } from '../commit.ts';
import { invalid, notFound } from '../problem.ts';
import { itemOf, itemsOf } from '../records.ts';
import { handler, Reason } from '../route.ts';
import { NotificationTarget } from './records.ts';

export const listTargets = handler({
  run: async ({ ctx }) => {
    const status = ctx.notices();
    const targets = itemsOf(ctx, 'notification_target', NotificationTarget);
    return ok({ body: { targets: targets.map((target) => ({ ...target, delivery: status.get(target.id) ?? null })) } });
  },
});

export const getTarget = handler({
  run: async ({ ctx, params }) => {
    const id = params['target'] ?? '';
    const target = itemOf(ctx, 'notification_target', id, NotificationTarget);
    if (!target) return err(notFound('notification target', id));
    return ok({ body: { ...target, delivery: ctx.notices().get(id) ?? null }, revision: target.revision });
  },
});

export const putTarget = handler({
  body: z.strictObject({ reason: Reason, target: NotificationTarget }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['target'] ?? '';
    if (!SLUG.test(id))
      return err(
        invalid(
          'target',
          'This is not an id for a target.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    const { channel } = body.target;
    if (channel.kind === 'webhook') {
      const network = channel.allowedNetworks.findIndex((one) => !isNetwork(one));
      if (network !== -1)
        return err(
          invalid(
            `target.channel.allowedNetworks.${network}`,
            'This is not a network such as 10.1.0.0/16 or fd00::/8.',
          ),
        );
      const { protocol, username, password } = new URL(channel.url);
      if (username !== '' || password !== '')
        return err(
          invalid('target.channel.url', 'An address holds no user and no password.', 'The signature says who speaks.'),
        );
      if (protocol === 'http:' && channel.allowedNetworks.length === 0)
        return err(
          invalid(
            'target.channel.url',
            'The address is not encrypted.',
            'Use https, or list the private network in allowedNetworks.',
          ),
        );
    }
    const before = itemOf(ctx, 'notification_target', id, NotificationTarget);
    const revision = expected(ask.seen, before?.revision);
    if (!revision.ok) return revision;
    const done = await commitChange(ask, {
      what: before ? 'notification_target.changed' : 'notification_target.added',
      subject: `notification_target/${id}`,
      reason: body.reason,
      facts: { channel: channel.kind, state: body.target.state },
      writes: [{ kind: 'notification_target', org: ctx.org, id, body: body.target, expectedRevision: revision.value }],
    });
    return done.ok
      ? ok({ status: before ? 200 : 201, body: { id, revision: done.value }, revision: done.value })
      : done;
  },
});

export const deleteTarget = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['target'] ?? '';
    const before = itemOf(ctx, 'notification_target', id, NotificationTarget);
    if (!before) return err(notFound('notification target', id));
    const done = await commitChange(ask, {
      what: 'notification_target.removed',
      subject: `notification_target/${id}`,
      reason: body.reason,
      writes: [
        { kind: 'notification_target', org: ctx.org, id, body: null, expectedRevision: before.revision },
        { kind: 'notify_cursor', org: ctx.org, id, body: null },
      ],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});
