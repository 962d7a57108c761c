/**
 * Federated sign-in between two browsers: whoever starts a sign-in and has somebody else finish it at the provider (a link to the provider,
 * where the victim is signed in already) must not become that person.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readSamlForm } from '../../src/authserver/federation/saml-guard.ts';
import { startFederated, walk } from '../authserver/federation-fixture.ts';
import type { Federated } from '../authserver/federation-fixture.ts';
import { startFixture } from '../authserver/fixture.ts';
import type { Fixture } from '../authserver/fixture.ts';
import { cookieJar } from '../support/browser.ts';
import { samlProvider } from '../support/idp/saml-provider.ts';

let at: Federated;
let samlAt: Fixture;
const idp = samlProvider();
beforeAll(async () => {
  at = await startFederated();
  samlAt = await startFixture({
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
        attributes: { name: 'displayName' },
      },
    ],
  });
});
afterAll(async () => {
  await at.stop();
  await samlAt.stop();
});

const ADA = { sub: 'ada-1', claims: { name: 'Ada Lovelace' } };
const atInteraction = (url: URL): boolean => url.pathname.startsWith('/interaction/');

test('AN-11: an answer that the victim brought is not the answer of the browser that asked', async () => {
  await at.idp.visitor(ADA);
  const mallory = await at.visit({ halt: atInteraction });
  const there = await walk(mallory.url, mallory.jar, (url) => url.origin === at.idp.issuer);
  const victim = await walk(there.url, cookieJar());
  expect(victim.page?.status).toBe(400);
  const stop = await walk(`${at.server.issuer}${mallory.url.pathname}/federation`, mallory.jar);
  expect(stop.page?.text).not.toContain('Ada Lovelace');
  expect(stop.page?.status).toBe(400);
  const guessed = await walk(
    `${at.server.issuer}${mallory.url.pathname}/federation?receipt=${'A'.repeat(43)}`,
    mallory.jar,
  );
  expect(guessed.page?.text).not.toContain('Ada Lovelace');
  expect(guessed.page?.status).toBe(400);
});

test('AN-11: nor is a SAML response', async () => {
  const mallory = cookieJar();
  const { url } = await samlAt.authorizationUrl();
  const interaction = await walk(url, mallory, atInteraction);
  const there = await walk(interaction.url, mallory, (next) => next.href.startsWith(idp.signOnUrl));
  const { xml, relayState } = await idp.respond(there.url, {
    nameId: 'ada-1',
    attributes: { displayName: 'Ada Lovelace' },
  });
  const victim = await walk(`${samlAt.server.issuer}/federation/corp/acs`, cookieJar(), () => false, {
    method: 'POST',
    body: new URLSearchParams({ SAMLResponse: Buffer.from(xml).toString('base64'), RelayState: relayState }),
  });
  expect(victim.page?.status).toBe(400);
  const stop = await walk(`${samlAt.server.issuer}${interaction.url.pathname}/federation`, mallory);
  expect(stop.page?.text).not.toContain('Ada Lovelace');
  expect(stop.page?.status).toBe(400);
});

/** A response that the provider signed, with this inside of it, which nobody signed. */
async function grown(more: string): Promise<ReturnType<typeof readSamlForm>> {
  const mallory = cookieJar();
  const { url } = await samlAt.authorizationUrl();
  const there = await walk(url, mallory, (next) => next.href.startsWith(idp.signOnUrl));
  const { xml } = await idp.respond(there.url, { nameId: 'ada-1' });
  const text = xml.replace(/<\/(?:\w+:)?Response>\s*$/, (end) => more + end);
  expect(text.length).toBe(xml.trimEnd().length + more.length);
  return readSamlForm(Buffer.from(text).toString('base64'), false);
}

test('a response that would keep the server busy for minutes is refused before anybody parses it', async () => {
  const many = 44_000;
  for (const more of [
    '<a/>'.repeat(many),
    '<a>'.repeat(many / 2) + '</a>'.repeat(many / 2),
    `<a ${Array.from({ length: many / 4 }, (_, at) => `b${at}="c"`).join(' ')}/>`,
    `<a ${'b '.repeat(many)}/>`,
    `<a b=">" ${'b '.repeat(many)}/>`,
  ])
    expect(await grown(more)).toEqual({ ok: false, error: 'too_large' });
  // An unclosed quote would make a tag end somewhere else for whoever reads it after us.
  expect(await grown('<a b="<c d="/>')).toEqual({ ok: false, error: 'not_xml' });
  // As many groups as can be forwarded.
  const groups = '<v xmlns:xs="http://www.w3.org/2001/XMLSchema" xs:type="xs:string">on-call</v>'.repeat(500);
  expect((await grown(groups)).ok).toBe(true);
});
