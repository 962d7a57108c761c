/**
 * A governed gateway as a process of its own, set up through its admin API as an administrator and a reviewer would: one server (the sink,
 * which keeps what reached it), five tools, four people. The folder outlives the process, so that it can be killed and started again.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import type { AuditEntry } from '../../src/audit/entry.ts';
import type { UnknownCall } from '../../src/audit/recover.ts';
import { freePorts, startRemit } from '../support/processes.ts';
import type { StartOptions, Started } from '../support/processes.ts';
import type { TestIssuer } from '../support/issuer.ts';
import type { Sink } from '../support/upstreams/sink.ts';

type Json = Record<string, unknown>;

/** `wrong` has side effects and was classed as a read by mistake: the vulnerable twin of `put`. */
export const TOOLS = {
  put: 'write',
  get: 'read',
  drop: 'destructive',
  wrong: 'read',
} as const;
const PEOPLE = { dana: ['developer'], omar: ['operator'], sven: ['security_reviewer'], aiko: ['auditor'] } as const;

const definition = (name: string): Json => ({
  name,
  description: `Does ${name}.`,
  inputSchema: {
    type: 'object',
    properties: { id: { type: 'string' }, text: { type: 'string' } },
    required: ['id'],
    additionalProperties: false,
  },
});

export interface NodeReady {
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly verifierKey: string;
  readonly unknown: readonly UnknownCall[];
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Json & { readonly result?: Json; readonly error?: Json };
}

export interface GatewayNode {
  readonly dataDir: string;
  readonly configFile: string;
  readonly url: string;
  readonly adminUrl: string;
  start(options?: StartOptions): Promise<{ readonly started: Started; readonly ready: NodeReady }>;
  /** Registers the sink and its tools. Once, while the process runs. */
  setUp(sink: Sink, upstream?: Json): Promise<void>;
  api(person: string, method: string, path: string, body?: object, headers?: Record<string, string>): Promise<Reply>;
  call(tool: string, args: Json, options?: CallOptions): Promise<Reply>;
  /** Only while no process has the ledger. */
  entries(): Promise<readonly AuditEntry[]>;
}

export interface CallOptions {
  /** Default: dana with the scopes of all tools. */
  readonly token?: string;
  readonly meta?: Json;
  readonly signal?: AbortSignal;
}

/** Where tokens come from: the test issuer, or a real authorization server. */
export interface TokenSource {
  readonly issuer: string;
  readonly algorithms: readonly string[];
  subject(person: string): string;
  token(person: string, audience: string, scope: string): string | Promise<string>;
}

export const tokensOf = (issuer: TestIssuer): TokenSource => ({
  issuer: issuer.issuer,
  algorithms: ['ES256'],
  subject: (person) => person,
  token: (person, audience, scope) => issuer.mint({ sub: person, client_id: 'journey', aud: audience, scope }),
});

export const SCOPES = 'sink:read sink:write sink:destroy';

export async function gatewayNode(folder: string, source: TokenSource, more: Json = {}): Promise<GatewayNode> {
  const base = await freePorts(2);
  const [url, adminUrl] = [`http://127.0.0.1:${base}/mcp/default/sink`, `http://127.0.0.1:${base + 1}`];
  const configFile = join(folder, 'remit.yaml');
  const dataDir = join(folder, 'gateway');
  mkdirSync(folder, { recursive: true });
  const config = {
    dataDir,
    public: { port: base },
    issuers: [{ issuer: source.issuer, algorithms: source.algorithms, allowedNetworks: ['127.0.0.1/32'] }],
    firstAdministrator: { issuer: source.issuer, subject: source.subject('ada'), name: 'Ada' },
    governance: { newAgents: 'active' },
    admin: {
      port: base + 1,
      clients: ['remit-cli', 'journey', 'mcp-client'],
      // People of these journeys have a password.
      signIn: { unsafeNoSecondFactor: true },
    },
    limits: { callsPerMinutePerPerson: 100_000, repeatsPerMinute: 100_000, readRepeatsPerMinute: 100_000 },
    // The watchdog of freshness is not what these tests are about, and the machine may be busy.
    freshness: { limitMs: 10_000 },
    // A held call is answered at once, unless a journey is about waiting.
    approvals: { holdSeconds: 0, blockSeconds: 0 },
    ...more,
  };
  writeFileSync(configFile, JSON.stringify(config, null, 2), { mode: 0o600 });

  async function ask(
    address: string,
    method: string,
    headers: Record<string, string>,
    body?: string,
    signal?: AbortSignal,
  ): Promise<Reply> {
    const response = await fetch(address, {
      method,
      headers,
      ...(body !== undefined && { body }),
      signal: signal ?? AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    let parsed: Json = {};
    try {
      parsed = JSON.parse(text) as Json;
    } catch {
      // Not every answer is JSON; those tests read `text`.
    }
    return { status: response.status, headers: response.headers, text, body: parsed };
  }

  const node: GatewayNode = {
    dataDir,
    configFile,
    url,
    adminUrl,
    async start(options = {}) {
      const started = startRemit(['gateway', '--config', configFile, '--json'], options);
      return { started, ready: await started.ready<NodeReady>() };
    },
    async setUp(sink, upstream = {}) {
      const must = async (person: string, method: string, path: string, body?: object, headers = {}): Promise<Json> => {
        const reply = await node.api(person, method, path, body, headers);
        if (reply.status >= 300) throw new Error(`${person} ${method} ${path}: ${reply.status} ${reply.text}`);
        return reply.body;
      };
      sink.setTools(Object.keys(TOOLS).map(definition));
      for (const [name, roles] of Object.entries(PEOPLE)) {
        const person = { issuer: source.issuer, subject: source.subject(name), name, state: 'active', roles };
        await must('ada', 'POST', '/people', { reason: 'set up', person });
      }
      const { person: owner } = await must('ada', 'GET', '/me');
      const server = {
        title: 'Sink',
        owner,
        purpose: 'keeps what it is sent',
        environment: 'development',
        dataClasses: ['internal'],
        riskTier: 'low',
        source: { vendor: 'Remit', version: '1.0.0' },
        revocation: 'stop the test',
        reviewBy: 4_102_444_800_000,
        timeoutMs: 10_000,
        upstream: { transport: 'http', url: sink.url, allowedNetworks: ['127.0.0.1/32'], ...upstream },
      };
      await must('ada', 'PUT', '/servers/sink', { reason: 'set up', server }, { 'if-none-match': '*' });
      const { revision } = await must('ada', 'POST', '/servers/sink/submit', { reason: 'set up' });
      const read = { 'if-match': `"${revision as number}"` };
      await must('sven', 'POST', '/servers/sink/enable', { reason: 'set up' }, read);
      await must('omar', 'POST', '/servers/sink/refresh', {});
      for (const [name, risk] of Object.entries(TOOLS)) {
        const { observed } = await must('sven', 'GET', `/servers/sink/tools/${name}`);
        const scope = { read: 'sink:read', write: 'sink:write', destructive: 'sink:destroy' }[risk];
        const { digest } = observed as { digest: string };
        const path = `/servers/sink/tools/${name}`;
        const review = { digest, risk, scope, justification: 'test' };
        const { proposal } = await must('omar', 'POST', `${path}/propose`, review);
        await must('sven', 'POST', `${path}/approve`, { digest, proposal: proposal as string });
      }
    },
    async api(person, method, path, body, headers = {}) {
      const token = await source.token(person, `${adminUrl}/api/v1`, 'admin:read admin:write');
      return ask(
        `${adminUrl}/api/v1${path}`,
        method,
        { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }), ...headers },
        body && JSON.stringify(body),
      );
    },
    async call(tool, args, options = {}) {
      const token = options.token ?? (await source.token('dana', url, SCOPES));
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tools/call',
        'mcp-name': tool,
      };
      const _meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
        ...options.meta,
      };
      const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: args, _meta } };
      return ask(url, 'POST', headers, JSON.stringify(message), options.signal);
    },
    async entries() {
      const ledger = await openSqliteLedger(join(dataDir, 'ledger.db'));
      try {
        const size = await ledger.size('default');
        const all: AuditEntry[] = [];
        while (all.length < size)
          for (const { text } of await ledger.read('default', all.length, 500))
            all.push(JSON.parse(text) as AuditEntry);
        return all;
      } finally {
        await ledger.close();
      }
    },
  };
  return node;
}
