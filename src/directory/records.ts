/**
 * Organisations, people, groups, and what says who belongs to them: mappings of issuers, provisioning connections, contact with them.
 * Roles are Remit's. They come from a person's record and from the groups it is in; from a token's claims only where a mapping says so,
 * and never for a person whom a directory provisions (a token would outlive the removal from a group).
 */
import { z } from 'zod';

/** `member` gives nothing by itself: what a member may do are the grants they or their groups have. */
export const ROLES = [
  'member',
  'developer',
  'operator',
  'approver',
  'security_reviewer',
  'auditor',
  'administrator',
] as const;
export type Role = (typeof ROLES)[number];
const Roles = z.array(z.enum(ROLES));

/** What becomes of a client that nobody has registered, at its first call with a good token. */
export const NEW_AGENTS = ['refuse', 'pending', 'active'] as const;

export const Organisation = z.strictObject({
  title: z.string().min(1).max(200),
  /** Issuers whose tokens may speak for people of this organisation. */
  issuers: z.array(z.url()).min(1),
  /** Left out: `pending`, so that somebody looks at every new agent once. */
  newAgents: z.enum(NEW_AGENTS).exactOptional(),
});
export type Organisation = z.infer<typeof Organisation>;

/** One issuer's name for somebody. */
export const Identity = z.strictObject({ issuer: z.url(), subject: z.string().min(1).max(255) });
export type Identity = z.infer<typeof Identity>;

/** What a provisioning connection (SCIM) said of a person or a group. `profile` holds what decisions do not read. */
export const Provisioned = z.strictObject({
  /** Id of the connection. Nobody but it changes the record. */
  connection: z.string().min(1).max(100),
  userName: z.string().min(1).max(500).exactOptional(),
  externalId: z.string().min(1).max(500).exactOptional(),
  profile: z.record(z.string(), z.json()).exactOptional(),
});
export type Provisioned = z.infer<typeof Provisioned>;

export const Person = z.strictObject({
  issuer: z.url(),
  subject: z.string().min(1).max(255),
  name: z.string().min(1).max(200),
  email: z.email().exactOptional(),
  state: z.enum(['active', 'inactive']),
  /** Given to this person alone; those of the groups come on top. */
  roles: Roles,
  /** The same person under other issuers. Two people under one identity are nobody. */
  also: z.array(Identity).max(8).exactOptional(),
  /** Ids of groups. */
  groups: z.array(z.string().min(1).max(100)).max(5_000).exactOptional(),
  provisioned: Provisioned.exactOptional(),
  /** For the day when sign-in is broken: every use raises an alert (ID-07). */
  breakGlass: z.literal(true).exactOptional(),
});
export type Person = z.infer<typeof Person>;

/** The unique key of a person: one issuer's subject is one person. */
export const personKey = (issuer: string, subject: string): string => `${issuer} ${subject}`;

export const Group = z.strictObject({
  name: z.string().min(1).max(300),
  /** What its members may be. Given here by an administrator; a provisioning connection cannot write it. */
  roles: Roles,
  provisioned: Provisioned.exactOptional(),
});
export type Group = z.infer<typeof Group>;

/**
 * How tokens of one issuer are read for this organisation. Record id: any; at most one per issuer counts (two: the issuer is not trusted).
 * Without a mapping an issuer may speak only for people who have a record, and brings no roles.
 */
export const Mapping = z.strictObject({
  issuer: z.url(),
  /** The claim that says whose tenant a token is of, and the value that is ours. Needed wherever an issuer serves several. */
  tenant: z.strictObject({ claim: z.string().min(1).max(200), value: z.string().min(1).max(500) }).exactOptional(),
  /** A good token of somebody without a record: refused, or made a person of this organisation (without a role of their own). */
  newcomers: z.enum(['refuse', 'create']),
  /** Roles by claim: one member of the claim equals the value. Not for people whom a directory provisions. */
  rules: z
    .array(
      z.strictObject({ claim: z.string().min(1).max(200), value: z.string().min(1).max(500), roles: Roles.min(1) }),
    )
    .max(500),
});
export type Mapping = z.infer<typeof Mapping>;

/** A bearer token of a connection, as a hash. The token itself was shown once. */
export const ConnectionToken = z.strictObject({
  id: z.string().min(1).max(100),
  /** SHA-256, hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.number().int(),
  /** ms since the epoch. There is none without an end. */
  expiresAt: z.number().int(),
  by: z.string().min(1),
});

/** An identity provider that provisions people and groups over SCIM 2.0. */
export const ScimConnection = z.strictObject({
  title: z.string().min(1).max(200),
  state: z.enum(['active', 'disabled']),
  /**
   * Under which identities the people of this connection sign in; the first is the person's own, the others go to `also`.
   * `subject` is a template over `{externalId}`, `{userName}` and `{id}`; a person in whom a member is missing gets no such identity.
   */
  identities: z
    .array(
      z.strictObject({
        issuer: z.url(),
        subject: z
          .string()
          .min(1)
          .max(255)
          .regex(/\{(?:externalId|userName|id)\}/, 'must name {externalId}, {userName} or {id}'),
      }),
    )
    .min(1)
    .max(4),
  tokens: z.array(ConnectionToken).max(10),
  /** It may take over a person whom nobody provisions and who has one of its identities already. Left out: refused as a conflict. */
  adopt: z.literal(true).exactOptional(),
  /** Without a word for this long an alarm is raised; null: never. */
  silenceAfterMs: z.number().int().min(1_000).nullable(),
  /** Then its people are refused, too. */
  whenSilent: z.enum(['alarm', 'refuse']),
});
export type ScimConnection = z.infer<typeof ScimConnection>;

/**
 * A transmitter of security events (SSF: RFC 8417 tokens by RFC 8935 push or RFC 8936 poll).
 * Its issuer and addresses come from here and never from what it sends.
 */
export const EventStream = z.strictObject({
  title: z.string().min(1).max(200),
  state: z.enum(['active', 'disabled']),
  issuer: z.url(),
  jwksUri: z.url(),
  algorithms: z.array(z.enum(['RS256', 'PS256', 'ES256', 'EdDSA'])).min(1),
  /** What `aud` of its tokens must name. */
  audience: z.string().min(1).max(500),
  /** How subjects of `iss_sub` name our people; an issuer that is not here is nobody's. Left out: as they stand. */
  issuers: z.record(z.string(), z.url()).exactOptional(),
  /** How `sub` becomes the subject at that issuer of ours, for example `okta|{sub}`. Left out: as it stands. */
  subject: z
    .string()
    .max(200)
    .regex(/\{sub\}/, 'must name {sub}')
    .exactOptional(),
  /** An e-mail address may name a person, if exactly one has it. An address is no identity: it can be changed and given to somebody else. */
  unsafeEmailSubjects: z.literal(true).exactOptional(),
  /** Networks outside the public internet that its addresses may resolve to. */
  allowedNetworks: z.array(z.string().max(64)).max(16),
  delivery: z.discriminatedUnion('method', [
    /** It calls us, with one of these bearer tokens. */
    z.strictObject({ method: z.literal('push'), tokens: z.array(ConnectionToken).max(10) }),
    /** We call it. */
    z.strictObject({
      method: z.literal('poll'),
      url: z.url(),
      token: z.strictObject({ secret: z.string().regex(/^(env|file):.+$/, 'use env:NAME or file:PATH') }),
      everyMs: z.number().int().min(1_000).max(3_600_000),
    }),
  ]),
  silenceAfterMs: z.number().int().min(1_000).nullable(),
  whenSilent: z.enum(['alarm', 'refuse']),
});
export type EventStream = z.infer<typeof EventStream>;

/** When a source (a SCIM connection or an event stream) last spoke to us. Written at most once a minute. */
export const Contact = z.strictObject({ at: z.number().int() });
export type Contact = z.infer<typeof Contact>;
