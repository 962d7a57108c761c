/**
 * The way of one message after it was read: the guards of its column, then what its method family does. What touches no server
 * (hello, lists, sessions) is recorded in one entry before the reply leaves; the use of an item goes on in use-item.ts (DESIGN.md section 4),
 * tasks in tasks.ts, what is heard for a long time in listen.ts.
 */
import { isFault } from '../lib/fault.ts';
import { emptyResult } from '../protocol/results.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './facing.ts';
import { listItems, openSession } from './greeting.ts';
import { whenHeld } from './held.ts';
import { COLUMN_OF } from './pipeline.ts';
import type { Column } from './pipeline.ts';
import { recorded } from './recorded.ts';
import { refuse } from './refuse.ts';
import { setLevel, subscribe, takeAnswer } from './session-acts.ts';
import { listen } from './listen.ts';
import { answerTask } from './tasks.ts';
import type { CallMeasure } from './telemetry.ts';
import { useItem } from './use-item.ts';
import type { Reply } from './wire.ts';

/** Never throws: whatever goes wrong becomes a reply, and a refusal where there is doubt. */
export async function answer(call: Call, deps: AnswerDeps): Promise<Reply> {
  const measure = deps.telemetry.start(call.message.method, call.message.meta.trace);
  call.trace = measure.traceId;
  try {
    return await wayOf(call, deps, measure);
  } catch (fault) {
    // A mistake of ours. Its text is for the operator; what the log holds of this call so far stays true.
    deps.log('error', { ref: call.id, error: String(fault) }, 'answering failed');
    const code = isFault(fault) ? fault.code : 'unexpected';
    return refuse(call, { reason: 'guard_failed', guard: 'answer', fault: code }, deps, measure);
  }
}

function columnOf({ message }: Call): Column {
  if (message.kind === 'reply') return 'reply';
  return message.rule ? COLUMN_OF[message.rule.family] : 'note';
}

async function wayOf(call: Call, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const column = columnOf(call);
  const denial = await deps.pipeline.admit(call, column, deps.ports);
  deps.shadows.note(call, denial);
  if (denial?.reason === 'approval_needed') return whenHeld(call, denial, deps, measure);
  if (denial) return refuse(call, denial, deps, measure);
  admitted(call);

  const { message } = call;
  if (message.kind === 'reply') return takeAnswer(call, message, deps);
  if (message.kind === 'notification') return note(call, deps);
  if (call.facts.session) call.inflight.request = { session: call.facts.session.nonce, id: message.id };

  switch (column) {
    case 'edge':
    case 'note':
    case 'reply':
    case 'kept':
      return { kind: 'accepted' };
    case 'ping':
      return { kind: 'result', id: message.id, result: emptyResult(facingOf(call, deps)) };
    case 'hello':
      return recorded(call, message, deps, measure, () => openSession(call, message, deps));
    case 'list':
      return recorded(call, message, deps, measure, () => listItems(call, message, deps));
    case 'level':
      return recorded(call, message, deps, measure, () => setLevel(call, message, deps));
    case 'watch':
      return recorded(call, message, deps, measure, () => subscribe(call, message, deps), true);
    case 'hear':
      return listen(call, message, deps, measure);
    case 'task':
      return answerTask(call, message, deps, measure);
    case 'call':
    case 'fill':
      return useItem(call, message, deps, measure);
  }
}

/** From here on a lock that falls on any of these ends the call. */
export function admitted(call: Call): void {
  call.inflight.facts = {
    caller: known(call, 'caller'),
    server: call.subject.server,
    tool: call.facts.tool?.key ?? null,
  };
}

/** Notifications change nothing upstream. A cancellation reaches the caller's own call, nobody else's. */
function note(call: Call, deps: AnswerDeps): Reply {
  const { message } = call;
  const requestId = message.params['requestId'];
  if (
    message.rule?.family === 'cancelled' &&
    call.facts.session &&
    (typeof requestId === 'string' || typeof requestId === 'number')
  ) {
    const { nonce } = call.facts.session;
    if (!deps.inflight.cancelRequest(nonce, requestId)) deps.cancels.send(nonce, requestId);
  }
  return { kind: 'accepted' };
}
