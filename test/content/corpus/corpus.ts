/**
 * The labelled set (README.md): each line with its placeholders filled by a seeded generator, so that nothing in the repository looks like a leaked
 * secret, and every made-up number has its right check digits. The half that a line belongs to is a hash of its id.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

export interface Labelled {
  readonly id: string;
  readonly set: 'attack' | 'benign';
  readonly half: 'dev' | 'held-out';
  /** Families that are really in it. */
  readonly holds: readonly string[];
  readonly from: string;
  readonly text: string;
}

/** Twice a digit, and the sum of its digits. */
const DOUBLED = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
const DIGITS = '0123456789';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();
const BASE62 = DIGITS + UPPER + LOWER;
const HEX = '0123456789abcdef';

const here = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');
const lines = (path: string): unknown[] =>
  here(path)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

/** Patterns are tuned on `dev` and nowhere else. */
const halfOf = (id: string): 'dev' | 'held-out' =>
  (createHash('sha256').update(`20261122:${id}`).digest()[0] ?? 0) % 2 === 0 ? 'dev' : 'held-out';

export const RESULTS: readonly Labelled[] = (['attack', 'benign'] as const).flatMap((set) =>
  lines(`results/${set}.jsonl`).map((line) => {
    const entry = line as Omit<Labelled, 'set' | 'half'>;
    return { ...entry, set, half: halfOf(entry.id), text: filled(entry.text, entry.id) };
  }),
);
export const DEFINITIONS = lines('definitions/benign.jsonl').map((line) => {
  const { id, definition } = line as { id: string; definition: Record<string, never> };
  return { id, definition: JSON.parse(filled(JSON.stringify(definition), id)) as Record<string, never> };
});

function randomness(seed: string): () => number {
  let state = crc32(seed) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function filled(text: string, seed: string): string {
  const random = randomness(seed);
  const of = (alphabet: string, length: number): string =>
    Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
  const mixed = (length: number): string => of(BASE62, length);
  const base64 = (bytes: number): string =>
    Buffer.from(Array.from({ length: bytes }, () => Math.floor(random() * 256))).toString('base64');
  const checksummed = (): string => {
    const body = mixed(30);
    let rest = crc32(body);
    let tail = '';
    for (let i = 0; i < 6; i++, rest = Math.floor(rest / 62)) tail = `${BASE62[rest % 62]}${tail}`;
    return body + tail;
  };
  const luhn = (body: string): string => {
    for (let check = 0; ; check++) {
      const sum = Array.from(`${body}${check}`)
        .toReversed()
        .reduce((total, digit, i) => total + (i % 2 === 0 ? Number(digit) : DOUBLED[Number(digit)]!), 0);
      if (sum % 10 === 0) return `${body}${check}`;
    }
  };
  const iban = (country: string): string => {
    const bban = country === 'GB' ? `${of(UPPER, 4)}${of(DIGITS, 14)}` : of(DIGITS, country === 'FR' ? 23 : 18);
    const number = Array.from(`${bban}${country}00`, (unit) => Number.parseInt(unit, 36)).join('');
    return `${country}${String(98n - (BigInt(number) % 97n)).padStart(2, '0')}${bban}`;
  };
  const taxId = (): string => {
    const digits = Array.from(DIGITS.slice(1)).toSorted(() => random() - 0.5);
    const ten = [...digits, digits[3]!].join('');
    let product = 10;
    for (const unit of ten) product = (2 * ((Number(unit) + product) % 10 || 10)) % 11;
    return `${ten}${(11 - product) % 10}`;
  };
  const grouped = (value: string, size = 4): string => value.replaceAll(new RegExp(`(.{${size}})(?=.)`, 'g'), '$1 ');
  const check = (part: string): number =>
    Array.from(part).reduce(
      (sum, unit, i) => sum + (unit === '<' ? 0 : Number.parseInt(unit, 36)) * [7, 3, 1][i % 3]!,
      0,
    ) % 10;
  const mrz = (): string => {
    const number = `C${of(DIGITS, 8)}`;
    return `${number}${check(number)}UTO850312${check('850312')}F320101${check('320101')}<<<<<<<<<<<<<<06`;
  };
  const password = (): string => `${of(UPPER, 2)}${of(LOWER, 4)}${of('!#$%+=?', 1)}${of(DIGITS, 3)}${of(LOWER, 3)}`;
  const make: Readonly<Record<string, (argument: string) => string>> = {
    github: () => `ghp_${checksummed()}`,
    githubbody: checksummed,
    githubspaced: () => Array.from(`ghp_${checksummed()}`).join(' '),
    aws: () => `AKIA${of(UPPER + '234567', 16)}`,
    awssecret: () => base64(30),
    awssession: () => `FwoGZXIvYXdz${mixed(120)}`,
    slack: () => `xoxb-${of(DIGITS, 12)}-${of(DIGITS, 12)}-${mixed(24)}`,
    slackhook: () => `T${of(UPPER, 8)}/B${of(UPPER, 8)}/${mixed(24)}`,
    stripe: () => `sk_live_${mixed(24)}`,
    google: () => `AIza${mixed(35)}`,
    npm: () => `npm_${checksummed()}`,
    jwt: () => `eyJ${mixed(33)}.eyJ${mixed(80)}.${mixed(43)}`,
    opaque: () => mixed(40),
    pem: () =>
      `-----BEGIN PRIVATE KEY-----\n${grouped(base64(90), 64).replaceAll(' ', '\n')}\n-----END PRIVATE KEY-----`,
    pemcut: () => `-----BEGIN RSA PRIVATE KEY-----\n${base64(60)}`,
    putty: () => `PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\n${base64(36)}\nPrivate-MAC: ${of(HEX, 64)}`,
    password,
    azure: () => `${mixed(86)}==`,
    hexkey: () => of(HEX, 32),
    openai: () => `sk-proj-${mixed(48)}`,
    anthropic: () => `sk-ant-api03-${mixed(60)}`,
    sendgrid: () => `SG.${mixed(22)}.${mixed(43)}`,
    gitlab: () => `glpat-${mixed(20)}`,
    hf: () => `hf_${of(LOWER + UPPER, 34)}`,
    docker: () => `dckr_pat_${mixed(27)}`,
    vault: () => `hvs.${mixed(90)}`,
    shopify: () => `shpat_${of(HEX, 32)}`,
    postman: () => `PMAK-${of(HEX, 24)}-${of(HEX, 34)}`,
    sentry: () => `sntrys_${mixed(60)}`,
    whsec: () => `whsec_${base64(24)}`,
    digitalocean: () => `dop_v1_${of(HEX, 64)}`,
    linear: () => `lin_api_${mixed(40)}`,
    pypi: () => `pypi-AgEIcHlwaS5vcmc${mixed(120)}`,
    basic: () => Buffer.from(`svc:${password()}`).toString('base64'),
    age: () => `AGE-SECRET-KEY-1${of(UPPER + DIGITS, 58)}`,
    telegram: () => `${of(DIGITS.slice(1), 10)}:AA${mixed(33)}`,
    twilio: () => `SK${of(HEX, 32)}`,
    iban,
    ibanspaced: (country) => grouped(iban(country)),
    card: (first) => luhn(first === '5' ? `52${of(DIGITS, 13)}` : `4${of(DIGITS, 14)}`),
    cardspaced: () => grouped(luhn(`52${of(DIGITS, 13)}`)),
    amex: () => luhn(`37${of(DIGITS, 12)}`).replace(/^(.{4})(.{6})/, '$1 $2 '),
    ssn: () => `${of('12345', 3)}-${of('123456789', 2)}-${of('123456789', 4)}`,
    nino: () => `AB${of(DIGITS, 6)}C`,
    ninospaced: () => `JG ${grouped(of(DIGITS, 6), 2)} A`,
    taxid: taxId,
    taxidspaced: () => taxId().replace(/^(..)(...)(...)(...)$/, '$1 $2 $3 $4'),
    mrz,
    zwsp: () => '\u200B',
    rlo: () => '\u202E',
    lri: () => '\u2066',
    pdi: () => '\u2069',
    shy: () => '\u00AD',
    bom: () => '\uFEFF',
    wj: () => '\u2060',
    bell: () => '\u0007',
    ansi: () => '\u001B[',
    osc: () => '\u001B]8;;https://a.test\u0007',
    tags: (words) => Array.from(words, (unit) => String.fromCodePoint(0xe0000 + unit.codePointAt(0)!)).join(''),
    b64: (words) => Buffer.from(words).toString('base64'),
    hex: (words) => Buffer.from(words).toString('hex'),
    uuid: () => `${of(HEX, 8)}-${of(HEX, 4)}-4${of(HEX, 3)}-a${of(HEX, 3)}-${of(HEX, 12)}`,
    sha1: () => of(HEX, 40),
    sha256: () => of(HEX, 64),
    sha512b64: () => base64(64),
    md5: () => of(HEX, 32),
    hex32: () => of(HEX, 32),
    hex16: () => of(HEX, 16),
    hex12: () => of(HEX, 12),
    hex8: () => of(HEX, 8),
    hex7: () => of(HEX, 7),
    sshpub: () => `AAAAC3NzaC1lZDI1NTE5AAAAI${base64(32).slice(0, 43)}`,
    b64block: () => base64(300),
  };
  return text.replaceAll(
    /\{\{([a-z0-9]+)(?::([^{}]*))?\}\}/g,
    (whole, name: string, argument: string = '') => make[name]?.(argument) ?? whole,
  );
}
