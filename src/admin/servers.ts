/**
 * Servers as identities: register, change, enable, suspend, retire, delete. The gateway forwards to nothing else (NH-02).
 * A change of what a server is (owner, purpose, upstream, …) puts it back in review: what was enabled is not what would run.
 * Literal secrets, destinations and transitions are judged by `inventory/servers.ts` (NH-04); that the owner is active, here (NH-01).
 */
import { z } from 'zod';
import { Person } from '../directory/records.ts';
import { ToolRecord } from '../integrity/records.ts';
import { Server, ServerId } from '../inventory/records.ts';
import { checkServer, checkTransition } from '../inventory/servers.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange, expected } from './commit.ts';
import { conflict, invalid, notFound } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';
import { forgetAccount } from './server-account.ts';

export const listServers = handler({
  run: async ({ ctx }) =>
    ok({
      body: {
        servers: itemsOf(ctx, 'server', Server).map(
          ({ id, revision, title, owner, purpose, environment, dataClasses, state }) => ({
            id,
            revision,
            title,
            owner,
            purpose,
            environment,
            dataClasses,
            state,
            url: `${ctx.facts.mcpUrl}/mcp/${ctx.org}/${id}`,
          }),
        ),
      },
    }),
});

export const getServer = handler({
  run: async ({ ctx, params }) => {
    const id = params['server'] ?? '';
    const server = itemOf(ctx, 'server', id, Server);
    if (server === undefined) return err(notFound('server', id));
    return ok({
      revision: server.revision,
      body: { ...server, url: `${ctx.facts.mcpUrl}/mcp/${ctx.org}/${id}`, watching: ctx.catalogue.status(id) },
    });
  },
});

export const putServer = handler({
  body: z.strictObject({ reason: Reason, server: Server.omit({ state: true }) }),
  run: async (ask) => {
    const { ctx, body, params, seen } = ask;
    const named = ServerId.safeParse(params['server']);
    if (!named.success)
      return err(
        invalid(
          'server',
          'This is not an id of a server.',
          'Use 1 to 63 lower-case letters, digits and inner hyphens.',
        ),
      );
    const id = named.data;
    const before = itemOf(ctx, 'server', id, Server);
    const revision = expected(seen, before?.revision);
    if (!revision.ok) return revision;
    // What was enabled is not what would run now: a change goes back before a reviewer.
    const state = before === undefined || before.state === 'draft' ? 'draft' : 'in_review';
    const moved = checkTransition(before?.state ?? null, state);
    if (moved !== null) return err(conflict(moved.code, sentence(moved.message), 'Register it under another id.'));
    const server: Server = { ...body.server, state };
    const problems = checkServer(server);
    const [first] = problems;
    if (first !== undefined)
      return err(
        invalid(`server.${first.field}`, problems.map(({ field, message }) => `${field} ${message}`).join('; ')),
      );
    return commitServer(
      ask,
      id,
      server,
      revision.value,
      before === undefined ? 'server.registered' : 'server.changed',
      body.reason,
      before?.state ?? null,
    );
  },
});

/** One handler per target state; which states may follow which is a table of the inventory. */
export const transitionServer = (to: Server['state']) =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, params, body } = ask;
      const id = params['server'] ?? '';
      const before = itemOf(ctx, 'server', id, Server);
      if (before === undefined) return err(notFound('server', id));
      const { id: _, revision, ...server } = before;
      if (server.state === to)
        return err(conflict('server_state', `The server is ${to} already.`, 'Nothing needs to be done.'));
      const moved = checkTransition(server.state, to);
      if (moved !== null) return err(conflict(moved.code, sentence(moved.message), 'Move it there first.'));
      if (to === 'enabled') {
        const [problem] = checkServer(server);
        if (problem !== undefined)
          return err(
            invalid(
              `server.${problem.field}`,
              `${problem.field} ${problem.message}`,
              'Correct the record, then enable it.',
            ),
          );
        // NH-01: an identity nobody answers for is not let in, and an owner who has left answers for nothing.
        const owner = itemOf(ctx, 'person', server.owner, Person);
        if (owner?.state !== 'active')
          return err(
            invalid(
              'server.owner',
              `The owner ${JSON.stringify(server.owner)} is not an active person of the directory.`,
              'Set `owner` to the id of an active person; `remit person list` shows them.',
            ),
          );
      }
      const next = { ...server, state: to };
      const done = await commitServer(ask, id, next, revision, `server.${to}`, body.reason, server.state);
      if (done.ok && to === 'retired') await forgetAccount(ask, id);
      return done;
    },
  });

export const deleteServer = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, params, body } = ask;
    const id = params['server'] ?? '';
    const before = itemOf(ctx, 'server', id, Server);
    if (before === undefined) return err(notFound('server', id));
    if (before.state !== 'draft')
      return err(
        conflict(
          'server_state',
          `Only a draft can be deleted; this server is ${before.state}.`,
          'Retire it: its id stays taken, so that nothing takes its place unseen.',
        ),
      );
    // Its tools go with it: another server under this id must not inherit an approval.
    const tools = itemsOf(ctx, 'tool', ToolRecord).filter((tool) => tool.server === id);
    const done = await commitChange(ask, {
      what: 'server.deleted',
      subject: `server/${id}`,
      reason: body.reason,
      writes: [
        { kind: 'server', org: ctx.org, id, body: null, expectedRevision: before.revision },
        ...tools.map((tool) => ({
          kind: 'tool',
          org: ctx.org,
          id: tool.id,
          body: null,
          expectedRevision: tool.revision,
        })),
      ],
    });
    if (!done.ok) return done;
    await forgetAccount(ask, id);
    return ok({ body: { id, revision: done.value }, revision: done.value });
  },
});

export const refreshServer = handler({
  body: z.strictObject({}),
  run: async ({ ctx, params, ref }) => {
    const id = params['server'] ?? '';
    if (itemOf(ctx, 'server', id, Server) === undefined) return err(notFound('server', id));
    const seen = await ctx.catalogue.refresh(id);
    if (seen.ok) return ok({ body: { server: id, ...seen.value } });
    // The words of the other side stay in the process log: they may name addresses and files.
    ctx.log.warn({ ref, server: id, code: seen.error.code, detail: seen.error.message }, 'refresh of a server failed');
    return err({
      status: 502,
      code: seen.error.code,
      message: 'The server could not be asked for what it offers.',
      remedy: 'The process log has the cause under this reference. `remit server show` shows how the server stands.',
    });
  },
});

async function commitServer(
  ask: Ask<unknown, unknown>,
  id: string,
  server: Server,
  expectedRevision: number | null,
  what: string,
  reason: string,
  stateBefore: Server['state'] | null,
) {
  const done = await commitChange(ask, {
    what,
    subject: `server/${id}`,
    reason,
    facts: { state: server.state, stateBefore, owner: server.owner },
    writes: [{ kind: 'server', org: ask.ctx.org, id, body: server, expectedRevision }],
  });
  return done.ok
    ? ok({
        status: stateBefore === null ? 201 : 200,
        body: { id, state: server.state, revision: done.value },
        revision: done.value,
      } as const)
    : done;
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
