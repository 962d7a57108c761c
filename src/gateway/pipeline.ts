/**
 * The way of one message, as a table: a row per guard, in order; a column per method family. An empty cell is a decision that can be seen.
 *
 *   call  tools/call        list  tools/list        hello  initialize, server/discover
 *   ping  ping              note  notifications (accepted and dropped, except cancellation), DELETE of a session
 *   edge  what never became a message: only who sent it is asked, for the record
 *
 * Before the table: connection and body limits, Host, Origin, strict reading (listener.ts, protocol/read-request.ts).
 * After it: intent, dispatch, inspection, outcome, reply (answer.ts).
 * `again` marks the rows that are asked a second time if the state moved while a call was being made durable (AZ-02):
 * they only read, so asking twice costs nothing. Tests: test/gateway/pipeline.test.ts holds order and completeness.
 */
import { isFault } from '../lib/fault.ts';
import type { MethodFamily } from '../protocol/methods.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { Guard, GuardPorts } from './guard.ts';
import { argumentsFit } from './guards/arguments-fit.ts';
import { callerMay } from './guards/caller-may.ts';
import { callerStands } from './guards/caller-stands.ts';
import { personAgreed } from './guards/person-agreed.ts';
import { serverIsEnabled } from './guards/server-is-enabled.ts';
import { sessionIsTheirs } from './guards/session-is-theirs.ts';
import { snapshotIsFresh } from './guards/snapshot-is-fresh.ts';
import { tokenIsOurs } from './guards/token-is-ours.ts';
import { toolIsTheirs } from './guards/tool-is-theirs.ts';
import { toolIsUnchanged } from './guards/tool-is-unchanged.ts';
import { withinLimits } from './guards/within-limits.ts';

const COLUMNS = ['call', 'list', 'hello', 'ping', 'note', 'edge', 'unserved'] as const;
export type Column = (typeof COLUMNS)[number];

/** Where each family of methods runs: a new family without a column does not compile. */
export const COLUMN_OF: Readonly<Record<MethodFamily, Column>> = {
  initialize: 'hello',
  discover: 'hello',
  ping: 'ping',
  list: 'list',
  call: 'call',
  prompt: 'unserved',
  read: 'unserved',
  complete: 'unserved',
  subscribe: 'unserved',
  level: 'unserved',
  listen: 'unserved',
  task: 'unserved',
  initialized: 'note',
  cancelled: 'note',
};

export interface Row {
  readonly guard: Guard;
  readonly columns: ReadonlySet<Column>;
  readonly again: boolean;
}

const row = (guard: Guard, again: '' | 'again', ...columns: ReadonlyArray<Column | ''>): Row => ({
  guard,
  columns: new Set(columns.filter((column) => column !== '')),
  again: again === 'again',
});

// prettier-ignore
export const PIPELINE: readonly Row[] = [
  row(tokenIsOurs,     '',      'call', 'list', 'hello', 'ping', 'note', 'edge', 'unserved'),
  row(snapshotIsFresh, 'again', 'call', 'list', 'hello', 'ping', 'note', ''),
  row(callerStands,    'again', 'call', 'list', 'hello', 'ping', 'note', ''),
  row(serverIsEnabled, 'again', 'call', 'list', 'hello', 'ping', 'note', ''),
  row(sessionIsTheirs, '',      'call', 'list', '',      'ping', 'note', ''),
  row(toolIsTheirs,    'again', 'call', '',     '',      '',     '',     ''),
  row(argumentsFit,    'again', 'call', '',     '',      '',     '',     ''),
  row(callerMay,       'again', 'call', '',     '',      '',     '',     ''),
  row(withinLimits,    '',      'call', 'list', 'hello', '',     '',     ''),
  row(toolIsUnchanged, '',      'call', '',     '',      '',     '',     ''),
  row(personAgreed,    '',      'call', '',     '',      '',     '',     ''),
];

/** A table made ready to run. The product has one (`PIPELINE`); tests run copies of it with a guard taken out, to see the harm. */
export interface Pipeline {
  /** Runs the rows of a column in order; null means every guard passed. A guard that fails denies, whatever the failure. */
  admit(call: Call, column: Column, ports: GuardPorts): Promise<Denial | null>;
  /** Asks the reading rows again over `call.snapshot`, which the caller has just replaced. */
  readmit(call: Call, column: Column, ports: GuardPorts): Promise<Denial | null>;
}

export function pipelineOf(table: readonly Row[]): Pipeline {
  const guardsOf = (rows: readonly Row[]): ReadonlyMap<Column, readonly Guard[]> =>
    new Map(
      COLUMNS.map((column) => [column, rows.filter((entry) => entry.columns.has(column)).map((entry) => entry.guard)]),
    );
  const all = guardsOf(table);
  const again = guardsOf(table.filter((entry) => entry.again));
  return {
    admit: (call, column, ports) => run(call, all.get(column)!, ports),
    readmit: (call, column, ports) => run(call, again.get(column)!, ports),
  };
}

async function run(call: Call, guards: readonly Guard[], ports: GuardPorts): Promise<Denial | null> {
  for (const guard of guards) {
    try {
      const gathered = guard.gather(call, ports);
      const verdict = guard.decide(call, gathered instanceof Promise ? await gathered : gathered);
      if (verdict.pass) {
        if (verdict.learned) Object.assign(call.facts, verdict.learned);
        continue;
      }
      call.stoppedBy = guard.name;
      return verdict.denial;
    } catch (fault) {
      call.stoppedBy = guard.name;
      return { reason: 'guard_failed', guard: guard.name, fault: isFault(fault) ? fault.code : 'unexpected' };
    }
  }
  return null;
}
