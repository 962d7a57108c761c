/**
 * Sign-in at a SAML 2.0 identity provider (Web Browser SSO: AuthnRequest by redirect, Response by POST). Promises: response
 * and assertion both signed by a configured certificate; issuer, audience, recipient, destination, InResponseTo, times
 * and one use of each assertion checked, all read from what was signed. Does not map attributes to anybody.
 * Signature and time checks are node-saml's; what it leaves to its caller stands below.
 */
import { randomBytes } from 'node:crypto';
import { SAML, ValidateInResponseTo, generateServiceProviderMetadata } from '@node-saml/node-saml';
import type { Profile, SamlConfig } from '@node-saml/node-saml';
import type { Clock } from '../../lib/clock.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { Json, JsonObject } from '../../lib/json.ts';
import { resolveSecret } from '../../upstream/secrets.ts';
import type { Flows } from './flows.ts';
import { readDecryptedForm, readSamlForm } from './saml-guard.ts';
import type { SamlProvider } from './settings.ts';
import { SignInFault } from './upstream.ts';
import type { Upstream, VerifiedAnswer } from './upstream.ts';

const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer';
const TRANSIENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient';
const SUCCESS = 'urn:oasis:names:tc:SAML:2.0:status:Success';
const FLOW_MS = 600_000;

export function saml(options: {
  readonly provider: SamlProvider;
  /** Our entity id is the address of our metadata. */
  readonly entityId: string;
  readonly acsUrl: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flows: Flows;
  readonly clock: Clock;
}): Upstream {
  const { provider, entityId, acsUrl, env, flows, clock } = options;

  /** One object per sign-in: the library keeps requests in memory, ours are in the database. */
  const party = async (requestId: string, more: Partial<SamlConfig> = {}): Promise<SAML> => {
    const signingKey = provider.signRequests && (await resolveSecret({ secret: provider.signRequests.secret }, env));
    const decryptionKey = provider.decryption && (await resolveSecret({ secret: provider.decryption.secret }, env));
    return new SAML({
      issuer: entityId,
      callbackUrl: acsUrl,
      entryPoint: provider.signOnUrl,
      idpCert: [...provider.certificates],
      idpIssuer: provider.entityId,
      audience: entityId,
      wantAssertionsSigned: true,
      wantAuthnResponseSigned: true,
      validateInResponseTo: ValidateInResponseTo.always,
      cacheProvider: onlyRequest(requestId, clock),
      requestIdExpirationPeriodMs: FLOW_MS,
      acceptedClockSkewMs: provider.clockSkewSeconds * 1_000,
      signatureAlgorithm: 'sha256',
      digestAlgorithm: 'sha256',
      identifierFormat: null,
      disableRequestedAuthnContext: true,
      generateUniqueId: () => requestId,
      ...(signingKey !== undefined && { privateKey: signingKey }),
      ...(decryptionKey !== undefined && { decryptionPvk: decryptionKey }),
      ...more,
    });
  };

  return {
    begin: async ({ state, asked }) => {
      const requestId = `_${randomBytes(20).toString('hex')}`;
      const fresh = asked.fresh || asked.maxAge !== null;
      const one = await party(requestId, {
        forceAuthn: fresh,
        ...(asked.acr.length > 0 && { disableRequestedAuthnContext: false, authnContext: [...asked.acr] }),
      });
      return { url: await one.getAuthorizeUrlAsync(state, undefined, {}), secret: { requestId } };
    },
    finish: async (answer, secret) => {
      const requestId = secret['requestId'] ?? '';
      const form = readSamlForm(answer, provider.decryption !== undefined);
      if (!form.ok) throw refused(`its form: ${form.error}`);
      const one = await party(requestId);
      let profile: Profile | null;
      try {
        ({ profile } = await one.validatePostResponseAsync({
          SAMLResponse: Buffer.from(form.value).toString('base64'),
        }));
      } catch (cause) {
        // Its messages quote the document: only which check it was goes on.
        throw refused(`its signature, audience or times: ${kindOf(cause)}`, cause);
      }
      if (profile === null) throw refused('no assertion');
      const inside = readDecryptedForm(profile.getAssertionXml?.() ?? '');
      if (inside !== null) throw refused(`the form of the assertion: ${inside}`);
      return read(profile.getAssertion?.() ?? {}, form.value, requestId);
    },
    metadata: async () => {
      const { signRequests, decryption } = provider;
      const xml = generateServiceProviderMetadata({
        issuer: entityId,
        callbackUrl: acsUrl,
        identifierFormat: null,
        wantAssertionsSigned: true,
        generateUniqueId: () => `_${provider.id}`,
        // Named because the library publishes certificates of those keys only that it is given; no key stands in the metadata.
        ...(decryption && { decryptionPvk: 'not published', decryptionCert: decryption.certificate }),
        ...(signRequests && {
          privateKey: await resolveSecret({ secret: signRequests.secret }, env),
          publicCerts: signRequests.certificate,
          signMetadata: false,
        }),
      });
      // The library lists what it can decrypt; some of that is refused here.
      return xml.replaceAll(/<EncryptionMethod Algorithm="[^"]*(?:-cbc|rsa-1_5)"\s*\/>\s*/g, '');
    },
  };

  /** Everything from here on is read from the assertion that the library verified, and from the response it verified. */
  function read(parsed: Record<string, unknown>, responseXml: string, requestId: string): VerifiedAnswer {
    const assertion = node(parsed['Assertion']);
    const destination = /^[^>]*?\sDestination\s*=\s*(?:"([^"]*)"|'([^']*)')/.exec(rootTag(responseXml));
    const sentTo = destination?.[1] ?? destination?.[2];
    if (sentTo !== acsUrl) throw refused('the destination is another server');
    if (!rootStatus(responseXml)) throw refused('the status is not success');
    if (text(only(assertion['Issuer'])) !== provider.entityId) throw refused('the issuer is another');
    const subject = only(assertion['Subject']);
    const confirmations = list(subject['SubjectConfirmation']);
    const now = clock.now();
    const skew = provider.clockSkewSeconds * 1_000;
    const confirmed = confirmations.some((confirmation) => {
      if (attribute(confirmation, 'Method') !== BEARER) return false;
      const data = only(confirmation['SubjectConfirmationData']);
      const end = Date.parse(attribute(data, 'NotOnOrAfter') ?? '');
      return (
        attribute(data, 'Recipient') === acsUrl &&
        attribute(data, 'InResponseTo') === requestId &&
        attribute(data, 'NotBefore') === undefined &&
        Number.isFinite(end) &&
        now < end + skew
      );
    });
    if (!confirmed) throw refused('no bearer confirmation for this recipient, request and time');
    const conditions = list(assertion['Conditions']);
    const [condition = {}] = conditions;
    if (conditions.length !== 1) throw refused('it must have exactly one set of conditions');
    const until = Date.parse(attribute(condition, 'NotOnOrAfter') ?? '');
    if (!Number.isFinite(until)) throw refused('its conditions have no end');
    if (!audiencesAllow(condition, entityId)) throw refused('the audience is another');
    const id = attribute(assertion, 'ID');
    if (id === undefined) throw refused('the assertion has no ID');
    if (!flows.useOnce(`saml ${provider.id} ${id}`, Math.ceil((until + skew) / 1_000) + 60))
      throw refused('the assertion was used before');

    const nameId = only(subject['NameID']);
    const name = attribute(nameId, 'Format') === TRANSIENT ? undefined : text(nameId);
    const statements = list(assertion['AuthnStatement']);
    const [statement = {}] = statements;
    if (statements.length !== 1) throw refused('it must have exactly one statement of a sign-in');
    const instant = Date.parse(attribute(statement, 'AuthnInstant') ?? '');
    const context = text(only(only(statement['AuthnContext'])['AuthnContextClassRef']));
    const session = attribute(statement, 'SessionIndex');
    return {
      authTime: Number.isFinite(instant) ? Math.floor(instant / 1_000) : null,
      acr: context !== undefined && context.length <= 200 ? context : null,
      amr: [],
      claims: {
        ...attributesOf(assertion),
        // After the attributes: none of them may be called by these names.
        sub: name ?? '',
        ...(session !== undefined && { sid: session }),
      },
    };
  }
}

const refused = (what: string, cause?: unknown): SignInFault =>
  new SignInFault('federation_refused', `the SAML response does not hold: ${what}`, { cause });

/** The library asks whether a request is known: exactly one is. */
const onlyRequest = (requestId: string, clock: Clock) => {
  const instant = new Date(clock.now()).toISOString();
  return {
    saveAsync: async () => null,
    getAsync: async (key: string) => (key === requestId ? instant : null),
    removeAsync: async () => null,
  };
};

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/InResponseTo/, 'in_response_to'],
  [/audience/i, 'audience'],
  [/expired|not yet valid/, 'time'],
  [/signature/i, 'signature'],
  [/confirmation/, 'confirmation'],
  [/status|provider returned/i, 'status'],
  [/decrypt/i, 'decryption'],
];

function kindOf(error: unknown): string {
  const message = error instanceof Error ? error.message : '';
  return KINDS.find(([pattern]) => pattern.test(message))?.[1] ?? 'other';
}

// The shapes of xml2js: an element is an object of lists, `$` holds attributes and `_` the text.

const node = (value: unknown): JsonObject => (isJsonObject(value) ? value : {});
const list = (value: unknown): JsonObject[] => (Array.isArray(value) ? (value as unknown[]) : []).map(node);
/** The element if there is exactly one. */
const only = (value: unknown): JsonObject => {
  const all = Array.isArray(value) ? (value as unknown[]) : [];
  if (all.length > 1) return {};
  return typeof all[0] === 'string' ? { _: all[0] } : node(all[0]);
};
const text = (element: JsonObject): string | undefined =>
  typeof element['_'] === 'string' && element['_'].trim() !== '' ? element['_'].trim() : undefined;
const attribute = (element: JsonObject, name: string): string | undefined => {
  const value = node(element['$'])[name];
  return typeof value === 'string' ? value : undefined;
};

/** Every restriction must name us. SAML core 2.5.1.4. */
function audiencesAllow(conditions: JsonObject, entityId: string): boolean {
  const restrictions = list(conditions['AudienceRestriction']);
  return (
    restrictions.length > 0 &&
    restrictions.every((one) =>
      (Array.isArray(one['Audience']) ? (one['Audience'] as Json[]) : []).some(
        (audience) => text(typeof audience === 'string' ? { _: audience } : node(audience)) === entityId,
      ),
    )
  );
}

/** The signed response's own tag; the guard has seen to it that it is the first. */
const rootTag = (xml: string): string => /<(?:[\w.-]+:)?Response\s(?:[^>"']|"[^"]*"|'[^']*')*>/.exec(xml)?.[0] ?? '';

/** SAML core 3.2.2.1: the top status must be success. It stands in the signed response. */
function rootStatus(xml: string): boolean {
  const [first] = xml.matchAll(/<(?:[\w.-]+:)?StatusCode\s[^>]*?Value\s*=\s*["']([^"']*)["']/g);
  return first?.[1] === SUCCESS;
}

function attributesOf(assertion: JsonObject): Record<string, Json> {
  const found = new Map<string, Json>();
  for (const statement of list(assertion['AttributeStatement'])) {
    for (const one of list(statement['Attribute'])) {
      const name = attribute(one, 'Name');
      if (name === undefined || name === 'sub' || name === 'sid' || name === '__proto__') continue;
      const values = (Array.isArray(one['AttributeValue']) ? (one['AttributeValue'] as Json[]) : []).flatMap(
        (value) => {
          const said = typeof value === 'string' ? value.trim() : text(node(value));
          return said === undefined || said === '' ? [] : [said];
        },
      );
      // The same attribute twice is a question of who reads which: nobody reads either.
      if (found.has(name)) found.set(name, null);
      else found.set(name, values.length === 1 ? (values[0] ?? null) : values);
    }
  }
  return Object.fromEntries(found);
}
