/**
 * `remit tool …`: reviewing what servers offer: tools, prompts, resources, templates, instructions. An item is named `server/key`; the key of
 * a tool is its name, that of anything else its kind, a space, its name. A definition is shown with every hidden character written out.
 */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, group, remote, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';
import { reviewCommands } from './tool-review.ts';
import {
  describeDiff,
  findingCodes,
  findingLines,
  itemsOf,
  kindOption,
  pathOf,
  rulesOf,
  type Tool,
} from './tool-views.ts';

export function toolCommands(program: Command): void {
  const tool = group(
    program,
    'tool',
    'Review, approve and withdraw tools and other items',
    'remit tool diff files/read_file',
  );

  remote(tool, 'list <server>', 'List the tools and other items of a server', 'remit tool list files --kind prompt')
    .addOption(kindOption('of this kind only (default: all)'))
    .action(async (server: string, options: RemoteOptions & { kind?: string }) => {
      const { body } = await itemsOf(options, server, options.kind);
      show(options, body, ({ tools }) =>
        table(
          ['KIND', 'NAME', 'STANDING', 'RISK', 'SCOPE', 'FINDINGS', 'SEEN'],
          tools.map((row) => [
            row.kind,
            row.name,
            row.standing,
            row.risk ?? `(${row.suggestion?.risk ?? '?'}?)`,
            row.scope,
            findingCodes(row),
            time(row.seenAt),
          ]),
          `Nothing seen yet. Fetch it: remit tool refresh ${visible(server)}`,
        ),
      );
    });

  remote(
    tool,
    'show <tool>',
    'Show an item: what the server says, what was approved',
    "remit tool show 'files/prompt greeting'",
  ).action(async (name: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Tool>(pathOf(name));
    show(options, body, (it) =>
      [
        fields([
          ['item', `${it.server}/${it.key}`],
          ['standing', it.standing],
          ['observed', it.observed === null ? 'not offered' : `${it.observed.digest} at ${time(it.observed.seenAt)}`],
          [
            'approved',
            it.approved === null ? 'never' : `${it.approved.digest} by ${it.approved.by} at ${time(it.approved.at)}`,
          ],
          [
            'risk',
            it.approved?.risk ?? `not set (a first guess: ${it.suggestion?.risk ?? '?'}; ${it.suggestion?.why ?? ''})`,
          ],
          ['scope', it.approved?.scope ?? 'not set'],
          ['rules', it.approved === null ? '-' : rulesOf(it.approved)],
          ['justification', it.approved?.justification ?? '-'],
          [
            'proposed',
            it.proposal === null
              ? '-'
              : `${it.proposal.risk}, ${it.proposal.scope}, by ${it.proposal.by}: ${it.proposal.justification}`,
          ],
          ...(it.proposal === null ? [] : [['proposed rules', rulesOf(it.proposal)] as const]),
          ['proposal', it.proposal?.id ?? '-'],
        ]),
        ...findingLines(it.findings),
        'definition:',
        visible(JSON.stringify(it.observed?.definition ?? null, null, 2)),
      ].join('\n'),
    );
  });

  remote(tool, 'diff <tool>', 'Show what changed since the approval', 'remit tool diff files/read_file').action(
    async (name: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Tool>(pathOf(name));
      show(
        options,
        {
          tool: name,
          standing: body.standing,
          digest: body.observed?.digest ?? null,
          diff: body.diff,
          meaning: body.meaning,
          findings: body.findings,
        },
        () => describeDiff(body),
      );
    },
  );

  reviewCommands(tool);

  remote(tool, 'refresh <server>', 'Fetch the definitions of a server now', 'remit tool refresh files').action(
    async (server: string, options: RemoteOptions) => {
      if (server.includes('/'))
        throw new CliFailure('usage', 'Definitions are fetched per server.', 'Name the server only.');
      const { body } = await apiOf(options).post<
        { server: string } & Record<'tools' | 'prompts' | 'resources' | 'templates', number>
      >(`/servers/${seg(server)}/refresh`, {});
      show(
        options,
        body,
        () =>
          `${visible(server)} offers ${body.tools} tools, ${body.prompts} prompts, ${body.resources} resources and ${body.templates} resource templates.`,
      );
    },
  );
}
