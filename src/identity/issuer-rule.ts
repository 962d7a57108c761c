/**
 * How tokens of one trusted issuer are read: what an operator says about it, what a product's profile presets, and the rule that results.
 * A member that is set beside a profile replaces the preset as a whole. Profiles know products, never tenants: nothing in them trusts anybody.
 * Not decided here: whose people the issuer may speak for (the directory's mapping). Long because it holds the table of products.
 */
import { Fault } from '../lib/fault.ts';
import { type TokenAlgorithm, isTokenAlgorithm } from './public-jwk.ts';

export const PROFILES = ['remit', 'entra', 'okta', 'keycloak', 'auth0', 'google', 'workos'] as const;
export type Profile = (typeof PROFILES)[number];
/** Header `typ`: `at+jwt` is an access token by its type (RFC 9068); `JWT` and none at all could be anything. */
export const TOKEN_TYPES = ['at+jwt', 'JWT', 'none'] as const;
export type TokenType = (typeof TOKEN_TYPES)[number];

/** Holds when the claim is there; with `equals` when it is this text (`{client}` is the client id); with `absent` when it is not there. */
export interface ClaimTest {
  readonly claim: string;
  readonly equals?: string;
  readonly absent?: true;
}

/** Names of claims, the preferred one first. A name may lead into an object by dots: `realm_access.roles`. */
export interface ClaimNames {
  /** Where several of them are in a token they must agree. */
  readonly clientId: readonly string[];
  readonly subject: readonly string[];
  readonly scopes: readonly string[];
  readonly tokenId: readonly string[];
  readonly grantId: readonly string[];
  readonly sessionId: readonly string[];
  /** Claims that mappings and policies may read. All others stay in the token. */
  readonly attributes: readonly string[];
}

export interface IntrospectionSettings {
  readonly url: string;
  readonly clientId: string;
  /** Asked for at every request and kept nowhere. */
  readonly clientSecret: () => Promise<string>;
  /** Default `basic`. */
  readonly authentication?: 'basic' | 'post';
  /** How long a good answer counts. 1 to 60, default 30; never past the token's own end. */
  readonly cacheSeconds?: number;
}

export interface TrustedIssuer {
  /** Compared exactly with `iss`: no normalising, a trailing slash is another issuer. */
  readonly issuer: string;
  /** Default: `remit`. */
  readonly profile?: Profile;
  /** Absent: found through the issuer's metadata (RFC 8414, then OpenID Connect Discovery). */
  readonly jwksUri?: string;
  readonly algorithms?: readonly TokenAlgorithm[];
  readonly tokenTypes?: readonly TokenType[];
  /** One of these must hold for a token that is not an access token by its type. ID tokens must not pass. */
  readonly accessTokenWhen?: readonly ClaimTest[];
  /** Resources whose tokens carry another audience than their URL. */
  readonly audiences?: ReadonlyArray<{ readonly resource: string; readonly audience: string }>;
  /** Members that may stand beside ours in an `aud` list: services of the issuer itself. `{issuer}` is the issuer. */
  readonly toleratedAudiences?: readonly string[];
  /** One audience for several resources: a token for one of them works at all of them. */
  readonly unsafeSharedAudiences?: boolean;
  /** Accept an `aud` list with any further members: such a token also works elsewhere, and elsewhere can use it here. */
  readonly unsafeMultipleAudiences?: boolean;
  readonly claims?: Partial<ClaimNames>;
  /** One of these, or a subject that is the client, says that a client acts by itself. */
  readonly aloneWhen?: readonly ClaimTest[];
  /** Replaces the verifier's own limits for tokens of this issuer. */
  readonly maxLifetimeSeconds?: { readonly user?: number; readonly machine?: number };
  /** Longest `act` chain. Default: the verifier's. */
  readonly maxActDepth?: number;
  /** Opaque tokens are asked about here, and nowhere else (RFC 7662). */
  readonly introspection?: IntrospectionSettings;
}

interface Preset {
  readonly algorithms: readonly TokenAlgorithm[];
  readonly tokenTypes: readonly TokenType[];
  readonly accessTokenWhen: readonly ClaimTest[];
  readonly toleratedAudiences: readonly string[];
  readonly claims: ClaimNames;
  readonly aloneWhen: readonly ClaimTest[];
}

const ATTRIBUTES = ['groups', 'roles', 'org', 'tid', 'hd'] as const;
const STANDARD: Preset = {
  algorithms: ['ES256', 'RS256', 'PS256', 'EdDSA'],
  tokenTypes: ['at+jwt'],
  accessTokenWhen: [],
  toleratedAudiences: [],
  claims: {
    clientId: ['client_id'],
    subject: ['sub'],
    scopes: ['scope'],
    tokenId: ['jti'],
    grantId: ['grant_id'],
    sessionId: ['sid'],
    attributes: ATTRIBUTES,
  },
  aloneWhen: [],
};

/** What is different about each product, and nothing else. Why: docs/guides/authorization-servers.md. */
const PRESETS: Readonly<Record<Exclude<Profile, 'google'>, Preset>> = {
  remit: STANDARD,
  entra: {
    ...STANDARD,
    algorithms: ['RS256'],
    tokenTypes: ['JWT'],
    // How the client proved itself: in every access token (v2, v1), in no ID token.
    accessTokenWhen: [{ claim: 'azpacr' }, { claim: 'appidacr' }],
    claims: {
      ...STANDARD.claims,
      clientId: ['azp', 'appid'],
      // `sub` is another one for every application; `oid` is the person throughout the tenant, as provisioning names them.
      subject: ['oid'],
      // An application alone has no `scp`; what it may is in `roles`.
      scopes: ['scp', 'roles'],
      tokenId: ['uti'],
      attributes: [...ATTRIBUTES, 'wids'],
    },
    // `idtyp` is an optional claim; without it, what has no `scp` acts for nobody.
    aloneWhen: [
      { claim: 'idtyp', equals: 'app' },
      { claim: 'scp', absent: true },
    ],
  },
  okta: {
    ...STANDARD,
    algorithms: ['RS256'],
    tokenTypes: ['at+jwt', 'JWT', 'none'],
    accessTokenWhen: [{ claim: 'cid' }],
    claims: {
      ...STANDARD.claims,
      clientId: ['cid'],
      // The id of the user; `sub` is a login that can be given to somebody else. A client alone has only `sub`.
      subject: ['uid', 'sub'],
      scopes: ['scp'],
    },
    aloneWhen: [{ claim: 'uid', absent: true }],
  },
  keycloak: {
    ...STANDARD,
    tokenTypes: ['at+jwt', 'JWT'],
    // Keycloak says in a claim what the token is: `ID` and `Refresh` are others.
    accessTokenWhen: [
      { claim: 'typ', equals: 'Bearer' },
      { claim: 'typ', equals: 'DPoP' },
    ],
    // Its own account page, which the default roles of a realm put into every token.
    toleratedAudiences: ['account'],
    claims: { ...STANDARD.claims, clientId: ['azp'], attributes: [...ATTRIBUTES, 'realm_access.roles'] },
    // A service account is a user of the realm with a subject of its own; it has no session.
    aloneWhen: [
      { claim: 'preferred_username', equals: 'service-account-{client}' },
      { claim: 'sid', absent: true },
    ],
  },
  auth0: {
    ...STANDARD,
    algorithms: ['RS256', 'PS256'],
    // Added to every token that was asked for with the scope `openid`.
    toleratedAudiences: ['{issuer}userinfo'],
    claims: { ...STANDARD.claims, attributes: [...ATTRIBUTES, 'org_id', 'permissions'] },
    aloneWhen: [
      { claim: 'sub', equals: '{client}@clients' },
      { claim: 'gty', equals: 'client-credentials' },
    ],
  },
  workos: {
    ...STANDARD,
    algorithms: ['RS256'],
    tokenTypes: ['at+jwt', 'JWT', 'none'],
    accessTokenWhen: [{ claim: 'client_id' }],
    claims: {
      ...STANDARD.claims,
      // The consent of the person to the client: what revoking it ends.
      grantId: ['sid'],
      sessionId: [],
      attributes: [...ATTRIBUTES, 'org_id', 'role', 'permissions'],
    },
  },
};

/** The whole rule, as the verifier reads it. */
export interface IssuerRule {
  readonly issuer: string;
  readonly algorithms: ReadonlySet<string>;
  /** By header `typ`; null stands for a token without one. */
  readonly types: ReadonlySet<string | null>;
  readonly accessTokenWhen: readonly ClaimTest[];
  readonly audiences: ReadonlyMap<string, string>;
  readonly toleratedAudiences: ReadonlySet<string>;
  readonly unsafeMultipleAudiences: boolean;
  readonly claims: ClaimNames;
  readonly aloneWhen: readonly ClaimTest[];
  readonly maxLifetimeSeconds: { readonly user: number; readonly machine: number };
  readonly maxActDepth: number;
}

export interface RuleDefaults {
  readonly maxLifetimeSeconds: { readonly user: number; readonly machine: number };
  readonly maxActDepth: number;
}

/** @throws Fault `token_verifier_rule` for what `issuerProblems` names. */
export function issuerRule(settings: TrustedIssuer, defaults: RuleDefaults): IssuerRule {
  const [problem] = issuerProblems(settings);
  if (problem)
    throw new Fault('token_verifier_rule', `issuer ${settings.issuer}: ${problem.reason}. ${problem.remedy}`);
  const { issuer, profile = 'remit' } = settings;
  const preset = PRESETS[profile as Exclude<Profile, 'google'>];
  const types = settings.tokenTypes ?? preset.tokenTypes;
  return {
    issuer,
    algorithms: new Set(settings.algorithms ?? preset.algorithms),
    types: new Set(types.map((type) => (type === 'none' ? null : type))),
    accessTokenWhen: settings.accessTokenWhen ?? preset.accessTokenWhen,
    audiences: new Map((settings.audiences ?? []).map(({ resource, audience }) => [resource, audience])),
    toleratedAudiences: new Set(tolerated(settings)),
    unsafeMultipleAudiences: settings.unsafeMultipleAudiences ?? false,
    claims: { ...preset.claims, ...settings.claims },
    aloneWhen: settings.aloneWhen ?? preset.aloneWhen,
    maxLifetimeSeconds: { ...defaults.maxLifetimeSeconds, ...settings.maxLifetimeSeconds },
    maxActDepth: settings.maxActDepth ?? defaults.maxActDepth,
  };
}

function tolerated({
  issuer,
  profile = 'remit',
  toleratedAudiences,
}: Omit<TrustedIssuer, 'introspection'>): readonly string[] {
  const preset = profile === 'google' ? [] : PRESETS[profile].toleratedAudiences;
  return (toleratedAudiences ?? preset).map((audience) => audience.replaceAll('{issuer}', issuer));
}

export interface IssuerProblem {
  readonly path: readonly (string | number)[];
  readonly reason: string;
  readonly remedy: string;
}

/** What makes the settings of an issuer unusable or unsafe, for the person who wrote them. Shapes were checked by who read them. */
export function issuerProblems(settings: Omit<TrustedIssuer, 'introspection'>): readonly IssuerProblem[] {
  const { issuer, profile = 'remit', audiences = [], claims = {} } = settings;
  const found: IssuerProblem[] = [];
  const add = (path: IssuerProblem['path'], reason: string, remedy: string): void =>
    void found.push({ path, reason, remedy });
  if (profile === 'google') {
    add(
      ['profile'],
      'Google issues no access tokens for other resources than its own',
      'Let people sign in with Google at `remit authserver`, and trust that one here (docs/guides/authorization-servers.md).',
    );
    return found;
  }
  const wrong = settings.algorithms?.find((algorithm: string) => !isTokenAlgorithm(algorithm));
  if (wrong !== undefined)
    add(['algorithms'], `"${wrong}" is not an asymmetric signature algorithm`, 'Name one with a public key.');

  const preset = PRESETS[profile];
  const types = settings.tokenTypes ?? preset.tokenTypes;
  const demanded = settings.accessTokenWhen ?? preset.accessTokenWhen;
  if (types.some((type) => type !== 'at+jwt') && demanded.length === 0)
    add(
      ['accessTokenWhen'],
      'it is needed where tokens without the type at+jwt are accepted',
      'Name a claim that only access tokens of this issuer have: ID tokens must not pass for them.',
    );
  if (demanded.some(({ absent }) => absent))
    add(['accessTokenWhen'], 'what is absent proves nothing', 'Name a claim that access tokens have.');
  for (const name of ['clientId', 'subject', 'tokenId'] as const)
    if (claims[name]?.length === 0) add(['claims', name], 'it names no claim', 'Name at least one.');

  // INVARIANT: one audience, one resource. A token for one server must not open another (RFC 8707).
  const beside = tolerated(settings);
  const unsafe = settings.unsafeSharedAudiences === true;
  audiences.forEach(({ resource, audience }, at) => {
    const path = ['audiences', at, 'audience'] as const;
    const others = audiences.filter((_, other) => other !== at);
    if (others.some((other) => other.resource === resource))
      add(['audiences', at, 'resource'], 'this resource stands twice', 'Keep one entry per resource.');
    else if (!unsafe && others.some((other) => other.audience === audience || other.resource === audience))
      add(
        path,
        'another resource has this audience too',
        'Register an audience per server, or set unsafeSharedAudiences.',
      );
    else if (
      !unsafe &&
      audience !== resource &&
      URL.parse(audience)?.origin === URL.parse(resource)?.origin &&
      /^https?:/.test(audience)
    )
      add(path, 'it is the URL of another resource here', 'Name the audience that belongs to this resource alone.');
    else if (!unsafe && beside.includes(audience))
      add(path, 'it is tolerated beside every other audience', 'Take it out of toleratedAudiences.');
  });
  if (!URL.canParse(issuer)) add(['issuer'], 'it is not a URL', 'Write it as the issuer publishes it.');
  return found;
}
