/**
 * The shapes of credentials that can be told from other text with high confidence. Finds ranges; what to do about them is for the
 * rooms. It knows what it knows: a password in a sentence, or a secret split over two texts, is not found here.
 */

export interface SecretRange {
  readonly kind: string;
  /** UTF-16 offsets of the secret part, end exclusive. */
  readonly start: number;
  readonly end: number;
}

interface Shape {
  readonly kind: string;
  /** One of these must occur, or the pattern is not tried: a plain search costs a fraction of a pattern. */
  readonly needles: readonly string[];
  /** The secret is the first group, else the whole match. */
  readonly pattern: RegExp;
}

/**
 * INVARIANT: linear on hostile text. A shape can only begin where the character before it cannot belong to it, so that a long run
 * is scanned once and not once per position; every other repetition is bounded.
 */
const START = '(?<![A-Za-z0-9_-])';
const shape = (kind: string, needles: readonly string[], source: string, flags = ''): Shape => ({
  kind,
  needles,
  pattern: new RegExp(source, `g${flags}`),
});

const SHAPES: readonly Shape[] = [
  shape(
    'private_key',
    ['PRIVATE KEY'],
    '-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)',
  ),
  shape('aws_access_key', ['AKIA', 'ASIA'], `${START}(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])`),
  shape(
    'aws_secret_key',
    ['ecret', 'ECRET'],
    `secret_?(?:access_?)?key["']?\\s{0,4}[:=]\\s{0,4}["']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])`,
    'i',
  ),
  shape('github', ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'], `${START}gh[pousr]_[A-Za-z0-9]{36,255}`),
  shape('github', ['github_pat_'], `${START}github_pat_[A-Za-z0-9_]{22,255}`),
  shape('gitlab', ['glpat-'], `${START}glpat-[A-Za-z0-9_-]{20,255}`),
  shape('slack', ['xox'], `${START}xox[abeoprs]-[A-Za-z0-9-]{10,255}`),
  shape('slack', ['hooks.slack.com/'], 'hooks\\.slack\\.com/services/([A-Za-z0-9/]{20,100})'),
  shape('stripe', ['k_live_'], `${START}[sr]k_live_[A-Za-z0-9]{16,255}`),
  shape('google_api_key', ['AIza'], `${START}AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])`),
  shape('google_oauth', ['ya29.'], `${START}ya29\\.[A-Za-z0-9_-]{20,1024}`),
  shape('npm', ['npm_'], `${START}npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])`),
  shape('model_provider', ['sk-proj-', 'sk-ant-'], `${START}sk-(?:proj|ant)-[A-Za-z0-9_-]{20,255}`),
  shape('sendgrid', ['SG.'], `${START}SG\\.[A-Za-z0-9_-]{16,64}\\.[A-Za-z0-9_-]{16,64}`),
  shape('azure_storage', ['AccountKey='], 'AccountKey=([A-Za-z0-9+/]{86}==)'),
  shape('jwt', ['eyJ'], `${START}eyJ[A-Za-z0-9_-]{8,4096}\\.eyJ[A-Za-z0-9_-]{8,16384}\\.[A-Za-z0-9_-]{16,1024}`),
  shape(
    'bearer',
    ['earer ', 'EARER '],
    `authorization["']?\\s{0,4}[:=]\\s{0,4}["']?bearer\\s{1,4}([A-Za-z0-9._~+/-]{16,4096}={0,2})`,
    'i',
  ),
  shape('url_password', ['@'], '://[^\\s/:@"\']{0,64}:([^\\s/:@"\']{3,128})@'),
];

/** A text without any of them holds none of the shapes. */
export const SECRET_NEEDLES: readonly string[] = [...new Set(SHAPES.flatMap(({ needles }) => needles))];
/** All needles in one pass; most texts have none and end here. */
const ANY_NEEDLE = new RegExp(SECRET_NEEDLES.map((needle) => needle.replaceAll('.', '\\.')).join('|'));

/** Ranges in order, not overlapping. */
export function secretRanges(text: string): SecretRange[] {
  const found: SecretRange[] = [];
  if (!ANY_NEEDLE.test(text)) return found;
  for (const { kind, needles, pattern } of SHAPES) {
    if (!needles.some((needle) => text.includes(needle))) continue;
    for (const match of text.matchAll(pattern)) {
      const secret = match[1] ?? match[0];
      const start = match.index + match[0].lastIndexOf(secret);
      found.push({ kind, start, end: start + secret.length });
    }
  }
  if (found.length < 2) return found;
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  const merged: SecretRange[] = [];
  for (const range of found) {
    const last = merged.at(-1);
    if (!last || range.start >= last.end) merged.push(range);
    else if (range.end > last.end) merged[merged.length - 1] = { ...last, end: range.end };
  }
  return merged;
}
