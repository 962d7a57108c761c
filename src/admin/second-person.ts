/**
 * Two people behind what gives access (AZ-11): whoever wrote what would be let through does not let it through. Who wrote it comes from the
 * history, which nobody writes by hand. `governance.unsafeOnePersonMayDecide` takes this away, for a team of one.
 */
import type { z } from 'zod';
import { LIFE, type LifeKind } from '../inventory/lifecycle.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Change } from '../store/state.ts';
import type { AdminContext } from './context.ts';
import { forbidden, type Problem } from './problem.ts';
import type { AdminCaller } from './route.ts';

/** The state moves without anybody writing anything, and switches only take away. */
const NOT_WRITTEN: ReadonlySet<string> = new Set(['state', 'switches']);

/**
 * Everybody who changed a record since it last worked; where nobody did, whoever changed it last. `read`: as the record is understood today,
 * so that a member that a newer version fills in by itself is nobody's change.
 */
export function authorsOf(
  kind: LifeKind,
  changes: readonly Pick<Change, 'actor' | 'body'>[],
  read: (body: JsonObject) => JsonObject,
): ReadonlySet<string> {
  let authors = new Set<string>();
  let last: string | null = null;
  let before: string | null = null;
  for (const { actor, body } of changes) {
    const now = body === null ? null : writtenIn(read(body));
    if (now !== null && now !== before) {
      authors.add(actor);
      last = actor;
    }
    if (body === null) authors = new Set();
    else if (body['state'] === LIFE[kind].works) authors = new Set();
    before = now;
  }
  return authors.size > 0 || last === null ? authors : new Set([last]);
}

const writtenIn = (body: JsonObject): string =>
  digestOf(Object.fromEntries(Object.entries(body).filter(([member]) => !NOT_WRITTEN.has(member))) as Json);

/** Null: `who` is somebody else than whoever wrote what is let through. `ctx.state` is asked, so that nothing is decided on an old copy. */
export async function somebodyElse(
  ctx: Pick<AdminContext, 'facts' | 'state' | 'org'>,
  who: Pick<AdminCaller, 'person'>,
  kind: LifeKind,
  id: string,
  schema: z.ZodType,
): Promise<Problem | null> {
  if (ctx.facts.unsafeOnePersonMayDecide) return null;
  const history = await ctx.state.history(kind, ctx.org, id);
  const read = (body: JsonObject): JsonObject => {
    const parsed = schema.safeParse(body);
    return parsed.success ? (parsed.data as JsonObject) : body;
  };
  return authorsOf(kind, history, read).has(who.person) ? wroteIt(kind) : null;
}

export const wroteIt = (kind: LifeKind): Problem =>
  forbidden(
    'two_people',
    `Nobody lets through what they wrote: you changed this ${kind} since somebody else looked at it.`,
    `Ask another reviewer to read and ${kind === 'agent' ? 'activate' : 'enable'} it.`,
  );
