/**
 * The accounts of people at servers that have one of each person (3LO): whoever links is who is signed in here, and nobody links or unlinks for
 * somebody else. Begin, agree in one's own browser, hand the address in as the same person: nothing is accepted from a browser alone.
 */
import { z } from 'zod';
import { adminEntry } from '../audit/entries.ts';
import { Server } from '../inventory/records.ts';
import { type Result, err, ok } from '../lib/result.ts';
import type { AccountTarget } from '../upstream/oauth/account.ts';
import { type Problem, conflict, notFound } from './problem.ts';
import { itemOf } from './records.ts';
import { type Ask, handler } from './route.ts';
import { RedirectUri, attempt } from './server-account.ts';

export const linkAccount = handler({
  body: z.strictObject({ redirectUri: RedirectUri }),
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const [id, person] = [ask.params['server'] ?? '', ask.who.person];
    return attempt(ask, async () => {
      const { url, expiresAt } = await ask.ctx.accounts.begin(id, target.value, {
        redirectUri: ask.body.redirectUri,
        by: person,
        forWhom: { person },
      });
      return { server: id, url, expiresAt };
    });
  },
});

export const finishLinking = handler({
  body: z.strictObject({ callback: z.string().min(1).max(8_192) }),
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const [id, person] = [ask.params['server'] ?? '', ask.who.person];
    return attempt(ask, async () => {
      await recordLink(ask, 'account.linking', id);
      await ask.ctx.accounts.finish(id, target.value, ask.body.callback, person, { person });
      return { server: id, linked: true };
    });
  },
});

export const showLink = handler({
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const id = ask.params['server'] ?? '';
    const linked = await ask.ctx.accounts.isLinked(id, { person: ask.who.person });
    return ok({ body: { server: id, linked } });
  },
});

export const unlinkAccount = handler({
  body: z.strictObject({}),
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const id = ask.params['server'] ?? '';
    const { revoked, left } = await ask.ctx.accounts.unlink(id, target.value, { person: ask.who.person });
    await recordLink(ask, 'account.unlinked', id);
    // What is left lives on at the other side until it ends there; the person can end it in their account.
    return ok({ body: { server: id, linked: false, revoked, left } });
  },
});

async function recordLink({ ctx, who, ref }: Ask<unknown, unknown>, what: string, id: string): Promise<void> {
  const event = { what, subject: `server/${id}`, person: who.person };
  await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, who.actor));
}

function targetOf({ ctx, params }: Ask<unknown, unknown>): Result<AccountTarget, Problem> {
  const id = params['server'] ?? '';
  const server = itemOf(ctx, 'server', id, Server);
  // A draft is nobody's business yet: it reads like one that is not there.
  if (server === undefined || server.state === 'draft') return err(notFound('server', id));
  const { upstream } = server;
  if (
    upstream.transport === 'stdio' ||
    upstream.auth?.grant !== 'authorization_code' ||
    upstream.auth.per !== 'person' ||
    server.state !== 'enabled'
  )
    return err(
      conflict('server_account', 'This server has no accounts of single people to link.', 'Nothing needs to be done.'),
    );
  return ok({ ...upstream, auth: upstream.auth });
}
