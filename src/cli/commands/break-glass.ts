/** `remit break-glass …`: access without approvals in an emergency, opened by two people and looked at afterwards. */
import { type Command, InvalidArgumentError } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  duration,
  etagOf,
  group,
  list,
  remote,
  splitTool,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Row {
  readonly id: string;
  readonly who: { readonly id: string };
  readonly whoName: string | null;
  readonly what: { readonly server: string; readonly items?: readonly string[]; readonly risks?: readonly string[] };
  readonly justification: string;
  readonly standing: string;
  readonly lastsMs: number;
  readonly expiresAt: number | null;
  readonly requestedBy: string;
  readonly decidedBy: string | null;
  readonly postMortem?: { readonly by: string; readonly calls: number; readonly note: string };
  readonly revision: number;
}
interface Calls {
  readonly count: number;
  readonly first: number | null;
  readonly last: number | null;
  readonly complete: boolean;
  readonly calls: ReadonlyArray<{
    readonly index: number;
    readonly time: string;
    readonly server: string | null;
    readonly tool: string | null;
    readonly client: string | null;
  }>;
}

const about = ({ what }: Row): string =>
  `${what.server}: ${what.items?.join(', ') ?? `all that is ${what.risks?.join(' or ')}`}`;
const reviewed = ({ standing, postMortem }: Row): string =>
  postMortem ? `by ${postMortem.by}` : standing === 'over' || standing === 'ended' ? 'MISSING' : '-';

/** Whole minutes. */
function minutes(text: string): number {
  const ms = duration(text);
  if (ms < 60_000 || ms > 4 * 3_600_000) throw new InvalidArgumentError('From 1m to 4h.');
  return Math.floor(ms / 60_000);
}

export function breakGlassCommands(program: Command): void {
  const glass = group(
    program,
    'break-glass',
    'Access without approvals in an emergency: two people, a few hours',
    'remit break-glass list',
  );

  remote(glass, 'list', 'List emergencies: open, over, reviewed', 'remit break-glass list').action(
    async (options: RemoteOptions) => {
      const { body } = await apiOf(options).get<{ emergencies: Row[] }>('/break-glass');
      show(options, body, ({ emergencies }) =>
        table(
          ['ID', 'STANDING', 'FOR', 'WHAT', 'UNTIL', 'BY', 'REVIEWED', 'WHY'],
          emergencies.map((row) => [
            row.id,
            row.standing,
            row.whoName ?? row.who.id,
            about(row),
            time(row.expiresAt),
            [row.requestedBy, ...(row.decidedBy === null ? [] : [row.decidedBy])].join(', '),
            reviewed(row),
            row.justification,
          ]),
          'No emergencies.',
        ),
      );
    },
  );

  remote(
    glass,
    'open <what...>',
    'Ask for it; nothing is open until a second person confirms',
    'remit break-glass open files/delete_file --for 30m --justification "incident 7"',
  )
    .option('--person <id>', 'who will work (default: you)')
    .option('--risks <classes>', 'with one server instead of items: all of these risk classes, such as destructive')
    .requiredOption('--for <duration>', 'ends so long after it was confirmed, at most 4h', minutes)
    .requiredOption('--justification <text>', 'why; whoever confirms reads it')
    .action(
      async (
        items: string[],
        options: RemoteOptions & { person?: string; risks?: string; for: number; justification: string },
      ) => {
        const api = apiOf(options);
        const { body } = await api.post<{ id: string; state: string; revision: number }>('/break-glass', {
          who: options.person ?? (await api.get<{ person: string }>('/me')).body.person,
          what: whatOf(items, options.risks),
          minutes: options.for,
          justification: options.justification,
        });
        const id = visible(body.id);
        show(options, body, () => `${id} waits for a second person: remit break-glass confirm ${id}`);
      },
    );

  remote(
    glass,
    'confirm <grant>',
    'Open it, as a second person: neither who asked nor who gets it',
    'remit break-glass confirm grant_01k… --note "incident 7"',
  )
    .option('--note <text>', 'why')
    .action(async (id: string, options: RemoteOptions & { note?: string }) => {
      const api = apiOf(options);
      // An owner of the server without any role reads it here.
      const { body: row } = await api.get<Row>(`/grants/${seg(id)}`);
      const { body } = await api.post<{ id: string; expiresAt: number; revision: number }>(
        `/break-glass/${seg(id)}/confirm`,
        { note: options.note ?? null },
        etagOf(row.revision),
      );
      show(options, body, () => `${visible(about(row))} is open without approvals until ${time(body.expiresAt)}.`);
    });

  change(
    glass,
    'end <grant>',
    'End it at once, or refuse one that waits',
    'remit break-glass end grant_01k… --reason "repaired"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<{ id: string; state: string; revision: number }>(
      `/break-glass/${seg(id)}/end`,
      { reason: options.reason },
    );
    show(options, body, () => `${visible(body.id)} is ${body.state}, at revision ${body.revision}.`);
  });

  remote(
    glass,
    'review <grant>',
    'Show the calls made under it; with a note, close it as somebody who took no part',
    'remit break-glass review grant_01k… --note "all calls belong to incident 7"',
  )
    .option('--note <text>', 'what you found; closes it')
    .action(async (id: string, options: RemoteOptions & { note?: string }) => {
      const api = apiOf(options);
      const path = `/break-glass/${seg(id)}`;
      const { body: row } = await api.get<Row & { calls: Calls }>(path);
      if (options.note === undefined) {
        show(options, row, () => [summaryOf(row), callsOf(row.calls)].join('\n\n'));
        return;
      }
      const { body } = await api.post<{ id: string; calls: Calls; revision: number }>(
        `${path}/review`,
        { note: options.note },
        etagOf(row.revision),
      );
      show(options, body, () => `${visible(body.id)} is closed. ${callsOf(body.calls)}`);
    });
}

function whatOf(named: readonly string[], risks: string | undefined): object {
  if (risks !== undefined) {
    const [server = '', ...more] = named;
    if (more.length > 0 || server.includes('/'))
      throw new CliFailure(
        'usage',
        'Risk classes are of one server.',
        'Name the server alone, or items without --risks.',
      );
    return { server, risks: list(risks) };
  }
  const items = named.map(splitTool);
  const server = items[0]?.[0] ?? '';
  if (items.some(([other]) => other !== server))
    throw new CliFailure('usage', 'An emergency is about one server.', 'Open one for each server.');
  return { server, items: items.map(([, item]) => item) };
}

const summaryOf = (row: Row): string =>
  fields([
    ['id', row.id],
    ['standing', row.standing],
    ['for', row.whoName ?? row.who.id],
    ['what', about(row)],
    ['asked by', row.requestedBy],
    ['confirmed by', row.decidedBy],
    ['until', time(row.expiresAt)],
    ['why', row.justification],
    ['reviewed', row.postMortem ? `${row.postMortem.by}: ${row.postMortem.note}` : null],
  ]);

function callsOf({ count, first, last, complete, calls }: Calls): string {
  if (count === 0) return `No calls were made under it${complete ? '' : ' in the part of the log that was read'}.`;
  const said = `${count} calls, log entries ${first} to ${last}${complete ? '' : ', and more that were not read'}.`;
  const rows = calls.map((one) => [String(one.index), one.time, `${one.server}/${one.tool}`, one.client ?? '']);
  return [said, table(['ENTRY', 'TIME', 'WHAT', 'THROUGH'], rows, '')].join('\n');
}
