/**
 * The governance state in PostgreSQL, shared by several gateways (the port is ../state.ts).
 * Durable means: COMMIT returned with synchronous_commit on. Other gateways are woken by NOTIFY, sent inside the commit.
 */
import { sql } from 'kysely';
import type { Clock } from '../../lib/clock.ts';
import { systemClock } from '../../lib/clock.ts';
import { toStoreFault } from '../engine-fault.ts';
import { stateMigrations } from '../migrations/state.ts';
import type { StateTables } from '../schema.ts';
import { commitState, loadState, readChangesAfter, readHead, readHistory } from '../state-queries.ts';
import { stateStoreOver } from '../state-store.ts';
import type { StateStore } from '../state.ts';
import { StoreFault } from '../state.ts';
import { toPostgresFault } from './fault.ts';
import { listen } from './listen.ts';
import type { PostgresOptions } from './open.ts';
import { DEFAULT_SCHEMA, openDatabase } from './open.ts';

const CONNECTIONS = 4;

/** @throws StoreFault `store_unavailable` (not reachable, not durable), `store_newer`. */
export async function openPostgresState(
  url: string,
  options: PostgresOptions & { readonly clock?: Clock } = {},
): Promise<StateStore> {
  const schema = options.schema ?? DEFAULT_SCHEMA;
  const channel = `remit_state_${schema}`;
  const db = await faulting(openDatabase<StateTables>(url, schema, CONNECTIONS, 'state', stateMigrations));
  const { store, wake } = stateStoreOver(
    {
      commit: (commit) =>
        faulting(
          commitState(db, commit, async (trx) => void (await sql`select pg_notify(${channel}, '')`.execute(trx))),
        ),
      head: () => faulting(readHead(db)),
      load: () => faulting(loadState(db)),
      changesAfter: (after, limit) => faulting(readChangesAfter(db, after, limit)),
      history: (kind, org, id) => faulting(readHistory(db, kind, org, id)),
      async close() {
        await stopListening();
        await db.destroy();
      },
    },
    options.clock ?? systemClock,
  );
  const stopListening = listen(url, schema, channel, wake);
  return store;
}

async function faulting<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof StoreFault ? error : toStoreFault(toPostgresFault(error));
  }
}
