/**
 * A held call whose client can follow a task: the task waits for the decision, then runs the call. Nothing was sent while it says that it
 * waits: before anything leaves, it says durably that it waits no longer, so that whoever finds it without its node knows which.
 * It survives its client, takes any approver's yes on any node, and ends truthfully with its own node: it fails then with the word that
 * nothing was sent, and the request for approval stands for a call with the same arguments. Denied and expired end it as completed, with a
 * result that is an error: `failed` is for errors of the protocol.
 */
import { toolError } from '../protocol/results.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { createTaskResult } from '../protocol/tasks.ts';
import { isFault } from '../lib/fault.ts';
import { askBox, askingOf } from './asking.ts';
import { decidersInWords } from './approvers.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './facing.ts';
import { ownerOf } from './guards/task-is-theirs.ts';
import { afresh, overOf } from './held-call.ts';
import type { Needed } from './held-call.ts';
import { factsOf } from './kept-task.ts';
import type { TaskChange } from './kept-task.ts';
import { CLOSED } from './outlet.ts';
import { intentOf } from './perform.ts';
import { ledgerDenial, refuse } from './refuse.ts';
import type { RunningTask } from './task-book.ts';
import { askInside, itemOf, statusOf, toItsEnd, ttlOf } from './task-run.ts';
import type { TaskWish } from './task-run.ts';
import { REMIT_CODES } from './wire.ts';
import type { Reply } from './wire.ts';

/** Null: this person has as many tasks as one may have; the call waits another way. @throws what the exchange throws. */
export async function beginHeldTask(
  call: Call,
  message: InboundRequest,
  wish: TaskWish,
  denial: Needed,
  deps: AnswerDeps,
): Promise<Reply | null> {
  const { inflight } = deps;
  const { tasks, clock } = deps.ports;
  const person = known(call, 'person').id;
  if (!tasks.enter(person)) return null;
  const own = inflight.open(call.id, tasks.timeLimitMs);
  const resume = inflight.pause(own);
  own.facts = call.inflight.facts;
  const leave = (): void => {
    inflight.close(own);
    tasks.leave(person);
  };
  const job: Call = { ...call, inflight: own, outlet: CLOSED };
  const box = askBox(askingOf(call, deps));
  let task: RunningTask;
  const show = (): Promise<unknown> => task.change(statusOf(box));
  const who = decidersInWords(call.snapshot, known(call, 'server').id);
  try {
    task = await tasks.begin(
      ownerOf(call),
      itemOf(call),
      ttlOf(wish),
      {
        stop: (why) => inflight.cancel(own, why),
        async answer({ responses, declined }) {
          box.answer(responses);
          for (const key of declined) box.decline(key);
          await show();
        },
      },
      {
        approval: denial.approval,
        statusMessage: `Waiting for approval by ${who}${denial.page === null ? '' : `; open ${denial.page}`}`,
        leastMs: Math.max(denial.expiresAt - clock.now(), 60_000),
      },
    );
  } catch (fault) {
    leave();
    throw fault;
  }
  // Whoever left before they had the task calls again: this one would run for nobody.
  if (call.inflight.cancelledBy !== null) inflight.cancel(own, call.inflight.cancelledBy);
  const run = decidedThenRun().catch(async (fault: unknown) => {
    deps.log('error', { ref: job.id, fault: isFault(fault) ? fault.code : String(fault) }, 'a held task broke off');
    const error = { code: REMIT_CODES.unavailable, message: `The gateway could not go on. Reference: ${job.id}` };
    await task.change({ status: 'failed', error });
  });
  tasks.follow(run.finally(leave));
  return {
    kind: 'result',
    id: message.id,
    result: createTaskResult(facingOf(call, deps), factsOf(task.id, task.kept)),
  };

  async function decidedThenRun(): Promise<void> {
    const { approvals } = deps.ports;
    const approval = await approvals.wait(denial.approval, Number.POSITIVE_INFINITY, own.signal);
    if (own.cancelledBy !== null) return unsent(own.cancelledBy);
    const over = overOf(denial.approval, approval, deps);
    const next = afresh(job, deps, denial.approval);
    const refused: Denial | null = over ?? (await deps.pipeline.rejoin(next, 'call', deps.ports));
    if (refused) return void (await task.change(await asResult(next, refused)));
    const intent = intentOf(next, deps);
    try {
      await intent.write();
    } catch (fault) {
      return void (await task.change(await asResult(next, ledgerDenial(fault))));
    }
    resume();
    // CRASH before this: it was said to wait, and nothing was sent. After it: the intent stands, outcome unknown.
    if (!(await task.change({ status: 'working', waits: null }))) inflight.cancel(own, own.cancelledBy ?? 'lease_lost');
    const ask = askInside(own, box, show, deps);
    const measure = deps.telemetry.start(message.method, null);
    const stage = { given: true, asked: false };
    await toItsEnd(next, { task, ask, intent, stage, upstream: wish.upstream }, deps, measure);
  }

  async function asResult(about: Call, why: Denial): Promise<TaskChange> {
    const measure = deps.telemetry.start(message.method, null);
    const reply = await refuse(about, why, deps, measure, known(call, 'heldAt'));
    const result =
      reply.kind === 'result'
        ? reply.result
        : toolError(facingOf(call, deps), reply.kind === 'error' ? reply.error.message : 'The call was refused.');
    // A client of 2025-11-25 reads `failed` here, and its requester shows this and never fetches the result.
    const said = (result['content'] as ReadonlyArray<{ readonly text?: string }> | undefined)?.[0]?.text;
    return { status: 'completed', result, ...(said !== undefined && { statusMessage: said }) };
  }

  /** Ended while it waited: by its client, by a lock or a departure, with this node. */
  async function unsent(by: string): Promise<void> {
    if (by === 'task_cancelled')
      return void (await deps.ports.approvals.cancel(denial.approval, 'its task was cancelled'));
    const again =
      'Nothing was sent. Call again with the same arguments: the request for approval stands until its time is over.';
    if (by === 'shutdown' || by === 'lease_lost') {
      const error = {
        code: REMIT_CODES.unavailable,
        message: `The gateway stopped while this call waited for approval. ${again}`,
      };
      await task.change({ status: 'failed', error });
    } else {
      const why =
        by === 'client_gone'
          ? 'Its client left before it had the task'
          : 'Access was withdrawn while the call waited for approval';
      await task.change({ status: 'cancelled', statusMessage: `${why}. Nothing was sent.` });
    }
  }
}
