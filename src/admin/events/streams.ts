/**
 * Event streams as records of the admin API: who may tell us about people. A stream may end anybody's sessions, so its issuer, keys and
 * addresses come from here and never from what it sends. Bearer tokens are shown once and kept as hashes; each of them ends.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { EventStream } from '../../directory/records.ts';
import type { ConnectionToken } from '../../directory/records.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import { newId } from '../../lib/ids.ts';
import { err, ok } from '../../lib/result.ts';
import { SLUG } from '../../lib/slug.ts';
import { commitChange, expected } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { conflict, invalid, notFound } from '../problem.ts';
import type { Problem } from '../problem.ts';
import { itemOf, itemsOf } from '../records.ts';
import type { Item } from '../records.ts';
import { handler, Reason } from '../route.ts';
import { EVENTS_PATH } from './push.ts';
import { sourcesStatus } from './silence.ts';

const MAX_TOKENS = 10;

/** As it is put: whether it is pushed or polled; the tokens of a pushed stream have routes of their own. */
const Given = EventStream.extend({
  delivery: z.discriminatedUnion('method', [
    z.strictObject({ method: z.literal('push') }),
    EventStream.shape.delivery.options[1],
  ]),
});

/** Without the hashes: nobody needs them, and a token of little randomness made elsewhere could be guessed from one. */
function shown({ delivery, ...stream }: Item<EventStream>): object {
  if (delivery.method === 'poll') return { ...stream, delivery };
  const tokens = delivery.tokens.map(({ id, createdAt, expiresAt, by }) => ({ id, createdAt, expiresAt, by }));
  return { ...stream, delivery: { method: 'push', path: `${EVENTS_PATH}/${stream.id}`, tokens } };
}

export const listStreams = handler({
  run: async ({ ctx }) => {
    const heard = new Map(sourcesStatus(ctx).map((source) => [source.id, source]));
    const streams = itemsOf(ctx, 'event_stream', EventStream).map((stream) => {
      const { contactAt = null, silent = false } = heard.get(stream.id) ?? {};
      return { ...shown(stream), contactAt, silent };
    });
    return ok({ body: { streams } });
  },
});

export const getStream = handler({
  run: async ({ ctx, params }) => {
    const id = params['stream'] ?? '';
    const stream = itemOf(ctx, 'event_stream', id, EventStream);
    return stream ? ok({ body: shown(stream), revision: stream.revision }) : err(notFound('event stream', id));
  },
});

export const putStream = handler({
  body: z.strictObject({ reason: Reason, stream: Given }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['stream'] ?? '';
    if (!SLUG.test(id))
      return err(
        invalid(
          'stream',
          'This is not an id for a stream.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    if (ctx.follower.records.get('scim_connection', ctx.org, id) !== undefined)
      return err(conflict('id_taken', 'A SCIM connection has this id.', 'Choose another: contacts are kept by it.'));
    const before = itemOf(ctx, 'event_stream', id, EventStream);
    const revision = expected(ask.seen, before?.revision);
    if (!revision.ok) return revision;
    const { delivery, ...rest } = body.stream;
    const tokens = before?.delivery.method === 'push' ? before.delivery.tokens : [];
    const stream: EventStream = {
      ...rest,
      delivery: delivery.method === 'push' ? { method: 'push', tokens } : delivery,
    };
    const wrong = plainAddress(stream) ?? unheard(ctx, id, stream);
    if (wrong !== null) return err(wrong);
    const done = await commitChange(ask, {
      what: before ? 'event_stream.changed' : 'event_stream.added',
      subject: `event_stream/${id}`,
      reason: body.reason,
      facts: {
        issuer: stream.issuer,
        jwksUri: stream.jwksUri,
        audience: stream.audience,
        state: stream.state,
        delivery: delivery.method,
        whenSilent: stream.whenSilent,
        ...(stream.unsafeEmailSubjects && { unsafeEmailSubjects: 1 }),
      },
      writes: [{ kind: 'event_stream', org: ctx.org, id, body: stream, expectedRevision: revision.value }],
    });
    return done.ok
      ? ok({ status: before ? 200 : 201, body: { id, revision: done.value }, revision: done.value })
      : done;
  },
});

export const deleteStream = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, params, body } = ask;
    const id = params['stream'] ?? '';
    const stream = itemOf(ctx, 'event_stream', id, EventStream);
    if (stream === undefined) return err(notFound('event stream', id));
    const contact = ctx.follower.records.get('contact', ctx.org, id);
    const done = await commitChange(ask, {
      what: 'event_stream.removed',
      subject: `event_stream/${id}`,
      reason: body.reason,
      facts: { issuer: stream.issuer },
      writes: [
        { kind: 'event_stream', org: ctx.org, id, body: null, expectedRevision: stream.revision },
        ...(contact === undefined ? [] : [{ kind: 'contact', org: ctx.org, id, body: null }]),
      ],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

export const addStreamToken = handler({
  body: z.strictObject({
    reason: Reason,
    days: z.number().int().min(1).max(366).describe('How long it may be used; then it has to be replaced'),
  }),
  run: async (ask) => {
    const { ctx, params, body, who } = ask;
    const id = params['stream'] ?? '';
    const stream = itemOf(ctx, 'event_stream', id, EventStream);
    if (stream === undefined) return err(notFound('event stream', id));
    const { id: _, revision, ...record } = stream;
    if (record.delivery.method !== 'push')
      return err(invalid('stream', 'This stream is polled: its token is a secret reference of the record.'));
    const now = ctx.clock.now();
    const standing = record.delivery.tokens.filter(({ expiresAt }) => expiresAt > now);
    if (standing.length >= MAX_TOKENS)
      return err(conflict('too_many_tokens', `A stream has at most ${MAX_TOKENS} tokens.`, 'Revoke one first.'));
    const value = `remit_events_${randomBytes(32).toString('base64url')}`;
    const token: z.infer<typeof ConnectionToken> = {
      id: newId('tok', ctx.clock),
      sha256: sha256Hex(value),
      createdAt: now,
      expiresAt: now + body.days * 86_400_000,
      by: who.person,
    };
    const delivery = { method: 'push' as const, tokens: [...standing, token] };
    const done = await commitChange(ask, {
      what: 'event_stream.token_added',
      subject: `event_stream/${id}`,
      reason: body.reason,
      facts: { token: token.id, expiresAt: token.expiresAt },
      writes: [{ kind: 'event_stream', org: ctx.org, id, body: { ...record, delivery }, expectedRevision: revision }],
    });
    return done.ok
      ? ok({
          status: 201,
          body: { id: token.id, token: value, expiresAt: token.expiresAt, revision: done.value },
          revision: done.value,
        })
      : done;
  },
});

export const removeStreamToken = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, params, body } = ask;
    const [id, tokenId] = [params['stream'] ?? '', params['token'] ?? ''];
    const stream = itemOf(ctx, 'event_stream', id, EventStream);
    if (stream === undefined) return err(notFound('event stream', id));
    const { id: _, revision, ...record } = stream;
    const tokens = record.delivery.method === 'push' ? record.delivery.tokens : [];
    if (!tokens.some((token) => token.id === tokenId)) return err(notFound('token', tokenId));
    const delivery = { method: 'push' as const, tokens: tokens.filter((token) => token.id !== tokenId) };
    const done = await commitChange(ask, {
      what: 'event_stream.token_removed',
      subject: `event_stream/${id}`,
      reason: body.reason,
      facts: { token: tokenId },
      writes: [{ kind: 'event_stream', org: ctx.org, id, body: { ...record, delivery }, expectedRevision: revision }],
    });
    return done.ok ? ok({ body: { id: tokenId, revision: done.value }, revision: done.value }) : done;
  },
});

/** A door that is closed when it is hung closes behind whoever hung it: they would be refused with everybody else of the issuer. */
function unheard({ org, clock, follower }: AdminContext, id: string, stream: EventStream): Problem | null {
  if (stream.state !== 'active' || stream.whenSilent !== 'refuse' || stream.silenceAfterMs === null) return null;
  const contact = follower.records.get('contact', org, id);
  if (contact && clock.now() - Number(contact.body['at']) <= stream.silenceAfterMs) return null;
  return conflict(
    'source_silent',
    'This stream was not heard lately, so its people would be refused at once, you perhaps among them.',
    'Put it with whenSilent: alarm, wait for its word, then change it.',
  );
}

/** The dialler refuses it anyway, when it is too late for whoever typed it. */
function plainAddress({ jwksUri, delivery, allowedNetworks }: EventStream): Problem | null {
  const addresses = { jwksUri, ...(delivery.method === 'poll' && { 'delivery.url': delivery.url }) };
  for (const [field, address] of Object.entries(addresses)) {
    if (new URL(address).protocol === 'https:' || allowedNetworks.length > 0) continue;
    return invalid(
      `stream.${field}`,
      'Keys and events are fetched over https from public addresses.',
      'Use https, or list the network of the address in allowedNetworks.',
    );
  }
  return null;
}
