/**
 * What loads by itself when a text is shown (CI-06): pictures of Markdown (inline and by reference), elements of HTML and SVG, style sheets; targets
 * that run; and links that carry data away once somebody follows them (`link.data`, which informs). Where it leads is read as a browser reads it.
 * What it becomes names the host. Hosts on the list, and relative targets, are left alone. Linear: one pass, bounded patterns.
 */
import type { Terms } from '../terms.ts';
import type { Detector, Found } from './found.ts';
import { NOTHING } from './found.ts';

export const SIGN_MARKUP = 64;
export const MARKUP_WORDS: readonly string[] = ['![', '](', 'url(', '@import'];
export const SIGN_TAG = 128;
const TAGS =
  'img|image|iframe|frame|script|link|video|audio|source|track|object|embed|svg|use|feimage|input|base|meta|body|form|button|table|td|style|picture|portal';
export const TAG_WORDS: readonly string[] = TAGS.split('|')
  .map((tag) => `<${tag}`)
  .concat('style=');
export const SIGN_QUERY = 256;
export const QUERY_WORDS: readonly string[] = ['://'];

/** Which host a target leads to by itself; null: none, or an allowed one. `script`: it runs. */
function hostOf(target: string, linkHosts: ReadonlySet<string>): string | null {
  const plain = target.replaceAll(
    /&#(?:x([0-9a-f]{1,6})|(\d{1,7}));?/gi,
    (_, hex: string | undefined, decimal: string) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code < 0x110000 ? String.fromCodePoint(code) : '';
    },
  );
  if (!URL.canParse(plain, RELATIVE)) return null;
  const { protocol, hostname } = new URL(plain, RELATIVE);
  if (protocol === 'javascript:' || protocol === 'vbscript:') return SCRIPT;
  if (protocol === 'data:') return /^\s*data:(?:text\/html|application\/xhtml|text\/xml)/i.test(plain) ? SCRIPT : null;
  if (hostname === '' || hostname === 'relative.invalid' || isListed(hostname, linkHosts)) return null;
  return LOADS.has(protocol) ? hostname.slice(0, 120) : null;
}
const RELATIVE = 'https://relative.invalid/';
const SCRIPT = 'script';
const LOADS: ReadonlySet<string> = new Set(['http:', 'https:', 'ftp:', 'ws:', 'wss:', 'file:', 'smb:']);

function isListed(host: string, linkHosts: ReadonlySet<string>): boolean {
  if (linkHosts.size === 0) return false;
  if (linkHosts.has(host)) return true;
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
    if (linkHosts.has(`*${host.slice(dot)}`)) return true;
  }
  return false;
}

/** In brackets that no markup knows: what stands around it cannot make a picture of it again. */
const notLoaded = (what: string, host: string): string =>
  host === SCRIPT ? `⟨${what} removed: it would run⟩` : `⟨${what} not loaded: ${host}⟩`;

export const links: Detector = {
  name: 'links',
  version: 1,
  family: 'link',
  signs: SIGN_MARKUP | SIGN_TAG | SIGN_QUERY,
  find: (text, terms, signs) => {
    const found: Found[] = [];
    if ((signs & SIGN_MARKUP) !== 0) {
      markdown(text, terms, found);
      styles(text, terms, found);
    }
    if ((signs & SIGN_TAG) !== 0) tags(text, terms, found);
    if ((signs & SIGN_QUERY) !== 0) queries(text, terms, found);
    return found.length === 0 ? NOTHING : found;
  },
};

/** What may follow `](`: a target, in angle brackets or without spaces, and a title. Sticky. */
const TARGET =
  /\s{0,10}(?:<([^<>\n]{0,4000})>|([^\s<>()]{0,4000}(?:\([^\s()]{0,200}\)[^\s<>()]{0,2000}){0,3}))(?:\s{1,10}(?:"[^"]{0,500}"|'[^']{0,500}'|\([^()]{0,500}\)))?\s{0,10}\)?/y;
const DEFINITION = /^[ >\t]{0,12}\[([^\]\n]{1,200})\]:[ \t]{0,8}\n?[ \t]{0,8}<?([^\s<>]{1,4000})/gm;

function markdown(text: string, { linkHosts }: Terms, found: Found[]): void {
  const definitions = new Map<string, string>();
  if (text.includes(']:'))
    for (const [, label, target] of text.matchAll(DEFINITION)) definitions.set(labelOf(label!), target!);
  const opened: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 92) i++;
    else if (unit === 91) opened.push(i);
    else if (unit === 93) {
      const open = opened.pop();
      if (open === undefined) continue;
      const image = open > 0 && text.charCodeAt(open - 1) === 33;
      const follows = text.charCodeAt(i + 1);
      let target: string | undefined;
      let end = i + 1;
      if (follows === 40) {
        TARGET.lastIndex = i + 2;
        const match = TARGET.exec(text);
        target = match?.[1] ?? match?.[2];
        end = match === null ? end : i + 2 + match[0].length;
      } else if (image && definitions.size > 0) {
        const close = follows === 91 ? text.indexOf(']', i + 2) : -1;
        const label = close !== -1 && close - i < 200 ? text.slice(i + 2, close) : '';
        target = definitions.get(labelOf(label === '' ? text.slice(open + 1, Math.min(i, open + 201)) : label));
        if (close !== -1 && close - i < 200) end = close + 1;
      }
      if (target === undefined) continue;
      const host = hostOf(target, linkHosts);
      if (host === null) continue;
      if (image) found.push({ class: 'link.image', start: open - 1, end, instead: notLoaded('image', host) });
      else if (host === SCRIPT)
        found.push({ class: 'link.script', start: i + 1, end, instead: notLoaded('link', host) });
    }
  }
}
const labelOf = (label: string): string => label.trim().toLowerCase().replaceAll(/\s+/g, ' ');

const TAG = new RegExp(`<(${TAGS})(?=[\\s/>"'])([^<>]{0,8000})>?`, 'gi');
const ATTRIBUTE =
  /(?:^|[\s"'/])(src|srcset|href|xlink:href|data|poster|background|action|formaction|content|srcdoc|code|archive)\s{0,4}=\s{0,4}(?:"([^"]{0,4000})"?|'([^']{0,4000})'?|([^\s"'>]{1,4000}))/gi;
/** A link element and what is pressed load nothing until somebody does it. */
const PRESSED: ReadonlySet<string> = new Set(['form', 'button']);

function tags(text: string, { linkHosts }: Terms, found: Found[]): void {
  for (const { index, 0: whole, 1: name = '', 2: inside = '' } of text.matchAll(TAG)) {
    const tag = name.toLowerCase();
    for (const match of inside.matchAll(ATTRIBUTE)) {
      const attribute = match[1]!.toLowerCase();
      const value = (match[2] ?? match[3] ?? match[4] ?? '').trim();
      if (attribute === 'content' && !/url\s{0,4}=/i.test(value)) continue;
      const targets =
        attribute === 'srcset'
          ? value.split(',').map((one) => one.trim().split(/\s/)[0]!)
          : [value.replace(/^\d{1,6}\s{0,4};\s{0,4}url\s{0,4}=\s{0,4}/i, '')];
      const host = targets.map((target) => hostOf(target, linkHosts)).find((one) => one !== null);
      if (host === undefined || host === null) continue;
      if (PRESSED.has(tag) && host !== SCRIPT) continue;
      found.push({
        class: `link.${tag === 'image' ? 'svg' : tag}`,
        start: index,
        end: index + whole.length,
        instead: notLoaded(tag, host),
      });
      break;
    }
  }
}

const STYLE = /(?:@import\s{0,8}(?:url\(\s{0,8})?|url\(\s{0,8})["']?([^\s"')]{1,4000})["']?\s{0,8}\)?/gi;
function styles(text: string, { linkHosts }: Terms, found: Found[]): void {
  if (!text.includes('(') && !text.includes('@')) return;
  for (const { index, 0: whole, 1: target = '' } of text.matchAll(STYLE)) {
    if (!/^(?:[a-z]{2,6}:)?[/\\]{2}/i.test(target)) continue;
    const host = hostOf(target, linkHosts);
    if (host !== null)
      found.push({ class: 'link.style', start: index, end: index + whole.length, instead: notLoaded('style', host) });
  }
}

/** A parameter of this length is no search word. */
const QUERY =
  /https?:\/\/[^\s/?#"'<>)\]]{1,255}[^\s?#"'<>)\]]{0,1000}\?[^\s#"'<>)\]]{0,2000}?=(?=[A-Za-z0-9+/_=%.-]{48})[^\s#"'<>)\]&]{48,4000}/gi;
function queries(text: string, { linkHosts }: Terms, found: Found[]): void {
  if (!text.includes('?')) return;
  for (const { index, 0: whole } of text.matchAll(QUERY)) {
    if (hostOf(whole, linkHosts) !== null) found.push({ class: 'link.data', start: index, end: index + whole.length });
  }
}
