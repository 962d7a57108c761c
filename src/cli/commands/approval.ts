/** `remit approval …`: held calls. What is shown is exactly what will run. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, group, remote, type RemoteOptions } from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Approval {
  readonly id: string;
  readonly person: string;
  readonly agent: string;
  readonly server: string;
  readonly tool: string;
  readonly arguments: Record<string, unknown>;
  readonly state: string;
  readonly call: string;
  readonly requestedAt: number;
  readonly expiresAt: number;
  readonly decidedBy: string | null;
  readonly note: string | null;
}

export function approvalCommands(program: Command): void {
  const approval = group(program, 'approval', 'See and decide held calls', 'remit approval list');

  remote(approval, 'list', 'List held calls', 'remit approval list')
    .option('--all', 'also decided, used and expired ones', false)
    .action(async (options: RemoteOptions & { all: boolean }) => {
      const { body } = await apiOf(options).get<{ approvals: Approval[] }>(
        `/approvals${options.all ? '?state=all' : ''}`,
      );
      show(options, body, ({ approvals }) =>
        table(
          ['ID', 'STATE', 'PERSON', 'AGENT', 'TOOL', 'EXPIRES'],
          approvals.map((row) => [
            row.id,
            row.state,
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
            ['state', row.state],
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
          visible(JSON.stringify(row.arguments, null, 2)),
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
      verb === 'approve' ? 'Approve one held call, once' : 'Deny one held call',
      `remit approval ${verb} apr_01k… --call sha256:… --note "checked with the owner"`,
    )
      .requiredOption('--call <digest>', 'call digest that `remit approval show` showed you')
      .option('--note <text>', 'why')
      .action(async (id: string, options: RemoteOptions & { call: string; note?: string }) => {
        const { body } = await apiOf(options).post<{ id: string; revision: number }>(`/approvals/${seg(id)}/${verb}`, {
          call: options.call,
          note: options.note ?? null,
        });
        show(options, body, () => `${visible(id)} is ${past} at revision ${body.revision}.`);
      });
  }
}
