/** The authority of one process vouches for the hosts it was made for and for nothing else. */
import { X509Certificate } from 'node:crypto';
import { connect, createServer, type SecureContext } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { egressAuthority } from '../../../src/upstream/egress/authority.ts';

async function handshake(context: SecureContext, ca: string, servername: string): Promise<string> {
  const server = createServer({ SNICallback: (_name, done) => done(null, context) });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  server.on('tlsClientError', () => {});
  try {
    return await new Promise((resolve) => {
      const client = connect({ host: '127.0.0.1', port, servername, ca: [ca] }, () => {
        client.destroy();
        resolve('trusted');
      });
      client.once('error', (error: NodeJS.ErrnoException) => resolve(`${error.code} ${error.message}`));
    });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

describe('an authority', () => {
  const authority = egressAuthority(['api.example.com', 'b.example']);

  test('is trusted for its hosts', async () => {
    for (const host of ['api.example.com', 'b.example'])
      expect(await handshake(authority.contextFor(host), authority.certificate, host)).toBe('trusted');
  });

  test('says what it is: an authority, with no other below it, and no key', () => {
    const certificate = new X509Certificate(authority.certificate);
    expect(certificate.ca).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(authority.certificate).not.toContain('PRIVATE KEY');
  });

  test('makes nothing for another host, and one certificate for one host', () => {
    expect(() => authority.contextFor('evil.example')).toThrow('not made for this host');
    expect(authority.contextFor('b.example')).toBe(authority.contextFor('b.example'));
  });

  test('makes a new certificate before the old one is over', () => {
    let now = Date.now();
    const aging = egressAuthority(['a.example'], () => now);
    const first = aging.contextFor('a.example');
    now += 16 * 86_400_000;
    expect(aging.contextFor('a.example')).not.toBe(first);
  });

  test('of one process is not trusted by another', async () => {
    const other = egressAuthority(['api.example.com']);
    expect(await handshake(other.contextFor('api.example.com'), authority.certificate, 'api.example.com')).toMatch(
      /signature|self-signed|unable to/i,
    );
  });

  test('would not be believed if it vouched for a host outside of its list', async () => {
    // Twin: the list of hosts in code is changed behind its back; the constraint in the certificate still holds.
    const hosts = ['a.example'];
    const wide = egressAuthority(hosts);
    hosts.push('evil.example');
    expect(await handshake(wide.contextFor('evil.example'), wide.certificate, 'evil.example')).toMatch(
      /permitted subtree violation/,
    );
  });
});
