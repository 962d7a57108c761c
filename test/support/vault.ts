/**
 * A server of the documented HTTP API of HashiCorp Vault, as far as a reader of secrets needs it: KV 2 with versions, delete, destroy and
 * `delete_version_after`, tokens with leases, renewal and revocation, AppRole, JWT logins, namespaces, policies by path, seal.
 * It stands in for Vault where no binary of it can be had; it shares no code with the product. `requests` is what it received.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

type Json = Record<string, unknown>;
interface Version {
  readonly data: Json;
  deletedAt: number | null;
  destroyed: boolean;
}
interface Token {
  ttl: number;
  endsAt: number;
  readonly maxEndsAt: number;
  readonly renewable: boolean;
  /** Paths that it may read, as prefixes of `mount/data/path`. */
  readonly policy: readonly string[];
}
export interface VaultRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
export interface TestVault {
  readonly url: string;
  readonly requests: readonly VaultRequest[];
  sealed: boolean;
  /** In seconds since the start of the server, added to the clock: leases run out without waiting. */
  skewMs: number;
  /** Writes a version, as `vault kv put`. Returns its number. */
  put(path: string, data: Json, deleteAfterMs?: number): number;
  remove(path: string): void;
  destroy(path: string): void;
  token(options?: { ttl?: number; renewable?: boolean; policy?: readonly string[]; maxTtl?: number }): string;
  revoke(token: string): void;
  live(): readonly string[];
  /** What AppRole and JWT logins are answered by. */
  readonly roles: {
    roleId: string;
    secretId: string;
    jwtRole: string;
    jwt: string;
    ttl: number;
    maxTtl: number;
    policy: readonly string[];
  };
  /** Answers instead, once. */
  next: { readonly status: number; readonly body: string; readonly type?: string } | null;
  close(): Promise<void>;
}

export async function startVault({ namespace = '' }: { readonly namespace?: string } = {}): Promise<TestVault> {
  const requests: VaultRequest[] = [];
  const secrets = new Map<string, Version[]>();
  const tokens = new Map<string, Token>();
  const now = (): number => Date.now() + vault.skewMs;

  const issue = (ttl: number, maxTtl: number, renewable: boolean, policy: readonly string[]): string => {
    const token = `hvs.${randomUUID()}`;
    tokens.set(token, { ttl, endsAt: now() + ttl * 1000, maxEndsAt: now() + maxTtl * 1000, renewable, policy });
    return token;
  };
  const auth = (token: string): Json => {
    const { endsAt, renewable, ttl } = tokens.get(token)!;
    const lease = ttl === 0 ? 0 : Math.max(0, Math.round((endsAt - now()) / 1000));
    return {
      auth: { client_token: token, accessor: randomUUID(), policies: ['default'], lease_duration: lease, renewable },
    };
  };
  const errors = (status: number, ...messages: string[]) => ({ status, body: { errors: messages } as Json });

  function answer({ method, path, headers, body }: VaultRequest): { status: number; body: Json } {
    if (vault.sealed) return errors(503, 'Vault is sealed');
    if ((headers['x-vault-namespace'] ?? '') !== namespace) return errors(404, 'no handler for route');
    const form = body === '' ? {} : (JSON.parse(body) as Json);
    const at = path.replace(/^\/v1\//, '');
    const { roles } = vault;
    if (method === 'POST' && at === 'auth/approle/login')
      return form['role_id'] === roles.roleId && form['secret_id'] === roles.secretId
        ? { status: 200, body: auth(issue(roles.ttl, roles.maxTtl, true, roles.policy)) }
        : errors(400, 'invalid role or secret ID');
    if (method === 'POST' && at === 'auth/kubernetes/login')
      return form['role'] === roles.jwtRole && form['jwt'] === roles.jwt
        ? { status: 200, body: auth(issue(roles.ttl, roles.maxTtl, true, roles.policy)) }
        : errors(403, 'permission denied');
    const presented = String(headers['x-vault-token'] ?? '');
    const held = tokens.get(presented);
    if (held === undefined || (held.ttl > 0 && held.endsAt <= now())) {
      tokens.delete(presented);
      return errors(403, 'permission denied', 'invalid token');
    }
    if (method === 'GET' && at === 'auth/token/lookup-self')
      return {
        status: 200,
        body: {
          data: { ttl: held.ttl === 0 ? 0 : Math.round((held.endsAt - now()) / 1000), renewable: held.renewable },
        },
      };
    if (method === 'POST' && at === 'auth/token/renew-self') {
      if (!held.renewable) return errors(400, 'lease is not renewable');
      held.endsAt = Math.min(now() + held.ttl * 1000, held.maxEndsAt);
      return { status: 200, body: auth(presented) };
    }
    if (method === 'GET' && /^[^?]+\/data\/[^?]+$/.test(at)) {
      const name = decodeURIComponent(at);
      if (!held.policy.some((prefix) => name.startsWith(prefix)))
        return errors(403, '1 error occurred:\n\t* permission denied\n\n');
      const versions = secrets.get(name.replace('/data/', '/'));
      const last = versions?.at(-1);
      if (versions === undefined || last === undefined) return errors(404);
      const metadata = {
        created_time: '2026-11-22T08:00:00.000000000Z',
        custom_metadata: null,
        deletion_time: last.deletedAt === null ? '' : new Date(last.deletedAt).toISOString(),
        destroyed: last.destroyed,
        version: versions.length,
      };
      const gone = last.destroyed || (last.deletedAt !== null && last.deletedAt <= now());
      return {
        status: gone ? 404 : 200,
        body: {
          request_id: randomUUID(),
          lease_id: '',
          renewable: false,
          lease_duration: 0,
          data: { data: gone ? null : last.data, metadata },
          wrap_info: null,
          warnings: null,
          auth: null,
        },
      };
    }
    return errors(404, 'no handler for route');
  }

  const server = createServer((incoming, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of incoming) body += String(chunk);
      const request = { method: incoming.method ?? '', path: incoming.url ?? '', headers: incoming.headers, body };
      requests.push(request);
      const scripted = vault.next;
      vault.next = null;
      const said =
        scripted ??
        (() => {
          const { status, body: value } = answer(request);
          return { status, body: JSON.stringify(value), type: 'application/json' };
        })();
      response.writeHead(said.status, { 'content-type': said.type ?? 'application/json' });
      response.end(said.body);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const vault: TestVault = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sealed: false,
    skewMs: 0,
    next: null,
    roles: {
      roleId: randomUUID(),
      secretId: randomUUID(),
      jwtRole: 'remit',
      jwt: `jwt-${randomUUID()}`,
      ttl: 600,
      maxTtl: 3600,
      policy: ['secret/data/'],
    },
    put: (path, data, deleteAfterMs) => {
      const versions = secrets.get(path) ?? [];
      versions.push({ data, deletedAt: deleteAfterMs === undefined ? null : now() + deleteAfterMs, destroyed: false });
      secrets.set(path, versions);
      return versions.length;
    },
    remove: (path) => void (secrets.get(path)!.at(-1)!.deletedAt = now()),
    destroy: (path) => void (secrets.get(path)!.at(-1)!.destroyed = true),
    token: ({ ttl = 0, renewable = false, policy = ['secret/data/'], maxTtl = 3600 } = {}) =>
      issue(ttl, maxTtl, renewable, policy),
    revoke: (token) => void tokens.delete(token),
    live: () => [...tokens.keys()],
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return vault;
}
