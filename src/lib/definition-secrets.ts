/**
 * Whether a text of a definition holds a literal secret by its shape. Definitions are written by people and read once, so more shapes are
 * looked for than in what passes with every call (secret-shapes.ts).
 * Not found: what has no shape. A digest, an id or a public key is none.
 */
import { secretRanges } from './secret-shapes.ts';

/** INVARIANT: linear on hostile text: every shape begins behind a character that cannot belong to it, and repetitions are bounded. */
const START = '(?<![A-Za-z0-9_-])';
/** Only what secret-shapes.ts leaves out, because too much else in a text of any kind looks like it. */
const MORE: readonly string[] = [
  '[A-Za-z0-9_~.-]{3}\\dQ~[A-Za-z0-9_~.-]{31,34}', // a client of Azure
  '[0-9a-f]{32}-us\\d{1,2}', // Mailchimp
  'sk-[A-Za-z0-9]{32,39}', // OpenAI, as they once were
  '\\d{8,10}:AA[A-Za-z0-9_-]{33}', // Telegram
  '[A-Za-z0-9]{14}\\.atlasv1\\.[A-Za-z0-9_=-]{60,80}', // Terraform
  'SK[0-9a-f]{32}', // Twilio
];
const ANY = new RegExp(`${START}(?:${MORE.join('|')})(?![A-Za-z0-9])`, 'g');
/** A whole value of an Authorization header. */
const BEARER = /^bearer [A-Za-z0-9._~+/-]{16,}={0,2}$/i;
const BASIC = /(?<![A-Za-z0-9])basic ([A-Za-z0-9+/]{6,400}={0,2})(?![A-Za-z0-9+/=])/gi;

export const holdsLiteralSecret = (text: string): boolean => BEARER.test(text) || withoutLiteralSecrets(text) !== text;

/** For texts that quote a definition: each secret becomes the name of its kind. */
export function withoutLiteralSecrets(text: string): string {
  let out = '';
  let from = 0;
  for (const { kind, start, end } of secretRanges(text)) {
    out += `${text.slice(from, start)}[${kind}]`;
    from = end;
  }
  return (out + text.slice(from))
    .replaceAll(ANY, '[secret]')
    .replaceAll(BASIC, (whole, pair: string) => (isUserAndPassword(pair) ? '[basic]' : whole));
}

/** `Basic authentication` is a phrase; `Basic` and the base64 of `user:password` is not. */
const isUserAndPassword = (base64: string): boolean =>
  /^[\x20-\x7e]{0,200}:[\x20-\x7e]{1,200}$/.test(Buffer.from(base64, 'base64').toString('latin1'));
