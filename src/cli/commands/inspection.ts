/** `remit inspection …`: what is done about content on its way to servers and to clients. */
import type { Command } from 'commander';
import type { EffectiveRow } from '../../admin/inspection-effective.ts';
import { apiOf, change, group, readObjectFile, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { fields, show, table, time } from '../output.ts';

interface Rule {
  readonly classes: readonly string[];
  readonly direction: 'in' | 'out';
  readonly risks?: readonly string[];
  readonly servers?: readonly string[];
  readonly dataClasses?: readonly string[];
  readonly action: string;
}
interface Policy {
  readonly rules: readonly Rule[];
  readonly linkHosts: readonly string[];
  readonly onFault: Readonly<Record<string, string>>;
  readonly budgetMs: number;
}
interface Shown {
  readonly inspection: Policy;
  readonly readable: boolean;
  readonly effective: readonly EffectiveRow[] | null;
  readonly revision: number | null;
  readonly proposed: {
    readonly inspection: Policy;
    readonly digest: string;
    readonly by: string;
    readonly at: number;
    readonly why: string;
  } | null;
}

export function inspectionCommands(program: Command): void {
  const inspection = group(program, 'inspection', 'What is done about content', 'remit inspection show');

  remote(
    inspection,
    'show',
    'Show what is done about each class and because of what, and what is proposed',
    'remit inspection show --json',
  ).action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Shown>('/inspection');
    show(options, body, ({ inspection: policy, readable, effective, revision, proposed }) =>
      [
        ...(readable ? [] : ['The record cannot be read: nothing is sent to a server.\n']),
        effective ? effectiveText(effective) : `There are too many rules to list what follows.\n${rulesOf(policy)}`,
        fields([
          ['links to', policy.linkHosts.join(', ') || 'nowhere by themselves'],
          [
            'a failing detector',
            Object.entries(policy.onFault)
              .map(([risk, mode]) => `${risk}: ${mode}`)
              .join(', '),
          ],
          ['time for one value', `${policy.budgetMs} ms`],
          ['revision', revision ?? 'none: the defaults'],
          ['proposed', proposed ? `by ${proposed.by}, ${time(proposed.at)}: ${proposed.why}` : 'nothing'],
          ...(proposed ? ([['digest', proposed.digest]] as const) : []),
        ]),
        ...(proposed
          ? [
              rulesOf(proposed.inspection),
              `Somebody else agrees: remit inspection approve --digest ${proposed.digest} --reason "why you agree"`,
            ]
          : []),
      ].join('\n'),
    );
  });

  change(
    inspection,
    'set',
    'Replace the rules: what is stricter holds at once, what lets something through waits for somebody else',
    'remit inspection set --file inspection.yaml --reason "TICKET-9"',
  )
    .requiredOption('-f, --file <path>', 'a file with the rules as JSON or YAML; `-` reads standard input')
    .action(async (options: ReasonOptions & { file: string }) => {
      const api = apiOf(options);
      const { etag } = await api.get<Shown>('/inspection');
      const { body } = await api.put<{ state: string; why?: string; revision: number }>(
        '/inspection',
        { reason: options.reason, inspection: readObjectFile(options.file) },
        etag,
      );
      show(options, body, ({ state, why, revision }) =>
        state === 'proposed'
          ? `Proposed at revision ${revision}: it lets something through (${why ?? ''}), so somebody else agrees to it first.`
          : `In force at revision ${revision}.`,
      );
    });

  change(
    inspection,
    'approve',
    'Agree to the proposed rules, as somebody else than who proposed them',
    'remit inspection approve --digest sha256:… --reason "read with the owner of the CRM"',
  )
    .requiredOption('--digest <digest>', 'digest that `remit inspection show` showed you')
    .action(async ({ digest, ...options }: ReasonOptions & { digest: string }) => {
      const body = { reason: options.reason, digest };
      const answer = await apiOf(options).post<{ revision: number }>('/inspection/approve', body);
      show(options, answer.body, ({ revision }) => `In force at revision ${revision}.`);
    });
}

/** As many as there are risk classes, and what belongs to no call. */
const ALL_RISKS = 6;

const effectiveText = (rows: readonly EffectiveRow[]): string =>
  table(
    ['DIRECTION', 'CLASS', 'RISKS', 'SERVERS', 'DATA', 'ACTION', 'FROM'],
    rows.map(({ direction, class: named, risks, servers, dataClasses, action, rule }) => [
      direction,
      named,
      risks.length === ALL_RISKS ? 'all' : risks.join(' '),
      servers?.join(' ') ?? 'all',
      dataClasses?.join(' ') ?? 'all',
      action,
      rule === undefined ? 'default' : `rule ${rule + 1}`,
    ]),
    '',
  );

const rulesOf = ({ rules }: Policy): string =>
  table(
    ['DIRECTION', 'CLASSES', 'RISKS', 'SERVERS', 'DATA', 'ACTION'],
    rules.map((rule) => [
      rule.direction,
      rule.classes.join(' '),
      rule.risks?.join(' ') ?? 'all',
      rule.servers?.join(' ') ?? 'all',
      rule.dataClasses?.join(' ') ?? 'all',
      rule.action,
    ]),
    'No rules: the defaults.',
  );
