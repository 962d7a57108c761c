/** SAML with keys of ours and with two of the provider's: signed requests, encrypted assertions, certificates in change. And the guard, fuzzed. */
import { createVerify } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readSamlForm } from '../../src/authserver/federation/saml-guard.ts';
import { IdentityProviders } from '../../src/authserver/federation/settings.ts';
import { cookieJar } from '../support/browser.ts';
import { selfSigned } from '../support/certificate.ts';
import { samlProvider } from '../support/idp/saml-provider.ts';
import { walk } from './federation-fixture.ts';
import type { Stop } from './federation-fixture.ts';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

const idp = samlProvider();
const next = selfSigned('idp.example', 'rsa');
const ours = selfSigned('login.example', 'rsa');
const ADA = { nameId: 'ada-1', attributes: { displayName: 'Ada Lovelace' } };

let at: Fixture;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'remit-saml-'));
  writeFileSync(join(folder, 'key.pem'), ours.key);
  const secret = `file:${join(folder, 'key.pem')}`;
  at = await startFixture({
    evaluationUsers: false,
    identityProviders: [
      {
        id: 'corp',
        title: 'Corporate account',
        protocol: 'saml',
        entityId: idp.entityId,
        signOnUrl: idp.signOnUrl,
        certificates: [idp.cert, next.cert],
        organisation: 'default',
        attributes: { name: 'displayName' },
        signRequests: { secret, certificate: ours.cert },
        decryption: { secret, certificate: ours.cert },
      },
    ],
  });
});
afterAll(async () => {
  await at.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function signIn(change: Readonly<Record<string, unknown>>): Promise<Stop & { request: URL; reason: string }> {
  const jar = cookieJar();
  const { url } = await at.authorizationUrl();
  const { url: request } = await walk(url, jar, (address) => address.href.startsWith(idp.signOnUrl));
  const { xml, relayState } = await idp.respond(request, ADA, change);
  const stop = await walk(`${at.server.issuer}/federation/corp/acs`, jar, () => false, {
    method: 'POST',
    body: new URLSearchParams({ SAMLResponse: Buffer.from(xml).toString('base64'), RelayState: relayState }),
  });
  const last = at.log
    .map((line) => JSON.parse(line) as { msg?: string; reason?: string })
    .findLast(({ msg }) => msg === 'federated sign-in refused');
  return { ...stop, request, reason: last?.reason ?? '' };
}

const ENCRYPTED = {
  encryptionPublicKey: ours.publicKey,
  encryptionCert: ours.cert,
  encryptionAlgorithm: 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
  keyEncryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
};

describe('encryption', () => {
  test('an encrypted assertion signs a person in', async () => {
    const { page, reason } = await signIn(ENCRYPTED);
    expect([reason, page?.text.includes('Ada Lovelace')]).toEqual(['', true]);
  });

  test('an assertion in clear is refused where encryption is set up', async () => {
    const { page, reason } = await signIn({});
    expect([page?.status, reason]).toEqual([400, expect.stringContaining('not_encrypted')]);
  });

  test('weak encryption (CBC) is refused', async () => {
    const { page, reason } = await signIn({
      ...ENCRYPTED,
      encryptionAlgorithm: 'http://www.w3.org/2001/04/xmlenc#aes256-cbc',
      disallowEncryptionWithInsecureAlgorithm: false,
    });
    expect([page?.status, reason]).toEqual([400, expect.stringContaining('algorithm')]);
  });

  test('an assertion encrypted by somebody who is not the provider is refused', async () => {
    const evil = selfSigned('evil.example', 'rsa');
    const { page, reason } = await signIn({ ...ENCRYPTED, key: evil.key, cert: evil.cert });
    expect([page?.status, reason]).toEqual([400, expect.stringContaining('signature')]);
  });

  test('an unsigned assertion inside of encryption is refused', async () => {
    const { page, reason } = await signIn({ ...ENCRYPTED, signAssertion: false });
    expect([page?.status, reason]).toEqual([400, expect.stringContaining('signature')]);
  });
});

test('while the provider changes its certificate, both count', async () => {
  const { page } = await signIn({ ...ENCRYPTED, key: next.key, cert: next.cert });
  expect(page?.text).toContain('Ada Lovelace');
});

test('the request is signed with SHA-256 by our key, and our metadata publishes its certificate', async () => {
  const { request } = await signIn(ENCRYPTED);
  const params = request.searchParams;
  expect(params.get('SigAlg')).toBe('http://www.w3.org/2001/04/xmldsig-more#rsa-sha256');
  const signed = ['SAMLRequest', 'RelayState', 'SigAlg']
    .map((name) => `${name}=${encodeURIComponent(params.get(name) ?? '')}`)
    .join('&');
  expect(
    createVerify('sha256')
      .update(signed)
      .verify(ours.cert, params.get('Signature') ?? '', 'base64'),
  ).toBe(true);
  const metadata = await (await fetch(`${at.server.issuer}/federation/corp/metadata`)).text();
  expect(metadata.replaceAll(/\s/g, '')).toContain(ours.cert.replaceAll(/-----[^-]*-----|\s/g, ''));
  expect(metadata).toContain('AuthnRequestsSigned="true"');
  expect(metadata).not.toMatch(/PRIVATE KEY|-cbc|rsa-1_5/);
});

describe('the guard', () => {
  test('is total: any text is refused or is one response with one assertion', () => {
    const piece = fc.constantFrom(
      '<',
      '>',
      '/',
      '"',
      "'",
      '=',
      '&',
      ';',
      ' ',
      'ID',
      'Algorithm',
      'Response',
      'Assertion',
      'samlp:',
      '<!',
      '<?',
      ']]>',
      'x',
      '\n',
      '&#x3c;',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(piece, { maxLength: 60 }).map((parts) => parts.join('')),
        ),
        (text) => {
          const form = readSamlForm(Buffer.from(text).toString('base64'), false);
          if (form.ok) {
            expect(form.value.match(/<(?:[\w.-]+:)?Assertion[\s/>]/g)).toHaveLength(1);
            expect(form.value).not.toMatch(/<!|<\?(?!xml )/);
          }
        },
      ),
      { seed: 11, numRuns: 2_000 },
    );
  });

  test.for([
    [
      'hides an attribute behind a quote in text',
      `<Response ID="_a"><Assertion ID="_b"><x>Algorithm="</x><y Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"/></Assertion></Response>`,
      'algorithm',
    ],
    [
      'hides an ID behind a quote in text',
      `<Response ID="_a"><Assertion ID="_b"><x> ID='</x><y ID="_a" z='_q'/></Assertion></Response>`,
      'duplicate_id',
    ],
    [
      'writes an algorithm by character references',
      `<Response ID="_a"><Assertion ID="_b"><y Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha&#49;"/></Assertion></Response>`,
      'algorithm',
    ],
    [
      'names its assertion by another prefix',
      `<Response ID="_a"><Assertion ID="_b"/><q:Assertion ID="_c" xmlns:q="urn:oasis:names:tc:SAML:2.0:assertion"/></Response>`,
      'assertions',
    ],
    [
      'has a tag that no reader of tags knows',
      `<Response ID="_a"><Assertion ID="_b"/><\u00e9Assertion/></Response>`,
      'not_xml',
    ],
    [
      'puts a response into a response',
      `<Response ID="_a"><Response ID="_c"/><Assertion ID="_b"/></Response>`,
      'not_a_response',
    ],
  ] as const)('refuses one that %s', ([, xml, reason]) => {
    expect(readSamlForm(Buffer.from(xml).toString('base64'), false)).toEqual({ ok: false, error: reason });
  });
});

test.for([
  ['an EC certificate', { certificates: [selfSigned('x').cert] }, 'must hold an RSA key of at least 2048 bits'],
  ['no certificate', { certificates: [] }, 'Too small'],
  ['a text that is none', { certificates: ['hello'] }, 'must be one certificate in PEM form'],
  [
    'plain http to another machine',
    { signOnUrl: 'http://idp.example/sso' },
    'must be https; plain http is accepted for loopback addresses only',
  ],
  [
    'tenants without a claim',
    { organisation: undefined, tenants: { organisations: { a: 'b' } } },
    'name the claim that holds the tenant',
  ],
] as const)('settings with %s are refused', ([, change, message]) => {
  const good = {
    id: 'corp',
    title: 'Corp',
    protocol: 'saml',
    entityId: 'x',
    signOnUrl: 'https://idp.example/sso',
    certificates: [idp.cert],
    organisation: 'default',
  };
  const parsed = IdentityProviders.safeParse([{ ...good, ...change }]);
  expect(parsed.error?.issues.map((issue) => issue.message).join('\n')).toContain(message);
});
