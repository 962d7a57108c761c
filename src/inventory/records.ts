/**
 * Servers and locks as governed records.
 * A server is an identity: it has an owner, a purpose, an environment, data classes and a state; nothing is forwarded to one that is not `enabled`.
 */
import { z } from 'zod';
import { SLUG, SLUG_RULE } from '../lib/slug.ts';

export const ServerId = z.string().regex(SLUG, SLUG_RULE);

/**
 * A reference to a secret; the literal never stands in a record (NH-04). `credential:ID` is a governed credential, wherever its value lies;
 * the others are the places themselves: a variable, a file, `vault:MOUNT/PATH#FIELD`.
 */
export const SecretRef = z.strictObject({
  secret: z
    .string()
    .max(1_024)
    .regex(
      /^(env|file|vault|credential):.+$/,
      'use credential:ID, env:NAME, file:PATH or vault:MOUNT/PATH#FIELD; literal secrets are refused',
    ),
});
export type SecretRef = z.infer<typeof SecretRef>;

const Issuer = z.url({ protocol: /^https?$/ }).max(2_048);
const ClientId = z.string().min(1).max(2_048);

/** Who the gateway is at an authorization server, with something to prove it. */
const WithSecret = {
  id: ClientId,
  secret: SecretRef,
};
const ClientCredentials = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('client_secret_basic'), ...WithSecret }),
  z.strictObject({ method: z.literal('client_secret_post'), ...WithSecret }),
  z.strictObject({
    method: z.literal('private_key_jwt'),
    id: ClientId,
    /** PKCS #8 in PEM, or one private JWK. */
    key: SecretRef,
    algorithm: z.enum(['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA']).default('ES256'),
    keyId: z.string().min(1).max(200).exactOptional(),
  }),
]);

const ofEveryGrant = {
  /** Never more than these is asked for. Empty: what the server asks for. */
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/, 'must be one scope'))
    .max(64)
    .default([]),
  /** Only tokens bound to a key of the gateway (RFC 9449). */
  dpop: z.boolean().default(false),
  /** For servers of 2025-03-26 without metadata: takes the server's own origin for its authorization server. */
  unsafeOriginIsAuthorizationServer: z.boolean().default(false),
};

/**
 * How the gateway gets tokens for a server. What could be shown to a wrong authorization server is bound to its `issuer`:
 * a server that names another one gets nothing until its record says so.
 */
export const UpstreamAuth = z.discriminatedUnion('grant', [
  z.strictObject({
    grant: z.literal('client_credentials'),
    issuer: Issuer,
    client: ClientCredentials,
    ...ofEveryGrant,
  }),
  z.strictObject({
    grant: z.literal('workload_identity'),
    issuer: Issuer,
    /** A JWT of the platform; read anew for every token. */
    assertion: SecretRef,
    ...ofEveryGrant,
  }),
  z.strictObject({
    grant: z.literal('enterprise_managed'),
    issuer: Issuer,
    client: ClientCredentials,
    identityProvider: z.strictObject({
      issuer: Issuer,
      client: ClientCredentials,
      /** `caller`: the person who calls, by the token of the call, which must be of this identity provider. */
      subject: z.union([
        z.literal('caller'),
        z.strictObject({
          token: SecretRef,
          type: z.enum(['id_token', 'refresh_token', 'saml2']).default('id_token'),
        }),
      ]),
    }),
    ...ofEveryGrant,
  }),
  /** On behalf of the caller (RFC 8693), at the issuer of the caller's token and nowhere else. */
  z.strictObject({
    grant: z.literal('token_exchange'),
    issuer: Issuer,
    client: ClientCredentials,
    audience: z.string().min(1).max(2_048).exactOptional(),
    ...ofEveryGrant,
  }),
  /** One account for everybody, which an operator connects once; or one of each person. */
  z
    .strictObject({
      grant: z.literal('authorization_code'),
      issuer: Issuer.exactOptional(),
      per: z.enum(['server', 'person']).exactOptional(),
      client: z.discriminatedUnion('method', [
        ...ClientCredentials.options,
        z.strictObject({ method: z.literal('none'), id: ClientId }),
        /** Our metadata document (draft-ietf-oauth-client-id-metadata-document), whose address is the client id. */
        z.strictObject({
          method: z.literal('metadata_document'),
          url: z.url({ protocol: /^https$/ }).max(2_048),
        }),
        /** RFC 7591: a client of its own at whichever authorization server it is. */
        z.strictObject({ method: z.literal('register'), name: z.string().min(1).max(100).default('Remit') }),
      ]),
      ...ofEveryGrant,
    })
    .refine(({ issuer, client }) => issuer !== undefined || !('id' in client), {
      path: ['issuer'],
      message: 'a client that is registered at one authorization server needs its issuer',
    }),
]);
export type UpstreamAuth = z.infer<typeof UpstreamAuth>;

export const HttpUpstream = z.strictObject({
  transport: z.literal('http'),
  url: z.url({ protocol: /^https?$/ }),
  era: z.enum(['auto', 'modern', 'legacy']).default('auto'),
  /** Destinations outside the public internet that this server may resolve to, as CIDR. Empty: public addresses only, https only. */
  allowedNetworks: z.array(z.string()).default([]),
  headers: z.array(z.strictObject({ name: z.string().min(1), value: SecretRef })).default([]),
  auth: UpstreamAuth.exactOptional(),
  /** SHA-256 of the public keys (SubjectPublicKeyInfo) it may show, one of them is enough; left out: any that a public authority vouches for. */
  pins: z
    .array(z.string().regex(/^sha256:[0-9a-f]{64}$/, 'write sha256: and 64 hexadecimal digits'))
    .min(1)
    .max(8)
    .exactOptional(),
  /** What we show: certificate chain and key in PEM. */
  clientCertificate: z.strictObject({ certificate: SecretRef, key: SecretRef }).exactOptional(),
});

/** HTTP+SSE of 2024-11-05: a stream to read, and an address to post to that the stream names. Always legacy. */
export const SseUpstream = HttpUpstream.extend({
  transport: z.literal('sse'),
  era: z.literal('legacy').default('legacy'),
});

export const Mount = z.strictObject({
  from: z.string().min(1),
  to: z.string().regex(/^\//, 'must be an absolute path inside the sandbox'),
  mode: z.enum(['read', 'write']),
});

/**
 * One way out of a sandbox (EX-04). With `methods` or `pathPrefix` what is said on it is read, also inside TLS; without them a tunnel to this
 * host and port is open once its first bytes name the host.
 */
export const EgressRule = z.strictObject({
  scheme: z.enum(['https', 'http']).default('https'),
  host: z
    .string()
    .max(253)
    .regex(
      /^(?=.*[a-z])(?!localhost$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      'write one host name in lower case; no address, no wildcard, no port; localhost is the sandbox itself',
    ),
  /** Left out: 443 for https, 80 for http. */
  port: z.number().int().min(1).max(65_535).exactOptional(),
  methods: z
    .array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']))
    .min(1)
    .exactOptional(),
  pathPrefix: z
    .string()
    .max(1_000)
    .regex(/^\/[^\s?#\\]*$/, 'must be a path that begins with /')
    .exactOptional(),
});
export type EgressRule = z.infer<typeof EgressRule>;

export const StdioUpstream = z.strictObject({
  transport: z.literal('stdio'),
  /** The argument vector. There is no shell; the first element is an absolute path or `node`. */
  command: z.array(z.string()).min(1),
  era: z.enum(['auto', 'modern', 'legacy']).default('auto'),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.union([z.string(), SecretRef])).default({}),
  mounts: z.array(Mount).default([]),
  /** `host`: everything that the gateway's host can reach; started only where the configuration says `sandbox.unsafeHostNetwork`. */
  network: z.enum(['none', 'host']).default('none'),
  /** Where it may connect to, by way of the gateway's proxy and no other; empty: nowhere. */
  egress: z.array(EgressRule).max(64).default([]),
  /** Networks outside the public internet that `egress` may resolve to, as CIDR. */
  egressNetworks: z.array(z.string()).max(64).default([]),
  /** The image it runs in, by digest; only where the isolation backend is a container engine. Left out: the one of the configuration. */
  image: z
    .string()
    .max(500)
    .regex(/^[a-z0-9][a-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}$/, 'write NAME@sha256: and 64 hexadecimal digits')
    .exactOptional(),
  limits: z
    .strictObject({
      memoryMb: z.number().int().min(64).max(65536).default(512),
      processes: z.number().int().min(1).max(4096).default(64),
      cpuSeconds: z.number().int().min(1).max(864000).default(3600),
      /** Bytes on stdout for one message, and on stderr for one minute. */
      outputBytes: z.number().int().min(1024).default(4_194_304),
      openFiles: z.number().int().min(16).max(65536).default(256),
      /** Of one processor, where the host has cgroups for it. */
      cpuPercent: z.number().int().min(5).max(6400).default(100),
    })
    .prefault({}),
});

/** What a server may ask of the person and the model behind a call (PH-08). */
export const ASKS = ['elicitation.form', 'elicitation.url', 'sampling', 'roots'] as const;
export type AskKind = (typeof ASKS)[number];
/** Extensions whose members pass between a server and its clients (PH-12). Tasks are not here: the gateway serves them itself. */
export const EXTENSIONS = ['io.modelcontextprotocol/ui'] as const;

export const DATA_CLASSES = ['public', 'internal', 'confidential', 'regulated'] as const;
export const SERVER_STATES = ['draft', 'in_review', 'enabled', 'suspended', 'retired'] as const;

export const ENVIRONMENTS = ['evaluation', 'development', 'staging', 'production'] as const;
export type Environment = (typeof ENVIRONMENTS)[number];
export const RISK_TIERS = ['low', 'medium', 'high', 'critical'] as const;

/** Who answers: the directory id of a person, or `group/` and the id of a group, of whom one active member is enough. */
export const Owner = z.string().min(1).max(200);

/**
 * What every non-human identity says of itself before it may be enabled (NH-01); lifecycle.ts knows which of it an enabled one needs.
 * Times are ms since the epoch.
 */
export const Governed = {
  title: z.string().min(1).max(200),
  owner: Owner,
  purpose: z.string().min(1).max(2_000),
  environment: z.enum(ENVIRONMENTS),
  riskTier: z.enum(RISK_TIERS).exactOptional(),
  /** How its access is taken away outside of Remit: where to go, whom to call. */
  revocation: z.string().min(1).max(2_000).exactOptional(),
  /** When somebody looks at it again; past it is a finding. */
  reviewBy: z.number().int().exactOptional(),
};

/** Who made it, and exactly which one it is: never a range, never `latest` (TD-08, NH-11). */
export const Source = z.strictObject({
  vendor: z.string().min(1).max(200),
  /** As the registry knows it; left out for what no registry has. */
  package: z.string().min(1).max(214).exactOptional(),
  version: z.string().regex(/^[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}$/, 'must be one exact version, such as 2.1.0'),
  /** Of what runs (stdio): of the files of the package as they are installed. */
  digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/, 'write sha256: and 64 hexadecimal digits')
    .exactOptional(),
  /** Where its bill of materials is. */
  sbom: z.string().min(1).max(2_048).exactOptional(),
});

/** Three switches, each on its own (AZ-14). They take away; none gives what a review has not. */
export const Switches = z.strictObject({
  /** Off: nothing is forwarded to it. */
  reachable: z.boolean().default(true),
  /** Off: items that touch production data are not there. */
  productionData: z.boolean().default(true),
  /** Off: only items of the class `read` are there. */
  writes: z.boolean().default(true),
});
export type Switches = z.infer<typeof Switches>;

export const Server = z.strictObject({
  ...Governed,
  source: Source.exactOptional(),
  switches: Switches.prefault({}),
  /** Who decides about held calls of this server: groups. Left out: everybody with the role `approver`. */
  approvers: z.array(z.string().min(1).max(100)).min(1).max(20).exactOptional(),
  dataClasses: z.array(z.enum(DATA_CLASSES)).min(1),
  state: z.enum(SERVER_STATES),
  /** Longest time one call may take, ms. */
  timeoutMs: z.number().int().min(100).max(3_600_000).default(30_000),
  upstream: z.discriminatedUnion('transport', [HttpUpstream, SseUpstream, StdioUpstream]),
  /** What it may ask in the middle of a call. Empty: nothing, and it is told so. */
  asks: z.array(z.enum(ASKS)).default([]),
  /** Hosts it may send people to (`elicitation.url`, CI-10): `name`, `name:port` or `*.name`. Left out: its own. */
  visits: z
    .array(
      z
        .string()
        .max(260)
        .regex(
          /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])(?::[1-9][0-9]{0,4})?$/,
          'write a host name in lower case, with *. before it for all below it, or :PORT behind it',
        ),
    )
    .max(32)
    .exactOptional(),
  extensions: z.array(z.enum(EXTENSIONS)).default([]),
  /** `person`: nobody shares a connection, and so no process, session or state of the server, with anybody else. */
  connections: z.enum(['shared', 'person']).default('shared'),
  /** `dpop`: only tokens that are bound to a key, with a proof of its possession for every request (AN-13). */
  tokens: z.enum(['bearer', 'dpop']).default('bearer'),
  /** Serves clients of 2024-11-05 over HTTP+SSE as well. */
  clientsOverSse: z.boolean().default(false),
  /** Instead of the configuration's limits for one server (RL-01, RL-04). */
  limits: z
    .strictObject({
      /** Of everybody together. */
      callsPerMinute: z.number().int().min(1).max(10_000_000).exactOptional(),
      /** Calls in flight at it: what a slow server can take of a node's places. */
      concurrent: z.number().int().min(1).max(100_000).exactOptional(),
    })
    .exactOptional(),
});
export type Server = z.infer<typeof Server>;
export type HttpUpstream = z.infer<typeof HttpUpstream>;
export type SseUpstream = z.infer<typeof SseUpstream>;
export type StdioUpstream = z.infer<typeof StdioUpstream>;

/**
 * What a lock can fall on. `value` is: organisation = its id; user = person id; agent = client id; server = server id;
 * tool = `server/key` of a tool or another item; credential = its id; token = the token's `jti`.
 */
export const LOCK_KINDS = ['organisation', 'user', 'agent', 'server', 'tool', 'credential', 'token'] as const;
/** A key may hold a whole URI. */
export const LockValue = z.string().min(1).max(2200);
export const Lock = z.strictObject({
  subject: z.strictObject({ kind: z.enum(LOCK_KINDS), value: LockValue }),
  reason: z.string().min(1).max(2000),
  by: z.string().min(1),
  /** ms since the epoch; null = until lifted. */
  until: z.number().int().nullable(),
});
export type Lock = z.infer<typeof Lock>;
export type LockSubject = Lock['subject'];
