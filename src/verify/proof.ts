/**
 * Receipts (C2SP tlog-proof): one text file that proves, offline, that an entry stands in a log.
 * The `extra` line is not authenticated and is not given out. The leaf is always recomputed from the entry the reader holds.
 */
import { openCheckpoint } from './checkpoint.ts';
import type { Checkpoint } from './checkpoint.ts';
import { FormatError, strictBase64, strictDecimal } from './format-error.ts';
import { inclusionHolds, leafHash } from './merkle.ts';
import { parseVkey } from './note.ts';
import type { Vkey } from './note.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';
/** A tree below 2^53 leaves has no longer path. */
const MAX_HASHES = 63;

export interface Proof {
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
  /** The signed note, verbatim. */
  readonly checkpoint: string;
}

export type ReceiptCheck =
  | { readonly ok: true; readonly index: number; readonly checkpoint: Checkpoint }
  | { readonly ok: false; readonly message: string };

export function formatProof({ index, hashes, checkpoint }: Proof): string {
  const path = hashes.map((hash) => `${Buffer.from(hash).toString('base64')}\n`).join('');
  return `${HEADER}\nindex ${index}\n${path}\n${checkpoint}`;
}

/** @throws FormatError */
export function parseProof(text: string): Proof {
  const split = text.indexOf('\n\n');
  if (split < 0) throw new FormatError('malformed_proof', 'the receipt has no blank line before its checkpoint');
  const [header, ...lines] = text.slice(0, split).split('\n');
  if (header !== HEADER) throw new FormatError('malformed_proof', `the receipt does not begin with ${HEADER}`);
  if (lines[0]?.startsWith('extra ')) {
    if (strictBase64(lines.shift()?.slice('extra '.length) ?? '') === null) {
      throw new FormatError('malformed_proof', 'the extra line of the receipt is not base64');
    }
  }
  const indexLine = lines.shift() ?? '';
  const index = indexLine.startsWith('index ') ? strictDecimal(indexLine.slice('index '.length)) : null;
  if (index === null) throw new FormatError('malformed_proof', 'the receipt has no index line');
  if (lines.length > MAX_HASHES) throw new FormatError('malformed_proof', 'the path of the receipt is too long');
  const hashes = lines.map((line) => {
    const hash = strictBase64(line);
    if (hash?.length !== 32) throw new FormatError('malformed_proof', 'a line of the path is not a SHA-256 hash');
    return hash;
  });
  return { index, hashes, checkpoint: text.slice(split + 2) };
}

/**
 * Does this receipt prove that exactly `entry` stands in the log of one of these keys?
 * Proves existence and position, not truth, and not that the log shown to others is the same (docs/audit-format.md).
 * @throws FormatError when the receipt, its checkpoint or a key is malformed.
 */
export function verifyReceipt(
  receipt: string,
  entry: string | Uint8Array,
  vkeys: string | readonly (string | Vkey)[],
): ReceiptCheck {
  const trusted = (typeof vkeys === 'string' ? [vkeys] : vkeys).map((vkey) =>
    typeof vkey === 'string' ? parseVkey(vkey) : vkey,
  );
  const proof = parseProof(receipt);
  const opened = openCheckpoint(proof.checkpoint, trusted);
  if (!opened.ok) return opened;
  const { checkpoint } = opened;
  if (!inclusionHolds(leafHash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)) {
    return {
      ok: false,
      message: `the receipt does not lead from this entry at index ${proof.index} to the signed root of ${checkpoint.size} entries`,
    };
  }
  return { ok: true, index: proof.index, checkpoint };
}
