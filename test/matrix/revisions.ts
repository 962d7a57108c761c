/**
 * The revisions of the protocol and the SDK release that stands for each: the last that spoke nothing newer.
 * The 1.x releases have one shape, described here as far as the matrix uses it; their types differ in name only.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof REVISIONS)[number];
export type LegacyRevision = Exclude<Revision, '2026-07-28'>;
export const LEGACY_REVISIONS: readonly LegacyRevision[] = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'];

const RELEASE: Readonly<Record<LegacyRevision, string>> = {
  '2024-11-05': 'mcp-sdk-1-10',
  '2025-03-26': 'mcp-sdk-1-12',
  '2025-06-18': 'mcp-sdk-1-13',
  '2025-11-25': 'mcp-sdk-1-24',
};

/** Revisions are dates: they compare as texts. */
export const knows = (revision: Revision, since: Revision): boolean => revision >= since;

export interface Extra {
  readonly signal: AbortSignal;
  readonly _meta?: { readonly progressToken?: string | number };
  sendNotification(notification: object): Promise<void>;
  sendRequest(request: object, schema: unknown): Promise<unknown>;
}
export interface V1Message {
  readonly params: {
    readonly name: string;
    readonly uri: string;
    readonly arguments?: Readonly<Record<string, string>>;
    readonly argument: { readonly name: string; readonly value: string };
    readonly _meta?: { readonly progressToken?: string | number };
    readonly data?: unknown;
  };
}
type Handler<R> = (message: V1Message, extra: Extra) => R;

export interface V1Server {
  setRequestHandler(schema: unknown, handler: Handler<unknown>): void;
  getClientCapabilities(): Readonly<Record<string, unknown>> | undefined;
  connect(transport: unknown): Promise<void>;
  close(): Promise<void>;
}
export interface V1Transport {
  readonly sessionId?: string;
  onclose?: () => void;
  handleRequest(request: IncomingMessage, response: ServerResponse, body?: unknown): Promise<void>;
  handlePostMessage(request: IncomingMessage, response: ServerResponse): Promise<void>;
}
export interface CallOptions {
  readonly onprogress?: (progress: { readonly progress: number }) => void;
  readonly signal?: AbortSignal;
}
export interface Content {
  readonly type: string;
  readonly text?: string;
  readonly data?: string;
  readonly uri?: string;
}
export interface CallResult {
  readonly content?: readonly Content[];
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}
export interface V1Client {
  connect(transport: unknown): Promise<void>;
  close(): Promise<void>;
  setRequestHandler(schema: unknown, handler: Handler<unknown>): void;
  setNotificationHandler(schema: unknown, handler: (message: V1Message) => void): void;
  setLoggingLevel(level: string): Promise<unknown>;
  listTools(): Promise<{ tools: ReadonlyArray<{ name: string }> }>;
  callTool(params: object, schema?: unknown, options?: CallOptions): Promise<CallResult>;
  listResources(): Promise<{ resources: ReadonlyArray<{ uri: string }> }>;
  listResourceTemplates(): Promise<{ resourceTemplates: ReadonlyArray<{ uriTemplate: string }> }>;
  readResource(params: object): Promise<{ contents: ReadonlyArray<{ text?: unknown }> }>;
  listPrompts(): Promise<{ prompts: ReadonlyArray<{ name: string }> }>;
  getPrompt(params: object): Promise<{ messages: ReadonlyArray<{ content: unknown }> }>;
  complete(params: object): Promise<{ completion: { values: readonly string[] } }>;
}
type Class<T> = new (...args: readonly unknown[]) => T;

/** One 1.x release. */
export interface V1 {
  /** The schemas by which handlers are registered, under their names. */
  readonly schemas: Readonly<Record<string, unknown>>;
  readonly Server: Class<V1Server>;
  readonly HttpServer: Class<V1Transport>;
  readonly SseServer: Class<V1Transport>;
  readonly StdioServer: Class<V1Transport>;
  readonly Client: Class<V1Client>;
  readonly HttpClient: Class<object>;
  readonly SseClient: Class<object>;
}

export async function releaseOf(revision: LegacyRevision): Promise<V1> {
  const load = async (path: string) =>
    (await import(`${RELEASE[revision]}/${path}.js`)) as Readonly<Record<string, unknown>>;
  const [schemas, server, http, sse, stdio, client, httpClient, sseClient] = await Promise.all(
    [
      'types',
      'server/index',
      'server/streamableHttp',
      'server/sse',
      'server/stdio',
      'client/index',
      'client/streamableHttp',
      'client/sse',
    ].map(load),
  );
  if (schemas?.['LATEST_PROTOCOL_VERSION'] !== revision) throw new Error(`${RELEASE[revision]} is not of ${revision}`);
  return {
    schemas,
    Server: server?.['Server'] as Class<V1Server>,
    HttpServer: http?.['StreamableHTTPServerTransport'] as Class<V1Transport>,
    SseServer: sse?.['SSEServerTransport'] as Class<V1Transport>,
    StdioServer: stdio?.['StdioServerTransport'] as Class<V1Transport>,
    Client: client?.['Client'] as Class<V1Client>,
    HttpClient: httpClient?.['StreamableHTTPClientTransport'] as Class<object>,
    SseClient: sseClient?.['SSEClientTransport'] as Class<object>,
  };
}
