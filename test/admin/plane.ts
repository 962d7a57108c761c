/**
 * A whole admin plane for tests: the real listener over a real SQLite state store, ledger and audit log, real tokens of a real issuer.
 * Only the catalogue is scripted (nothing runs behind it), and `wrap` lets a test put a fault between the plane and one of its parts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argumentsBox } from '../../src/approvals/sealed-arguments.ts';
import { breakGlass } from '../../src/admin/break-glass.ts';
import type { ClaimCode } from '../../src/admin/claim.ts';
import type { AdminContext } from '../../src/admin/context.ts';
import { refusals } from '../../src/admin/refusals.ts';
import { startAdmin } from '../../src/admin/server.ts';
import { loadOrCreateLogKey } from '../../src/audit/keys.ts';
import { openAuditLog } from '../../src/audit/log.ts';
import { tailEntries } from '../../src/audit/query.ts';
import { personKey, type Role } from '../../src/directory/records.ts';
import { buildSnapshot, type Snapshot } from '../../src/gateway/snapshot.ts';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { itemKey, toolId } from '../../src/integrity/records.ts';
import type { ItemKind } from '../../src/integrity/records.ts';
import { honeytokenBox } from '../../src/inventory/honeytokens.ts';
import type { Lock } from '../../src/inventory/records.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { BASELINE } from '../../src/policy/baseline.ts';
import { followState } from '../../src/store/follower.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import type { Write } from '../../src/store/state.ts';
import { testBroker } from '../support/broker.ts';
import { startIssuer } from '../support/issuer.ts';
import { STRICT_SIGN_IN } from '../support/sign-in.ts';

const ORG = 'default';
/** Seals the arguments of held calls. */
export const HELD_KEY: Uint8Array = new Uint8Array(32).fill(7);

/** Directory ids by what they may do. `ada` is the administrator. */
const PEOPLE = {
  ada: ['administrator'],
  abel: ['administrator'],
  sven: ['security_reviewer'],
  omar: ['operator'],
  aiko: ['auditor'],
  petra: ['approver'],
  dana: ['developer'],
  nobody: [],
} as const satisfies Record<string, readonly Role[]>;
export type Name = keyof typeof PEOPLE;

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Record<string, unknown> & { readonly error?: Record<string, unknown> };
}

export type Plane = Awaited<ReturnType<typeof startPlane>>;

export async function startPlane(
  options: {
    readonly wrap?: (ctx: AdminContext) => AdminContext;
    readonly facts?: Partial<AdminContext['facts']>;
    readonly claim?: ClaimCode;
    /** Directory ids that are there; default: all of them. */
    readonly people?: readonly Name[];
    /** Trusts this issuer instead of the test's own, for people whose subjects are given. */
    readonly trust?: { readonly issuer: string; readonly subjects: Readonly<Record<string, string>> };
  } = {},
) {
  const dir = mkdtempSync(join(tmpdir(), 'remit-admin-'));
  const clock = systemClock;
  const issuer = await startIssuer();
  const { trust } = options;
  const state = await openSqliteState(join(dir, 'state.db'));
  const ledger = await openSqliteLedger(join(dir, 'ledger.db'));
  const signer = await loadOrCreateLogKey(join(dir, 'keys'), `remit/${ORG}`);
  const log = await openAuditLog({
    ledger,
    org: ORG,
    origin: `remit/${ORG}`,
    signer,
    clock,
    node: 'node-1',
    checkpointEveryMs: 0,
    onFatal: () => undefined,
  });

  const put = (kind: string, id: string, body: object, key?: string): Write => ({
    kind,
    org: ORG,
    id,
    body: body as JsonObject,
    ...(key === undefined ? {} : { key }),
  });
  const seed = (writes: readonly Write[]) => state.commit({ actor: 'test', reason: 'seed', writes });
  await seed([
    put('organisation', ORG, { title: 'Test', issuers: [trust?.issuer ?? issuer.issuer], newAgents: 'active' }),
    ...['remit-cli', 'agent-7'].map((clientId, at) =>
      put(
        'agent',
        `agent_${at}`,
        {
          issuer: trust?.issuer ?? issuer.issuer,
          clientId,
          title: clientId,
          kind: 'delegate',
          state: 'active',
          roles: [],
          ceiling: {},
        },
        `${trust?.issuer ?? issuer.issuer} ${clientId}`,
      ),
    ),
    ...BASELINE.map(({ id, text }) => put('policy', id, { description: 'baseline', text, state: 'active' })),
    ...Object.entries(PEOPLE)
      .filter(([name]) => options.people?.includes(name as Name) ?? true)
      .map(([name, roles]) =>
        put(
          'person',
          name,
          {
            issuer: trust?.issuer ?? issuer.issuer,
            subject: trust?.subjects[name] ?? name,
            name,
            state: 'active',
            roles,
          },
          personKey(trust?.issuer ?? issuer.issuer, trust?.subjects[name] ?? name),
        ),
      ),
  ]);

  let snapshot: Snapshot | null = null;
  const follower = await followState(state, {
    clock,
    pollMs: 50,
    apply: ({ revision, records, changed }) => {
      const kinds = new Set(changed.map(({ kind }) => kind));
      snapshot = buildSnapshot({
        org: ORG,
        revision,
        at: clock.now(),
        records: (kind) => records.list(kind, ORG),
        previous: snapshot,
        changed: kinds,
      });
    },
  });

  const { records } = follower;
  const broker = testBroker(
    ORG,
    {
      get: (kind, org, id) => records.get(kind, org, id),
      records: (kind, org) => records.list(kind, org),
      get revision() {
        return follower.revision;
      },
    },
    clock,
  );
  /** Credentials whose tokens were given back. */
  const revoked: string[] = [];
  const logged: Array<{ readonly level: string; readonly fields: unknown; readonly message: string }> = [];
  const locks: Lock[] = [];
  const decided: string[] = [];
  const write = (level: string) => (fields: object, message: string) => void logged.push({ level, fields, message });
  const plainLog = { debug: write('debug'), warn: write('warn'), error: write('error') };
  const plain: AdminContext = {
    facts: {
      host: '127.0.0.1',
      port: 0,
      publicUrl: null,
      allowedHosts: [],
      mcpUrl: 'http://127.0.0.1:1',
      issuers: [trust?.issuer ?? issuer.issuer],
      version: '0.0.0-test',
      unsafeKeys: [],
      unsafeAuthorMayActivate: false,
      unusedGrantsEndAfterDays: 0,
      unsafeOnePersonMayDecide: false,
      ownerlessAfterHours: 24,
      clients: ['remit-cli', 'agent-7'],
      signIn: STRICT_SIGN_IN,
      freshnessLimitMs: 10_000,
      longestTokenMs: 3_610_000,
      posture: {},
      ...options.facts,
    },
    org: ORG,
    node: 'node-1',
    clock,
    state,
    follower,
    snapshot: () => snapshot!,
    audit: { log, ledger, verifierKey: signer.vkey.text },
    verifier: createTokenVerifier({
      issuers: [trust === undefined ? { issuer: issuer.issuer, jwksUri: issuer.jwksUri } : { issuer: trust.issuer }],
      fetchJwks: async (url) => (await fetch(url)).json(),
    }),
    stopped(_id, lock) {
      locks.push(lock);
      return { calls: 0, settled: Promise.resolve({ calls: 0, unfinished: 0, tokensRevoked: 0, tokensLeft: 0 }) };
    },
    heldArguments: argumentsBox([HELD_KEY], ORG),
    honeytokens: honeytokenBox([HELD_KEY], ORG),
    onApproval: (id) => void decided.push(id),
    catalogue: {
      refresh: () => Promise.resolve({ ok: true, value: { tools: 0, prompts: 0, resources: 0, templates: 0 } }),
      status: () => ({ state: 'ready', seenAt: null, problem: null }),
    },
    isolation: () => [],
    artifacts: { folder: join(dir, 'artifacts'), advisories: () => ({ kind: 'none' }) },
    accounts: {
      begin: () => Promise.reject(new Error('no account is connected here')),
      finish: () => Promise.reject(new Error('no account is connected here')),
      forget: () => Promise.resolve(),
      isLinked: () => Promise.resolve(false),
      unlink: () => Promise.resolve({ revoked: 0, left: 0 }),
      revoke: () => Promise.resolve({ revoked: 0, left: 0 }),
      revokePerson: () => Promise.resolve({ revoked: 0, left: 0 }),
    },
    credentials: { ...broker.vault, revoke: (id) => (revoked.push(id), Promise.resolve({ revoked: 0, left: 0 })) },
    events: null,
    shadows: { report: () => null, reset: () => undefined },
    notices: () => new Map(),
    metrics: null,
    notReady: () => [],
    log: plainLog,
    claim: options.claim ?? null,
    pages: null,
    breakGlass: breakGlass({ audit: { log }, clock, log: plainLog }),
    refusals: refusals({ audit: { log }, clock, log: plainLog }),
  };
  const ctx = options.wrap?.(plain) ?? plain;
  const admin = await startAdmin(ctx);

  const tokenOf = (name: string, claims: Record<string, unknown> = {}): string =>
    issuer.mint({
      sub: name,
      client_id: 'remit-cli',
      aud: `${admin.url}/api/v1`,
      scope: 'admin:read admin:write',
      ...claims,
    });

  async function raw(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ): Promise<Reply> {
    const response = await fetch(`${admin.url}${path}`, {
      method,
      redirect: 'manual',
      headers,
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    let parsed: unknown = null;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not every answer is JSON; those tests read `text`.
    }
    return { status: response.status, headers: response.headers, text, body: (parsed ?? {}) as Reply['body'] };
  }

  return {
    dir,
    url: admin.url,
    issuer,
    state,
    ledger,
    log,
    verifierKey: signer.vkey.text,
    logged,
    locks,
    revoked,
    decided,
    tokenOf,
    raw,
    put,
    follower,
    snapshot: () => snapshot!,
    /** Writes records behind the API's back and waits until the plane sees them. */
    async seed(writes: readonly Write[]) {
      const { revision } = await seed(writes);
      await follower.advanceTo(revision);
      return revision;
    },
    /** One request of a person under /api/v1. */
    as(
      name: string,
      method: string,
      path: string,
      body?: object,
      headers: Record<string, string> = {},
    ): Promise<Reply> {
      const json = body === undefined ? {} : { 'content-type': 'application/json' };
      return raw(
        method,
        `/api/v1${path}`,
        { authorization: `Bearer ${tokenOf(name)}`, ...json, ...headers },
        body === undefined ? undefined : JSON.stringify(body),
      );
    },
    /** Reads a draft and what it would do, and puts it in force. */
    async activate(name: string, policy: string, reason = 'reviewed'): Promise<Reply> {
      const read = await this.as(name, 'GET', `/policies/${policy}`);
      const { body } = await this.as(name, 'GET', `/policies/${policy}/effect?limit=1`);
      const etag = { 'if-match': read.headers.get('etag') ?? '' };
      return this.as(name, 'POST', `/policies/${policy}/activate`, { reason, effect: body['digest'] }, etag);
    },
    /** The same with `If-Match` of what the person reads at `read` just before. */
    async afterReading(name: string, read: string, method: string, path: string, body: object): Promise<Reply> {
      const etag = (await this.as(name, 'GET', read)).headers.get('etag') ?? '';
      return this.as(name, method, path, body, { 'if-match': etag });
    },
    async entries(kind?: string) {
      const found = await tailEntries(ledger, ORG, 1000);
      return found.map(({ entry }) => entry).filter((entry) => kind === undefined || entry.kind === kind);
    },
    async close() {
      await admin.close();
      await broker.close();
      await follower.stop();
      await log.close();
      await ledger.close();
      await state.close();
      await issuer.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** All that a server must say of itself before it is enabled (NH-01). */
export const SERVER = {
  title: 'Files',
  owner: 'omar',
  purpose: 'reads the docs folder',
  environment: 'development',
  dataClasses: ['internal'],
  riskTier: 'low',
  source: { vendor: 'Example', version: '1.2.3', digest: `sha256:${'a'.repeat(64)}` },
  revocation: 'remove its service account at the identity provider',
  reviewBy: 4_102_444_800_000,
  timeoutMs: 30_000,
  upstream: { transport: 'stdio', command: ['node', '/opt/files.js'] },
};

/** A tool record as the catalogue writes it: seen, never approved. */
export function seenTool(
  server: string,
  definition: JsonObject,
  kind: ItemKind = 'tool',
): { readonly id: string; readonly digest: string; readonly body: object } {
  const digest = definitionDigest(definition);
  const member = { tool: 'name', prompt: 'name', resource: 'uri', template: 'uriTemplate', server: '' }[kind];
  const name = kind === 'server' ? 'instructions' : (definition[member] as string);
  return {
    id: toolId(server, itemKey(kind, name)),
    digest,
    body: { server, kind, name, observed: { digest, definition, seenAt: 1_790_000_000_000 }, approved: null },
  };
}

export const READ_FILE: JsonObject = {
  name: 'read_file',
  description: 'Reads a file.',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
};
