/**
 * JSON that every parser reads the same way: RFC 8259 text, no leniency, none of the freedoms by which two parsers differ.
 * Refused besides bad syntax: duplicate keys (compared after decoding escapes), invalid UTF-8, a byte order mark, lone surrogates,
 * integers a double cannot hold, NUL in keys, the key `__proto__`, and texts larger or deeper than the limits. One pass, linear time.
 * Not checked: keys that differ only in case (`protocol/read-request.ts` does that where a key has a meaning).
 */
import { isUtf8 } from 'node:buffer';
import type { Json } from './json.ts';
import { type Result, err, ok } from './result.ts';

export interface JsonLimits {
  readonly maxBytes: number;
  /** Arrays and objects inside one another; `[]` is depth 1. At most 500: the parser recurses. */
  readonly maxDepth: number;
  /** Array elements and object members in the whole text. */
  readonly maxMembers?: number;
}

/** `at` is an offset in UTF-16 code units, which equals bytes for ASCII. */
export type JsonProblem =
  | { readonly tag: 'too_large'; readonly bytes: number }
  | { readonly tag: 'not_utf8' | 'syntax' | 'too_deep' | 'too_many' | 'unsafe_integer'; readonly at: number }
  | { readonly tag: 'duplicate_key' | 'forbidden_key'; readonly at: number; readonly key: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const DOT = 0x2e;

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Thrown and caught inside this file only: the parser is recursive, its result is a value. */
class Refused extends Error {
  readonly problem: JsonProblem;
  constructor(problem: JsonProblem) {
    super(problem.tag);
    this.problem = problem;
  }
}

/**
 * Parses one JSON text. Objects are plain, so a later spread or assignment cannot reach a prototype: `__proto__` never gets in.
 * Numbers are doubles: an integer beyond 2^53 - 1 and anything that rounds to infinity are refused, a fraction is rounded as JSON.parse does.
 */
export function parseStrictJson(bytes: Uint8Array, limits: JsonLimits): Result<Json, JsonProblem> {
  if (bytes.byteLength > limits.maxBytes) return err({ tag: 'too_large', bytes: bytes.byteLength });
  if (!isUtf8(bytes)) return err({ tag: 'not_utf8', at: 0 });
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return parseText(text, limits.maxDepth, limits.maxMembers ?? Number.POSITIVE_INFINITY);
}

function parseText(text: string, maxDepth: number, maxMembers: number): Result<Json, JsonProblem> {
  let at = 0;
  let members = 0;

  const refuse = (tag: 'not_utf8' | 'syntax' | 'too_deep' | 'too_many' | 'unsafe_integer', where = at): never => {
    throw new Refused({ tag, at: where });
  };

  /** Skips white space and returns the code unit there, NaN at the end. */
  const next = (): number => {
    for (;;) {
      const c = text.charCodeAt(at);
      if (c > 0x20 || (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09)) return c;
      at++;
    }
  };

  const value = (depth: number): Json => {
    const c = next();
    if (c === QUOTE) return string();
    if (c === OPEN_OBJECT) return object(depth + 1);
    if (c === OPEN_ARRAY) return array(depth + 1);
    if (c === MINUS || (c >= ZERO && c <= NINE)) return number();
    if (text.startsWith('true', at)) return ((at += 4), true);
    if (text.startsWith('false', at)) return ((at += 5), false);
    if (text.startsWith('null', at)) return ((at += 4), null);
    return refuse('syntax');
  };

  const object = (depth: number): Json => {
    if (depth > maxDepth) refuse('too_deep');
    const result: Record<string, Json> = {};
    at++;
    if (next() === CLOSE_OBJECT) return (at++, result);
    for (;;) {
      if (++members > maxMembers) refuse('too_many');
      const keyAt = at;
      if (next() !== QUOTE) refuse('syntax');
      const key = string();
      if (key === '__proto__' || key.includes('\0')) throw new Refused({ tag: 'forbidden_key', at: keyAt, key });
      if (Object.hasOwn(result, key)) throw new Refused({ tag: 'duplicate_key', at: keyAt, key });
      if (next() !== COLON) refuse('syntax');
      at++;
      result[key] = value(depth);
      const c = next();
      if (c === COMMA) at++;
      else if (c === CLOSE_OBJECT) return (at++, result);
      else refuse('syntax');
    }
  };

  const array = (depth: number): Json => {
    if (depth > maxDepth) refuse('too_deep');
    const result: Json[] = [];
    at++;
    if (next() === CLOSE_ARRAY) return (at++, result);
    for (;;) {
      if (++members > maxMembers) refuse('too_many');
      result.push(value(depth));
      const c = next();
      if (c === COMMA) at++;
      else if (c === CLOSE_ARRAY) return (at++, result);
      else refuse('syntax');
    }
  };

  const string = (): string => {
    const start = ++at;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === QUOTE) return text.slice(start, at++);
      if (c === BACKSLASH) return escaped(start);
      if (!(c >= 0x20)) refuse('syntax');
      at++;
    }
  };

  /** The rest of a string that has an escape in it; `start` is where the string began. */
  const escaped = (start: number): string => {
    let result = '';
    let from = start;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === QUOTE) {
        result += text.slice(from, at++);
        if (!result.isWellFormed()) refuse('not_utf8', start);
        return result;
      }
      if (c === BACKSLASH) {
        result += text.slice(from, at);
        result += escape();
        from = at;
      } else if (c >= 0x20) at++;
      else refuse('syntax');
    }
  };

  const escape = (): string => {
    const letter = text.charAt(at + 1);
    if (letter === 'u') {
      let code = 0;
      for (let i = at + 2; i < at + 6; i++) {
        const digit = hexDigit(text.charCodeAt(i));
        if (digit < 0) refuse('syntax', i);
        code = code * 16 + digit;
      }
      at += 6;
      return String.fromCharCode(code);
    }
    const plain = ESCAPES[letter];
    if (plain === undefined) return refuse('syntax');
    at += 2;
    return plain;
  };

  const digits = (): void => {
    const from = at;
    while (text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= NINE) at++;
    if (at === from) refuse('syntax');
  };

  const number = (): number => {
    const start = at;
    if (text.charCodeAt(at) === MINUS) at++;
    if (text.charCodeAt(at) === ZERO) at++;
    else digits();
    let integer = true;
    if (text.charCodeAt(at) === DOT) {
      integer = false;
      at++;
      digits();
    }
    const e = text.charCodeAt(at) | 0x20;
    if (e === 0x65) {
      integer = false;
      at++;
      const sign = text.charCodeAt(at);
      if (sign === MINUS || sign === 0x2b) at++;
      digits();
    }
    const result = Number(text.slice(start, at));
    if (integer ? !Number.isSafeInteger(result) : !Number.isFinite(result)) refuse('unsafe_integer', start);
    return result;
  };

  try {
    const result = value(0);
    next();
    return at < text.length ? err({ tag: 'syntax', at }) : ok(result);
  } catch (error) {
    if (error instanceof Refused) return err(error.problem);
    throw error;
  }
}

function hexDigit(c: number): number {
  if (c >= ZERO && c <= NINE) return c - ZERO;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
