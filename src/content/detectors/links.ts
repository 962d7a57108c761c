/**
 * What loads by itself when a text is shown (CI-06): pictures of Markdown (inline and by reference), elements of HTML and SVG, style sheets; targets
 * that run; and links that carry data away once somebody follows them (`link.data`, which informs). Where it leads is read as a browser reads it.
 * What it becomes names the host. Hosts on the list, and relative targets, are left alone. Linear: one pass, bounded patterns.
 */
import type { Terms } from '../terms.ts';
import type { Detector, Found } from './found.ts';
import { NOTHING } from './found.ts';

export const SIGN_MARKUP = 64;
export const MARKUP_WORDS: readonly string[] = ['![', '](', 'url(', '@import', 'image-set('];
export const SIGN_TAG = 128;
const TAGS =
  'img|image|iframe|frame|script|link|video|audio|source|track|object|embed|svg|use|feimage|input|base|meta|body|form|button|table|td|style|picture|portal';
export const TAG_WORDS: readonly string[] = TAGS.split('|')
  .map((tag) => `<${tag}`)
  .concat('style=');
export const SIGN_QUERY = 256;
export const QUERY_WORDS: readonly string[] = ['://'];

/** Names of HTML and Markdown for signs that an address is made of. */
const ENTITIES: Readonly<Record<string, string>> = {
  colon: ':',
  sol: '/',
  bsol: '\\',
  period: '.',
  amp: '&',
  quest: '?',
  num: '#',
  commat: '@',
  tab: '',
  newline: '',
};

/** Which host a target leads to by itself; null: none, or an allowed one. `script`: it runs. */
function hostOf(target: string, linkHosts: ReadonlySet<string>): string | null {
  const plain = target.includes('&')
    ? target.replaceAll(
        /&#(?:x([0-9a-f]{1,6})|(\d{1,7}));?|&([a-z]{3,7});/gi,
        (whole, hex: string | undefined, decimal: string | undefined, name: string | undefined) => {
          if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole;
          const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
          return code < 0x110000 ? String.fromCodePoint(code) : '';
        },
      )
    : target;
  if (!URL.canParse(plain, RELATIVE)) return null;
  const { protocol, hostname } = new URL(plain, RELATIVE);
  if (protocol === 'javascript:' || protocol === 'vbscript:') return SCRIPT;
  if (protocol === 'data:') return /^\s*data:(?:text\/html|application\/xhtml|text\/xml)/i.test(plain) ? SCRIPT : null;
  if (hostname === '' || hostname === 'relative.invalid' || isListed(hostname, linkHosts)) return null;
  return LOADS.has(protocol) ? hostname.slice(0, 120) : null;
}
/** In Markdown a backslash before a sign is not part of the address. */
const hostOfMarkdown = (target: string, linkHosts: ReadonlySet<string>): string | null =>
  hostOf(target, linkHosts) ??
  (target.includes('\\') ? hostOf(target.replaceAll(/\\([!-/:-@[-`{-~])/g, '$1'), linkHosts) : null);
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
const DEFINITION = /^[ >\t*+\d.)-]{0,24}\[((?:\\[^]|[^[\]\\]){1,999})\]:[ \t]{0,8}\n?[ >\t]{0,8}<?([^\s<>]{1,4000})/gm;
const LABEL = /\[((?:\\[^]|[^[\]\\]){0,999})\]/y;

function markdown(text: string, { linkHosts }: Terms, found: Found[]): void {
  const definitions = new Map<string, string>();
  if (text.includes(']:'))
    for (const [, label, target] of text.matchAll(DEFINITION)) definitions.set(labelOf(label!), target!);
  const opened: number[] = [];
  /** Where the last bracket stands that is not escaped. */
  let bracket = -1;
  /** `![` that a `]` has closed to nothing: a bracket in a code span or in a tag closes it for us and for no browser. */
  let dangling = -1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 92) i++;
    else if (unit === 91) {
      opened.push(i);
      bracket = i;
    } else if (unit === 10 && text.charCodeAt(i + 1) === 10) dangling = -1;
    else if (unit === 93) {
      const open = opened.pop();
      const itself = open !== undefined && open > 0 && text.charCodeAt(open - 1) === 33;
      const from = itself ? open : dangling;
      const image = from !== -1;
      const follows = text.charCodeAt(i + 1);
      let target: string | undefined;
      let end = i + 1;
      if (follows === 40) {
        TARGET.lastIndex = i + 2;
        const match = TARGET.exec(text);
        target = match?.[1] ?? match?.[2];
        end = match === null ? end : i + 2 + match[0].length;
      } else if (image && definitions.size > 0) {
        LABEL.lastIndex = i + 1;
        const match = follows === 91 ? LABEL.exec(text) : null;
        const label = match?.[1] ?? '';
        const between = bracket === open && i - from < 1_001 ? text.slice(from + 1, i) : '';
        target = definitions.get(labelOf(label === '' ? between : label));
        if (match !== null) end = i + 1 + match[0].length;
      }
      bracket = i;
      if (target === undefined) {
        if (itself) dangling = open;
        continue;
      }
      const host = hostOfMarkdown(target, linkHosts);
      if (host === null) continue;
      if (image) found.push({ class: 'link.image', start: from - 1, end, instead: notLoaded('image', host) });
      else if (host === SCRIPT)
        found.push({ class: 'link.script', start: i + 1, end, instead: notLoaded('link', host) });
      if (image) dangling = -1;
    }
  }
}
const labelOf = (label: string): string => label.trim().toLowerCase().replaceAll(/\s+/g, ' ');

const TAG = new RegExp(`<(${TAGS})(?=[\\s/>"'])`, 'gi');
/** The rest of a tag as whoever does not know quotes reads it. Sticky. */
const UNQUOTED = /[^<>]{0,8000}>?/y;
const LOADING =
  'src|srcset|imagesrcset|lowsrc|href|xlink:href|data|poster|background|action|formaction|content|srcdoc|code|archive';
const LOADING_NAMES: ReadonlySet<string> = new Set(LOADING.split('|'));
const ATTRIBUTE = new RegExp(
  `(?:^|[\\s"'/])(${LOADING})\\s{0,4}=\\s{0,4}(?:"([^"]{0,4000})"?|'([^']{0,4000})'?|([^\\s"'>]{1,4000}))`,
  'gi',
);
/** A link element and what is pressed load nothing until somebody does it. */
const PRESSED: ReadonlySet<string> = new Set(['form', 'button']);

interface Attribute {
  readonly name: string;
  readonly value: string;
}

function tags(text: string, { linkHosts }: Terms, found: Found[]): void {
  // ATTACKER-CONTROLLED: how many tags begin and never end.
  let patience = text.length + 65_536;
  for (const { index, 0: start, 1: name = '' } of text.matchAll(TAG)) {
    const tag = name.toLowerCase();
    const from = index + start.length;
    UNQUOTED.lastIndex = from;
    const short = UNQUOTED.exec(text)?.[0] ?? '';
    const seen: Attribute[] = [];
    for (const match of short.matchAll(ATTRIBUTE))
      seen.push({ name: match[1]!.toLowerCase(), value: match[2] ?? match[3] ?? match[4] ?? '' });
    let end = from + short.length;
    if (patience > 0) {
      const read = attributesOf(text, from);
      patience -= read.end - from;
      if (read.closed) {
        seen.push(...read.attributes);
        end = Math.max(end, read.end);
      }
    }
    for (const attribute of seen) {
      const host = loadedBy(attribute, linkHosts);
      if (host === null || (PRESSED.has(tag) && host !== SCRIPT)) continue;
      const instead = notLoaded(tag, host);
      found.push({ class: `link.${tag === 'image' ? 'svg' : tag}`, start: index, end, instead });
      break;
    }
  }
}

function loadedBy({ name, value: given }: Attribute, linkHosts: ReadonlySet<string>): string | null {
  const value = given.trim();
  if (name === 'content' && !/url\s{0,4}=/i.test(value)) return null;
  const targets = name.endsWith('srcset')
    ? value.split(',').map((one) => one.trim().split(/\s/)[0]!)
    : [value.replace(/^\d{1,6}\s{0,4};\s{0,4}url\s{0,4}=\s{0,4}/i, '')];
  return targets.map((target) => hostOf(target, linkHosts)).find((one) => one !== null) ?? null;
}

const isSpace = (code: number): boolean => code === 32 || (code > 8 && code < 14);
const endsName = (code: number): boolean => code === 47 || code === 61 || code === 62 || isSpace(code);

/** What stands in a tag as a browser reads it (HTML, 13.2.5.32 to .39): a bracket within quotes does not end it. */
function attributesOf(
  text: string,
  from: number,
): { readonly attributes: readonly Attribute[]; readonly end: number; readonly closed: boolean } {
  const attributes: Attribute[] = [];
  const { length } = text;
  let i = from;
  const skip = (): void => {
    while (i < length && isSpace(text.charCodeAt(i))) i++;
  };
  while (i < length) {
    if (text[i] === '>') return { attributes, end: i + 1, closed: true };
    if (text[i] === '/' || isSpace(text.charCodeAt(i))) {
      i++;
      continue;
    }
    const nameFrom = i++;
    while (i < length && !endsName(text.charCodeAt(i))) i++;
    const name = i - nameFrom > 20 ? '' : text.slice(nameFrom, i).toLowerCase();
    skip();
    if (text[i] !== '=') continue;
    i++;
    skip();
    const quote = text[i];
    let valueFrom = i;
    if (quote === '"' || quote === "'") {
      valueFrom = i + 1;
      const close = text.indexOf(quote, valueFrom);
      i = close === -1 ? length : close;
    } else while (i < length && text[i] !== '>' && !isSpace(text.charCodeAt(i))) i++;
    if (LOADING_NAMES.has(name))
      attributes.push({ name, value: text.slice(valueFrom, Math.min(i, valueFrom + 4_000)) });
    if (quote === '"' || quote === "'") i++;
  }
  return { attributes, end: length, closed: false };
}

const STYLE =
  /(?:@import\s{0,8}(?:url\(\s{0,8})?|url\(\s{0,8}|image-set\(\s{0,8})["']?([^\s"')]{1,4000})["']?\s{0,8}\)?/gi;
function styles(text: string, { linkHosts }: Terms, found: Found[]): void {
  if (!text.includes('(') && !text.includes('@')) return;
  for (const { index, 0: whole, 1: target = '' } of text.matchAll(STYLE)) {
    if (!/^(?:[a-z]{2,6}:)?[/\\]{2}/i.test(target)) continue;
    const host = hostOf(target, linkHosts);
    if (host !== null)
      found.push({ class: 'link.style', start: index, end: index + whole.length, instead: notLoaded('style', host) });
  }
}

const ADDRESS = /https?:\/\/[^\s"'<>)\]]{1,8000}/gi;
/** A parameter of this length is no search word. */
const LONG_PARAMETER = 48;
const RUN = /[A-Za-z0-9+/_=%.-]{49,}/g;
/** INVARIANT: an address is read once, however many begin within it. */
function queries(text: string, { linkHosts }: Terms, found: Found[]): void {
  if (!text.includes('?')) return;
  for (const { index, 0: address } of text.matchAll(ADDRESS)) {
    const query = address.indexOf('?');
    const fragment = address.indexOf('#');
    if (query === -1 || (fragment !== -1 && fragment < query)) continue;
    const whole = fragment === -1 ? address : address.slice(0, fragment);
    for (const { index: at, 0: run } of whole.slice(query).matchAll(RUN)) {
      const equals = run.indexOf('=');
      if (equals === -1 || run.length - equals - 1 < LONG_PARAMETER) continue;
      const ends = whole.indexOf('&', query + at);
      const end = index + (ends === -1 ? whole.length : ends);
      if (hostOf(whole, linkHosts) !== null) found.push({ class: 'link.data', start: index, end });
      break;
    }
  }
}
