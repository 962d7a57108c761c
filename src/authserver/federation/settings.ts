/**
 * The section `identityProviders` of the authorization server's configuration: who signs people in, and of which
 * organisation they are then. Strict; every refusal names the key and the remedy. Does not read secrets or dial.
 */
import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { PROFILE, PROFILES, isSharedIssuer } from './profiles.ts';

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** Also the first part of an account's name (`<id>|<subject>`): changing it makes everybody somebody else. */
const ProviderId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'use lower-case letters, digits and dashes; at most 40');

export const OrganisationId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'use lower-case letters, digits and dashes; at most 63');

/** https, or plain http on this machine only. */
const webUrl = z
  .string()
  .max(500)
  .superRefine((text, context) => {
    const url = URL.parse(text);
    const message =
      url === null || text.includes('#') || url.username !== '' || url.password !== ''
        ? 'must be an absolute URL without user information or fragment'
        : url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname))
          ? 'must be https; plain http is accepted for loopback addresses only'
          : null;
    if (message !== null) context.addIssue({ code: 'custom', message });
  });

const SecretReference = z.strictObject({
  secret: z
    .string()
    .max(500)
    .regex(/^(env|file):.+$/, 'use env:NAME or file:/absolute/path; a secret never stands in this file'),
});

const claimName = z.string().min(1).max(200);

/** What our own tokens say by these names is ours to say. */
const OWN_CLAIMS: ReadonlySet<string> = new Set(
  'iss sub aud exp iat nbf jti client_id scope act may_act cnf org grant_id sid auth_time acr amr authorization_details'.split(
    ' ',
  ),
);
const forwardable = claimName.refine(
  (name) => !OWN_CLAIMS.has(name) && name !== '__proto__',
  'is a claim that our tokens make themselves; it cannot be forwarded',
);

const common = {
  id: ProviderId,
  /** What the button says. */
  title: z.string().min(1).max(60),
  /** The organisation of everybody who signs in here. Either this or `tenants`. */
  organisation: OrganisationId.optional(),
  /** For a provider of several organisations. Whose value is not in the table does not get in; an e-mail domain never decides. */
  tenants: z
    .strictObject({
      /** The claim (SAML: attribute) with the tenant. Left out: the one of the profile. */
      claim: claimName.optional(),
      /** Value of the claim, to the letter, and the organisation it stands for. */
      organisations: z
        .record(z.string().min(1).max(500), OrganisationId)
        .refine((table) => Object.keys(table).length > 0, 'name at least one tenant'),
    })
    .optional(),
  /** The claim that names the person. Left out: `sub`, with the profile entra `oid`; SAML: the NameID. Must never be given to somebody else. */
  subjectClaim: claimName.optional(),
  /** Claims that go on into our tokens, for mappings of the gateway. Nothing else does. */
  forward: z.array(forwardable).max(10).default([]),
  /** How far the clocks may be apart. */
  clockSkewSeconds: z.number().int().min(0).max(60).default(30),
} as const;

export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

const OpenIdConnect = z.strictObject({
  ...common,
  protocol: z.literal('oidc'),
  profile: z.enum(PROFILES).default('generic'),
  /** As the provider spells it, to the letter. */
  issuer: webUrl,
  clientId: z.string().min(1).max(500),
  clientAuthentication: z.discriminatedUnion('method', [
    z.strictObject({
      method: z.enum(['client_secret_basic', 'client_secret_post']),
      secret: SecretReference.shape.secret,
    }),
    /** `secret` refers to the private key, PKCS#8 PEM. */
    z.strictObject({
      method: z.literal('private_key_jwt'),
      secret: SecretReference.shape.secret,
      algorithm: z.enum(['RS256', 'PS256', 'ES256']).default('ES256'),
      keyId: z.string().min(1).max(200).optional(),
    }),
    z.strictObject({ method: z.literal('none') }),
  ]),
  /** Besides `openid` and what the profile asks for. */
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,100}$/, 'must be one scope'))
    .max(20)
    .default([]),
  /** Signatures of ID tokens. Shared-key algorithms and `none` do not exist here. */
  algorithms: z
    .array(z.enum(ALGORITHMS as [string, ...string[]]))
    .min(1)
    .default(['RS256', 'PS256', 'ES256', 'EdDSA']),
  /** Networks in CIDR form that may be dialled although not public. Loopback needs no entry. */
  allowedNetworks: z.array(z.string().max(64)).max(16).default([]),
});

const certificate = z
  .string()
  .max(20_000)
  .superRefine((pem, context) => {
    try {
      const { publicKey } = new X509Certificate(pem);
      const bits = publicKey.asymmetricKeyDetails?.modulusLength;
      if (publicKey.asymmetricKeyType !== 'rsa' || bits === undefined || bits < 2_048)
        context.addIssue({ code: 'custom', message: 'must hold an RSA key of at least 2048 bits' });
    } catch {
      context.addIssue({ code: 'custom', message: 'must be one certificate in PEM form' });
    }
  });

const Saml = z.strictObject({
  ...common,
  protocol: z.literal('saml'),
  /** Entity id of the identity provider, to the letter. */
  entityId: z.string().min(1).max(500),
  /** Where AuthnRequests go (HTTP-Redirect binding). */
  signOnUrl: webUrl,
  /** The provider's signing certificates, PEM. Two while it changes them. Its metadata is not fetched: who signs is decided here. */
  certificates: z.array(certificate).min(1).max(4),
  /** Signs our requests: `secret` refers to the private key (PEM) of `certificate`, which our metadata publishes. */
  signRequests: SecretReference.extend({ certificate }).optional(),
  /** The provider encrypts assertions to `certificate`; `secret` refers to its private key (PEM). An assertion in clear is then refused. */
  decryption: SecretReference.extend({ certificate }).optional(),
  /** Attributes with the person's name and address. */
  attributes: z.strictObject({ name: claimName.optional(), email: claimName.optional() }).prefault({}),
});

export type OpenIdConnectProvider = z.output<typeof OpenIdConnect>;
export type SamlProvider = z.output<typeof Saml>;
export type IdentityProvider = OpenIdConnectProvider | SamlProvider;

export const IdentityProviders = z
  .array(z.discriminatedUnion('protocol', [OpenIdConnect, Saml]))
  .max(50)
  .default([])
  .superRefine((providers, context) => {
    for (const [at, provider] of providers.entries()) {
      const issue = (path: string, message: string): void =>
        context.addIssue({ code: 'custom', path: [at, path], message });
      if (providers.findIndex(({ id }) => id === provider.id) !== at) issue('id', 'is used twice');
      if ((provider.organisation === undefined) === (provider.tenants === undefined))
        issue('organisation', 'say the organisation, or a table of tenants, and not both');
      if (provider.tenants !== undefined && tenantClaim(provider) === null)
        issue('tenants', 'name the claim that holds the tenant');
      // Whoever administers a tenant writes its people's attributes: one of them could be named like somebody of another tenant.
      if (Object.keys(provider.tenants?.organisations ?? {}).length > 1 && !subjectOfProvider(provider))
        issue('subjectClaim', 'must be left out when a provider has several tenants: each writes this claim by itself');
      if (provider.protocol === 'saml') continue;
      const { tenantsRequired } = PROFILE[provider.profile];
      const shared = isSharedIssuer(provider.issuer);
      if ((tenantsRequired || shared) && provider.tenants === undefined)
        issue('tenants', 'is needed: this issuer signs in everybody, whatever their organisation');
      if (shared && (provider.profile !== 'entra' || (provider.tenants && tenantClaim(provider) !== 'tid')))
        issue('profile', 'an issuer for all tenants needs the profile entra, and tenants by the claim tid');
    }
  });

/** Whether the provider itself gives out the subject, and no tenant of it does. `oid` is told apart by its tenant (mapping.ts). */
function subjectOfProvider(provider: IdentityProvider): boolean {
  if (provider.protocol === 'saml') return provider.subjectClaim === undefined;
  const claim = subjectClaim(provider);
  return claim === 'sub' || claim === PROFILE[provider.profile].subjectClaim;
}

/** The claim that names the person at an OpenID Connect provider. */
export const subjectClaim = (provider: Pick<OpenIdConnectProvider, 'subjectClaim' | 'profile'>): string =>
  provider.subjectClaim ?? PROFILE[provider.profile].subjectClaim;

export function tenantClaim(provider: IdentityProvider): string | null {
  const fallback = provider.protocol === 'oidc' ? PROFILE[provider.profile].tenantClaim : null;
  return provider.tenants?.claim ?? fallback;
}

/** The organisations somebody who signs in here can be of. */
export function organisationsOf(provider: Pick<IdentityProvider, 'organisation' | 'tenants'>): readonly string[] {
  return provider.organisation !== undefined
    ? [provider.organisation]
    : [...new Set(Object.values(provider.tenants?.organisations ?? {}))];
}
