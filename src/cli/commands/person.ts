/** `remit person …`: people, their roles and their standing. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, visible } from '../output.ts';

interface Person {
  readonly id: string;
  readonly revision: number;
  readonly issuer: string;
  readonly subject: string;
  readonly name: string;
  readonly email?: string;
  readonly state: string;
  readonly roles: readonly string[];
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}

export function personCommands(program: Command): void {
  const person = group(program, 'person', 'List people; give and take roles', 'remit person list');

  remote(person, 'list', 'List people', 'remit person list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ people: Person[] }>('/people');
    show(options, body, ({ people }) =>
      table(
        ['ID', 'NAME', 'STATE', 'ROLES', 'SUBJECT', 'ISSUER'],
        people.map(({ id, name, state, roles, subject, issuer }) => [
          id,
          name,
          state,
          roles.join(','),
          subject,
          issuer,
        ]),
        'No people.',
      ),
    );
  });

  remote(person, 'show <person>', 'Show a person', 'remit person show person_01k…').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Person>(`/people/${seg(id)}`);
      show(options, body, (row) =>
        fields([
          ['id', row.id],
          ['name', row.name],
          ['email', row.email],
          ['state', row.state],
          ['roles', row.roles.join(', ')],
          ['issuer', row.issuer],
          ['subject', row.subject],
          ['revision', row.revision],
        ]),
      );
    },
  );

  change(
    person,
    'set <person>',
    'Change roles, name or state of a person',
    'remit person set person_01k… --roles developer,approver --reason "joined the team"',
  )
    .option('--roles <list>', 'all roles, separated by commas; empty for none')
    .option('--state <state>', 'active or inactive')
    .option('--name <text>', 'their name')
    .action(async (id: string, options: ReasonOptions & { roles?: string; state?: string; name?: string }) => {
      if (options.roles === undefined && options.state === undefined && options.name === undefined)
        throw new CliFailure('usage', 'Nothing to change.', 'Give --roles, --state or --name.');
      const api = apiOf(options);
      const { body: before, etag } = await api.get<Person>(`/people/${seg(id)}`);
      const { id: _id, revision: _revision, ...rest } = before;
      const next = {
        ...rest,
        ...(options.roles === undefined
          ? {}
          : {
              roles: options.roles
                .split(',')
                .map((role) => role.trim())
                .filter((role) => role !== ''),
            }),
        ...(options.state === undefined ? {} : { state: options.state }),
        ...(options.name === undefined ? {} : { name: options.name }),
      };
      const { body } = await api.put<Changed>(`/people/${seg(id)}`, { reason: options.reason, person: next }, etag);
      show(options, body, () => `${visible(id)} is changed at revision ${body.revision}.`);
    });

  change(
    person,
    'add',
    'Add a person of a trusted issuer',
    'remit person add --issuer https://login.example.com --subject 00u1 --name "Ada Okafor" --roles developer --reason "joiner"',
  )
    .requiredOption('--issuer <url>', 'issuer of their tokens')
    .requiredOption('--subject <sub>', 'their `sub` at that issuer')
    .requiredOption('--name <text>', 'their name')
    .option('--email <address>', 'their e-mail address')
    .option('--roles <list>', 'roles, separated by commas', '')
    .action(
      async (
        options: ReasonOptions & { issuer: string; subject: string; name: string; email?: string; roles: string },
      ) => {
        const { issuer, subject, name, email } = options;
        const roles = options.roles
          .split(',')
          .map((role) => role.trim())
          .filter((role) => role !== '');
        const { body } = await apiOf(options).post<Changed>('/people', {
          reason: options.reason,
          person: { issuer, subject, name, ...(email === undefined ? {} : { email }), state: 'active', roles },
        });
        show(options, body, () => `${visible(name)} is ${body.id} at revision ${body.revision}.`);
      },
    );
}
