/**
 * The client under test of the suite's client scenarios: `node drive.ts direct|through URL`, started by the suite, which names the scenario.
 * `through`: the given URL becomes a server of a real gateway, everything it offers is approved, and a normal SDK client works through it.
 * `direct`: the same client without a gateway, which is what the gateway is compared with.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { ClientCapabilities } from '@modelcontextprotocol/client';
import { AUTH_SCRIPTS, driveAuth } from './drive-auth.ts';
import { type ConformanceNode, overHttp, startNode } from './node.ts';

interface Script {
  readonly capabilities?: ClientCapabilities;
  run(client: Client): Promise<unknown>;
}

interface Context {
  readonly toolCalls?: ReadonlyArray<{ readonly name: string; readonly arguments: Record<string, unknown> }>;
}
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Context;

const call = (client: Client, name: string, args: Record<string, unknown> = {}) =>
  client.callTool({ name, arguments: args });

const lists: Script = { run: (client) => client.listTools() };

/** What a client does in each scenario; what is looked at is what the server received. */
const SCRIPTS: Readonly<Record<string, Script>> = {
  initialize: lists,
  'json-schema-ref-no-deref': lists,
  'request-metadata': {
    capabilities: { roots: {}, sampling: {}, elicitation: {} },
    run: async (client) => {
      // What a client declares travels with its calls.
      const [tool] = (await client.listTools()).tools;
      if (tool) await call(client, tool.name);
    },
  },
  tools_call: {
    run: async (client) => {
      await client.listTools();
      await call(client, 'add_numbers', { a: 5, b: 3 });
    },
  },
  'sse-retry': {
    run: async (client) => {
      await client.listTools();
      await call(client, 'test_reconnection');
    },
  },
  'elicitation-sep1034-client-defaults': {
    capabilities: { elicitation: { form: { applyDefaults: true } } },
    run: async (client) => {
      client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: {} }));
      await client.listTools();
      await call(client, 'test_client_elicitation_defaults');
    },
  },
  'http-standard-headers': {
    run: async (client) => {
      const [tool] = (await client.listTools()).tools;
      if (tool) await call(client, tool.name);
      const [resource] = (await client.listResources()).resources;
      if (resource) await client.readResource({ uri: resource.uri });
      const [prompt] = (await client.listPrompts()).prompts;
      if (prompt) await client.getPrompt({ name: prompt.name, arguments: {} });
    },
  },
  'http-custom-headers': {
    run: async (client) => {
      await client.listTools();
      for (const { name, arguments: args } of context.toolCalls ?? []) {
        const { isError } = await call(client, name, args);
        // A gateway that holds arguments against their schema refuses a null that the schema does not have.
        const given = Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null));
        if (isError === true) await call(client, name, given);
      }
    },
  },
  'http-invalid-tool-headers': {
    run: async (client) => {
      const { tools } = await client.listTools();
      // Some of them are there to be refused.
      for (const { name } of tools) await call(client, name, { region: 'us-west1' }).catch(() => undefined);
    },
  },
  'sep-2322-client-request-state': {
    capabilities: { elicitation: {} },
    run: async (client) => {
      client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { confirmed: true } }));
      await client.listTools();
      for (const part of ['echo_state', 'no_state', 'unrelated']) await call(client, `test_mrtr_${part}`);
      // Its answer has no resultType, which no client may take for a success.
      await call(client, 'test_mrtr_no_result_type').catch(() => undefined);
    },
  },
  'json-schema-2020-12-preservation': {
    run: async (client) => {
      const { tools } = await client.listTools();
      const seen = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
      await call(client, 'json_schema_echo', { schema: seen?.inputSchema ?? null });
    },
  },
};

export const DRIVEN = Object.keys(SCRIPTS);

const { MCP_CONFORMANCE_SCENARIO: scenario = '', MCP_CONFORMANCE_PROTOCOL_VERSION: revision } = process.env;
const modern = revision === '2026-07-28';

/** A normal client at `url`, through `node` if there is one. */
async function withClient(url: string, node: ConformanceNode | null, script: Script): Promise<void> {
  const client = new Client(
    { name: 'drive', version: '1.0.0' },
    { capabilities: script.capabilities ?? {}, ...(modern && { versionNegotiation: { mode: 'auto' as const } }) },
  );
  try {
    const transport = new StreamableHTTPClientTransport(new URL(node ? node.endpoint('it') : url), {
      ...(node && { requestInit: { headers: { authorization: `Bearer ${node.token('it')}` } } }),
    });
    await client.connect(transport);
    await script.run(client);
  } finally {
    await client.close().catch(() => undefined);
  }
}

const callsOne: Script = {
  run: async (client) => {
    const [tool] = (await client.listTools()).tools;
    if (!tool) throw new Error('there is no tool');
    const { isError } = await call(client, tool.name);
    if (isError === true) throw new Error('the tool failed');
  },
};

async function drive(way: string, url: string): Promise<void> {
  if (AUTH_SCRIPTS[scenario]) {
    const node = await startNode({});
    try {
      await driveAuth(scenario, url, context as Record<string, string>, node, modern, () =>
        withClient(url, node, callsOne),
      );
    } finally {
      await node.stop();
    }
    return;
  }
  const script = SCRIPTS[scenario];
  if (!script) throw new Error(`no script for ${scenario}`);
  const node = way === 'through' ? await startNode({ it: overHttp(url, modern ? 'modern' : 'legacy') }) : null;
  try {
    await withClient(url, node, script);
  } finally {
    await node?.stop();
  }
}

if (import.meta.main) {
  const [, , way = '', url = ''] = process.argv;
  await drive(way, url);
}
