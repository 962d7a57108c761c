/**
 * The requester of the tasks extension's own package over an unmodified SDK v2 client. The SDK knows no task on the wire of 2026-07-28, so
 * the package wants those requests sent by its host: `rawDispatch` posts them as they are and reads the answer, nothing else.
 */
import { createTaskSessionFromClient, toolDeclaration } from '@modelcontextprotocol/ext-tasks/client';
import type { RawClientDispatch, TaskEnabledSession, WithTasksOptions } from '@modelcontextprotocol/ext-tasks/client';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

type Plain = Record<string, unknown>;
interface Response {
  readonly result?: never;
  readonly error?: never;
}

export interface TaskClient {
  readonly session: TaskEnabledSession;
  close(): Promise<void>;
}

export interface TaskClientOptions {
  readonly url: string;
  readonly bearer: string;
  readonly era: 'modern' | 'legacy';
  /** Tools that may run as tasks, for the older generation, whose client asks for the task. */
  readonly tools?: readonly string[];
  /** What the person answers to forms; without it none is declared. */
  readonly form?: Plain;
}

export async function connectTasks({ url, bearer, era, tools = [], form }: TaskClientOptions): Promise<TaskClient> {
  const clientInfo = { name: 'ext-tasks', version: '1' };
  const capabilities = form ? { elicitation: { form: {} } } : {};
  const client = new Client(clientInfo, {
    capabilities,
    ...(era === 'modern' && { versionNegotiation: { mode: 'auto' as const } }),
  });
  const authorization = `Bearer ${bearer}`;
  await client.connect(
    new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization } } }),
  );
  let id = 0;
  /** As the server answered it, whatever it is: judging that is the package's. */
  const rawDispatch: RawClientDispatch = async (request, options = {}) => {
    const { method, params } = request as { readonly method: string; readonly params: Plain };
    const answer = await fetch(url, {
      method: 'POST',
      headers: {
        authorization,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        'mcp-name': String(method === 'tools/call' ? params['name'] : params['taskId']),
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: ++id, ...(request as Plain) }),
      ...(options.signal && { signal: options.signal }),
    });
    const text = await answer.text();
    const last = text.startsWith('{') ? text : text.slice(text.lastIndexOf('data: ') + 6);
    const { result, error } = JSON.parse(last) as Response;
    return error === undefined ? { kind: 'result', result: result! } : { kind: 'error', error };
  };
  const more: WithTasksOptions & { readonly endpointId: string } = {
    endpointId: 'remit',
    tools: {
      currentTool: (name) =>
        tools.includes(name)
          ? toolDeclaration({ name, inputSchema: { type: 'object' }, taskSupport: 'optional' })
          : undefined,
    },
    ...(form && { onInputRequest: () => Promise.resolve(form as never) }),
  };
  const v2RequestFraming = { protocolVersion: '2026-07-28', clientInfo, clientCapabilities: capabilities };
  const session = createTaskSessionFromClient(
    client,
    era === 'modern' ? { ...more, rawDispatch, v2RequestFraming } : more,
  );
  return {
    session,
    async close() {
      await session.close();
      await client.close();
    },
  };
}
