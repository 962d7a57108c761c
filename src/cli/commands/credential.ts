/** `remit credential …`: credentials towards servers. A value is read from a file or standard input, never from the command line, and never shown. */
import type { Command } from 'commander';
import { seg } from '../api.ts';
import {
  apiOf,
  change,
  duration,
  etagOf,
  group,
  momentIn,
  readNamedFile,
  readObjectFile,
  remote,
  wholeNumber,
  type ReasonOptions,
  type RemoteOptions,
} from '../command.ts';
import { systemClock } from '../../lib/clock.ts';
import { CliFailure } from '../failure.ts';
import { fields, show, table, time, visible } from '../output.ts';

interface Row {
  readonly id: string;
  readonly title: string;
  readonly owner: string;
  readonly environment: string;
  readonly state: string;
  readonly source: { readonly kind: string; readonly reference?: string };
  readonly servers: readonly string[];
  readonly endsAt: number | null;
  readonly revision: number;
}
interface Shown extends Row {
  readonly purpose: string;
  readonly riskTier?: string;
  readonly revocation?: string;
  readonly reviewBy?: number;
  readonly maxAgeDays?: number;
  readonly sharing?: { readonly reason: string; readonly until: number };
  readonly versions: readonly {
    readonly id: string;
    readonly fingerprint: string;
    readonly at: number;
    readonly by: string;
  }[];
  readonly lacks: readonly { readonly field: string; readonly message: string; readonly remedy: string }[];
}
interface Changed {
  readonly id: string;
  readonly state: string;
  readonly version: string | null;
  readonly endsAt: number | null;
  readonly revision: number;
}

const ends = (at: number | null): string => (at === null ? 'never' : time(at));
const place = ({ kind, reference }: Row['source']): string => reference ?? kind;

export function credentialCommands(program: Command): void {
  const credential = group(
    program,
    'credential',
    'Register, rotate, enable and end credentials towards servers',
    'remit credential list',
  );

  remote(credential, 'list', 'List credentials', 'remit credential list').action(async (options: RemoteOptions) => {
    const { body } = await apiOf(options).get<{ credentials: Row[] }>('/credentials');
    show(options, body, ({ credentials }) =>
      table(
        ['ID', 'STATE', 'ENVIRONMENT', 'SERVERS', 'ENDS', 'OWNER', 'VALUE'],
        credentials.map((row) => [
          row.id,
          row.state,
          row.environment,
          row.servers.join(', '),
          ends(row.endsAt),
          row.owner,
          place(row.source),
        ]),
        'No credentials yet. Register one: remit credential add -f credential.yaml',
      ),
    );
  });

  remote(
    credential,
    'show <credential>',
    'Show a credential: versions by fingerprint, what is missing',
    'remit credential show github',
  ).action(async (id: string, options: RemoteOptions) => {
    const { body } = await apiOf(options).get<Shown>(`/credentials/${seg(id)}`);
    show(options, body, (row) =>
      fields([
        ['id', row.id],
        ['title', row.title],
        ['state', row.state],
        ['owner', row.owner],
        ['purpose', row.purpose],
        ['environment', row.environment],
        ['risk tier', row.riskTier],
        ['revocation', row.revocation],
        ['review by', time(row.reviewBy)],
        ['value', place(row.source)],
        ['servers', row.servers.join(', ')],
        ['oldest allowed', row.maxAgeDays === undefined ? undefined : `${row.maxAgeDays} days`],
        ['sharing', row.sharing && `${row.sharing.reason} (until ${time(row.sharing.until)})`],
        ['ends', ends(row.endsAt)],
        ...row.versions.map(
          ({ id: version, fingerprint, at, by }) =>
            ['version', `${version} ${fingerprint.slice(0, 12)} ${time(at)} ${by}`] as const,
        ),
        ...row.lacks.map(({ field, message, remedy }) => ['missing', `${field}: ${message} ${remedy}`] as const),
        ['revision', String(row.revision)],
      ]),
    );
  });

  change(
    credential,
    'add',
    'Register a credential from a file as a draft, without its value',
    'remit credential add -f github.yaml --reason "asked for in TICKET-12"',
  )
    .requiredOption(
      '-f, --file <path>',
      'YAML or JSON with `id` and the fields of a credential; `-` reads standard input',
    )
    .option('--replace', 'change a credential that exists', false)
    .action(async (options: ReasonOptions & { file: string; replace: boolean }) => {
      const { id, ...given } = readObjectFile(options.file);
      if (typeof id !== 'string' || id === '')
        throw new CliFailure('usage', `${options.file} has no \`id\`.`, 'Add a line such as `id: github`.');
      const api = apiOf(options);
      const path = `/credentials/${seg(id)}`;
      const { reviewBy } = given;
      if (typeof reviewBy === 'string') given['reviewBy'] = momentIn(options.file, reviewBy);
      const etag = options.replace ? (await api.get(path)).etag : null;
      const { body } = await api.put<Changed>(path, { reason: options.reason, credential: given }, etag);
      show(
        options,
        body,
        () =>
          `${visible(id)} is ${body.state} at revision ${body.revision}. Next: remit credential rotate ${visible(id)}, then remit credential submit ${visible(id)}`,
      );
    });

  change(
    credential,
    'rotate <credential>',
    'Give it a new value, or have its place read again; servers use it with the answer',
    'remit credential rotate github --value-file token.txt --expires-in 30d --reason "monthly"',
  )
    .option(
      '--value-file <path>',
      'file with the value; `-` reads standard input; left out: the value lies where the reference leads',
    )
    .option('--expires-in <duration>', 'when the value ends, for example 30d', duration)
    .action(async (id: string, options: ReasonOptions & { valueFile?: string; expiresIn?: number }) => {
      // Editors and `echo` end a file with a line break that is no part of the value.
      const value =
        options.valueFile === undefined ? undefined : readNamedFile(options.valueFile).replace(/\r?\n$/, '');
      const { body } = await apiOf(options).post<Changed>(`/credentials/${seg(id)}/versions`, {
        reason: options.reason,
        ...(value !== undefined && { value }),
        ...(options.expiresIn !== undefined && { expiresAt: systemClock.now() + options.expiresIn }),
      });
      show(
        options,
        body,
        () =>
          `${visible(id)} has the value ${body.version}, of use until ${ends(body.endsAt)}, at revision ${body.revision}.`,
      );
    });

  for (const [step, summary, done] of [
    ['submit', 'Put a credential before a reviewer', 'waits for a reviewer'],
    ['suspend', 'Stop everything that uses it for now', 'is suspended'],
    ['retire', 'End it for good and remove its values', 'is retired'],
  ] as const)
    change(credential, `${step} <credential>`, summary, `remit credential ${step} github --reason "TICKET-12"`).action(
      async (id: string, options: ReasonOptions) => {
        const api = apiOf(options);
        const { body } = await api.post<Changed>(`/credentials/${seg(id)}/${step}`, { reason: options.reason });
        show(options, body, () =>
          [
            `${visible(id)} ${done} at revision ${body.revision}.`,
            ...(step === 'submit'
              ? [
                  `Next, by somebody else: remit credential show ${visible(id)}, then remit credential enable ${visible(id)} --revision ${body.revision} --reason "read it"`,
                ]
              : []),
          ].join('\n'),
        );
      },
    );

  change(
    credential,
    'enable <credential>',
    'Let its servers use it; somebody else than who wrote it',
    'remit credential enable github --revision 12 --reason "looked at the scopes"',
  )
    .requiredOption('--revision <number>', 'the revision that you read, from `remit credential show`', wholeNumber)
    .action(async (id: string, options: ReasonOptions & { revision: number }) => {
      const { body } = await apiOf(options).post<Changed>(
        `/credentials/${seg(id)}/enable`,
        { reason: options.reason },
        etagOf(options.revision),
      );
      show(options, body, () => `${visible(id)} is enabled at revision ${body.revision}.`);
    });

  change(
    credential,
    'reseal',
    'Seal every value under the newest key while calls go on',
    'remit credential reseal --reason "the yearly key"',
  ).action(async (options: ReasonOptions) => {
    const { body } = await apiOf(options).post<{ key: string; resealed: number; unreadable: string[] }>(
      '/credentials/reseal',
      { reason: options.reason },
    );
    show(options, body, ({ key, resealed, unreadable }) =>
      [
        `${resealed} values were sealed again; all lie under the key ${key}.`,
        ...unreadable.map((id) => `${visible(id)} does not open: its key is not among secrets.keys.`),
      ].join('\n'),
    );
    if (body.unreadable.length > 0) process.exitCode = 1;
  });
}
