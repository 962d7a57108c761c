/**
 * URI templates of servers, read backwards: which values a URI has in a template (RFC 6570 `{var}`, `{+var}`, and `{?a,b}` at the end).
 * ATTACKER-CONTROLLED: the template comes from a server, the URI from a caller. No RegExp is built from either; the work is bounded by
 * length x number of parts. A URI that can be read in two ways is not matched: the policy would see other values than the server.
 * The values are for policies only. What goes to the server is the URI as it came.
 */
import { hasHidden } from '../lib/hidden-text.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';

const MAX_VARIABLES = 16;
export const MAX_URI = 2048;

export interface Template {
  readonly text: string;
  /** The literal text before the first variable: the longer, the more specific. */
  readonly prefix: string;
  readonly variables: readonly string[];
  /** The values, percent-decoded once; null when the URI is not of this template, has dot segments, control characters or needless escapes, or two readings. */
  match(uri: string): Readonly<Record<string, string>> | null;
}

export interface TemplateProblem {
  readonly code: 'template_refused';
  readonly message: string;
}

interface Variable {
  readonly name: string;
  /** `{+name}`: may hold `/` and `?`. */
  readonly reserved: boolean;
}
type Part = string | Variable;

export function compileTemplate(text: string): Result<Template, TemplateProblem> {
  const refuse = (message: string): Result<Template, TemplateProblem> => err({ code: 'template_refused', message });
  if (text.length > MAX_URI) return refuse(`is longer than ${MAX_URI} characters`);
  if (/\s/.test(text) || hasHidden(text)) return refuse('holds spaces or characters that nobody sees');
  const parts: Part[] = [];
  const query: string[] = [];
  const names = new Set<string>();
  for (let at = 0; at < text.length;) {
    if (query.length > 0) return refuse('has something after {?…}, which must be its end');
    const open = text.indexOf('{', at);
    const literal = text.slice(at, open === -1 ? undefined : open);
    if (literal.includes('}')) return refuse('has a } without a {');
    if (/%(?![0-9A-Fa-f]{2})/.test(literal)) return refuse('has a % that begins no escape');
    if (literal !== '') parts.push(literal);
    if (open === -1) break;
    const close = text.indexOf('}', open);
    if (close === -1) return refuse('has a { without a }');
    const expression = text.slice(open + 1, close);
    const operator = expression.startsWith('+') || expression.startsWith('?') ? expression.charAt(0) : '';
    const named = operator === '?' ? expression.slice(1).split(',') : [expression.slice(operator.length)];
    for (const name of named) {
      if (!/^[A-Za-z0-9_]{1,64}$/.test(name))
        return refuse('has an expression other than {name}, {+name} and {?name,name}');
      if (names.has(name)) return refuse(`names the variable ${name} twice`);
      names.add(name);
    }
    if (operator === '?') query.push(...named);
    else {
      if (typeof parts.at(-1) === 'object') return refuse('has two variables with nothing between them');
      parts.push({ name: named[0]!, reserved: operator === '+' });
    }
    at = close + 1;
  }
  if (names.size > MAX_VARIABLES) return refuse(`has more than ${MAX_VARIABLES} variables`);
  const [prefix] = parts;
  if (typeof prefix !== 'string' || !/^[A-Za-z][A-Za-z0-9+.-]*:/.test(prefix))
    return refuse('does not begin with a scheme such as file:');
  if (query.length > 0 && parts.some((part) => typeof part === 'string' && part.includes('?')))
    return refuse('has a ? before {?…}');
  return ok({ text, prefix, variables: [...names], match: (uri) => match(parts, query, uri) });
}

function match(parts: readonly Part[], query: readonly string[], uri: string): Readonly<Record<string, string>> | null {
  const [prefix] = parts as [string];
  if (uri.length > MAX_URI || !uri.startsWith(prefix) || /\s/.test(uri) || hasHidden(uri)) return null;
  const mark = query.length > 0 ? uri.indexOf('?') : -1;
  const values = readParts(parts, mark === -1 ? uri : uri.slice(0, mark), query.length > 0);
  if (!values) return null;
  if (mark !== -1 && !readQuery(query, uri.slice(mark + 1), values)) return null;
  const decoded: Array<readonly [string, string]> = [];
  for (const [name, value] of values) {
    const once = decode(value);
    if (once === null || !harmless(once)) return null;
    decoded.push([name, once]);
  }
  // A dot segment may stand across a variable and the text around it.
  return harmless(uri) ? Object.fromEntries(decoded) : null;
}

/**
 * Counts the readings (0, 1, "several" is 2) that reach each place after each part, then walks the only one back.
 * A variable takes at least one character of its class.
 */
function readParts(parts: readonly Part[], text: string, hasQuery: boolean): Map<string, string> | null {
  const places = text.length + 1;
  const ways: Uint8Array[] = [new Uint8Array(places)];
  ways[0]![0] = 1;
  for (const [index, part] of parts.entries()) {
    const before = ways[index]!;
    const after = new Uint8Array(places);
    if (typeof part === 'string') {
      for (let at = 0; at + part.length < places; at++)
        if (before[at] !== 0 && text.startsWith(part, at)) after[at + part.length] = before[at]!;
    } else {
      let open = 0;
      for (let at = 1; at < places; at++) {
        open = mayHold(part, text.charAt(at - 1), hasQuery) ? Math.min(2, open + before[at - 1]!) : 0;
        after[at] = open;
      }
    }
    ways.push(after);
  }
  if (ways.at(-1)![text.length] !== 1) return null;
  const values = new Map<string, string>();
  let end = text.length;
  for (let index = parts.length - 1; index >= 0; index--) {
    const part = parts[index]!;
    let start = typeof part === 'string' ? end - part.length : end - 1;
    if (typeof part !== 'string') {
      while (ways[index]![start] === 0) start--;
      values.set(part.name, text.slice(start, end));
    }
    end = start;
  }
  return values;
}

function mayHold(variable: Variable, character: string, hasQuery: boolean): boolean {
  if (character === '#') return false;
  if (variable.reserved) return !(hasQuery && character === '?');
  return character !== '/' && character !== '?';
}

/** Any of the names, once each, in any order. `+` would be a space to some servers and a plus to others. */
function readQuery(names: readonly string[], text: string, values: Map<string, string>): boolean {
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=');
    const name = pair.slice(0, equals);
    const value = pair.slice(equals + 1);
    if (equals === -1 || !names.includes(name) || values.has(name) || /[+#=?]/.test(value)) return false;
    values.set(name, value);
  }
  return true;
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Escapes of what never needs one (RFC 3986 2.3): only somebody who hides a name writes `%73` for `s`. */
const NEEDLESS = /%(?:2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])/;

/** No `.` or `..` as a segment, no control character and no needless escape, also to a server that decodes once or twice more than it should. */
function harmless(text: string): boolean {
  let read: string | null = text;
  for (let times = 0; times < 3; times++) {
    // oxlint-disable-next-line no-control-regex
    if (/[\u0000-\u001F\u007F]/.test(read) || /(?:^|[/\\?&=])\.{1,2}(?:$|[/\\?&#;])/.test(read)) return false;
    if (NEEDLESS.test(read)) return false;
    const next: string | null = read.includes('%') ? decode(read) : read;
    if (next === read || next === null) break;
    read = next;
  }
  return true;
}
