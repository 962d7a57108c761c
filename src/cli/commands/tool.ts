/**
 * `remit tool …`: reviewing what servers offer: tools, prompts, resources, templates, instructions. An item is named `server/key`; the key of
 * a tool is its name, that of anything else its kind, a space, its name. A definition is shown with every hidden character written out.
 */
import { Option, type Command } from 'commander';
import { ITEM_KINDS, TASK_SUPPORT } from '../../integrity/records.ts';
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
  readonly kind: string;
  readonly name: string;
  readonly key: string;
  readonly digest: string | null;
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
interface Tool extends Omit<ToolRow, 'risk' | 'scope' | 'seenAt' | 'digest'> {
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
          'Nothing seen yet. Fetch it: remit tool refresh <server>',
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
    'Approve exactly the definition with this digest, or all of one kind as listed',
    'remit tool approve files/read_file --digest sha256:… --risk read --scope files:read --justification "reads the docs folder"\n  remit tool approve docs --all --kind resource --risk read --scope docs:read --justification "the public manual"',
  )
    .option('--digest <digest>', 'digest that `remit tool diff` showed you')
    .option(
      '--all',
      'everything of --kind on this server that is not approved as it is; prints what it approves',
      false,
    )
    .addOption(kindOption('with --all: which kind'))
    .requiredOption('--risk <class>', 'read, write, destructive, execute or regulated')
    .requiredOption('--scope <scope>', 'the scope a caller must hold')
    .requiredOption('--justification <text>', 'why it may be used')
    .addOption(
      new Option('--tasks <support>', 'whether it may run as a task; default: as its definition says').choices(
        TASK_SUPPORT,
      ),
    )
    .action(async (name: string, options: ApproveOptions) => {
      const { digest, risk, scope, justification, all, kind, tasks } = options;
      const review = { risk, scope, justification, ...(tasks && { tasks }) };
      if (all) {
        if (digest !== undefined || kind === undefined || name.includes('/'))
          throw new CliFailure(
            'usage',
            '--all approves one kind of one server.',
            'Name the server only, give --kind, leave --digest out.',
          );
        return approveAll(name, kind, review, options);
      }
      if (digest === undefined || kind !== undefined)
        throw new CliFailure(
          'usage',
          'One definition is approved by its digest.',
          'Give the --digest that `remit tool diff` shows, or --all with --kind.',
        );
      const { body } = await apiOf(options).post<Changed>(`${pathOf(name)}/approve`, { digest, ...review });
      show(options, body, () => `${visible(body.tool)} is ${body.standing} at revision ${body.revision}.`);
    });

  change(
    tool,
    'withdraw <tool>',
    'Withdraw the approval of an item',
    'remit tool withdraw files/write_file --reason "incident 7"',
  ).action(async (name: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<Changed>(`${pathOf(name)}/withdraw`, { reason: options.reason });
    show(
      options,
      body,
      () => `${visible(body.tool)} is ${body.standing} at revision ${body.revision}; it can no longer be used.`,
    );
  });

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

interface ApproveOptions extends RemoteOptions {
  readonly digest?: string;
  readonly all: boolean;
  readonly kind?: string;
  readonly risk: string;
  readonly scope: string;
  readonly justification: string;
  readonly tasks?: string;
}

const kindOption = (text: string): Option => new Option('--kind <kind>', text).choices(ITEM_KINDS);

const itemsOf = (options: RemoteOptions, server: string, kind: string | undefined) =>
  apiOf(options).get<{ tools: ToolRow[] }>(
    `/servers/${seg(server)}/tools${kind === undefined ? '' : `?kind=${seg(kind)}`}`,
  );

const findingCodes = ({ findings }: Pick<ToolRow, 'findings'>): string =>
  [...new Set(findings.map(({ code, severity }) => `${severity}:${code}`))].join(' ');

/** What is listed is what is approved: each by the digest in the list, so that what moved in between is refused. Exit code 1 when one was. */
async function approveAll(
  server: string,
  kind: string,
  review: { readonly risk: string; readonly scope: string; readonly justification: string },
  options: RemoteOptions,
): Promise<void> {
  const { body: listed } = await itemsOf(options, server, kind);
  const open = listed.tools.filter(({ standing, digest }) => digest !== null && standing !== 'approved');
  const items: Array<{
    tool: string;
    digest: string | null;
    findings: string;
    standing: string;
    problem: string | null;
  }> = [];
  for (const row of open) {
    const item = { tool: `${server}/${row.key}`, digest: row.digest, findings: findingCodes(row) };
    try {
      const { body } = await apiOf(options).post<Changed>(`${pathOf(item.tool)}/approve`, {
        digest: row.digest,
        ...review,
      });
      items.push({ ...item, standing: body.standing, problem: null });
    } catch (error) {
      if (!(error instanceof CliFailure) || error.code !== 'failed') throw error;
      items.push({ ...item, standing: row.standing, problem: error.message });
    }
  }
  show(options, { server, kind, items }, () =>
    table(
      ['ITEM', 'STANDING', 'DIGEST', 'FINDINGS', 'PROBLEM'],
      items.map((item) => [item.tool, item.standing, item.digest, item.findings, item.problem]),
      `Nothing of kind ${kind} waits for a review on ${visible(server)}.`,
    ),
  );
  if (items.some(({ problem }) => problem !== null)) process.exitCode = 1;
}

function describeDiff(tool: Tool): string {
  const head = bold(`${oneLine(tool.server)}/${oneLine(tool.key)}: ${tool.standing}`);
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
