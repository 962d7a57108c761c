/**
 * One transaction as its statements: yields a query, is given that query's rows, returns the answer. It knows no connection, so
 * PostgreSQL runs it over the network (`transactOver`) and SQLite within one turn of its thread (sqlite/transact.ts).
 */
import type { CompiledQuery, Kysely } from 'kysely';

export type Statements<R> = Generator<CompiledQuery, R, readonly unknown[]>;

/** Runs statements as one transaction over a connection that answers later. */
export function transactOver<Tables, R>(db: Kysely<Tables>, statements: Statements<R>): Promise<R> {
  return db.transaction().execute(async (trx) => {
    let step = statements.next([]);
    while (step.done !== true) step = statements.next((await trx.executeQuery(step.value)).rows);
    return step.value;
  });
}

/** Rows per statement: both engines limit the number of bound values. */
export const CHUNK = 64;

export function* chunksOf<T>(values: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < values.length; start += CHUNK) yield values.slice(start, start + CHUNK);
}

/** A query over 1 to CHUNK rows, compiled at most once for each number of them: building it costs several times what the engine does. */
export function compiledBySize(build: (rows: number) => CompiledQuery): (rows: number) => CompiledQuery {
  const compiled = new Map<number, CompiledQuery>();
  return (rows) => {
    const found = compiled.get(rows);
    if (found !== undefined) return found;
    const query = build(rows);
    compiled.set(rows, query);
    return query;
  };
}
