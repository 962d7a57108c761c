/**
 * Servers as identities: register, change, enable, suspend, retire, delete. The gateway forwards to nothing else (NH-02).
 * A change of what a server is (owner, purpose, upstream, …) puts it back in review: what was enabled is not what would run.
 * Literal secrets and destinations are judged by `inventory/servers.ts` (NH-04), its life and what must be said of it by the one table
 * (`inventory/lifecycle.ts`, NH-01); whoever wrote it does not enable it (second-person.ts), and enables what they read (If-Match).
 * Switches and a new owner change nothing that was reviewed, so they need no new review (AZ-14, NH-05).
 */
import { z } from 'zod';
import { ownerStands } from '../directory/owners.ts';
import { lockOn } from '../gateway/standing.ts';
import { ToolRecord } from '../integrity/records.ts';
import { Credential, secretProblems } from '../inventory/credentials.ts';
import { checkTransition, missingFor, worksIn, type Missing } from '../inventory/lifecycle.ts';
import { Owner, Server, ServerId, Switches } from '../inventory/records.ts';
import { checkServer } from '../inventory/servers.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { artifactLacks, artifactRefusal } from './artifact-known.ts';
import { permit } from './authenticate.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';
import { somebodyElse } from './second-person.ts';
import { forgetAccount } from './server-account.ts';

export const listServers = handler({
  run: async ({ ctx }) =>
    ok({
      body: {
        servers: itemsOf(ctx, 'server', Server).map(
          ({ id, revision, title, owner, purpose, environment, dataClasses, riskTier, reviewBy, switches, state }) => ({
            id,
            revision,
            title,
            owner,
            purpose,
            environment,
            dataClasses,
            ...(riskTier !== undefined && { riskTier }),
            ...(reviewBy !== undefined && { reviewBy }),
            switches,
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
      body: {
        ...server,
        url: `${ctx.facts.mcpUrl}/mcp/${ctx.org}/${id}`,
        watching: ctx.catalogue.status(id),
        isolation: server.upstream.transport === 'stdio' ? ctx.isolation(id) : null,
        lacks: [...lacksOf(ctx, server, id), ...artifactLacks(ctx, server)],
      },
    });
  },
});

export const putServer = handler({
  body: z.strictObject({ reason: Reason, server: Server.omit({ state: true, switches: true }) }),
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
    const moved = checkTransition('server', before?.state ?? null, state);
    if (moved !== null) return err(conflict('server_transition', sentence(moved), 'Register it under another id.'));
    // Who may write a server does not thereby turn back on what somebody switched off.
    const server: Server = { ...body.server, switches: before?.switches ?? Switches.parse({}), state };
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
      const { id: _, revision: at, ...server } = before;
      // Whoever lets it work says which revision they read; taking it away must not fail because somebody wrote meanwhile.
      const revision = worksIn('server', to) || ask.seen.kind !== 'unsaid' ? expected(ask.seen, at) : ok(at);
      if (!revision.ok) return revision;
      if (server.state === to)
        return err(conflict('server_state', `The server is ${to} already.`, 'Nothing needs to be done.'));
      const moved = checkTransition('server', server.state, to);
      if (moved !== null) return err(conflict('server_transition', sentence(moved), 'Move it there first.'));
      if (worksIn('server', to)) {
        const refused =
          refusal(lacksOf(ctx, server, id)) ??
          artifactRefusal(ctx, server) ??
          (await somebodyElse(ctx, ask.who, 'server', id, Server));
        if (refused !== null) return err(refused);
      }
      const next = { ...server, state: to };
      const done = await commitServer(ask, id, next, revision.value, `server.${to}`, body.reason, server.state);
      if (done.ok && to === 'retired') await forgetAccount(ask, id);
      return done;
    },
  });

/** Everything that keeps it from being enabled, at once. */
export const lacksOf = (ctx: AdminContext, server: Server, id: string): readonly Missing[] => [
  ...missingFor('server', 'enabled', server, {
    now: ctx.clock.now(),
    ownerStands: (owner) => ownerStands(ctx.snapshot(), owner),
  }),
  ...checkServer(server)
    .filter(({ code }) => code !== 'server_owner')
    .map(({ field, message }) => ({ field, message: `${message}.`, remedy: `Correct ${field}.` })),
  ...secretProblems(
    id,
    server,
    (credential) => itemOf(ctx, 'credential', credential, Credential),
    ctx.clock.now(),
    itemsOf(ctx, 'credential', Credential),
  ).map(({ field, message }) => ({ field, message: `It ${message}.`, remedy: `Correct ${field}.` })),
];

function refusal(lacks: readonly Missing[]): Problem | null {
  const [first] = lacks;
  if (first === undefined) return null;
  return invalid(
    `server.${first.field}`,
    `The server cannot be enabled yet. ${lacks.map(({ field, message }) => `${field}: ${message}`).join(' ')}`,
    lacks.map(({ remedy }) => remedy).join(' '),
  );
}

/** A server whose record may still be written, at the revision the caller saw if they say so. */
function living(
  { ctx, params, seen }: Pick<Ask<unknown, unknown>, 'ctx' | 'params' | 'seen'>,
  what: string,
): Result<{ readonly before: Item<Server>; readonly revision: number | null }, Problem> {
  const id = params['server'] ?? '';
  const before = itemOf(ctx, 'server', id, Server);
  if (before === undefined) return err(notFound('server', id));
  const revision = seen.kind === 'unsaid' ? ok(before.revision) : expected(seen, before.revision);
  if (!revision.ok) return revision;
  if (before.state === 'retired')
    return err(conflict('server_state', `A retired server ${what}.`, 'Register it under another id.'));
  return ok({ before, revision: revision.value });
}

/** Giving back is what a reviewer answers for; taking away must be quick. */
const GIVING_BACK = { scope: 'admin:write', roles: ['security_reviewer', 'administrator'], sensitive: true } as const;

const SwitchNames = ['reachable', 'productionData', 'writes'] as const;

export const switchServer = handler({
  body: z
    .strictObject({
      reason: Reason,
      reachable: z.boolean().exactOptional(),
      productionData: z.boolean().exactOptional(),
      writes: z.boolean().exactOptional(),
    })
    .refine((body) => SwitchNames.some((name) => body[name] !== undefined), {
      path: ['reachable'],
      message: 'say which of reachable, productionData and writes is true or false',
    }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const found = living(ask, 'has no switches');
    if (!found.ok) return found;
    const { id, revision: _, ...server } = found.value.before;
    const switches = { ...server.switches };
    for (const name of SwitchNames) switches[name] = body[name] ?? switches[name];
    const turned = SwitchNames.filter((name) => switches[name] !== server.switches[name]);
    if (turned.length === 0)
      return err(conflict('server_switches', 'The switches stand like that already.', 'Nothing needs to be done.'));
    if (turned.some((name) => switches[name])) {
      const may = permit(ctx, who, GIVING_BACK);
      if (!may.ok) return may;
    }
    const done = await commitChange(ask, {
      what: 'server.switched',
      subject: `server/${id}`,
      reason: body.reason,
      facts: { ...switches, turned },
      writes: [
        { kind: 'server', org: ctx.org, id, body: { ...server, switches }, expectedRevision: found.value.revision },
      ],
    });
    return done.ok ? ok({ body: { id, switches, revision: done.value }, revision: done.value }) : done;
  },
});

export const reassignServer = handler({
  body: z.strictObject({ reason: Reason, owner: Owner }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const found = living(ask, 'gets no other owner');
    if (!found.ok) return found;
    const { id, revision: _, ...server } = found.value.before;
    if (!ownerStands(ctx.snapshot(), body.owner))
      return err(
        invalid(
          'owner',
          `The owner ${JSON.stringify(body.owner)} is neither an active person nor a group with an active member.`,
          'Set `owner` to the id of an active person, or to group/ID; `remit person list` shows them.',
        ),
      );
    const done = await commitChange(ask, {
      what: 'server.reassigned',
      subject: `server/${id}`,
      reason: body.reason,
      facts: { owner: body.owner, ownerBefore: server.owner, state: server.state },
      writes: [
        {
          kind: 'server',
          org: ctx.org,
          id,
          body: { ...server, owner: body.owner },
          expectedRevision: found.value.revision,
        },
      ],
    });
    return done.ok
      ? ok({ body: { id, owner: body.owner, state: server.state, revision: done.value }, revision: done.value })
      : done;
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
    const server = itemOf(ctx, 'server', id, Server);
    if (server === undefined) return err(notFound('server', id));
    // A look takes the secrets along and starts what stands in the record: that is for what somebody else has agreed to.
    if (!worksIn('server', server.state))
      return err(
        conflict(
          'server_state',
          `The server is ${server.state}: nothing goes to it, no look either.`,
          'Have it enabled first; nothing it offers can be used before somebody approves it.',
        ),
      );
    const lock = lockOn(ctx.snapshot(), { server: id }, ctx.clock.now());
    if (lock !== null)
      return err(
        conflict('server_locked', `The server is locked by ${lock.id}: nothing goes to it.`, 'Lift it first.'),
      );
    if (!server.switches.reachable)
      return err(
        conflict(
          'server_switched_off',
          'The server is switched off: nothing goes to it.',
          'Turn `reachable` on first.',
        ),
      );
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
