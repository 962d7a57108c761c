/** `remit login`, `remit logout`, `remit whoami`, `remit claim`. */
import type { Command } from 'commander';
import { adminUrl, openApi } from '../api.ts';
import { duration, readNamedFile, remote, wholeNumber, type RemoteOptions } from '../command.ts';
import { CliFailure } from '../failure.ts';
import { fields, progress, show, time } from '../output.ts';
import { CLIENT_ID, DEFAULT_SCOPE, invitation, openBrowser, signIn, signOut } from '../sign-in.ts';

interface Me {
  readonly person: string;
  readonly name: string;
  readonly roles: readonly string[];
  readonly organisation: string;
  readonly expiresAt: number;
  readonly signedInAt: number | null;
}

interface LoginOptions extends RemoteOptions {
  readonly issuer?: string;
  readonly clientId: string;
  readonly scope: string;
  readonly open: boolean;
  readonly device: boolean;
  readonly maxAge?: number;
  readonly acrValues?: string;
  readonly timeout: number;
}

export function signInCommands(program: Command): void {
  remote(program, 'login', 'Sign in to a gateway in your browser', 'remit login --url http://127.0.0.1:8788')
    .option('--issuer <url>', 'which authorization server, when the gateway trusts several')
    .option('--client-id <id>', 'OAuth client id of this command', CLIENT_ID)
    .option('--scope <scopes>', 'scopes to ask for, separated by spaces', DEFAULT_SCOPE)
    .option('--open', 'open the address in the default browser', false)
    .option('--device', 'the browser is on another machine: type in a code there', false)
    .option('--max-age <seconds>', 'sign in anew if you last did so longer ago than this', wholeNumber)
    .option('--acr-values <list>', 'what the sign-in must reach, separated by spaces, for example a second factor')
    .option('--timeout <duration>', 'how long to wait for you', duration, 300_000)
    .action(async (options: LoginOptions) => {
      const url = adminUrl(options.url, process.env);
      await signIn(
        {
          adminUrl: url,
          issuer: options.issuer,
          clientId: options.clientId,
          scope: options.scope,
          timeoutMs: options.timeout,
          device: options.device,
          maxAgeSeconds: options.maxAge,
          acrValues: options.acrValues?.split(' ').filter((value) => value !== ''),
          onUrl: (address, userCode) => {
            // Also with --json: without the address nobody can go on.
            process.stderr.write(invitation(address, userCode));
            if (options.open) openBrowser(address);
            progress(options, 'Waiting for you to sign in …');
          },
        },
        process.env,
      );
      const { REMIT_TOKEN: _, ...env } = process.env;
      const { body } = await openApi(url, env).get<Me>('/me').catch(withoutStanding);
      show(options, { url, ...body }, (me) =>
        fields([
          ['signed in', `${me.name} (${me.person})`],
          ['gateway', url],
          ['organisation', me.organisation],
          ['roles', me.roles.join(', ') || 'none'],
          ['token until', time(me.expiresAt)],
        ]),
      );
    });

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
        ['signed in at', time(me.signedInAt)],
        ['token until', time(me.expiresAt)],
      ]),
    );
  });

  remote(
    program,
    'claim <code>',
    'Become the first administrator of a new installation',
    'remit claim - < /var/lib/remit/claim-code',
  )
    .addHelpText(
      'after',
      '\nThe gateway names the file with the code when it starts without people; `-` reads it from standard input.\nSign in first: remit login',
    )
    .option('--name <text>', 'your name, for people to read')
    .action(async (code: string, options: RemoteOptions & { name?: string }) => {
      const { body } = await openApi(adminUrl(options.url, process.env), process.env).post<{
        id: string;
        revision: number;
      }>('/claim', {
        code: (code === '-' ? readNamedFile('-') : code).trim(),
        ...(options.name !== undefined && { name: options.name }),
      });
      show(options, body, ({ id, revision }) => `You are ${id}, the first administrator, at revision ${revision}.`);
    });
}

/** The sign-in itself worked and is stored. */
function withoutStanding(failure: unknown): never {
  const details: { readonly code?: unknown } | undefined = failure instanceof CliFailure ? failure.details : undefined;
  if (!(failure instanceof CliFailure) || details?.code !== 'no_standing') throw failure;
  throw new CliFailure(
    'failed',
    `You are signed in, but ${failure.message.charAt(0).toLowerCase()}${failure.message.slice(1)}`,
    'Ask an administrator. Of a new installation become the first with `remit claim`.',
    failure.details,
  );
}
