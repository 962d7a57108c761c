/** The public entry of the offline verifier (`remit-gateway/verify`): check logs, receipts and notes with nothing of the gateway installed. */
export { openCheckpoint, parseCheckpoint } from './checkpoint.ts';
export type { Checkpoint, CheckpointCheck } from './checkpoint.ts';
export { FormatError } from './format-error.ts';
export type { FormatErrorCode } from './format-error.ts';
export { DEFAULT_GAP_MS, verifyLog } from './log.ts';
export type { VerifyOptions } from './log.ts';
export { consistencyHolds, inclusionHolds, leafHash } from './merkle.ts';
export { checkNote, parseNote, parseVkey } from './note.ts';
export type { Note, NoteCheck, NoteSignature, Vkey } from './note.ts';
export { parseProof, verifyReceipt } from './proof.ts';
export type { Proof, ReceiptCheck } from './proof.ts';
export type { Finding, FindingCode, Report, Severity, Unfinished } from './report.ts';
export { runVerify } from './command.ts';
