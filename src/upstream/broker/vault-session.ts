/**
 * A login at HashiCorp Vault: the token that requests carry, renewed before it ends, got anew when it cannot be. Methods: a token that
 * somebody gives us, AppRole, and JWT logins as Kubernetes has them (a token of the platform, read anew for every login).
 * Promises: one login at a time; no message holds a token or what Vault answered.
 */
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { isFault } from '../../lib/fault.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import { type DialRule, guardedRequest } from '../dial.ts';
import type { SecretReference } from '../target.ts';
import { secretFault } from './secret-source.ts';

export type VaultLogin =
  | { readonly method: 'token'; readonly token: SecretReference }
  | { readonly method: 'approle'; readonly mount: string; readonly roleId: string; readonly secretId: SecretReference }
  | { readonly method: 'jwt'; readonly mount: string; readonly role: string; readonly jwt: SecretReference };

export interface VaultOptions {
  /** Origin, for example https://vault.example.com:8200. */
  readonly address: string;
  readonly namespace: string | null;
  readonly login: VaultLogin;
  readonly rule: DialRule;
  readonly clock: Clock;
  /** For what the login itself needs: environment and files of the operator. */
  readonly resolveSecret: (reference: SecretReference) => Promise<string>;
}

export interface VaultAnswer {
  readonly status: number;
  readonly body: unknown;
}

const MAX_ANSWER_BYTES = 256 * 1024;
const Login = z.object({
  auth: z.object({
    client_token: z.string().regex(/^[\x21-\x7e]{1,4096}$/),
    lease_duration: z.number().int().min(0).max(315_360_000),
    renewable: z.boolean(),
  }),
});
const Own = z.object({ data: z.object({ ttl: z.number().int().min(0), renewable: z.boolean().default(false) }) });

interface Held {
  readonly token: string;
  /** ms since the epoch: from then on it is renewed; null: it has no end. */
  readonly renewAt: number | null;
  /** From then on it is worth nothing. */
  readonly endsAt: number | null;
  readonly renewable: boolean;
}

export interface VaultSession {
  /** GET below /v1/ with a token of ours; a token that was refused is replaced once. @throws SecretFault */
  get(path: string): Promise<VaultAnswer>;
}

export function vaultSession(options: VaultOptions): VaultSession {
  const { address, namespace, login, rule, clock, resolveSecret } = options;
  let held: Held | null = null;
  let flight: Promise<Held> | null = null;

  async function ask(method: 'GET' | 'POST', path: string, token: string | null, body?: object): Promise<VaultAnswer> {
    try {
      const answer = await guardedRequest(`${address}/v1/${path}`, {
        rule,
        method,
        headers: {
          accept: 'application/json',
          // Vault's own guard against being asked through a confused proxy.
          'x-vault-request': 'true',
          ...(token !== null && { 'x-vault-token': token }),
          ...(namespace !== null && { 'x-vault-namespace': namespace }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        maxBytes: MAX_ANSWER_BYTES,
      });
      const parsed = parseStrictJson(answer.body, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 16 });
      return { status: answer.status, body: parsed.ok ? parsed.value : null };
    } catch (error) {
      throw secretFault('secret_unavailable', 'the vault does not answer', isFault(error) ? error : undefined);
    }
  }

  const from = (token: string, seconds: number, renewable: boolean): Held => {
    const now = clock.now();
    if (seconds === 0) return { token, renewAt: null, endsAt: null, renewable: false };
    // Two thirds of its life, as Vault's own clients do.
    return { token, renewAt: now + (seconds * 2_000) / 3, endsAt: now + seconds * 1_000, renewable };
  };

  function taken({ status, body }: VaultAnswer, what: string): Held {
    const parsed = Login.safeParse(body);
    if (status === 200 && parsed.success) {
      const { client_token: token, lease_duration: seconds, renewable } = parsed.data.auth;
      return from(token, seconds, renewable);
    }
    throw refusal(status, what);
  }

  async function logIn(): Promise<Held> {
    switch (login.method) {
      case 'token': {
        const token = await resolveSecret(login.token);
        const answer = await ask('GET', 'auth/token/lookup-self', token);
        // A token that may not look at itself has the right to be narrow; its end is then found out by a refusal.
        const own = answer.status === 200 ? Own.safeParse(answer.body) : null;
        if (answer.status >= 500) throw refusal(answer.status, 'the look at the token');
        return own?.success ? from(token, own.data.data.ttl, own.data.data.renewable) : from(token, 0, false);
      }
      case 'approle': {
        const secret = await resolveSecret(login.secretId);
        const body = { role_id: login.roleId, secret_id: secret };
        return taken(await ask('POST', `auth/${login.mount}/login`, null, body), 'the login by AppRole');
      }
      case 'jwt': {
        const jwt = await resolveSecret(login.jwt);
        const body = { role: login.role, jwt };
        return taken(await ask('POST', `auth/${login.mount}/login`, null, body), 'the login by JWT');
      }
    }
  }

  async function renewed(old: Held): Promise<Held> {
    if (old.renewable && old.endsAt !== null && clock.now() < old.endsAt) {
      const answer = await ask('POST', 'auth/token/renew-self', old.token, {}).catch(() => null);
      if (answer !== null) {
        try {
          const next = taken(answer, 'the renewal');
          // The longest life of a token shortens its renewals until they are none: then it takes a new login.
          if (next.endsAt === null || next.endsAt > old.endsAt) return next;
        } catch {
          // A login says what is wrong.
        }
      }
    }
    try {
      return await logIn();
    } catch (error) {
      // Still good for a while: whoever reads now does not suffer from a vault that is being restarted.
      if (old.endsAt !== null && clock.now() < old.endsAt) return { ...old, renewAt: clock.now() + 5_000 };
      throw error;
    }
  }

  /** Single flight. */
  function current(): Promise<Held> | Held {
    if (held !== null && (held.renewAt === null || clock.now() < held.renewAt)) return held;
    const old = held;
    flight ??= (old === null ? logIn() : renewed(old)).then((next) => (held = next)).finally(() => (flight = null));
    return flight;
  }

  return {
    get: async (path) => {
      const using = await current();
      const answer = await ask('GET', path, using.token);
      if (answer.status !== 403) return answer;
      // Revoked, or not permitted: Vault says the same to both, so a new token finds out.
      if (held === using) held = null;
      const next = await current();
      return next.token === using.token ? answer : ask('GET', path, next.token);
    },
  };
}

/** What a status of Vault means; nothing of the answer is quoted. */
export function refusal(status: number, what: string) {
  if (status === 503) return secretFault('secret_unavailable', `${what}: the vault is sealed or in maintenance (503)`);
  if (status >= 500 || status === 429 || status === 412 || status === 472 || status === 473)
    return secretFault('secret_unavailable', `${what}: the vault answered ${status}`);
  if (status === 400 || status === 403)
    return secretFault('secret_refused', `${what}: the vault refuses it (${status})`);
  return secretFault('secret_unavailable', `${what}: the vault answered ${status} with nothing that can be used`);
}
