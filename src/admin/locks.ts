/**
 * Locks: the one action of an emergency. A lock is in force on this node before the answer leaves, and what runs under it is cancelled.
 * A lock on something that does not exist would be false comfort, so users, servers and tools must be known; agents and tokens cannot be.
 */
import { z } from 'zod';
import { resolveUri } from '../gateway/snapshot.ts';
import { itemKey, toolId } from '../integrity/records.ts';
import { Agent } from '../inventory/agents.ts';
import { Lock, LOCK_KINDS, LockValue } from '../inventory/records.ts';
import { newId } from '../lib/ids.ts';
import { err, ok } from '../lib/result.ts';
import { adminEntry } from '../audit/entries.ts';
import { commitChange } from './commit.ts';
import type { AdminContext } from './context.ts';
import { invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';
import { heldWrites, stoppingWrites, type Stopped } from './stopping.ts';

export const listLocks = handler({
  run: async ({ ctx }) => {
    const now = ctx.clock.now();
    return ok({ body: { locks: itemsOf(ctx, 'lock', Lock).filter(({ until }) => until === null || until > now) } });
  },
});

export const addLock = handler({
  body: z.strictObject({
    kind: z.enum(LOCK_KINDS),
    value: LockValue,
    reason: Reason,
    until: z.number().int().nullable().default(null).describe('ms since the epoch; null: until lifted'),
  }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const unknown = unknownSubject(ctx, body.kind, body.value);
    if (unknown !== null) return err(unknown);
    if (body.until !== null && body.until <= ctx.clock.now()) {
      return err(invalid('until', 'The lock would have ended already.', 'Give a time in the future, or leave it out.'));
    }
    const lock: Lock = {
      subject: { kind: body.kind, value: body.value },
      reason: body.reason,
      by: who.person,
      until: body.until,
    };
    const id = newId('lock', ctx.clock);
    const { done, stopped, alone } = await commitLock(ask, id, lock);
    // Also when the record is missing: the lock is in force, and what runs under it must stop all the same.
    const inForce = done.ok || done.error.revision !== undefined;
    const calls = inForce ? settle(ask, id, lock) : 0;
    if (!done.ok) return done.error.inForce === true ? err(notRecorded(id, done.error)) : done;
    const rest = await stopTheRest(ask, id, lock, alone);
    const heldCalls = stopped.heldCalls + rest.heldCalls;
    const outOfService = [...stopped.outOfService, ...rest.outOfService];
    return ok({
      status: 201,
      body: { id, revision: done.value, ...lock, stopped: { calls, heldCalls, outOfService } },
      revision: done.value,
    });
  },
});

/** An answer that says 201 means that the record is durable. Whoever locks in an emergency must not read this as "it did not work". */
const notRecorded = (id: string, { status, code, revision }: Problem): Problem => ({
  status,
  code,
  message: `The lock ${id} is in force as revision ${revision}; its record in the audit log is not durable yet.`,
  remedy: 'Do not lock again. Repair the audit log; the history of the record names who locked and why.',
  ...(revision !== undefined && { revision }),
  inForce: true,
});

/**
 * A lock never fails because somebody edits what it falls on at the same moment: then it is tried again, and at last made alone. What it
 * takes along then follows, and so do the held calls of which there were too many for one commit: under the lock nobody opens new ones.
 */
const TRIES = 4;
const FOLLOWING = 50;

async function commitLock(ask: Ask<unknown, unknown>, id: string, lock: Lock) {
  const { ctx } = ask;
  for (let tries = 1; ; tries++) {
    const alone = tries === TRIES;
    const stopped: Stopped = alone ? { writes: [], outOfService: [], heldCalls: 0 } : stoppingWrites(ctx, lock);
    const { outOfService, heldCalls } = stopped;
    const done = await commitChange(ask, {
      what: 'lock.added',
      subject: `lock/${id}`,
      reason: lock.reason,
      facts: {
        kind: lock.subject.kind,
        value: lock.subject.value,
        until: lock.until,
        heldCalls,
        outOfService: [...outOfService],
      },
      writes: [{ kind: 'lock', org: ctx.org, id, body: lock, expectedRevision: null }, ...stopped.writes],
    });
    if (done.ok || done.error.code !== 'conflict' || alone) return { done, stopped, alone };
    await ctx.follower.advanceTo(await ctx.state.head());
  }
}

/** `alone`: nothing was taken along yet. @returns what was, as far as it could be. */
async function stopTheRest(
  ask: Ask<unknown, unknown>,
  id: string,
  lock: Lock,
  alone: boolean,
): Promise<Pick<Stopped, 'heldCalls' | 'outOfService'>> {
  const { ctx } = ask;
  let everything = alone;
  let heldCalls = 0;
  let outOfService: readonly string[] = [];
  for (let tries = 0; tries < FOLLOWING; tries++) {
    const next = everything ? stoppingWrites(ctx, lock) : heldOnly(heldWrites(ctx, lock));
    if (next.writes.length === 0) break;
    const done = await commitChange(ask, {
      what: 'lock.followed',
      subject: `lock/${id}`,
      reason: lock.reason,
      facts: { heldCalls: next.heldCalls, outOfService: [...next.outOfService] },
      writes: next.writes,
    });
    if (done.ok) {
      everything = false;
      heldCalls += next.heldCalls;
      outOfService = [...outOfService, ...next.outOfService];
    } else if (done.error.code === 'conflict') await ctx.follower.advanceTo(await ctx.state.head());
    else break;
  }
  return { heldCalls, outOfService };
}

const heldOnly = (writes: Stopped['writes']): Stopped => ({ writes, outOfService: [], heldCalls: writes.length });

/** What goes on after the answer: the terminal record says how it ended. @returns how many calls have been ended so far. */
function settle({ ctx, ref, who }: Ask<unknown, unknown>, id: string, lock: Lock): number {
  const { calls, settled } = ctx.stopped(id, lock);
  settled
    .then((end) =>
      ctx.audit.log.record(
        adminEntry(
          ctx.audit.log.stamp({ ref }),
          { what: 'lock.settled', subject: `lock/${id}`, kind: lock.subject.kind, value: lock.subject.value, ...end },
          who.actor,
        ),
      ),
    )
    .catch((fault: unknown) => ctx.log.error({ ref, lock: id, err: fault }, 'how a lock ended could not be recorded'));
  return calls;
}

export const liftLock = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, params, body } = ask;
    const id = params['lock'] ?? '';
    const lock = itemOf(ctx, 'lock', id, Lock);
    if (lock === undefined) return err(notFound('lock', id));
    const done = await commitChange(ask, {
      what: 'lock.lifted',
      subject: `lock/${id}`,
      reason: body.reason,
      facts: { kind: lock.subject.kind, value: lock.subject.value },
      writes: [{ kind: 'lock', org: ctx.org, id, body: null, expectedRevision: lock.revision }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

const isClient = (ctx: AdminContext, value: string): boolean =>
  itemsOf(ctx, 'agent', Agent).some(({ clientId }) => clientId === value);

function unknownSubject(ctx: AdminContext, kind: Lock['subject']['kind'], value: string): Problem | null {
  const view = ctx.snapshot();
  const known = {
    user: () => ctx.follower.records.get('person', ctx.org, value) !== undefined,
    server: () => view.servers.has(value),
    tool: () => {
      const slash = value.indexOf('/');
      const [server, key] = [value.slice(0, slash), value.slice(slash + 1)];
      if (ctx.follower.records.get('tool', ctx.org, toolId(server, key)) !== undefined) return true;
      // One URI of a template has no record and can be locked all the same.
      const entry = view.servers.get(server);
      const prefix = itemKey('resource', '');
      return entry !== undefined && key.startsWith(prefix) && resolveUri(entry, key.slice(prefix.length)) !== null;
    },
    // A client that never came can be locked; the id of an agent's record is no client, and no call would name it.
    agent: () => ctx.follower.records.get('agent', ctx.org, value) === undefined || isClient(ctx, value),
    token: () => true,
    credential: () => ctx.follower.records.get('credential', ctx.org, value) !== undefined,
    organisation: () => value === ctx.org,
  }[kind]();
  if (known) return null;
  const forms = {
    user: 'the id of a person',
    server: 'the id of a server',
    tool: 'server/tool, or server/ and the key of another item',
    agent: 'the client id of the agent, not the id of its record',
    token: 'a jti',
    credential: 'the id of a credential',
    organisation: `the id of the organisation, ${JSON.stringify(ctx.org)}`,
  };
  return invalid(
    'value',
    `There is no ${kind} ${JSON.stringify(value)}, so a lock on it would stop nothing.`,
    `Give ${forms[kind]}.`,
  );
}
