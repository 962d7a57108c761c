/**
 * The log as the API hands it out, in the shape `exportLog` reads, frozen at one checkpoint. Reading only; writing is refused.
 * Not checked here: whether entries and hashes belong together. `remit verify` recomputes all of it from the exported files.
 */
import { LedgerFault, type Ledger } from '../audit/ledger.ts';
import type { Api } from './api.ts';

const PAGE = 2560;

export function remoteLedger(
  api: Api,
  at: { readonly log: string; readonly size: number; readonly note: string },
  onProgress: (done: number) => void,
): Ledger {
  const refuse = (): Promise<never> =>
    Promise.reject(new LedgerFault('ledger_closed', 'this ledger is read through the API'));
  return {
    append: refuse,
    swapCheckpoint: refuse,
    size: () => Promise.resolve(at.size),
    logs: () => Promise.resolve([at.log]),
    checkpoint: () => Promise.resolve({ size: at.size, note: at.note }),
    async read(_log, start, count) {
      const entries: Array<{ index: number; text: string }> = [];
      while (entries.length < count) {
        const from = start + entries.length;
        const { body } = await api.get<{ entries: Array<{ index: number; text: string }> }>(
          `/audit/export?start=${from}&count=${Math.min(PAGE, count - entries.length)}`,
        );
        if (body.entries.length === 0) break;
        entries.push(...body.entries);
        if (entries.length >= PAGE) onProgress(from + body.entries.length);
      }
      return entries;
    },
    async hashes(_log, level, start, count) {
      const hashes: Uint8Array[] = [];
      while (hashes.length < count) {
        const { body } = await api.get<{ hashes: string[] }>(
          `/audit/hashes?level=${level}&start=${start + hashes.length}&count=${Math.min(4096, count - hashes.length)}`,
        );
        if (body.hashes.length === 0) break;
        hashes.push(...body.hashes.map((hash) => Buffer.from(hash, 'base64')));
      }
      return hashes;
    },
    fatal: null,
    onFatal: () => () => undefined,
    close: () => Promise.resolve(),
  };
}
