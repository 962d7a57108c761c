/** `remit server …`: the servers behind the gateway. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import { apiOf, change, group, readObjectFile, remote, type ReasonOptions, type RemoteOptions } from '../command.ts';
import { answerOf } from '../consent-answer.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, visible } from '../output.ts';

interface ServerRow {
  readonly id: string;
  readonly title: string;
  readonly owner: string;
  readonly environment: string;
  readonly state: string;
  readonly url: string;
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
        ['ID', 'STATE', 'ENVIRONMENT', 'OWNER', 'TITLE', 'URL'],
        servers.map(({ id, state, environment, owner, title, url }) => [id, state, environment, owner, title, url]),
        'No servers yet. Register one: remit server add -f server.yaml',
      ),
    );
  });

  remote(server, 'show <server>', 'Show a server with its upstream and standing', 'remit server show files').action(
    async (id: string, options: RemoteOptions) => {
      const { body } = await apiOf(options).get<ServerRow & Record<string, unknown>>(`/servers/${seg(id)}`);
      show(
        options,
        body,
        ({ upstream, watching, dataClasses, purpose, timeoutMs, revision, asks, extensions, ...row }) =>
          [
            fields([
              ['id', row.id],
              ['title', row.title],
              ['state', row.state],
              ['owner', row.owner],
              ['purpose', String(purpose)],
              ['environment', row.environment],
              ['data classes', (dataClasses as string[]).join(', ')],
              ['may ask', (asks as string[]).join(', ') || 'nothing'],
              ['extensions', (extensions as string[]).join(', ') || 'none'],
              ['connections', row['connections'] === 'person' ? 'one per person and agent' : 'shared'],
              ['clients over HTTP+SSE', row['clientsOverSse'] === true ? 'yes (2024-11-05)' : 'no'],
              ['call timeout', `${String(timeoutMs)} ms`],
              ['revision', String(revision)],
              ['url', row.url],
            ]),
            'upstream:',
            visible(JSON.stringify(upstream, null, 2)),
            'watching:',
            visible(JSON.stringify(watching, null, 2)),
          ].join('\n'),
      );
    },
  );

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
      const etag = options.replace ? (await api.get(path)).etag : null;
      const { body } = await api.put<Changed>(path, { reason: options.reason, server: fieldsOfServer }, etag);
      show(
        options,
        body,
        () =>
          `${visible(id)} is ${body.state} at revision ${body.revision}. Next: remit tool refresh ${visible(id)}, review its tools, submit and enable it.`,
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

  for (const [verb, past, summary] of [
    ['submit', 'in review', 'Put a server before a reviewer'],
    ['enable', 'enabled', 'Let calls through to a server'],
    ['suspend', 'suspended', 'Stop calls to a server for now'],
    ['retire', 'retired', 'End a server for good'],
  ] as const) {
    change(server, `${verb} <server>`, summary, `remit server ${verb} files --reason "why"`).action(
      async (id: string, options: ReasonOptions) => {
        const { body } = await apiOf(options).post<Changed>(`/servers/${seg(id)}/${verb}`, { reason: options.reason });
        show(options, body, () => `${visible(id)} is ${past} at revision ${body.revision}.`);
      },
    );
  }

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
