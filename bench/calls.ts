/** What is sent, as a table: one request of each kind that is measured, and what its answer must hold to count as one. */

export type Kind =
  | 'echo'
  | 'session'
  | 'progress'
  | 'prompt'
  | 'resource'
  | 'list'
  | 'anyList'
  | 'aggregateEcho'
  | 'aggregateList';

export interface Target {
  readonly url: string;
  readonly token: string | null;
  readonly kind: Kind;
  /** Of a legacy session. */
  readonly session: string | null;
}

interface Request {
  readonly method: string;
  /** What `Mcp-Name` repeats. */
  readonly name: string | null;
  readonly params: (n: number) => object;
  readonly good: (text: string, n: number) => boolean;
}

const MESSAGE =
  'the quick brown fox jumps over the lazy dog, and over the next one, and over the one behind that as well';
const MODERN_META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

const call = (name: string): Request => ({
  method: 'tools/call',
  name,
  params: (n) => ({ name, arguments: { message: `${n} ${MESSAGE}`, count: n % 100 } }),
  good: (text, n) => text.includes(`"text":"${n} `),
});
const listOf = (tools: number): Request => ({
  method: 'tools/list',
  name: null,
  params: () => ({}),
  good: (text) => text.split('"inputSchema"').length === tools + 1,
});
const steps = call('steps');

/** Tools of the server with many, and of all servers behind the aggregate. */
export const LONG_LIST = 1_000;
export const AGGREGATED = 10;

const REQUESTS: Readonly<Record<Kind, Request>> = {
  echo: call('echo'),
  session: call('echo'),
  progress: {
    ...steps,
    params: (n) => ({ ...steps.params(n), _meta: { progressToken: n } }),
    good: (text, n) => steps.good(text, n) && text.split('notifications/progress').length === 6,
  },
  prompt: {
    method: 'prompts/get',
    name: 'greet',
    params: (n) => ({ name: 'greet', arguments: { who: `${n} ${MESSAGE}` } }),
    good: (text, n) => text.includes(`"text":"${n} `),
  },
  resource: {
    method: 'resources/read',
    name: 'bench://note',
    params: () => ({ uri: 'bench://note' }),
    good: (text) => text.includes('"text":"A note '),
  },
  list: listOf(LONG_LIST),
  /** With or without the tool that is locked now. */
  anyList: { ...listOf(LONG_LIST), good: (text) => text.split('"inputSchema"').length >= LONG_LIST },
  aggregateEcho: call('s7__echo'),
  aggregateList: listOf(2 * AGGREGATED),
};

export function headersOf({ kind, token, session }: Target): Record<string, string> {
  const { method, name } = REQUESTS[kind];
  const legacy = kind === 'session';
  return {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': legacy ? '2025-11-25' : '2026-07-28',
    ...(!legacy && { 'mcp-method': method }),
    ...(!legacy && name !== null && { 'mcp-name': name }),
    ...(session !== null && { 'mcp-session-id': session }),
    ...(token !== null && { authorization: `Bearer ${token}` }),
  };
}

export function bodyOf({ kind }: Target, n: number): string {
  const { method, params } = REQUESTS[kind];
  const given = params(n) as { readonly _meta?: object };
  const meta = kind === 'session' ? {} : { _meta: { ...MODERN_META, ...given._meta } };
  return JSON.stringify({ jsonrpc: '2.0', id: n, method, params: { ...given, ...meta } });
}

export const isGood = ({ kind }: Target, text: string, n: number): boolean => REQUESTS[kind].good(text, n);

/** Opens a legacy session. */
export async function openSession(url: string, token: string): Promise<string> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${token}`,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } },
    }),
  });
  await response.text();
  const session = response.headers.get('mcp-session-id');
  if (session === null) throw new Error(`no session was opened: ${response.status}`);
  return session;
}

/** The request of a modern stream of changes. */
export const LISTEN = {
  headers: {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'subscriptions/listen',
  },
  body: JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'subscriptions/listen',
    params: { notifications: { toolsListChanged: true }, _meta: MODERN_META },
  }),
} as const;
