/**
 * The pages of a real admin listener with people who sign in at a real authorization server of Remit. Nothing is scripted but the browser,
 * and `test/browser` has a real one of those.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { AdminContext } from '../../../src/admin/context.ts';
import { requestApproval, type Circumstances } from '../../../src/approvals/machine.ts';
import { startAuthServer } from '../../../src/authserver/server.ts';
import { definitionDigest } from '../../../src/integrity/definition.ts';
import { agentKey } from '../../../src/inventory/agents.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { browser, cookieJar, signInAndConsent } from '../../support/browser.ts';
import type { Page } from '../../support/browser.ts';
import { freePorts } from '../../support/processes.ts';
import { STRICT_SIGN_IN } from '../../support/sign-in.ts';
import { READ_FILE, startPlane, type Name } from '../plane.ts';

export const PEOPLE = ['dana', 'petra', 'abel', 'aiko', 'sven', 'nobody'] as const satisfies readonly Name[];
/** Evaluation users have a password and nothing else. */
export const ONE_FACTOR = { ...STRICT_SIGN_IN, unsafeNoSecondFactor: true };

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export type PagesRig = Awaited<ReturnType<typeof startPages>>;

export async function startPages(
  options: {
    readonly facts?: Partial<AdminContext['facts']>;
    readonly limits?: { readonly idleMs?: number; readonly maxMs?: number };
    readonly wrap?: (ctx: AdminContext) => AdminContext;
    readonly accessSeconds?: number;
  } = {},
) {
  const port = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const dataDir = mkdtempSync(join(tmpdir(), 'remit-pages-'));
  const auth = await startAuthServer(
    {
      issuer: 'http://127.0.0.1:0',
      listen: { host: '127.0.0.1', port: 0 },
      dataDir,
      trustedGateways: [{ origin: url }],
      evaluationUsers: true,
      requestsPerMinute: 100_000,
      lifetimes: { accessSeconds: options.accessSeconds ?? 600 },
    },
    { log: pino({ level: 'silent' }) },
  );
  const users = await auth.createEvaluationUsers(
    PEOPLE.map((username) => ({ username, name: `${username} of the tests`, email: `${username}@example.com` })),
  );
  const rule = { allowedNetworks: ['127.0.0.1/32'], requireHttps: false };
  const plane = await startPlane({
    trust: { issuer: auth.issuer, subjects: Object.fromEntries(users.map(({ username, sub }) => [username, sub])) },
    people: PEOPLE,
    facts: { port, clients: ['remit-cli', 'remit-console'], signIn: ONE_FACTOR, ...options.facts },
    wrap: (ctx) => {
      const withPages: AdminContext = {
        ...ctx,
        pages: {
          clientId: 'remit-console',
          issuer: auth.issuer,
          scope: 'admin:read admin:write offline_access',
          idleMs: options.limits?.idleMs ?? 1_800_000,
          maxMs: options.limits?.maxMs ?? 28_800_000,
          rule,
        },
      };
      return options.wrap?.(withPages) ?? withPages;
    },
  });
  const delegate = { title: 'Pages', kind: 'delegate', state: 'active', roles: [], ceiling: {} };
  const definition = definitionDigest(READ_FILE);
  await plane.seed([
    plane.put(
      'agent',
      'agent_pages',
      { ...delegate, issuer: auth.issuer, clientId: 'remit-console' },
      agentKey(auth.issuer, 'remit-console'),
    ),
    plane.put('server', 'files', {
      title: 'Files',
      owner: 'sven',
      purpose: 'keeps documents',
      environment: 'production',
      dataClasses: ['internal'],
      timeoutMs: 30_000,
      upstream: { transport: 'stdio', command: ['node', '/opt/files.js'] },
      state: 'enabled',
    }),
    plane.put('tool', 'files/read_file', {
      server: 'files',
      name: 'read_file',
      observed: { digest: definition, definition: READ_FILE, seenAt: 1 },
      approved: {
        digest: definition,
        definition: READ_FILE,
        risk: 'destructive',
        scope: 'files:write',
        justification: 'documents are removed with it',
        by: 'sven',
        at: 1,
      },
    }),
  ]);

  const passwordOf = (username: string): string => users.find((user) => user.username === username)?.password ?? '';

  /** One browser profile. Its cookies are sent to every port of this machine, as browsers do. */
  function profile() {
    const jar = cookieJar();
    async function fetchPage(
      method: string,
      path: string,
      init: { headers?: Record<string, string>; body?: string } = {},
    ): Promise<Reply> {
      const at = new URL(path, url);
      const cookie = jar.header(at);
      const response = await fetch(at, {
        method,
        redirect: 'manual',
        headers: { ...(cookie !== '' && { cookie }), ...init.headers },
        ...(init.body !== undefined && { body: init.body }),
      });
      jar.store(at, response);
      return { status: response.status, headers: response.headers, text: await response.text() };
    }
    return {
      jar,
      get: (path: string, headers: Record<string, string> = {}) => fetchPage('GET', path, { headers }),
      /** As a browser posts a form of our own page; `headers` change what it says of itself, '' leaves one out. */
      post(path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Reply> {
        const all = {
          origin: url,
          'sec-fetch-site': 'same-origin',
          'content-type': 'application/x-www-form-urlencoded',
          ...headers,
        };
        return fetchPage('POST', path, {
          headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')),
          body: new URLSearchParams(fields).toString(),
        });
      },
      /** Follows the link of the pages, signs in, and lands where the pages send. */
      async signIn(username: string, path = '/session/sign-in'): Promise<Page> {
        const landed = await this.land(await this.authorize(username, path));
        if ('leftFor' in landed) throw new Error(`sent on to ${landed.leftFor.href}`);
        return landed.page;
      },
      /** The address that the authorization server sends the browser to, not opened. */
      async authorize(username: string, path = '/session/sign-in'): Promise<URL> {
        const begun = await fetchPage('GET', path);
        const password = passwordOf(username);
        return signInAndConsent({
          authorizationUrl: begun.headers.get('location') ?? '',
          username,
          password,
          decision: 'allow',
          jar,
        });
      },
      land: (callback: URL) => browser(jar).open(callback),
    };
  }

  return {
    url,
    plane,
    auth,
    rule,
    profile,
    passwordOf,
    definition,
    /** A held call of dana's. Its digest. */
    async hold(
      id: string,
      args: JsonObject,
      more: { person?: string; agent?: string; expiresInMs?: number } & Circumstances = {},
    ): Promise<string> {
      const { person = 'dana', agent = 'agent-7', expiresInMs = 600_000, ...circumstances } = more;
      const call = {
        org: 'default',
        person,
        agent,
        server: 'files',
        tool: 'read_file',
        definition,
        arguments: args,
        terms: {},
      };
      const approval = requestApproval(call, Date.now(), expiresInMs, circumstances);
      await plane.seed([plane.put('approval', id, approval)]);
      return approval.call;
    },
    async state(id: string): Promise<unknown> {
      const record = plane.follower.records.get('approval', 'default', id);
      return record?.body['state'];
    },
    async close() {
      await plane.close();
      await auth.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

export type Profile = ReturnType<PagesRig['profile']>;

/** The hidden fields of the form that leads to `action`. */
export function formOf(html: string, action: string): Record<string, string> {
  const form = html
    .split('<form ')
    .slice(1)
    .map((part) => part.split('</form>')[0] ?? '')
    .find((part) => part.includes(`action="${action}"`));
  if (form === undefined) throw new Error(`no form for ${action}`);
  return Object.fromEntries(
    [...form.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)].map(([, name, value]) => [name, value]),
  );
}
