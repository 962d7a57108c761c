/**
 * Runs the statements of one transaction within one turn of the database thread: prepared once, no promise between them.
 * On the hot path of the ledger and for all writes of the exchange; everything else goes through Kysely. Not done here: one writer at a time (writer.ts).
 * INVARIANT: called only while no transaction of Kysely's is open on the file; BEGIN inside one is refused by SQLite.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Statements } from '../statements.ts';

/** As many as there are sizes of an insert, and room for the rest. */
const STATEMENTS_KEPT = 128;

/** COMMIT returned means fsync returned (open.ts). Throws what SQLite threw; nothing of the transaction is in the file then. */
export type Transact = <R>(statements: Statements<R>) => R;

export function transactAtOnce(database: DatabaseSync): Transact {
  const kept = new Map<string, { readonly statement: StatementSync; readonly reads: boolean }>();
  const begin = database.prepare('BEGIN');
  const commit = database.prepare('COMMIT');

  function run(sql: string, parameters: readonly SQLInputValue[]): readonly unknown[] {
    let known = kept.get(sql);
    if (known === undefined) {
      const statement = database.prepare(sql);
      known = { statement, reads: statement.columns().length > 0 };
      if (kept.size >= STATEMENTS_KEPT) kept.clear();
      kept.set(sql, known);
    }
    if (known.reads) return known.statement.all(...parameters);
    known.statement.run(...parameters);
    return NO_ROWS;
  }

  return (statements) => {
    begin.run();
    try {
      let step = statements.next(NO_ROWS);
      while (step.done !== true)
        step = statements.next(run(step.value.sql, step.value.parameters as readonly SQLInputValue[]));
      commit.run();
      return step.value;
    } catch (error) {
      undo(database);
      throw error;
    }
  };
}

/** After an I/O error SQLite has rolled back by itself; whatever a rollback says, it must not hide the error that led to it. */
function undo(database: DatabaseSync): void {
  if (!database.isTransaction) return;
  try {
    database.exec('ROLLBACK');
  } catch {
    // The first error closes the writer for good; the file is read again, with its journal, when it is opened next.
  }
}

const NO_ROWS: readonly unknown[] = [];
