/**
 * What takes effect back: the one place where sessions, grants, codes and refresh tokens end, and where access tokens that
 * are already out are remembered as void. Whoever ends something calls here, so that nobody who must know is forgotten.
 * Access tokens are JWTs: the gateway refuses them by its own records (docs/decisions/0009), introspection by ours.
 */
import type { DatabaseSync } from 'node:sqlite';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { inTransaction } from './database.ts';

/** Who ended it. `event`: somebody told us, so they know already. */
export type EndedBy = 'client' | 'person' | 'reuse' | 'administrator' | 'event';

export type Revoked = { readonly by: EndedBy; readonly at: number } & (
  | { readonly kind: 'grant'; readonly grantId: string; readonly sub: string | null; readonly clientId: string | null }
  | { readonly kind: 'client'; readonly clientId: string }
  | { readonly kind: 'person'; readonly sub: string }
  | { readonly kind: 'session'; readonly sid: string; readonly sub: string | null }
  /** One access token. `expiresAt` in seconds, like its `exp`. */
  | { readonly kind: 'token'; readonly jti: string; readonly clientId: string; readonly expiresAt: number }
);

/** Whose grant it was, from who knows it: the engine tells of a grant after it has deleted it. */
export interface GrantFacts {
  readonly sub: string | null;
  readonly clientId: string | null;
}

export interface Endings {
  /** Sessions, grants, codes and refresh tokens of a person; their access tokens of now and before are void. */
  endPerson(sub: string, by: EndedBy): void;
  /** The same of a client, for everybody. New tokens are the business of the client policy. */
  endClient(clientId: string, by: EndedBy): void;
  /** A grant that is not there any more is told of again: what hangs on it may still be out. */
  endGrant(grantId: string, by: EndedBy, known?: GrantFacts): void;
  /** The browser session and every grant that came of it. `sid` is the claim of our tokens. */
  endSession(sid: string, by: EndedBy): void;
  endToken(token: { readonly jti: string; readonly clientId: string; readonly expiresAt: number }, by: EndedBy): void;
  /** Is this access token of ours void although it has not expired? Times in seconds. */
  isVoid(token: {
    readonly jti: string;
    readonly iat: number;
    readonly sub: string;
    readonly clientId: string;
    readonly grantId: string | null;
    readonly sid: string | null;
  }): boolean;
  /** Called after the end is durable, in the order of registration. A listener that throws ends the request: it must not. */
  onRevoked(listener: (revoked: Revoked) => void): void;
  /** Forgets what no unexpired token can hang on any more. */
  sweep(): void;
}

/** @param tokenSeconds longest life of an access token: so long an end is remembered. */
export function endings(db: DatabaseSync, clock: Clock, tokenSeconds: number): Endings {
  const listeners: ((revoked: Revoked) => void)[] = [];
  const nowSeconds = (): number => Math.floor(clock.now() / 1_000);
  const findGrant = db.prepare(`SELECT account_id, client_id FROM entity WHERE model = 'Grant' AND id = ?`);
  const sessionsOfPerson = db.prepare(
    `SELECT uid FROM entity WHERE account_id = ? AND model = 'Session' AND uid IS NOT NULL`,
  );
  const grantsOfPerson = db.prepare(`DELETE FROM entity WHERE account_id = ? AND model <> 'ReplayDetection'`);
  const grantsOfClient = db.prepare(
    `DELETE FROM entity WHERE client_id = ? AND model NOT IN ('Client', 'ReplayDetection', 'InitialAccessToken')`,
  );
  const ofGrant = db.prepare(`DELETE FROM entity WHERE grant_id = ?1 OR (model = 'Grant' AND id = ?1)`);
  const session = db.prepare(`SELECT id, account_id, payload FROM entity WHERE model = 'Session' AND uid = ?`);
  const grantsOfSession = db.prepare(
    `SELECT DISTINCT grant_id FROM entity WHERE grant_id IS NOT NULL AND json_extract(payload, '$.sessionUid') = ?`,
  );
  const removeSession = db.prepare(`DELETE FROM entity WHERE model = 'Session' AND uid = ?`);
  const remember = db.prepare(
    `INSERT INTO ended (kind, id, ended_at, forget_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (kind, id) DO UPDATE SET ended_at = excluded.ended_at, forget_at = excluded.forget_at`,
  );
  const endedAt = db.prepare('SELECT ended_at FROM ended WHERE kind = ? AND id = ?');
  const forget = db.prepare('DELETE FROM ended WHERE forget_at <= ?');

  const record = (kind: Revoked['kind'], id: string, forgetAt = nowSeconds() + tokenSeconds + 60): void =>
    void remember.run(kind, id, nowSeconds(), forgetAt);
  const tell = (revoked: Revoked): void => {
    for (const listener of listeners) listener(revoked);
  };
  const endedSince = (kind: Revoked['kind'], id: string, iat: number): boolean => {
    const row = endedAt.get(kind, id);
    // `iat` has whole seconds: the second of the end counts as before it.
    return row !== undefined && Number(row['ended_at']) >= iat;
  };
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

  const endGrant = (grantId: string, by: EndedBy, known?: GrantFacts): void => {
    const facts = inTransaction(db, () => {
      const found = findGrant.get(grantId);
      ofGrant.run(grantId);
      record('grant', grantId);
      return found;
    });
    const sub = text(facts?.['account_id']) ?? known?.sub ?? null;
    const clientId = text(facts?.['client_id']) ?? known?.clientId ?? null;
    tell({ kind: 'grant', grantId, sub, clientId, by, at: clock.now() });
  };

  return {
    endPerson: (sub, by) => {
      inTransaction(db, () => {
        // Remembered one by one, so that no request under way saves one of them again (adapter.ts).
        for (const row of sessionsOfPerson.all(sub)) record('session', String(row['uid']));
        grantsOfPerson.run(sub);
        record('person', sub);
      });
      tell({ kind: 'person', sub, by, at: clock.now() });
    },
    endClient: (clientId, by) => {
      inTransaction(db, () => {
        grantsOfClient.run(clientId);
        record('client', clientId);
      });
      tell({ kind: 'client', clientId, by, at: clock.now() });
    },
    endGrant,
    endSession: (sid, by) => {
      const sub = inTransaction(db, () => {
        const found = session.get(sid);
        for (const row of grantsOfSession.all(sid)) ofGrant.run(String(row['grant_id']));
        removeSession.run(sid);
        record('session', sid);
        return text(found?.['account_id']);
      });
      tell({ kind: 'session', sid, sub, by, at: clock.now() });
    },
    endToken: ({ jti, clientId, expiresAt }, by) => {
      record('token', sha256Hex(jti), expiresAt + 60);
      tell({ kind: 'token', jti, clientId, expiresAt, by, at: clock.now() });
    },
    isVoid: ({ jti, iat, sub, clientId, grantId, sid }) =>
      endedAt.get('token', sha256Hex(jti)) !== undefined ||
      endedSince('person', sub, iat) ||
      endedSince('client', clientId, iat) ||
      (sid !== null && endedSince('session', sid, iat)) ||
      (grantId !== null && findGrant.get(grantId) === undefined),
    onRevoked: (listener) => void listeners.push(listener),
    sweep: () => void forget.run(nowSeconds()),
  };
}
