/**
 * Groups: what their members may be, and, for groups that nobody provisions, who the members are. A provisioned group is the
 * directory's: name and members come over SCIM and are refused here; its roles are ours and are refused there.
 * A change of members writes the person and the group in one commit, so that the group's ETag tells of it (decision 0009).
 */
import { z } from 'zod';
import { Group, Person } from '../directory/records.ts';
import type { PeopleIndex } from '../directory/people.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { isOwnGroup, ownStanding, sameRoles } from './own-standing.ts';
import { holds, PAGE, pageOf, sortedIds } from './paging.ts';
import { personWrite } from './people.ts';
import { conflict, forbidden, notFound, type Problem } from './problem.ts';
import { itemOf, type Item } from './records.ts';
import { handler, Reason } from './route.ts';

const COUNTS = new WeakMap<PeopleIndex, ReadonlyMap<string, number>>();

/** Members by group id, counted once for each picture of the people. */
function memberCounts(people: PeopleIndex): ReadonlyMap<string, number> {
  let counts = COUNTS.get(people);
  if (!counts) {
    const fresh = new Map<string, number>();
    for (const { groups } of people.all()) for (const id of groups ?? []) fresh.set(id, (fresh.get(id) ?? 0) + 1);
    COUNTS.set(people, (counts = fresh));
  }
  return counts;
}

function rowOf(ctx: AdminContext, id: string): object | undefined {
  const group = itemOf(ctx, 'group', id, Group);
  if (!group) return undefined;
  const { provisioned, ...row } = group;
  return {
    ...row,
    members: memberCounts(ctx.snapshot().people).get(id) ?? 0,
    ...(provisioned && { provisioned: { connection: provisioned.connection, externalId: provisioned.externalId } }),
  };
}

export const listGroups = handler({
  query: z.strictObject(PAGE),
  run: async ({ ctx, query }) => {
    const { groups } = ctx.snapshot();
    const { rows, next } = pageOf(
      sortedIds(groups, () => groups.keys()),
      query,
      (id) => (holds(query.search, id, groups.get(id)?.name) ? rowOf(ctx, id) : undefined),
    );
    return ok({ body: { groups: rows, next, total: groups.size } });
  },
});

export const getGroup = handler({
  run: async ({ ctx, params }) => {
    const id = params['group'] ?? '';
    const row = rowOf(ctx, id);
    const revision = itemOf(ctx, 'group', id, Group)?.revision;
    return row && revision !== undefined ? ok({ body: row, revision }) : err(notFound('group', id));
  },
});

const Given = Group.omit({ provisioned: true });

export const addGroup = handler({
  body: z.strictObject({ reason: Reason, group: Given }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const taken = sameName(ctx, body.group.name, null);
    if (taken) return err(taken);
    // Only `apply` names the id of a new group; this row has no such parameter.
    const id = ask.params['group'] ?? newId('group', ctx.clock);
    const done = await commitChange(ask, {
      what: 'group.added',
      subject: `group/${id}`,
      reason: body.reason,
      facts: { name: body.group.name, roles: body.group.roles },
      writes: [groupWrite(ctx.org, id, body.group, null)],
    });
    return done.ok ? ok({ status: 201, body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

export const putGroup = handler({
  body: z.strictObject({ reason: Reason, group: Given }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const found = groupOf(ctx, params['group'] ?? '');
    if (!found.ok) return found;
    const { id, revision: at, ...before } = found.value;
    const revision = expected(ask.seen, at);
    if (!revision.ok) return revision;
    const { name, roles } = body.group;
    if (name !== before.name && before.provisioned) return err(directorys(before, 'its name'));
    const taken = name === before.name ? null : sameName(ctx, name, id);
    if (taken) return err(taken);
    if (isOwnGroup(ctx, who, id) && !sameRoles(roles, before.roles))
      return err(ownStanding('nor those of a group of theirs'));
    const done = await commitChange(ask, {
      what: 'group.changed',
      subject: `group/${id}`,
      reason: body.reason,
      facts: { name, roles, rolesBefore: before.roles },
      writes: [groupWrite(ctx.org, id, { ...before, name, roles }, revision.value)],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

/** Its members keep the id in their records; an id that is gone gives nothing and never comes again. */
export const deleteGroup = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const found = groupOf(ctx, params['group'] ?? '');
    if (!found.ok) return found;
    const { id, revision, ...group } = found.value;
    if (group.provisioned) return err(directorys(group, 'whether it is there'));
    // Policies name groups, too: being in one is a right even where it gives no role.
    if (isOwnGroup(ctx, who, id)) return err(ownStanding('nor a group of theirs'));
    const done = await commitChange(ask, {
      what: 'group.removed',
      subject: `group/${id}`,
      reason: body.reason,
      facts: { name: group.name, roles: group.roles },
      writes: [{ kind: 'group', org: ctx.org, id, body: null, expectedRevision: revision }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

const membership = (joins: boolean) =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, who, body, params } = ask;
      const found = groupOf(ctx, params['group'] ?? '');
      if (!found.ok) return found;
      const { id, revision: groupAt, ...group } = found.value;
      if (group.provisioned) return err(directorys(group, 'who its members are'));
      const known = itemOf(ctx, 'person', params['person'] ?? '', Person);
      if (!known) return err(notFound('person', params['person'] ?? ''));
      const { id: personId, revision: personAt, ...person } = known;
      const now = person.groups ?? [];
      if (now.includes(id) === joins) return ok({ body: { id, revision: groupAt }, revision: groupAt });
      if (personId === who.person) return err(ownStanding('nor their own memberships'));
      const groups = joins ? [...now, id] : now.filter((other) => other !== id);
      const done = await commitChange(ask, {
        what: joins ? 'group.joined' : 'group.left',
        subject: `group/${id}`,
        reason: body.reason,
        facts: { person: personId, name: group.name, roles: group.roles },
        writes: [
          personWrite(ctx.org, personId, Person.parse({ ...person, groups }), personAt),
          groupWrite(ctx.org, id, group, groupAt),
        ],
      });
      return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
    },
  });

export const joinGroup = membership(true);
export const leaveGroup = membership(false);

const groupWrite = (org: string, id: string, group: Group, expectedRevision: number | null): Write => ({
  kind: 'group',
  org,
  id,
  body: group,
  expectedRevision,
});

function groupOf(ctx: AdminContext, id: string): Result<Item<Group>, Problem> {
  const group = itemOf(ctx, 'group', id, Group);
  return group ? ok(group) : err(notFound('group', id));
}

const directorys = ({ provisioned }: Group, what: string): Problem =>
  forbidden(
    'provisioned',
    `The connection ${provisioned?.connection ?? ''} keeps this group: ${what} comes from the directory.`,
    'Change it there, or make a group of your own. Its roles are changed here.',
  );

/** Two groups of one name would be mixed up by whoever gives roles. Those of a directory may be named as they like. */
function sameName(ctx: AdminContext, name: string, id: string | null): Problem | null {
  for (const [other, group] of ctx.snapshot().groups)
    if (other !== id && group.name === name && !group.provisioned)
      return conflict('group_exists', `The group ${other} has this name.`, 'Choose another name.');
  return null;
}
