/**
 * The certificate authority of one process of one server: made when that process starts, trusted by nobody else, gone with it. Its key is in
 * memory only; its certificate says which names it may vouch for (RFC 5280 4.2.1.10), so that even the process it is for need not trust it further.
 * ECDSA P-256. DER is written by hand because node reads certificates and makes none.
 */
import { type KeyObject, createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { type SecureContext, createSecureContext } from 'node:tls';

export interface EgressAuthority {
  /** PEM, without the key. */
  readonly certificate: string;
  /** For the server's side of TLS; only for the hosts that the authority was made for. */
  contextFor(host: string): SecureContext;
}

const DAY_MS = 86_400_000;
/** As long as a process may live, and a little more. */
const AUTHORITY_DAYS = 1_825;
const LEAF_DAYS = 30;

export function egressAuthority(hosts: readonly string[], now: () => number = Date.now): EgressAuthority {
  const name = `Remit egress ${randomBytes(6).toString('hex')}`;
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyId = keyIdOf(publicKey);
  const certificate = certify({
    issuer: name,
    subject: name,
    publicKey,
    signedBy: privateKey,
    from: now() - DAY_MS,
    to: now() + AUTHORITY_DAYS * DAY_MS,
    extensions: [
      extension([0x55, 0x1d, 0x13], true, sequence(der(0x01, [0xff]), der(0x02, [0]))), // basicConstraints: CA, no CA below
      extension([0x55, 0x1d, 0x0f], true, der(0x03, [1, 0x06])), // keyUsage: keyCertSign, cRLSign
      extension([0x55, 0x1d, 0x0e], false, der(0x04, keyId)), // subjectKeyIdentifier
      extension(
        [0x55, 0x1d, 0x1e], // nameConstraints: these names, and no address
        true,
        sequence(
          der(0xa0, ...hosts.map((host) => sequence(der(0x82, Buffer.from(host))))),
          der(0xa1, sequence(der(0x87, Buffer.alloc(8))), sequence(der(0x87, Buffer.alloc(32)))),
        ),
      ),
    ],
  });

  const made = new Map<string, { readonly context: SecureContext; readonly until: number }>();
  function leaf(host: string): SecureContext {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const cert = certify({
      issuer: name,
      subject: 'Remit egress',
      publicKey: pair.publicKey,
      signedBy: privateKey,
      from: now() - DAY_MS,
      to: now() + LEAF_DAYS * DAY_MS,
      extensions: [
        extension([0x55, 0x1d, 0x11], false, sequence(der(0x82, Buffer.from(host)))), // subjectAltName
        extension([0x55, 0x1d, 0x0f], true, der(0x03, [7, 0x80])), // keyUsage: digitalSignature
        extension([0x55, 0x1d, 0x25], false, sequence(oid([0x2b, 6, 1, 5, 5, 7, 3, 1]))), // extKeyUsage: serverAuth
        extension([0x55, 0x1d, 0x0e], false, der(0x04, keyIdOf(pair.publicKey))),
        extension([0x55, 0x1d, 0x23], false, sequence(der(0x80, keyId))), // authorityKeyIdentifier
      ],
    });
    const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    return createSecureContext({ cert, key, minVersion: 'TLSv1.2' });
  }

  return {
    certificate,
    contextFor(host) {
      if (!hosts.includes(host)) throw new Error('the authority was not made for this host');
      const known = made.get(host);
      if (known !== undefined && now() < known.until) return known.context;
      const context = leaf(host);
      made.set(host, { context, until: now() + (LEAF_DAYS / 2) * DAY_MS });
      return context;
    },
  };
}

function certify(of: {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly signedBy: KeyObject;
  readonly from: number;
  readonly to: number;
  readonly extensions: readonly Buffer[];
}): string {
  const algorithm = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])); // ecdsa-with-SHA256
  const body = sequence(
    der(0xa0, der(0x02, [2])), // version 3
    der(0x02, [1], randomBytes(15)),
    algorithm,
    commonName(of.issuer),
    sequence(time(of.from), time(of.to)),
    commonName(of.subject),
    of.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...of.extensions)),
  );
  const bytes = sequence(body, algorithm, der(0x03, [0], sign('sha256', body, of.signedBy)));
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

const keyIdOf = (key: KeyObject): Buffer =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);

function der(tag: number, ...parts: ReadonlyArray<Buffer | readonly number[]>): Buffer {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...parts: readonly Buffer[]): Buffer => der(0x30, ...parts);
const oid = (bytes: readonly number[]): Buffer => der(0x06, bytes);
const commonName = (text: string): Buffer =>
  sequence(der(0x31, sequence(oid([0x55, 4, 3]), der(0x0c, Buffer.from(text)))));
const extension = (id: readonly number[], critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
/** UTCTime up to 2049, GeneralizedTime after (RFC 5280 4.1.2.5). */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return digits < '2050' ? der(0x17, Buffer.from(`${digits.slice(2)}Z`)) : der(0x18, Buffer.from(`${digits}Z`));
}
