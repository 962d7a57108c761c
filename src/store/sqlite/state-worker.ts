/** The thread that owns the state database file: the only writer there is. Started by state.ts; speaks the protocol of worker.ts. */
import type { Kysely } from 'kysely';
import type { PreparedCommit } from '../commit-request.ts';
import { toStoreFault } from '../engine-fault.ts';
import { stateMigrations } from '../migrations/state.ts';
import type { StateTables } from '../schema.ts';
import { StoreFault } from '../state.ts';
import { commitState, loadState, readChangesAfter, readHead, readHistory } from '../state-queries.ts';
import { toSqliteFault } from './fault.ts';
import { openDatabase } from './open.ts';
import { serveDatabase } from './worker.ts';
import { isDiskError, oneWriter } from './writer.ts';

export type StateMethods = ReturnType<typeof stateMethods>;

function stateMethods(db: Kysely<StateTables>) {
  const write = oneWriter(isDiskError);
  return {
    commit: (request: PreparedCommit) => write(() => commitState(db, request)),
    head: () => readHead(db),
    load: () => loadState(db),
    changesAfter: (after: number, limit: number) => readChangesAfter(db, after, limit),
    history: (kind: string, org: string, id: string) => readHistory(db, kind, org, id),
    close: () => db.destroy(),
  };
}

async function open(path: string): Promise<StateMethods> {
  const { db } = await openDatabase<StateTables>(path, 'state', stateMigrations);
  return stateMethods(db);
}

await serveDatabase(open, (error) => (error instanceof StoreFault ? error : toStoreFault(toSqliteFault(error))));
