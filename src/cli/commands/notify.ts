/** `remit notify …`: who is told of what waits, by signed webhook or e-mail. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Target {
  readonly id: string;
  readonly revision: number;
  readonly title: string;
  readonly state: 'active' | 'disabled';
  readonly types?: readonly string[];
  readonly channel:
    | {
        readonly kind: 'webhook';
        readonly url: string;
        readonly secret: { readonly secret: string };
        readonly allowedNetworks: readonly string[];
      }
    | { readonly kind: 'email'; readonly to: 'concerned' | readonly string[] };
  readonly delivery: {
    readonly waitingSince: number | null;
    readonly lastTakenAt: number | null;
    readonly problem: string | null;
    readonly taken: number;
    readonly refused: number;
  } | null;
}

const whereTo = ({ channel }: Target): string =>
  channel.kind === 'webhook' ? channel.url : channel.to === 'concerned' ? 'whom it is about' : channel.to.join(', ');

const list = (text: string): string[] => text.split(',').map((part) => part.trim());

export function notifyCommands(program: Command): void {
  const notify = group(program, 'notify', 'Tell people what waits for them', 'remit notify list');

  remote(notify, 'list', 'List notification targets and whether messages arrive', 'remit notify list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ targets: Target[] }>('/notification-targets');
      show(options, body, ({ targets }) =>
        table(
          ['ID', 'TITLE', 'STATE', 'CHANNEL', 'TO', 'LAST TAKEN', 'PROBLEM'],
          targets.map((one) => [
            one.id,
            one.title,
            one.state,
            one.channel.kind,
            whereTo(one),
            time(one.delivery?.lastTakenAt ?? null),
            one.delivery?.problem ?? '',
          ]),
          'Nobody is told of anything yet.',
        ),
      );
    },
  );

  remote(notify, 'show <target>', 'Show a notification target', 'remit notify show oncall').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Target>(`/notification-targets/${seg(id)}`);
      show(options, body, (one) =>
        fields([
          ['id', one.id],
          ['title', one.title],
          ['state', one.state],
          ['channel', one.channel.kind],
          ['to', whereTo(one)],
          ...(one.channel.kind === 'webhook' ? ([['secret', one.channel.secret.secret]] as const) : []),
          ['types', one.types?.join(', ') ?? 'all'],
          ['taken', one.delivery?.taken ?? 0],
          ['refused', one.delivery?.refused ?? 0],
          ['waiting since', time(one.delivery?.waitingSince ?? null)],
          ['problem', one.delivery?.problem ?? 'none'],
          ['revision', one.revision],
        ]),
      );
    },
  );

  const put = async (id: string, target: Omit<Target, 'id' | 'revision' | 'delivery'>, options: ReasonOptions) => {
    const api = apiOf(options);
    const { targets } = (await api.get<{ targets: Target[] }>('/notification-targets')).body;
    const before = targets.find((one) => one.id === id);
    const { body } = await api.put<{ revision: number }>(
      `/notification-targets/${seg(id)}`,
      { reason: options.reason, target },
      before === undefined ? null : `"${before.revision}"`,
    );
    show(options, body, () => `${visible(id)} is told from revision ${body.revision} on.`);
  };

  change(
    notify,
    'webhook <target> <url>',
    'Add or change a webhook (Standard Webhooks), signed with the secret that a reference names',
    'remit notify webhook oncall https://hooks.example/remit --signed-with env:REMIT_SECRET_HOOK --reason "on-call channel"',
  )
    .requiredOption('--signed-with <reference>', 'where the whsec_… value lies: env:NAME, file:PATH or vault:…')
    .option('--title <title>', 'what people call it')
    .option('--types <types>', 'only these, separated by commas', list)
    .option('--network <cidr>', 'a private network that the address may resolve to')
    .action(
      async (
        id: string,
        url: string,
        options: ReasonOptions & { signedWith: string; title?: string; types?: string[]; network?: string },
      ) =>
        put(
          id,
          {
            title: options.title ?? id,
            state: 'active',
            ...(options.types && { types: options.types }),
            channel: {
              kind: 'webhook',
              url,
              secret: { secret: options.signedWith },
              allowedNetworks: options.network === undefined ? [] : [options.network],
            },
          },
          options,
        ),
    );

  change(
    notify,
    'email <target>',
    'Add or change e-mail, to whom it is about or to fixed addresses',
    'remit notify email everybody --reason "approvers learn what waits"',
  )
    .option('--to <addresses>', 'fixed addresses, separated by commas (default: whom it is about)', list)
    .option('--title <title>', 'what people call it')
    .option('--types <types>', 'only these, separated by commas', list)
    .action(async (id: string, options: ReasonOptions & { to?: string[]; title?: string; types?: string[] }) =>
      put(
        id,
        {
          title: options.title ?? id,
          state: 'active',
          ...(options.types && { types: options.types }),
          channel: { kind: 'email', to: options.to ?? 'concerned' },
        },
        options,
      ),
    );

  change(notify, 'remove <target>', 'Stop telling a target', 'remit notify remove oncall --reason "moved"').action(
    async (id: string, options: ReasonOptions) => {
      const { body } = await apiOf(options).remove<{ revision: number }>(`/notification-targets/${seg(id)}`, {
        reason: options.reason,
      });
      show(options, body, () => `${visible(id)} is told nothing from revision ${body.revision} on.`);
    },
  );
}
