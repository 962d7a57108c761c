/**
 * The way of one message, as a table: a row per guard, in order; a column per method family. An empty cell is a decision that can be seen.
 *
 *   call   tools/call, prompts/get, resources/read      fill   completion/complete      watch  resources/subscribe, unsubscribe
 *   list   the four lists                               task   tasks/*                  hear   subscriptions/listen, GET of a session
 *   level  logging/setLevel                             reply  a client's answer to a server's question
 *   hello  initialize, server/discover                  ping   ping
 *   note   notifications (accepted and dropped, except cancellation), DELETE of a session
 *   kept   what a task or the stream of a call holds, before any of it leaves to whom it belongs, by the roles that they have then
 *   edge   what never became a message: only who sent it is asked, for the record
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
import { argumentsAreClean } from './guards/arguments-are-clean.ts';
import { argumentsFit } from './guards/arguments-fit.ts';
import { callerMay } from './guards/caller-may.ts';
import { callerStands } from './guards/caller-stands.ts';
import { itemIsTheirs } from './guards/item-is-theirs.ts';
import { itemIsUnchanged } from './guards/item-is-unchanged.ts';
import { personAgreed } from './guards/person-agreed.ts';
import { sameArguments, stateIsTheirs } from './guards/state-is-theirs.ts';
import { serverIsEnabled } from './guards/server-is-enabled.ts';
import { sessionIsTheirs } from './guards/session-is-theirs.ts';
import { snapshotIsFresh } from './guards/snapshot-is-fresh.ts';
import { taskIsTheirs } from './guards/task-is-theirs.ts';
import { labelledFirst } from './guards/labelled-first.ts';
import { tokenIsOurs } from './guards/token-is-ours.ts';
import { traceIsKnown } from './guards/trace-is-known.ts';
import { noLoop } from './guards/no-loop.ts';
import { withinBudget } from './guards/within-budget.ts';
import { withinLimits } from './guards/within-limits.ts';

const COLUMNS = [
  'call',
  'fill',
  'watch',
  'list',
  'task',
  'hear',
  'level',
  'reply',
  'hello',
  'ping',
  'note',
  'kept',
  'edge',
] as const;
export type Column = (typeof COLUMNS)[number];

/** Where each family of methods runs: a new family without a column does not compile. */
export const COLUMN_OF: Readonly<Record<MethodFamily, Column>> = {
  initialize: 'hello',
  discover: 'hello',
  ping: 'ping',
  list: 'list',
  call: 'call',
  prompt: 'call',
  read: 'call',
  complete: 'fill',
  subscribe: 'watch',
  level: 'level',
  listen: 'hear',
  task: 'task',
  initialized: 'note',
  cancelled: 'note',
};

export interface Row {
  readonly guard: Guard;
  readonly columns: ReadonlySet<Column>;
  readonly again: boolean;
}

/** `cells`: one word of a column per cell, `.` for an empty one; the header above the table names them. */
function row(guard: Guard, again: '' | 'again', cells: string): Row {
  const words = cells.trim().split(/\s+/);
  return { guard, again: again === 'again', columns: new Set(COLUMNS.filter((_, at) => words[at] === 'x')) };
}

// prettier-ignore
export const PIPELINE: readonly Row[] = [
  //                            call fill watch list task hear level reply hello ping note kept edge
  row(tokenIsOurs,     '',      'x    x    x     x    x    x    x     x     x     x    x    .    x'),
  row(snapshotIsFresh, 'again', 'x    x    x     x    x    x    x     x     x     x    x    .    .'),
  row(callerStands,    'again', 'x    x    x     x    x    x    x     x     x     x    x    x    .'),
  row(serverIsEnabled, 'again', 'x    x    x     x    x    x    x     x     x     x    x    x    .'),
  row(sessionIsTheirs, '',      'x    x    x     x    x    x    x     x     .     x    x    .    .'),
  row(stateIsTheirs,   '',      'x    .    .     .    .    .    .     .     .     .    .    .    .'),
  row(itemIsTheirs,    'again', 'x    x    x     .    .    .    .     .     .     .    .    x    .'),
  row(argumentsFit,    'again', 'x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(sameArguments,   '',      'x    .    .     .    .    .    .     .     .     .    .    .    .'),
  row(argumentsAreClean,'again','x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(traceIsKnown,    'again', 'x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(callerMay,       'again', 'x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(withinLimits,    '',      'x    x    x     x    x    x    x     .     x     .    .    .    .'),
  row(noLoop,          '',      'x    .    .     .    .    .    .     .     .     .    .    .    .'),
  row(taskIsTheirs,    '',      '.    .    .     .    x    .    .     .     .     .    .    .    .'),
  row(itemIsUnchanged, '',      'x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(personAgreed,    '',      'x    x    x     .    .    .    .     .     .     .    .    .    .'),
  row(withinBudget,    '',      'x    .    .     .    .    .    .     .     .     .    .    .    .'),
  row(labelledFirst,   '',      '.    .    .     .    .    .    .     .     .     .    .    x    .'),
];

/** A table made ready to run. The product has one (`PIPELINE`); tests run copies of it with a guard taken out, to see the harm. */
export interface Pipeline {
  /** Runs the rows of a column in order; null means every guard passed. A guard that fails denies, whatever the failure. */
  admit(call: Call, column: Column, ports: GuardPorts): Promise<Denial | null>;
  /** Asks the reading rows again over `call.snapshot`, which the caller has just replaced. */
  readmit(call: Call, column: Column, ports: GuardPorts): Promise<Denial | null>;
  /**
   * Every row again over `call.snapshot`, which the caller has just replaced, for a call that waited: but for those that take something of
   * the request that is there once (the proof of its token, its place in the minute).
   */
  rejoin(call: Call, column: Column, ports: GuardPorts): Promise<Denial | null>;
}

/** Guards that spend what one request has once. */
const ONCE: ReadonlySet<string> = new Set(['token-is-ours', 'within-limits', 'no-loop']);

export function pipelineOf(table: readonly Row[]): Pipeline {
  const guardsOf = (rows: readonly Row[]): ReadonlyMap<Column, readonly Guard[]> =>
    new Map(
      COLUMNS.map((column) => [column, rows.filter((entry) => entry.columns.has(column)).map((entry) => entry.guard)]),
    );
  const all = guardsOf(table);
  const again = guardsOf(table.filter((entry) => entry.again));
  const rest = guardsOf(table.filter(({ guard }) => !ONCE.has(guard.name)));
  return {
    admit: (call, column, ports) => run(call, all.get(column)!, ports),
    readmit: (call, column, ports) => run(call, again.get(column)!, ports),
    rejoin: (call, column, ports) => run(call, rest.get(column)!, ports),
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
