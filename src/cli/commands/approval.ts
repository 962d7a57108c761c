/** `remit approval …`: held calls. What is shown is exactly what will run. */
import { Option, type Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, group, remote, type RemoteOptions } from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Approval {
  readonly id: string;
  readonly person: string;
  readonly agent: string;
  readonly server: string;
  readonly tool: string;
  /** Null: not for your eyes, or nobody can open them. */
  readonly arguments: Record<string, unknown> | null;
  readonly needed: number;
  readonly decisions: readonly {
    readonly by: string;
    readonly outcome: string;
    readonly note: string | null;
    readonly at: number;
  }[];
  readonly over: string | null;
  readonly ended?: string;
  readonly risk?: string;
  readonly justification?: string;
  readonly because?: readonly string[];
  readonly found?: readonly string[];
  readonly state: string;
  readonly call: string;
  readonly requestedAt: number;
  readonly expiresAt: number;
  readonly decidedBy: string | null;
  readonly note: string | null;
}

const yesOf = ({ decisions }: Approval): number => decisions.filter(({ outcome }) => outcome === 'approved').length;

export function approvalCommands(program: Command): void {
  const approval = group(program, 'approval', 'See and decide held calls', 'remit approval list');

  remote(approval, 'list', 'List held calls', 'remit approval list')
    .option('--all', 'also decided, used and expired ones', false)
    .addOption(new Option('--mine-to-decide', 'only what you can say yes or no to now').conflicts(['all', 'mine']))
    .addOption(new Option('--mine', 'only what you asked for').conflicts('all'))
    .action(async (options: RemoteOptions & { all: boolean; mineToDecide?: true; mine?: true }) => {
      const state = options.mineToDecide ? 'mine-to-decide' : options.mine ? 'mine' : options.all ? 'all' : 'pending';
      const api = apiOf(options);
      const approvals: Approval[] = [];
      let after = '';
      do {
        const query = new URLSearchParams({ state, limit: '1000', ...(after !== '' && { after }) });
        const { body } = await api.get<{ approvals: Approval[]; next: string | null }>(
          `/approvals?${query.toString()}`,
        );
        approvals.push(...body.approvals);
        after = body.next ?? '';
      } while (after !== '');
      const body = { approvals };
      show(options, body, ({ approvals }) =>
        table(
          ['ID', 'STATE', 'PERSON', 'AGENT', 'TOOL', 'EXPIRES'],
          approvals.map((row) => [
            row.id,
            row.over ?? (row.needed > 1 ? `${row.state} ${yesOf(row)}/${row.needed}` : row.state),
            row.person,
            row.agent,
            `${row.server}/${row.tool}`,
            time(row.expiresAt),
          ]),
          'Nothing is held.',
        ),
      );
    });

  remote(approval, 'show <approval>', 'Show exactly what will run', 'remit approval show apr_01k…').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Approval>(`/approvals/${seg(id)}`);
      show(options, body, (row) =>
        [
          fields([
            ['id', row.id],
            ['state', row.over ?? row.state],
            ['agreed', `${yesOf(row)} of ${row.needed}`],
            ...row.decisions.map(({ by, outcome, note, at }): [string, string] => [
              outcome,
              `${by}, ${time(at)}${note === null ? '' : `: ${visible(note)}`}`,
            ]),
            ['ended', row.ended ?? null],
            ['risk', row.risk ?? null],
            ['justification', row.justification ?? null],
            ...(row.because ?? []).map((one): [string, string] => ['because', visible(one)]),
            ['found in it', row.found?.join(', ') ?? null],
            ['person', row.person],
            ['agent', row.agent],
            ['tool', `${row.server}/${row.tool}`],
            ['call digest', row.call],
            ['requested', time(row.requestedAt)],
            ['expires', time(row.expiresAt)],
            ['decided by', row.decidedBy],
            ['note', row.note],
          ]),
          'arguments:',
          row.arguments === null
            ? '(only for who asked and who decides)'
            : visible(JSON.stringify(row.arguments, null, 2)),
          ...((row.over ?? row.state) === 'pending'
            ? [`Who may decide: remit approval approve ${visible(row.id)} --call ${row.call}, or deny`]
            : []),
        ].join('\n'),
      );
    },
  );

  for (const [verb, past] of [
    ['approve', 'approved'],
    ['deny', 'denied'],
  ] as const) {
    remote(
      approval,
      `${verb} <approval>`,
      verb === 'approve' ? 'Agree to one held call, once' : 'Deny one held call',
      `remit approval ${verb} apr_01k… --call sha256:… --note "checked with the owner"`,
    )
      .requiredOption('--call <digest>', 'call digest that `remit approval show` showed you')
      .option('--note <text>', 'why')
      .action(async (id: string, options: RemoteOptions & { call: string; note?: string }) => {
        const { body } = await apiOf(options).post<{ id: string; state: string; revision: number }>(
          `/approvals/${seg(id)}/${verb}`,
          {
            call: options.call,
            note: options.note ?? null,
          },
        );
        show(options, body, ({ state }) =>
          state === past
            ? `${visible(id)} is ${past} at revision ${body.revision}.`
            : `You agreed to ${visible(id)}; somebody else has to agree, too.`,
        );
      });
  }

  remote(
    approval,
    'cancel <approval>',
    'Take back a held call of your own, or end one that is yours to decide',
    'remit approval cancel apr_01k…',
  )
    .option('--note <text>', 'why')
    .action(async (id: string, options: RemoteOptions & { note?: string }) => {
      const { body } = await apiOf(options).post<{ revision: number }>(`/approvals/${seg(id)}/cancel`, {
        note: options.note ?? null,
      });
      show(options, body, () => `${visible(id)} is cancelled at revision ${body.revision}.`);
    });
}
