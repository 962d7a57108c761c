/**
 * The first administrator of an installation without people: somebody who signed in by the normal way, and who can read a file on the
 * machine. The code is made at start, lives 24 hours in memory and in a file of mode 0600, never in a log, and works once. The route is
 * the only one for people without a record, and is gone (404) as soon as there is an administrator; nothing here works without a token (PH-09).
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { Person } from '../directory/records.ts';
import { standingRoles } from '../directory/roles.ts';
import { commitBy } from './commit.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import type { AdminContext } from './context.ts';
import { personWrite } from './people.ts';
import type { Problem } from './problem.ts';
import { handler } from './route.ts';
import { newId } from '../lib/ids.ts';
import { err, ok } from '../lib/result.ts';

export const CLAIM_TTL_MS = 24 * 3_600_000;
/** Wrong codes in a minute, over all who try. 130 bits are not guessed at any speed; this keeps the noise down. */
const TRIES_PER_MINUTE = 5;

export interface ClaimCode {
  /** Does a code open this? Constant time over the code; `throttled` after too many wrong ones. */
  check(code: string, now: number): 'right' | 'wrong' | 'throttled';
  /** Whether it can still be used at all. */
  open(now: number): boolean;
  /** Used, or needed no more. Removes the file. Idempotent. */
  close(): void;
}

/** A code and the text of it, which the caller puts where only the operator reads it. `remove` takes it away again. */
export function newClaimCode(now: number, remove: () => void): { readonly text: string; readonly code: ClaimCode } {
  const text = randomBytes(20).toString('hex');
  const wanted = hash('sha256', text, 'buffer');
  let closed = false;
  let window = { from: now, wrong: 0 };
  const open = (at: number): boolean => !closed && at < now + CLAIM_TTL_MS;
  return {
    text,
    code: {
      open,
      check(sent, at) {
        if (at - window.from >= 60_000) window = { from: at, wrong: 0 };
        if (window.wrong >= TRIES_PER_MINUTE) return 'throttled';
        if (timingSafeEqual(hash('sha256', sent.trim(), 'buffer'), wanted)) return 'right';
        window.wrong++;
        return 'wrong';
      },
      close() {
        if (closed) return;
        closed = true;
        remove();
      },
    },
  };
}

const GONE: Problem = { status: 404, code: 'no_such_route', message: 'There is nothing at this path.' };

const ADMINISTERED = new WeakMap<Snapshot, boolean>();

/** Looked for once for each picture of the state, and only while a code is open. */
export function hasAdministrator(ctx: Pick<AdminContext, 'snapshot'>): boolean {
  const view = ctx.snapshot();
  let known = ADMINISTERED.get(view);
  if (known === undefined) {
    known = [...view.people.all()].some((person) => standingRoles(person, view.groups).includes('administrator'));
    ADMINISTERED.set(view, known);
  }
  return known;
}

export const claimAdministration = handler({
  body: z.strictObject({ code: z.string().min(1).max(200), name: Person.shape.name.optional() }),
  run: async ({ ctx, who, body, ref }) => {
    const now = ctx.clock.now();
    const { claim } = ctx;
    if (!claim?.open(now)) return err(GONE);
    if (hasAdministrator(ctx)) {
      claim.close();
      return err(GONE);
    }
    switch (claim.check(body.code, now)) {
      case 'throttled':
        return err({ status: 429, code: 'too_many_tries', message: 'Too many wrong codes.', remedy: 'Wait a minute.' });
      case 'wrong':
        return err({
          status: 403,
          code: 'claim_code',
          message: 'This is not the claim code of this installation.',
          remedy: 'It is in the file that the gateway named at its last start; a new start makes a new one.',
        });
      default:
    }
    const { issuer, subject } = who.token;
    const id = newId('person', ctx.clock);
    const person: Person = {
      issuer,
      subject,
      name: body.name ?? subject.slice(0, 200),
      state: 'active',
      roles: ['administrator'],
    };
    const done = await commitBy(
      ctx,
      { name: id, actor: { ...who.actor, person: id }, ref },
      {
        what: 'administrator.claimed',
        subject: `person/${id}`,
        reason: 'first administrator by claim code',
        facts: { roles: person.roles, state: person.state },
        writes: [
          personWrite(ctx.org, id, person, null),
          // Two nodes have a code each: the second of them finds this record and gets a conflict.
          {
            kind: 'claim',
            org: ctx.org,
            id: 'first-administrator',
            body: { person: id, at: now },
            expectedRevision: null,
          },
        ],
      },
    );
    if (done.ok || done.error.revision !== undefined) claim.close();
    return done.ok
      ? ok({ status: 201, body: { id, roles: person.roles, revision: done.value }, revision: done.value })
      : done;
  },
});
