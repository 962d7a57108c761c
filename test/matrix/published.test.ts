/**
 * Servers that other people published, over stdio in the sandbox, behind one real gateway, with clients that other people wrote:
 * the SDK in both generations and the command line of the MCP Inspector, all unmodified.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type ConformanceNode, startNode } from '../conformance/node.ts';
import { endAll, startProcess } from '../support/processes.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

interface Visit {
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  /** What the text of the answer has to hold. */
  readonly holds: string;
}

const SERVERS: ReadonlyArray<readonly [string, readonly Visit[]]> = [
  ['filesystem', [{ tool: 'read_text_file', args: { path: '/data/note.txt' }, holds: 'a note' }]],
  [
    'memory',
    [
      {
        tool: 'create_entities',
        args: { entities: [{ name: 'Ada', entityType: 'person', observations: ['counts'] }] },
        holds: '',
      },
      { tool: 'read_graph', args: {}, holds: 'Ada' },
    ],
  ],
  ['everything', [{ tool: 'echo', args: { message: 'hello' }, holds: 'hello' }]],
  [
    'sequential-thinking',
    [
      {
        tool: 'sequentialthinking',
        args: { thought: 'one', nextThoughtNeeded: false, thoughtNumber: 1, totalThoughts: 1 },
        holds: 'thoughtHistoryLength',
      },
    ],
  ],
];

const folder = mkdtempSync(join(tmpdir(), 'remit-published-'));
let node: ConformanceNode;

beforeAll(async () => {
  // The servers run as a user of their own.
  chmodSync(folder, 0o777);
  writeFileSync(join(folder, 'note.txt'), 'a note\n');
  const stdio = (command: readonly string[], env: Readonly<Record<string, string>> = {}) => ({
    upstream: {
      transport: 'stdio' as const,
      command: ['node', ...command],
      env,
      mounts: [{ from: folder, to: '/data', mode: 'write' as const }],
    },
  });
  node = await startNode({
    filesystem: stdio(['@modelcontextprotocol/server-filesystem', '/data']),
    memory: stdio(['@modelcontextprotocol/server-memory'], { MEMORY_FILE_PATH: '/data/memory.json' }),
    everything: stdio(['@modelcontextprotocol/server-everything', 'stdio']),
    'sequential-thinking': stdio(['@modelcontextprotocol/server-sequential-thinking']),
  });
});
afterAll(async () => {
  await endAll();
  await node?.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Session {
  tools(): Promise<readonly string[]>;
  call(name: string, args: Readonly<Record<string, unknown>>): Promise<string>;
  close(): Promise<void>;
}

const textOf = (result: unknown): string => {
  const { content, isError } = result as { content: ReadonlyArray<{ text?: string }>; isError?: boolean };
  const text = content.map((block) => block.text ?? '').join('\n');
  if (isError === true) throw new Error(text);
  return text;
};
const requestInit = (server: string) => ({ headers: { authorization: `Bearer ${node.token(server)}` } });

async function openV2(server: string): Promise<Session> {
  const client = new Client({ name: 'published', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(
    new StreamableHTTPClientTransport(new URL(node.endpoint(server)), { requestInit: requestInit(server) }),
  );
  expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28');
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
    close: () => client.close(),
  };
}

async function openV1(server: string): Promise<Session> {
  const client = new ClientV1({ name: 'published', version: '1.0.0' });
  const transport = new TransportV1(new URL(node.endpoint(server)), { requestInit: requestInit(server) });
  await client.connect(transport);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args) => textOf(await client.callTool({ name, arguments: args })),
    close: () => client.close(),
  };
}

const INSPECTOR = join(
  dirname(createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json')),
  'clients/launcher/build/index.js',
);

/** A process per request, as a script would use it. */
function openInspector(server: string): Promise<Session> {
  const inspect = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const to = ['--cli', '--transport', 'http', '--server-url', node.endpoint(server), '--format', 'json'];
    const header = ['--header', `Authorization: Bearer ${node.token(server)}`];
    const one = startProcess([process.execPath, INSPECTOR, ...to, ...args, ...header], { env: { HOME: folder } });
    const { code } = await one.ended;
    if (code !== 0) throw new Error(`${one.err()}\n${one.out()}`);
    const answer = JSON.parse(one.out()) as { result?: Record<string, unknown> };
    return answer.result ?? answer;
  };
  return Promise.resolve({
    tools: async () => {
      const { tools } = await inspect('--method', 'tools/list');
      return (tools as ReadonlyArray<{ name: string }>).map(({ name }) => name);
    },
    call: async (name, args) => {
      const pairs = Object.entries(args).flatMap(([key, value]) => [
        '--tool-arg',
        `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
      ]);
      return textOf(await inspect('--method', 'tools/call', '--tool-name', name, ...pairs));
    },
    close: () => Promise.resolve(),
  });
}

const CLIENTS = [
  ['the SDK v2', openV2],
  ['the SDK v1', openV1],
  ['the Inspector', openInspector],
] as const;

describe.each(SERVERS)('the published server %s', (server, visits) => {
  test.each(CLIENTS)('with %s: lists and calls', async (_name, open) => {
    const session = await open(server);
    try {
      const tools = await session.tools();
      for (const { tool, args, holds } of visits) {
        expect(tools).toContain(tool);
        expect(await session.call(tool, args)).toContain(holds);
      }
    } finally {
      await session.close();
    }
  });
});
