/**
 * Values whose spelling matters, in one spelling (AZ-03): a limit on a path, an address or an amount means something only if what is judged
 * is what the server will understand. Pure and strict: what could be read in two ways has no canonical form, and then there is no call.
 * Whose parameters these are is the reviewer's word, never the server's. Not promised: where a symbolic link or a name in DNS leads.
 */
import type { Result } from './result.ts';
import { err, ok } from './result.ts';

export const PARAMETER_TYPES = ['path', 'url', 'domain', 'amount', 'identifier'] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

export interface CanonicalValue {
  /** What is judged, digested and forwarded. */
  readonly text: string;
  /** Further names under which policies see it, for example the host of a URL or the folders above a path. */
  readonly facets: Readonly<Record<string, string | number | readonly string[]>>;
}

type Outcome = Result<CanonicalValue, string>;

/**
 * Canonical of canonical is itself. Numbers are amounts or identifiers; everything else is text.
 * @returns why it has no canonical form, for the caller: what is wrong, without the value.
 */
export function canonicalValue(type: ParameterType, value: string | number): Outcome {
  switch (type) {
    case 'path':
      return typeof value === 'string' ? path(value) : err('must be a path as text');
    case 'url':
      return typeof value === 'string' ? url(value) : err('must be a URL as text');
    case 'domain':
      return typeof value === 'string' ? domain(value) : err('must be a domain or an e-mail address as text');
    case 'amount':
      return amount(value);
    case 'identifier':
      return identifier(value);
  }
}

/** Controls, format and direction marks, surrogates, private and unassigned characters, and whatever a renderer leaves out. */
const UNSEEN = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}]/u;
const unseen = err('has characters that cannot be seen');

/** Whoever undoes an escape reads another path. */
const ESCAPED = /%(?:[0-9a-f]{2}|u[0-9a-f]{4})/i;
/** In a URL escapes are the spelling; of separators and dots, escaped once or more or as overlong sequences, nobody agrees on the reading. */
const ESCAPED_SEPARATOR = /%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f|c[01]|e0%(?:25)*[89]|f0%(?:25)*8|u[0-9a-f]{4})/i;
const BARE_PERCENT = /%(?![0-9a-f]{2})/i;

const MAX_PATH = 4_096;
const MAX_SEGMENTS = 128;

function path(value: string): Outcome {
  const text = value.normalize('NFC');
  if (text === '' || text.length > MAX_PATH) return err(`must be a path of 1 to ${MAX_PATH} characters`);
  if (UNSEEN.test(text)) return unseen;
  if (text.includes('\\')) return err('has a backslash; separate folders with /');
  if (ESCAPED.test(text)) return err('has escaped characters; write them as they are');
  const absolute = text.startsWith('/');
  const kept: string[] = [];
  for (const segment of text.split('/')) {
    if (segment === '' || segment === '.') continue;
    if (segment === '..') {
      if (kept.length > 0) kept.pop();
      else if (!absolute) return err('leads out of the folder it is relative to');
      continue;
    }
    // Names of dots and spaces alone, and letters that fold into separators, are something else to systems that trim or fold.
    const folded = segment.normalize('NFKC');
    if (/^[. ]+$|[/\\]/.test(folded) || ESCAPED.test(folded))
      return err('has a name that some systems read as another one');
    kept.push(segment);
  }
  if (kept.length > MAX_SEGMENTS) return err(`is more than ${MAX_SEGMENTS} folders deep`);
  const plain = kept.join('/');
  if (kept.length > 0 && plain !== plain.trim()) return err('begins or ends with a space');
  // A home folder, a URL or a drive, an option of a command line.
  if (!absolute && /^(?:~|-|[a-z][a-z0-9+.-]*:)/i.test(plain)) return err('begins like something other than a path');
  const root = absolute ? '/' : '.';
  const prefix = absolute ? '/' : '';
  const under = [root, ...kept.map((_, index) => prefix + kept.slice(0, index + 1).join('/'))];
  return ok({ text: under.at(-1)!, facets: { under } });
}

const MAX_URL = 8_192;
const DEFAULT_PORT: Readonly<Record<string, number>> = { http: 80, https: 443 };

function url(value: string): Outcome {
  const text = value.normalize('NFC');
  if (text.length > MAX_URL) return err(`must be a URL of at most ${MAX_URL} characters`);
  if (UNSEEN.test(text)) return unseen;
  if (/[\s\\]/.test(text)) return err('has a space or a backslash');
  // The parser also takes `https:host` and `https:///host`; others read those as something else.
  const authority = /^https?:\/\/([^/?#]+)/i.exec(text)?.[1];
  if (authority === undefined) return err('must begin with https:// or http:// and a host');
  if (authority.includes('@')) return err('has a user name or password');
  if (!URL.canParse(text)) return err('is not a URL');
  const parsed = new URL(text);
  const host = hostOf(parsed.hostname);
  if (host === null) return err('has no host that can be judged');
  const where = pathOfUrl(parsed.pathname);
  if (!where.ok) return where;
  const scheme = parsed.protocol.slice(0, -1);
  const port = parsed.port === '' ? DEFAULT_PORT[scheme]! : Number(parsed.port);
  const shown = parsed.port === '' ? '' : `:${parsed.port}`;
  const rest = upperEscapes(parsed.search) + upperEscapes(parsed.hash);
  const canonical = `${scheme}://${host}${shown}${where.value}${rest}`;
  if (canonical.length > MAX_URL) return err(`must be a URL of at most ${MAX_URL} characters`);
  return ok({ text: canonical, facets: { scheme, host, port, path: where.value, hostUnder: hostUnder(host) } });
}

function pathOfUrl(pathname: string): Result<string, string> {
  const plain = upperEscapes(pathname).replace(/%(?:2D|2E|5F|7E|3\d|[46][1-9A-F]|[57][0-9A])/g, (escaped) =>
    String.fromCharCode(Number.parseInt(escaped.slice(1), 16)),
  );
  // Before and after: undoing one escape must not make another.
  if (ESCAPED_SEPARATOR.test(plain) || BARE_PERCENT.test(pathname))
    return err('has an escape in its path that is read in more than one way');
  if (plain.includes('//')) return err('has an empty folder in its path');
  // `..;x` is a folder to one server and the way up to another.
  if (/\/\.{1,2}(?:;|\/|$)/.test(plain)) return err('has a folder in its path that some servers read as the one above');
  return ok(plain);
}

const upperEscapes = (text: string): string => text.replace(/%[0-9a-f]{2}/gi, (escaped) => escaped.toUpperCase());

const LABELS = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;
const MAPPED = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

/** `hostname` as the parser of URLs gives it: lower case, punycode, addresses in digits. Null: a name that no resolver would take. */
function hostOf(hostname: string): string | null {
  const mapped = MAPPED.exec(hostname);
  if (mapped) {
    const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
    return [high >> 8, high & 255, low >> 8, low & 255].join('.');
  }
  if (hostname.startsWith('[')) return hostname;
  const host = hostname.endsWith('.') ? hostname.slice(0, -1) : hostname;
  return host.length <= 253 && LABELS.test(host) ? host : null;
}

/** The host, and what it is below, each with a dot in front. An address is below nothing. */
function hostUnder(host: string): readonly string[] {
  if (host.startsWith('[') || IPV4.test(host)) return [host];
  const labels = host.split('.');
  return [host, ...labels.slice(1).map((_, index) => `.${labels.slice(index + 1).join('.')}`)];
}

/** Nothing that routes, quotes or names several: no `%`, `!`, comments, quotes, brackets, commas. */
const MAILBOX = /^[a-z0-9_+~=']+(?:[.-]+[a-z0-9_+~=']+)*-*$/i;

/** A domain, or an address that is judged by its domain. The part before the @ keeps its case: only its own server knows. */
function domain(value: string): Outcome {
  const text = value.normalize('NFC');
  if (text === '' || text.length > 320) return err('must be a domain or an e-mail address of 1 to 320 characters');
  if (UNSEEN.test(text)) return unseen;
  const at = text.indexOf('@');
  const mailbox = at < 0 ? '' : text.slice(0, at);
  if (at >= 0 && (mailbox.length > 64 || mailbox.includes('..') || !MAILBOX.test(mailbox)))
    return err('must be one plain e-mail address, such as ana@example.com');
  const name = text.slice(at + 1);
  if (name === '' || /[\s/\\?#@:[\]%]/.test(name) || !URL.canParse(`https://${name}`))
    return err('has no domain that can be judged');
  const host = hostOf(new URL(`https://${name}`).hostname);
  if (host === null || (at >= 0 && IPV4.test(host))) return err('has no domain that can be judged');
  return ok({ text: at < 0 ? host : `${mailbox}@${host}`, facets: { host, hostUnder: hostUnder(host) } });
}

/** At most 13 digits before the point and two behind: hundredths are then exact. */
const DECIMAL = /^(-?)(0|[1-9]\d{0,12})(?:\.(\d{1,2}))?$/;

function amount(value: string | number): Outcome {
  // A number counts as the decimal it is written as, so 0.1 + 0.2 is no amount.
  const match = Object.is(value, -0) ? null : DECIMAL.exec(String(value));
  if (!match) return err('must be a plain decimal number with at most two digits after the point');
  const [, sign, whole, fraction = ''] = match;
  const minor = Number(whole) * 100 + Number(fraction.padEnd(2, '0'));
  if (sign && minor === 0) return err('must be a plain decimal number; zero has no sign');
  const cents = minor % 100;
  const text = `${sign}${whole}${cents === 0 ? '' : `.${String(cents).padStart(2, '0')}`}`;
  return ok({ text, facets: { minor: sign ? -minor : minor } });
}

const MAX_IDENTIFIER = 512;

function identifier(value: string | number): Outcome {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0)
      ? ok({ text: String(value), facets: {} })
      : err('must be a whole number or text');
  const text = value.normalize('NFC');
  if (text === '' || text.length > MAX_IDENTIFIER)
    return err(`must be an identifier of 1 to ${MAX_IDENTIFIER} characters`);
  if (UNSEEN.test(text)) return unseen;
  if (/\s/u.test(text)) return err('has a space in it');
  if (text.normalize('NFKC') !== text) return err('has letters that some systems read as other ones');
  if (text.startsWith('-') && !/^-\d+$/.test(text)) return err('begins like an option of a command line');
  return ok({ text, facets: {} });
}
