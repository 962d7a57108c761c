/** A client of a revision, real SDK code of its time, in one shape. It can answer everything its revision lets a server ask. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import {
  type CallOptions,
  type CallResult,
  type LegacyRevision,
  type Revision,
  type V1Client,
  knows,
  releaseOf,
} from './revisions.ts';

export interface MatrixClient extends Pick<
  V1Client,
  | 'listTools'
  | 'listResources'
  | 'listResourceTemplates'
  | 'readResource'
  | 'listPrompts'
  | 'getPrompt'
  | 'complete'
  | 'close'
> {
  call(name: string, options?: CallOptions): Promise<CallResult>;
  /** Log lines that came so far. */
  readonly logged: readonly unknown[];
}

export interface Endpoint {
  readonly url: string;
  readonly token: string | null;
  readonly transport: 'http' | 'sse';
}

export const ROOT = 'file:///matrix';
const ANSWERS = {
  form: { action: 'accept' as const, content: { name: 'Ada' } },
  model: { role: 'assistant' as const, model: 'test', content: { type: 'text' as const, text: 'pong' } },
  roots: { roots: [{ uri: ROOT, name: 'matrix' }] },
};
const INFO = { name: 'matrix-client', version: '1.0.0' };

export async function openClient(revision: Revision, endpoint: Endpoint): Promise<MatrixClient> {
  return revision === '2026-07-28' ? openModern(endpoint) : openLegacy(revision, endpoint);
}

async function openLegacy(revision: LegacyRevision, { url, token, transport }: Endpoint): Promise<MatrixClient> {
  const sdk = await releaseOf(revision);
  const asksForms = knows(revision, '2025-06-18');
  const capabilities = { sampling: {}, roots: {}, ...(asksForms && { elicitation: {} }) };
  const client = new sdk.Client(INFO, { capabilities });
  const logged: unknown[] = [];
  const { schemas } = sdk;
  client.setRequestHandler(schemas['CreateMessageRequestSchema'], () => ANSWERS.model);
  client.setRequestHandler(schemas['ListRootsRequestSchema'], () => ANSWERS.roots);
  if (asksForms) client.setRequestHandler(schemas['ElicitRequestSchema'], () => ANSWERS.form);
  client.setNotificationHandler(
    schemas['LoggingMessageNotificationSchema'],
    ({ params }) => void logged.push(params.data),
  );
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const Transport = transport === 'http' ? sdk.HttpClient : sdk.SseClient;
  // The event source of HTTP+SSE takes its headers by a fetch of its own.
  const eventSourceInit = {
    fetch: (input: string | URL, init?: RequestInit) =>
      fetch(input, { ...init, headers: { accept: 'text/event-stream', ...headers } }),
  };
  await client.connect(new Transport(new URL(url), { requestInit: { headers }, eventSourceInit }));
  await client.setLoggingLevel('debug');
  return {
    ...methodsOf(client),
    call: (name, options) => client.callTool({ name, arguments: {} }, undefined, options),
    logged,
  };
}

async function openModern({ url, token }: Endpoint): Promise<MatrixClient> {
  const client = new Client(INFO, {
    capabilities: { elicitation: {}, sampling: {}, roots: {} },
    versionNegotiation: { mode: 'auto' },
  });
  const logged: unknown[] = [];
  client.setRequestHandler('elicitation/create', () => ANSWERS.form);
  client.setRequestHandler('sampling/createMessage', () => ANSWERS.model);
  client.setRequestHandler('roots/list', () => ANSWERS.roots);
  client.setNotificationHandler('notifications/message', ({ params }) => void logged.push(params.data));
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const _meta = { 'io.modelcontextprotocol/logLevel': 'debug' as const };
  return {
    ...methodsOf(client as unknown as V1Client),
    call: (name, options) => client.callTool({ name, arguments: {}, _meta }, options) as unknown as Promise<CallResult>,
    logged,
  };
}

const methodsOf = (client: V1Client): Omit<MatrixClient, 'call' | 'logged'> => ({
  listTools: () => client.listTools(),
  listResources: () => client.listResources(),
  listResourceTemplates: () => client.listResourceTemplates(),
  readResource: (params) => client.readResource(params),
  listPrompts: () => client.listPrompts(),
  getPrompt: (params) => client.getPrompt(params),
  complete: (params) => client.complete(params),
  close: () => client.close(),
});
