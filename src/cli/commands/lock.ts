/** `remit lock …`: stop a user, agent, server, tool or token now. */
import { Argument, type Command } from 'commander';
import { LOCK_KINDS } from '../../inventory/records.ts';
import { systemClock } from '../../lib/clock.ts';
import { seg } from '../api.ts';
import { apiOf, change, duration, group, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { show, table, time, visible } from '../output.ts';

interface Lock {
  readonly id: string;
  readonly subject: { readonly kind: string; readonly value: string };
  readonly reason: string;
  readonly by: string;
  readonly until: number | null;
}

export function lockCommands(program: Command): void {
  const lock = group(program, 'lock', 'Stop a user, agent, server, tool or token now', 'remit lock list');

  change(
    lock,
    'add',
    'Refuse the next call and cancel what is running',
    'remit lock add tool files/write_file --reason "incident 7" --for 2h',
  )
    .addArgument(new Argument('<kind>', 'what to stop').choices(LOCK_KINDS))
    .argument('<value>', 'person id, client id, server id, server/tool (or server/key of another item), or jti')
    .option('--for <duration>', 'how long, for example 30m or 7d (default: until lifted)', duration)
    .action(async (kind: string, value: string, options: ReasonOptions & { for?: number }) => {
      const startedAt = performance.now();
      const until = options.for === undefined ? null : systemClock.now() + options.for;
      const { body } = await apiOf(options).post<Lock & { revision: number }>('/locks', {
        kind,
        value,
        reason: options.reason,
        until,
      });
      const tookMs = Math.round(performance.now() - startedAt);
      show(
        options,
        body,
        () =>
          `${kind} ${visible(value)} is locked by ${body.id} at revision ${body.revision}, in force here after ${tookMs} ms. Other nodes follow within their freshness limit or refuse.`,
      );
    });

  remote(lock, 'list', 'List locks in force', 'remit lock list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ locks: Lock[] }>('/locks');
    show(options, body, ({ locks }) =>
      table(
        ['ID', 'KIND', 'VALUE', 'UNTIL', 'BY', 'REASON'],
        locks.map(({ id, subject, until, by, reason }) => [
          id,
          subject.kind,
          subject.value,
          until === null ? 'no end' : time(until),
          by,
          reason,
        ]),
        'No locks.',
      ),
    );
  });

  change(lock, 'lift <lock>', 'Lift a lock', 'remit lock lift lock_01k… --reason "resolved"').action(
    async (id: string, options: ReasonOptions) => {
      const { body } = await apiOf(options).remove<{ revision: number }>(`/locks/${seg(id)}`, {
        reason: options.reason,
      });
      show(options, body, () => `${visible(id)} is lifted at revision ${body.revision}.`);
    },
  );
}
