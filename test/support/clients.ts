/**
 * Real SDK clients, unmodified, that hold a token for an endpoint of the rig: v1 (legacy), v2 as a legacy and as a modern client.
 * What they are asked is answered by `answers`; what they are told is kept in `heard`. Not done here: sign-in (test/journeys).
 */
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ElicitationCompleteNotificationSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import type { Rig, TokenOptions } from './rig.ts';

type Plain = Record<string, unknown>;

export const SDKS = ['v1', 'v2-legacy', 'v2-modern'] as const;
export type Sdk = (typeof SDKS)[number];
export const isModern = (sdk: Sdk): boolean => sdk === 'v2-modern';

/** By method: what the person or the model behind the client says. A kind without an answer is not declared. */
export interface Answers {
  readonly form?: (params: Plain) => Plain | Promise<Plain>;
  readonly url?: (params: Plain) => Plain | Promise<Plain>;
  readonly sampling?: (params: Plain) => Plain | Promise<Plain>;
  readonly roots?: () => Plain | Promise<Plain>;
}

export interface CallMore {
  readonly onprogress?: (progress: Plain) => void;
  readonly signal?: AbortSignal;
  readonly meta?: Plain;
  readonly timeout?: number;
}

export interface SdkClient {
  readonly heard: Array<{ readonly method: string; readonly params: Plain }>;
  readonly serverCapabilities: Plain;
  readonly instructions: string | undefined;
  call(
    name: string,
    args?: Plain,
    more?: CallMore,
  ): Promise<{ readonly text: string; readonly isError: boolean; readonly result: Plain }>;
  tools(): Promise<readonly Plain[]>;
  prompts(): Promise<readonly Plain[]>;
  prompt(name: string, args?: Record<string, string>): Promise<Plain>;
  resources(): Promise<readonly Plain[]>;
  templates(): Promise<readonly Plain[]>;
  read(uri: string): Promise<readonly Plain[]>;
  complete(ref: Plain, argument: { readonly name: string; readonly value: string }): Promise<Plain>;
  setLevel(level: string): Promise<unknown>;
  close(): Promise<void>;
}

export interface ClientOptions extends TokenOptions {
  readonly as?: string;
  readonly answers?: Answers;
  /** Log lines of every call of a modern client. */
  readonly logLevel?: string;
  /** Null: the aggregate. */
  readonly server?: never;
}

const META_LOG_LEVEL = 'io.modelcontextprotocol/logLevel';

/** `server` null: the aggregate endpoint. */
export async function connectSdk(
  rig: Rig,
  sdk: Sdk,
  server: string | null,
  options: ClientOptions = {},
): Promise<SdkClient> {
  const { as = 'dana', answers = {}, logLevel, ...token } = options;
  const url = new URL(`${rig.url}${server === null ? '/mcp/default' : rig.endpoint(server)}`);
  const bearer = rig.token(as, { ...token, audience: url.href });
  const requestInit = { headers: { authorization: `Bearer ${bearer}` } };
  const capabilities = {
    ...((answers.form || answers.url) && {
      elicitation: { ...(answers.form && { form: {} }), ...(answers.url && { url: {} }) },
    }),
    ...(answers.sampling && { sampling: {} }),
    ...(answers.roots && { roots: {} }),
  };
  const heard: SdkClient['heard'] = [];
  const elicit = (params: Plain) => (params['mode'] === 'url' ? answers.url!(params) : answers.form!(params));
  const client = sdk === 'v1' ? await v1() : await v2();

  async function v1() {
    const one = new ClientV1({ name: 'sdk-v1', version: '1' }, { capabilities });
    if (answers.form || answers.url)
      one.setRequestHandler(ElicitRequestSchema, ({ params }) => elicit(params) as never);
    if (answers.sampling)
      one.setRequestHandler(CreateMessageRequestSchema, ({ params }) => answers.sampling!(params) as never);
    if (answers.roots) one.setRequestHandler(ListRootsRequestSchema, () => answers.roots!() as never);
    for (const schema of [LoggingMessageNotificationSchema, ElicitationCompleteNotificationSchema])
      one.setNotificationHandler(schema, ({ method, params }) => void heard.push({ method, params: params }));
    await one.connect(new TransportV1(url, { requestInit }));
    return one;
  }
  async function v2() {
    const one = new ClientV2(
      { name: 'sdk-v2', version: '1' },
      { capabilities, ...(isModern(sdk) && { versionNegotiation: { mode: 'auto' as const } }) },
    );
    if (answers.form || answers.url)
      one.setRequestHandler('elicitation/create', ({ params }) => elicit(params) as never);
    if (answers.sampling)
      one.setRequestHandler('sampling/createMessage', ({ params }) => answers.sampling!(params) as never);
    if (answers.roots) one.setRequestHandler('roots/list', () => answers.roots!() as never);
    one.setNotificationHandler('notifications/message', ({ method, params }) => void heard.push({ method, params }));
    one.setNotificationHandler(
      'notifications/elicitation/complete',
      ({ method, params }) => void heard.push({ method, params }),
    );
    await one.connect(new TransportV2(url, { requestInit }));
    return one;
  }

  const meta = (more: Plain = {}): { _meta?: Plain } => {
    const all = { ...(logLevel !== undefined && isModern(sdk) && { [META_LOG_LEVEL]: logLevel }), ...more };
    return Object.keys(all).length === 0 ? {} : { _meta: all };
  };
  return {
    heard,
    serverCapabilities: client.getServerCapabilities() ?? {},
    instructions: client.getInstructions(),
    async call(name, args = {}, { meta: own, ...more } = {}) {
      const params = { name, arguments: args, ...meta(own) };
      const result = (await (client instanceof ClientV1
        ? client.callTool(params, undefined, more)
        : client.callTool(params, more))) as Plain;
      const content = (result['content'] ?? []) as Array<{ text?: string }>;
      return { text: content.map(({ text }) => text ?? '').join('\n'), isError: result['isError'] === true, result };
    },
    tools: async () => (await client.listTools()).tools,
    prompts: async () => (await client.listPrompts()).prompts,
    prompt: async (name, args = {}) => await client.getPrompt({ name, arguments: args }),
    resources: async () => (await client.listResources()).resources,
    templates: async () => (await client.listResourceTemplates()).resourceTemplates,
    read: async (uri) => (await client.readResource({ uri })).contents,
    complete: async (ref, argument) => (await client.complete({ ref, argument } as never)).completion,
    setLevel: (level) => client.setLoggingLevel(level as never),
    close: () => client.close(),
  };
}
