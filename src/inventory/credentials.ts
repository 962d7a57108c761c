/**
 * Credentials towards servers as governed identities: who answers for one, which servers may use it, how old it is, how it is revoked.
 * The value never stands here. A sealed one lies in a record of its own (kind `sealed_secret`, id `credential/version`); the fingerprint is
 * keyed, so that it shows the same secret in two places and nothing else (NH-08).
 */
import { z } from 'zod';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import { mayMeet } from './environments.ts';
import { Governed, SERVER_STATES, ServerId } from './records.ts';
import type { Environment, Server } from './records.ts';

export const CREDENTIAL_STATES = SERVER_STATES;

/** One value a credential has had. The last one is in use; the one before it may still be accepted by the server while it is rotated. */
export const CredentialVersion = z.strictObject({
  id: z.string().min(1).max(100),
  /** HMAC-SHA-256 of the value under a key of the installation, hex. */
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  at: z.number().int(),
  by: z.string().min(1).max(200),
  /** ms since the epoch; null: it does not say. Such a credential never comes into production (NH-03). */
  expiresAt: z.number().int().nullable(),
});

export const Credential = z.strictObject({
  ...Governed,
  state: z.enum(CREDENTIAL_STATES),
  /** Where the value is. */
  source: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('sealed') }),
    z.strictObject({
      kind: z.literal('reference'),
      reference: z
        .string()
        .max(1_024)
        .regex(/^(env|file|vault):.+$/, 'use env:NAME, file:PATH or vault:MOUNT/PATH#FIELD'),
    }),
  ]),
  /** Servers that may use it. More than one is sharing, and needs `sharing` (NH-08). */
  servers: z.array(ServerId).max(100),
  /** Why one secret serves several, and until when that is so. */
  sharing: z
    .strictObject({ reason: z.string().min(1).max(2_000), until: z.number().int(), by: z.string().min(1) })
    .exactOptional(),
  /** Longest age of a value, days. */
  maxAgeDays: z.number().int().min(1).max(3_650),
  /** Newest last. */
  versions: z.array(CredentialVersion).max(10),
});
export type Credential = z.infer<typeof Credential>;
export type KnownCredential = Credential & { readonly id: string; readonly revision: number };

export const CredentialId = ServerId;

/** Record kind `sealed_secret`, id `credential/version`. */
export const SealedSecret = z.strictObject({ jwe: z.string().min(1).max(140_000) });
export const sealedSecretId = (credential: string, version: string): string => `${credential}/${version}`;

const DAY_MS = 86_400_000;
/** Owners hear of an end so long before it. */
export const SOON_MS = 14 * DAY_MS;

/** The value in use; undefined: it has none yet. */
export const inUse = ({ versions }: Pick<Credential, 'versions'>) => versions.at(-1);

/** When its value is too old or ends, whichever comes first; null: it has none. ms since the epoch. */
export function endOf(credential: Pick<Credential, 'versions' | 'maxAgeDays'>): number | null {
  const version = inUse(credential);
  if (version === undefined) return null;
  const tooOldAt = version.at + credential.maxAgeDays * DAY_MS;
  return version.expiresAt === null ? tooOldAt : Math.min(tooOldAt, version.expiresAt);
}

export interface Reference {
  /** Dotted, from `upstream` down. */
  readonly field: string;
  readonly secret: string;
}

const REFERENCE = /^(?:env|file|vault|credential):/;

/** Every secret that a server record refers to, wherever it stands in `upstream`. */
export function secretsOf(upstream: Server['upstream']): readonly Reference[] {
  const found: Reference[] = [];
  const look = (value: unknown, field: string): void => {
    if (typeof value !== 'object' || value === null) return;
    const { secret } = value as { readonly secret?: unknown };
    // `auth.client.secret` holds a reference and is none itself.
    if (typeof secret === 'string' && REFERENCE.test(secret)) found.push({ field, secret });
    else for (const [name, inner] of Object.entries(value)) look(inner, `${field}.${name}`);
  };
  look(upstream, 'upstream');
  return found;
}

const CREDENTIAL = 'credential:';
/** Null: it refers to a place and not to a governed credential. */
export const credentialIn = (secret: string): string | null =>
  secret.startsWith(CREDENTIAL) ? secret.slice(CREDENTIAL.length) : null;

export interface NoUse {
  readonly code:
    | 'credential_unknown'
    | 'credential_not_enabled'
    | 'credential_not_for_server'
    | 'credential_environment'
    | 'credential_locked'
    | 'credential_empty'
    | 'credential_expired'
    | 'credential_too_old'
    | 'credential_no_expiry'
    | 'credential_ungoverned';
  /** For an operator; goes on from "the credential ID ". */
  readonly message: string;
}

/** Whether a server may have a credential at this moment, and until when that is so at the latest (NH-03, NH-07). Locks are given. */
export function useOf(
  credential: Credential | undefined,
  server: { readonly id: string; readonly environment: Environment },
  locked: boolean,
  now: number,
): Result<{ readonly version: string; readonly until: number }, NoUse> {
  const no = (code: NoUse['code'], message: string) => err({ code, message });
  if (credential === undefined) return no('credential_unknown', 'is not known');
  if (locked) return no('credential_locked', 'is locked');
  if (credential.state !== 'enabled') return no('credential_not_enabled', `is ${credential.state}, not enabled`);
  if (!credential.servers.includes(server.id))
    return no('credential_not_for_server', `does not name the server ${server.id}`);
  if (!mayMeet(credential.environment, server.environment))
    return no(
      'credential_environment',
      `is of ${credential.environment} and the server ${server.id} of ${server.environment}`,
    );
  const version = inUse(credential);
  const until = endOf(credential);
  if (version === undefined || until === null) return no('credential_empty', 'has no value');
  const short = wornOut(credential, now);
  return short === null ? ok({ version: version.id, until }) : err(short);
}

function wornOut(credential: Credential, now: number): NoUse | null {
  const version = inUse(credential);
  if (version === undefined) return null;
  if (version.expiresAt !== null && version.expiresAt <= now)
    return { code: 'credential_expired', message: `has expired on ${day(version.expiresAt)}` };
  if (version.at + credential.maxAgeDays * DAY_MS <= now)
    return { code: 'credential_too_old', message: `has a value older than ${credential.maxAgeDays} days` };
  if (version.expiresAt === null && credential.environment === 'production')
    return { code: 'credential_no_expiry', message: 'has a value without an end, which is not let into production' };
  return null;
}

export interface CredentialProblem {
  readonly code: NoUse['code'] | 'credential_server' | 'credential_shared' | 'credential_sharing_over';
  readonly field: string;
  readonly message: string;
}

/**
 * Everything that keeps a credential with a value from being enabled, all at once: environments (NH-07), age and expiry (NH-03), one secret
 * in several places (NH-08). What an identity must say of itself is the life cycle's (lifecycle.ts).
 */
export function problemsOf(
  credential: Credential & { readonly id: string },
  others: readonly KnownCredential[],
  serverOf: (id: string) => Server | undefined,
  now: number,
): CredentialProblem[] {
  const problems: CredentialProblem[] = [];
  if (inUse(credential) === undefined)
    problems.push({ code: 'credential_empty', field: 'versions', message: 'has no value yet; give it one first' });
  const worn = wornOut(credential, now);
  if (worn !== null)
    problems.push({ code: worn.code, field: 'versions', message: `${worn.message}; give it a new one that ends` });
  for (const [index, id] of credential.servers.entries()) {
    const server = serverOf(id);
    const field = `servers.${index}`;
    if (server === undefined || server.state === 'retired')
      problems.push({ code: 'credential_server', field, message: `names ${id}, which is no server that could use it` });
    else if (!mayMeet(credential.environment, server.environment))
      problems.push({
        code: 'credential_environment',
        field,
        message: `names ${id}, which is of ${server.environment}; the credential is of ${credential.environment}`,
      });
  }
  const { sharing } = credential;
  const excepted = sharing !== undefined && sharing.until > now;
  if (sharing !== undefined && !excepted)
    problems.push({
      code: 'credential_sharing_over',
      field: 'sharing.until',
      message: 'the exception for sharing is over',
    });
  if (!excepted) {
    for (const { id, servers } of sharersOf(credential, others))
      problems.push({
        code: 'credential_shared',
        field: id === credential.id ? 'servers' : 'versions',
        message:
          id === credential.id
            ? `is one secret for ${servers.length} servers; use one for each, or give a reason and an end in sharing`
            : `holds the same secret as the credential ${id}, which serves ${servers.join(', ')}; use one for each, or give a reason and an end in sharing`,
      });
  }
  return problems;
}

/** Credentials by which the secret of this one reaches more than one server; itself if it names several. */
export function sharersOf(
  credential: Credential & { readonly id: string },
  others: readonly KnownCredential[],
): ReadonlyArray<{ readonly id: string; readonly servers: readonly string[] }> {
  const fingerprint = inUse(credential)?.fingerprint;
  // The value before may still be accepted somewhere; one that is older is gone.
  const same = others.filter(
    ({ id, state, versions }) =>
      id !== credential.id &&
      state !== 'retired' &&
      versions.slice(-2).some((version) => version.fingerprint === fingerprint),
  );
  const elsewhere = same
    .filter(
      ({ servers }) =>
        servers.some((id) => !credential.servers.includes(id)) || new Set([...servers, ...credential.servers]).size > 1,
    )
    .map(({ id, servers }) => ({ id, servers }));
  return credential.servers.length > 1 ? [{ id: credential.id, servers: credential.servers }, ...elsewhere] : elsewhere;
}

/**
 * What is wrong between a server and the secrets it refers to, for whoever enables it (NH-07, NH-03): credentials that it may not have, and,
 * in production, places that nobody governs. A credential that is only not enabled yet is no mistake of the server.
 */
export function secretProblems(
  id: string,
  server: Server,
  credentialOf: (id: string) => Credential | undefined,
  now: number,
  /** Credentials whose value lies at places. */
  governed: readonly KnownCredential[] = [],
): CredentialProblem[] {
  return secretsOf(server.upstream).flatMap(({ field, secret }): CredentialProblem[] => {
    const named = credentialIn(secret);
    if (named === null) {
      // Else whoever knows the place goes around the servers, the environment and the end that the credential has.
      const owner = governed.find((one) => one.state !== 'retired' && liesAt(one, secret));
      if (owner !== undefined) {
        const message = `refers to the place of the credential ${owner.id}; refer to it as credential:${owner.id}`;
        return [{ code: 'credential_ungoverned', field, message }];
      }
      if (server.environment !== 'production' || OF_THE_PLATFORM.has(field)) return [];
      const message = `refers to ${secret}, whose age and end nobody knows; make it a credential and refer to it as credential:ID`;
      return [{ code: 'credential_ungoverned', field, message }];
    }
    const use = useOf(credentialOf(named), { id, environment: server.environment }, false, now);
    if (use.ok || use.error.code === 'credential_not_enabled') return [];
    return [{ code: use.error.code, field, message: `refers to the credential ${named}, which ${use.error.message}` }];
  });
}

const liesAt = ({ source }: Pick<Credential, 'source'>, reference: string): boolean =>
  source.kind === 'reference' && source.reference === reference;

/** Enabled servers that take the value of a credential from its place, past the credential (NH-07). */
export function aroundProblems(
  credential: Pick<Credential, 'source'>,
  servers: ReadonlyArray<Server & { readonly id: string }>,
): CredentialProblem[] {
  return servers
    .filter(
      ({ state, upstream }) => state === 'enabled' && secretsOf(upstream).some((one) => liesAt(credential, one.secret)),
    )
    .map(({ id }) => ({
      code: 'credential_ungoverned',
      field: 'source.reference',
      message: `is taken from its place by the server ${id}; that must refer to it as a credential first`,
    }));
}

/** Made and replaced by the platform every few minutes. */
const OF_THE_PLATFORM: ReadonlySet<string> = new Set(['upstream.auth.assertion']);

const day = (at: number): string => new Date(at).toISOString().slice(0, 10);
