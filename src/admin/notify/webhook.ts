/**
 * A notice as a signed webhook (Standard Webhooks 1.0): `webhook-id` is the notice's, so that a receiver knows what it has had; the signature
 * covers id, time and body. The address is dialled like every address that somebody else names. 2xx takes it; 410 ends it (the receiver says
 * that it is gone), and so does what says that it takes no such body: a name that somebody chose must not hold up every later notice.
 * Everything else is for later.
 */
import { Webhook } from 'standardwebhooks';
import type { Clock } from '../../lib/clock.ts';
import { Fault, isFault } from '../../lib/fault.ts';
import { guardedRequest } from '../../upstream/dial.ts';
import type { Answer } from '../../upstream/event-delivery.ts';
import type { Notice } from './notices.ts';

export interface WebhookReceiver {
  readonly url: string;
  readonly allowedNetworks: readonly string[];
  readonly secret: () => Promise<string>;
}

export async function sendWebhook(
  receiver: WebhookReceiver,
  notice: Notice,
  url: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Answer> {
  try {
    const { id, type, at, title, data } = notice;
    const body = JSON.stringify({ type, timestamp: new Date(at).toISOString(), data: { title, url, ...data } });
    const now = new Date(clock.now());
    const webhook = signer(await receiver.secret());
    const { status } = await guardedRequest(receiver.url, {
      rule: { allowedNetworks: receiver.allowedNetworks, requireHttps: receiver.allowedNetworks.length === 0 },
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
        'webhook-signature': webhook.sign(id, now, body),
      },
      body,
      timeoutMs: 10_000,
      maxBytes: 16_384,
      signal,
    });
    if (status >= 200 && status < 300) return { kind: 'taken' };
    if (status === 410) return { kind: 'refused', code: 'gone' };
    return { kind: BODY_REFUSED.has(status) ? 'refused' : 'later', code: `status_${status}` };
  } catch (fault) {
    return { kind: 'later', code: isFault(fault) ? fault.code : 'unexpected' };
  }
}

/** RFC 9110: the content is malformed, too large, of a wrong type or makes no sense. A secret that does not fit yet is 401 or 403. */
const BODY_REFUSED: ReadonlySet<number> = new Set([400, 413, 415, 422]);

/** @throws Fault `webhook_secret` */
function signer(secret: string): Webhook {
  const [, text] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  const bytes = text === undefined ? 0 : Buffer.from(text, 'base64').length;
  if (bytes < 24 || bytes > 64)
    throw new Fault('webhook_secret', 'the secret of a webhook is whsec_ and base64 of 24 to 64 random bytes');
  return new Webhook(secret);
}
