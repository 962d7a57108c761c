/**
 * A self-signed certificate made on the spot, so that no private key lies in the repository and no openssl is needed.
 * P-256 (or RSA 2048), valid for one day around now. Trust it by putting `cert` into the client's list of authorities. Tests only.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
  /** PEM. */
  readonly publicKey: string;
}

/** RSA where a standard of its time knows nothing else. Two that are trusted together need different common names. */
export function selfSigned(name: string, kind: 'ec' | 'rsa' = 'ec', commonName = name): TestCertificate {
  const { publicKey, privateKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const algorithm =
    kind === 'ec'
      ? sequence(oid([42, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])) // ecdsa-with-SHA256
      : sequence(oid([42, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11]), der(0x05)); // sha256WithRSAEncryption
  const subject = sequence(der(0x31, sequence(oid([0x55, 4, 3]), der(0x0c, Buffer.from(commonName)))));
  const altName = isIP(name) === 4 ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name));
  const extension = sequence(oid([0x55, 0x1d, 0x11]), der(0x04, sequence(altName)));
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    subject,
    sequence(time(Date.now() - 3_600_000), time(Date.now() + 86_400_000)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(extension)),
  );
  const signature = sign('sha256', body, privateKey);
  const bytes = sequence(body, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${(bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

const sequence = (...parts: Buffer[]): Buffer => der(0x30, ...parts);
const oid = (bytes: readonly number[]): Buffer => der(0x06, Buffer.from(bytes));
const time = (ms: number): Buffer =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));
