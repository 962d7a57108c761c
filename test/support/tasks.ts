/** What tests of tasks share: tools that are jobs, and a client that follows its tasks. */
import type { JsonObject } from '../../src/lib/json.ts';
import { textTool } from './rig.ts';
import type { Answer, CallOptions, Rig, ToolSpec } from './rig.ts';

export const TASKS: JsonObject = { extensions: { 'io.modelcontextprotocol/tasks': {} } };
export const TASKS_AND_FORMS: JsonObject = { ...TASKS, elicitation: {} };

const job = (name: string, taskSupport: string): ToolSpec =>
  textTool(name, 'write', 'notes:write', { execution: { taskSupport } });

/** One per kind of support; `plain_job` says nothing of tasks. */
export const JOBS: readonly ToolSpec[] = [
  job('optional_job', 'optional'),
  job('required_job', 'required'),
  job('forbidden_job', 'forbidden'),
  textTool('plain_job', 'write', 'notes:write'),
];

export const ALLOW_ALL = 'permit (principal, action, resource);';

/** A method of a task, with the header that names it. */
export const onTask = (
  rig: Pick<Rig, 'ask'>,
  method: string,
  taskId: string,
  how: CallOptions & { readonly server?: string; readonly more?: JsonObject } = {},
): Promise<Answer> => {
  const { server = 'notes', more, ...options } = how;
  const headers = options.era === 'legacy' ? {} : { 'mcp-name': taskId };
  return rig.ask(
    server,
    method,
    { taskId, ...more },
    { capabilities: TASKS, ...options, headers: { ...headers, ...options.headers } },
  );
};

/** Begins a task and gives its id. @throws Error when the answer is none. */
export async function begin(
  rig: Pick<Rig, 'ask'>,
  tool: string,
  how: CallOptions & { readonly server?: string; readonly args?: JsonObject; readonly task?: JsonObject } = {},
): Promise<string> {
  const { server = 'notes', args = { text: 'x' }, task, ...options } = how;
  const params = { name: tool, arguments: args, ...(task && { task }) };
  const { result, text } = await rig.ask(server, 'tools/call', params, { capabilities: TASKS, ...options });
  const id = result?.['taskId'] ?? (result?.['task'] as JsonObject | undefined)?.['taskId'];
  if (typeof id !== 'string') throw new Error(`no task: ${text}`);
  return id;
}

/** Polls until the task has this status. */
export async function reaches(
  rig: Pick<Rig, 'ask' | 'until'>,
  id: string,
  status: string,
  how: Parameters<typeof onTask>[3] = {},
): Promise<JsonObject> {
  let last: Answer | undefined;
  try {
    await rig.until(`the task is ${status}`, async () => {
      last = await onTask(rig, 'tasks/get', id, how);
      return last.result?.['status'] === status;
    });
  } catch (error) {
    throw new Error(`${String(error)}; it is ${last?.text}`, { cause: error });
  }
  return last!.result!;
}
