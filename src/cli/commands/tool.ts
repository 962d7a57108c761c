/** `remit tool …`: reviewing what servers offer. A definition is shown with every hidden character written out. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, remote, splitTool, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { bold, fields, green, oneLine, red, show, table, time, visible } from '../output.ts';

interface Finding {
  readonly code: string;
  readonly severity: string;
  readonly path?: string;
  readonly excerpt?: string;
}
interface ToolRow {
  readonly name: string;
  readonly standing: string;
  readonly risk: string | null;
  readonly scope: string | null;
  readonly suggestion: { readonly risk: string; readonly why: string } | null;
  readonly findings: readonly Finding[];
  readonly seenAt: number | null;
}
interface DiffLine {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
}
interface Tool extends Omit<ToolRow, 'risk' | 'scope' | 'seenAt'> {
  readonly server: string;
  readonly revision: number;
  readonly observed: {
    readonly digest: string;
    readonly definition: Record<string, unknown>;
    readonly seenAt: number;
  } | null;
  readonly approved: {
    readonly digest: string;
    readonly risk: string;
    readonly scope: string;
    readonly justification: string;
    readonly by: string;
    readonly at: number;
  } | null;
  readonly diff: readonly DiffLine[];
}
interface Changed {
  readonly tool: string;
  readonly standing: string;
  readonly revision: number;
}

const pathOf = (text: string): string => {
  const [server, tool] = splitTool(text);
  return `/servers/${seg(server)}/tools/${seg(tool)}`;
};

export function toolCommands(program: Command): void {
  const tool = group(program, 'tool', 'Review, approve and withdraw tools', 'remit tool diff files/read_file');

  remote(tool, 'list <server>', 'List the tools of a server', 'remit tool list files').action(
    async (server: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ tools: ToolRow[] }>(`/servers/${seg(server)}/tools`);
      show(options, body, ({ tools }) =>
        table(
          ['TOOL', 'STANDING', 'RISK', 'SCOPE', 'FINDINGS', 'SEEN'],
          tools.map((row) => [
            row.name,
            row.standing,
            row.risk ?? `(${row.suggestion?.risk ?? '?'}?)`,
            row.scope,
            [...new Set(row.findings.map(({ code, severity }) => `${severity}:${code}`))].join(' '),
            time(row.seenAt),
          ]),
          'No tools seen yet. Fetch them: remit tool refresh <server>',
        ),
      );
    },
  );

  remote(
    tool,
    'show <tool>',
    'Show a tool: what the server says, what was approved',
    'remit tool show files/read_file',
  ).action(async (name: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Tool>(pathOf(name));
    show(options, body, (it) =>
      [
        fields([
          ['tool', `${it.server}/${it.name}`],
          ['standing', it.standing],
          ['observed', it.observed === null ? 'not offered' : `${it.observed.digest} at ${time(it.observed.seenAt)}`],
          [
            'approved',
            it.approved === null ? 'never' : `${it.approved.digest} by ${it.approved.by} at ${time(it.approved.at)}`,
          ],
          [
            'risk',
            it.approved?.risk ??
              `not set (the name suggests ${it.suggestion?.risk ?? '?'}: ${it.suggestion?.why ?? ''})`,
          ],
          ['scope', it.approved?.scope ?? 'not set'],
          ['justification', it.approved?.justification ?? '-'],
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
          findings: body.findings,
        },
        () => describeDiff(body),
      );
    },
  );

  remote(
    tool,
    'approve <tool>',
    'Approve exactly the definition with this digest',
    'remit tool approve files/read_file --digest sha256:… --risk read --scope files:read --justification "reads the docs folder"',
  )
    .requiredOption('--digest <digest>', 'digest that `remit tool diff` showed you')
    .requiredOption('--risk <class>', 'read, write, destructive, execute or regulated')
    .requiredOption('--scope <scope>', 'the scope a caller must hold')
    .requiredOption('--justification <text>', 'why this tool may be used')
    .action(
      async (
        name: string,
        options: RemoteOptions & { digest: string; risk: string; scope: string; justification: string },
      ) => {
        const { digest, risk, scope, justification } = options;
        const { body } = await apiOf(options).post<Changed>(`${pathOf(name)}/approve`, {
          digest,
          risk,
          scope,
          justification,
        });
        show(options, body, () => `${visible(body.tool)} is ${body.standing} at revision ${body.revision}.`);
      },
    );

  change(
    tool,
    'withdraw <tool>',
    'Withdraw the approval of a tool',
    'remit tool withdraw files/write_file --reason "incident 7"',
  ).action(async (name: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<Changed>(`${pathOf(name)}/withdraw`, { reason: options.reason });
    show(
      options,
      body,
      () => `${visible(body.tool)} is ${body.standing} at revision ${body.revision}; it can no longer be called.`,
    );
  });

  remote(tool, 'refresh <server>', 'Fetch the tool definitions of a server now', 'remit tool refresh files').action(
    async (server: string, options: RemoteOptions) => {
      if (server.includes('/'))
        throw new CliFailure('usage', 'Definitions are fetched per server.', 'Name the server only.');
      const { body } = await apiOf(options).post<{ server: string; tools: number }>(
        `/servers/${seg(server)}/refresh`,
        {},
      );
      show(options, body, () => `${visible(server)} offers ${body.tools} tools.`);
    },
  );
}

function describeDiff(tool: Tool): string {
  const head = bold(`${oneLine(tool.server)}/${oneLine(tool.name)}: ${tool.standing}`);
  if (tool.observed === null) return `${head}\nThe server does not offer it now.`;
  const body =
    tool.diff.length === 0
      ? ['The server says exactly what was approved.']
      : tool.diff.flatMap(({ path, before, after }) => [
          visible(path === '' ? '(whole definition)' : path),
          ...(before === null ? [] : [red(`  - ${visible(before)}`)]),
          ...(after === null ? [] : [green(`  + ${visible(after)}`)]),
        ]);
  return [head, ...body, ...findingLines(tool.findings), `digest: ${tool.observed.digest}`].join('\n');
}

const findingLines = (findings: readonly Finding[]): string[] =>
  findings.map(({ severity, code, path, excerpt }) => {
    const line = `${severity}: ${code} at ${visible(path ?? '/')}${excerpt === undefined ? '' : `: ${oneLine(excerpt)}`}`;
    return severity === 'block' ? red(line) : line;
  });
