/**
 * Credentials towards servers as governed identities: who answers for one, which servers may use it, how old it is, how it is revoked.
 * The value never stands here. A sealed one lies in a record of its own (kind `sealed_secret`, id `credential/version`); the fingerprint is
 * keyed, so that it shows the same secret in two places and nothing else (NH-08).
 */
import { z } from 'zod';
import { Governed, SERVER_STATES, ServerId } from './records.ts';

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
