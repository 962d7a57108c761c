/**
 * `remit artifact …`: packages of local servers on the gateway's own host, one exact version each. Works on a folder and asks no gateway: who
 * may write there is who runs the gateway. Nothing here makes a server use a package; that is a review of its record.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { isFault } from '../../lib/fault.ts';
import type { ArtifactRecord } from '../../sandbox/artifact-record.ts';
import { artifactFolder } from '../../sandbox/artifact.ts';
import { group, local, type LocalOptions } from '../command.ts';
import { loadConfig } from '../config.ts';
import { CliFailure, configFailure } from '../failure.ts';
import { fields, green, progress, red, show, table, visible } from '../output.ts';

interface FolderOptions extends LocalOptions {
  readonly dir?: string;
  readonly config?: string;
}
interface InstallOptions extends FolderOptions {
  readonly registry?: string;
  readonly npmrc?: string;
  readonly integrity?: string;
}

const EXAMPLE = 'remit artifact install @modelcontextprotocol/server-memory@2026.8.31 --dir /srv/remit-artifacts';

export function artifactCommands(program: Command): void {
  const artifacts = group(program, 'artifact', 'Packages of local servers, on the host of the gateway', EXAMPLE);

  placed(
    artifacts,
    'install <name@version>',
    'Install one exact version of an npm package, without running a script of it',
    EXAMPLE,
  )
    .option('--registry <url>', 'https address of the registry (default: the one of npm)')
    .option('--npmrc <file>', 'what the registry asks for: tokens, proxy, certificates; nothing else of npm is read')
    .option('--integrity <sha512>', 'what the archive must be: sha512-…, as its vendor published it')
    .action(async (spec: string, options: InstallOptions) => {
      const { installArtifact } = await import('../../sandbox/artifact-install.ts');
      const { registry, npmrc, integrity } = options;
      const folder = folderOf(options);
      if (npmrc !== undefined && !existsSync(npmrc))
        throw new CliFailure('usage', `The file ${npmrc} does not exist.`, 'Name one with --npmrc, or leave it out.');
      if (integrity !== undefined && !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity))
        throw new CliFailure(
          'usage',
          '--integrity is not sha512- and 88 characters of base64.',
          'Copy it whole, as the vendor published it.',
        );
      const record = await installArtifact({
        artifacts: folder,
        spec,
        registry,
        npmrc: npmrc === undefined ? undefined : resolve(npmrc),
        integrity,
        searchPath: process.env['PATH'] ?? '',
        now: Date.now(),
        progress: (text) => progress(options, visible(text)),
      }).catch((error: unknown) => {
        if (isFault(error, 'artifact_spec') || isFault(error, 'artifact_registry'))
          throw new CliFailure('usage', `${error.message}.`);
        throw error;
      });
      show(options, { ...record, folder }, (it) => `${describe(folder, it)}\n\n${next(it)}`);
    });

  placed(artifacts, 'list', 'List what is installed', 'remit artifact list --json').action(
    async (options: FolderOptions) => {
      const { listArtifacts } = await import('../../sandbox/artifact-record.ts');
      const folder = folderOf(options);
      show(options, { folder, artifacts: listArtifacts(folder) }, ({ artifacts: rows }) =>
        table(
          ['PACKAGE', 'VERSION', 'DIGEST', 'PACKAGES', 'SCRIPTS NOT RUN', 'INSTALLED'],
          rows.map((one) => [
            one.name,
            one.version,
            one.digest,
            one.packages,
            one.scriptsNotRun.length,
            one.installedAt,
          ]),
          `Nothing is installed in ${visible(folder)}.`,
        ),
      );
    },
  );

  placed(
    artifacts,
    'show <name@version>',
    'Show what is installed, and what belongs into the record of its server',
    'remit artifact show @modelcontextprotocol/server-memory@2026.8.31',
  ).action(async (spec: string, options: FolderOptions) => {
    const folder = folderOf(options);
    const record = await installed(folder, spec);
    show(options, { ...record, folder }, (it) => describe(folder, it));
  });

  placed(
    artifacts,
    'verify [name@version]',
    'Compare what lies there with what was installed; without a name, everything',
    'remit artifact verify',
  ).action(async (spec: string | undefined, options: FolderOptions) => {
    const { listArtifacts, verifyArtifact } = await import('../../sandbox/artifact-record.ts');
    const folder = folderOf(options);
    const records = spec === undefined ? listArtifacts(folder) : [await installed(folder, spec)];
    const checked: Array<{ name: string; version: string; problems: readonly string[] }> = [];
    for (const record of records) {
      const { name, version } = record;
      checked.push({ name, version, problems: await verifyArtifact(folder, record) });
    }
    const whole = checked.every(({ problems }) => problems.length === 0);
    show(options, { folder, ok: whole, artifacts: checked }, ({ artifacts: rows }) =>
      rows.length === 0
        ? `Nothing is installed in ${visible(folder)}.`
        : rows
            .flatMap(({ name, version, problems }) => [
              `${problems.length === 0 ? green('ok  ') : red('FAIL')}  ${name}@${version}`,
              ...problems.map((problem) => `      ${visible(problem)}`),
            ])
            .join('\n'),
    );
    if (!whole) process.exitCode = 1;
  });
}

const placed = (parent: Command, usage: string, summary: string, example: string): Command =>
  local(parent, usage, summary, example)
    .option('--dir <folder>', 'the folder of artifacts (default: the one of the configuration)')
    .option('--config <path>', 'configuration file that names it (default: ./remit.yaml if it exists)');

/** Absolute. */
function folderOf({ dir, config }: FolderOptions): string {
  if (dir !== undefined) return resolve(dir);
  const loaded = loadConfig(config ?? (existsSync('remit.yaml') ? 'remit.yaml' : null), process.env);
  if (!loaded.ok) throw configFailure(loaded.error);
  return loaded.value.artifacts.folder;
}

async function installed(folder: string, spec: string): Promise<ArtifactRecord> {
  const [{ readSpec }, { readArtifact }] = await Promise.all([
    import('../../sandbox/artifact-install.ts'),
    import('../../sandbox/artifact-record.ts'),
  ]);
  let named: ReturnType<typeof readSpec>;
  try {
    named = readSpec(spec);
  } catch (error) {
    if (isFault(error)) throw new CliFailure('usage', `${error.message}.`);
    throw error;
  }
  const record = readArtifact(folder, named.name, named.version);
  if (record === null)
    throw new CliFailure(
      'failed',
      `${spec} is not installed in ${folder}.`,
      `\`remit artifact list\` shows what is; \`remit artifact install ${spec}\` installs it.`,
    );
  return record;
}

const describe = (folder: string, it: ArtifactRecord): string =>
  fields([
    ['package', it.name],
    ['version', it.version],
    ['digest', it.digest],
    ['archive', it.integrity],
    ['programs', it.programs.join(', ')],
    ['packages', it.packages],
    ['bill of materials', `${artifactFolder(folder, it.name, it.version)}/bom.json`],
    ['scripts not run', it.scriptsNotRun.length === 0 ? 'none came with it' : it.scriptsNotRun.join(', ')],
    ['installed', it.installedAt],
  ]);

/** Said once, after an installation. */
const next = ({ name, version, digest, programs, scriptsNotRun }: ArtifactRecord): string =>
  [
    'In the record of its server:',
    `  source: { vendor: …, package: '${name}', version: '${version}', digest: '${digest}' }`,
    `  upstream: { transport: stdio, command: [node, '${name}${programs.length === 1 ? '' : `/bin/${programs[0]}`}'] }`,
    ...(scriptsNotRun.length === 0
      ? []
      : ['What needs one of those scripts (a compiled part, a program that is fetched) does not work here.']),
    'A server that runs already goes on with the version in its record until somebody else enables another.',
  ].join('\n');
