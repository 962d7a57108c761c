/** The broker of credentials as a process has it: keys, places and Vault of the configuration, the book of the records, connections that follow. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AdminContext } from '../admin/context.ts';
import { credentialBook } from '../gateway/credential-book.ts';
import type { StateView } from '../gateway/gateway.ts';
import { credentialIn, secretsOf } from '../inventory/credentials.ts';
import { Server, type Lock } from '../inventory/records.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { type HeldValues, credentialBroker } from '../upstream/broker/broker.ts';
import { keyRing } from '../upstream/broker/sealed.ts';
import { vaultSource } from '../upstream/broker/vault.ts';
import { placesSource, resolveSecret } from '../upstream/secrets.ts';
import type { AccountTarget } from '../upstream/oauth/account.ts';
import type { ServerAccounts } from '../upstream/oauth/accounts.ts';
import { NOTHING_HELD, type Revoked, sumOf } from '../upstream/oauth/revocation.ts';
import type { SecretReference, UpstreamPool } from '../upstream/target.ts';
import type { Config } from './config.ts';
import { loadOrCreateSecret } from './secret-file.ts';

export type Broker = ReturnType<typeof credentialBroker>;

/** @throws Fault `sealing_key`, `secret_…`, with the key of the configuration that is meant */
export async function openBroker(
  config: Pick<Config, 'secrets' | 'dataDir' | 'organisation'>,
  parts: {
    readonly view: Pick<StateView, 'get' | 'records' | 'revision'>;
    readonly clock: Clock;
    readonly onFault: (reference: string, code: string) => void;
  },
): Promise<Broker> {
  const { secrets, dataDir, organisation: org } = config;
  const { view, clock, onFault } = parts;
  // The operator's own configuration may name any variable and any file; records may not.
  const ofOperator = (reference: SecretReference): Promise<string> => resolveSecret(reference, process.env);
  const named = await Promise.all(
    secrets.keys.map(async (one, at) => keyIn(await ofOperator(one), `secrets.keys.${at}`)),
  );
  const generated = join(dataDir, 'keys', 'credentials.key');
  // What was sealed before keys were named still opens.
  const own = named.length === 0 || existsSync(generated) ? [loadOrCreateSecret(generated, 32)] : [];
  const fingerprintKey =
    secrets.fingerprintKey === undefined
      ? loadOrCreateSecret(join(dataDir, 'keys', 'fingerprints.key'), 32)
      : keyIn(await ofOperator(secrets.fingerprintKey), 'secrets.fingerprintKey');
  const { vault } = secrets;
  return credentialBroker({
    org,
    clock,
    ring: keyRing([...named, ...own]),
    fingerprintKey,
    book: credentialBook(org, view, clock),
    places: placesSource(process.env, secrets),
    vault:
      vault === undefined
        ? null
        : vaultSource({
            address: new URL(vault.address).origin,
            namespace: vault.namespace ?? null,
            folders: vault.folders,
            login: vault.login,
            rule: { allowedNetworks: vault.allowedNetworks, requireHttps: true },
            clock,
            resolveSecret: ofOperator,
          }),
    lookMs: secrets.lookMs,
    onFault,
  });
}

/** Kinds of records that say which server may have which value. */
const ABOUT_CREDENTIALS: ReadonlySet<string> = new Set(['credential', 'sealed_secret', 'lock', 'server']);

/** Connections follow what the records and the places say of their credentials. Returns how to stop. */
export function recheckOn(
  view: Pick<StateView, 'onApplied'>,
  pool: Pick<UpstreamPool, 'recheck'>,
  broker: Pick<Broker, 'onChange'>,
): () => void {
  const stops = [
    view.onApplied((changed) => {
      if (changed.some(({ kind }) => ABOUT_CREDENTIALS.has(kind))) pool.recheck();
    }),
    broker.onChange(() => pool.recheck()),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

/** Everything that must be recognised in content: what was given to us to present, and what we got by it. */
export const heldBy = (given: HeldValues, got: HeldValues): HeldValues => ({
  revision: () => given.revision() + got.revision(),
  values: () => [...given.values(), ...got.values()],
});

/** What the admin plane does with values and with tokens that were got by them. */
export function credentialsOf(
  org: string,
  view: Pick<StateView, 'records'>,
  broker: Pick<Broker, 'vault'>,
  accounts: Pick<ServerAccounts, 'revoke'>,
): AdminContext['credentials'] {
  return {
    ...broker.vault,
    async revoke(credential) {
      const users = [...view.records('server', org)].filter(({ body }) => {
        const server = Server.safeParse(body);
        return (
          server.success && secretsOf(server.data.upstream).some(({ secret }) => credentialIn(secret) === credential)
        );
      });
      return sumOf(await Promise.all(users.map(({ id }) => accounts.revoke(id))));
    },
  };
}

/** What a lock takes back at the upstreams that offer it (NH-06); accounts that people consented to only where nothing brings the subject back by itself. */
export async function giveBack(
  { subject: { kind, value }, until }: Lock,
  parts: {
    readonly org: string;
    readonly view: Pick<StateView, 'get' | 'records'>;
    readonly credentials: Pick<AdminContext['credentials'], 'revoke'>;
    readonly accounts: Pick<ServerAccounts, 'revoke' | 'revokePerson'>;
  },
): Promise<Revoked> {
  const { org, view, credentials, accounts } = parts;
  if (kind === 'credential') return credentials.revoke(value);
  if (kind === 'user') return until === null ? accounts.revokePerson(value) : NOTHING_HELD;
  if (kind === 'agent' && until === null) {
    // Of agents that act alone; what one holds for people is theirs, and ends with their tokens.
    const own = [...view.records('agent', org)].filter(({ body }) => body['clientId'] === value);
    return sumOf(await Promise.all(own.map(({ id }) => accounts.revokePerson(`agent/${id}`))));
  }
  if (kind !== 'server') return NOTHING_HELD;
  const server = until === null ? Server.safeParse(view.get('server', org, value)?.body).data : undefined;
  return accounts.revoke(value, server && accountTarget(server));
}

export function accountTarget({ upstream }: Server): AccountTarget | undefined {
  return upstream.transport === 'stdio' || upstream.auth === undefined
    ? undefined
    : { ...upstream, auth: upstream.auth };
}

/** 64 hexadecimal digits, or at least 32 bytes in base64 of either alphabet: what `openssl rand` prints. */
function keyIn(text: string, where: string): Uint8Array {
  const trimmed = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Buffer.from(trimmed, 'hex');
  const bytes = /^[A-Za-z0-9+/_-]{43,}={0,2}$/.test(trimmed) ? Buffer.from(trimmed, 'base64') : Buffer.alloc(0);
  if (bytes.length < 32)
    throw new Fault(
      'sealing_key',
      `${where} is no key: write 32 random bytes as base64 or hex, for example by: openssl rand -base64 32`,
    );
  return bytes;
}
