/**
 * Personal data by shape and checksum (CI-05): mail addresses, phone numbers (E.164), payment cards (Luhn, known issuers), IBAN (mod 97, length of
 * the country), US social security, UK national insurance, German tax id (ISO 7064), dates of birth, passports (ICAO 9303).
 * Not found: names, addresses, national phone formats, numbers of other countries. Linear: hand-written scans over bounded windows.
 */
import { SIGN_DIGITS } from '../signs.ts';
import type { Detector, Found } from './found.ts';
import { NOTHING } from './found.ts';

export const SIGN_AT = 16;
export const SIGN_BIRTH = 32;
export const BIRTH_WORDS: readonly string[] = [
  'born',
  'birth',
  'dob',
  'geboren',
  'geburtsdatum',
  'geb.',
  'né le',
  'née le',
  'naissance',
  'nacimiento',
  'nascita',
];

const kind = (name: string, start: number, end: number): Found => ({ class: `personal.${name}`, start, end });

const LOCAL = new Uint8Array(128);
const DOMAIN = new Uint8Array(128);
for (const unit of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789') {
  LOCAL[unit.charCodeAt(0)] = 1;
  DOMAIN[unit.charCodeAt(0)] = 1;
}
for (const unit of '._%+-') LOCAL[unit.charCodeAt(0)] = 1;
for (const unit of '.-') DOMAIN[unit.charCodeAt(0)] = 1;
/** Addresses of programs and of manuals are nobody's. */
const NOBODY =
  /^(?:git|noreply|no-reply|user|username|name|you|someone|root|postmaster|localhost)@|@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|example|test|invalid|localhost|local)$|\.(?:png|jpe?g|gif|svg|webp|js|css)$|@\d/i;

function mails(text: string, found: Found[]): void {
  for (let at = text.indexOf('@'); at !== -1; at = text.indexOf('@', at + 1)) {
    let start = at;
    while (start > 0 && at - start < 64 && LOCAL[text.charCodeAt(start - 1)] === 1) start--;
    let end = at + 1;
    while (end < text.length && end - at < 190 && DOMAIN[text.charCodeAt(end)] === 1) end++;
    while (end > at + 1 && (text[end - 1] === '.' || text[end - 1] === '-')) end--;
    while (start < at && (text[start] === '.' || text[start] === '-')) start++;
    // A password in a URL is a secret and no address.
    if (start === at || text[start - 1] === ':' || text[start - 1] === '/') continue;
    const address = text.slice(start, end);
    if (!/\.[A-Za-z]{2,24}$/.test(address) || NOBODY.test(address)) continue;
    found.push(kind('email', start, end));
  }
}

/** A number as people write it: digits, with single separators between. Starts and ends at a digit, or `+`. */
const NUMBER = /(?<![\w.,/=-])\+?\(?\d(?:[ .()/-]{0,2}\d){7,22}(?![\w]|[.,]\d|-\w)/g;
const IBAN = /(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])/g;
const NINO =
  /(?<![A-Za-z0-9])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Za-z0-9])/g;
const MRZ = /(?<![A-Z0-9<])[A-Z0-9<]{9}\d[A-Z<]{3}\d{6}\d[MFX<]\d{6}\d[A-Z0-9<]{14}[\d<]\d(?![A-Z0-9<])/g;

/** @param from where the ones that can overlap begin. */
function overlaps(found: readonly Found[], from: number, start: number, end: number): boolean {
  for (let i = from; i < found.length && i < from + MOST_CHECKED; i++)
    if (start < found[i]!.end && end > found[i]!.start) return true;
  return false;
}
/** Of those with a checksum: beyond that a number is found twice rather than late. */
const MOST_CHECKED = 50;

function numbers(text: string, found: Found[]): void {
  const from = found.length;
  for (const { index, 0: written } of text.matchAll(IBAN)) {
    const length = ibanLength(written);
    if (length > 0) found.push(kind('iban', index, index + length));
  }
  for (const { index, 0: written } of text.matchAll(NINO)) {
    // Six digits between letters are many things: a word beside it, or the spaces, say that it is this one.
    if (written.includes(' ') || /insurance|\bnino\b|\bni\b/i.test(text.slice(Math.max(0, index - 60), index)))
      found.push(kind('uk_nino', index, index + written.length));
  }
  for (const { index, 0: written } of text.matchAll(MRZ)) {
    if (passport(written)) found.push(kind('passport', index, index + written.length));
  }
  for (const { index, 0: written } of text.matchAll(NUMBER)) {
    const name = numberKind(written, text, index);
    if (name !== null && !overlaps(found, from, index, index + written.length))
      found.push(kind(name, index, index + written.length));
  }
}

function numberKind(written: string, text: string, at: number): string | null {
  const digits = written.replaceAll(/\D/g, '');
  if (written.startsWith('+'))
    return digits.length >= 8 && digits.length <= 15 && !digits.startsWith('0') ? 'phone' : null;
  if (/^\d{3}-\d{2}-\d{4}$/.test(written))
    return /^(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}$/.test(written) ? 'us_ssn' : null;
  if (/^\d{13,19}$|^\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}$|^\d{4}([ -])\d{6}\2\d{4,5}$/.test(written))
    return isCard(digits) ? 'card' : null;
  if (/^(?:\d{11}|\d{2} \d{3} \d{3} \d{3})$/.test(written) && isGermanTaxId(digits)) {
    const before = text.slice(Math.max(0, at - 60), at);
    return written.includes(' ') || /steuer|idnr|\btin\b|tax/i.test(before) ? 'de_tax_id' : null;
  }
  return null;
}

/** Issuers' ranges and their lengths (ISO/IEC 7812), and Luhn's sum. */
function isCard(digits: string): boolean {
  const two = Number(digits.slice(0, 2));
  const four = Number(digits.slice(0, 4));
  const { length } = digits;
  const known =
    (digits.startsWith('4') && (length === 13 || length === 16 || length === 19)) ||
    (((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720)) && length === 16) ||
    ((two === 34 || two === 37) && length === 15) ||
    ((four === 6011 || two === 65 || (four >= 6440 && four <= 6499)) && length >= 16) ||
    (four >= 3528 && four <= 3589 && length >= 16) ||
    ((two === 36 || two === 38 || (four >= 3000 && four <= 3059)) && length === 14) ||
    (two === 62 && length >= 16);
  if (!known || /^(\d)\1+$/.test(digits)) return false;
  let sum = 0;
  for (let i = 0; i < length; i++) {
    let digit = digits.charCodeAt(length - 1 - i) - 48;
    if (i % 2 === 1 && (digit *= 2) > 9) digit -= 9;
    sum += digit;
  }
  return sum % 10 === 0;
}

/** Total length by country (ISO 13616 registry). */
const IBAN_LENGTHS: Readonly<Record<string, number>> = Object.fromEntries(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 ' +
    'GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 ' +
    'MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 ' +
    'VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

/** How much of what was written is an IBAN, 0: nothing. What follows may be a word in capitals. */
function ibanLength(written: string): number {
  const wanted = IBAN_LENGTHS[written.slice(0, 2)];
  if (wanted === undefined) return 0;
  let taken = 0;
  let end = 0;
  while (end < written.length && taken < wanted) if (written.charCodeAt(end++) !== 32) taken++;
  if (taken < wanted || (end < written.length && written[end] !== ' ')) return 0;
  const compact = written.slice(0, end).replaceAll(' ', '');
  let rest = 0;
  for (const unit of compact.slice(4) + compact.slice(0, 4)) {
    const value = Number.parseInt(unit, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1 ? end : 0;
}

function isGermanTaxId(digits: string): boolean {
  if (digits.startsWith('0')) return false;
  const ten = digits.slice(0, 10);
  const times = Array.from('0123456789', (digit) => ten.split(digit).length - 1);
  // Of the first ten, one digit stands twice or three times, the others once at most.
  if (times.filter((count) => count > 1).length !== 1 || Math.max(...times) > 3) return false;
  let product = 10;
  for (const unit of ten) {
    const sum = (Number(unit) + product) % 10 || 10;
    product = (2 * sum) % 11;
  }
  return Number(digits[10]) === (11 - product) % 10;
}

/** The check digits of the second line of a passport. */
function passport(line: string): boolean {
  const check = (part: string): number => {
    let sum = 0;
    for (let i = 0; i < part.length; i++) {
      const unit = part[i]!;
      sum += (unit === '<' ? 0 : Number.parseInt(unit, 36)) * [7, 3, 1][i % 3]!;
    }
    return sum % 10;
  };
  return (
    check(line.slice(0, 9)) === Number(line[9]) &&
    check(line.slice(13, 19)) === Number(line[19]) &&
    check(line.slice(21, 27)) === Number(line[27])
  );
}

const BIRTH =
  /(?:\bborn|birth|\bdob\b|geboren|geburtsdatum|\bgeb\.|\bnée? le|naissance|nacimiento|nascita)[^\d\n]{0,24}?(?<![\p{L}\d])((?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d{2}|(?:19|20)\d{2}-\d{2}-\d{2}|\d{1,2}\.? ?(?:of )?[A-Za-zäûéç]{3,10}\.?,? (?:19|20)\d{2})|(?:[A-Z][a-z]{2,8} \d{1,2},? (?:19|20)\d{2}))(?!\d)/giu;

function births(text: string, found: Found[]): void {
  for (const match of text.matchAll(BIRTH)) {
    const end = match.index + match[0].length;
    found.push(kind('birth_date', end - match[1]!.length, end));
  }
}

export const personal: Detector = {
  name: 'personal',
  version: 1,
  family: 'personal',
  signs: SIGN_AT | SIGN_DIGITS | SIGN_BIRTH,
  find: (text, _terms, signs) => {
    const found: Found[] = [];
    if ((signs & SIGN_AT) !== 0) mails(text, found);
    if ((signs & SIGN_DIGITS) !== 0) numbers(text, found);
    if ((signs & SIGN_BIRTH) !== 0) births(text, found);
    return found.length === 0 ? NOTHING : found;
  },
};
