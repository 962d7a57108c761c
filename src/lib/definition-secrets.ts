/**
 * Whether a text of a definition holds a literal secret by its shape. Definitions are written by people and read once, so more shapes are
 * looked for than in what passes with every call (secret-shapes.ts): each has a prefix that its vendor documents and enough behind it.
 * Not found: what has no shape. A digest, an id or a public key is none.
 */
import { secretRanges } from './secret-shapes.ts';

/** INVARIANT: linear on hostile text: every shape begins behind a character that cannot belong to it, and repetitions are bounded. */
const START = '(?<![A-Za-z0-9_-])';
const MORE: readonly (readonly [vendor: string, source: string])[] = [
  ['age', 'AGE-SECRET-KEY-1[A-Z0-9]{58}'],
  ['atlassian', 'ATATT3[A-Za-z0-9_=-]{50,300}'],
  ['aws_session', 'FwoGZXIvYXdz[A-Za-z0-9/+]{50,2000}'],
  ['azure_client', '[A-Za-z0-9_~.-]{3}\\dQ~[A-Za-z0-9_~.-]{31,34}'],
  ['databricks', 'dapi[0-9a-f]{32}'],
  ['digitalocean', 'do[opr]_v1_[0-9a-f]{64}'],
  ['docker', 'dckr_pat_[A-Za-z0-9_-]{20,100}'],
  ['figma', 'fig[du]_[A-Za-z0-9_-]{30,100}'],
  ['flyio', 'fo1_[A-Za-z0-9_-]{40,100}'],
  ['gitlab_more', 'gl(?:ptt|dt|rt|cbt|oas|soat|agent)-[A-Za-z0-9_-]{20,255}'],
  ['google_client', 'GOCSPX-[A-Za-z0-9_-]{20,60}'],
  ['grafana', 'gl(?:sa|c)_[A-Za-z0-9_+/=]{32,200}'],
  ['groq', 'gsk_[A-Za-z0-9]{32,100}'],
  ['hubspot', 'pat-(?:na|eu)\\d-[0-9a-f-]{36}'],
  ['huggingface', 'hf_[A-Za-z]{30,60}'],
  ['linear', 'lin_(?:api|oauth)_[A-Za-z0-9]{32,80}'],
  ['mailchimp', '[0-9a-f]{32}-us\\d{1,2}'],
  ['newrelic', 'NR(?:AK|JS|II)-[A-Za-z0-9]{20,60}'],
  ['notion', '(?:ntn_|secret_)[A-Za-z0-9]{40,60}'],
  ['openai', 'sk-(?:[A-Za-z0-9]{32,255}|(?:svcacct|admin)-[A-Za-z0-9_-]{32,255})'],
  ['planetscale', 'pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_.-]{32,80}'],
  ['postman', 'PMAK-[0-9a-f]{24}-[0-9a-f]{34}'],
  ['pypi', 'pypi-AgE[A-Za-z0-9_-]{50,1000}'],
  ['replicate', 'r8_[A-Za-z0-9]{37}'],
  ['rubygems', 'rubygems_[0-9a-f]{48}'],
  ['sentry', 'sntry[su]_[A-Za-z0-9+/=_-]{40,300}'],
  ['shopify', 'shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}'],
  ['slack_app', 'xapp-\\d-[A-Za-z0-9-]{20,255}'],
  ['square', 'sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,60}'],
  ['standard_webhooks', 'whsec_[A-Za-z0-9+/=]{24,120}'],
  ['stripe_test', '[sr]k_test_[A-Za-z0-9]{16,255}'],
  ['telegram', '\\d{8,10}:AA[A-Za-z0-9_-]{33}'],
  ['terraform', '[A-Za-z0-9]{14}\\.atlasv1\\.[A-Za-z0-9_=-]{60,80}'],
  ['twilio', 'SK[0-9a-f]{32}'],
  ['vault', 'hv[sbr]\\.[A-Za-z0-9_-]{24,300}'],
];
const ANY = new RegExp(`${START}(?:${MORE.map(([, source]) => source).join('|')})(?![A-Za-z0-9])`, 'g');
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
