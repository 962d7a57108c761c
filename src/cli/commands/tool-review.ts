/** `remit tool propose|approve|withdraw|history|rollback`: the decisions about what servers offer, and the way back (AP-01, TD-09). */
import { Option, type Command } from 'commander';
import { TASK_SUPPORT } from '../../integrity/records.ts';
import { PARAMETER_TYPES } from '../../lib/canonical-values.ts';
import { apiOf, change, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { show, table, time, visible } from '../output.ts';
import { findingCodes, itemsOf, kindOption, pathOf, type Changed, type History } from './tool-views.ts';

const BUDGET = 'at most so many calls in so many minutes, of one person with one agent: 5/60';
const BUDGET_SUM = 'with --budget: at most so much of a number in the arguments: /amount=1000';

export function reviewCommands(tool: Command): void {
  remote(
    tool,
    'approve <tool>',
    'Approve a proposal of somebody else, or by yourself what is only read; or all of one kind as listed',
    'remit tool approve files/write_file --digest sha256:… --proposal sha256:… --justification "read it, fits"\n  remit tool approve files/read_file --digest sha256:… --risk read --scope files:read --justification "reads the docs folder"\n  remit tool approve docs --all --kind resource --risk read --scope docs:read --justification "the public manual"',
  )
    .option('--digest <digest>', 'digest that `remit tool diff` showed you')
    .option(
      '--all',
      'everything of --kind on this server that is not approved as it is; prints what it approves',
      false,
    )
    .addOption(kindOption('with --all: which kind'))
    .option('--proposal <id>', 'the proposal of somebody else that you agree to, as `remit tool show` names it')
    .option('--risk <class>', 'read; anything else is proposed')
    .option('--scope <scope>', 'the scope a caller must hold')
    .requiredOption('--justification <text>', 'why it may be used, or why you agree')
    .addOption(tasksOption())
    .option('--budget <calls/minutes>', BUDGET)
    .option('--budget-sum <pointer=max>', BUDGET_SUM)
    .option('--budget-shared', 'the budget is of everybody together, instead of each person with each agent')
    .option('--idempotent', 'asking twice does no harm: a lost answer is asked for once more')
    .action(async (name: string, options: ApproveOptions) => {
      const { digest, proposal, all, kind } = options;
      const review = judgementOf(options);
      if (all) {
        if (digest !== undefined || proposal !== undefined || kind === undefined || name.includes('/'))
          throw new CliFailure(
            'usage',
            '--all approves one kind of one server.',
            'Name the server only, give --kind, leave --digest and --proposal out.',
          );
        return approveAll(name, kind, review, options);
      }
      if (digest === undefined || kind !== undefined)
        throw new CliFailure(
          'usage',
          'One definition is approved by its digest.',
          'Give the --digest that `remit tool diff` shows, or --all with --kind.',
        );
      if (proposal === undefined && (options.risk === undefined || options.scope === undefined))
        throw new CliFailure(
          'usage',
          'Nothing says what it is approved as.',
          'Agree to the --proposal that `remit tool show` names; for what is only read, --risk read and --scope do.',
        );
      const body = proposal === undefined ? { digest, ...review } : { digest, proposal, ...review };
      changed(options, await apiOf(options).post<Changed>(`${pathOf(name)}/approve`, body));
    });

  remote(
    tool,
    'propose <tool>',
    'Propose a judgement of exactly the definition with this digest; somebody else approves it',
    'remit tool propose files/write_file --digest sha256:… --risk write --scope files:write --justification "the docs team edits" --parameter /path=path',
  )
    .requiredOption('--digest <digest>', 'digest that `remit tool diff` showed you')
    .requiredOption('--risk <class>', 'read, write, destructive, execute or regulated')
    .requiredOption('--scope <scope>', 'the scope a caller must hold')
    .requiredOption('--justification <text>', 'why it may be used')
    .addOption(tasksOption())
    .option(
      '--parameter <pointer=type>',
      'an argument that is a path, url, domain, amount or identifier; repeatable',
      collect,
      [],
    )
    .option('--approvals <number>', 'how many must agree to a held call')
    .option('--budget <calls/minutes>', BUDGET)
    .option('--budget-sum <pointer=max>', BUDGET_SUM)
    .option('--budget-shared', 'the budget is of everybody together, instead of each person with each agent')
    .option('--irreversible', 'what it does cannot be undone; takes --approvals 2 or more')
    .option('--untrusted-output', 'what it returns may be written by strangers: mail, tickets, issues, web pages')
    .option('--outward', 'what it is given can leave the organisation: mail, posts, public comments, uploads')
    .option('--production-data', 'it touches production data')
    .option('--no-production-data', 'it does not, whatever its server is')
    .action(async (name: string, options: ProposeOptions) => {
      const { digest } = options;
      const reply = await apiOf(options).post<Changed>(`${pathOf(name)}/propose`, { digest, ...judgementOf(options) });
      show(
        options,
        reply.body,
        ({ tool: item, proposal = '' }) =>
          `Proposed. Somebody else approves it: remit tool approve ${visible(JSON.stringify(item))} --digest ${digest} --proposal ${proposal} --justification "why you agree"`,
      );
    });

  remote(
    tool,
    'history <tool>',
    'Show what happened to an item and what a rollback may bring back',
    'remit tool history files/write_file',
  ).action(async (name: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<History>(`${pathOf(name)}/history`);
    show(options, body, ({ steps, good }) =>
      [
        table(
          ['AT', 'WHAT', 'BY', 'DIGEST', 'REASON'],
          steps.map((step) => [time(step.at), step.what, step.actor, step.digest, step.reason]),
          'Nothing happened yet.',
        ),
        good.length === 0 ? 'Nothing can be rolled back to.' : 'A rollback may bring back, the last good one first:',
        ...good.map(({ digest, risk, scope }) => `  ${digest} (${risk}, ${visible(scope)})`),
      ].join('\n'),
    );
  });

  change(
    tool,
    'rollback <tool>',
    'Put the last good approval, or the one of a digest, back in force',
    'remit tool rollback files/write_file --reason "the new one sends mail"',
  )
    .option('--to <digest>', 'a definition that was approved before; default: the last good one')
    .action(async (name: string, options: ReasonOptions & { to?: string }) => {
      const { reason, to } = options;
      changed(options, await apiOf(options).post<Changed>(`${pathOf(name)}/rollback`, { reason, ...(to && { to }) }));
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
}

interface JudgementOptions {
  readonly risk?: string;
  readonly scope?: string;
  readonly justification?: string;
  readonly tasks?: string;
  readonly parameter?: readonly string[];
  readonly approvals?: string;
  readonly irreversible?: true;
  readonly untrustedOutput?: true;
  readonly outward?: true;
  readonly productionData?: boolean;
  readonly budget?: string;
  readonly budgetSum?: string;
  readonly budgetShared?: true;
  readonly idempotent?: true;
}
interface ApproveOptions extends RemoteOptions, JudgementOptions {
  readonly digest?: string;
  readonly proposal?: string;
  readonly all: boolean;
  readonly kind?: string;
}
interface ProposeOptions extends RemoteOptions, JudgementOptions {
  readonly digest: string;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];
const tasksOption = (): Option =>
  new Option('--tasks <support>', 'whether it may run as a task; default: as its definition says').choices(
    TASK_SUPPORT,
  );

/** What was said, as the API takes it; what was not said is left out. */
function judgementOf(options: JudgementOptions): Readonly<Record<string, unknown>> {
  const { risk, scope, justification, tasks, parameter = [], approvals, irreversible, productionData } = options;
  const { untrustedOutput, outward } = options;
  const parameters = parameter.map((text) => {
    const at = text.lastIndexOf('=');
    const [pointer, type] = [text.slice(0, at), text.slice(at + 1)];
    if (at < 1 || !pointer.startsWith('/') || !PARAMETER_TYPES.some((known) => known === type))
      throw new CliFailure(
        'usage',
        `--parameter ${JSON.stringify(text)} is no pointer=type.`,
        `Write for example --parameter /path=path: a JSON Pointer into the arguments, and ${PARAMETER_TYPES.join(', ')}.`,
      );
    return [pointer, type] as const;
  });
  if (approvals !== undefined && !/^[1-9]$/.test(approvals))
    throw new CliFailure('usage', '--approvals is a number from 1 to 9.', 'Write for example --approvals 2.');
  return {
    ...(risk !== undefined && { risk }),
    ...(scope !== undefined && { scope }),
    ...(justification !== undefined && { justification }),
    ...(tasks !== undefined && { tasks }),
    ...(parameters.length > 0 && { parameters: Object.fromEntries(parameters) }),
    ...(approvals !== undefined && { approvals: Number(approvals) }),
    ...(irreversible && { irreversible }),
    ...budgetOf(options),
    ...(options.idempotent && { idempotent: true }),
    ...(untrustedOutput && { untrustedOutput }),
    ...(outward && { outward }),
    ...(productionData !== undefined && { productionData }),
  };
}

function budgetOf({ budget, budgetSum, budgetShared }: JudgementOptions): Readonly<Record<string, unknown>> {
  if (budget === undefined && budgetSum === undefined && budgetShared === undefined) return {};
  const [, calls, perMinutes] = /^(\d{1,7})\/(\d{1,5})$/.exec(budget ?? '') ?? [];
  if (calls === undefined)
    throw new CliFailure('usage', 'A budget is CALLS/MINUTES.', 'Write for example --budget 5/60: five calls an hour.');
  const sum = budgetSum === undefined ? null : /^(\/.+)=(\d+(?:\.\d+)?)$/.exec(budgetSum);
  if (sum === null && budgetSum !== undefined)
    throw new CliFailure(
      'usage',
      `--budget-sum ${JSON.stringify(budgetSum)} is no pointer=max.`,
      'Write for example --budget-sum /amount=1000: a JSON Pointer into the arguments, and a number.',
    );
  return {
    budget: {
      calls: Number(calls),
      perMinutes: Number(perMinutes),
      ...(sum && { sum: { argument: sum[1], max: Number(sum[2]) } }),
      ...(budgetShared && { shared: true }),
    },
  };
}

const changed = (options: RemoteOptions, { body }: { readonly body: Changed }): void =>
  show(options, body, () => `${visible(body.tool)} is ${body.standing} at revision ${body.revision}.`);

/** What is listed is what is approved: each by the digest in the list, so that what moved in between is refused. Exit code 1 when one was. */
async function approveAll(
  server: string,
  kind: string,
  review: Readonly<Record<string, unknown>>,
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
