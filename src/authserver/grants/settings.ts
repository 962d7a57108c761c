/**
 * Settings of the grants beyond the authorization code: `authserver.grants`. Who may act without a browser, and for whom. Every list is
 * empty by default, and then the grant gives nothing to anybody. Does not touch the network. RFC 6749 4.4, 7523, 8693.
 */
import { z } from 'zod';
import { organisationsOf, subjectClaim } from '../federation/settings.ts';
import type { IdentityProvider as SignInProvider } from '../federation/settings.ts';

/** Signatures only: with a shared secret, whoever verifies could also sign. */
const ALGORITHMS = ['ES256', 'ES384', 'PS256', 'RS256', 'EdDSA'] as const;

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** https, or plain http on this machine. Kept as written: `iss` is compared byte by byte. */
const issuerUrl = z
  .string()
  .max(500)
  .refine((text) => {
    const url = URL.parse(text);
    if (url === null || url.username !== '' || url.search !== '' || text.includes('#')) return false;
    return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname));
  }, 'must be the issuer URL as it stands in `iss`: https, without query or fragment');

const resourceUrl = z.url({ protocol: /^https?$/ }).max(2_000);
const scope = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,200}$/, 'must be a scope: printable, without spaces');
const scopes = z.array(scope).min(1).max(200);
const clientId = z.string().min(1).max(512);
const claimName = z.string().min(1).max(200);

/** Which resource, and at most which of its scopes. */
const Allowance = z.strictObject({ resource: resourceUrl, scopes });

/** A client that acts alone (client credentials). It must be pre-registered with that grant and authenticate. */
const AgentAllowance = z.strictObject({
  client: clientId,
  may: z.array(Allowance).min(1).max(200),
});

/** What both kinds of issuer have. */
const issuerMembers = {
  issuer: issuerUrl,
  /** Where its keys are. Left out: read from its metadata, which must name this issuer. */
  jwksUri: z
    .url({ protocol: /^https?$/ })
    .max(500)
    .optional(),
  algorithms: z.array(z.enum(ALGORITHMS)).min(1).default(['ES256', 'RS256', 'PS256', 'EdDSA']),
  /** Networks in CIDR form that may be dialled for its keys although not public. A loopback issuer needs no entry. */
  allowedNetworks: z.array(z.string().max(64)).max(16).default([]),
  /** The organisation that its assertions are of: the claim `org` of the token. */
  organisation: z.string().min(1).max(63).default('default'),
  clockSkewSeconds: z.number().int().min(0).max(60).default(10),
};

/** An enterprise identity provider whose ID-JAGs count (enterprise-managed authorization). */
const IdentityProvider = z.strictObject({
  /** The id of the same provider for sign-in: the account is `<id>|<sub>`, whichever way somebody comes. */
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'use lower-case letters, digits, dash; at most 63'),
  ...issuerMembers,
  /** For a provider that serves many companies under one issuer: only assertions with this claim are of this organisation. */
  tenant: z.strictObject({ claim: claimName.default('tenant'), value: z.string().min(1).max(200) }).optional(),
  /** What `aud_tenant` must be where the provider sends it. Default: the organisation. */
  audienceTenant: z.string().min(1).max(200).optional(),
  /** Which claim is the subject at the provider: the same as for sign-in. Never a mail address: those are given to the next person. */
  subjectClaim: claimName
    .default('sub')
    .refine(
      (name) => !/mail|upn|preferred_username/i.test(name),
      'must be a claim that is never given to somebody else; a mail address or a user name is',
    ),
  maxLifetimeSeconds: z.number().int().min(30).max(300).default(300),
  /** Refuse an assertion with scopes that the request did not ask for (only when the request has `scope`). */
  scopesWithinRequest: z.boolean().default(true),
  /** Accept our issuer with or without a slash at its end in `aud`. */
  unsafeIgnoreTrailingSlash: z.boolean().default(false),
  /** Accept an assertion more than once until it expires: whoever copies one can use it as well. */
  unsafeAcceptAgain: z.boolean().default(false),
  /** Accept assertions by clients that do not authenticate: whoever knows the client id and an assertion gets the token. */
  unsafePublicClients: z.boolean().default(false),
  /** Accept assertions that name no resource; the request does then. */
  unsafeResourceFromRequest: z.boolean().default(false),
});
export type IdentityProvider = z.output<typeof IdentityProvider>;

/** `equals`, or for the subject a prefix. A prefix ends where a name ends, so that `team-a` does not admit `team-ab`. */
const SubjectCondition = z.union([
  z.strictObject({ equals: z.string().min(1).max(512) }),
  z.strictObject({
    startsWith: z.string().min(3).max(512).regex(/[:/]$/, 'must end with : or / so that no longer name begins with it'),
  }),
]);

/** Which workload is which agent. Nothing of the assertion is copied into the token. */
const WorkloadRule = z.strictObject({
  subject: SubjectCondition,
  /** Further claims that must be exactly this; a list of names leads into nested objects. */
  claims: z
    .array(
      z.strictObject({
        claim: z.union([claimName, z.array(claimName).min(1).max(5)]),
        equals: z.union([z.string().max(512), z.boolean(), z.number().int()]),
      }),
    )
    .max(20)
    .default([]),
  /** The client id of the token: the agent that the gateways know. */
  principal: z.string().regex(/^[\w.:/-]{1,200}$/, 'use letters, digits, and . _ : / -'),
  may: z.array(Allowance).min(1).max(200),
});

/** A platform that says which workload is asking: Kubernetes, SPIFFE, an OpenID Connect issuer of a cloud or a build service. */
const WorkloadIssuer = z.strictObject({
  ...issuerMembers,
  /** What `aud` may be. Default: our issuer and nothing else. */
  audiences: z.array(z.string().min(1).max(500)).min(1).max(10).optional(),
  /**
   * `once`: every assertion has a `jti` and counts once. `until_expiry`: for platforms that hand out one token for a while (Kubernetes);
   * it must be short-lived, and our token ends with it.
   */
  reuse: z.enum(['once', 'until_expiry']).default('once'),
  maxLifetimeSeconds: z.number().int().min(30).max(3_600).default(3_600),
  rules: z.array(WorkloadRule).min(1).max(500),
});
export type WorkloadIssuer = z.output<typeof WorkloadIssuer>;
export type WorkloadRule = z.output<typeof WorkloadRule>;

/** One agent hands a part of its task to another (RFC 8693). */
const ExchangeRule = z.strictObject({
  /** Who exchanges, and acts from then on. */
  client: clientId,
  /** Whose tokens it may exchange. */
  from: z.array(clientId).min(1).max(100),
  /** For which resources, and at most which scopes. At the resource of the subject token never more than that token has. */
  to: z.array(Allowance).min(1).max(200),
});

export const GrantSettings = z
  .strictObject({
    clientCredentials: z.array(AgentAllowance).max(1_000).default([]),
    assertionIssuers: z
      .strictObject({
        identityProviders: z.array(IdentityProvider).max(64).default([]),
        workloads: z.array(WorkloadIssuer).max(64).default([]),
      })
      .prefault({}),
    tokenExchange: z
      .strictObject({
        /** How often a task may be handed on. */
        maxDepth: z.number().int().min(1).max(6).default(2),
        rules: z.array(ExchangeRule).max(500).default([]),
      })
      .prefault({}),
    /** Accept the token endpoint besides the issuer as audience of a client's assertion (RFC 7523 before its revision). */
    unsafeTokenEndpointAudience: z.boolean().default(false),
  })
  .superRefine(({ clientCredentials, assertionIssuers: { identityProviders, workloads } }, context) => {
    const problem = (path: (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path, message });
    const twice = <T>(list: readonly T[], same: (one: T, other: T) => boolean): number =>
      list.findIndex((one, at) => list.findIndex((other) => same(one, other)) !== at);
    const agent = twice(clientCredentials, (one, other) => one.client === other.client);
    if (agent >= 0) problem(['clientCredentials', agent, 'client'], 'is used twice');
    for (const [at, provider] of identityProviders.entries()) {
      const path = ['assertionIssuers', 'identityProviders', at];
      // One issuer, two meanings: what says who a person is must never be read as saying what a program is.
      if (workloads.some(({ issuer }) => issuer === provider.issuer))
        problem([...path, 'issuer'], 'is also a workload issuer; one issuer is one or the other');
      const others = identityProviders.filter((other) => other !== provider && other.issuer === provider.issuer);
      const apart = others.every(
        ({ tenant }) =>
          tenant && provider.tenant && tenant.claim === provider.tenant.claim && tenant.value !== provider.tenant.value,
      );
      if (!apart)
        problem([...path, 'tenant'], 'providers with one issuer need the same tenant claim and different values');
      const namesake = identityProviders.find(({ id }) => id === provider.id);
      if (namesake !== provider) problem([...path, 'id'], 'is used twice');
    }
    const workload = twice(workloads, (one, other) => one.issuer === other.issuer);
    if (workload >= 0)
      problem(['assertionIssuers', 'workloads', workload, 'issuer'], 'is used twice; put the rules together');
  })
  .prefault({});
export type GrantSettings = z.output<typeof GrantSettings>;

/** What the grants demand of the rest of the configuration. Paths from its root. */
export function grantProblems(config: {
  readonly grants: GrantSettings;
  readonly preregisteredClients: readonly { readonly clientId: string; readonly grantTypes: readonly string[] }[];
  readonly identityProviders: readonly SignInProvider[];
}): readonly { readonly path: (string | number)[]; readonly message: string }[] {
  const { clientCredentials, assertionIssuers, tokenExchange } = config.grants;
  const mayUse = (client: string, grant: string): boolean =>
    config.preregisteredClients.some(({ clientId, grantTypes }) => clientId === client && grantTypes.includes(grant));
  const problems: { path: (string | number)[]; message: string }[] = [];
  for (const [at, { client }] of clientCredentials.entries()) {
    if (!mayUse(client, 'client_credentials'))
      problems.push({
        path: ['grants', 'clientCredentials', at, 'client'],
        message: 'must be one of preregisteredClients with the grant type client_credentials',
      });
  }
  const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange';
  for (const [at, { client }] of tokenExchange.rules.entries()) {
    if (!mayUse(client, exchangeGrant))
      problems.push({
        path: ['grants', 'tokenExchange', 'rules', at, 'client'],
        message: `must be one of preregisteredClients with the grant type ${exchangeGrant}`,
      });
  }
  for (const [at, { id, issuer, organisation, subjectClaim: claim }] of assertionIssuers.identityProviders.entries()) {
    // One id, one account: two providers under it would speak for each other's people.
    const signIn = config.identityProviders.find((provider) => provider.id === id);
    const problem = (member: string, message: string): void =>
      void problems.push({ path: ['grants', 'assertionIssuers', 'identityProviders', at, member], message });
    if (signIn?.protocol === 'oidc') {
      if (signIn.issuer !== issuer)
        problem('issuer', `must be the issuer of the provider ${id} for sign-in, or the id must be another`);
      // Two names of one person: what ends the one would leave the other.
      if (signIn.profile === 'entra' && signIn.tenants !== undefined)
        problem('id', `must be another: the accounts of the provider ${id} carry the name of their tenant`);
      else if (subjectClaim(signIn) !== claim)
        problem('subjectClaim', `must be ${subjectClaim(signIn)}, as for the sign-in of the provider ${id}`);
    }
    // The same account, of one organisation by sign-in and of another by assertion.
    if (signIn !== undefined && !organisationsOf(signIn).includes(organisation))
      problem('organisation', `must be an organisation of the provider ${id} for sign-in`);
  }
  for (const [at, { rules }] of assertionIssuers.workloads.entries()) {
    for (const [rule, { principal }] of rules.entries()) {
      if (config.preregisteredClients.some(({ clientId }) => clientId === principal))
        problems.push({
          path: ['grants', 'assertionIssuers', 'workloads', at, 'rules', rule, 'principal'],
          message: 'is the id of a registered client; an agent comes in one way',
        });
    }
  }
  return problems;
}

/** Every check that these settings relax, by its key: for the warning at the start. */
export function relaxedGrants({ assertionIssuers, unsafeTokenEndpointAudience }: GrantSettings): readonly string[] {
  const ofProviders = assertionIssuers.identityProviders.flatMap((provider) =>
    Object.entries(provider)
      .filter(([key, value]) => key.startsWith('unsafe') && value === true)
      .map(([key]) => `grants.assertionIssuers.identityProviders.${provider.id}.${key}`),
  );
  return [...(unsafeTokenEndpointAudience ? ['grants.unsafeTokenEndpointAudience'] : []), ...ofProviders];
}
