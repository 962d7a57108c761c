/**
 * What is passed on unread (CI-09): pictures, sound, archives, other bytes. Known by what they say they are and by their first bytes;
 * where the two differ, that is a finding. Nothing is decoded beyond those bytes and nothing is unpacked, so nothing can blow up.
 */
import type { JsonObject } from '../lib/json.ts';

/** A linear check: text smuggled where nobody reads must at least not look like text. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
export const isBase64 = (value: unknown): value is string =>
  typeof value === 'string' && value.length % 4 === 0 && BASE64.test(value);

export function mediaKind(object: JsonObject): 'image' | 'audio' | null {
  const { type, data, mimeType } = object;
  if (type !== 'image' && type !== 'audio') return null;
  return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
}

/** First bytes in hexadecimal, `.` for any digit; the media types that may begin so. The first that fits says what it is. */
const MAGIC: ReadonlyArray<readonly [kind: string, type: RegExp, bytes: RegExp]> = [
  ['image', /^image\/png\b/, /^89504e470d0a1a0a/],
  ['image', /^image\/jpe?g\b/, /^ffd8ff/],
  ['image', /^image\/gif\b/, /^474946383[79]61/],
  ['image', /^image\/webp\b/, /^52494646.{8}57454250/],
  ['image', /^image\/tiff\b/, /^(?:49492a00|4d4d002a)/],
  ['image', /^image\/(?:avif|hei[cf])\b/, /^.{8}66747970(?:61766966|61766973|686569|6d696631|6d736631)/],
  ['audio', /^audio\/(?:x-)?wav\b|^audio\/wave\b/, /^52494646.{8}57415645/],
  ['audio', /^audio\/(?:mpeg|mp3)\b/, /^(?:494433|ffe[2-9a-f]|fff)/],
  ['audio', /^audio\/(?:ogg|opus)\b/, /^4f676753/],
  ['audio', /^audio\/flac\b/, /^664c6143/],
  ['document', /^application\/pdf\b/, /^255044462d/],
  ['archive', /^application\/(?:zip|x-zip-compressed|java-archive|vnd\.)/, /^504b(?:0304|0506)/],
  ['archive', /^application\/(?:x-)?gzip\b/, /^1f8b/],
  ['archive', /^application\/x-bzip2?\b/, /^425a683[1-9]/],
  ['archive', /^application\/x-xz\b/, /^fd377a585a00/],
  ['archive', /^application\/zstd\b/, /^28b52ffd/],
  ['archive', /^application\/x-7z-compressed\b/, /^377abcaf271c/],
  ['archive', /^application\/(?:x-rar-compressed|vnd\.rar)\b/, /^526172211a07/],
  [
    'program',
    /^application\/(?:x-(?:elf|executable|sharedlib|mach-binary)|vnd\.microsoft\.portable-executable)/,
    /^(?:7f454c46|4d5a|cffaedfe)/,
  ],
  ['svg', /^image\/svg\+xml\b/, /^(?:efbbbf)?(?:0[9ad]|20)*(?:3c737667|3c3f786d6c|3c212d2d)/],
  [
    'html',
    /^(?:text\/html|application\/xhtml)/,
    /^(?:0[9ad]|20)*(?:3c21(?:444f|646f)|3c[46]8[57]4|3c(?:696672616d65|736372697074|626f6479))/,
  ],
];

/** What the first bytes are (null: nothing known), and whether that is something else than what is said of them. */
export function sniff(base64: string, mimeType: unknown): { readonly kind: string | null; readonly mismatch: boolean } {
  const head = Buffer.from(base64.slice(0, 64), 'base64').toString('hex');
  const said = typeof mimeType === 'string' ? mimeType.toLowerCase() : '';
  const seen = MAGIC.find(([, , bytes]) => bytes.test(head));
  if (seen === undefined) return { kind: null, mismatch: MAGIC.some(([, type]) => type.test(said)) };
  const [kind, type] = seen;
  return { kind, mismatch: said !== '' && said !== 'application/octet-stream' && !type.test(said) };
}
