/** `remit finding …`: what somebody should look at. */
import type { Command } from 'commander';
import { apiOf, group, remote, type RemoteOptions } from '../command.ts';
import { show, table, time } from '../output.ts';

interface Found {
  readonly kind: string;
  readonly id: string;
  readonly title: string;
  readonly code: string;
  readonly message: string;
  readonly suspendedAt?: number;
}

export function findingCommands(program: Command): void {
  const findings = group(program, 'finding', 'What somebody should look at', 'remit finding list');

  remote(
    findings,
    'list',
    'List servers, agents and credentials that nobody answers for, or that somebody should look at',
    'remit finding list --json',
  ).action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ findings: Found[] }>('/findings');
    show(options, body, ({ findings: rows }) =>
      table(
        ['KIND', 'ID', 'TITLE', 'CODE', 'SUSPENDED AT', 'WHAT'],
        rows.map((row) => [row.kind, row.id, row.title, row.code, time(row.suspendedAt), row.message]),
        'Nothing.',
      ),
    );
  });
}
