/**
 * People of the directory: list, read, add, change. Roles are given here and nowhere else.
 * Nobody changes their own roles or state (AZ-11), so the last administrator cannot lock the house from inside either.
 */
import { z } from 'zod';
import { Person, personKey } from '../directory/records.ts';
import { newId } from '../lib/ids.ts';
import type { JsonObject } from '../lib/json.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange, expected } from './commit.ts';
import { endingWrites } from './leaving.ts';
import { forbidden, invalid, notFound, conflict } from './problem.ts';
import { handler, Reason } from './route.ts';
import { itemOf, itemsOf } from './records.ts';

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
      },
    }),
});

export const listPeople = handler({
  run: async ({ ctx }) => ok({ body: { people: itemsOf(ctx, 'person', Person) } }),
});

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
    const strange = unknownIssuer(ctx.snapshot().organisation?.issuers ?? [], person.issuer);
    if (strange !== null) return err(strange);
    if (ctx.snapshot().people.byIdentity(person.issuer, person.subject) !== undefined) {
      return err(
        conflict('person_exists', 'This issuer and subject are a person already.', 'Change that person instead.'),
      );
    }
    const id = newId('person', ctx.clock);
    const done = await commitChange(ask, {
      what: 'person.added',
      subject: `person/${id}`,
      reason: body.reason,
      facts: { roles: person.roles, state: person.state },
      writes: [write(ctx.org, id, person, null)],
    });
    return done.ok ? ok({ status: 201, body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

export const putPerson = handler({
  body: z.strictObject({ reason: Reason, person: Person }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['person'] ?? '';
    const before = itemOf(ctx, 'person', id, Person);
    if (before === undefined) return err(notFound('person', id));
    const revision = expected(ask.seen, before.revision);
    if (!revision.ok) return revision;
    const { person } = body;
    // The log names people by these two: changing them would rewrite who did what.
    if (person.issuer !== before.issuer || person.subject !== before.subject) {
      return err(
        invalid(
          'person.subject',
          'Issuer and subject of a person never change.',
          'Add a new person and make this one inactive.',
        ),
      );
    }
    const sameRoles = person.roles.toSorted().join() === before.roles.toSorted().join();
    if (id === who.person && (!sameRoles || person.state !== before.state)) {
      return err(forbidden('own_standing', 'Nobody changes their own roles or state.', 'Ask another administrator.'));
    }
    const done = await commitChange(ask, {
      what: 'person.changed',
      subject: `person/${id}`,
      reason: body.reason,
      facts: { roles: person.roles, rolesBefore: before.roles, state: person.state, stateBefore: before.state },
      writes: [
        write(ctx.org, id, person, revision.value),
        ...(person.state === 'inactive' && before.state === 'active'
          ? endingWrites(ctx, [{ subject: { kind: 'person', value: id }, reason: body.reason, by: who.person }])
          : []),
      ],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

const write = (org: string, id: string, person: Person, expectedRevision: number | null) => ({
  kind: 'person',
  org,
  id,
  key: personKey(person.issuer, person.subject),
  body: person as JsonObject,
  expectedRevision,
});

const unknownIssuer = (issuers: readonly string[], issuer: string) =>
  issuers.includes(issuer)
    ? null
    : invalid(
        'person.issuer',
        'This organisation does not trust this issuer.',
        `Use one of: ${issuers.join(', ') || 'none yet'}.`,
      );
