/** `remit void …`: tokens taken back before their end. */
import { Argument, type Command } from 'commander';
import { VOID_KINDS } from '../../directory/voids.ts';
import { apiOf, change, group, paged, type PageOptions, type ReasonOptions } from '../command.ts';
import { more, show, table, time, visible } from '../output.ts';

interface Void {
  readonly id: string;
  readonly subject: { readonly kind: string; readonly value: string };
  readonly before: number;
  readonly reason: string;
  readonly by: string;
}

export function tokenCommands(program: Command): void {
  const voids = group(program, 'void', 'Take tokens back before their end', 'remit void list');

  change(
    voids,
    'add',
    'Void the tokens of a person, client, grant or session, or one token',
    'remit void add session 7f3c… --reason "stolen laptop"',
  )
    .addArgument(new Argument('<kind>', 'what to void').choices(VOID_KINDS))
    .argument('<value>', 'person id, client id, or the id of the grant, session or token (jti)')
    .option('--issuer <url>', 'whose grant, session or token it is, when several issuers are trusted')
    .action(async (kind: string, value: string, options: ReasonOptions & { issuer?: string }) => {
      const { body } = await apiOf(options).post<{ revision: number }>('/voids', {
        kind,
        value,
        reason: options.reason,
        ...(options.issuer !== undefined && { issuer: options.issuer }),
      });
      show(options, body, () => `Tokens of ${kind} ${visible(value)} until now are void at revision ${body.revision}.`);
    });

  paged(voids, 'list', 'List tokens that are void before their end', 'remit void list').action(
    async (options: PageOptions) => {
      const { body } = await apiOf(options).get<{ voids: Void[]; next: string | null }>(`/voids?${options.query()}`);
      show(options, body, ({ voids: rows, next }) =>
        more(
          table(
            ['KIND', 'VALUE', 'ISSUED UNTIL', 'BY', 'REASON'],
            rows.map(({ subject, before, by, reason }) => [subject.kind, subject.value, time(before), by, reason]),
            'No void tokens.',
          ),
          next,
        ),
      );
    },
  );
}
