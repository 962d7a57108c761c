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

/** First bytes as Latin-1, and where; each media type once it is known by them. */
const MAGIC: ReadonlyArray<readonly [kind: string, type: RegExp, bytes: RegExp]> = [
  ['image', /^image\/png\b/, /^\x89PNG\r\n\x1a\n/],
  ['image', /^image\/jpe?g\b/, /^\xff\xd8\xff/],
  ['image', /^image\/gif\b/, /^GIF8[79]a/],
  ['image', /^image\/webp\b/, /^RIFF[^]{4}WEBP/],
  ['image', /^image\/bmp\b/, /^BM/],
  ['image', /^image\/tiff\b/, /^(?:II\*\0|MM\0\*)/],
  ['image', /^image\/(?:avif|hei[cf])\b/, /^[^]{4}ftyp(?:avif|avis|hei|mif1|msf1)/],
  ['svg', /^image\/svg\+xml\b/, /^(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg|!--|!DOCTYPE svg)/i],
  ['audio', /^audio\/(?:x-)?wav\b|^audio\/wave\b/, /^RIFF[^]{4}WAVE/],
  ['audio', /^audio\/(?:mpeg|mp3)\b/, /^(?:ID3|\xff[\xe2-\xff])/],
  ['audio', /^audio\/(?:ogg|opus)\b/, /^OggS/],
  ['audio', /^audio\/flac\b/, /^fLaC/],
  ['document', /^application\/pdf\b/, /^%PDF-/],
  ['archive', /^application\/(?:zip|x-zip-compressed|java-archive|vnd\.)/, /^PK(?:\x03\x04|\x05\x06)/],
  ['archive', /^application\/(?:x-)?gzip\b/, /^\x1f\x8b/],
  ['archive', /^application\/x-bzip2?\b/, /^BZh[1-9]/],
  ['archive', /^application\/x-xz\b/, /^\xfd7zXZ\0/],
  ['archive', /^application\/zstd\b/, /^\x28\xb5\x2f\xfd/],
  ['archive', /^application\/x-7z-compressed\b/, /^7z\xbc\xaf\x27\x1c/],
  ['archive', /^application\/(?:x-rar-compressed|vnd\.rar)\b/, /^Rar!\x1a\x07/],
  [
    'program',
    /^application\/(?:x-(?:elf|executable|sharedlib|mach-binary)|vnd\.microsoft\.portable-executable)/,
    /^(?:\x7fELF|MZ|\xcf\xfa\xed\xfe)/,
  ],
  ['html', /^(?:text\/html|application\/xhtml)/, /^\s*<(?:!DOCTYPE html|html|script|body|iframe)/i],
];

/** What the first bytes are (null: nothing known), and whether that is something else than what is said of them. */
export function sniff(base64: string, mimeType: unknown): { readonly kind: string | null; readonly mismatch: boolean } {
  const head = Buffer.from(base64.slice(0, 64), 'base64').toString('latin1');
  const said = typeof mimeType === 'string' ? mimeType.toLowerCase() : '';
  const seen = MAGIC.find(([, , bytes]) => bytes.test(head));
  if (seen !== undefined)
    return { kind: seen[0], mismatch: said !== '' && said !== 'application/octet-stream' && !seen[1].test(said) };
  return { kind: null, mismatch: MAGIC.some(([, type]) => type.test(said)) };
}
