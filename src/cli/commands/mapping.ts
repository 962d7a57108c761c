/** `remit mapping …`, `remit organisation …`, `remit access …`: how tokens are read, what becomes of new agents, and what a token would become. */
import { type Command, Option } from 'commander';
import { NEW_AGENTS } from '../../directory/records.ts';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  group,
  readNamedFile,
  readObjectFile,
  remote,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Mapping {
  readonly id: string;
  readonly revision: number;
  readonly issuer: string;
  readonly tenant?: { readonly claim: string; readonly value: string };
  readonly newcomers: string;
  readonly rules: readonly { readonly claim: string; readonly value: string; readonly roles: readonly string[] }[];
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}
interface Organisation {
  readonly title: string;
  readonly issuers: readonly string[];
  readonly newAgents?: string;
  readonly revision: number;
}
interface Preview {
  readonly signature: string;
  readonly resource: string;
  readonly readable: boolean;
  readonly problem: { readonly kind: string; readonly message: string; readonly claim?: string } | null;
  readonly organisation?: string | null;
  readonly admitted?: boolean;
  readonly reason?: string | null;
  readonly message?: string | null;
  readonly remedy?: string | null;
  readonly token?: {
    readonly issuer: string;
    readonly subject: string;
    readonly signIn: { at: number | null; amr: string[]; acr: string | null };
  };
  readonly person?: { readonly id: string | null; readonly name: string; readonly state: string } | null;
  readonly roles?: readonly { readonly role: string; readonly from: string; readonly name?: string }[];
  readonly agents?: readonly { readonly client: string; readonly state: string | null }[];
  readonly ceiling?: object | null;
  readonly stops?: readonly object[];
  readonly newcomers?: readonly { readonly agent?: string; readonly person?: string; readonly becomes: string }[];
}

export function mappingCommands(program: Command): void {
  const mapping = group(program, 'mapping', 'How tokens of an issuer are read', 'remit mapping list');

  remote(mapping, 'list', 'List how tokens of the issuers are read', 'remit mapping list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ mappings: Mapping[] }>('/mappings');
      show(options, body, ({ mappings }) =>
        table(
          ['ID', 'ISSUER', 'TENANT', 'NEWCOMERS', 'RULES'],
          mappings.map(({ id, issuer, tenant, newcomers, rules }) => [
            id,
            issuer,
            tenant ? `${tenant.claim}=${tenant.value}` : 'any',
            newcomers,
            rules.length,
          ]),
          'No mappings: issuers speak for people with a record, and bring no roles.',
        ),
      );
    },
  );

  remote(mapping, 'show <mapping>', 'Show a mapping', 'remit mapping show corp').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Mapping>(`/mappings/${seg(id)}`);
      show(options, body, ({ issuer, tenant, newcomers, rules, revision }) =>
        [
          fields([
            ['issuer', issuer],
            ['tenant', tenant ? `${tenant.claim} = ${tenant.value}` : 'any'],
            ['newcomers', newcomers],
            ['revision', revision],
          ]),
          table(
            ['CLAIM', 'VALUE', 'ROLES'],
            rules.map(({ claim, value, roles }) => [claim, value, roles.join(',')]),
            'No rules.',
          ),
        ].join('\n'),
      );
    },
  );

  change(
    mapping,
    'put <mapping>',
    'Say how tokens of one issuer are read: tenant, newcomers, roles by claim',
    'remit mapping put corp -f corp.yaml --reason "TICKET-2"',
  )
    .requiredOption('-f, --file <path>', 'YAML or JSON: issuer, tenant, newcomers, rules; `-` reads standard input')
    .option('--replace', 'change the mapping that is there', false)
    .option('--unsafe-administrator-by-claim', 'let a rule give the role administrator', false)
    .action(
      async (
        id: string,
        options: ReasonOptions & { file: string; replace: boolean; unsafeAdministratorByClaim: boolean },
      ) => {
        const api = apiOf(options);
        const etag = options.replace ? (await api.get<Mapping>(`/mappings/${seg(id)}`)).etag : null;
        const { body } = await api.put<Changed>(
          `/mappings/${seg(id)}`,
          {
            reason: options.reason,
            mapping: readObjectFile(options.file),
            ...(options.unsafeAdministratorByClaim && { unsafeAdministratorByClaim: true }),
          },
          etag,
        );
        show(options, body, () => `${visible(id)} is in force at revision ${body.revision}.`);
      },
    );

  change(
    mapping,
    'remove <mapping>',
    'Remove a mapping that holds no tenant out',
    'remit mapping remove corp --reason "left"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Changed>(`/mappings/${seg(id)}`, { reason: options.reason });
    show(options, body, () => `${visible(id)} is removed at revision ${body.revision}.`);
  });

  const organisation = group(program, 'organisation', 'What holds for everybody here', 'remit organisation show');

  remote(organisation, 'show', 'Show the organisation', 'remit organisation show').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Organisation>('/organisation');
      show(options, body, ({ title, issuers, newAgents, revision }) =>
        fields([
          ['title', title],
          ['issuers', issuers.join(', ')],
          ['new agents', newAgents ?? 'pending'],
          ['revision', revision],
        ]),
      );
    },
  );

  change(
    organisation,
    'set',
    'Change its title and what becomes of new agents',
    'remit organisation set --new-agents refuse --reason "TICKET-3"',
  )
    .option('--title <text>', 'its name')
    .addOption(new Option('--new-agents <rule>', 'at their first call').choices(NEW_AGENTS))
    .action(async (options: ReasonOptions & { title?: string; newAgents?: string }) => {
      if (options.title === undefined && options.newAgents === undefined)
        throw new CliFailure('usage', 'Nothing to change.', 'Give --title or --new-agents.');
      const api = apiOf(options);
      const { body: before, etag } = await api.get<Organisation>('/organisation');
      const newAgents = options.newAgents ?? before.newAgents;
      const after = { title: options.title ?? before.title, ...(newAgents !== undefined && { newAgents }) };
      const { body } = await api.put<Changed>('/organisation', { reason: options.reason, organisation: after }, etag);
      show(options, body, () => `Changed at revision ${body.revision}.`);
    });

  const access = group(program, 'access', 'What a token would become', 'remit access token --claims claims.json');

  remote(
    access,
    'token',
    'What a token, or one with these claims, would become here',
    'remit access token --claims claims.json',
  )
    .option('--claims <path>', 'a file with the claims as JSON or YAML, `iss` among them; `-` reads standard input')
    .option('--file <path>', 'a file with an access token; `-` reads standard input. It is verified and kept nowhere')
    .option('--resource <url>', 'what it is for (default: its audience)')
    .action(async (options: RemoteOptions & { claims?: string; file?: string; resource?: string }) => {
      const { claims, file, resource } = options;
      if ((claims === undefined) === (file === undefined))
        throw new CliFailure('usage', 'Give one of --claims and --file.', 'Never pass a token itself as an argument.');
      const { body } = await apiOf(options).post<Preview>('/access/token', {
        ...(claims === undefined ? { token: readNamedFile(file ?? '-').trim() } : { claims: readObjectFile(claims) }),
        ...(resource !== undefined && { resource }),
      });
      show(options, body, describePreview);
      if (body.admitted !== true) process.exitCode = 1;
    });
}

function describePreview(it: Preview): string {
  const head: Array<readonly [string, string | number | null | undefined]> = [
    ['signature', it.signature === 'verified' ? 'verified' : 'not checked'],
    ['for', it.resource],
  ];
  if (!it.readable) {
    const claim = it.problem?.claim === undefined ? '' : ` (${it.problem.claim})`;
    return fields([...head, ['refused', `${it.problem?.message ?? ''} [${it.problem?.kind ?? ''}${claim}]`]]);
  }
  const json = (value: unknown): string => JSON.stringify(value);
  return fields([
    ...head,
    ['identity', `${it.token?.subject ?? ''} at ${it.token?.issuer ?? ''}`],
    ['organisation', it.organisation ?? 'not ours'],
    ['admitted', it.admitted === true ? 'yes' : `no: ${it.message ?? ''} [${it.reason ?? ''}]`],
    ...(it.remedy ? [['what to do', it.remedy] as const] : []),
    ['person', it.person ? `${it.person.name} (${it.person.id ?? 'would be new'}), ${it.person.state}` : 'nobody'],
    ...(it.roles ?? []).map(
      ({ role, from, name }) => ['role', `${role}, from ${from}${name === undefined ? '' : ` ${name}`}`] as const,
    ),
    ...(it.agents ?? []).map(({ client, state }) => ['agent', `${client}, ${state ?? 'no record'}`] as const),
    ['ceiling', it.ceiling ? json(it.ceiling) : 'none'],
    ['signed in', signedIn(it.token?.signIn)],
    ...(it.stops ?? []).map((stop) => ['stopped by', json(stop)] as const),
    ...(it.newcomers ?? []).map(
      ({ agent, person, becomes }) =>
        [
          'new here',
          agent === undefined ? `person ${person ?? ''}: ${becomes}` : `agent ${agent}: ${becomes}`,
        ] as const,
    ),
  ]);
}

function signedIn(how: NonNullable<Preview['token']>['signIn'] | undefined): string {
  const at = how?.at == null ? 'at a time it does not say' : time(how.at);
  return `${at}, by ${how?.amr.join(', ') || 'methods it does not say'}`;
}
