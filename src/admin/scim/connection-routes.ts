/**
 * Provisioning connections as records of the admin API: who may write people and groups, under which identities these sign in. A token is
 * shown once, kept as a hash and always ends; a new one leaves the old ones a time that whoever makes it chooses.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { ScimConnection } from '../../directory/records.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import { newId } from '../../lib/ids.ts';
import { err, ok } from '../../lib/result.ts';
import { SLUG } from '../../lib/slug.ts';
import { commitChange, expected } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { sourcesStatus } from '../events/silence.ts';
import { conflict, invalid, notFound } from '../problem.ts';
import { itemOf, itemsOf, type Item } from '../records.ts';
import { handler, Reason } from '../route.ts';
import { TOKEN_PREFIX } from './connections.ts';
import { SCIM_PATH } from './plugin.ts';

const MAX_TOKENS = 10;
const DAY_MS = 86_400_000;
/** How long the old tokens last when nobody says. */
const OVERLAP_MS = DAY_MS;

/** As it is put: tokens have a route of their own. */
const Given = ScimConnection.omit({ tokens: true });

/** Without the hashes: nobody needs them. */
function shown(ctx: AdminContext, { tokens, ...connection }: Item<ScimConnection>): object {
  const heard = sourcesStatus(ctx).find(({ id }) => id === connection.id);
  return {
    ...connection,
    path: SCIM_PATH,
    tokens: tokens.map(({ id, createdAt, expiresAt, by }) => ({ id, createdAt, expiresAt, by })),
    contactAt: heard?.contactAt ?? null,
    silent: heard?.silent ?? false,
  };
}

export const listConnections = handler({
  run: async ({ ctx }) => {
    const connections = itemsOf(ctx, 'scim_connection', ScimConnection).map((connection) => shown(ctx, connection));
    return ok({ body: { connections } });
  },
});

export const getConnection = handler({
  run: async ({ ctx, params }) => {
    const id = params['connection'] ?? '';
    const found = itemOf(ctx, 'scim_connection', id, ScimConnection);
    return found ? ok({ body: shown(ctx, found), revision: found.revision }) : err(notFound('SCIM connection', id));
  },
});

export const putConnection = handler({
  body: z.strictObject({ reason: Reason, connection: Given }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['connection'] ?? '';
    if (!SLUG.test(id))
      return err(
        invalid(
          'connection',
          'This is not an id for a connection.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    if (ctx.follower.records.get('event_stream', ctx.org, id) !== undefined)
      return err(conflict('id_taken', 'An event stream has this id.', 'Choose another: contacts are kept by it.'));
    const trusted = ctx.snapshot().organisation?.issuers ?? [];
    const strange = body.connection.identities.findIndex(({ issuer }) => !trusted.includes(issuer));
    if (strange !== -1)
      return err(
        invalid(
          `connection.identities.${strange}.issuer`,
          'This organisation does not trust this issuer, so nobody could sign in by it.',
          `Use one of: ${trusted.join(', ') || 'none yet'}.`,
        ),
      );
    const before = itemOf(ctx, 'scim_connection', id, ScimConnection);
    const revision = expected(ask.seen, before?.revision);
    if (!revision.ok) return revision;
    const connection: ScimConnection = { ...body.connection, tokens: before?.tokens ?? [] };
    const done = await commitChange(ask, {
      what: before ? 'scim_connection.changed' : 'scim_connection.added',
      subject: `scim_connection/${id}`,
      reason: body.reason,
      facts: {
        state: connection.state,
        identities: connection.identities.map(({ issuer, subject }) => `${issuer} ${subject}`),
        adopt: connection.adopt === true,
        silenceAfterMs: connection.silenceAfterMs,
        whenSilent: connection.whenSilent,
      },
      writes: [{ kind: 'scim_connection', org: ctx.org, id, body: connection, expectedRevision: revision.value }],
    });
    return done.ok
      ? ok({ status: before ? 200 : 201, body: { id, revision: done.value }, revision: done.value })
      : done;
  },
});

/** From the next request on its tokens open nothing, or open it again. What it wrote stays as it is. */
export const setConnectionState = (state: ScimConnection['state']) =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, params, body } = ask;
      const id = params['connection'] ?? '';
      const found = itemOf(ctx, 'scim_connection', id, ScimConnection);
      if (found === undefined) return err(notFound('SCIM connection', id));
      const { id: _, revision, ...record } = found;
      const done = await commitChange(ask, {
        what: state === 'active' ? 'scim_connection.enabled' : 'scim_connection.disabled',
        subject: `scim_connection/${id}`,
        reason: body.reason,
        writes: [{ kind: 'scim_connection', org: ctx.org, id, body: { ...record, state }, expectedRevision: revision }],
      });
      return done.ok ? ok({ body: { id, state, revision: done.value }, revision: done.value }) : done;
    },
  });

export const rotateConnectionToken = handler({
  body: z.strictObject({
    reason: Reason,
    days: z.number().int().min(1).max(730).default(180).describe('How long the new token may be used'),
    oldTokensEndAt: z
      .number()
      .int()
      .exactOptional()
      .describe('Until when the tokens so far stay good, in ms since the epoch. Left out: for a day'),
  }),
  run: async (ask) => {
    const { ctx, params, body, who } = ask;
    const id = params['connection'] ?? '';
    const found = itemOf(ctx, 'scim_connection', id, ScimConnection);
    if (found === undefined) return err(notFound('SCIM connection', id));
    const { id: _, revision, ...record } = found;
    const now = ctx.clock.now();
    const endAt = body.oldTokensEndAt ?? now + OVERLAP_MS;
    const old = record.tokens
      .map((token) => ({ ...token, expiresAt: Math.min(token.expiresAt, endAt) }))
      .filter(({ expiresAt }) => expiresAt > now);
    if (old.length >= MAX_TOKENS)
      return err(
        conflict('too_many_tokens', `A connection has at most ${MAX_TOKENS} tokens.`, 'End the old ones sooner.'),
      );
    const value = `${TOKEN_PREFIX}${randomBytes(32).toString('base64url')}`;
    const token: ScimConnection['tokens'][number] = {
      id: newId('tok', ctx.clock),
      sha256: sha256Hex(value),
      createdAt: now,
      expiresAt: now + body.days * DAY_MS,
      by: who.person,
    };
    const done = await commitChange(ask, {
      what: 'scim_connection.token_rotated',
      subject: `scim_connection/${id}`,
      reason: body.reason,
      facts: { token: token.id, expiresAt: token.expiresAt, oldTokens: old.length, oldTokensEndAt: endAt },
      writes: [
        {
          kind: 'scim_connection',
          org: ctx.org,
          id,
          body: { ...record, tokens: [...old, token] },
          expectedRevision: revision,
        },
      ],
    });
    return done.ok
      ? ok({
          status: 201,
          body: { id: token.id, token: value, expiresAt: token.expiresAt, oldTokensEndAt: endAt, revision: done.value },
          revision: done.value,
        })
      : done;
  },
});
