/**
 * Checkpoints (C2SP tlog-checkpoint): a signed statement that a log of this origin had this size and this root.
 * Extension lines are read past and not given out: they are not auditable.
 */
import { FormatError, strictBase64, strictDecimal } from './format-error.ts';
import { checkNote, parseNote } from './note.ts';
import type { Vkey } from './note.ts';

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

export type CheckpointCheck =
  | { readonly ok: true; readonly checkpoint: Checkpoint; readonly signers: readonly Vkey[] }
  | { readonly ok: false; readonly message: string };

/** The text that is signed. */
export function formatCheckpoint(checkpoint: {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${Buffer.from(checkpoint.root).toString('base64')}\n`;
}

/** Reads the text of a note whose signature was checked. @throws FormatError */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split('\n');
  const [origin, sizeText, rootText] = lines;
  const size = strictDecimal(sizeText ?? '');
  const root = strictBase64(rootText ?? '');
  // The text ends in a newline, so the last element is empty and no other may be.
  if (!origin || size === null || root?.length !== 32 || lines.indexOf('') !== lines.length - 1) {
    throw new FormatError('malformed_checkpoint', 'a checkpoint is three lines: origin, size, root hash');
  }
  return { origin, size, root };
}

/**
 * Opens a signed checkpoint: one of the trusted keys signed it, and the origin is that key's name.
 * The origin rule is stricter than the specification's SHOULD: it keeps a key from speaking for another log.
 * @throws FormatError when it is not a checkpoint at all.
 */
export function openCheckpoint(note: string | Uint8Array, trusted: readonly Vkey[]): CheckpointCheck {
  const checked = checkNote(parseNote(note), trusted);
  if (!checked.ok) {
    const keys = checked.keys.join(', ');
    return {
      ok: false,
      message:
        checked.reason === 'bad_signature'
          ? `the signature of the checkpoint by ${keys} does not verify`
          : `the checkpoint is signed by no key that was given (it names ${keys})`,
    };
  }
  const checkpoint = parseCheckpoint(checked.text);
  const signers = checked.signers.filter((vkey) => vkey.name === checkpoint.origin);
  if (signers.length === 0) {
    return { ok: false, message: `the checkpoint speaks for "${checkpoint.origin}", which is not the name of its key` };
  }
  return { ok: true, checkpoint, signers };
}
