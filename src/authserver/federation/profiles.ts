/**
 * What named identity providers do differently, as one table; `generic` is OpenID Connect as written. Read from their
 * public documentation. A profile never relaxes a check: it says which claim names the tenant and the person, how a
 * fresh sign-in is asked for, and when a list of groups is not the whole list. No provider is ever sent `resource`
 * or `audience` (Entra refuses the one, Auth0 reads the other as a request for an API): their tokens are not used.
 */
import type { JsonObject } from '../../lib/json.ts';
import { isJsonObject } from '../../lib/json.ts';

export const PROFILES = ['generic', 'entra', 'okta', 'keycloak', 'auth0', 'google', 'workos'] as const;
export type ProfileName = (typeof PROFILES)[number];

export interface Profile {
  /** Asked for besides `openid`. */
  readonly scopes: readonly string[];
  /** Asked for only when `groups` is forwarded; null: groups come without a scope, or not at all. */
  readonly groupsScope: string | null;
  readonly subjectClaim: string;
  /** Claim that says whose tenant a token is of, where the settings do not name one. */
  readonly tenantClaim: string | null;
  /** Anybody in the world has an account there: without a list of tenants everybody would get in. */
  readonly tenantsRequired: boolean;
  /** First of these that is there names the session at the provider. */
  readonly sessionClaims: readonly string[];
  /** Parameter that sends the person to the sign-in of their tenant, when there is only one. A convenience: the claim decides. */
  readonly tenantParameter: string | null;
  /** How a sign-in from now is asked for. `none`: it cannot be, and a client that wants one is told so. */
  readonly freshness: 'max_age' | 'prompt' | 'none';
  readonly acrValues: boolean;
  /** Metadata of several tenants names its issuer with `{tenantid}`; the `tid` of the token stands for it. */
  readonly issuerTemplate: string | null;
  /** Claims of which this token does not hold everything: they count as not known, never as a short list. */
  readonly incomplete: (claims: JsonObject) => readonly string[];
}

const generic: Profile = {
  scopes: ['profile', 'email'],
  groupsScope: null,
  subjectClaim: 'sub',
  tenantClaim: null,
  tenantsRequired: false,
  sessionClaims: ['sid'],
  tenantParameter: null,
  freshness: 'max_age',
  acrValues: true,
  issuerTemplate: null,
  // OpenID Connect Core 5.6.2: what stands in _claim_names is somewhere else.
  incomplete: (claims) => (isJsonObject(claims['_claim_names']) ? Object.keys(claims['_claim_names']) : []),
};

export const PROFILE: Readonly<Record<ProfileName, Profile>> = {
  generic,
  entra: {
    ...generic,
    // `sub` differs for every application; `oid` is what provisioning knows.
    subjectClaim: 'oid',
    tenantClaim: 'tid',
    freshness: 'prompt',
    // Authentication contexts travel another way (`acrs`); acr_values is ignored.
    acrValues: false,
    issuerTemplate: 'https://login.microsoftonline.com/{tenantid}/v2.0',
    // More than 200 groups: a pointer to Graph instead of the list; in short tokens only `hasgroups`.
    incomplete: (claims) => [
      ...generic.incomplete(claims),
      ...(claims['hasgroups'] === true || claims['hasgroups'] === 'true' || claims['groups:src1'] !== undefined
        ? ['groups']
        : []),
    ],
  },
  okta: { ...generic, groupsScope: 'groups' },
  // Older versions name the session `session_state` alone.
  keycloak: { ...generic, sessionClaims: ['sid', 'session_state'] },
  auth0: { ...generic, tenantClaim: 'org_id', tenantParameter: 'organization' },
  google: {
    ...generic,
    tenantClaim: 'hd',
    tenantsRequired: true,
    tenantParameter: 'hd',
    freshness: 'none',
    acrValues: false,
  },
  workos: { ...generic, tenantClaim: 'org_id', tenantParameter: 'organization_id', acrValues: false },
};

/** Issuers under which Entra serves every tenant there is. */
const ENTRA_SHARED = /^https:\/\/login\.microsoftonline\.com\/(?:common|organizations|consumers)\/v2\.0$/;
export const isSharedIssuer = (issuer: string): boolean => ENTRA_SHARED.test(issuer);
