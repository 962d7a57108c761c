/**
 * The first message of TLS (RFC 8446 4.1.2, RFC 6066 3), read as far as it takes to know for which host it is. The bytes are a hostile server's:
 * every length is checked against what is there, nothing is skipped that is not understood as a whole, and at most MAX_HELLO bytes are held.
 * A name that is encrypted (ECH) is a name that cannot be read. Not checked: whether the rest of the handshake makes sense.
 */
export type HelloRead =
  | { readonly state: 'more' }
  | { readonly state: 'hello'; readonly serverName: string }
  | { readonly state: 'refused'; readonly why: 'not_tls' | 'server_name' };

/** With one record header; real ones have less than 2 KB. */
export const MAX_HELLO = 16_384 + 5;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
/** encrypted_client_hello, and the drafts before it. */
const ENCRYPTED = new Set([0xfe0d, 0xfe0a, 0xfe09, 0xfe08, 0xffce]);

const MORE = { state: 'more' } as const;
const NOT_TLS = { state: 'refused', why: 'not_tls' } as const;
const NO_NAME = { state: 'refused', why: 'server_name' } as const;

/** Pure: called again with more bytes while it says `more`. What follows the message is not looked at. */
export function readClientHello(bytes: Uint8Array): HelloRead {
  let message: Uint8Array = new Uint8Array();
  for (let at = 0; ;) {
    if (at > MAX_HELLO) return NOT_TLS;
    const [type, major = 3, minor = 0] = bytes.subarray(at, at + 3);
    if (type === undefined) return MORE;
    if (type !== HANDSHAKE || major !== 3 || minor > 4) return NOT_TLS;
    if (at + 5 > bytes.length) return MORE;
    const size = uint(bytes, at + 3, 2);
    if (size === 0 || size > 16_384) return NOT_TLS;
    const part = bytes.subarray(at + 5, at + 5 + size);
    message = message.length === 0 ? part : Buffer.concat([message, part]);
    if (message.length > 0 && message[0] !== CLIENT_HELLO) return NOT_TLS;
    if (part.length < size) return bytes.length < MAX_HELLO ? MORE : NOT_TLS;
    at += 5 + size;
    const whole = message.length < 4 ? Number.POSITIVE_INFINITY : 4 + uint(message, 1, 3);
    // A second message in the same record is not what any TLS client sends.
    if (message.length > whole || (whole > MAX_HELLO && message.length >= 4)) return NOT_TLS;
    if (message.length === whole) return readBody(message.subarray(4));
  }
}

function readBody(body: Uint8Array): HelloRead {
  const read = reader(body);
  if (read.take(2)?.[0] !== 3 || read.take(32) === null) return NOT_TLS;
  const session = read.vector(1);
  const suites = read.vector(2);
  const compression = read.vector(1);
  if (session === null || session.length > 32) return NOT_TLS;
  if (suites === null || suites.length < 2 || suites.length % 2 !== 0) return NOT_TLS;
  if (compression === null || compression.length < 1) return NOT_TLS;
  if (read.ended()) return NO_NAME; // no extensions at all
  const extensions = read.vector(2);
  if (extensions === null || !read.ended()) return NOT_TLS;

  const seen = new Set<number>();
  let serverName: string | null = null;
  const each = reader(extensions);
  while (!each.ended()) {
    const type = each.number(2);
    const content = each.vector(2);
    if (type === null || content === null || seen.has(type)) return NOT_TLS;
    seen.add(type);
    if (ENCRYPTED.has(type)) return NO_NAME;
    if (type === SERVER_NAME) {
      serverName = nameIn(content);
      if (serverName === null) return NO_NAME;
    }
  }
  return serverName === null ? NO_NAME : { state: 'hello', serverName };
}

/** Exactly one name, of the one kind there is. */
function nameIn(content: Uint8Array): string | null {
  const outer = reader(content);
  const list = outer.vector(2);
  if (list === null || !outer.ended()) return null;
  const entry = reader(list);
  if (entry.number(1) !== 0) return null;
  const name = entry.vector(2);
  if (name === null || name.length === 0 || name.length > 253 || !entry.ended()) return null;
  const text = Buffer.from(name).toString('latin1');
  return /^[\x21-\x7e]+$/.test(text) ? text : null;
}

interface Reader {
  take(size: number): Uint8Array | null;
  number(size: number): number | null;
  /** Bytes behind a length of `width` bytes. */
  vector(width: number): Uint8Array | null;
  ended(): boolean;
}

function reader(bytes: Uint8Array): Reader {
  let at = 0;
  const take = (size: number): Uint8Array | null => {
    if (at + size > bytes.length) return null;
    at += size;
    return bytes.subarray(at - size, at);
  };
  const number = (size: number): number | null => {
    const part = take(size);
    return part === null ? null : uint(part, 0, size);
  };
  return {
    take,
    number,
    vector(width) {
      const size = number(width);
      return size === null ? null : take(size);
    },
    ended: () => at === bytes.length,
  };
}

function uint(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = at; i < at + size; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}
