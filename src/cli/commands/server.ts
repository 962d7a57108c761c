/** `remit server …`: the servers behind the gateway. */
import { type Command, Option } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  etagOf,
  group,
  momentIn,
  readObjectFile,
  remote,
  wholeNumber,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { answerOf } from '../consent-answer.ts';
import type { Posture } from '../../sandbox/backend.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';
import { identityCommand } from './server-identity.ts';

interface ServerRow {
  readonly id: string;
  readonly title: string;
  readonly owner: string;
  readonly environment: string;
  readonly state: string;
  readonly riskTier?: string;
  readonly reviewBy?: number;
  readonly switches: Switches;
  readonly url: string;
}
interface Switches {
  readonly reachable: boolean;
  readonly productionData: boolean;
  readonly writes: boolean;
}
interface Source {
  readonly vendor: string;
  readonly package?: string;
  readonly version: string;
  readonly digest?: string;
}
interface Shown extends ServerRow {
  readonly purpose: string;
  readonly dataClasses: readonly string[];
  readonly revocation?: string;
  readonly source?: Source;
  readonly approvers?: readonly string[];
  readonly timeoutMs: number;
  readonly revision: number;
  readonly asks: readonly string[];
  readonly extensions: readonly string[];
  readonly connections: string;
  readonly clientsOverSse: boolean;
  readonly upstream: unknown;
  readonly watching: { readonly state: string; readonly seenAt: number | null; readonly problem: string | null } | null;
  /** Null: it does not run here. */
  readonly isolation: readonly { readonly since: number; readonly posture: Posture }[] | null;
  readonly lacks: readonly Lack[];
}
interface Reach {
  readonly network: 'none' | 'host';
  readonly egress: ReadonlyArray<{
    readonly scheme: string;
    readonly host: string;
    readonly port?: number;
    readonly methods?: readonly string[];
    readonly pathPrefix?: string;
  }>;
  readonly egressNetworks: readonly string[];
}
interface Lack {
  readonly field: string;
  readonly message: string;
  readonly remedy: string;
}
interface Changed {
  readonly id: string;
  readonly state?: string;
  readonly revision: number;
}

export function serverCommands(program: Command): void {
  const server = group(program, 'server', 'List, register, enable and end servers', 'remit server list');

  remote(server, 'list', 'List servers', 'remit server list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ servers: ServerRow[] }>('/servers');
    show(options, body, ({ servers }) =>
      table(
        ['ID', 'STATE', 'SWITCHED OFF', 'ENVIRONMENT', 'RISK', 'OWNER', 'TITLE', 'URL'],
        servers.map(({ id, state, switches, environment, riskTier, owner, title, url }) => [
          id,
          state,
          off(switches),
          environment,
          riskTier,
          owner,
          title,
          url,
        ]),
        'No servers yet. Register one: remit server add -f server.yaml',
      ),
    );
  });

  remote(server, 'show <server>', 'Show a server with its upstream and standing', 'remit server show files').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<Shown>(`/servers/${seg(id)}`);
      show(options, body, ({ upstream, ...row }) =>
        [
          fields([
            ['id', row.id],
            ['title', row.title],
            ['state', row.state],
            ['switched off', off(row.switches) || 'nothing'],
            ['owner', row.owner],
            ['purpose', row.purpose],
            ['environment', row.environment],
            ['data classes', row.dataClasses.join(', ')],
            ['risk tier', row.riskTier],
            ['source', row.source && sourceText(row.source)],
            ['revocation', row.revocation],
            ['review by', time(row.reviewBy)],
            ['approvers', row.approvers?.join(', ') ?? 'everybody with the role approver'],
            ['may ask', row.asks.join(', ') || 'nothing'],
            ['extensions', row.extensions.join(', ') || 'none'],
            ['connections', row.connections === 'person' ? 'one per person and agent' : 'shared'],
            ['clients over HTTP+SSE', row.clientsOverSse ? 'yes (2024-11-05)' : 'no'],
            ['call timeout', `${row.timeoutMs} ms`],
            ...row.lacks.map((lack) => ['missing', lackText(lack)] as const),
            ['watched', watchedText(row.watching)],
            ...networkLines(upstream as Partial<Reach>),
            ...isolationLines(row.isolation),
            ['revision', String(row.revision)],
            ['url', row.url],
          ]),
          'upstream:',
          visible(JSON.stringify(upstream, null, 2)),
        ].join('\n'),
      );
    },
  );

  identityCommand(server);

  change(
    server,
    'add',
    'Register a server from a file as a draft',
    'remit server add -f files.yaml --reason "asked for in TICKET-12"',
  )
    .requiredOption('-f, --file <path>', 'YAML or JSON with `id` and the fields of a server; `-` reads standard input')
    .option('--replace', 'change a server that exists', false)
    .action(async (options: ReasonOptions & { file: string; replace: boolean }) => {
      const { id, ...fieldsOfServer } = readObjectFile(options.file);
      if (typeof id !== 'string' || id === '')
        throw new CliFailure('usage', `${options.file} has no \`id\`.`, 'Add a line such as `id: files`.');
      const api = apiOf(options);
      const path = `/servers/${seg(id)}`;
      const { reviewBy } = fieldsOfServer;
      if (typeof reviewBy === 'string') fieldsOfServer['reviewBy'] = momentIn(options.file, reviewBy);
      const etag = options.replace ? (await api.get(path)).etag : null;
      const { body } = await api.put<Changed>(path, { reason: options.reason, server: fieldsOfServer }, etag);
      show(
        options,
        body,
        () =>
          `${visible(id)} is ${body.state} at revision ${body.revision}. Next: remit server submit ${visible(id)}; once somebody else enabled it, remit tool refresh ${visible(id)} and the review of its tools.`,
      );
    });

  change(
    server,
    'connect <server>',
    'Connect a server to the account that its calls use',
    'remit server connect notes --reason "the shared notes account"',
  )
    .option(
      '--redirect-uri <url>',
      'address that is registered for the gateway; default: one on this machine, listened to while you agree',
    )
    .action(async (id: string, options: ReasonOptions & { redirectUri?: string }) => {
      const api = apiOf(options);
      const path = `/servers/${seg(id)}/connect`;
      const answer = await answerOf(options.redirectUri, async (redirectUri) => {
        const { body } = await api.post<{ url: string }>(path, { redirectUri });
        process.stderr.write(`Open this address and agree there:\n\n  ${visible(body.url)}\n\n`);
      });
      const { body } = await api.post<object>(`${path}/finish`, { callback: answer, reason: options.reason });
      show(options, body, () => `${visible(id)} is connected. Next: remit tool refresh ${visible(id)}`);
    });

  remote(
    server,
    'link <server>',
    'Link your own account at a server that has one of each person',
    'remit server link notes',
  )
    .option(
      '--redirect-uri <url>',
      'address that is registered for the gateway; default: one on this machine, listened to while you agree',
    )
    .action(async (id: string, options: RemoteOptions & { redirectUri?: string }) => {
      const api = apiOf(options);
      const path = `/servers/${seg(id)}/link`;
      const answer = await answerOf(options.redirectUri, async (redirectUri) => {
        const { body } = await api.post<{ url: string }>(path, { redirectUri });
        process.stderr.write(`Open this address and agree there:\n\n  ${visible(body.url)}\n\n`);
      });
      const { body } = await api.post<object>(`${path}/finish`, { callback: answer });
      show(options, body, () => `Your account at ${visible(id)} is linked. Your calls use it from now on.`);
    });

  remote(server, 'unlink <server>', 'Give your own account at a server back', 'remit server unlink notes').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).remove<{ revoked: number; left: number }>(`/servers/${seg(id)}/link`, {});
      show(options, body, ({ revoked, left }) =>
        left === 0
          ? `Your account at ${visible(id)} is forgotten; ${revoked} tokens were taken back there.`
          : `Your account at ${visible(id)} is forgotten here. ${left} tokens may live on there: end the access in your account there.`,
      );
    },
  );

  change(
    server,
    'enable <server>',
    'Let calls through to a server; somebody else than who wrote it',
    'remit server enable files --revision 12 --reason "reviewed"',
  )
    .requiredOption('--revision <number>', 'the revision that you read, from `remit server show`', wholeNumber)
    .action(async (id: string, options: ReasonOptions & { revision: number }) => {
      const { body } = await apiOf(options).post<Changed>(
        `/servers/${seg(id)}/enable`,
        { reason: options.reason },
        etagOf(options.revision),
      );
      show(
        options,
        body,
        () =>
          `${visible(id)} is enabled at revision ${body.revision}. Next, where its tools are new: remit tool refresh ${visible(id)}`,
      );
    });

  for (const [verb, past, summary] of [
    ['submit', 'in review', 'Put a server before a reviewer'],
    ['suspend', 'suspended', 'Stop calls to a server for now'],
    ['retire', 'retired', 'End a server for good'],
  ] as const) {
    change(server, `${verb} <server>`, summary, `remit server ${verb} files --reason "why"`).action(
      async (id: string, options: ReasonOptions) => {
        const api = apiOf(options);
        const { body } = await api.post<Changed>(`/servers/${seg(id)}/${verb}`, { reason: options.reason });
        const lacks =
          verb === 'submit' && !options.json ? (await api.get<Shown>(`/servers/${seg(id)}`)).body.lacks : [];
        show(options, body, () =>
          [
            `${visible(id)} is ${past} at revision ${body.revision}.`,
            ...lacks.map((lack) => `missing: ${lackText(lack)}`),
            ...(verb === 'submit'
              ? [
                  `Next, by somebody else: remit server show ${visible(id)}, then remit server enable ${visible(id)} --revision ${body.revision} --reason "read it"`,
                ]
              : []),
          ].join('\n'),
        );
      },
    );
  }

  const onOff = (flags: string, says: string): Option => new Option(`${flags} <on|off>`, says).choices(['on', 'off']);
  change(
    server,
    'switch <server>',
    'Turn what a server may do off, or back on, without a review',
    'remit server switch files --writes off --reason "incident 7"',
  )
    .addOption(onOff('--reachable', 'off: nothing goes to it'))
    .addOption(onOff('--production-data', 'off: what touches production data is not there'))
    .addOption(onOff('--writes', 'off: only what reads is there'))
    .action(
      async (id: string, options: ReasonOptions & { reachable?: string; productionData?: string; writes?: string }) => {
        const { reachable, productionData, writes, reason } = options;
        const turned = Object.entries({ reachable, productionData, writes }).filter(([, to]) => to !== undefined);
        if (turned.length === 0)
          throw new CliFailure('usage', 'Nothing to switch.', 'Say --reachable, --production-data or --writes.');
        const { body } = await apiOf(options).post<Changed & { switches: Switches }>(`/servers/${seg(id)}/switches`, {
          reason,
          ...Object.fromEntries(turned.map(([name, to]) => [name, to === 'on'])),
        });
        show(
          options,
          body,
          () => `${visible(id)} has switched off: ${off(body.switches) || 'nothing'}, at revision ${body.revision}.`,
        );
      },
    );

  change(
    server,
    'owner <server> <owner>',
    'Name who answers for a server from now on',
    'remit server owner files group/group_01k… --reason "Omar left"',
  ).action(async (id: string, owner: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).post<Changed & { owner: string }>(`/servers/${seg(id)}/owner`, {
      reason: options.reason,
      owner,
    });
    show(
      options,
      body,
      () => `${visible(body.owner)} answers for ${visible(id)} at revision ${body.revision}; it is ${body.state}.`,
    );
  });

  change(
    server,
    'remove <server>',
    'Delete a draft and its tools',
    'remit server remove files --reason "registered by mistake"',
  ).action(async (id: string, options: ReasonOptions) => {
    const { body } = await apiOf(options).remove<Changed>(`/servers/${seg(id)}`, { reason: options.reason });
    show(options, body, () => `${visible(id)} is deleted at revision ${body.revision}.`);
  });
}

function off({ reachable, productionData, writes }: Switches): string {
  return [reachable ? '' : 'reachable', productionData ? '' : 'production data', writes ? '' : 'writes']
    .filter((name) => name !== '')
    .join(', ');
}

/** `problem` of a server says what to do in its own words. */
function watchedText(watching: Shown['watching']): string {
  if (watching === null) return '-';
  const seen = watching.seenAt === null ? 'not seen since the start' : `seen ${time(watching.seenAt)}`;
  return `${watching.state}, ${seen}${watching.problem === null ? '' : `: ${watching.problem}`}`;
}

/** Where a local server may connect to: one line of the page, so that a reviewer need not read it out of the record. */
function networkLines({ network, egress = [], egressNetworks = [] }: Partial<Reach>): Array<readonly [string, string]> {
  if (network === undefined) return [];
  if (network === 'host') return [['network', 'the one of the host, unfiltered']];
  if (egress.length === 0) return [['network', 'none']];
  const ways = egress.map(
    ({ scheme, host, port, methods, pathPrefix }) =>
      `${scheme}://${host}${port === undefined ? '' : `:${port}`}${pathPrefix ?? ''}${methods ? ` (${methods.join(', ')})` : ''}`,
  );
  const also = egressNetworks.length === 0 ? '' : `, also in ${egressNetworks.join(', ')}`;
  return [['network', `none, but ${ways.join(', ')}${also}`]];
}

/** Processes under the same posture are one line. */
function isolationLines(running: Shown['isolation']): ReadonlyArray<readonly [string, string]> {
  if (running === null) return [];
  if (running.length === 0) return [['isolation', 'no process runs']];
  const texts = running.map(({ posture }) => postureText(posture));
  return [...new Set(texts)].map((text) => {
    const count = texts.filter((one) => one === text).length;
    return ['isolation', `${count === 1 ? '1 process' : `${count} processes`}: ${text}`];
  });
}

const postureText = (it: Posture): string =>
  [
    it.version,
    `user ${it.hostUser}`,
    `system calls ${it.systemCalls}`,
    `memory by ${it.memoryLimit}`,
    `processes by ${it.processLimit}`,
    `processor by ${it.cpuLimit}`,
  ].join(', ');

const lackText = ({ field, message, remedy }: Lack): string => `${field}: ${message} ${remedy}`;

function sourceText({ vendor, package: name, version, digest }: Source): string {
  return [`${vendor}: ${name === undefined ? '' : `${name} `}${version}`, digest].filter(Boolean).join(', ');
}
