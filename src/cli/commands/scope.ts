/** `remit scope …`: which scopes include others. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { fields, show, table, visible } from '../output.ts';

interface Scope {
  readonly id: string;
  readonly revision: number;
  readonly title: string;
  readonly includes: readonly string[];
  readonly proposed?: { readonly includes: readonly string[]; readonly by: string; readonly digest: string };
}

export function scopeCommands(program: Command): void {
  const scope = group(program, 'scope', 'Which scopes include others', 'remit scope list');

  remote(scope, 'list', 'List which scopes include others', 'remit scope list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ scopes: Scope[] }>('/scopes');
      show(options, body, ({ scopes }) =>
        table(
          ['SCOPE', 'INCLUDES', 'PROPOSED'],
          scopes.map(({ id, includes, proposed }) => [id, includes.join(' '), proposed?.includes.join(' ') ?? '']),
          'No scope includes another one.',
        ),
      );
    },
  );

  remote(scope, 'show <scope>', 'Show what a scope includes', 'remit scope show files:admin').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Scope>(`/scopes/${seg(id)}`);
      show(options, body, ({ title, includes, proposed, revision }) =>
        fields([
          ['title', title],
          ['includes', includes.join(' ') || 'nothing'],
          ...(proposed
            ? ([
                ['proposed', `${proposed.includes.join(' ')} (by ${proposed.by})`],
                ['digest', proposed.digest],
              ] as const)
            : []),
          ['revision', revision],
        ]),
      );
    },
  );

  change(
    scope,
    'put <scope> [includes...]',
    'Say what a scope includes; more than before waits for somebody else',
    'remit scope put files:admin files:read files:write --title "Everything about files" --reason "TICKET-7"',
  )
    .option('--title <text>', 'what it is, in plain words (default: as before, or its name)')
    .action(async (id: string, includes: string[], options: ReasonOptions & { title?: string }) => {
      const api = apiOf(options);
      const before = (await api.get<{ scopes: Scope[] }>('/scopes')).body.scopes.find((one) => one.id === id);
      const etag = before ? (await api.get<Scope>(`/scopes/${seg(id)}`)).etag : null;
      const wanted = { title: options.title ?? before?.title ?? id, includes };
      const { body } = await api.put<Scope>(`/scopes/${seg(id)}`, { reason: options.reason, scope: wanted }, etag);
      show(options, body, ({ proposed, revision }) =>
        proposed
          ? `${visible(id)} waits for somebody else: remit scope approve ${visible(id)} --digest ${proposed.digest} --reason "…"`
          : `${visible(id)} holds at revision ${revision}.`,
      );
    });

  change(
    scope,
    'approve <scope>',
    'Agree to exactly what is proposed for a scope; somebody else than who proposed it',
    'remit scope approve files:admin --digest sha256:… --reason "reviewed"',
  )
    .requiredOption('--digest <digest>', 'digest that `remit scope show` showed you')
    .action(async (id: string, { digest, ...options }: ReasonOptions & { digest: string }) => {
      const agreed = { reason: options.reason, digest };
      const { body } = await apiOf(options).post<Scope>(`/scopes/${seg(id)}/approve`, agreed);
      show(
        options,
        body,
        ({ includes, revision }) => `${visible(id)} includes ${includes.join(' ')} at revision ${revision}.`,
      );
    });

  change(
    scope,
    'remove <scope>',
    'Let a scope include nothing any more',
    'remit scope remove files:admin --reason "not used"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Scope>(`/scopes/${seg(id)}`, { reason: options.reason });
    show(options, body, ({ revision }) => `${visible(id)} includes nothing at revision ${revision}.`);
  });
}
