/**
 * The account that a server with the grant `authorization_code` is used by: an operator begins, agrees in their own browser,
 * and hands in the address it was sent to. Whoever begins finishes, signed in as the same person; nothing is accepted from a
 * browser alone, so nobody can be led to connect an account of somebody else.
 */
import { z } from 'zod';
import { adminEntry } from '../audit/entries.ts';
import { Server } from '../inventory/records.ts';
import { isFault } from '../lib/fault.ts';
import { type Result, err, ok } from '../lib/result.ts';
import type { AccountTarget } from '../upstream/oauth/account.ts';
import { type Problem, conflict, notFound } from './problem.ts';
import { itemOf } from './records.ts';
import { type Ask, Reason, handler } from './route.ts';

export const RedirectUri = z
  .url({ protocol: /^https?$/ })
  .max(2_048)
  .refine(
    (text) => text.startsWith('https:') || /^http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost)[:/]/.test(text),
    'must be https, or http on a loopback address',
  );

export const connectServer = handler({
  body: z.strictObject({ redirectUri: RedirectUri }),
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const [id, by] = [ask.params['server'] ?? '', ask.who.person];
    return attempt(ask, async () => {
      const { url, expiresAt } = await ask.ctx.accounts.begin(id, target.value, {
        redirectUri: ask.body.redirectUri,
        by,
      });
      return { server: id, url, expiresAt };
    });
  },
});

export const finishConnecting = handler({
  body: z.strictObject({ callback: z.string().min(1).max(8_192), reason: Reason }),
  run: async (ask) => {
    const target = targetOf(ask);
    if (!target.ok) return target;
    const { ctx, body, who, ref, params } = ask;
    const id = params['server'] ?? '';
    return attempt(ask, async () => {
      // Recorded first: an account that is used stands in the log.
      const event = { what: 'server.connecting', subject: `server/${id}`, reason: body.reason };
      await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), event, who.actor));
      await ctx.accounts.finish(id, target.value, body.callback, who.person);
      return { server: id, connected: true };
    });
  },
});

/** After a server has ended: what was got for it is given back, and whoever takes its id must not find its accounts. */
export async function forgetAccount({ ctx, ref }: Ask<unknown, unknown>, id: string): Promise<void> {
  try {
    const server = itemOf(ctx, 'server', id, Server);
    const auth = server === undefined || server.upstream.transport === 'stdio' ? undefined : server.upstream.auth;
    // Best effort and bounded; what an authorization server does with it must not keep the account here.
    await ctx.accounts
      .revoke(id, auth && ({ ...server!.upstream, auth } as AccountTarget))
      .catch((fault: unknown) => ctx.log.warn({ ref, server: id, err: fault }, 'tokens could not be given back'));
    await ctx.accounts.forget(id);
  } catch (fault) {
    ctx.log.error({ ref, server: id, err: fault }, 'the account of a server that has ended is still kept');
  }
}

function targetOf({ ctx, params }: Ask<unknown, unknown>): Result<AccountTarget, Problem> {
  const id = params['server'] ?? '';
  const server = itemOf(ctx, 'server', id, Server);
  if (server === undefined) return err(notFound('server', id));
  const { upstream } = server;
  // What proves who we are goes where the record says: nobody connects by one that nobody else has agreed to.
  if (server.state !== 'enabled')
    return err(
      conflict(
        'server_state',
        `The server is ${server.state}: nobody signs in by its record.`,
        'Have it enabled first, then connect it.',
      ),
    );
  if (upstream.transport === 'stdio' || upstream.auth?.grant !== 'authorization_code')
    return err(
      conflict(
        'server_account',
        'This server is not used by an account that somebody connects.',
        'Set `upstream.auth` with `grant: authorization_code` in its record first.',
      ),
    );
  return ok({ ...upstream, auth: upstream.auth });
}

export async function attempt(
  { ctx, ref, params }: Ask<unknown, unknown>,
  work: () => Promise<unknown>,
): Promise<Result<{ readonly body: unknown }, Problem>> {
  try {
    return ok({ body: await work() });
  } catch (error) {
    if (!isFault(error)) throw error;
    // The words may name addresses of the other side.
    ctx.log.warn(
      { ref, server: params['server'], code: error.code, detail: error.message },
      'no account was connected',
    );
    return err({
      status: 502,
      code: error.code,
      message: 'The account of the server could not be connected.',
      remedy: 'The process log has the cause under this reference. Begin again once it is mended.',
    });
  }
}
