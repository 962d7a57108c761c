/**
 * `remit apply`: what files say becomes records, in one step. The plan is shown first and only that plan is committed; without --yes
 * or a yes at the terminal nothing is. With --plan and with --drift it only looks, and exits with 2 where there is a difference.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import type { DriftRow } from '../../admin/apply/sets.ts';
import type { Action, FieldChange, PlanRow } from '../../admin/apply/resources.ts';
import { seg, type Api } from '../api.ts';
import { apiOf, remote, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { readResourceFiles, type FileProblem, type ResourceFiles } from '../resource-files.ts';
import { oneLine, progress, show, table, visible } from '../output.ts';

interface ApplyOptions extends RemoteOptions {
  readonly file?: string[];
  readonly set?: string;
  readonly prune: boolean;
  readonly plan: boolean;
  readonly drift: boolean;
  readonly yes: boolean;
  readonly reason?: string;
}

interface PlanAnswer {
  readonly revision: number;
  readonly digest: string | null;
  readonly counts: Readonly<Record<Action, number>>;
  readonly rows: readonly PlanRow[];
}
interface Applied {
  readonly revision: number;
  readonly counts: Readonly<Record<Action, number>>;
}

/** As of diff: looked, and there is a difference. */
const DIFFERS = 2;

export function applyCommand(program: Command): void {
  remote(
    program,
    'apply',
    'Make records as files say: plan, apply in one step, see drift',
    'remit apply -f governance/ --set main --reason "TICKET-31"',
  )
    .option('-f, --file <path...>', 'YAML or JSON files and folders; `-` reads standard input')
    .option('--set <name>', 'remember the records under this name, for --drift and --prune')
    .option('--prune', 'delete or retire what the set holds and the files do not', false)
    .option('--plan', 'only show the plan; exits with 2 if something would change', false)
    .option('--drift', 'only show what differs from what was applied; exits with 2 if something does', false)
    .option('--yes', 'apply the plan without asking', false)
    .option('--reason <text>', 'why; goes into the history and the audit log')
    .action(async (options: ApplyOptions) => {
      checkUse(options);
      if (options.drift) return drift(options, apiOf(options));
      return apply(options);
    });
}

function checkUse({ file, set, prune, plan, drift: drifting, reason }: ApplyOptions): void {
  const wrong = (message: string, remedy: string): never => {
    throw new CliFailure('usage', message, remedy);
  };
  if (drifting) {
    if (set === undefined) wrong('--drift needs to know which set.', 'Add --set NAME, as it was applied.');
    if (file || prune || plan)
      wrong('--drift compares with what was applied, not with files.', 'Leave out -f, --prune and --plan.');
    return;
  }
  if (!file) wrong('No files are named.', 'Add -f FILE, -f FOLDER or -f -.');
  if (prune && set === undefined) wrong('--prune needs to know which set.', 'Add --set NAME.');
  if (!plan && (reason ?? '') === '') wrong('Say why.', 'Add --reason TEXT, or --plan to only look.');
}

async function apply(options: ApplyOptions): Promise<void> {
  const files = readResourceFiles(options.file ?? [], () => readFileSync(0));
  if (files.problems.length > 0) throw problemsFailure(files.problems);
  if (files.resources.length === 0 && !options.prune)
    throw new CliFailure(
      'usage',
      'The files hold no resource.',
      'A resource is a YAML document with kind, id and spec.',
    );
  const api = apiOf(options);
  const input = {
    resources: files.resources,
    prune: options.prune,
    ...(options.set === undefined ? {} : { set: options.set }),
  };
  const { body: plan } = await api.post<PlanAnswer>('/apply/plan', input);
  const refused = problemsOf(plan, files);
  if (refused.length > 0) throw problemsFailure(refused);
  const differs = plan.rows.some(({ action }) => action !== 'unchanged');
  if (options.plan) {
    show(options, plan, planText);
    process.exitCode = differs ? DIFFERS : 0;
    return;
  }
  progress(options, planText(plan));
  if (differs && !options.yes && !(await agreed(options)))
    throw new CliFailure('failed', 'Nothing was applied.', 'Answer yes, or add --yes.');
  const applied = await commit(api, { ...input, digest: plan.digest, revision: plan.revision, reason: options.reason });
  show(options, applied, ({ revision, counts }) => `Applied: ${countsText(counts)}. Now at revision ${revision}.`);
}

const commit = async (api: Api, body: object): Promise<Applied> => (await api.post<Applied>('/apply', body)).body;

/** Only a person at a terminal is asked; a pipe or a file says nothing of what it agrees to. */
async function agreed({ json, file }: ApplyOptions): Promise<boolean> {
  if (json || file?.includes('-') || !process.stdin.isTTY || !process.stderr.isTTY)
    throw new CliFailure('usage', 'There is nobody to ask.', 'Look at the plan (--plan), then add --yes.');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  process.stderr.write('Apply this? Only `yes` does: ');
  const [answer] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as [string?];
  lines.close();
  return answer?.trim() === 'yes';
}

async function drift(options: ApplyOptions, api: Api): Promise<void> {
  const { body } = await api.get<{ set: string; revision: number; rows: DriftRow[] }>(
    `/apply/sets/${seg(options.set ?? '')}/drift`,
  );
  const differing = body.rows.filter(({ status }) => status !== 'same');
  show(options, body, ({ rows, set, revision }) =>
    differing.length === 0
      ? `All ${rows.length} records of ${visible(set)} are as they were applied at revision ${revision}.`
      : [
          table(
            ['RECORD', 'STATUS', 'FIELD', 'APPLIED', 'NOW'],
            differing.flatMap(({ kind, id, status, changes }) => {
              const [first, ...rest] = changes;
              return [
                [`${kind}/${id}`, status, first?.field, first && short(first.before), first && short(first.after)],
                ...rest.map((change) => ['', '', change.field, short(change.before), short(change.after)]),
              ];
            }),
            '',
          ),
          ...differing.flatMap(({ kind, id, since }) =>
            since.map(
              ({ revision: at, at: ms, actor, reason }) =>
                `${kind}/${oneLine(id)}: revision ${at}, ${new Date(ms).toISOString()}, ${oneLine(actor)}: ${oneLine(reason)}`,
            ),
          ),
        ].join('\n'),
  );
  process.exitCode = differing.length === 0 ? 0 : DIFFERS;
}

const SHOWN_FIELDS = 6;
/** Of what is new: that it is a draft, or waits for somebody else. */
const TOLD = /^(?:state$|proposed\.)/;

function planText({ rows, counts, revision }: PlanAnswer): string {
  const moving = rows.filter(({ action }) => action !== 'unchanged');
  const text = table(
    ['ACTION', 'RECORD', 'FIELD', 'NOW', 'THEN'],
    moving.flatMap(({ action, kind, id, changes }) => {
      const [first, ...rest] = action === 'create' ? changes.filter(({ field }) => TOLD.test(field)) : changes;
      return [
        cells([action, `${kind}/${id}`], first),
        ...rest.slice(0, SHOWN_FIELDS - 1).map((change) => cells(['', ''], change)),
        ...(rest.length < SHOWN_FIELDS ? [] : [['', '', `and ${rest.length - SHOWN_FIELDS + 1} more (--json)`]]),
      ];
    }),
    'Everything is as the files say.',
  );
  return `${text}\nPlan at revision ${revision}: ${countsText(counts)}.`;
}

const cells = (head: readonly string[], change: FieldChange | undefined): readonly string[] =>
  change === undefined ? head : [...head, change.field, short(change.before), short(change.after)];

const WORDS: readonly (readonly [Action, string])[] = [
  ['create', 'to create'],
  ['change', 'to change'],
  ['delete', 'to delete'],
  ['retire', 'to retire'],
  ['released', 'to let go'],
  ['unchanged', 'as they are'],
];

const countsText = (counts: Readonly<Record<Action, number>>): string =>
  WORDS.filter(([action]) => counts[action] > 0)
    .map(([action, words]) => `${counts[action]} ${words}`)
    .join(', ') || 'nothing';

function short(value: unknown): string {
  const text = value === null ? '-' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The places of what the API refused, in the files. */
function problemsOf({ rows }: PlanAnswer, files: ResourceFiles): FileProblem[] {
  return rows.flatMap(({ index, kind, id, problems }) =>
    problems.map(({ path, message, remedy }) => ({
      ...(index === null ? { file: `${kind}/${id} (left the files)`, line: null } : files.place(index, path)),
      field: path.join('.'),
      message,
      ...(remedy === undefined ? {} : { remedy }),
    })),
  );
}

function problemsFailure(problems: readonly FileProblem[]): CliFailure {
  const lines = problems.map(
    ({ file, line, field, message, remedy }) =>
      `  ${[file, line].filter((part) => part !== null).join(':')}: ${[field, message].filter((part) => part !== '').join(': ')}${remedy === undefined ? '' : ` ${remedy}`}`,
  );
  const count = problems.length === 1 ? 'there is a problem' : `there are ${problems.length} problems`;
  return new CliFailure('failed', `Nothing was applied; ${count}:\n${lines.join('\n')}`, undefined, { problems });
}
