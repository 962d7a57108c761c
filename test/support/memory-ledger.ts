/**
 * A ledger in memory, for tests of what stands on the port: the same promises as the real ones, minus durability.
 * `faults` makes single operations fail in the two ways that matter: refused, or done although an error is returned.
 */
import { LedgerFault } from '../../src/audit/ledger.ts';
import type { Ledger, LedgerEntry } from '../../src/audit/ledger.ts';
import { compactRange, leafHash } from '../../src/verify/merkle.ts';

export type FaultMode = 'refuse' | 'persist-then-fail';

export interface MemoryLedger extends Ledger {
  /** Consumed by the next operation of that name. */
  readonly faults: { append: FaultMode | null; swap: FaultMode | null };
  /** Direct hands on the store, for attacks: texts per log. */
  readonly texts: (log: string) => string[];
  readonly levels: (log: string) => Uint8Array[][];
  setCheckpoint(log: string, next: { size: number; note: string } | null): void;
  /** A copy that shares nothing, as a copied database file would be. */
  fork(): MemoryLedger;
}

interface Shelf {
  readonly texts: string[];
  readonly levels: Uint8Array[][];
  checkpoint: { size: number; note: string } | null;
}

export function memoryLedger(shelves = new Map<string, Shelf>()): MemoryLedger {
  const faults: MemoryLedger['faults'] = { append: null, swap: null };
  const listeners = new Set<(fault: LedgerFault) => void>();
  let fatal: LedgerFault | null = null;

  function shelf(log: string): Shelf {
    let one = shelves.get(log);
    if (one === undefined) shelves.set(log, (one = { texts: [], levels: [[]], checkpoint: null }));
    return one;
  }

  function push(levels: Uint8Array[][], level: number, hash: Uint8Array): void {
    const row = (levels[level] ??= []);
    row.push(hash);
    if (row.length % 256 !== 0) return;
    const range = compactRange();
    for (const one of row.slice(-256)) range.push(one);
    push(levels, level + 1, range.root());
  }

  function take(name: 'append' | 'swap'): FaultMode | null {
    const mode = faults[name];
    faults[name] = null;
    return mode;
  }

  return {
    faults,
    texts: (log) => shelf(log).texts,
    levels: (log) => shelf(log).levels,
    setCheckpoint: (log, next) => void (shelf(log).checkpoint = next),
    fork: () => memoryLedger(structuredClone(shelves)),
    append: async (log, text) => {
      if (fatal !== null) throw fatal;
      const mode = take('append');
      if (mode === 'refuse') throw new LedgerFault('ledger_overloaded', 'refused by the test');
      const { texts, levels } = shelf(log);
      const index = texts.push(text) - 1;
      push(levels, 0, leafHash(text));
      if (mode === 'persist-then-fail') throw new LedgerFault('ledger_overloaded', 'answer lost by the test');
      return { log, index };
    },
    size: async (log) => shelf(log).texts.length,
    read: async (log, start, count) =>
      shelf(log)
        .texts.slice(start, start + count)
        .map((text, i): LedgerEntry => ({ index: start + i, text })),
    hashes: async (log, level, start, count) => (shelf(log).levels[level] ?? []).slice(start, start + count),
    checkpoint: async (log) => shelf(log).checkpoint,
    swapCheckpoint: async (log, expectedSize, next) => {
      const mode = take('swap');
      if (mode === 'refuse') throw new LedgerFault('ledger_overloaded', 'refused by the test');
      const one = shelf(log);
      if ((one.checkpoint?.size ?? -1) !== expectedSize) return false;
      one.checkpoint = { ...next };
      if (mode === 'persist-then-fail') throw new LedgerFault('ledger_overloaded', 'answer lost by the test');
      return true;
    },
    logs: async () => [...shelves.keys()],
    get fatal() {
      return fatal;
    },
    onFatal: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: async () => {
      fatal ??= new LedgerFault('ledger_closed', 'closed');
    },
  };
}
