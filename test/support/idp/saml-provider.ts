/**
 * A SAML identity provider made of `samlp`: reads AuthnRequests, writes signed responses. What it answers can be changed
 * by options (it then signs that) or as text (nobody signs that). The browser's part, a form, is played by the test. Tests only.
 */
import * as samlp from 'samlp';
import { selfSigned } from '../certificate.ts';

export interface SamlVisitor {
  readonly nameId: string;
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>;
}

export interface SamlTestProvider {
  readonly entityId: string;
  readonly signOnUrl: string;
  readonly cert: string;
  readonly key: string;
  /** For the address the browser was sent to: the response as XML, and what came along. */
  respond(
    url: URL,
    visitor: SamlVisitor,
    change?: Readonly<Record<string, unknown>>,
  ): Promise<{ xml: string; relayState: string; request: Record<string, string | undefined> }>;
}

export function samlProvider(): SamlTestProvider {
  const { cert, key } = selfSigned('idp.example', 'rsa');
  const entityId = 'https://idp.example/saml';
  return {
    entityId,
    signOnUrl: 'https://idp.example/saml/sso',
    cert,
    key,
    respond: async (url, visitor, change = {}) => {
      const query = Object.fromEntries(url.searchParams);
      const request = await new Promise<Record<string, string | undefined>>((resolve, reject) =>
        samlp.parseRequest({ method: 'GET', query }, {}, (error, data) =>
          error ? reject(error) : resolve(data ?? {}),
        ),
      );
      const acs = request['assertionConsumerServiceURL'];
      const options = {
        issuer: entityId,
        cert,
        key,
        audience: request['issuer'],
        recipient: acs,
        destination: acs,
        inResponseTo: request['id'],
        lifetimeInSeconds: 300,
        signResponse: true,
        signatureAlgorithm: 'rsa-sha256',
        digestAlgorithm: 'sha256',
        sessionIndex: '_session-7',
        authnContextClassRef: 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport',
        profileMapper: () => ({
          getClaims: () => visitor.attributes ?? {},
          getNameIdentifier: () => ({
            nameIdentifier: visitor.nameId,
            nameIdentifierFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
          }),
        }),
        ...change,
      };
      const xml = await new Promise<string>((resolve, reject) =>
        samlp.getSamlResponse(options, {}, (error, text) => (error ? reject(error) : resolve(text ?? ''))),
      );
      return { xml, relayState: query['RelayState'] ?? '', request };
    },
  };
}
