/**
 * Signed notes (C2SP signed-note) with Ed25519 keys: parse, check, and the text form of keys and signatures.
 * Nothing here holds a private key: who signs passes in the signature. Other signature types are ignored, as the specification asks.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { FormatError, strictBase64 } from './format-error.ts';

const ED25519 = 0x01;
/** DER of an Ed25519 SubjectPublicKeyInfo up to the 32 key bytes (RFC 8410 section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** The specification asks for at least 16; witnesses with post-quantum keys need up to 5 kB each. */
const MAX_SIGNATURES = 64;
const MAX_NOTE_BYTES = 256 * 1024;

/** A public key under the name it signs with. Name and id together identify it. */
export interface Vkey {
  readonly name: string;
  /** Eight hexadecimal digits. */
  readonly id: string;
  readonly key: KeyObject;
  /** `name+id+base64`: what is handed to other people. */
  readonly text: string;
}

export interface NoteSignature {
  readonly name: string;
  readonly id: string;
  readonly signature: Buffer;
}

export interface Note {
  /** Ends in a newline; this is what was signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export type NoteCheck =
  | { readonly ok: true; readonly text: string; readonly signers: readonly Vkey[] }
  | { readonly ok: false; readonly reason: 'bad_signature' | 'no_known_key'; readonly keys: readonly string[] };

function isKeyName(name: string): boolean {
  return name !== '' && !/[\p{White_Space}\p{Cc}+]/u.test(name) && name.isWellFormed();
}

function keyId(name: string, publicKey: Uint8Array): string {
  return createHash('sha256')
    .update(`${name}\n`)
    .update(Uint8Array.of(ED25519))
    .update(publicKey)
    .digest('hex')
    .slice(0, 8);
}

/** The verifier key of an Ed25519 public key under a name. @throws FormatError for another key type or an illegal name. */
export function vkeyOf(name: string, key: KeyObject): Vkey {
  if (!isKeyName(name)) throw new FormatError('malformed_vkey', 'a key name has no spaces, controls or plus signs');
  if (key.type !== 'public' || key.asymmetricKeyType !== 'ed25519') {
    throw new FormatError('malformed_vkey', 'the key is not an Ed25519 public key');
  }
  const raw = key.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length);
  const id = keyId(name, raw);
  const material = Buffer.concat([Uint8Array.of(ED25519), raw]).toString('base64');
  return { name, id, key, text: `${name}+${id}+${material}` };
}

/** Reads `name+id+base64`. @throws FormatError when any part is malformed, the id does not belong to the key, or the key is not Ed25519. */
export function parseVkey(text: string): Vkey {
  // Standard base64 may contain a plus, names may not: the first two pluses separate.
  const first = text.indexOf('+');
  const second = text.indexOf('+', first + 1);
  if (first < 0 || second < 0) {
    throw new FormatError('malformed_vkey', 'a verifier key has the form name+id+base64');
  }
  const name = text.slice(0, first);
  const material = strictBase64(text.slice(second + 1));
  if (material?.length !== 33 || material[0] !== ED25519) {
    throw new FormatError('malformed_vkey', 'the verifier key is not an Ed25519 key (type 1, 32 bytes)');
  }
  const raw = material.subarray(1);
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: 'der', type: 'spki' });
  } catch {
    throw new FormatError('malformed_vkey', 'the verifier key is not an Ed25519 key');
  }
  const vkey = vkeyOf(name, key);
  if (vkey.text !== text) throw new FormatError('malformed_vkey', 'the id of the verifier key does not belong to it');
  return vkey;
}

/** @throws FormatError */
export function parseNote(input: string | Uint8Array): Note {
  const note = typeof input === 'string' ? input : decodeUtf8(input);
  if (note.length > MAX_NOTE_BYTES) throw new FormatError('malformed_note', 'the note is too long');
  // oxlint-disable-next-line no-control-regex -- the specification forbids exactly these
  if (!note.isWellFormed() || /[\u0000-\u0009\u000b-\u001f]/.test(note)) {
    throw new FormatError('malformed_note', 'the note has control characters or is not UTF-8');
  }
  const split = note.lastIndexOf('\n\n');
  if (split < 0) throw new FormatError('malformed_note', 'the note has no blank line before its signatures');
  const block = note.slice(split + 2);
  if (block === '' || !block.endsWith('\n')) {
    throw new FormatError('malformed_note', 'the note has no signature lines or does not end in a newline');
  }
  const lines = block.slice(0, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw new FormatError('malformed_note', 'the note has too many signatures');
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): NoteSignature {
  const [dash, name, encoded, ...rest] = line.split(' ');
  const bytes = strictBase64(encoded ?? '');
  if (dash !== '—' || name === undefined || !isKeyName(name) || rest.length > 0 || bytes === null || bytes.length < 5) {
    throw new FormatError('malformed_note', 'a signature line has the form: em dash, name, base64');
  }
  return { name, id: bytes.toString('hex', 0, 4), signature: bytes.subarray(4) };
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new FormatError('malformed_note', 'the note is not UTF-8');
  }
}

/**
 * Checks a note against the keys its reader trusts. Unknown signatures are ignored; one failing signature of a known key refuses the whole note.
 * Not checked: what the text says, and whether the key's name fits it.
 */
export function checkNote(note: Note, trusted: readonly Vkey[]): NoteCheck {
  const signers: Vkey[] = [];
  for (const { name, id, signature } of note.signatures) {
    for (const vkey of trusted) {
      if (vkey.name !== name || vkey.id !== id) continue;
      if (!verify(null, Buffer.from(note.text), vkey.key, signature)) {
        return { ok: false, reason: 'bad_signature', keys: [`${name}+${id}`] };
      }
      signers.push(vkey);
    }
  }
  if (signers.length > 0) return { ok: true, text: note.text, signers };
  return { ok: false, reason: 'no_known_key', keys: note.signatures.map(({ name, id }) => `${name}+${id}`) };
}

/** The note text with one signature under it. `signature` is over exactly `text`. */
export function formatNote(text: string, signer: Vkey, signature: Uint8Array): string {
  const encoded = Buffer.concat([Buffer.from(signer.id, 'hex'), signature]).toString('base64');
  return `${text}\n— ${signer.name} ${encoded}\n`;
}
