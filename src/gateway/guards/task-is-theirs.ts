/**
 * The methods of tasks are for clients that know them, and a task is its owner's alone: for everybody else it is exactly as unknown as
 * one that never was (AZ-09, M29). The id is looked up, never trusted; whether the tool still stands is asked in the column `kept`.
 */
import { methodNotFound } from '../../protocol/errors.ts';
import { TASKS_REQUIRED, declaresTasks } from '../../protocol/tasks.ts';
import { known } from '../call.ts';
import type { Call } from '../call.ts';
import { keepsTasks } from '../capabilities.ts';
import { PASS, deny, guard, learn } from '../guard.ts';
import type { KeptTask, TaskOwner } from '../kept-task.ts';

/** Whose a task is that this call begins, or may touch. */
export function ownerOf(call: Call): TaskOwner {
  const { issuer, subject, clientId } = known(call, 'caller');
  const { org, server } = call.endpoint;
  return { issuer, subject, client: clientId, org, endpoint: server, era: call.message.era };
}

export function isTheirs(call: Call, { owner }: KeptTask): boolean {
  const { issuer, subject, client, org, endpoint, era } = ownerOf(call);
  return (
    owner.issuer === issuer &&
    owner.subject === subject &&
    owner.client === client &&
    owner.org === org &&
    owner.endpoint === endpoint &&
    owner.era === era
  );
}

const idOf = ({ message }: Call): string | null => {
  const { taskId } = message.params;
  return typeof taskId === 'string' ? taskId : null;
};

export const taskIsTheirs = guard<KeptTask | null>({
  name: 'task-is-theirs',
  gather(call, ports) {
    const id = idOf(call);
    return id === null ? null : ports.tasks.read(id);
  },
  decide(call, task) {
    const { message } = call;
    if (message.kind !== 'request') return PASS;
    if (message.era === 'modern' && !declaresTasks(message.meta.clientCapabilities))
      return deny({ reason: 'capability_missing', required: TASKS_REQUIRED });
    if (message.era === 'legacy' && !keepsTasks(known(call, 'session').version))
      return deny({ reason: 'method_unknown', error: methodNotFound(message.id, message.era) });
    if (idOf(call) === null) return PASS;
    return task && isTheirs(call, task) ? learn({ task }) : deny({ reason: 'task_unknown' });
  },
});
