/** From rows to the values of the port. Bodies were written by `prepareCommit`; text that is not JSON means the database was damaged. */
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { PreparedCommit } from './commit-request.ts';
import type { Change, Commit, StoredRecord } from './state.ts';
import { StoreFault } from './state.ts';
import type { ChangeRow, RecordRow } from './state-queries.ts';

export function toRecord(row: RecordRow): StoredRecord {
  return { kind: row.kind, org: row.org, id: row.id, revision: row.revision, body: parseBody(row, row.body) };
}

export function toChange(row: ChangeRow): Change {
  const { revision, ordinal, at, actor, reason, kind, org, id } = row;
  const body = row.body === null ? null : parseBody(row, row.body);
  return { revision, ordinal, at, actor, reason, kind, org, id, body };
}

export function toCommit(commit: PreparedCommit, revision: number): Commit {
  const { at, actor, reason } = commit;
  const changes = commit.writes.map(({ kind, org, id, body }, ordinal) => {
    return toChange({ revision, ordinal, at, actor, reason, kind, org, id, body });
  });
  return { revision, at, changes };
}

function parseBody(row: { kind: string; org: string; id: string; revision: number }, text: string): JsonObject {
  const where = `${row.kind} ${row.org}/${row.id} at revision ${row.revision}`;
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new StoreFault('store_corrupt', `the body of ${where} is not JSON`, { cause });
  }
  if (!isJsonObject(body)) throw new StoreFault('store_corrupt', `the body of ${where} is not a JSON object`);
  return body;
}
