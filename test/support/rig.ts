/**
 * One whole gateway node in this process, built from the real parts as `cli/serve.ts` builds them: SQLite state and ledger in a temporary
 * folder, audit log, follower, token verifier against a real issuer, upstream pool, listener, on request the admin plane.
 * Its upstreams are sinks (`upstreams/sink.ts`), which share no code with the product: what they received is what left.
 * Test-only powers: faults between the gateway and its ledger, copies of the pipeline table, records written behind the admin API.
 * Long because it is one composition and the hands on it.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argumentsBox } from '../../src/approvals/sealed-arguments.ts';
import { breakGlass } from '../../src/admin/break-glass.ts';
import { refusals } from '../../src/admin/refusals.ts';
import { startAdmin } from '../../src/admin/server.ts';
import { STRICT_SIGN_IN } from './sign-in.ts';
import type { AuditEntry, EntryKind } from '../../src/audit/entry.ts';
import { loadOrCreateLogKey } from '../../src/audit/keys.ts';
import type { Ledger } from '../../src/audit/ledger.ts';
import { openAuditLog } from '../../src/audit/log.ts';
import { findEntries, tailEntries } from '../../src/audit/query.ts';
import { recover } from '../../src/audit/recover.ts';
import { ensureFoundation } from '../../src/cli/foundation.ts';
import { credentialsOf, giveBack, heldBy, recheckOn } from '../../src/cli/secrets.ts';
import { openView } from '../../src/cli/state-view.ts';
import { Person, personKey } from '../../src/directory/records.ts';
import type { Role } from '../../src/directory/records.ts';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { PIPELINE } from '../../src/gateway/pipeline.ts';
import type { Row } from '../../src/gateway/pipeline.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { ToolRecord, itemKey, toolId } from '../../src/integrity/records.ts';
import type { RiskClass } from '../../src/integrity/records.ts';
import { approve } from '../../src/integrity/review.ts';
import { honeytokenBox } from '../../src/inventory/honeytokens.ts';
import { Lock, Server } from '../../src/inventory/records.ts';
import type { LockSubject } from '../../src/inventory/records.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { PolicyRecord } from '../../src/policy/records.ts';
import type { Write } from '../../src/store/state.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { guardedJson } from '../../src/upstream/dial.ts';
import { startIssuer } from './issuer.ts';
import type { Members, MintOptions } from './issuer.ts';
import { serverAccounts } from '../../src/upstream/oauth/accounts.ts';
import { testBroker } from './broker.ts';
import { testPool, until } from './upstreams/open.ts';
import { startSink } from './upstreams/sink.ts';
import type { Sink } from './upstreams/sink.ts';

export const ORG = 'default';
export type Era = 'modern' | 'legacy';
export const ERAS: readonly Era[] = ['modern', 'legacy'];

/** Directory ids by role. The subject of a person is `<id>@corp`, so that nothing can confuse the two. */
export const PEOPLE: Readonly<Record<string, readonly Role[]>> = {
  dana: ['developer'],
  dora: ['developer'],
  omar: ['operator'],
  otto: ['operator', 'approver'],
  petra: ['approver'],
  sven: ['security_reviewer'],
  aiko: ['auditor'],
  ada: ['administrator'],
  nobody: [],
};

export interface ToolSpec {
  readonly definition: JsonObject;
  readonly risk: RiskClass;
  readonly scope: string;
}

/** A tool that takes a text and an optional count; what differs between tools of a test is name, risk and scope. */
export function textTool(name: string, risk: RiskClass, scope: string, more: JsonObject = {}): ToolSpec {
  const definition: JsonObject = {
    name,
    description: `Does ${name}.`,
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string', maxLength: 10_000 }, count: { type: 'integer' } },
      required: ['text'],
      additionalProperties: false,
    },
    ...more,
  };
  return { definition, risk, scope };
}

/** One tool per risk class. */
export const TOOLS: readonly ToolSpec[] = [
  textTool('read_note', 'read', 'notes:read'),
  textTool('write_note', 'write', 'notes:write'),
  textTool('delete_note', 'destructive', 'notes:delete'),
  textTool('run_job', 'execute', 'notes:run'),
  textTool('pay_bill', 'regulated', 'notes:pay'),
];
export const RISKS: readonly RiskClass[] = ['read', 'write', 'destructive', 'execute', 'regulated'];
export const ALL_SCOPES = ['notes:read', 'notes:write', 'notes:delete', 'notes:run', 'notes:pay'];

export interface ServerSpec {
  /** Era of the upstream. */
  readonly era?: Era;
  readonly answer?: 'json' | 'sse';
  readonly tools?: readonly ToolSpec[];
  /** Members of the server record. */
  readonly record?: Partial<Server>;
  /** Members of its upstream, for example `headers`. */
  readonly upstream?: Readonly<Record<string, unknown>>;
  /** A server that runs elsewhere instead of a sink; everything it offers is approved as `risk` with scope `notes:read`. */
  readonly url?: string;
  /** By the item's key, if it is not one for all; null leaves it unreviewed. */
  readonly risk?: RiskClass | ((key: string) => RiskClass | null);
  /** Scripts the sink before it is looked at; whatever it then offers besides `tools` is approved, too. */
  readonly script?: (sink: Sink) => void;
}

export interface RigOptions {
  /** Default: `PEOPLE`. */
  readonly people?: Readonly<Record<string, readonly Role[]>>;
  /** Default: one modern server `notes` with `TOOLS`. */
  readonly servers?: Readonly<Record<string, ServerSpec>>;
  /** Starts the admin plane. */
  readonly admin?: boolean;
  /** A copy of the pipeline table: `tableWith` makes one. */
  readonly table?: readonly Row[];
  readonly limits?: Partial<GatewayDeps['limits']>;
  readonly freshnessLimitMs?: number;
  /** How held calls wait. */
  readonly approvals?: GatewayDeps['approvals'];
  readonly allowedOrigins?: readonly string[];
  readonly clock?: Clock;
  /** Between the gateway and its parts, for faults. */
  readonly wrap?: (deps: GatewayDeps) => GatewayDeps;
}

/** Switches on the way from the gateway to its ledger. Both may be async; what they throw is what the gateway meets. */
export interface LedgerFaults {
  /** Before the entry is handed to the real ledger. */
  before: ((entry: AuditEntry) => void | Promise<void>) | null;
  /** After it is durable, before the gateway learns so. */
  after: ((entry: AuditEntry) => void | Promise<void>) | null;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The parsed body, or `{}`. */
  readonly body: JsonObject;
  /** `result` and `error` of the body. */
  readonly result: JsonObject | undefined;
  readonly error: { readonly code: number; readonly message: string; readonly data?: Json } | undefined;
  /** Reference id the caller was shown, wherever it stood. */
  readonly reference: string | undefined;
}

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface TokenOptions extends MintOptions {
  readonly client?: string;
  readonly scopes?: readonly string[];
  /** Default: the resource of `server`. */
  readonly audience?: unknown;
  readonly server?: string;
  readonly claims?: Members;
  readonly header?: Members;
}

export interface CallOptions {
  readonly as?: string;
  readonly era?: Era;
  readonly scopes?: readonly string[];
  readonly client?: string;
  readonly token?: string;
  /** Legacy: this session instead of one of our own. */
  readonly session?: string;
  readonly id?: string | number;
  /** What the client declares: in the envelope of this request, or when its session is opened. */
  readonly capabilities?: JsonObject;
  /** Further members of `_meta`. */
  readonly meta?: JsonObject;
  /** Added to, or (undefined) taken from, the headers of a well-formed request. */
  readonly headers?: Headers;
}

/** A request under way whose answer may be a stream. */
export interface Live {
  /** What came so far, parsed; grows. The last one is the reply. */
  readonly events: readonly JsonObject[];
  /** What came so far, as it came. */
  text(): string;
  /** When the answer is complete; rejects when the connection breaks. */
  readonly answer: Promise<Answer>;
  /** The message of this method once it is here. */
  event(method: string): Promise<JsonObject>;
  /** Goes away. */
  leave(): void;
}

export interface LiveCall extends Live {
  /** Posts a message of the same client in the same session. */
  say(message: JsonObject): Promise<Answer>;
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** The product's table with these guards replaced, or (null) taken out. */
export function tableWith(changes: Readonly<Record<string, Guard['decide'] | null>>): readonly Row[] {
  for (const name of Object.keys(changes))
    if (!PIPELINE.some(({ guard }) => guard.name === name)) throw new Error(`there is no guard ${name}`);
  return PIPELINE.flatMap((row) => {
    const decide = changes[row.guard.name];
    if (decide === undefined) return [row];
    return decide === null ? [] : [{ ...row, guard: { ...row.guard, decide } }];
  });
}

export async function startRig(options: RigOptions = {}) {
  const clock = options.clock ?? systemClock;
  const dir = mkdtempSync(join(tmpdir(), 'remit-rig-'));
  const closers: Array<() => Promise<unknown> | void> = [() => rmSync(dir, { recursive: true, force: true })];
  const opened = <T extends { close(): Promise<unknown> }>(part: T): T => {
    closers.unshift(() => part.close());
    return part;
  };
  const stop = async (): Promise<void> => {
    for (const step of closers.splice(0)) await step();
  };
  try {
    return await build();
  } catch (error) {
    await stop();
    throw error;
  }

  async function build() {
    const [issuer, realLedger, state, exchange] = await Promise.all([
      startIssuer({ clock }).then(opened),
      openSqliteLedger(join(dir, 'ledger.db')).then(opened),
      openSqliteState(join(dir, 'state.db')).then(opened),
      openSqliteExchange(join(dir, 'exchange.db'), { clock }).then(opened),
    ]);
    const faults: LedgerFaults = { before: null, after: null };
    const ledger: Ledger = {
      ...realLedger,
      get fatal() {
        return realLedger.fatal;
      },
      async append(log, text) {
        const entry = JSON.parse(text) as AuditEntry;
        await faults.before?.(entry);
        const appended = await realLedger.append(log, text);
        await faults.after?.(entry);
        return appended;
      },
    };
    const view = await openView(state, clock);
    closers.unshift(() => view.stop());
    const origin = `remit/${ORG}/rig`;
    const signer = await loadOrCreateLogKey(join(dir, 'keys'), origin);
    const audit = opened(
      await openAuditLog({
        ledger,
        org: ORG,
        origin,
        signer,
        clock,
        node: 'rig-1',
        checkpointEveryMs: 0,
        publishDir: join(dir, 'audit-log'),
        onFatal: () => undefined,
      }),
    );
    await recover({ ledger, audit, scope: 'all' });
    await ensureFoundation(state, view, {
      org: ORG,
      issuers: [issuer.issuer],
      adminClients: ['remit-cli'],
      newAgents: 'active',
    });

    const commit = async (writes: readonly Write[]): Promise<number> => {
      const { revision } = await state.commit({ actor: 'test', reason: 'test', writes });
      await view.advanceTo(revision);
      return revision;
    };
    /** Everything committed so far, whoever committed it, is in force. */
    const caughtUp = async (): Promise<void> => view.advanceTo(await state.head());
    const personWrite = (id: string, roles: readonly Role[], more: Partial<Person> = {}): Write => {
      const subject = `${id}@corp`;
      const body = Person.parse({ issuer: issuer.issuer, subject, name: id, state: 'active', roles, ...more });
      return { kind: 'person', org: ORG, id, key: personKey(issuer.issuer, subject), body };
    };
    await commit(Object.entries(options.people ?? PEOPLE).map(([id, roles]) => personWrite(id, roles)));

    const verifier = createTokenVerifier({
      issuers: [{ issuer: issuer.issuer, jwksUri: issuer.jwksUri }],
      fetchJwks: (url) =>
        guardedJson(url, {
          rule: { allowedNetworks: ['127.0.0.1/32'], requireHttps: false },
          timeoutMs: 5_000,
          maxBytes: 262_144,
        }),
      clock,
    });
    const broker = opened(testBroker(ORG, view, clock));
    const accounts = serverAccounts({ clock, resolveSecret: broker.resolve });
    const pool = testPool({ clock, accounts, resolveSecret: broker.resolve, standing: broker.standing });
    const credentials = credentialsOf(ORG, view, broker, accounts);
    closers.unshift(recheckOn(view, pool, broker));
    const logged: Array<{ readonly level: string; readonly fields: object; readonly message: string }> = [];

    const sessionKeys = [randomBytes(32)];
    const pages: { origin: string | null } = { origin: null };
    const deps: GatewayDeps = {
      org: ORG,
      node: 'rig-1',
      version: '0.0.0-test',
      clock,
      state,
      exchange,
      view,
      audit,
      verifier,
      pool,
      secrets: heldBy(broker.held, accounts.held),
      sessionKeys,
      issuers: [issuer.issuer],
      listen: {
        host: '127.0.0.1',
        port: 0,
        publicUrl: null,
        allowedHosts: [],
        allowedOrigins: options.allowedOrigins ?? [],
      },
      limits: {
        callsPerMinutePerPerson: 100_000,
        refusalsPerMinutePerCaller: 100_000,
        concurrentPerPerson: 200,
        concurrentCalls: 500,
        concurrentPerServer: 500,
        repeatsPerMinute: 100_000,
        readRepeatsPerMinute: 100_000,
        maxBodyBytes: 1_048_576,
        maxResultBytes: 1_048_576,
        callTimeoutMs: 30_000,
        ...options.limits,
      },
      freshnessLimitMs: options.freshnessLimitMs ?? 20_000,
      // Looks happen when a test asks for them, when a server is registered, and when the server says its list changed.
      catalogueRefreshMs: 3_600_000,
      // Nobody waits unless a test says so: a held call is answered at once.
      approvals: { pendingMs: 15 * 60_000, holdMs: 0, blockMs: 0, openPerCaller: 1_000, ...options.approvals },
      adminUrl: () => pages.origin,
      log: (level, fields, message) => void logged.push({ level, fields, message }),
    };
    const gateway = opened(await startGateway(options.wrap?.(deps) ?? deps, options.table));
    const { url } = gateway.listener;

    const adminPlane = options.admin
      ? opened(
          await startAdmin({
            facts: {
              host: '127.0.0.1',
              port: 0,
              publicUrl: null,
              allowedHosts: [],
              mcpUrl: url,
              issuers: [issuer.issuer],
              version: '0.0.0-test',
              unsafeKeys: [],
              unsafeAuthorMayActivate: false,
              unusedGrantsEndAfterDays: 0,
              unsafeOnePersonMayDecide: false,
              ownerlessAfterHours: 24,
              clients: ['remit-cli'],
              signIn: STRICT_SIGN_IN,
              freshnessLimitMs: options.freshnessLimitMs ?? 20_000,
              longestTokenMs: 3_610_000,
              posture: {},
            },
            org: ORG,
            node: 'rig-1',
            clock,
            state,
            follower: view.follower,
            snapshot: () => gateway.snapshot(),
            audit: { log: audit, ledger, verifierKey: signer.vkey.text },
            verifier,
            stopped(id, lock) {
              const { calls, settled } = gateway.stoppedBy(id);
              return {
                calls,
                settled: Promise.all([settled(), giveBack(lock, { org: ORG, view, credentials, accounts })]).then(
                  ([unfinished, { revoked, left }]) => ({
                    calls,
                    unfinished,
                    tokensRevoked: revoked,
                    tokensLeft: left,
                  }),
                ),
              };
            },
            heldArguments: argumentsBox(sessionKeys, ORG),
            honeytokens: honeytokenBox(sessionKeys, ORG),
            onApproval: () => undefined,
            catalogue: {
              refresh: async (server) => ({ ok: true, value: await gateway.refresh(server) }),
              status: () => ({ state: 'ready', seenAt: null, problem: null }),
            },
            isolation: () => [],
            artifacts: { folder: join(dir, 'artifacts'), advisories: () => ({ kind: 'none' }) },
            credentials,
            accounts: pool.accounts,
            events: null,
            shadows: gateway.shadows,
            notices: () => new Map(),
            claim: null,
            pages: null,
            refusals: refusals({
              audit: { log: audit },
              clock,
              log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
            }),
            breakGlass: breakGlass({
              audit: { log: audit },
              clock,
              log: { debug: () => undefined, warn: () => undefined, error: () => undefined },
            }),
            metrics: null,
            notReady: () => gateway.notReady(),
            log: {
              debug: (fields, message) => void logged.push({ level: 'debug', fields, message }),
              warn: (fields, message) => void logged.push({ level: 'warn', fields, message }),
              error: (fields, message) => void logged.push({ level: 'error', fields, message }),
            },
          }),
        )
      : null;

    pages.origin = adminPlane?.url ?? null;

    const sinks = new Map<string, Sink>();
    const agent = new Agent({ keepAlive: true });
    closers.unshift(() => agent.destroy());

    /** Any request at all, headers exactly as given (lists are sent as repeated lines). `base`: default the MCP listener. */
    function send(
      method: string,
      path: string,
      headers: Headers = {},
      body?: string | Uint8Array,
      base: string = url,
    ): Promise<Answer> {
      const target = new URL(base);
      const bytes = body === undefined ? null : Buffer.from(body);
      const all: Headers = {
        Host: target.host,
        ...(bytes && { 'Content-Length': String(bytes.length) }),
        ...headers,
      };
      const lines = Object.entries(all).flatMap(([name, value]) =>
        value === undefined ? [] : [value].flat().flatMap((one) => [name, one]),
      );
      return new Promise((resolve, reject) => {
        const outgoing = httpRequest(
          { host: target.hostname, port: target.port, method, path, headers: lines, agent, timeout: 60_000 },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('error', reject);
            response.on('end', () => {
              const text = Buffer.concat(chunks).toString('utf8');
              resolve(answerOf(response.statusCode ?? 0, response.headers, text));
            });
          },
        );
        outgoing.on('error', reject);
        outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 60 s')));
        outgoing.end(bytes ?? undefined);
      });
    }

    /** Like `send`, and shows the events of a stream as they come. */
    function sendLive(method: string, path: string, headers: Headers, body?: JsonObject): Live {
      const events: JsonObject[] = [];
      let rest = '';
      let text = '';
      const { promise, resolve, reject } = Promise.withResolvers<Answer>();
      const target = new URL(url);
      const all = Object.entries({ Host: target.host, ...headers });
      const lines = all.flatMap(([name, value]) => (value === undefined ? [] : [name, ...[value].flat()]));
      const outgoing = httpRequest(
        { host: target.hostname, port: target.port, method, path, headers: lines, agent: false },
        (response) => {
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
            const frames = (rest + chunk).split('\n\n');
            rest = frames.pop() ?? '';
            for (const frame of frames)
              for (const line of frame.split('\n'))
                if (line.startsWith('data: ') && line.length > 6) events.push(JSON.parse(line.slice(6)) as JsonObject);
          });
          response.on('error', reject);
          response.on('end', () => resolve(answerOf(response.statusCode ?? 0, response.headers, text)));
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
      closers.unshift(() => void outgoing.destroy());
      promise.catch(() => undefined);
      return {
        events,
        text: () => text,
        answer: promise,
        async event(wanted) {
          await until(`an event ${wanted}`, () => events.some(({ method: one }) => one === wanted));
          return events.find(({ method: one }) => one === wanted)!;
        },
        leave: () => void outgoing.destroy(),
      };
    }

    /** The empty name is the aggregate. */
    const endpoint = (server: string): string => (server === '' ? `/mcp/${ORG}` : `/mcp/${ORG}/${server}`);

    function token(person: string, more: TokenOptions = {}): string {
      const { client = 'agent-1', scopes = ALL_SCOPES, server = 'notes', audience, claims, header, ...mint } = more;
      return issuer.mint(
        {
          sub: `${person}@corp`,
          client_id: client,
          scope: scopes.join(' '),
          aud: audience ?? gateway.listener.resourceUrl(server === '' ? null : server),
          ...claims,
        },
        header,
        mint,
      );
    }

    const kept = new Map<string, string>();
    /** The same token for the same wish, so that tests run on the verifier's cache as clients do. */
    function tokenFor(server: string, how: CallOptions): string {
      if (how.token !== undefined) return how.token;
      const { as = 'dana', client = 'agent-1', scopes = ALL_SCOPES } = how;
      const key = JSON.stringify([server, as, client, scopes]);
      const known = kept.get(key) ?? token(as, { client, scopes, server });
      kept.set(key, known);
      return known;
    }

    /** Posts raw bytes to a server's endpoint; the headers of JSON over HTTP are there unless taken away. */
    function post(server: string, body: string | Uint8Array | JsonObject, headers: Headers = {}): Promise<Answer> {
      const raw = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
      return send('POST', endpoint(server), { ...JSON_HEADERS, ...headers }, raw);
    }

    const sessions = new Map<string, Promise<string>>();
    /** A legacy session as this client opens it: initialize, then initialized. */
    async function openSession(
      server: string,
      bearer: string,
      version = LEGACY,
      capabilities: JsonObject = {},
    ): Promise<string> {
      const authorization = `Bearer ${bearer}`;
      const opened = await post(server, initialize(version, capabilities), { authorization });
      const session = opened.headers['mcp-session-id'];
      if (typeof session !== 'string') throw new Error(`no session: ${opened.status} ${opened.text}`);
      await post(
        server,
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { authorization, 'mcp-session-id': session, 'mcp-protocol-version': version },
      );
      return session;
    }

    /** One well-formed request of either era. Legacy opens a session on first use and keeps it. */
    async function requestOf(
      server: string,
      method: string,
      params: JsonObject,
      how: CallOptions,
    ): Promise<{ readonly body: JsonObject; readonly headers: Headers }> {
      const { era = 'modern', id = 7, capabilities = {}, meta } = how;
      const bearer = tokenFor(server, how);
      const authorization = `Bearer ${bearer}`;
      if (era === 'modern') {
        const _meta = { ...ENVELOPE, [`${META}clientCapabilities`]: capabilities, ...meta };
        const body = { jsonrpc: '2.0', id, method, params: { ...params, _meta } };
        return { body, headers: { authorization, ...modernHeaders(method, params), ...how.headers } };
      }
      let { session } = how;
      if (session === undefined && method !== 'initialize') {
        const key = JSON.stringify([server, bearer, capabilities]);
        const opening = sessions.get(key) ?? openSession(server, bearer, LEGACY, capabilities);
        sessions.set(key, opening);
        opening.catch(() => sessions.delete(key));
        session = await opening;
      }
      return {
        body: { jsonrpc: '2.0', id, method, params: meta === undefined ? params : { ...params, _meta: meta } },
        headers: { authorization, 'mcp-protocol-version': LEGACY, 'mcp-session-id': session, ...how.headers },
      };
    }

    async function ask(server: string, method: string, params: JsonObject, how: CallOptions = {}): Promise<Answer> {
      const { body, headers } = await requestOf(server, method, params, how);
      return post(server, body, headers);
    }

    /** The same, with whatever comes before the reply. */
    async function live(server: string, method: string, params: JsonObject, how: CallOptions = {}): Promise<LiveCall> {
      const { body, headers } = await requestOf(server, method, params, how);
      return {
        ...sendLive('POST', endpoint(server), { ...JSON_HEADERS, ...headers }, body),
        say: (message) => post(server, { jsonrpc: '2.0', ...message }, headers),
      };
    }

    /** Looks at a server's tools now and waits until what was seen is in force. */
    async function look(server: string): Promise<void> {
      await gateway.refresh(server);
      await caughtUp();
    }

    /** What the review (`integrity/review.ts`) makes of what the server shows now. */
    function reviewed(server: string, name: string, risk: RiskClass, scope: string): Write {
      const id = toolId(server, name);
      const stored = view.get('tool', ORG, id);
      if (!stored) throw new Error(`nobody has seen ${id}`);
      const record = ToolRecord.parse(stored.body);
      const review = { risk, scope, justification: 'test', by: 'sven', at: clock.now() };
      const decided = approve(record, { ...review, expectedDigest: record.observed!.digest });
      if (!decided.ok) throw new Error(JSON.stringify(decided.error));
      return { kind: 'tool', org: ORG, id, body: decided.value, expectedRevision: stored.revision };
    }

    async function addServer(id: string, spec: ServerSpec = {}): Promise<Sink> {
      const { era = 'modern', answer = 'json' } = spec;
      const sink = await startSink({ era, answer });
      closers.push(() => sink.close());
      const tools = spec.tools ?? TOOLS;
      sink.setTools(tools.map(({ definition }) => definition));
      spec.script?.(sink);
      sinks.set(id, sink);
      const record = Server.parse({
        title: `The ${id}`,
        owner: 'omar',
        purpose: 'is called by tests',
        environment: 'production',
        dataClasses: ['internal'],
        state: 'enabled',
        timeoutMs: 30_000,
        ...spec.record,
        upstream: {
          transport: 'http',
          url: spec.url ?? sink.url,
          era,
          allowedNetworks: ['127.0.0.1/32'],
          headers: [],
          ...spec.upstream,
        },
      });
      await commit([{ kind: 'server', org: ORG, id, body: record }]);
      if (record.state !== 'enabled') return sink;
      await look(id);
      const written = spec.url
        ? []
        : tools.map(({ definition, risk, scope }) => reviewed(id, definition['name'] as string, risk, scope));
      const named = new Set(written.map((write) => write.id));
      for (const { id: item, body } of spec.url || spec.script ? view.records('tool', ORG) : []) {
        const record = ToolRecord.parse(body);
        if (record.server !== id || named.has(item)) continue;
        const key = itemKey(record.kind, record.name);
        const { risk: given = 'read' } = spec;
        const risk = typeof given === 'function' ? given(key) : given;
        if (risk !== null) written.push(reviewed(id, key, risk, 'notes:read'));
      }
      await commit(written);
      return sink;
    }

    await Promise.all(Object.entries(options.servers ?? { notes: {} }).map(([id, spec]) => addServer(id, spec)));

    return {
      dir,
      url,
      issuer,
      gateway,
      state,
      view,
      audit,
      ledger,
      verifier,
      pool,
      broker,
      accounts,
      faults,
      logged,
      clock,
      adminUrl: adminPlane?.url ?? null,
      send,
      post,
      ask,
      live,
      sendLive,
      openSession,
      token,
      commit,
      caughtUp,
      look,
      addServer,
      approveTool: (server: string, name: string, risk: RiskClass, scope: string) =>
        commit([reviewed(server, name, risk, scope)]),
      endpoint,
      resource: (server: string) => gateway.listener.resourceUrl(server),
      sink(server = 'notes'): Sink {
        const sink = sinks.get(server);
        if (!sink) throw new Error(`no sink ${server}`);
        return sink;
      },
      call: (server: string, tool: string, args: JsonObject, how: CallOptions = {}) =>
        ask(server, 'tools/call', { name: tool, arguments: args }, how),
      /** Names of the tools this person is shown. */
      async names(server: string, how: CallOptions = {}): Promise<readonly string[]> {
        const { result, text, status } = await ask(server, 'tools/list', {}, how);
        if (!Array.isArray(result?.['tools'])) throw new Error(`no list: ${status} ${text}`);
        return (result['tools'] as JsonObject[]).map(({ name }) => name as string);
      },
      /** One request of a person under /api/v1 of the admin plane. */
      admin(person: string, method: string, path: string, body?: JsonObject, more: Headers = {}): Promise<Answer> {
        if (!adminPlane) throw new Error('start the rig with admin: true');
        const bearer = issuer.mint({
          sub: `${person}@corp`,
          client_id: 'remit-cli',
          aud: `${adminPlane.url}/api/v1`,
          scope: 'admin:read admin:write',
        });
        const json = body === undefined ? {} : { 'content-type': 'application/json' };
        const headers = { authorization: `Bearer ${bearer}`, ...json, ...more };
        return send(
          method,
          `/api/v1${path}`,
          headers,
          body === undefined ? undefined : JSON.stringify(body),
          adminPlane.url,
        );
      },
      setPerson: (id: string, roles: readonly Role[], more: Partial<Person> = {}) =>
        commit([personWrite(id, roles, more)]),
      /** Writes a policy, or (null) removes it. */
      policy: (id: string, text: string | null) =>
        commit([
          {
            kind: 'policy',
            org: ORG,
            id,
            body: text === null ? null : PolicyRecord.parse({ description: 'test', text, state: 'active' }),
          },
        ]),
      async setServer(id: string, change: Partial<Server>): Promise<void> {
        const stored = view.get('server', ORG, id);
        const body = Server.parse({ ...stored?.body, ...change }) as JsonObject;
        await commit([{ kind: 'server', org: ORG, id, body }]);
      },
      /** In force when it resolves. */
      async lock(subject: LockSubject, until: number | null = null): Promise<string> {
        const id = newId('lock', clock);
        const body = Lock.parse({ subject, reason: 'test', by: 'ada', until });
        await commit([{ kind: 'lock', org: ORG, id, body }]);
        return id;
      },
      unlock: (id: string) => commit([{ kind: 'lock', org: ORG, id, body: null }]),
      /** The whole log, oldest first. */
      async entries(...kinds: readonly EntryKind[]): Promise<readonly AuditEntry[]> {
        const found = await tailEntries(realLedger, ORG, 100_000);
        return found.map(({ entry }) => entry).filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
      },
      /** The entries that carry this reference, among the newest 512. */
      async about(reference: string | undefined): Promise<readonly AuditEntry[]> {
        if (reference === undefined) return [];
        const { entries } = await findEntries(realLedger, ORG, { ref: reference }, { maxScan: 512 });
        return entries.map(({ entry }) => entry);
      },
      /** Every byte of every file of the installation as one latin1 text, to grep for what must not be kept. */
      disk(): string {
        const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
        return files.map((file) => readFileSync(join(file.parentPath, file.name), 'latin1')).join('\n');
      },
      until,
      stop,
    };
  }
}

const META = 'io.modelcontextprotocol/';
export const LEGACY = '2025-11-25';
export const JSON_HEADERS = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
} as const;

export const ENVELOPE: JsonObject = {
  [`${META}protocolVersion`]: '2026-07-28',
  [`${META}clientInfo`]: { name: 'test-client', version: '1' },
  [`${META}clientCapabilities`]: {},
};

export function modernMessage(method: string, params: JsonObject = {}, id: string | number = 7): JsonObject {
  return { jsonrpc: '2.0', id, method, params: { ...params, _meta: ENVELOPE } };
}

export function modernHeaders(method: string, params: JsonObject = {}): Record<string, string> {
  const { name, uri } = params;
  const named = method === 'tools/call' || method === 'prompts/get' ? name : method === 'resources/read' ? uri : null;
  return {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': method,
    ...(typeof named === 'string' && { 'mcp-name': named }),
  };
}

export function initialize(version = LEGACY, capabilities: JsonObject = {}): JsonObject {
  const params = { protocolVersion: version, capabilities, clientInfo: { name: 'test-client', version: '1' } };
  return { jsonrpc: '2.0', id: 1, method: 'initialize', params };
}

function answerOf(status: number, headers: IncomingHttpHeaders, text: string): Answer {
  let body: JsonObject = {};
  try {
    const value = JSON.parse(text) as JsonObject | null;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) body = value;
  } catch {
    // Not every answer is JSON; those tests read `text`.
  }
  const reference = /(?:Reference: |"(?:remit\/)?reference":")(call_[0-9a-z]+)/.exec(text)?.[1];
  const { result, error } = body;
  return {
    status,
    headers,
    text,
    body,
    result: result as JsonObject | undefined,
    error: error as Answer['error'],
    reference,
  };
}
