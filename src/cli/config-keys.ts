/**
 * Every key of `remit.yaml` in one table: its shape, its default, and what follows from changing it.
 * This table is the schema, the source of docs/guides/configuration.md, and what `remit init` writes.
 * A key that relaxes a check begins with `unsafe`; every such key in force is reported at start (`unsafeKeysInForce`).
 * Rules between keys are in config.ts. Long because it is one table.
 */
import { z } from 'zod';
import { NEW_AGENTS } from '../directory/records.ts';
import { PROFILES, TOKEN_TYPES } from '../identity/issuer-rule.ts';
import { SecretRef, ServerId } from '../inventory/records.ts';

/** Asymmetric algorithms only: a shared-key algorithm would let every verifier mint tokens. */
const SIGNATURE_ALGORITHMS = [
  'EdDSA',
  'Ed25519',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
] as const;

const Port = z.number().int().min(0).max(65535);
const BindAddress = z.string().min(1).max(255);
const HttpUrl = z.url({ protocol: /^https?$/ });
const HostHeader = z
  .string()
  .regex(
    /^[a-z0-9.-]+(:\d{1,5})?$|^\[[0-9a-f:]+\](:\d{1,5})?$/,
    'use host or host:port in lower case, without scheme or path',
  );
const Cidr = z.union([z.cidrv4(), z.cidrv6()]);
const ClaimName = z.string().min(1).max(200);
const claimNames = (max: number) => z.array(ClaimName).max(max);
/** Holds when the claim is there, is this text, or is not there. */
const ClaimTest = z.union([
  z.strictObject({ claim: ClaimName, equals: z.string().min(1).max(500).exactOptional() }),
  z.strictObject({ claim: ClaimName, absent: z.literal(true) }),
]);
const Audience = z.string().min(1).max(500);
const milliseconds = (min: number, max: number) => z.number().int().min(min).max(max);
const count = (min: number, max: number) => z.number().int().min(min).max(max);

/** Of the operator: any variable, any file. */
const SecretPlace = z.strictObject({
  secret: z
    .string()
    .max(1_024)
    .regex(/^(env|file):.+$/, 'use env:NAME or file:PATH; literal secrets are refused')
    .describe('Where the value is: env:NAME or file:PATH. A literal is refused.'),
});
const VaultPath = z
  .string()
  .max(500)
  .regex(
    /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9_.@=+-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9_.@=+-]+)*$/,
    'use a path without a slash at its ends',
  );

export const ConfigSchema = z.strictObject({
  dataDir: z
    .string()
    .min(1)
    .default('./remit-data')
    .describe(
      'Folder for databases, keys and the audit log; relative to the configuration file. Created with mode 0700. Losing it loses the evidence.',
    ),
  node: ServerId.default('node-1').describe(
    'Name of this process in audit entries and logs. Two nodes with one name cannot be told apart in the log.',
  ),
  organisation: ServerId.default('default').describe(
    'The organisation this deployment serves; it is part of every MCP URL.',
  ),

  public: z
    .strictObject({
      host: BindAddress.default('127.0.0.1').describe(
        'Address the MCP listener binds to. Anything but a loopback address makes the gateway reachable from the network.',
      ),
      port: Port.default(8787).describe('Port of the MCP listener; 0 takes a free one.'),
      publicUrl: HttpUrl.optional().describe(
        'Origin that clients use, for example https://mcp.example.com. It is the audience of access tokens: changing it ends every session. Left out: http://host:port of the listener.',
      ),
      allowedHosts: z
        .array(HostHeader)
        .default([])
        .describe(
          'Further Host header values to accept besides the one of publicUrl. Others are refused (DNS rebinding).',
        ),
      allowedOrigins: z
        .array(HttpUrl)
        .default([])
        .describe('Browser origins that may call the MCP listener. Empty: requests with an Origin header are refused.'),
    })
    .prefault({})
    .describe('The listener for MCP clients.'),

  admin: z
    .strictObject({
      host: BindAddress.default('127.0.0.1').describe(
        'Address the admin listener binds to. Keep it off the networks that agents can reach.',
      ),
      port: Port.default(8788).describe(
        'Port of the admin listener; 0 takes a free one. Never the port of the MCP listener.',
      ),
      publicUrl: HttpUrl.optional().describe(
        'Origin that the console and the command line use. `{publicUrl}/api/v1` is the audience of admin tokens. Left out: http://host:port of the listener.',
      ),
      allowedHosts: z
        .array(HostHeader)
        .default([])
        .describe('Further Host header values to accept besides the one of publicUrl.'),
      clients: z
        .array(z.string().min(1).max(512))
        .default(['remit-cli'])
        .describe(
          'Client ids by which people use the admin API. Each becomes an active agent of every issuer at start, unless it has a record already.',
        ),
      pages: z
        .strictObject({
          clientId: z
            .string()
            .min(1)
            .max(512)
            .default('remit-console')
            .describe(
              'The public client (code flow, PKCE) by which people sign in to the pages in a browser. Register it at the issuer with the redirect address `{publicUrl}/session/callback`; the authorization server of Remit knows `remit-console` by itself.',
            ),
          issuer: HttpUrl.optional().describe(
            'The issuer where they sign in; one of `issuers`. Left out: the first of them.',
          ),
          scope: z
            .string()
            .regex(
              /^[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*$/,
              'use scopes with one space between them',
            )
            .max(1_000)
            .default('admin:read admin:write offline_access')
            .describe(
              'What is asked for. With `offline_access` a session outlives its access token, where the issuer gives refresh tokens.',
            ),
          idleSeconds: count(60, 86_400).default(1_800).describe('A session that nobody uses for so long is over.'),
          maxSeconds: count(300, 604_800)
            .default(28_800)
            .describe('A session is over after this long, however often it is used.'),
        })
        .prefault({})
        .describe('The pages for people on this listener: approvals, requests, later the console.'),
      signIn: z
        .strictObject({
          maxAgeSeconds: count(60, 2_592_000)
            .default(43_200)
            .describe(
              'A person who signed in longer ago signs in again before the admin API answers, to read as well.',
            ),
          sensitiveMaxAgeSeconds: count(60, 2_592_000)
            .default(900)
            .describe(
              'The same for what has consequences: roles, groups, mappings, agents, policies in force, locks lifted, tools approved, servers enabled. `remit` asks the person again by itself.',
            ),
          acrValues: z
            .array(
              z
                .string()
                .regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,255}$/, 'use printable characters without spaces and quotes'),
            )
            .max(8)
            .default(['http://schemas.openid.net/pape/policies/2007/06/multi-factor'])
            .describe(
              'What the authorization server is asked for where a second factor is needed (`acr_values`). A token whose `acr` is one of them has it; so has one whose `amr` names `mfa` or methods of two kinds (RFC 8176).',
            ),
          unsafeNoSecondFactor: z
            .boolean()
            .default(false)
            .describe('true: a password alone is enough to administer. For evaluation; `remit up` sets it.'),
          unsafeIssuedAtAsSignIn: z
            .boolean()
            .default(false)
            .describe(
              'true: a token without `auth_time` counts as signed in when it was issued. For an issuer that does not say when people signed in; a refreshed token then looks recent for ever.',
            ),
          unsafeBreakGlassWithoutSecondFactor: z
            .boolean()
            .default(false)
            .describe('true: break-glass accounts need no second factor. Every use raises an alarm all the same.'),
        })
        .prefault({})
        .describe('How somebody must have signed in to use the admin API (ID-07).'),
    })
    .prefault({})
    .describe('The listener for the admin API, health checks and the console.'),

  store: z
    .strictObject({
      kind: z
        .enum(['sqlite', 'postgres'])
        .default('sqlite')
        .describe(
          '`sqlite`: one node, files in dataDir. `postgres`: several nodes. Moving from one to the other is not automatic.',
        ),
      url: SecretRef.optional().describe(
        'Where PostgreSQL is, as a secret reference (`secret: env:NAME` or `secret: file:PATH`). Needed for `postgres`, refused for `sqlite`.',
      ),
    })
    .prefault({})
    .describe('Where governance state and the audit ledger live.'),

  issuers: z
    .array(
      z.strictObject({
        issuer: HttpUrl.describe(
          'Issuer identifier, compared byte for byte with `iss`. https, or http on a loopback address.',
        ),
        profile: z
          .enum(PROFILES)
          .exactOptional()
          .describe(
            'The product it runs: presets for the keys below down to `maxActDepth`; a key that is set wins over its preset. Left out: `remit`. See the guide to authorization servers.',
          ),
        jwksUri: HttpUrl.exactOptional().describe(
          'Where its signing keys are. Left out: read from the metadata of the issuer (RFC 8414).',
        ),
        algorithms: z
          .array(z.enum(SIGNATURE_ALGORITHMS))
          .min(1)
          .exactOptional()
          .describe(
            'Signature algorithms accepted from this issuer. A token signed otherwise is refused. Left out: as the profile says (`remit`: ES256, RS256, PS256, EdDSA).',
          ),
        tokenTypes: z
          .array(z.enum(TOKEN_TYPES))
          .min(1)
          .exactOptional()
          .describe(
            'Values of the header `typ` that are accepted; `none` is a token without one. Other types than `at+jwt` need `accessTokenWhen`: they could be ID tokens.',
          ),
        accessTokenWhen: z
          .array(ClaimTest)
          .max(10)
          .exactOptional()
          .describe(
            'Tests of claims, one of which must hold for a token that is not `at+jwt`: `{ claim: name }` or `{ claim: name, equals: text }`. Name what ID tokens never have.',
          ),
        audiences: z
          .array(
            z.strictObject({
              resource: HttpUrl.describe(
                'URL of the server as clients use it, for example https://mcp.example.com/mcp/acme/notes.',
              ),
              audience: Audience.describe('What `aud` must be in a token for it, for example api://notes.'),
            }),
          )
          .max(1_000)
          .exactOptional()
          .describe(
            'Resources whose tokens carry another audience than their URL. All others: exactly the URL. No audience may stand for two resources.',
          ),
        toleratedAudiences: z
          .array(Audience)
          .max(20)
          .exactOptional()
          .describe(
            'What may stand beside our audience in an `aud` list: services of the issuer itself. `{issuer}` stands for the issuer. With any other company a token is refused.',
          ),
        unsafeSharedAudiences: z
          .boolean()
          .default(false)
          .describe('true: several resources may have one audience. A token for one of them then opens all of them.'),
        unsafeMultipleAudiences: z
          .boolean()
          .default(false)
          .describe(
            'true: an `aud` list may hold anything beside ours. Such a token also works elsewhere, and whoever receives it there can use it here.',
          ),
        claims: z
          .strictObject({
            clientId: claimNames(5)
              .min(1)
              .exactOptional()
              .describe('Claims with the client id; where several are present they must agree.'),
            subject: claimNames(5)
              .min(1)
              .exactOptional()
              .describe(
                'Claims with the id of the person, the preferred one first. It must never be given to somebody else.',
              ),
            scopes: claimNames(5)
              .exactOptional()
              .describe(
                'Claims with scopes: a text, or a list where the claim is not `scope`. The first one that is present counts.',
              ),
            tokenId: claimNames(5)
              .min(1)
              .exactOptional()
              .describe('Claims with the id of the token, by which it can be locked.'),
            grantId: claimNames(5)
              .exactOptional()
              .describe('Claims with the id of the grant, by which all its tokens can be voided.'),
            sessionId: claimNames(5)
              .exactOptional()
              .describe('Claims with the id of the sign-in, by which all its tokens can be voided.'),
            attributes: claimNames(50)
              .exactOptional()
              .describe(
                'Claims that mappings and policies may read (texts and lists of at most 500 texts of 256 characters). A list that is not whole is left out.',
              ),
          })
          .exactOptional()
          .describe(
            'Names of claims. A dot leads into an object: `realm_access.roles`. Left out: as the profile says.',
          ),
        aloneWhen: z
          .array(ClaimTest)
          .max(10)
          .exactOptional()
          .describe(
            'Tests of claims, one of which says that a client acts by itself: also `{ claim: name, absent: true }`; `{client}` in `equals` is the client id. A subject that is the client always says so.',
          ),
        maxLifetimeSeconds: z
          .strictObject({
            user: count(30, 86_400).exactOptional().describe('Replaces tokens.maxLifetimeUserSeconds for this issuer.'),
            machine: count(30, 86_400)
              .exactOptional()
              .describe('Replaces tokens.maxLifetimeMachineSeconds for this issuer.'),
          })
          .exactOptional()
          .describe('Longest lifetimes accepted from this issuer.'),
        maxActDepth: count(0, 8).exactOptional().describe('Replaces tokens.maxActDepth for this issuer.'),
        introspection: z
          .strictObject({
            url: HttpUrl.describe('The introspection endpoint.'),
            clientId: z.string().min(1).max(512).describe('The client id by which we ask there.'),
            clientSecret: SecretRef.describe('Our secret there, as a secret reference.'),
            authentication: z
              .enum(['basic', 'post'])
              .exactOptional()
              .describe('How the secret is sent: in the Authorization header (left out) or in the form.'),
            cacheSeconds: count(1, 60)
              .exactOptional()
              .describe('How long a good answer counts. Longer: a revoked token works for longer. Left out: 5.'),
          })
          .exactOptional()
          .describe(
            'Where opaque tokens are asked about (RFC 7662). One issuer at most has it: an opaque token does not say whose it is.',
          ),
        allowedNetworks: z
          .array(Cidr)
          .default([])
          .describe(
            'Networks outside the public internet where this issuer may be reached, as CIDR. Empty: public addresses only.',
          ),
      }),
    )
    .default([])
    .describe(
      'Authorization servers whose access tokens are accepted. Empty: nobody can sign in (`remit up` adds its own).',
    ),

  firstAdministrator: z
    .strictObject({
      issuer: HttpUrl.describe('Issuer of the first administrator.'),
      subject: z.string().min(1).max(255).describe('Their `sub` at that issuer.'),
      name: z.string().min(1).max(200).describe('Their name, for people to read.'),
    })
    .optional()
    .describe(
      'Written to the directory at start if, and only if, the directory holds no person yet. Left out: the first administrator comes in with the claim code in dataDir (docs/guides/identity.md).',
    ),

  events: z
    .strictObject({
      authorizationServers: z
        .array(
          z.strictObject({
            issuer: HttpUrl.describe('Its issuer: it is told of people, sessions and grants under this name.'),
            url: HttpUrl.describe(
              'Where it takes security events (RFC 8935), for example https://login.example.com/events/gateway.',
            ),
            token: SecretRef.describe(
              'The bearer token it gave us, as a secret reference (`secret: env:NAME` or `secret: file:PATH`).',
            ),
            allowedNetworks: z
              .array(Cidr)
              .default([])
              .describe(
                'Networks outside the public internet where it may be reached, as CIDR. Empty: public addresses only.',
              ),
          }),
        )
        .max(16)
        .default([])
        .describe(
          'Authorization servers that are told when somebody leaves, so that their sessions and refresh grants end. Empty: they learn of it in no way; this gateway refuses all the same.',
        ),
    })
    .prefault({})
    .describe('Security events that this gateway sends. Those it receives: `remit events`.'),

  tokens: z
    .strictObject({
      maxLifetimeUserSeconds: count(30, 86_400)
        .default(900)
        .describe(
          'Longest lifetime (exp - iat) of a token that acts for a person. Longer ones are refused, whoever issued them.',
        ),
      maxLifetimeMachineSeconds: count(30, 86_400)
        .default(3600)
        .describe('The same for a token of a machine (subject equals client).'),
      maxActDepth: count(0, 8)
        .default(2)
        .describe('Longest chain of agents that act for one another in one token. A longer one is refused.'),
      proofWindowSeconds: count(10, 300)
        .default(300)
        .describe(
          'How far the time in a proof of possession (DPoP) may lie from ours. Longer: a stolen proof is good for longer at other nodes.',
        ),
      proofNonces: z
        .boolean()
        .default(false)
        .describe(
          'true: a proof of possession must carry a nonce of the node it is sent to, so it is worth nothing at another one. Costs a client one more request every few minutes.',
        ),
      clockToleranceSeconds: count(0, 60).default(5).describe('How far the clocks of issuer and gateway may differ.'),
    })
    .prefault({})
    .describe('What is accepted as an access token beyond its signature.'),

  limits: z
    .strictObject({
      maxBodyBytes: count(1024, 67_108_864)
        .default(4_194_304)
        .describe('Largest request body. Larger ones are refused before they are read to the end.'),
      maxConcurrentCalls: count(1, 100_000)
        .default(512)
        .describe('Calls in flight on this node. One more is refused with 503 and Retry-After.'),
      maxConcurrentCallsPerPerson: count(1, 10_000).default(32).describe('Calls in flight for one person.'),
      maxOpenStreams: count(1, 100_000)
        .default(2_000)
        .describe(
          'Long streams open on this node: subscriptions and listening sessions. One more is refused with 503; one person has at most 50.',
        ),
      callsPerMinutePerPerson: count(1, 1_000_000)
        .default(600)
        .describe('Calls one person may start per minute, over all servers.'),
      callsPerMinutePerAgent: count(1, 10_000_000)
        .default(1_000_000)
        .describe('Calls one agent (client) may start per minute, for all people together.'),
      callsPerMinutePerOrganisation: count(1, 10_000_000)
        .default(1_000_000)
        .describe('Calls of the whole organisation per minute on this node.'),
      callsPerMinutePerServer: count(1, 10_000_000)
        .default(1_000_000)
        .describe('Calls to one server per minute. `limits.callsPerMinute` of its record wins.'),
      callsPerMinutePerTool: count(1, 10_000_000)
        .default(1_000_000)
        .describe('Calls of one tool per minute. For a tool that matters, give it a budget in its review.'),
      maxConcurrentCallsPerAgent: count(1, 100_000)
        .default(512)
        .describe('Calls in flight of one agent (client), for all people together.'),
      maxConcurrentCallsPerServer: count(1, 100_000)
        .default(64)
        .describe(
          'Calls in flight at one server, so that a slow one cannot take all places. `limits.concurrent` of its record wins.',
        ),
      repeatsPerMinute: count(1, 1_000_000)
        .default(20)
        .describe(
          'Exactly the same call (person, agent, tool, arguments) in a minute, of tools that do more than read. One more is a loop and is stopped until it pauses for a minute.',
        ),
      readRepeatsPerMinute: count(1, 1_000_000).default(120).describe('The same, of what only reads: agents poll.'),
      refusalsPerMinutePerCaller: count(1, 1_000_000)
        .default(300)
        .describe(
          'Refusals of one caller that are logged one by one in a minute. Further ones are answered with 429 and counted.',
        ),
      callTimeoutMs: milliseconds(100, 3_600_000)
        .default(60_000)
        .describe('Longest time one call may take. A shorter timeoutMs of the server wins.'),
      taskTimeoutMs: milliseconds(1_000, 86_400_000)
        .default(3_600_000)
        .describe('Longest time one task may run. The time it waits for a person is not counted.'),
      maxResultBytes: count(1024, 268_435_456)
        .default(4_194_304)
        .describe('Largest answer of a server. A larger one is withheld from the caller.'),
    })
    .prefault({})
    .describe('What one caller, and all of them, may use of this node.'),

  freshness: z
    .strictObject({
      limitMs: milliseconds(200, 60_000)
        .default(2000)
        .describe(
          'A node that cannot confirm its view of the state within this time refuses every call. Longer: revocations on other nodes may take longer.',
        ),
    })
    .prefault({})
    .describe('How old the view of governance state may be.'),

  audit: z
    .strictObject({
      checkpointEveryMs: milliseconds(100, 10_000)
        .default(10_000)
        .describe(
          'How often the log is sealed with a signed checkpoint. Longer: more of the tail is unsealed after a crash.',
        ),
      publishDir: z
        .string()
        .min(1)
        .optional()
        .describe(
          'Folder to publish tiles and checkpoints to, for witnesses and mirrors; relative to the configuration file. Left out: `audit-log` in dataDir. What is published there is also what a rolled-back database is noticed by.',
        ),
    })
    .prefault({})
    .describe('The audit log.'),

  catalogue: z
    .strictObject({
      refreshMs: milliseconds(1000, 86_400_000)
        .default(60_000)
        .describe(
          'How often the tool definitions of every server are fetched again. Longer: a changed tool is noticed later.',
        ),
    })
    .prefault({})
    .describe('Watching what servers offer.'),

  sandbox: z
    .strictObject({
      backend: z
        .enum(['bubblewrap', 'container'])
        .default('bubblewrap')
        .describe(
          'What isolates them. Where it does not work no local server starts; the other one is never tried. `container` needs `sandbox.container`.',
        ),
      container: z
        .strictObject({
          engine: z
            .enum(['podman', 'docker'])
            .default('podman')
            .describe(
              'The engine, by its command line, on this machine. A gateway that may use Docker is as good as root.',
            ),
          image: z
            .string()
            .max(500)
            .regex(
              /^(?:[a-z0-9][a-z0-9._:/-]{0,400}@)?sha256:[0-9a-f]{64}$/,
              'write NAME@sha256: and 64 hexadecimal digits; a tag is not enough',
            )
            .describe(
              'The image of servers whose record names none, by digest; with /bin/sh, and with glibc for servers that are npm packages. It must be on this machine: the gateway fetches none.',
            ),
          runtime: z
            .string()
            .regex(
              /^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$|^\/[A-Za-z0-9._/-]{1,200}$/,
              'use the name or the absolute path of an OCI runtime',
            )
            .optional()
            .describe('The OCI runtime, for example runc. Left out: the one of the engine.'),
        })
        .optional()
        .describe('How containers are started.'),
      uid: count(1, 4_294_967_294)
        .optional()
        .describe(
          'User id for local servers when the gateway runs as root. Left out: one without any file of its own. Never 0.',
        ),
      unsafeHostNetwork: z
        .boolean()
        .default(false)
        .describe(
          'Lets servers start whose record says `network: host`: they reach whatever this host reaches, and no egress rule holds. Off: such a server does not start.',
        ),
    })
    .prefault({})
    .describe('How local (stdio) servers are isolated.'),

  artifacts: z
    .strictObject({
      folder: z
        .string()
        .min(1)
        .optional()
        .describe(
          'Folder in which `remit artifact install` puts packages of local servers, and from which they run; relative to the configuration file. Left out: `remit-artifacts` beside dataDir. Not in dataDir, of which a server never sees anything. Only operators write there.',
        ),
      advisories: z
        .string()
        .min(1)
        .optional()
        .describe(
          'Known vulnerabilities in the OSV format: a JSON file with a list, or a folder of JSON files; relative to the configuration file. A version that is named there is not enabled. Read at the start and again when it changes. If it cannot be read at the start, no local server is enabled. Left out: nothing is compared.',
        ),
    })
    .prefault({})
    .describe('The packages of local servers, and what is known of them.'),

  secrets: z
    .strictObject({
      envPrefix: z
        .string()
        .regex(/^[A-Z][A-Z0-9_]*_$/, 'use upper-case letters, digits and underscores, ending with an underscore')
        .default('REMIT_SECRET_')
        .describe(
          'Environment variables that server records may name begin with this. Others are refused: a server record could send them anywhere.',
        ),
      folders: z
        .array(z.string().min(1))
        .default([])
        .describe('Folders whose files server records may name as secrets, as absolute paths. Empty: none.'),
      keys: z
        .array(SecretPlace)
        .max(10)
        .default([])
        .describe(
          'Keys under which values of credentials are sealed, 32 random bytes each (base64 or hex). The first seals, all open. Empty: one made at the first start, in dataDir/keys. Nodes that share a database need the same keys. To change one: put the new one first, restart, `remit credential reseal`, take the old one out. Losing a key loses what lies under it.',
        ),
      fingerprintKey: SecretPlace.optional().describe(
        'Key of the fingerprints that show one secret in two places, 32 random bytes. Left out: one made at the first start, in dataDir/keys. Nodes that share a database need the same one; changing it makes older fingerprints worthless.',
      ),
      lookMs: milliseconds(1_000, 3_600_000)
        .default(30_000)
        .describe(
          'How often files and Vault are asked again for values in use. Longer: a value that was rotated there is used later.',
        ),
      vault: z
        .strictObject({
          address: HttpUrl.describe('Origin of the Vault server, for example https://vault.example.com:8200.'),
          namespace: z
            .string()
            .regex(/^[A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*\/?$/, 'use names with slashes between them')
            .optional()
            .describe('Namespace of Vault Enterprise, HCP or OpenBao.'),
          allowedNetworks: z
            .array(Cidr)
            .default([])
            .describe(
              'Networks outside the public internet in which Vault may stand. Empty: public addresses and https only.',
            ),
          folders: z
            .array(
              z.strictObject({
                mount: VaultPath.describe('Mount of a KV engine of version 2.'),
                path: z
                  .union([VaultPath, z.literal('')])
                  .default('')
                  .describe('Folder in it. Empty: all of it.'),
              }),
            )
            .min(1)
            .describe(
              'Where references `vault:MOUNT/PATH#FIELD` may lead. Whoever registers servers can use everything below.',
            ),
          login: z
            .discriminatedUnion('method', [
              z.strictObject({ method: z.literal('token'), token: SecretPlace }),
              z.strictObject({
                method: z.literal('approle'),
                mount: VaultPath.default('approle'),
                roleId: z.string().min(1).max(200),
                secretId: SecretPlace,
              }),
              z.strictObject({
                method: z.literal('jwt'),
                mount: VaultPath.default('kubernetes'),
                role: z.string().min(1).max(200),
                jwt: SecretPlace,
              }),
            ])
            .describe(
              'How the gateway logs in: `token`, `approle` (`roleId`, `secretId`) or `jwt` (`role`, `jwt`: a token of the platform, as Kubernetes mounts it).',
            ),
        })
        .optional()
        .describe('A HashiCorp Vault (or OpenBao) that references may lead to.'),
    })
    .prefault({})
    .describe('What server records may name as secrets, and how values are kept.'),

  governance: z
    .strictObject({
      newAgents: z
        .enum(NEW_AGENTS)
        .default('pending')
        .describe(
          'What a new installation does with a client at its first call with a good token: `pending` (listed, refused until somebody reviews it), `active`, or `refuse` (not even listed). Later: the organisation record.',
        ),
      unsafeAuthorMayActivate: z
        .boolean()
        .default(false)
        .describe(
          'true: who wrote a policy may also activate it. That removes the second pair of eyes; for a team of one only.',
        ),
      ownerlessAfterHours: count(0, 8_760)
        .default(24)
        .describe(
          'How long a server, agent or credential keeps working once nobody of its owners is active, in hours; then it is suspended. 0: at once. Until then an administrator may name another owner.',
        ),
      unusedGrantsEndAfterDays: count(0, 3_650)
        .default(0)
        .describe(
          'Grants that nobody has used for so many days are suspended, as the log proves their last use. 0: never; `remit review unused` lists them all the same.',
        ),
      unsafeOnePersonMayDecide: z
        .boolean()
        .default(false)
        .describe(
          'true: who changed a server, tool, credential or grant may also let it through. Nobody else looks at what gives access; for a team of one only.',
        ),
    })
    .prefault({})
    .describe('Who has to agree with whom.'),

  notifications: z
    .strictObject({
      smtp: z
        .strictObject({
          host: z.string().min(1).describe('Mail server that takes our messages.'),
          port: count(1, 65_535)
            .default(587)
            .describe('Port of the mail server: 587 for STARTTLS, 465 for TLS from the first byte.'),
          tls: z
            .boolean()
            .default(false)
            .describe('true: TLS from the first byte (port 465). false: STARTTLS is demanded before anything is said.'),
          unsafePlain: z
            .boolean()
            .default(false)
            .describe('true: messages and the password travel readable. Only to a mail server on this machine.'),
          from: z.string().min(3).max(320).describe('Sender, for example `Remit <remit@example.com>`.'),
          user: z.string().min(1).optional().describe('User name at the mail server. Left out: no sign-in.'),
          password: SecretRef.optional().describe(
            'Password, as a reference: `{secret: "env:NAME"}` or `{secret: "file:PATH"}`.',
          ),
        })
        .optional()
        .describe('How e-mail leaves. Left out: targets of the kind e-mail tell nobody.'),
    })
    .prefault({})
    .describe('How people are told; who is told is a record (`remit notify`).'),

  approvals: z
    .strictObject({
      pendingMinutes: count(1, 10_080)
        .default(60)
        .describe('How long a held call waits for people to decide. Then it is over, and never runs.'),
      validMinutes: count(1, 1_440)
        .default(15)
        .describe('How long an approved call may wait to be made. Then the approval is void.'),
      deniedHoldMinutes: count(0, 1_440)
        .default(60)
        .describe('How long the same call is refused, without asking anybody, after somebody denied it.'),
      openPerCaller: count(1, 1_000)
        .default(10)
        .describe(
          'Calls of one person through one agent that may wait for people at a time. More are refused until some are decided.',
        ),
      holdSeconds: count(0, 300)
        .default(45)
        .describe(
          'How long one round of a modern client waits for the decision before it is asked to come back. Most clients give up after 60 s. 0: it does not wait.',
        ),
      blockSeconds: count(0, 300)
        .default(50)
        .describe(
          'How long a client that can only wait is kept waiting before it is told to call again. 0: it is told at once.',
        ),
    })
    .prefault({})
    .describe('Calls that wait for a person to agree.'),

  informationFlow: z
    .strictObject({
      windowMinutes: count(1, 1_440)
        .default(60)
        .describe(
          'How long what a person does with an agent counts as labelled after the last output that strangers may have written, or that held private data; in whatever session. The session in which it came stays labelled until it ends.',
        ),
    })
    .prefault({})
    .describe('What reaches an agent and what it may then send out (decision 0012).'),

  log: z
    .strictObject({
      level: z
        .enum(['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'])
        .default('info')
        .describe(
          'Least severity written to the process log. Arguments, results and tokens are never in it, at any level.',
        ),
    })
    .prefault({})
    .describe('The process log (JSON lines on standard error); the audit log is separate and has no level.'),

  telemetry: z
    .strictObject({
      prometheus: z
        .boolean()
        .default(false)
        .describe('true: /api/v1/metrics on the admin listener, for people who may read the status.'),
      otlpUrl: HttpUrl.optional().describe('OTLP/HTTP endpoint for traces. Left out: no tracing and no cost.'),
    })
    .prefault({})
    .describe('Metrics and traces.'),

  unsafePlainHttp: z
    .boolean()
    .default(false)
    .describe(
      'true: publicUrl and issuers may be http on addresses that are not loopback. Tokens then travel readable; only behind a proxy that speaks TLS.',
    ),

  authserver: z
    .record(z.string(), z.json())
    .optional()
    .describe('Settings of `remit authserver`, checked by that process. The gateway does not read them.'),
});

export type ConfigValues = z.infer<typeof ConfigSchema>;
