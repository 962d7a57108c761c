/** `remit authserver preview`: what a sign-in with given claims would become. Asks nobody, changes nothing, verifies no signature. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { parseAuthServerConfig } from '../../authserver/config.ts';
import { previewSignIn } from '../../authserver/federation/mapping.ts';
import type { Preview } from '../../authserver/federation/mapping.ts';
import { isFault } from '../../lib/fault.ts';
import type { IdentityProvider } from '../../authserver/federation/settings.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { JsonObject } from '../../lib/json.ts';
import { local, readNamedFile, type LocalOptions } from '../command.ts';
import { loadConfig } from '../config.ts';
import { CliFailure, configFailure } from '../failure.ts';
import { fields, red, show } from '../output.ts';

interface PreviewOptions extends LocalOptions {
  readonly config?: string;
  readonly provider: string;
  readonly claims: string;
}

export function previewCommand(authserver: Command): void {
  local(
    authserver,
    'preview',
    'Show what a sign-in with these claims would become',
    'remit authserver preview --provider corp --claims claims.json',
  )
    .option('--config <path>', 'configuration file (default: ./remit.yaml)')
    .requiredOption('--provider <id>', 'id of the identity provider in the configuration')
    .requiredOption(
      '--claims <file>',
      'claims of an ID token, or attributes of an assertion with sub, as a JSON object',
    )
    .action((_options: object, command: Command) => {
      // `remit authserver` knows --json and --config too, and takes them for its own.
      const options = command.optsWithGlobals<PreviewOptions>();
      const providers = providersOf(options.config);
      const preview = previewSignIn(providers, options.provider, claimsOf(options.claims));
      show(options, preview, describe);
      if (preview.outcome === 'refused') process.exitCode = 1;
    });
}

function providersOf(path: string | undefined): readonly IdentityProvider[] {
  const file = path ?? (existsSync('remit.yaml') ? 'remit.yaml' : null);
  if (file === null)
    throw new CliFailure(
      'usage',
      'There is no remit.yaml here.',
      'Name the configuration: --config /etc/remit/remit.yaml',
    );
  const loaded = loadConfig(file, process.env);
  if (!loaded.ok) throw configFailure(loaded.error);
  if (loaded.value.authserver === undefined)
    throw new CliFailure(
      'usage',
      `${file} has no section authserver.`,
      'Name the configuration of the authorization server.',
    );
  try {
    return parseAuthServerConfig(loaded.value.authserver).identityProviders;
  } catch (error) {
    if (isFault(error, 'config_invalid')) throw new CliFailure('usage', error.message);
    throw error;
  }
}

function claimsOf(path: string): JsonObject {
  const parsed = parseStrictJson(Buffer.from(readNamedFile(path)), { maxBytes: 1_048_576, maxDepth: 16 });
  if (!parsed.ok || !isJsonObject(parsed.value))
    throw new CliFailure(
      'usage',
      `${path} does not hold one JSON object.`,
      'Give the claims as they stand in the token.',
    );
  return parsed.value;
}

function describe(preview: Preview): string {
  if (preview.outcome === 'refused') return `${red('refused')}: ${preview.reason}`;
  const forwarded = Object.entries(preview.forwarded).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return fields([
    ['account', preview.account],
    ['organisation', preview.organisation],
    ['name', preview.name],
    ['email', preview.email],
    ['forwarded', forwarded.length === 0 ? 'nothing' : forwarded.join(' ')],
    ['not known', preview.unknown.length === 0 ? 'nothing' : preview.unknown.join(' ')],
    ['session at the provider', preview.upstreamSession],
  ]);
}
