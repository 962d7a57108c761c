/**
 * People of the directory: list, read, add, change. Of somebody whom a provisioning connection keeps, only the roles are ours to change.
 * Nobody changes their own roles, identities or state (AZ-11), so the last administrator cannot lock the house from inside either.
 */
import { z } from 'zod';
import { Person, personKey } from '../directory/records.ts';
import { digestOf } from '../lib/canonical-json.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { endingWrites } from './leaving.ts';
import { ownStanding, sameRoles } from './own-standing.ts';
import { holds, PAGE, pageOf, sortedIds } from './paging.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { handler, Reason } from './route.ts';
import { itemOf } from './records.ts';

export const whoAmI = handler({
  run: async ({ ctx, who }) =>
    ok({
      body: {
        person: who.person,
        name: who.name,
        roles: [...who.roles],
        organisation: ctx.org,
        client: who.token.clientId,
        scopes: [...who.token.scopes],
        expiresAt: who.token.expiresAt * 1000,
        signedInAt: who.token.authTime === null ? null : who.token.authTime * 1000,
      },
    }),
});

export const listPeople = handler({
  query: z.strictObject({
    ...PAGE,
    group: z.string().min(1).max(100).optional().describe('Members of this group only.'),
    state: z.enum(['active', 'inactive']).optional(),
  }),
  run: async ({ ctx, query }) => {
    const { people } = ctx.snapshot();
    const ids = sortedIds(people, function* () {
      for (const { id } of people.all()) yield id;
    });
    const { rows, next } = pageOf(ids, query, (id) => {
      const person = people.byId(id);
      if (!person || (query.state !== undefined && person.state !== query.state)) return undefined;
      if (query.group !== undefined && !person.groups?.includes(query.group)) return undefined;
      const { name, email, subject, also, provisioned } = person;
      const names = [id, name, email, subject, provisioned?.userName, ...(also ?? []).map((one) => one.subject)];
      return holds(query.search, ...names) ? rowOf(ctx, id) : undefined;
    });
    return ok({ body: { people: rows, next, total: people.size } });
  },
});

/** Without the profile: a page of them would be mostly that. */
function rowOf(ctx: AdminContext, id: string): object | undefined {
  const person = itemOf(ctx, 'person', id, Person);
  if (!person?.provisioned) return person;
  const { profile: _, ...provisioned } = person.provisioned;
  return { ...person, provisioned };
}

export const getPerson = handler({
  run: async ({ ctx, params }) => {
    const person = itemOf(ctx, 'person', params['person'] ?? '', Person);
    return person === undefined
      ? err(notFound('person', params['person'] ?? ''))
      : ok({ body: person, revision: person.revision });
  },
});

export const addPerson = handler({
  body: z.strictObject({ reason: Reason, person: Person }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const { person } = body;
    const wrong = wrongIdentity(ctx, person, null) ?? (person.provisioned ? PROVISIONING_ALONE : notHere(person));
    if (wrong) return err(wrong);
    const id = newId('person', ctx.clock);
    const done = await commitChange(ask, {
      what: 'person.added',
      subject: `person/${id}`,
      reason: body.reason,
      facts: { roles: person.roles, state: person.state, ...(person.breakGlass && { breakGlass: 1 }) },
      writes: [personWrite(ctx.org, id, person, null)],
    });
    return done.ok ? ok({ status: 201, body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

export const putPerson = handler({
  body: z.strictObject({ reason: Reason, person: Person }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['person'] ?? '';
    const found = itemOf(ctx, 'person', id, Person);
    if (found === undefined) return err(notFound('person', id));
    const { id: _, revision: at, ...before } = found;
    const revision = expected(ask.seen, at);
    if (!revision.ok) return revision;
    const { person } = body;
    const may = mayBecome(ctx, id, before, person);
    if (!may.ok) return may;
    if (id === who.person && !standsAsBefore(before, person)) return err(ownStanding('in their own record'));
    const done = await commitChange(ask, {
      what: 'person.changed',
      subject: `person/${id}`,
      reason: body.reason,
      facts: {
        roles: person.roles,
        rolesBefore: before.roles,
        state: person.state,
        stateBefore: before.state,
        ...(person.breakGlass && { breakGlass: 1 }),
      },
      writes: [
        personWrite(ctx.org, id, person, revision.value),
        ...(person.state === 'inactive' && before.state === 'active'
          ? endingWrites(ctx, [{ subject: { kind: 'person', value: id }, reason: body.reason, by: who.person }])
          : []),
      ],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

/** The record as it is written: under the key that makes one identity one person. */
export const personWrite = (org: string, id: string, person: Person, expectedRevision: number | null): Write => ({
  kind: 'person',
  org,
  id,
  key: personKey(person.issuer, person.subject),
  body: person,
  expectedRevision,
});

const PROVISIONING_ALONE: Problem = forbidden(
  'provisioned',
  'Only a provisioning connection says what it knows of a person.',
  'Leave `provisioned` out. People of a directory come over SCIM.',
);

/** Memberships are written together with the group, so that the group's ETag tells of them. */
const notHere = ({ groups }: Person): Problem | null =>
  groups === undefined || groups.length === 0 ? null : GROUPS_ELSEWHERE;
const GROUPS_ELSEWHERE = invalid(
  'person.groups',
  'Memberships are not changed with the person.',
  'Use PUT and DELETE /groups/{group}/members/{person} (`remit group join`, `remit group leave`).',
);

function mayBecome(ctx: AdminContext, id: string, before: Person, after: Person): Result<true, Problem> {
  // The log names people by these two: changing them would rewrite who did what.
  if (after.issuer !== before.issuer || after.subject !== before.subject) {
    return err(
      invalid(
        'person.subject',
        'Issuer and subject of a person never change.',
        'Add a new person and make this one inactive.',
      ),
    );
  }
  if (before.provisioned) {
    const { roles: _, ...kept } = before;
    const { roles: __, ...wanted } = after;
    if (digestOf(kept) !== digestOf(wanted)) {
      return err(
        forbidden(
          'provisioned',
          `The connection ${before.provisioned.connection} keeps this person; only their roles are changed here.`,
          'Change name, state and memberships in your directory. In an emergency lock the person: `remit lock add user ID`.',
        ),
      );
    }
    return ok(true);
  }
  if (after.provisioned) return err(PROVISIONING_ALONE);
  if (digestOf(before.groups ?? []) !== digestOf(after.groups ?? [])) return err(GROUPS_ELSEWHERE);
  const wrong = wrongIdentity(ctx, after, id);
  return wrong ? err(wrong) : ok(true);
}

function standsAsBefore(before: Person, after: Person): boolean {
  return (
    sameRoles(before.roles, after.roles) &&
    before.state === after.state &&
    before.breakGlass === after.breakGlass &&
    digestOf(before.also ?? []) === digestOf(after.also ?? [])
  );
}

/** Identities that no token of ours can bring, or that are somebody else's already. `id` null: a person who is new. */
function wrongIdentity(ctx: AdminContext, person: Person, id: string | null): Problem | null {
  const { organisation, people } = ctx.snapshot();
  const issuers = organisation?.issuers ?? [];
  for (const [at, { issuer, subject }] of [person, ...(person.also ?? [])].entries()) {
    const field = at === 0 ? 'person' : `person.also.${at - 1}`;
    if (!issuers.includes(issuer)) {
      return invalid(
        `${field}.issuer`,
        'This organisation does not trust this issuer.',
        `Use one of: ${issuers.join(', ') || 'none yet'}.`,
      );
    }
    const holder = people.byIdentity(issuer, subject);
    if (holder !== undefined && holder.id !== id) {
      return conflict(
        'person_exists',
        `${field}: this issuer and subject are a person already.`,
        'Change that person instead.',
      );
    }
  }
  return null;
}
