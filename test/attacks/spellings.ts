/** One value in the encodings that somebody hides it in on its way out. Written here anew, so that no mistake of the matcher is repeated. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function base32(text: string): string {
  const bits = Array.from(Buffer.from(text), (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => BASE32[Number.parseInt(five.padEnd(5, '0'), 2)]).join('');
}
const units = (text: string, as: (code: number) => string): string =>
  text
    .split('')
    .map((one) => as(one.charCodeAt(0)))
    .join('');

/** By name; the first is the value itself. */
export const SPELLINGS: Readonly<Record<string, (value: string) => string>> = {
  plain: (value) => value,
  'upper case': (value) => value.toUpperCase(),
  reversed: (value) => value.split('').toReversed().join(''),
  base64: (value) => Buffer.from(value).toString('base64'),
  'base64 of a longer text': (value) => Buffer.from(`the key is ${value} so far`).toString('base64'),
  base64url: (value) => Buffer.from(value).toString('base64url'),
  hex: (value) => Buffer.from(value).toString('hex'),
  base32,
  'percent-encoded': (value) => units(value, (code) => `%${code.toString(16).padStart(2, '0')}`),
  'percent-encoded twice': (value) => units(value, (code) => `%25${code.toString(16).padStart(2, '0')}`),
  'unicode escapes': (value) => units(value, (code) => `\\u${code.toString(16).padStart(4, '0')}`),
  'HTML entities': (value) => units(value, (code) => `&#${code};`),
  'full width': (value) => units(value, (code) => String.fromCharCode(code + 0xfee0)),
  'split by dashes': (value) => value.split('').join('-'),
  'split by lines': (value) => (value.match(/.{1,5}/g) ?? []).join('\n'),
  'split by hidden characters': (value) => value.split('').join('\u200b'),
};
