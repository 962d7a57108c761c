/** `remit grant …`: ask for access, agree to it, take it away, see who has what. */
import { type Command, InvalidArgumentError } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  duration,
  etagOf,
  group,
  moment,
  paged,
  readObjectFile,
  remote,
  splitTool,
  wholeNumber,
  type PageOptions,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { agreedEffect, effectText, type EffectBody } from '../effect-view.ts';
import { CliFailure } from '../failure.ts';
import { fields, more, show, table, time, visible } from '../output.ts';

interface Row {
  readonly id: string;
  readonly who: { readonly kind: string; readonly id: string };
  readonly whoName: string | null;
  readonly through?: string;
  readonly what: { readonly server: string; readonly items?: readonly string[]; readonly risks?: readonly string[] };
  readonly conditions: ReadonlyArray<{
    readonly argument: string;
    readonly is: string;
    readonly values?: readonly string[];
    readonly value?: number;
  }>;
  readonly approval: string;
  readonly justification: string;
  readonly startsAt?: number;
  readonly expiresAt: number | null;
  readonly lastsMs?: number;
  readonly state: string;
  readonly standing: string;
  readonly requestedBy: string;
  readonly requestedAt: number;
  readonly decidedBy: string | null;
  readonly decidedAt: number | null;
  readonly note: string | null;
  readonly revision: number;
}
interface Changed {
  readonly id: string;
  readonly state: string;
  readonly expiresAt?: number | null;
  readonly revision: number;
}

const toWhom = ({ who, whoName }: Row): string => `${who.kind} ${whoName ?? who.id}`;
const about = ({ what }: Row): string =>
  `${what.server}: ${what.items?.join(', ') ?? `all that is ${what.risks?.join(' or ') ?? 'there'}`}`;
const condition = ({ argument, is, values, value }: Row['conditions'][number]): string =>
  `${argument} ${is.replace('_', ' ')} ${value ?? values?.join(', ') ?? ''}`;
const until = (row: Pick<Row, 'expiresAt' | 'lastsMs'>): string =>
  row.expiresAt === null && row.lastsMs !== undefined
    ? `${row.lastsMs / 60_000} min from the yes`
    : time(row.expiresAt);

export function grantCommands(program: Command): void {
  const grant = group(
    program,
    'grant',
    'Ask for access, agree to it, take it away',
    'remit grant list --standing requested',
  );

  paged(grant, 'list', 'List grants', 'remit grant list --server files')
    .option('--standing <standing>', 'requested, active, waiting, over, suspended, denied, cancelled or ended')
    .option('--person <id>', 'to this person, or to a group they are in')
    .option('--server <server>', 'about this server')
    .option('--mine', 'only what you asked for or have')
    .action(async (options: PageOptions & { standing?: string; person?: string; server?: string; mine?: boolean }) => {
      const { standing, person, server, mine } = options;
      const query = options.query({ standing, person, server, mine: mine ? 'true' : undefined });
      const { body } = await apiOf(options).get<{ grants: Row[]; next: string | null }>(`/grants?${query}`);
      show(options, body, ({ grants, next }) =>
        more(
          table(
            ['ID', 'STANDING', 'TO', 'WHAT', 'UNTIL', 'WHY'],
            grants.map((row) => [row.id, row.standing, toWhom(row), about(row), until(row), row.justification]),
            'No grants.',
          ),
          next,
        ),
      );
    });

  remote(
    grant,
    'show <grant>',
    'Show a grant: to whom, what, under which conditions, why',
    'remit grant show grant_01k…',
  ).action(async (id: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Row>(`/grants/${seg(id)}`);
    show(options, body, (row) =>
      fields([
        ['id', row.id],
        ['standing', row.standing],
        ['to', `${toWhom(row)} (${row.who.id})`],
        ['through', row.through],
        ['what', about(row)],
        ['conditions', row.conditions.map(condition).join('; ')],
        ['approval', row.approval],
        ['from', time(row.startsAt)],
        ['until', until(row)],
        ['why', row.justification],
        ['asked by', `${row.requestedBy}, ${time(row.requestedAt)}`],
        ['decided by', row.decidedBy === null ? null : `${row.decidedBy}, ${time(row.decidedAt)}`],
        ['note', row.note],
        ['revision', row.revision],
      ]),
    );
  });

  remote(
    grant,
    'request <item...>',
    'Ask for access to items of one server, for yourself or for others',
    'remit grant request files/read_file --justification "TICKET-9" --for 2h',
  )
    .option('--person <id>', 'for this person (default: you)')
    .option('--group <id>', 'for this group, by the id of its record')
    .option('--agent <id>', 'for this agent that acts alone, by the id of its record')
    .option('--through <client>', 'only through this client')
    .option('--where <condition...>', 'such as "/path path_under /data/a,/data/b" or "/amount at_most 500"', [])
    .option('--approval <when>', '`by_risk`, or `always`: every call is held', 'by_risk')
    .option('--for <duration>', 'an elevation: ends so long after the yes, such as 30m, 2h', duration)
    .option('--until <day>', 'ends then', moment)
    .requiredOption('--justification <text>', 'why; whoever decides reads it')
    .action(
      async (
        items: string[],
        options: RemoteOptions & {
          person?: string;
          group?: string;
          agent?: string;
          through?: string;
          where: string[];
          approval: string;
          for?: number;
          until?: number;
          justification: string;
        },
      ) => {
        const api = apiOf(options);
        const named = items.map(splitTool);
        const server = named[0]?.[0] ?? '';
        if (named.some(([other]) => other !== server))
          throw new CliFailure('usage', 'A grant is about one server.', 'Ask once for each server.');
        await ask(api, options, {
          who: await whom(api, options),
          ...(options.through === undefined ? {} : { through: options.through }),
          what: { server, items: named.map(([, item]) => item) },
          conditions: options.where.map(conditionOf),
          approval: options.approval,
          justification: options.justification,
          expiresAt: options.until ?? null,
          ...(options.for === undefined ? {} : { lastsMs: options.for }),
        });
      },
    );

  remote(grant, 'add', 'Ask for what a file says, whatever a grant can say', 'remit grant add -f grant.yaml')
    .requiredOption('-f, --file <path>', 'YAML or JSON file with one grant; `-` reads standard input')
    .action(async (options: RemoteOptions & { file: string }) =>
      ask(apiOf(options), options, readObjectFile(options.file)),
    );

  remote(
    grant,
    'effect <grant>',
    'Show who would gain what with it, or lose what without it',
    'remit grant effect grant_01k…',
  )
    .option('--offset <number>', 'go on after so many', wholeNumber, 0)
    .option('--limit <number>', 'rows of one answer, at most 1000', wholeNumber, 50)
    .action(async (id: string, options: RemoteOptions & { offset: number; limit: number }) => {
      const path = `/grants/${seg(id)}/effect?offset=${options.offset}&limit=${options.limit}`;
      const { body } = await apiOf(options).get<EffectBody>(path);
      show(options, body, effectText);
    });

  remote(
    grant,
    'approve <grant>',
    'Agree to a request: neither your own nor for yourself',
    'remit grant approve grant_01k… --note "for the audit"',
  )
    .option('--note <text>', 'why')
    .option('--yes', 'agree to the effect without being asked', false)
    .option('--effect <digest>', 'agree to exactly this effect, as `remit grant effect` shows it')
    .action(async (id: string, options: RemoteOptions & { note?: string; yes: boolean; effect?: string }) => {
      const api = apiOf(options);
      const path = `/grants/${seg(id)}`;
      const { body: row } = await api.get<Row>(path);
      const effect = await agreedEffect(
        api,
        `${path}/effect`,
        `Give ${visible(about(row))} to ${visible(toWhom(row))}`,
        options,
      );
      const said = { note: options.note ?? null, effect };
      done(options, (await api.post<Changed>(`${path}/approve`, said, etagOf(row.revision))).body);
    });

  for (const [step, summary] of [
    ['deny', 'Refuse a request'],
    ['resume', 'Let a suspended grant count again: a fresh decision'],
  ] as const)
    remote(grant, `${step} <grant>`, summary, `remit grant ${step} grant_01k… --note "not needed"`)
      .option('--note <text>', 'why')
      .action(async (id: string, options: RemoteOptions & { note?: string }) => {
        const api = apiOf(options);
        const { body: row } = await api.get<Row>(`/grants/${seg(id)}`);
        const path = `/grants/${seg(id)}/${step}`;
        done(options, (await api.post<Changed>(path, { note: options.note ?? null }, etagOf(row.revision))).body);
      });

  for (const [step, summary] of [
    ['cancel', 'Take a request of yours back'],
    ['suspend', 'Stop a grant for now'],
    ['end', 'End a grant for good'],
  ] as const)
    change(grant, `${step} <grant>`, summary, `remit grant ${step} grant_01k… --reason "no longer needed"`).action(
      async (id: string, options: ReasonOptions) => {
        const path = `/grants/${seg(id)}/${step}`;
        done(options, (await apiOf(options).post<Changed>(path, { reason: options.reason })).body);
      },
    );
}

function done(options: RemoteOptions, changed: Changed): void {
  show(options, changed, ({ id, state, expiresAt, revision }) => {
    const end = state === 'active' && typeof expiresAt === 'number' ? `, until ${time(expiresAt)}` : '';
    return `${visible(id)} is ${state}${end}, at revision ${revision}.`;
  });
}

async function ask(api: ReturnType<typeof apiOf>, options: RemoteOptions, grant: object): Promise<void> {
  const { body } = await api.post<Changed>('/grants', { grant });
  show(options, body, () =>
    [`${visible(body.id)} waits for somebody else: remit grant approve ${visible(body.id)}`].join('\n'),
  );
}

async function whom(
  api: ReturnType<typeof apiOf>,
  { person, group: team, agent }: { person?: string; group?: string; agent?: string },
): Promise<object> {
  const given = [
    ...(person === undefined ? [] : [{ kind: 'person', id: person }]),
    ...(team === undefined ? [] : [{ kind: 'group', id: team }]),
    ...(agent === undefined ? [] : [{ kind: 'agent', id: agent }]),
  ];
  if (given.length > 1)
    throw new CliFailure('usage', 'A grant is for one person, group or agent.', 'Ask once for each.');
  return given[0] ?? { kind: 'person', id: (await api.get<{ person: string }>('/me')).body.person };
}

/** `/path path_under /data/a,/data/b`, `/amount at_most 500`. */
function conditionOf(text: string): object {
  const [argument = '', is = '', ...rest] = text.trim().split(/\s+/);
  const value = rest.join(' ');
  if (value === '') throw new InvalidArgumentError(`${text} is no condition; write "/amount at_most 500".`);
  return is === 'at_most' || is === 'at_least'
    ? { argument, is, value: wholeNumber(value) }
    : { argument, is, values: value.split(',').map((one) => one.trim()) };
}
