/**
 * Where people are told (record kind `notification_target`): a webhook of Standard Webhooks, or e-mail. A message says what waits and where
 * to look; it carries no argument, no result and no secret, and nobody can decide anything with it alone (AP-04).
 */
import { z } from 'zod';
import { SecretRef } from '../../inventory/records.ts';

export const NOTICE_TYPES = [
  'approval.waiting',
  'approval.decided',
  'access.requested',
  'access.decided',
  'tool.changed',
  'tool.appeared',
  'server.suspended',
  'credential.suspended',
  'lock.added',
  'review.opened',
  'break_glass.opened',
  'incident.opened',
] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];

export const NotificationTarget = z.strictObject({
  title: z.string().min(1).max(200),
  state: z.enum(['active', 'disabled']),
  /** Left out: all. */
  types: z.array(z.enum(NOTICE_TYPES)).min(1).exactOptional(),
  channel: z.discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('webhook'),
      url: z.url({ protocol: /^https?$/ }).max(2_048),
      /** `whsec_` and base64 of 24 to 64 random bytes. */
      secret: SecretRef,
      /** Networks outside the public internet that it may resolve to. */
      allowedNetworks: z.array(z.string().max(64)).max(16).default([]),
    }),
    z.strictObject({
      kind: z.literal('email'),
      /** `concerned`: whom it is about, by the addresses of the directory: who may decide, who asked, who answers for it. */
      to: z.union([z.literal('concerned'), z.array(z.email()).min(1).max(50)]),
    }),
  ]),
});
export type NotificationTarget = z.infer<typeof NotificationTarget>;
