/**
 * From what a provider said, verified, to who somebody is here: account, organisation, name, forwarded claims. Pure; the
 * same function serves the sign-in and the dry run. Promises: the organisation comes from the settings or from the
 * tenant claim and nothing else (CONTROLS ID-01); what is not known whole is not forwarded. Does not check signatures.
 */
import type { Json, JsonObject } from '../../lib/json.ts';
import { err, ok } from '../../lib/result.ts';
import type { Result } from '../../lib/result.ts';
import { PROFILE } from './profiles.ts';
import { tenantClaim } from './settings.ts';
import type { IdentityProvider } from './settings.ts';

export type SignInRefusal =
  | { readonly reason: 'subject_missing'; readonly claim: string }
  | { readonly reason: 'subject_unusable'; readonly claim: string } // too long, or letters that no log could show
  | { readonly reason: 'tenant_missing'; readonly claim: string }
  | { readonly reason: 'tenant_unknown'; readonly claim: string };

export type Forwarded = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface FederatedPerson {
  /** `<provider id>|<subject at the provider>`: our `sub`. */
  readonly account: string;
  readonly organisation: string;
  readonly name: string;
  /** For people to read. Decides nothing. */
  readonly email: string | null;
  readonly forwarded: Forwarded;
  /** Claims that should be forwarded and were not: absent, or not there whole. */
  readonly unknown: readonly string[];
  /** Names the session at the provider; null when it has no name. */
  readonly upstreamSession: string | null;
}

const MAX_SUBJECT = 200;
const MAX_MEMBERS = 500;
const MAX_TEXT = 300;
const MAX_FORWARDED_BYTES = 32 * 1_024;

/** Letters that can be seen, no spaces: what goes into logs, tokens and records unescaped. */
const VISIBLE = /^[\x21-\x7e\u00a1-\u{10ffff}]+$/u;

/** ATTACKER-CONTROLLED: `claims` are what a tenant's administrator, or the person, chose to write there. */
export function readSignIn(provider: IdentityProvider, claims: JsonObject): Result<FederatedPerson, SignInRefusal> {
  const profile = provider.protocol === 'oidc' ? PROFILE[provider.profile] : null;
  const claim = provider.subjectClaim ?? profile?.subjectClaim ?? 'sub';
  const named = oneText(own(claims, claim));
  if (named === null) return err({ reason: 'subject_missing', claim });

  const tenant = tenantOf(provider, claims);
  if (!tenant.ok) return tenant;
  // `oid` is unique within its tenant only.
  const subject =
    provider.protocol === 'oidc' && provider.profile === 'entra' && tenant.value.tenant !== null && claim === 'oid'
      ? `${tenant.value.tenant}.${named}`
      : named;
  if (subject.length > MAX_SUBJECT || !VISIBLE.test(subject)) return err({ reason: 'subject_unusable', claim });

  const email = emailOf(provider, claims);
  const incomplete = profile?.incomplete(claims) ?? [];
  const forwarded = new Map<string, Forwarded[string]>();
  for (const name of provider.forward) {
    const value = incomplete.includes(name) ? null : bounded(own(claims, name));
    if (value !== null) forwarded.set(name, value);
  }
  const fits = Buffer.byteLength(JSON.stringify([...forwarded])) <= MAX_FORWARDED_BYTES;
  return ok({
    account: `${provider.id}|${subject}`,
    organisation: tenant.value.organisation,
    name: nameOf(provider, claims) ?? email ?? subject,
    email,
    forwarded: fits ? Object.fromEntries(forwarded) : {},
    unknown: provider.forward.filter((name) => !fits || !forwarded.has(name)),
    upstreamSession:
      (profile?.sessionClaims ?? ['sid']).map((name) => shortOf(own(claims, name))).find(Boolean) ?? null,
  });
}

/** What a sign-in with these claims would become. For the dry run: nothing is verified, kept or sent. */
export type Preview =
  | ({ readonly outcome: 'signed in'; readonly provider: string } & FederatedPerson)
  | { readonly outcome: 'refused'; readonly provider: string; readonly reason: string };

const SENTENCES: Readonly<Record<SignInRefusal['reason'], (claim: string) => string>> = {
  subject_missing: (claim) => `the claim ${claim}, which names the person, is missing`,
  subject_unusable: (claim) => `the claim ${claim} cannot name a person: at most ${MAX_SUBJECT} visible characters`,
  tenant_missing: (claim) => `the claim ${claim}, which says whose tenant this is, is missing`,
  tenant_unknown: (claim) => `the value of ${claim} is no tenant of this provider's table`,
};

export const sayRefusal = (refusal: SignInRefusal): string => SENTENCES[refusal.reason](refusal.claim);

export function previewSignIn(settings: readonly IdentityProvider[], providerId: string, claims: JsonObject): Preview {
  const provider = settings.find(({ id }) => id === providerId);
  if (provider === undefined)
    return { outcome: 'refused', provider: providerId, reason: 'there is no provider of this id' };
  const read = readSignIn(provider, claims);
  return read.ok
    ? { outcome: 'signed in', provider: providerId, ...read.value }
    : { outcome: 'refused', provider: providerId, reason: sayRefusal(read.error) };
}

function tenantOf(
  provider: IdentityProvider,
  claims: JsonObject,
): Result<{ readonly organisation: string; readonly tenant: string | null }, SignInRefusal> {
  if (provider.organisation !== undefined) return ok({ organisation: provider.organisation, tenant: null });
  const claim = tenantClaim(provider) ?? '';
  const tenant = oneText(own(claims, claim));
  if (tenant === null) return err({ reason: 'tenant_missing', claim });
  const table = provider.tenants?.organisations ?? {};
  const organisation = Object.hasOwn(table, tenant) ? table[tenant] : undefined;
  return organisation === undefined ? err({ reason: 'tenant_unknown', claim }) : ok({ organisation, tenant });
}

const own = (claims: JsonObject, name: string): Json | undefined =>
  Object.hasOwn(claims, name) ? claims[name] : undefined;

/** One text and no list: a list of tenants or subjects would let its writer choose. */
function oneText(value: Json | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

const shortOf = (value: Json | undefined): string | null =>
  typeof value === 'string' && value !== '' && value.length <= MAX_TEXT && VISIBLE.test(value) ? value : null;

function bounded(value: Json | undefined): Forwarded[string] | null {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value === 'string') return value.length <= MAX_TEXT ? value : null;
  if (!Array.isArray(value) || value.length > MAX_MEMBERS) return null;
  const texts = (value as readonly Json[]).filter((member) => typeof member === 'string' && member.length <= MAX_TEXT);
  return texts.length === value.length ? (texts as readonly string[]) : null;
}

function nameOf(provider: IdentityProvider, claims: JsonObject): string | null {
  const text = (name: string | undefined): string | null => {
    const value = name === undefined ? null : oneText(own(claims, name));
    return value === null ? null : value.slice(0, 200);
  };
  if (provider.protocol === 'saml') return text(provider.attributes.name);
  const parts = [text('given_name'), text('family_name')].filter((part) => part !== null).join(' ');
  return text('name') ?? (parts === '' ? null : parts) ?? text('preferred_username');
}

function emailOf(provider: IdentityProvider, claims: JsonObject): string | null {
  const name = provider.protocol === 'saml' ? provider.attributes.email : 'email';
  const value = name === undefined ? null : oneText(own(claims, name));
  return value !== null && value.length <= 254 && /^[^\s@]+@[^\s@]+$/.test(value) ? value : null;
}
