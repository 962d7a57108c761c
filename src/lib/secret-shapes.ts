/**
 * The shapes of credentials that can be told from other text with high confidence. Finds ranges; what to do about them is for the
 * rooms. It knows what it knows: a password in a sentence, or a secret split over two texts, is not found here.
 */
import { crc32 } from 'node:zlib';
import { searchFor } from './needles.ts';
import type { Anchored } from './needles.ts';

export interface SecretRange {
  readonly kind: string;
  /** UTF-16 offsets of the secret part, end exclusive. */
  readonly start: number;
  readonly end: number;
}

/** The secret is the first group of the pattern, else the whole match. */
interface Shape extends Anchored {
  readonly kind: string;
  /** Whether a match is one after all. */
  readonly sound: ((secret: string) => boolean) | null;
}

/**
 * INVARIANT: linear on hostile text. A shape can only begin where the character before it cannot belong to it, so that a long run
 * is scanned once and not once per position; every other repetition is bounded, or ends the search for its shape.
 */
const START = '(?<![A-Za-z0-9_-])';
const END = '(?![A-Za-z0-9])';

const shape = (kind: string, anchors: string, source: string, flags = '', sound: Shape['sound'] = null): Shape => ({
  kind,
  anchors: anchors.toLowerCase().split(' '),
  pattern: new RegExp(source, `y${flags}`),
  sound,
});
/** What a vendor documents: a prefix and enough behind it. */
const token = (kind: string, anchors: string, source: string): Shape =>
  shape(kind, anchors, `${START}${source}${END}`, '', notMasked);

/** `ghp_xxxxxxxxxxxx` is how manuals write it. */
const notMasked = (secret: string): boolean => !/[xX*.]{12}/.test(secret);
/** `postgres://user:<password>@host`, `Pwd=${DB_PASSWORD};` */
const notNamed = (secret: string): boolean =>
  !/^(?:\*+|x+|\.{3,}|<[^>]*>|\[[^\]]*\]|\$\{?\w+\}?|\{\{?[^}]*\}?\}|%\w+%|pass(?:word)?)$/i.test(secret);

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** The last six of 36 are the CRC-32 of the rest, in base 62: found even in the middle of other letters. */
export function hasTokenChecksum(body: string): boolean {
  let rest = crc32(body.slice(0, -6));
  for (let i = 1; i <= 6; i++) {
    if (body.at(-i) !== BASE62[rest % 62]) return false;
    rest = Math.floor(rest / 62);
  }
  return true;
}

const SHAPES: readonly Shape[] = [
  shape(
    'private_key',
    '-----BEGIN',
    '-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|$)',
  ),
  shape('private_key', 'PuTTY-User-Key-File-', 'PuTTY-User-Key-File-\\d[^]*?(?:Private-MAC: [0-9a-f]{40,64}|$)'),
  shape('aws_access_key', 'AKIA ASIA', `${START}(?:AKIA|ASIA)[A-Z0-9]{16}${END}`),
  shape(
    'aws_secret_key',
    'secret',
    `secret_?(?:access_?)?key["']?\\s{0,4}[:=]\\s{0,4}["']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])`,
    'i',
  ),
  token('aws_session', 'FwoGZXIvYXdz IQoJb3JpZ2lu', '(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9/+]{50,2000}={0,2}'),
  shape('github', 'ghp_ gho_ ghu_ ghs_ ghr_', `${START}gh[pousr]_[A-Za-z0-9]{36,255}`, '', notMasked),
  shape('github', 'ghp_ gho_ ghu_ ghs_ ghr_', 'gh[pousr]_[A-Za-z0-9]{36}', '', (found) =>
    hasTokenChecksum(found.slice(4)),
  ),
  shape('github', 'github_pat_', `${START}github_pat_[A-Za-z0-9_]{22,255}`, '', notMasked),
  shape('gitlab', 'glpat-', `${START}glpat-[A-Za-z0-9_-]{20,255}`, '', notMasked),
  token(
    'gitlab',
    'glptt- gldt- glrt- glcbt- gloas- glsoat- glagent-',
    'gl(?:ptt|dt|rt|cbt|oas|soat|agent)-[A-Za-z0-9_-]{20,255}',
  ),
  shape('slack', 'xox', `${START}xox[abeoprs]-[A-Za-z0-9-]{10,255}`, '', notMasked),
  token('slack', 'xapp-', 'xapp-\\d-[A-Za-z0-9-]{20,255}'),
  shape('slack', 'hooks.slack.com/', 'hooks\\.slack\\.com/services/([A-Za-z0-9/]{20,100})', '', notMasked),
  shape(
    'discord',
    'discord.com/ discordapp.com/',
    'discord(?:app)?\\.com/api/webhooks/\\d{17,20}/([A-Za-z0-9_-]{60,80})',
  ),
  shape('stripe', 'sk_live_ rk_live_', `${START}[sr]k_live_[A-Za-z0-9]{16,255}`, '', notMasked),
  token('stripe_test', 'sk_test_ rk_test_', '[sr]k_test_[A-Za-z0-9]{16,255}'),
  token('standard_webhooks', 'whsec_', 'whsec_[A-Za-z0-9+/=]{24,120}'),
  shape('google_api_key', 'AIza', `${START}AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])`),
  shape('google_oauth', 'ya29.', `${START}ya29\\.[A-Za-z0-9_-]{20,1024}`),
  token('google_oauth', 'GOCSPX-', 'GOCSPX-[A-Za-z0-9_-]{20,60}'),
  shape('npm', 'npm_', `${START}npm_[A-Za-z0-9]{36}${END}`, '', notMasked),
  shape('npm', 'npm_', 'npm_[A-Za-z0-9]{36}', '', (found) => hasTokenChecksum(found.slice(4))),
  token('pypi', 'pypi-AgE', 'pypi-AgE[A-Za-z0-9_-]{50,1000}'),
  token('rubygems', 'rubygems_', 'rubygems_[0-9a-f]{48}'),
  token('docker', 'dckr_pat_', 'dckr_pat_[A-Za-z0-9_-]{20,100}'),
  shape('model_provider', 'sk-proj- sk-ant-', `${START}sk-(?:proj|ant)-[A-Za-z0-9_-]{20,255}`, '', notMasked),
  token('model_provider', 'sk-', 'sk-(?:[A-Za-z0-9]{40,255}|(?:svcacct|admin)-[A-Za-z0-9_-]{32,255})'),
  token('model_provider', 'gsk_', 'gsk_[A-Za-z0-9]{32,100}'),
  token('model_provider', 'hf_', 'hf_[A-Za-z]{30,60}'),
  token('model_provider', 'r8_', 'r8_[A-Za-z0-9]{37}'),
  token('atlassian', 'ATATT3', 'ATATT3[A-Za-z0-9_=-]{50,300}'),
  token('databricks', 'dapi', 'dapi[0-9a-f]{32}'),
  token('digitalocean', 'dop_v1_ doo_v1_ dor_v1_', 'do[opr]_v1_[0-9a-f]{64}'),
  token('figma', 'figd_ figu_', 'fig[du]_[A-Za-z0-9_-]{30,100}'),
  token('flyio', 'fo1_', 'fo1_[A-Za-z0-9_-]{40,100}'),
  token('grafana', 'glsa_ glc_', 'gl(?:sa|c)_[A-Za-z0-9_+/=]{32,200}'),
  token('hubspot', 'pat-na pat-eu', 'pat-(?:na|eu)\\d-[0-9a-f-]{36}'),
  token('linear', 'lin_api_ lin_oauth_', 'lin_(?:api|oauth)_[A-Za-z0-9]{32,80}'),
  token('newrelic', 'NRAK- NRJS- NRII-', 'NR(?:AK|JS|II)-[A-Za-z0-9]{20,60}'),
  token('notion', 'ntn_ secret_', '(?:ntn_|secret_)[A-Za-z0-9]{40,60}'),
  token('planetscale', 'pscale_', 'pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_.-]{32,80}'),
  token('postman', 'PMAK-', 'PMAK-[0-9a-f]{24}-[0-9a-f]{34}'),
  token('sentry', 'sntrys_ sntryu_', 'sntry[su]_[A-Za-z0-9+/=_-]{40,300}'),
  token('shopify', 'shpat_ shpca_ shppa_ shpss_', 'shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}'),
  token('square', 'sq0', 'sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,60}'),
  token('vault', 'hvs. hvb. hvr.', 'hv[sbr]\\.[A-Za-z0-9_-]{24,300}'),
  token('age', 'AGE-SECRET-KEY-1', 'AGE-SECRET-KEY-1[A-Z0-9]{58}'),
  shape('sendgrid', 'SG.', `${START}SG\\.[A-Za-z0-9_-]{16,64}\\.[A-Za-z0-9_-]{16,64}`),
  shape('azure_storage', 'AccountKey= SharedAccessKey=', '(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{43,86}={1,2})'),
  shape('jwt', 'eyJ', `${START}eyJ[A-Za-z0-9_-]{8,4096}\\.eyJ[A-Za-z0-9_-]{8,16384}\\.[A-Za-z0-9_-]{16,1024}`),
  shape(
    'bearer',
    'authorization',
    `authorization["']?\\s{0,4}[:=]\\s{0,4}["']?bearer\\s{1,4}([A-Za-z0-9._~+/-]{16,4096}={0,2})`,
    'i',
    notMasked,
  ),
  shape(
    'basic',
    'authorization',
    `authorization["']?\\s{0,4}[:=]\\s{0,4}["']?basic\\s{1,4}([A-Za-z0-9+/]{8,400}={0,2})(?![A-Za-z0-9+/=])`,
    'i',
    (pair) => /^[ -~]{0,200}:[ -~]{1,200}$/.test(Buffer.from(pair, 'base64').toString('latin1')),
  ),
  shape('url_password', '://', '://[^\\s/:@"\']{0,64}:([^\\s/:@"\']{3,128})@', '', notNamed),
  shape('connection_string', 'password= pwd=', '(?:password|pwd)=([^\\s;"\'&]{4,128});', 'i', notNamed),
];

/** A text without any of them holds none of the shapes. */
export const SECRET_NEEDLES: readonly string[] = [...new Set(SHAPES.flatMap(({ anchors }) => anchors))];
const search = searchFor(SHAPES);

/** Ranges in order, not overlapping. */
export function secretRanges(text: string): SecretRange[] {
  const found: Array<SecretRange & { readonly index: number }> = [];
  search(text, ({ kind, sound }, index, match) => {
    const secret = match[1] ?? match[0];
    if (sound !== null && !sound(secret)) return;
    const start = match.index + match[0].lastIndexOf(secret);
    found.push({ kind, start, end: start + secret.length, index });
  });
  // The earlier shape names what two describe.
  found.sort((a, b) => a.start - b.start || b.end - a.end || a.index - b.index);
  const merged: SecretRange[] = [];
  for (const { index: _, ...range } of found) {
    const last = merged.at(-1);
    if (!last || range.start >= last.end) merged.push(range);
    else if (range.end > last.end) merged[merged.length - 1] = { ...last, end: range.end };
  }
  return merged;
}
