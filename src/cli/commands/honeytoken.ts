/** `remit honeytoken …`: values that nobody has a reason to send; whoever does has read where one lies. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  etagOf,
  group,
  readNamedFile,
  remote,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { oneLine, show, table, time, visible } from '../output.ts';

interface Planted {
  readonly id: string;
  readonly revision: number;
  readonly title: string;
  readonly placed: string;
  readonly owner: string;
  readonly state: string;
  readonly madeAt: number;
  readonly retiring?: { readonly by: string; readonly reason: string; readonly digest: string };
}

export function honeytokenCommands(program: Command): void {
  const honeytokens = group(program, 'honeytoken', 'Planted secrets that raise an alarm', 'remit honeytoken list');

  remote(honeytokens, 'list', 'List honeytokens, never with their values', 'remit honeytoken list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ honeytokens: Planted[] }>('/honeytokens');
      show(options, body, ({ honeytokens: rows }) =>
        [
          table(
            ['ID', 'TITLE', 'PLACED', 'OWNER', 'STATE', 'SINCE'],
            rows.map((one) => [one.id, one.title, one.placed, one.owner, one.state, time(one.madeAt)]),
            'Nothing is planted yet.',
          ),
          ...rows.flatMap(({ id, retiring }) =>
            retiring
              ? [
                  `${oneLine(retiring.by)} wants ${visible(id)} retired: ${oneLine(retiring.reason)}\n  ${agree(id, retiring.digest)}`,
                ]
              : [],
          ),
        ].join('\n'),
      );
    },
  );

  change(
    honeytokens,
    'create <honeytoken>',
    'Make a honeytoken and print its value once, or take one from a file',
    'remit honeytoken create crm-backup --placed "row 7 of crm.backup_users" --owner sven --reason "trap"',
  )
    .requiredOption('--placed <where>', 'where it will lie, in words')
    .requiredOption('--owner <owner>', 'who is told: a directory id, or group/ID')
    .option('--title <title>', 'what people call it')
    .option('--file <path>', 'a file with the value (default: one is made); `-` reads standard input')
    .action(
      async (id: string, options: ReasonOptions & { placed: string; owner: string; title?: string; file?: string }) => {
        const { placed, owner, title = id, file, reason } = options;
        const { body } = await apiOf(options).post<{ value?: string; revision: number }>('/honeytokens', {
          id,
          title,
          placed,
          owner,
          ...(file !== undefined && { value: readNamedFile(file).trim() }),
          reason,
        });
        show(options, body, () =>
          body.value === undefined
            ? `${visible(id)} is looked for from revision ${body.revision} on.`
            : `${body.value}\nPut it where you said; it is not shown again. ${visible(id)} is looked for from revision ${body.revision} on.`,
        );
      },
    );

  change(
    honeytokens,
    'retire <honeytoken>',
    'Propose to look for a honeytoken no longer; it is looked for until somebody else agrees',
    'remit honeytoken retire crm-backup --reason "the table is gone"',
  ).action(async (id: string, options: ReasonOptions) => {
    const api = apiOf(options);
    const found = (await api.get<{ honeytokens: Planted[] }>('/honeytokens')).body.honeytokens.find(
      (one) => one.id === id,
    );
    if (!found)
      throw new CliFailure('failed', `There is no honeytoken ${visible(id)}.`, 'Look at: remit honeytoken list');
    const { body } = await api.post<Planted>(
      `/honeytokens/${seg(id)}/retire`,
      { reason: options.reason },
      etagOf(found.revision),
    );
    show(options, body, ({ retiring }) =>
      retiring ? `${visible(id)} is still looked for. ${agree(id, retiring.digest)}` : retiredText(body),
    );
  });

  change(
    honeytokens,
    'approve <honeytoken>',
    'Agree that a honeytoken is looked for no longer, as somebody else than who proposed it',
    'remit honeytoken approve crm-backup --digest sha256:… --reason "the table is gone, I looked"',
  )
    .requiredOption('--digest <digest>', 'digest that `remit honeytoken list` showed you')
    .action(async (id: string, { digest, ...options }: ReasonOptions & { digest: string }) => {
      const agreed = { reason: options.reason, digest };
      const { body } = await apiOf(options).post<Planted>(`/honeytokens/${seg(id)}/retire/approve`, agreed);
      show(options, body, retiredText);
    });

  change(
    honeytokens,
    'keep <honeytoken>',
    'Say no: what somebody wants retired stays planted',
    'remit honeytoken keep crm-backup --reason "the table is still there"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Planted>(`/honeytokens/${seg(id)}/retire`, { reason: options.reason });
    show(options, body, ({ revision }) => `${visible(id)} stays planted at revision ${revision}.`);
  });
}

const retiredText = ({ id, revision }: Planted): string => `${visible(id)} is retired at revision ${revision}.`;
const agree = (id: string, digest: string): string =>
  `Somebody else agrees: remit honeytoken approve ${visible(id)} --digest ${digest} --reason "why you agree"`;
