/** `remit scim …`: connections by which an identity provider writes people and groups. */
import { type Command, Option } from 'commander';
import { systemClock } from '../../lib/clock.ts';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  duration,
  group,
  remote,
  wholeNumber,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Connection {
  readonly id: string;
  readonly revision: number;
  readonly title: string;
  readonly state: string;
  readonly path: string;
  readonly identities: ReadonlyArray<{ readonly issuer: string; readonly subject: string }>;
  readonly adopt?: boolean;
  readonly tokens: ReadonlyArray<{ readonly id: string; readonly expiresAt: number; readonly by: string }>;
  readonly silenceAfterMs: number | null;
  readonly whenSilent: string;
  readonly contactAt: number | null;
  readonly silent: boolean;
}
interface Token {
  readonly id: string;
  readonly token: string;
  readonly expiresAt: number;
}

const lastToken = ({ tokens }: Connection): number | null =>
  tokens.length === 0 ? null : Math.max(...tokens.map(({ expiresAt }) => expiresAt));

const told = ({ token, expiresAt }: Token): string =>
  `The token is shown this once; it lasts until ${time(expiresAt)}.\n${visible(token)}`;

export function scimCommands(program: Command): void {
  const scim = group(program, 'scim', 'Let an identity provider write people and groups', 'remit scim list');

  remote(scim, 'list', 'List provisioning connections', 'remit scim list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ connections: Connection[] }>('/scim-connections');
    show(options, body, ({ connections }) =>
      table(
        ['ID', 'TITLE', 'STATE', 'LAST CONTACT', 'SILENT', 'TOKEN ENDS'],
        connections.map((one) => [
          one.id,
          one.title,
          one.state,
          time(one.contactAt),
          one.silent ? 'yes' : 'no',
          time(lastToken(one)),
        ]),
        'No connections.',
      ),
    );
  });

  remote(scim, 'show <connection>', 'Show a provisioning connection', 'remit scim show entra').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Connection>(`/scim-connections/${seg(id)}`);
      show(options, body, (one) =>
        fields([
          ['id', one.id],
          ['title', one.title],
          ['state', one.state],
          ['path', one.path],
          ...one.identities.map(({ issuer, subject }) => ['identity', `${subject} at ${issuer}`] as const),
          ['takes people over', one.adopt === true ? 'yes' : 'no'],
          ['last contact', time(one.contactAt)],
          ['silent after', one.silenceAfterMs === null ? 'never' : `${one.silenceAfterMs / 60_000} min`],
          ['when silent', one.whenSilent],
          ...one.tokens.map(({ id: token, expiresAt }) => ['token', `${token}, ends ${time(expiresAt)}`] as const),
          ['revision', one.revision],
        ]),
      );
    },
  );

  change(
    scim,
    'add <connection>',
    'Add a provisioning connection and make its first token',
    'remit scim add entra --title "Entra ID" --issuer https://login.example.com --subject "entra|{externalId}" --reason "joiners and leavers"',
  )
    .requiredOption('--title <text>', 'what it is called')
    .requiredOption('--issuer <url>', 'issuer of the tokens of its people')
    .requiredOption('--subject <template>', 'their `sub` there, over {externalId}, {userName} and {id}')
    .option('--adopt', 'let it take over people who are here already under the same identity', false)
    .option('--silence <duration>', 'raise an alarm when it says nothing for this long, for example 2h', duration)
    .addOption(
      new Option('--when-silent <action>', 'what else silence does').choices(['alarm', 'refuse']).default('alarm'),
    )
    .option('--days <number>', 'how long the token lasts, at most 730', wholeNumber, 180)
    .action(
      async (
        id: string,
        options: ReasonOptions & {
          title: string;
          issuer: string;
          subject: string;
          adopt: boolean;
          silence?: number;
          whenSilent: string;
          days: number;
        },
      ) => {
        const api = apiOf(options);
        await api.put(
          `/scim-connections/${seg(id)}`,
          {
            reason: options.reason,
            connection: {
              title: options.title,
              state: 'active',
              identities: [{ issuer: options.issuer, subject: options.subject }],
              ...(options.adopt ? { adopt: true } : {}),
              silenceAfterMs: options.silence ?? null,
              whenSilent: options.whenSilent,
            },
          },
          null,
        );
        const { body } = await api.post<Token>(`/scim-connections/${seg(id)}/tokens`, {
          reason: options.reason,
          days: options.days,
        });
        show(options, body, (token) => `${visible(id)} is a connection. ${told(token)}`);
      },
    );

  change(
    scim,
    'rotate <connection>',
    'Make a new token and end the old ones',
    'remit scim rotate entra --old-for 2h --reason "yearly"',
  )
    .option('--days <number>', 'how long the new token lasts, at most 730', wholeNumber, 180)
    .option('--old-for <duration>', 'how long the tokens so far stay good (default: a day); 0s ends them now', duration)
    .action(async (id: string, options: ReasonOptions & { days: number; oldFor?: number }) => {
      const { body } = await apiOf(options).post<Token>(`/scim-connections/${seg(id)}/tokens`, {
        reason: options.reason,
        days: options.days,
        ...(options.oldFor === undefined ? {} : { oldTokensEndAt: systemClock.now() + options.oldFor }),
      });
      show(options, body, told);
    });

  for (const [verb, summary] of [
    ['disable', 'Refuse the tokens of a connection from now on'],
    ['enable', 'Accept the tokens of a connection again'],
  ] as const) {
    change(scim, `${verb} <connection>`, summary, `remit scim ${verb} entra --reason "incident 7"`).action(
      async (id: string, options: ReasonOptions) => {
        const { body } = await apiOf(options).post<{ state: string; revision: number }>(
          `/scim-connections/${seg(id)}/${verb}`,
          { reason: options.reason },
        );
        show(options, body, () => `${visible(id)} is ${body.state} at revision ${body.revision}.`);
      },
    );
  }
}
