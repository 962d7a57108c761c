/** `remit person …`: people, their roles and their standing. */
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

interface Person {
  readonly id: string;
  readonly revision: number;
  readonly issuer: string;
  readonly subject: string;
  readonly name: string;
  readonly email?: string;
  readonly state: string;
  readonly roles: readonly string[];
  readonly groups?: readonly string[];
  readonly also?: readonly { readonly issuer: string; readonly subject: string }[];
  readonly provisioned?: { readonly connection: string; readonly userName?: string };
  readonly breakGlass?: true;
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}

export function personCommands(program: Command): void {
  const person = group(program, 'person', 'List people; give and take roles', 'remit person list');

  paged(person, 'list', 'List people', 'remit person list --search okafor')
    .option('--group <group>', 'members of this group')
    .option('--state <state>', 'active or inactive')
    .action(async (options: PageOptions & { group?: string; state?: string }) => {
      const { group: member, state: standing } = options;
      const { body } = await apiOf(options).get<{ people: Person[]; next: string | null }>(
        `/people?${options.query({ group: member, state: standing })}`,
      );
      show(options, body, ({ people, next }) =>
        more(
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
          next,
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
          ...(row.also ?? []).map(({ issuer, subject }) => ['also', `${subject} at ${issuer}`] as const),
          ['groups', row.groups?.join(', ')],
          ['kept by', row.provisioned?.connection ?? 'Remit'],
          ...(row.breakGlass ? [['break glass', 'every use raises an alarm'] as const] : []),
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
        ...(options.roles === undefined ? {} : { roles: list(options.roles) }),
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
    .option('--break-glass', 'an account for emergencies: every use raises an alarm', false)
    .action(
      async (
        options: ReasonOptions & {
          issuer: string;
          subject: string;
          name: string;
          email?: string;
          roles: string;
          breakGlass: boolean;
        },
      ) => {
        const { issuer, subject, name, email, breakGlass } = options;
        const roles = list(options.roles);
        const { body } = await apiOf(options).post<Changed>('/people', {
          reason: options.reason,
          person: {
            issuer,
            subject,
            name,
            ...(email === undefined ? {} : { email }),
            state: 'active',
            roles,
            ...(breakGlass && { breakGlass: true }),
          },
        });
        show(options, body, () => `${visible(name)} is ${body.id} at revision ${body.revision}.`);
      },
    );

  change(
    person,
    'sign-out [person]',
    'Void every token of a person, or your own, everywhere',
    'remit person sign-out person_01k… --reason "lost laptop"',
  ).action(async (id: string | undefined, options: ReasonOptions) => {
    const path = id === undefined ? '/me/sign-out' : `/people/${seg(id)}/sign-out`;
    const { body } = await apiOf(options).post<{ value: string; revision: number }>(path, { reason: options.reason });
    show(
      options,
      body,
      () =>
        `${visible(body.value)} is signed out everywhere at revision ${body.revision}; signing in anew is possible.`,
    );
  });
}
