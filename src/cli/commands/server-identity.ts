/** `remit server identity`: what a server is now, to be put into its record by whoever knows that it is the right one (TD-07, TD-08). */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, remote, type RemoteOptions } from '../command.ts';
import { fields, show, visible } from '../output.ts';

interface Identity {
  readonly server: string;
  readonly pin?: string;
  readonly digest?: string;
  readonly package?: string | null;
  readonly version?: string | null;
  readonly recorded: string | readonly string[] | null;
  readonly same: boolean;
}

export function identityCommand(server: Command): void {
  remote(
    server,
    'identity <server>',
    'Show the key a server shows now, or the digest of what is installed for it',
    'remit server identity files',
  ).action(async (id: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Identity>(`/servers/${seg(id)}/identity`);
    show(options, body, (it) =>
      fields([
        ['server', it.server],
        ...(it.pin === undefined ? [] : [['upstream.pins', it.pin] as const]),
        ...(it.digest === undefined
          ? []
          : ([
              ['source.package', visible(it.package ?? '-')],
              ['source.version', visible(it.version ?? '-')],
              ['source.digest', it.digest],
            ] as const)),
        ['in the record', it.recorded === null ? 'nothing' : [it.recorded].flat().join(', ')],
        ['the same', it.same ? 'yes' : 'no'],
      ]),
    );
  });
}
