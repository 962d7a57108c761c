/** `remit login`, `remit logout`. */
import type { Command } from 'commander';
import { adminUrl, openApi } from '../api.ts';
import { duration, remote, type RemoteOptions } from '../command.ts';
import { fields, progress, show, time } from '../output.ts';
import { CLIENT_ID, DEFAULT_SCOPE, openBrowser, signIn, signOut } from '../sign-in.ts';

interface Me {
  readonly person: string;
  readonly name: string;
  readonly roles: readonly string[];
  readonly organisation: string;
  readonly expiresAt: number;
}

export function signInCommands(program: Command): void {
  remote(program, 'login', 'Sign in to a gateway in your browser', 'remit login --url http://127.0.0.1:8788')
    .option('--issuer <url>', 'which authorization server, when the gateway trusts several')
    .option('--client-id <id>', 'OAuth client id of this command', CLIENT_ID)
    .option('--scope <scopes>', 'scopes to ask for, separated by spaces', DEFAULT_SCOPE)
    .option('--open', 'open the address in the default browser', false)
    .option('--timeout <duration>', 'how long to wait for you', duration, 300_000)
    .action(
      async (
        options: RemoteOptions & { issuer?: string; clientId: string; scope: string; open: boolean; timeout: number },
      ) => {
        const url = adminUrl(options.url, process.env);
        await signIn(
          {
            adminUrl: url,
            issuer: options.issuer,
            clientId: options.clientId,
            scope: options.scope,
            timeoutMs: options.timeout,
            onUrl: (address) => {
              // Also with --json: without the address nobody can go on.
              process.stderr.write(`Open this address in a browser on this machine:\n\n  ${address}\n\n`);
              if (options.open) openBrowser(address);
              progress(options, 'Waiting for you to sign in …');
            },
          },
          process.env,
        );
        const { REMIT_TOKEN: _, ...env } = process.env;
        const { body } = await openApi(url, env).get<Me>('/me');
        show(options, { url, ...body }, (me) =>
          fields([
            ['signed in', `${me.name} (${me.person})`],
            ['gateway', url],
            ['organisation', me.organisation],
            ['roles', me.roles.join(', ') || 'none'],
            ['token until', time(me.expiresAt)],
          ]),
        );
      },
    );

  remote(program, 'logout', 'Forget the sign-in and revoke its refresh token', 'remit logout').action(
    async (options: RemoteOptions) => {
      const url = adminUrl(options.url, process.env);
      const done = await signOut(url, process.env);
      show(options, { url, ...done }, ({ was, revoked }) =>
        was
          ? `Signed out of ${url}.${revoked ? '' : ' The issuer did not confirm the revocation; the token ends by itself.'}`
          : `You were not signed in to ${url}.`,
      );
    },
  );

  remote(program, 'whoami', 'Show who you are to a gateway', 'remit whoami').action(async (options: RemoteOptions) => {
    const { body } = await openApi(adminUrl(options.url, process.env), process.env).get<Me>('/me');
    show(options, body, (me) =>
      fields([
        ['person', `${me.name} (${me.person})`],
        ['organisation', me.organisation],
        ['roles', me.roles.join(', ') || 'none'],
        ['token until', time(me.expiresAt)],
      ]),
    );
  });
}
