/** `remit incident …`: what was contained and waits for somebody to look at it. */
import { type Command, Option } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, etagOf, group, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Incident {
  readonly id: string;
  readonly revision: number;
  readonly what: string;
  readonly severity: string;
  readonly subject: string;
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  readonly openedAt: number;
  readonly closed?: { readonly by: string; readonly at: number; readonly reason: string };
}

export function incidentCommands(program: Command): void {
  const incidents = group(program, 'incident', 'What was contained and waits for somebody', 'remit incident list');

  remote(incidents, 'list', 'List incidents, newest first', 'remit incident list')
    .addOption(new Option('--state <state>', 'which').choices(['open', 'closed', 'all']).default('open'))
    .action(async (options: RemoteOptions & { state: string }) => {
      const { body } = await apiOf(options).get<{ incidents: Incident[] }>(`/incidents?state=${seg(options.state)}`);
      show(options, body, ({ incidents: rows }) =>
        table(
          ['ID', 'WHAT', 'ABOUT', 'SINCE', 'CLOSED BY'],
          rows.map((one) => [one.id, one.what, one.subject, time(one.openedAt), one.closed?.by ?? '']),
          'No incidents.',
        ),
      );
    });

  remote(
    incidents,
    'show <incident>',
    'Show an incident',
    'remit incident show honeytoken-0123456789abcdef01234567',
  ).action(async (id: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Incident>(`/incidents/${seg(id)}`);
    show(options, body, (one) =>
      fields([
        ['id', one.id],
        ['what', `${one.what} (${one.severity})`],
        ['about', one.subject],
        ['since', time(one.openedAt)],
        ...Object.entries(one.facts).map(([name, value]) => [name, String(value)] as const),
        ['closed', one.closed ? `${one.closed.by}, ${time(one.closed.at)}: ${one.closed.reason}` : 'no'],
        ['revision', one.revision],
      ]),
    );
  });

  change(
    incidents,
    'close <incident>',
    'Close an incident with what you found; it opens again when the same is seen once more',
    'remit incident close honeytoken-0123456789abcdef01234567 --reason "test of the red team"',
  ).action(async (id: string, options: ReasonOptions) => {
    const api = apiOf(options);
    const { revision } = (await api.get<Incident>(`/incidents/${seg(id)}`)).body;
    const { body } = await api.post<{ revision: number }>(
      `/incidents/${seg(id)}/close`,
      { reason: options.reason },
      etagOf(revision),
    );
    show(options, body, () => `${visible(id)} is closed at revision ${body.revision}.`);
  });
}
