/** Settings of security events: `authserver.events`. Checked with the rest of the configuration. */
import { z } from 'zod';

const SecretReference = z
  .string()
  .max(1_000)
  .regex(
    /^(env:[A-Za-z_][A-Za-z0-9_]*|file:\/.+)$/,
    'use env:NAME or file:/absolute/path; a literal secret is refused',
  );
const WebUrl = z.url({ protocol: /^https?$/ }).max(500);

const GatewayEvents = z.strictObject({
  /** `iss` of its events: the origin of its admin listener. */
  issuer: WebUrl,
  /** Whose people it may speak of. */
  organisation: z.string().min(1).max(100).default('default'),
  /** Its keys. Left out: `{issuer}/events/jwks`. Plain http for loopback and `allowedNetworks` only. */
  jwksUri: WebUrl.optional(),
  allowedNetworks: z.array(z.string().max(64)).max(16).default([]),
  /** The bearer token with which it may call `/events` here. Left out: it tells us nothing. */
  receive: z.strictObject({ token: SecretReference }).optional(),
  /** Where it is told of revoked grants, clients and sessions, and the token of that stream. Left out: it is told nothing. */
  send: z.strictObject({ url: WebUrl, token: SecretReference }).optional(),
});
export type GatewayEvents = z.infer<typeof GatewayEvents>;

export const EventSettings = z
  .strictObject({
    /** Gateways that tell us who left, and that are told what was revoked here. */
    gateways: z.array(GatewayEvents).max(64).default([]),
  })
  .prefault({});
