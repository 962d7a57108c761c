/**
 * Hands a log to an auditor: a directory that `remit-verify` checks with nothing of ours running.
 * Holds the newest signed checkpoint, all tiles and entries it covers, earlier checkpoints of this directory, and the verifier keys.
 * The keys in it are a convenience: an auditor takes the key from elsewhere.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Vkey } from '../verify/note.ts';
import { replaceFile, syncDirectory } from './durable-file.ts';
import { AuditFault } from './audit-log.ts';
import type { Ledger } from './ledger.ts';
import { readPublished, writeTree } from './tree-files.ts';

export interface ExportResult {
  readonly size: number;
  /** Entries that were already there from an earlier export. */
  readonly before: number;
}

/**
 * Exports up to the newest stored checkpoint; exporting again into the same directory adds what is new and keeps the checkpoint it replaces.
 * Takes no lock: entries and checkpoints only grow. Only one export per directory at a time.
 * @throws AuditFault when the log has no checkpoint yet (`log_index_unknown`) or the directory holds another log (`log_forked`).
 */
export async function exportLog(options: {
  readonly ledger: Ledger;
  readonly log: string;
  readonly dir: string;
  /** Current key first, then retired ones. */
  readonly vkeys: readonly Vkey[];
}): Promise<ExportResult> {
  const { ledger, log, dir, vkeys } = options;
  const checkpoint = await ledger.checkpoint(log);
  if (checkpoint === null) throw new AuditFault('log_index_unknown', `log ${log} has no signed checkpoint yet`);
  await mkdir(dir, { recursive: true });
  const before = await readPublished(ledger, log, dir, vkeys);
  if (before !== null && before.note !== checkpoint.note) {
    await replaceFile(join(dir, 'checkpoints', String(before.size)), before.note);
    await syncDirectory(join(dir, 'checkpoints'));
  }
  await writeTree({ ledger, log, dir, checkpoint, from: before?.size ?? 0, vkeys });
  return { size: checkpoint.size, before: before?.size ?? 0 };
}
