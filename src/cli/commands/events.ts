/** `remit events …`: who may tell this gateway about people by security event (SSF), and whether they still do. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, readObjectFile, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Stream {
  readonly id: string;
  readonly revision: number;
  readonly title: string;
  readonly state: string;
  readonly issuer: string;
  readonly jwksUri: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly delivery: {
    readonly method: string;
    readonly path?: string;
    readonly url?: string;
    readonly tokens?: ReadonlyArray<{ readonly id: string; readonly expiresAt: number; readonly by: string }>;
  };
  readonly silenceAfterMs: number | null;
  readonly whenSilent: string;
  readonly contactAt?: number | null;
  readonly silent?: boolean;
}
interface Changed {
  readonly id: string;
  readonly revision: number;
}

export function eventCommands(program: Command): void {
  const events = group(program, 'events', 'Who may tell this gateway who left (security events)', 'remit events list');

  remote(events, 'list', 'List event streams and when each was heard last', 'remit events list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ streams: Stream[] }>('/event-streams');
      show(options, body, ({ streams }) =>
        table(
          ['ID', 'STATE', 'DELIVERY', 'LAST HEARD', 'ISSUER', 'TITLE'],
          streams.map(({ id, state, delivery, contactAt, silent, issuer, title }) => [
            id,
            silent === true ? `${state}, SILENT` : state,
            delivery.method,
            contactAt === null || contactAt === undefined ? 'never' : time(contactAt),
            issuer,
            title,
          ]),
          'No event streams: who leaves is known by SCIM, by an administrator, or when their tokens end.',
        ),
      );
    },
  );

  remote(events, 'show <stream>', 'Show an event stream', 'remit events show okta').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Stream>(`/event-streams/${seg(id)}`);
      show(options, body, (row) =>
        fields([
          ['id', row.id],
          ['title', row.title],
          ['state', row.state],
          ['issuer', row.issuer],
          ['keys', row.jwksUri],
          ['algorithms', row.algorithms.join(', ')],
          ['audience', row.audience],
          ['delivery', row.delivery.method],
          ['address', row.delivery.path ?? row.delivery.url],
          [
            'tokens',
            (row.delivery.tokens ?? []).map((token) => `${token.id} until ${time(token.expiresAt)}`).join(', '),
          ],
          ['alarm after', row.silenceAfterMs === null ? 'never' : `${row.silenceAfterMs / 60_000} min of silence`],
          ['when silent', row.whenSilent],
          ['revision', row.revision],
        ]),
      );
    },
  );

  change(
    events,
    'put <stream> <file>',
    'Add or change an event stream from a YAML or JSON file',
    'remit events put okta okta.yaml --reason "connects Okta"',
  ).action(async (id: string, file: string, options: ReasonOptions) => {
    const api = apiOf(options);
    const stream = readObjectFile(file);
    const { body: known } = await api.get<{ streams: Stream[] }>('/event-streams');
    const before = known.streams.find((one) => one.id === id);
    const etag = before === undefined ? null : `"${before.revision}"`;
    const { body } = await api.put<Changed>(`/event-streams/${seg(id)}`, { reason: options.reason, stream }, etag);
    show(options, body, () => `${visible(id)} is in force at revision ${body.revision}.`);
  });

  change(
    events,
    'token <stream>',
    'Make a bearer token for a transmitter that pushes; shown once',
    'remit events token okta --days 180 --reason "first token of Okta"',
  )
    .requiredOption('--days <number>', 'how long it may be used, 1 to 366', days)
    .action(async (id: string, options: ReasonOptions & { days: number }) => {
      const { body } = await apiOf(options).post<{ id: string; token: string; expiresAt: number }>(
        `/event-streams/${seg(id)}/tokens`,
        { reason: options.reason, days: options.days },
      );
      show(
        options,
        body,
        () =>
          `${body.token}\n${body.id}, until ${time(body.expiresAt)}. It is not shown again: give it to the transmitter now.`,
      );
    });

  change(
    events,
    'revoke-token <stream> <token>',
    'Revoke a bearer token of a stream',
    'remit events revoke-token okta tok_01k… --reason "replaced"',
  ).action(async (id: string, token: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Changed>(`/event-streams/${seg(id)}/tokens/${seg(token)}`, {
      reason: options.reason,
    });
    show(options, body, () => `${visible(token)} opens nothing any more, at revision ${body.revision}.`);
  });

  change(
    events,
    'remove <stream>',
    'Remove an event stream; what it voided stays void',
    'remit events remove okta --reason "moved to another provider"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Changed>(`/event-streams/${seg(id)}`, { reason: options.reason });
    show(options, body, () => `${visible(id)} is removed at revision ${body.revision}.`);
  });
}

function days(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > 366) throw new InvalidArgumentError('Use 1 to 366.');
  return value;
}
