/** `remit group …`: groups, the roles they give, and the members of those that no directory keeps. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  group,
  list,
  paged,
  remote,
  type PageOptions,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, more, show, table, visible } from '../output.ts';

interface Group {
  readonly id: string;
  readonly revision: number;
  readonly name: string;
  readonly roles: readonly string[];
  readonly members: number;
  readonly provisioned?: { readonly connection: string };
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}

export function groupCommands(program: Command): void {
  const groups = group(program, 'group', 'Groups and the roles they give', 'remit group list');

  paged(groups, 'list', 'List groups with the number of their members', 'remit group list --search finance').action(
    async (options: PageOptions) => {
      const { body } = await apiOf(options).get<{ groups: Group[]; next: string | null }>(`/groups?${options.query()}`);
      show(options, body, ({ groups: rows, next }) =>
        more(
          table(
            ['ID', 'NAME', 'ROLES', 'MEMBERS', 'KEPT BY'],
            rows.map(({ id, name, roles, members, provisioned }) => [
              id,
              name,
              roles.join(','),
              members,
              provisioned?.connection ?? 'Remit',
            ]),
            'No groups.',
          ),
          next,
        ),
      );
    },
  );

  remote(groups, 'show <group>', 'Show a group', 'remit group show group_01k…').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Group>(`/groups/${seg(id)}`);
      show(options, body, (row) =>
        fields([
          ['id', row.id],
          ['name', row.name],
          ['roles', row.roles.join(', ') || 'none'],
          ['members', row.members],
          ['kept by', row.provisioned?.connection ?? 'Remit'],
          ['revision', row.revision],
        ]),
      );
    },
  );

  change(
    groups,
    'add <name>',
    'Make a group that no directory keeps',
    'remit group add Auditors --roles auditor --reason "TICKET-7"',
  )
    .option('--roles <list>', 'roles of its members, separated by commas', '')
    .action(async (name: string, options: ReasonOptions & { roles: string }) => {
      const { body } = await apiOf(options).post<Changed>('/groups', {
        reason: options.reason,
        group: { name, roles: list(options.roles) },
      });
      show(options, body, () => `${visible(name)} is ${body.id} at revision ${body.revision}.`);
    });

  change(
    groups,
    'set <group>',
    'Change the roles of a group, or its name where no directory keeps it',
    'remit group set group_01k… --roles developer --reason "TICKET-7"',
  )
    .option('--roles <list>', 'all roles, separated by commas; empty for none')
    .option('--name <text>', 'its name')
    .action(async (id: string, options: ReasonOptions & { roles?: string; name?: string }) => {
      if (options.roles === undefined && options.name === undefined)
        throw new CliFailure('usage', 'Nothing to change.', 'Give --roles or --name.');
      const api = apiOf(options);
      const { body: before, etag } = await api.get<Group>(`/groups/${seg(id)}`);
      const after = {
        name: options.name ?? before.name,
        roles: options.roles === undefined ? before.roles : list(options.roles),
      };
      const { body } = await api.put<Changed>(`/groups/${seg(id)}`, { reason: options.reason, group: after }, etag);
      show(options, body, () => `${visible(id)} is changed at revision ${body.revision}.`);
    });

  change(
    groups,
    'remove <group>',
    'Remove a group that no directory keeps',
    'remit group remove group_01k… --reason "unused"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Changed>(`/groups/${seg(id)}`, { reason: options.reason });
    show(options, body, () => `${visible(id)} is removed at revision ${body.revision}.`);
  });

  change(
    groups,
    'join <group> <person>',
    'Put a person into a group that no directory keeps',
    'remit group join group_01k… person_01k… --reason "TICKET-7"',
  ).action(async (id: string, person: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).put<Changed>(
      `/groups/${seg(id)}/members/${seg(person)}`,
      { reason: options.reason },
      'any',
    );
    show(options, body, () => `${visible(person)} is in ${visible(id)} at revision ${body.revision}.`);
  });

  change(
    groups,
    'leave <group> <person>',
    'Take a person out of a group that no directory keeps',
    'remit group leave group_01k… person_01k… --reason "TICKET-9"',
  ).action(async (id: string, person: string, options: ReasonOptions) => {
    const path = `/groups/${seg(id)}/members/${seg(person)}`;
    const { body } = await apiOf(options).remove<Changed>(path, { reason: options.reason });
    show(options, body, () => `${visible(person)} is not in ${visible(id)} any more, at revision ${body.revision}.`);
  });
}
