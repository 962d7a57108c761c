/**
 * SAML sign-in against a real identity provider library, and every way to lie in XML that we know of. The vulnerable twin
 * reads the first assertion without asking what was signed: it falls for the wrappings that the product refuses.
 */
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { cookieJar } from '../support/browser.ts';
import type { CookieJar } from '../support/browser.ts';
import { selfSigned } from '../support/certificate.ts';
import { samlProvider } from '../support/idp/saml-provider.ts';
import type { SamlVisitor } from '../support/idp/saml-provider.ts';
import { press, walk } from './federation-fixture.ts';
import type { Stop } from './federation-fixture.ts';
import { startFixture } from './fixture.ts';
import type { AuthorizeOptions, Fixture } from './fixture.ts';

const idp = samlProvider();
const EMAIL = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress';
const ADA: SamlVisitor = {
  nameId: 'ada-persistent-1',
  attributes: { displayName: 'Ada Lovelace', [EMAIL]: 'ada@corp.example', groups: ['engineering', 'on-call'] },
};

let at: Fixture;
beforeAll(async () => {
  at = await startFixture({
    evaluationUsers: false,
    identityProviders: [
      {
        id: 'corp',
        title: 'Corporate account',
        protocol: 'saml',
        entityId: idp.entityId,
        signOnUrl: idp.signOnUrl,
        certificates: [idp.cert],
        organisation: 'default',
        forward: ['groups'],
        attributes: { name: 'displayName', email: EMAIL },
      },
    ],
  });
});
afterAll(() => at.stop());

interface Asked {
  readonly url: URL;
  readonly jar: CookieJar;
  readonly verifier: string;
  readonly state: string;
}

/** As far as the provider's door. */
async function ask(options: AuthorizeOptions = {}): Promise<Asked> {
  const jar = cookieJar();
  const { url, verifier, state } = await at.authorizationUrl(options);
  const stop = await walk(url, jar, (next) => next.href.startsWith(idp.signOnUrl));
  expect(stop.page?.text).toBeUndefined();
  return { url: stop.url, jar, verifier, state };
}

/** What the provider's page makes the browser post. */
const deliver = (asked: Asked, xml: string | Buffer, relayState: string, jar = asked.jar): Promise<Stop> =>
  walk(`${at.server.issuer}/federation/corp/acs`, jar, () => false, {
    method: 'POST',
    body: new URLSearchParams({ SAMLResponse: Buffer.from(xml).toString('base64'), RelayState: relayState }),
    headers: { origin: 'https://idp.example', 'sec-fetch-site': 'cross-site' },
  });

const reasons = (): string[] =>
  at.log.flatMap((line) => {
    const { msg, reason } = JSON.parse(line) as { msg?: string; reason?: string };
    return msg === 'federated sign-in refused' && reason !== undefined ? [reason] : [];
  });

describe('a person', () => {
  test('signs in by POST binding and gets a token', async () => {
    const asked = await ask();
    const { xml, relayState } = await idp.respond(asked.url, ADA);
    const consent = await deliver(asked, xml, relayState);
    expect(consent.page?.text).toContain('Ada Lovelace');
    const back = await press(consent, asked.jar, 'allow');
    const tokens = await oidc.authorizationCodeGrant(at.client, back.url, {
      pkceCodeVerifier: asked.verifier,
      expectedState: asked.state,
    });
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      sub: 'corp|ada-persistent-1',
      groups: ['engineering', 'on-call'],
      acr: 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport',
    });
  });

  test('is asked to sign in anew (ForceAuthn) and in a certain way (RequestedAuthnContext) when the client asks', async () => {
    const { url } = await ask({ params: { prompt: 'login', acr_values: 'urn:example:mfa' } });
    const { request } = await idp.respond(url, ADA);
    expect(request['forceAuthn']).toBe('true');
    expect(JSON.stringify(request['requestedAuthnContext'])).toContain('urn:example:mfa');
  });

  test('with another context class than was asked for is sent back', async () => {
    const asked = await ask({ params: { acr_values: 'urn:example:mfa' } });
    const { xml, relayState } = await idp.respond(asked.url, ADA);
    expect((await deliver(asked, xml, relayState)).page?.text).toContain('unmet_authentication_requirements');
  });

  test('reads our metadata: entity id, the address for responses, signed assertions wanted, no weak encryption', async () => {
    const response = await fetch(`${at.server.issuer}/federation/corp/metadata`);
    const xml = await response.text();
    expect(response.headers.get('content-type')).toContain('application/samlmetadata+xml');
    expect(xml).toContain(`entityID="${at.server.issuer}/federation/corp/metadata"`);
    expect(xml).toContain(`Location="${at.server.issuer}/federation/corp/acs"`);
    expect(xml).toContain('WantAssertionsSigned="true"');
    expect(xml).not.toMatch(/PRIVATE|-cbc/);
  });
});

const EVIL = 'mallory-the-admin';
const assertionOf = (xml: string): string => /<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(xml)?.[0] ?? '';
const withoutSignature = (xml: string): string => xml.replace(/<Signature [\s\S]*?<\/Signature>/, '');
const signatureIn = (xml: string): string => /<Signature [\s\S]*?<\/Signature>/.exec(xml)?.[0] ?? '';
/** The attacker's assertion: the genuine one with another name, another id and no signature. */
const forged = (xml: string): string =>
  withoutSignature(assertionOf(xml))
    .replaceAll(ADA.nameId, EVIL)
    .replace(/ ID="[^"]*"/, ' ID="_evil"');
const responseSignature = (xml: string): string => signatureIn(xml.replace(assertionOf(xml), ''));
const unsignedResponse = (xml: string): string => xml.replace(responseSignature(xml), '');

/** Signature wrapping: the signed element stays somewhere in the document, another stands where readers look. */
const WRAPPINGS: readonly [name: string, wrap: (xml: string) => string][] = [
  [
    'XSW1: the signed response in the signature of a forged response',
    (xml) => {
      const evil = withoutSignature(xml.replace(assertionOf(xml), forged(xml))).replace(/ ID="[^"]*"/, ' ID="_evilR"');
      const signature = responseSignature(xml).replace(
        '</Signature>',
        `<Object>${unsignedResponse(xml)}</Object></Signature>`,
      );
      return evil.replace('<samlp:Status>', `${signature}<samlp:Status>`);
    },
  ],
  [
    'XSW2: the signed response beside a detached signature in a forged response',
    (xml) => {
      const evil = withoutSignature(xml.replace(assertionOf(xml), forged(xml))).replace(/ ID="[^"]*"/, ' ID="_evilR"');
      return evil.replace('<samlp:Status>', `${unsignedResponse(xml)}${responseSignature(xml)}<samlp:Status>`);
    },
  ],
  [
    'XSW3: a forged assertion before the signed one',
    (xml) => xml.replace(assertionOf(xml), (all) => `${forged(xml)}${all}`),
  ],
  [
    'XSW4: the signed assertion inside a forged one',
    (xml) =>
      xml.replace(assertionOf(xml), (all) => forged(xml).replace('</saml:Assertion>', `${all}</saml:Assertion>`)),
  ],
  [
    'XSW5: the signed assertion changed, its original behind it without signature',
    (xml) => {
      const original = assertionOf(xml);
      const evil = original.replaceAll(ADA.nameId, EVIL).replace(/ ID="[^"]*"/, ' ID="_evil"');
      return xml.replace(original, () => `${evil}${withoutSignature(original)}`);
    },
  ],
  [
    'XSW6: the original inside the signature of the changed assertion',
    (xml) => {
      const original = assertionOf(xml);
      const evil = original
        .replaceAll(ADA.nameId, EVIL)
        .replace(/ ID="[^"]*"/, ' ID="_evil"')
        .replace('</Signature>', `${withoutSignature(original)}</Signature>`);
      return xml.replace(original, () => evil);
    },
  ],
  [
    'XSW7: a forged assertion in Extensions',
    (xml) => xml.replace('<samlp:Status>', () => `<samlp:Extensions>${forged(xml)}</samlp:Extensions><samlp:Status>`),
  ],
  [
    'XSW8: the original in an Object of the changed assertion’s signature',
    (xml) => {
      const original = assertionOf(xml);
      const evil = original
        .replaceAll(ADA.nameId, EVIL)
        .replace('</Signature>', `<Object>${withoutSignature(original)}</Object></Signature>`);
      return xml.replace(original, () => evil);
    },
  ],
  [
    'two elements of one ID',
    (xml) => {
      const id = / ID="([^"]*)"/.exec(assertionOf(xml))?.[1] ?? '';
      return xml.replace('<samlp:Status>', () => `<samlp:Extensions ID="${id}"/><samlp:Status>`);
    },
  ],
  [
    'the same ID in single quotes and another case of its name',
    (xml) => {
      const id = / ID="([^"]*)"/.exec(assertionOf(xml))?.[1] ?? '';
      return xml.replace('<samlp:Status>', () => `<samlp:Extensions Id = '${id}'/><samlp:Status>`);
    },
  ],
];

/** The vulnerable twins: a valid signature anywhere counts, and the name is read from the first assertion, or from the one at the usual place. */
const TWINS: readonly ((xml: string) => string)[] = [
  (xml) => /<saml:NameID[^>]*>([^<]*)/.exec(xml)?.[1] ?? '',
  (xml) => {
    const path: string[] = [];
    for (const [whole, close, name = '', text] of xml.matchAll(/<(\/?)([\w:]+)[^>]*>([^<]*)/g)) {
      if (close === '/') path.pop();
      else if (name === 'saml:NameID' && path.join(' ') === 'samlp:Response saml:Assertion saml:Subject')
        return text ?? '';
      else if (!/\/>/.test(whole)) path.push(name);
    }
    return '';
  },
];
const fooled = (xml: string): boolean => TWINS.some((read) => read(xml) === EVIL);

describe('signature wrapping is refused and recorded', () => {
  let genuine: string;
  beforeAll(async () => {
    genuine = (await idp.respond((await ask()).url, ADA)).xml;
  });

  test.for(WRAPPINGS)('AN-11: %s', async ([, wrap]) => {
    const asked = await ask();
    const { xml, relayState } = await idp.respond(asked.url, ADA);
    const wrapped = wrap(xml);
    expect(wrapped).not.toBe(xml);
    const before = reasons().length;
    const stop = await deliver(asked, wrapped, relayState);
    expect(stop.page?.status).toBe(400);
    expect(stop.page?.text).toContain('Sign-in did not work');
    expect(stop.page?.text).not.toMatch(/signature|assertion|mallory/i);
    expect(reasons().slice(before).join()).toMatch(
      /its form: (assertions|object|duplicate_id|not_a_response|signatures)/,
    );
  });

  test.for(WRAPPINGS.slice(0, 8))(
    'vulnerable twin: a reader who does not ask what was signed falls for %s',
    ([, wrap]) => {
      expect(fooled(genuine)).toBe(false);
      expect(fooled(wrap(genuine))).toBe(true);
    },
  );
});

type Change = Readonly<Record<string, unknown>>;
const other = selfSigned('evil.example', 'rsa');

/** What the provider itself signs, and must not be taken. */
const SIGNED_LIES: readonly [title: string, change: Change, reason: RegExp][] = [
  ['signed by another key', { key: other.key, cert: other.cert }, /signature/],
  ['signed by another key under the genuine certificate', { key: other.key }, /signature/],
  ['an assertion without signature in a signed response', { signAssertion: false }, /signature/],
  ['a signed assertion in an unsigned response', { signResponse: false }, /signature/],
  ['neither signed', { signResponse: false, signAssertion: false }, /signature/],
  ['signed with SHA-1', { signatureAlgorithm: 'rsa-sha1' }, /algorithm/],
  ['a digest of SHA-1', { digestAlgorithm: 'sha1' }, /algorithm/],
  ['for another audience', { audience: 'https://other.example/metadata' }, /audience/],
  ['for another recipient', { recipient: 'https://other.example/acs' }, /recipient/],
  ['without a recipient', { recipient: undefined }, /recipient/],
  ['to another destination', { destination: 'https://other.example/acs' }, /destination/],
  ['in answer to another request', { inResponseTo: '_0123456789' }, /in_response_to/],
  ['in answer to no request (started by the provider)', { inResponseTo: undefined }, /in_response_to/],
  ['of another issuer', { issuer: 'https://evil.example/saml' }, /issuer/],
  ['that has expired', { lifetimeInSeconds: -120 }, /time|confirmation/],
  ['with a status that is not success', { samlStatusCode: 'urn:oasis:names:tc:SAML:2.0:status:Responder' }, /status/],
];

describe('a response is refused and recorded', () => {
  test.for(SIGNED_LIES)('AN-11: %s', async ([, change, reason]) => {
    const asked = await ask();
    const { xml, relayState } = await idp.respond(asked.url, ADA, change);
    const before = reasons().length;
    const stop = await deliver(asked, xml, relayState);
    expect(stop.page?.status).toBe(400);
    expect(stop.page?.text).toContain('Sign-in did not work');
    expect(reasons().slice(before).join()).toMatch(reason);
  });

  const TEXT_LIES: readonly [title: string, change: (xml: string) => string | Buffer, reason: RegExp][] = [
    [
      'with a comment in the NameID',
      (xml) => xml.replace('ada-persistent-1', 'ada-persistent<!-- -->-1'),
      /markup_declaration/,
    ],
    [
      'with a comment anywhere',
      (xml) => xml.replace('<samlp:Status>', '<!-- x --><samlp:Status>'),
      /markup_declaration/,
    ],
    ['with CDATA in the NameID', (xml) => xml.replace('ada-persistent-1', '<![CDATA[mallory]]>'), /markup_declaration/],
    ['with a DOCTYPE', (xml) => `<!DOCTYPE x>${xml}`, /markup_declaration/],
    [
      'with an entity bomb',
      (xml) =>
        `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>${xml.replace('ada-persistent-1', '&c;')}`,
      /markup_declaration/,
    ],
    [
      'with an external entity (XXE)',
      (xml) => `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>${xml.replace('ada-persistent-1', '&f;')}`,
      /markup_declaration/,
    ],
    [
      'with an external parameter entity',
      (xml) => `<!DOCTYPE x [<!ENTITY % f SYSTEM "http://127.0.0.1:9/x.dtd"> %f;]>${xml}`,
      /markup_declaration/,
    ],
    ['with an entity that nobody declared', (xml) => xml.replace('ada-persistent-1', '&root;'), /entity_reference/],
    [
      'with a style sheet instruction',
      (xml) => xml.replace('<samlp:Status>', '<?xml-stylesheet href="x"?><samlp:Status>'),
      /processing_instruction/,
    ],
    [
      'in another encoding',
      (xml) => Buffer.from(`<?xml version="1.0" encoding="UTF-16"?>${xml}`, 'utf16le'),
      /not_utf8|not_xml/,
    ],
    ['that says another encoding', (xml) => `<?xml version="1.0" encoding="UTF-7"?>${xml}`, /processing_instruction/],
    ['with a byte order mark', (xml) => `\ufeff${xml}`, /not_xml/],
    ['with a NUL', (xml) => xml.replace('ada-persistent-1', 'ada\0'), /not_xml/],
    ['with a changed NameID', (xml) => xml.replace('ada-persistent-1', 'ada-persistent-2'), /signature/],
    ['with a changed attribute', (xml) => xml.replace('on-call', 'admins'), /signature/],
    ['with its signature of the response removed', unsignedResponse, /signature/],
    [
      'with a transform by XPath',
      (xml) =>
        xml.replace(
          'http://www.w3.org/2000/09/xmldsig#enveloped-signature',
          'http://www.w3.org/TR/1999/REC-xpath-19991116',
        ),
      /algorithm/,
    ],
    [
      'with a transform by XSLT',
      (xml) => xml.replace('http://www.w3.org/2001/10/xml-exc-c14n#', 'http://www.w3.org/TR/1999/REC-xslt-19991116'),
      /algorithm/,
    ],
    [
      'with an HMAC for a signature',
      (xml) =>
        xml.replace('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2000/09/xmldsig#hmac-sha1'),
      /algorithm/,
    ],
    [
      'with canonical form that keeps comments',
      (xml) =>
        xml.replace('http://www.w3.org/2001/10/xml-exc-c14n#', 'http://www.w3.org/2001/10/xml-exc-c14n#WithComments'),
      /algorithm/,
    ],
    ['that is an assertion alone', (xml) => assertionOf(xml), /not_a_response/],
    ['that is another message', (xml) => xml.replaceAll('samlp:Response', 'samlp:LogoutResponse'), /not_a_response/],
    ['without an assertion', (xml) => xml.replace(assertionOf(xml), ''), /assertions/],
    ['with two genuine assertions', (xml) => xml.replace(assertionOf(xml), (all) => all + all), /assertions/],
    [
      'with an encrypted assertion that nobody asked for',
      (xml) => xml.replace(assertionOf(xml), '<saml:EncryptedAssertion/>'),
      /encrypted/,
    ],
    [
      'with two references in a signature',
      (xml) => xml.replace(/<Reference[\s\S]*?<\/Reference>/, (all) => all + all),
      /signatures/,
    ],
    ['larger than a response is', (xml) => xml.replace('ada-persistent-1', 'x'.repeat(210_000)), /too_large/],
    ['that is no XML', () => 'hello', /not_xml|not_a_response/],
    ['that is empty', () => '', /not_base64/],
    [
      'deeply nested',
      (xml) => xml.replace('<samlp:Status>', () => `${'<a>'.repeat(5_000)}${'</a>'.repeat(5_000)}<samlp:Status>`),
      /too_large/,
    ],
  ];
  test.for(TEXT_LIES)('AN-11: %s', async ([, change, reason]) => {
    const asked = await ask();
    const { xml, relayState } = await idp.respond(asked.url, ADA);
    const before = reasons().length;
    const stop = await deliver(asked, change(xml), relayState);
    expect(stop.page?.status).toBe(400);
    expect(stop.page?.text).toContain('Sign-in did not work');
    expect(stop.page?.text).not.toContain('root:');
    expect(reasons().slice(before).join()).toMatch(reason);
  });

  test('the second time: in the same browser, in another, and for another request', async () => {
    const first = await ask();
    const { xml, relayState } = await idp.respond(first.url, ADA);
    expect((await deliver(first, xml, relayState)).page?.text).toContain('Ada Lovelace');
    expect((await deliver(first, xml, relayState)).page?.status).toBe(400);
    expect((await deliver(first, xml, relayState, cookieJar())).page?.status).toBe(400);
    const second = await ask();
    const { relayState: another } = await idp.respond(second.url, ADA);
    expect((await deliver(second, xml, another)).page?.text).toContain('Sign-in did not work');
  });

  test('in a browser that did not ask (login CSRF)', async () => {
    const attacker = await ask();
    const { xml, relayState } = await idp.respond(attacker.url, ADA);
    const victim = await deliver(attacker, xml, relayState, cookieJar());
    expect(victim.page?.status).toBe(400);
    expect(victim.page?.text).not.toContain('Ada Lovelace');
  });

  test('ten minutes after it was asked for', async () => {
    const asked = await ask();
    const { xml, relayState } = await idp.respond(asked.url, ADA, { lifetimeInSeconds: 3_600 });
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 });
    try {
      expect((await deliver(asked, xml, relayState)).page?.status).toBe(400);
    } finally {
      vi.useRealTimers();
    }
  });

  test.for([
    ['without RelayState', { SAMLResponse: 'PHg+PC94Pg==' }],
    ['with a RelayState of nobody', { SAMLResponse: 'PHg+PC94Pg==', RelayState: 'A'.repeat(43) }],
  ] as const)('%s', async ([, fields]) => {
    const response = await fetch(`${at.server.issuer}/federation/corp/acs`, {
      method: 'POST',
      body: new URLSearchParams(fields),
    });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('start again');
  });

  test('by GET, as JSON, or larger than a form', async () => {
    const acs = `${at.server.issuer}/federation/corp/acs`;
    expect((await fetch(acs)).status).toBe(404);
    expect(
      (await fetch(acs, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).status,
    ).toBe(415);
    const large = new URLSearchParams({ SAMLResponse: 'A'.repeat(500_000) });
    expect((await fetch(acs, { method: 'POST', body: large })).status).toBe(413);
  });
});

test('after a form that is too large the next request on that connection is answered', async () => {
  const body = new URLSearchParams({ SAMLResponse: 'A'.repeat(500_000) });
  for (let round = 0; round < 6; round++) {
    const refused = await fetch(`${at.server.issuer}/federation/corp/acs`, { method: 'POST', body });
    expect([refused.status, (await refused.text()).length > 0]).toEqual([413, true]);
    expect((await fetch(`${at.server.issuer}/federation/corp/metadata`)).status).toBe(200);
  }
});

test('the same NameID as transient names nobody', async () => {
  const asked = await ask();
  const { xml, relayState } = await idp.respond(asked.url, ADA, {
    profileMapper: () => ({
      getClaims: () => ({}),
      getNameIdentifier: () => ({
        nameIdentifier: 'one-time',
        nameIdentifierFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient',
      }),
    }),
  });
  expect((await deliver(asked, xml, relayState)).page?.text).toContain('Sign-in did not work');
  expect(reasons().at(-1)).toContain('is missing');
});
