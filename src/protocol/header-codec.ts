/**
 * Text in an HTTP field value, as MCP mirrors it (streamable-http, Value Encoding; C2, M5): plain when it is safe ASCII,
 * else `=?base64?…?=` over its UTF-8 bytes. One text has exactly one accepted sentinel form: the payload must be canonical Base64.
 */
import { isUtf8 } from 'node:buffer';

const PREFIX = '=?base64?';
const SUFFIX = '?=';
/** Visible ASCII, with spaces and tabs inside but not at the ends; empty is safe too. */
const PLAIN = /^(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?$/;
const FIELD_TEXT = /^[\x20-\x7e\t]*$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const isSentinel = (value: string): boolean => value.startsWith(PREFIX) && value.endsWith(SUFFIX) && value.length >= 11;

/** @param text well-formed Unicode (strict JSON has seen to that). */
export function encodeHeaderValue(text: string): string {
  if (PLAIN.test(text) && !(text.startsWith(PREFIX) && text.endsWith(SUFFIX))) return text;
  return `${PREFIX}${Buffer.from(text, 'utf8').toString('base64')}${SUFFIX}`;
}

/** The text a field value stands for, or null when it is malformed. Surrounding white space is not part of a value (RFC 9110 5.5). */
export function decodeHeaderValue(value: string): string | null {
  // ATTACKER-CONTROLLED: node hands over field values as latin1, so anything above ASCII shows here and is refused.
  const trimmed = trimOws(value);
  if (!FIELD_TEXT.test(trimmed)) return null;
  if (!isSentinel(trimmed)) return trimmed;
  const payload = trimmed.slice(PREFIX.length, -SUFFIX.length);
  if (!BASE64.test(payload)) return null;
  const bytes = Buffer.from(payload, 'base64');
  // Spare bits in the last group would give one text several encodings.
  if (bytes.toString('base64') !== payload || !isUtf8(bytes)) return null;
  return bytes.toString('utf8');
}

/** Strips spaces and tabs at both ends, in linear time whatever the peer sent. */
export function trimOws(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isOws(value.charCodeAt(start))) start++;
  while (end > start && isOws(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

const isOws = (c: number): boolean => c === 0x20 || c === 0x09;
