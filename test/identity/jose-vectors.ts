/**
 * Attack vectors for readers of signed tokens, made here in the classes of the known collections: each is one token with one thing wrong with its
 * form, its key, its padding or its numbers, beside claims that are right. `accepted` rows are pinned: what we take although some reader would not.
 * Long because it is one table.
 */
import { constants, createHash, createHmac, createSign, generateKeyPairSync, privateEncrypt, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export interface Vector {
  readonly group: string;
  readonly comment: string;
  readonly token: string;
  readonly result: 'refused' | 'accepted';
}

export interface VectorKeys {
  /** As they stand in the key set. */
  readonly published: readonly Readonly<Record<string, unknown>>[];
}

const b64 = (bytes: Buffer | string): string => Buffer.from(bytes).toString('base64url');
const pair = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ed: generateKeyPairSync('ed25519'),
  weak: generateKeyPairSync('rsa', { modulusLength: 1024 }),
  three: generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  k1: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
  stranger: generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
const jwkOf = (key: KeyObject): Record<string, unknown> => ({ ...key.export({ format: 'jwk' }) });
const { n } = jwkOf(pair.rsa.publicKey) as { n: string };
const MODULUS = BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`);
/** Order of P-256 (SEC 2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export const KEYS: VectorKeys = {
  published: [
    { ...jwkOf(pair.rsa.publicKey), kid: 'rs', alg: 'RS256', use: 'sig' },
    { ...jwkOf(pair.rsa.publicKey), kid: 'ps', alg: 'PS256', use: 'sig' },
    { ...jwkOf(pair.rsa.publicKey), kid: 'rsa-any' },
    { ...jwkOf(pair.ec.publicKey), kid: 'es', alg: 'ES256', use: 'sig' },
    { ...jwkOf(pair.ed.publicKey), kid: 'ed', alg: 'EdDSA', use: 'sig' },
    { ...jwkOf(pair.rsa.publicKey), kid: 'enc', use: 'enc' },
    { ...jwkOf(pair.rsa.publicKey), kid: 'ops', key_ops: ['encrypt'] },
    { ...jwkOf(pair.weak.publicKey), kid: 'weak', alg: 'RS256' },
    { ...jwkOf(pair.three.publicKey), kid: 'three', alg: 'RS256' },
    { kty: 'RSA', n, e: 'AQ', kid: 'one', alg: 'RS256' },
    { kty: 'RSA', n, e: 'Ag', kid: 'two', alg: 'RS256' },
    { ...jwkOf(pair.rsa.privateKey), kid: 'shown', alg: 'RS256' },
    { kty: 'oct', k: b64('shared secret of thirty-two bytes'), kid: 'oct', alg: 'HS256' },
    { ...jwkOf(pair.p384.publicKey), kid: 'p384' },
    { ...jwkOf(pair.k1.publicKey), kid: 'k1' },
    { ...jwkOf(pair.ec.publicKey), kid: 'twice', alg: 'ES256' },
    { ...jwkOf(pair.p384.publicKey), kid: 'twice', alg: 'ES256' },
    { ...jwkOf(pair.ec.publicKey), kid: 'twin', alg: 'ES256' },
    { ...jwkOf(pair.ec.publicKey), kid: 'twin', alg: 'ES256' },
    { ...jwkOf(pair.ec.publicKey), x: jwkOf(pair.ec.publicKey)['y'], kid: 'off-curve', alg: 'ES256' },
  ],
};

type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA';
const KID: Readonly<Record<Algorithm, string>> = { RS256: 'rs', PS256: 'ps', ES256: 'es', EdDSA: 'ed' };

function signatureOf(algorithm: Algorithm, input: string, key?: KeyObject): Buffer {
  const bytes = Buffer.from(input);
  if (algorithm === 'EdDSA') return sign(null, bytes, key ?? pair.ed.privateKey);
  if (algorithm === 'ES256')
    return sign('sha256', bytes, { key: key ?? pair.ec.privateKey, dsaEncoding: 'ieee-p1363' });
  if (algorithm === 'RS256') return sign('sha256', bytes, key ?? pair.rsa.privateKey);
  return sign('sha256', bytes, {
    key: key ?? pair.rsa.privateKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 32,
  });
}

/** PKCS #1 v1.5 (RFC 8017 9.2) as written, with whatever stands in place of the DigestInfo and its padding. */
function paddedWith(blocks: {
  readonly info: Buffer;
  readonly begin?: Buffer;
  readonly padding?: Buffer;
  readonly gap?: Buffer;
}): Buffer {
  const { info, begin = Buffer.from([0, 1]), gap = Buffer.from([0]) } = blocks;
  const room = 256 - begin.length - gap.length - info.length;
  return Buffer.concat([begin, blocks.padding ?? Buffer.alloc(Math.max(room, 0), 0xff), gap, info]);
}
const rawRsa = (block: Buffer): Buffer => {
  const whole = Buffer.concat([block, Buffer.alloc(256)]).subarray(0, 256);
  return privateEncrypt({ key: pair.rsa.privateKey, padding: constants.RSA_NO_PADDING }, whole);
};
const numberBytes = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

const littleEndian = (bytes: Buffer): Buffer => Buffer.from(bytes.toReversed());

export function vectors(claims: Readonly<Record<string, unknown>>): readonly Vector[] {
  const rows: Vector[] = [];
  const payload = b64(JSON.stringify(claims));
  const head = (members: Record<string, unknown>): string => b64(JSON.stringify({ typ: 'at+jwt', ...members }));
  const inputOf = (algorithm: Algorithm, more: Record<string, unknown> = {}): string =>
    `${head({ alg: algorithm, kid: KID[algorithm], ...more })}.${payload}`;
  const add = (group: string, comment: string, token: string, result: Vector['result'] = 'refused'): void =>
    void rows.push({ group, comment, token, result });

  for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA'] as const) {
    const input = inputOf(algorithm);
    const [header = ''] = input.split('.');
    const bytes = signatureOf(algorithm, input);
    const good = `${input}.${b64(bytes)}`;
    const form = `form, ${algorithm}`;
    add(form, 'as it should be', good, 'accepted');
    add(
      form,
      'white space in the header',
      (() => {
        const spaced = `${b64(` {"typ" : "at+jwt",\n"alg":"${algorithm}","kid":"${KID[algorithm]}"} `)}.${payload}`;
        return `${spaced}.${b64(signatureOf(algorithm, spaced))}`;
      })(),
      'accepted',
    );
    for (const [comment, token] of [
      ['no signature', `${input}.`],
      ['no signature and no dot', input],
      ['no payload', `${header}..${b64(bytes)}`],
      ['no payload and no dot', `${header}.${b64(bytes)}`],
      ['no header', `.${payload}.${b64(bytes)}`],
      ['no header and no dot', `${payload}.${b64(bytes)}`],
      ['only dots', '..'],
      ['one empty part more', `${good}.`],
      ['one empty part before', `.${good}`],
      ['one part more', `${good}.${b64('x')}`],
      ['JSON serialisation', JSON.stringify({ payload, protected: header, signature: b64(bytes) })],
      [
        'general JSON serialisation',
        JSON.stringify({ payload, signatures: [{ protected: header, signature: b64(bytes) }] }),
      ],
      ['a line break before', `\n${good}`],
      ['a space after', `${good} `],
      ['padding', `${input}.${bytes.toString('base64url')}==`],
      ['the other alphabet', `${input}.${bytes.toString('base64').replaceAll('=', '')}`.replace(/[^+/]$/, '/')],
      ['a character outside of the alphabet', `${input}.${b64(bytes).replace(/^(.{9})/, '$1*')}`],
      ['a NUL inside', `${input}.${b64(bytes).replace(/^(.{9})/, '$1\0')}`],
      ['percent-encoded', encodeURIComponent(good).replaceAll('.', '%2E')],
    ] as const)
      add(form, comment, token);

    const numbers = `signature, ${algorithm}`;
    for (const at of [0, 1, bytes.length >> 1, bytes.length - 1]) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1;
      add(numbers, `bit of byte ${at} flipped`, `${input}.${b64(flipped)}`);
    }
    for (const [comment, wrong] of [
      ['all zeros', Buffer.alloc(bytes.length)],
      ['all ones', Buffer.alloc(bytes.length, 0xff)],
      ['one byte short', bytes.subarray(0, -1)],
      ['without its first byte', bytes.subarray(1)],
      ['one byte more', Buffer.concat([bytes, Buffer.from([0])])],
      ['a zero before', Buffer.concat([Buffer.from([0]), bytes])],
      ['twice', Buffer.concat([bytes, bytes])],
      ['of another payload', signatureOf(algorithm, `${header}.${b64('{}')}`)],
      ['of the payload alone', signatureOf(algorithm, payload)],
      ['of the header alone', signatureOf(algorithm, header)],
    ] as const)
      add(numbers, comment, `${input}.${b64(wrong)}`);

    const trust = `header, ${algorithm}`;
    const resigned = (more: Record<string, unknown>): string => {
      const own = inputOf(algorithm, more);
      return `${own}.${b64(signatureOf(algorithm, own))}`;
    };
    for (const alg of [
      'none',
      'None',
      'NONE',
      'nOnE',
      '',
      'HS256',
      'HS384',
      'RS1',
      'ES256K',
      'dir',
      algorithm.toLowerCase(),
      ` ${algorithm}`,
      null,
      [algorithm],
      7,
    ]) {
      const own = `${head({ alg, kid: KID[algorithm] })}.${payload}`;
      add(trust, `alg ${JSON.stringify(alg)}, unsigned`, `${own}.`);
      add(trust, `alg ${JSON.stringify(alg)}, signed`, `${own}.${b64(signatureOf(algorithm, own))}`);
    }
    const strangerInput = inputOf(algorithm === 'PS256' ? 'PS256' : 'RS256', { jwk: jwkOf(pair.stranger.publicKey) });
    add(
      trust,
      'a key that it brings along',
      `${strangerInput}.${b64(signatureOf('RS256', strangerInput, pair.stranger.privateKey))}`,
    );
    for (const more of [
      { jku: 'https://evil.example/jwks' },
      { x5u: 'https://evil.example/cert' },
      { x5c: ['AAAA'] },
      { crit: ['b64'], b64: false },
      { crit: [] },
      { crit: ['exp'], exp: 1 },
      { zip: 'DEF' },
      { enc: 'A256GCM' },
      { kid: undefined },
      { kid: ['rs', 'es'] },
      { kid: { toString: 'rs' } },
      { kid: `${KID[algorithm]}\0` },
      { kid: ` ${KID[algorithm]}` },
      { kid: 'unknown' },
      { typ: 'JWT' },
      { typ: undefined },
      { typ: ['at+jwt'] },
      { typ: 'AT+JWT' },
    ])
      add(
        trust,
        `header ${JSON.stringify(more)}${'kid' in more || 'typ' in more ? ` (${Object.keys(more)[0]})` : ''}`,
        resigned(more),
      );

    const [, , last = ''] = good.split('.');
    add(
      trust,
      'the header of another algorithm over the same signature',
      `${inputOf(algorithm === 'RS256' ? 'PS256' : 'RS256')}.${last}`,
    );
  }

  // A verifier that uses the bytes of a public key as a shared secret lets everybody sign.
  for (const [kid, key] of [
    ['rs', pair.rsa.publicKey],
    ['es', pair.ec.publicKey],
    ['ed', pair.ed.publicKey],
  ] as const) {
    const secrets: Record<string, Buffer | string> = {
      'SPKI PEM': key.export({ type: 'spki', format: 'pem' }),
      'SPKI PEM without the last line break': String(key.export({ type: 'spki', format: 'pem' })).trim(),
      'SPKI DER': key.export({ type: 'spki', format: 'der' }),
      'JWK text': JSON.stringify(jwkOf(key)),
      'the first member': Buffer.from(String(Object.values(jwkOf(key))[1]), 'base64url'),
      'an empty secret': '',
    };
    for (const [comment, secret] of Object.entries(secrets)) {
      const input = `${head({ alg: 'HS256', kid })}.${payload}`;
      add(
        'key confusion',
        `HMAC by ${comment} of ${kid}`,
        `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`,
      );
    }
  }

  const rs = inputOf('RS256');
  const digest = createHash('sha256').update(rs).digest();
  const OID = Buffer.from('0609608648016503040201', 'hex');
  const info = (parts: { oid?: Buffer; parameters?: Buffer; digest?: Buffer; tail?: Buffer } = {}): Buffer => {
    const { oid = OID, parameters = Buffer.from([5, 0]), tail = Buffer.alloc(0) } = parts;
    const algorithm = Buffer.concat([Buffer.from([0x30, oid.length + parameters.length]), oid, parameters]);
    const value = parts.digest ?? digest;
    const inner = Buffer.concat([algorithm, Buffer.from([4, value.length]), value, tail]);
    return Buffer.concat([Buffer.from([0x30, inner.length]), inner]);
  };
  const standard = info();
  const pkcs = (comment: string, block: Buffer, result?: Vector['result']): void =>
    add('PKCS #1 padding', comment, `${rs}.${b64(rawRsa(block))}`, result);
  pkcs('as it should be', paddedWith({ info: standard }), 'accepted');
  pkcs('block type 2', paddedWith({ info: standard, begin: Buffer.from([0, 2]) }));
  pkcs('block type 0', paddedWith({ info: standard, begin: Buffer.from([0, 0]) }));
  pkcs(
    'short padding, garbage behind',
    paddedWith({ info: Buffer.concat([standard, Buffer.alloc(150, 7)]), padding: Buffer.alloc(52, 0xff) }),
  );
  pkcs(
    'eight bytes of padding, garbage behind',
    paddedWith({ info: Buffer.concat([standard, Buffer.alloc(194, 7)]), padding: Buffer.alloc(8, 0xff) }),
  );
  pkcs('no padding', paddedWith({ info: Buffer.concat([standard, Buffer.alloc(202)]), padding: Buffer.alloc(0) }));
  pkcs(
    'a zero in the padding',
    paddedWith({ info: standard, padding: Buffer.from(Array.from({ length: 202 }, (_, i) => (i === 100 ? 0 : 0xff))) }),
  );
  pkcs(
    'another byte in the padding',
    paddedWith({
      info: standard,
      padding: Buffer.from(Array.from({ length: 202 }, (_, i) => (i === 201 ? 0xfe : 0xff))),
    }),
  );
  pkcs('no zero after the padding', paddedWith({ info: standard, gap: Buffer.from([0xff]) }));
  pkcs('no parameters', paddedWith({ info: info({ parameters: Buffer.alloc(0) }) }));
  pkcs('parameters in long form', paddedWith({ info: info({ parameters: Buffer.from([5, 0x81, 0]) }) }));
  pkcs(
    'garbage in the parameters',
    paddedWith({ info: info({ parameters: Buffer.from([4, 8, 1, 2, 3, 4, 5, 6, 7, 8]) }) }),
  );
  pkcs('the name of SHA-1', paddedWith({ info: info({ oid: Buffer.from('06052b0e03021a', 'hex') }) }));
  pkcs('the name of SHA-512', paddedWith({ info: info({ oid: Buffer.from('0609608648016503040203', 'hex') }) }));
  pkcs('a name that begins alike', paddedWith({ info: info({ oid: Buffer.from('060a60864801650304020100', 'hex') }) }));
  pkcs('the digest cut', paddedWith({ info: info({ digest: digest.subarray(0, 31) }) }));
  pkcs('one byte of digest more', paddedWith({ info: info({ digest: Buffer.concat([digest, Buffer.from([0])]) }) }));
  pkcs('an empty digest', paddedWith({ info: info({ digest: Buffer.alloc(0) }) }));
  pkcs('SHA-1 of the input', paddedWith({ info: info({ digest: createHash('sha1').update(rs).digest() }) }));
  pkcs('something behind the digest', paddedWith({ info: info({ tail: Buffer.from([5, 0]) }) }));
  pkcs('a length in long form', paddedWith({ info: Buffer.concat([Buffer.from([0x30, 0x81]), standard.subarray(1)]) }));
  pkcs(
    'a length with a leading zero',
    paddedWith({ info: Buffer.concat([Buffer.from([0x30, 0x82, 0]), standard.subarray(1)]) }),
  );
  pkcs(
    'an indefinite length',
    paddedWith({ info: Buffer.concat([Buffer.from([0x30, 0x80]), standard.subarray(2), Buffer.from([0, 0])]) }),
  );
  pkcs('a length too large', paddedWith({ info: Buffer.concat([Buffer.from([0x30, 0x32]), standard.subarray(2)]) }));
  pkcs(
    'a set in place of the sequence',
    paddedWith({ info: Buffer.concat([Buffer.from([0x31]), standard.subarray(1)]) }),
  );
  pkcs('the digest without its name', paddedWith({ info: digest }));
  pkcs('nothing', paddedWith({ info: Buffer.alloc(0) }));

  const ps = inputOf('PS256');
  for (const saltLength of [0, 1, 20, 31, 33, 64, 222]) {
    const wrong = sign('sha256', Buffer.from(ps), {
      key: pair.rsa.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength,
    });
    add('PSS', `a salt of ${saltLength} bytes`, `${ps}.${b64(wrong)}`);
  }
  for (const hashName of ['sha1', 'sha384', 'sha512'])
    add(
      'PSS',
      `made with ${hashName}`,
      `${ps}.${b64(sign(hashName, Buffer.from(ps), { key: pair.rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }))}`,
    );
  add('PSS', 'made as PKCS #1', `${ps}.${b64(signatureOf('RS256', ps))}`);
  add('PKCS #1 padding', 'made as PSS', `${rs}.${b64(signatureOf('PS256', rs))}`);

  for (const [algorithm, input] of [
    ['RS256', rs],
    ['PS256', ps],
  ] as const) {
    const value = BigInt(`0x${signatureOf(algorithm, input).toString('hex')}`);
    for (const [comment, number, length] of [
      ['is 0', 0n, 256],
      ['is 1', 1n, 256],
      ['is the modulus less one', MODULUS - 1n, 256],
      ['is the modulus', MODULUS, 256],
      ['is not reduced', value + MODULUS, 257],
      ['is negated', MODULUS - value, 256],
    ] as const)
      add(`numbers, ${algorithm}`, `the signature ${comment}`, `${input}.${b64(numberBytes(number, length))}`);
  }

  const es = inputOf('ES256');
  const esSignature = signatureOf('ES256', es);
  const r = BigInt(`0x${esSignature.subarray(0, 32).toString('hex')}`);
  const s = BigInt(`0x${esSignature.subarray(32).toString('hex')}`);
  const ecdsa = (comment: string, first: bigint, second: bigint, result?: Vector['result'], length = 32): void =>
    add(
      'numbers, ES256',
      comment,
      `${es}.${b64(Buffer.concat([numberBytes(first, length), numberBytes(second, length)]))}`,
      result,
    );
  ecdsa('r and s as they are', r, s, 'accepted');
  // Every ECDSA signature has this second form. Nothing here knows a token by its signature: it is known by its id.
  ecdsa('s negated', r, ORDER - s, 'accepted');
  ecdsa('r is 0', 0n, s);
  ecdsa('s is 0', r, 0n);
  ecdsa('both are 0', 0n, 0n);
  ecdsa('both are 1', 1n, 1n);
  ecdsa('both are the order', ORDER, ORDER);
  ecdsa('r is the order', ORDER, s);
  ecdsa('s is the order', r, ORDER);
  ecdsa('r and s exchanged', s, r);
  ecdsa('in fields of 33 bytes', r, s, undefined, 33);
  ecdsa('in fields of 48 bytes', r, s, undefined, 48);
  add(
    'numbers, ES256',
    'DER in place of two numbers',
    `${es}.${b64(createSign('sha256').update(es).sign(pair.ec.privateKey))}`,
  );

  const ed = signatureOf('EdDSA', inputOf('EdDSA'));
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = BigInt(`0x${littleEndian(ed.subarray(32)).toString('hex')}`);
  const unreduced = littleEndian(numberBytes(scalar + L, 32));
  add(
    'numbers, EdDSA',
    'the scalar is not reduced',
    `${inputOf('EdDSA')}.${b64(Buffer.concat([ed.subarray(0, 32), unreduced]))}`,
  );

  const named = (kid: string, alg: string, made: (input: string) => Buffer): string => {
    const input = `${head({ alg, kid })}.${payload}`;
    return `${input}.${b64(made(input))}`;
  };
  add(
    'keys',
    'one that says no algorithm, RS256',
    named('rsa-any', 'RS256', (input) => signatureOf('RS256', input)),
    'accepted',
  );
  add(
    'keys',
    'the same, PS256',
    named('rsa-any', 'PS256', (input) => signatureOf('PS256', input)),
    'accepted',
  );
  for (const [comment, token] of [
    ['one for encryption', named('enc', 'RS256', (input) => signatureOf('RS256', input))],
    ['one whose operations do not verify', named('ops', 'RS256', (input) => signatureOf('RS256', input))],
    ['one for another algorithm', named('rs', 'PS256', (input) => signatureOf('PS256', input))],
    ['one of 1024 bits', named('weak', 'RS256', (input) => signatureOf('RS256', input, pair.weak.privateKey))],
    ['one with the exponent 3', named('three', 'RS256', (input) => signatureOf('RS256', input, pair.three.privateKey))],
    [
      'one with the exponent 1: the signature is the padded digest',
      named('one', 'RS256', (input) =>
        paddedWith({ info: info({ digest: createHash('sha256').update(input).digest() }) }),
      ),
    ],
    ['one with the exponent 2', named('two', 'RS256', (input) => signatureOf('RS256', input))],
    ['a private key that was published', named('shown', 'RS256', (input) => signatureOf('RS256', input))],
    [
      'a shared secret in the key set',
      named('oct', 'HS256', (input) =>
        createHmac('sha256', 'shared secret of thirty-two bytes').update(input).digest(),
      ),
    ],
    [
      'another curve',
      named('p384', 'ES256', (input) =>
        sign('sha256', Buffer.from(input), { key: pair.p384.privateKey, dsaEncoding: 'ieee-p1363' }),
      ),
    ],
    [
      'a curve of another family',
      named('k1', 'ES256', (input) =>
        sign('sha256', Buffer.from(input), { key: pair.k1.privateKey, dsaEncoding: 'ieee-p1363' }),
      ),
    ],
    [
      'two keys under one id, the same algorithm and type',
      named('twin', 'ES256', (input) => signatureOf('ES256', input)),
    ],
    ['a point that is not on the curve', named('off-curve', 'ES256', (input) => signatureOf('ES256', input))],
    [
      'the key of somebody else',
      named('rs', 'RS256', (input) => signatureOf('RS256', input, pair.stranger.privateKey)),
    ],
  ] as const)
    add('keys', comment, token);
  // Of two keys under one id only one is of the type that the algorithm needs: there is nothing to choose.
  add(
    'keys',
    'two keys under one id, one of them of another curve',
    named('twice', 'ES256', (input) => signatureOf('ES256', input)),
    'accepted',
  );
  return rows;
}
