/**
 * oidc-provider's storage over our SQLite file. Promises: `consume` succeeds for exactly one caller and revokes the
 * whole grant for every other one; `ReplayDetection` never accepts an id twice; values that act as credentials are
 * stored as hashes. Expired rows are not found, and swept later. Does not know what the payloads mean.
 */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { errors } from 'oidc-provider';
import type { Adapter, AdapterFactory, AdapterPayload } from 'oidc-provider';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { inTransaction } from './database.ts';

/** Whoever knows the id of one of these holds it. A grant id only names a grant. */
const BEARER_MODELS: ReadonlySet<string> = new Set([
  'AuthorizationCode',
  'RefreshToken',
  'AccessToken',
  'Session',
  'Interaction',
  'DeviceCode',
  'PushedAuthorizationRequest',
  'InitialAccessToken',
  'RegistrationAccessToken',
]);

/**
 * These rows hold a credential that the engine needs back: a person finds the code of a device by the one they type. They
 * are sealed with a key of this process; who waits for a device while it restarts asks for a new code.
 */
const needsSealing = (model: string, payload: AdapterPayload): boolean =>
  model === 'DeviceCode' || payload['deviceCode'] !== undefined;

export interface AuthStorage {
  readonly adapter: AdapterFactory;
  /** Deletes what has expired, at most `limit` rows. Returns how many. */
  sweep(limit: number): number;
}

/** @param endReused ends the grant of a code or refresh token that came twice. */
export function authStorage(db: DatabaseSync, clock: Clock, endReused: (grantId: string) => void): AuthStorage {
  const sealing = sealed(randomBytes(32));
  const nowSeconds = (): number => Math.floor(clock.now() / 1_000);
  const select = db.prepare(
    'SELECT payload, consumed_at FROM entity WHERE model = ? AND id = ? AND (expires_at IS NULL OR expires_at > ?)',
  );
  const selectByUid = db.prepare(
    'SELECT payload FROM entity WHERE model = ? AND uid = ? AND (expires_at IS NULL OR expires_at > ?)',
  );
  const selectByUserCode = db.prepare(
    'SELECT payload, consumed_at FROM entity WHERE user_code = ? AND (expires_at IS NULL OR expires_at > ?)',
  );
  const insert = db.prepare(
    'INSERT INTO entity (model, id, payload, expires_at, grant_id, uid, account_id, client_id, user_code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  // `consumed_at` is left alone: saving again never un-consumes.
  const upsert = db.prepare(
    `INSERT INTO entity (model, id, payload, expires_at, grant_id, uid, account_id, client_id, user_code) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (model, id) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at, grant_id = excluded.grant_id,
       uid = excluded.uid, account_id = excluded.account_id, client_id = excluded.client_id`,
  );
  const consume = db.prepare(
    'UPDATE entity SET consumed_at = ? WHERE model = ? AND id = ? AND consumed_at IS NULL AND (expires_at IS NULL OR expires_at > ?)',
  );
  const grantOf = db.prepare('SELECT grant_id FROM entity WHERE model = ? AND id = ?');
  const remove = db.prepare('DELETE FROM entity WHERE model = ? AND id = ?');
  const removeExpired = db.prepare('DELETE FROM entity WHERE model = ? AND id = ? AND expires_at <= ?');
  const sessionEnded = db.prepare(`SELECT 1 FROM ended WHERE kind = 'session' AND id = ?`);
  const removeModelOfGrant = db.prepare('DELETE FROM entity WHERE model = ? AND grant_id = ?');
  const sweep = db.prepare(
    'DELETE FROM entity WHERE (model, id) IN (SELECT model, id FROM entity WHERE expires_at <= ? LIMIT ?)',
  );

  /** The session stands outside: what hangs on one must be found when it ends (endings.ts). */
  const seal = (payload: AdapterPayload): Record<string, unknown> => ({
    sealed: sealing.seal(payload),
    ...(payload['sessionUid'] !== undefined && { sessionUid: payload['sessionUid'] }),
  });

  const adapter = (model: string): Adapter => {
    const stored = (id: string): string => (BEARER_MODELS.has(model) ? sha256Hex(`${model} ${id}`) : id);
    const read = (row: Record<string, unknown> | undefined, id?: string): AdapterPayload | undefined => {
      if (row === undefined) return undefined;
      let payload = JSON.parse(String(row['payload'])) as AdapterPayload;
      if (typeof payload['sealed'] === 'string') {
        const opened = sealing.open(payload['sealed']);
        if (opened === undefined) return undefined;
        payload = opened;
      }
      if (id !== undefined) payload.jti = id;
      if (row['consumed_at'] != null) payload.consumed = Number(row['consumed_at']);
      return payload;
    };
    return {
      upsert: async (id, payload, expiresIn) => {
        // A request that was under way when its session was ended saves it again, and what came of it: it stays ended.
        const session = model === 'Session' ? payload.uid : payload['sessionUid'];
        if (typeof session === 'string' && sessionEnded.get(session) !== undefined) return;
        const expiresAt = expiresIn === undefined ? null : nowSeconds() + expiresIn;
        const values = [
          model,
          stored(id),
          JSON.stringify(needsSealing(model, payload) ? seal(payload) : withoutSecrets(payload)),
          expiresAt,
          payload.grantId ?? null,
          payload.uid ?? null,
          payload.accountId ?? accountOfSignIn(payload),
          payload.clientId ?? null,
          payload.userCode === undefined ? null : sealing.name(payload.userCode),
        ] as const;
        if (model !== 'ReplayDetection') {
          upsert.run(...values);
          return;
        }
        // The engine looks first and saves afterwards; only the insert decides who was first.
        inTransaction(db, () => {
          removeExpired.run(model, stored(id), nowSeconds());
          try {
            insert.run(...values);
          } catch (cause) {
            throw new errors.InvalidRequest('the assertion was already used', 400, { cause });
          }
        });
      },
      find: async (id) => read(select.get(model, stored(id), nowSeconds()), id),
      findByUid: async (uid) => read(selectByUid.get(model, uid, nowSeconds())),
      findByUserCode: async (userCode) => read(selectByUserCode.get(sealing.name(userCode), nowSeconds())),
      consume: async (id) => {
        const now = nowSeconds();
        if (consume.run(now, model, stored(id), now).changes === 1) return;
        // Two came with the same code or refresh token, so one of them is not its owner: neither keeps it
        // (RFC 6749 section 4.1.2, RFC 9700 section 4.14.2). What the winner saves after this hangs on a grant that is gone.
        const grantId = grantOf.get(model, stored(id))?.['grant_id'];
        if (typeof grantId === 'string') endReused(grantId);
        throw new errors.InvalidGrant('already consumed');
      },
      destroy: async (id) => void remove.run(model, stored(id)),
      revokeByGrantId: async (grantId) => void removeModelOfGrant.run(model, grantId),
    };
  };

  return {
    adapter,
    sweep: (limit) => Number(sweep.run(nowSeconds(), limit).changes),
  };
}

/** Whose sign-in is under way: done and not walked to its end, or somebody signed in who is asked. It ends with the person's sessions. */
function accountOfSignIn({ result, session }: AdapterPayload): string | null {
  const account = (result?.['login'] as { accountId?: unknown } | undefined)?.accountId ?? session?.accountId;
  return typeof account === 'string' ? account : null;
}

/** The id is the row's key; an interaction also carries a copy of the session cookie, which nobody reads back. */
function withoutSecrets(payload: AdapterPayload): AdapterPayload {
  const { jti: _, ...rest } = payload;
  if (rest.session?.cookie !== undefined) {
    const { cookie: __, ...session } = rest.session;
    return { ...rest, session };
  }
  return rest;
}

/** AES-256-GCM with a random nonce: far fewer rows than a key may seal in the life of a process. */
function sealed(key: Buffer) {
  return {
    /** A name for something that is easy to guess: without the key, trying all of them finds nothing. */
    name: (text: string): string => createHmac('sha256', key).update(text).digest('hex'),
    seal: (payload: AdapterPayload): string => {
      const nonce = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      const text = Buffer.concat([cipher.update(JSON.stringify(payload), 'utf8'), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url');
    },
    /** undefined for rows of an earlier process. */
    open: (text: string): AdapterPayload | undefined => {
      const bytes = Buffer.from(text, 'base64url');
      try {
        const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12), { authTagLength: 16 });
        cipher.setAuthTag(bytes.subarray(12, 28));
        const json = Buffer.concat([cipher.update(bytes.subarray(28)), cipher.final()]).toString('utf8');
        return JSON.parse(json) as AdapterPayload;
      } catch {
        return undefined;
      }
    },
  };
}
