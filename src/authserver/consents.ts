/**
 * What a person allowed a client to do at a resource, remembered. Each flow still gets a grant of its own, so that
 * a stolen refresh token of one installation ends that family and no other. Does not decide whether the page is shown.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../lib/clock.ts';

interface ConsentKey {
  readonly accountId: string;
  readonly clientId: string;
  readonly resource: string;
}

export interface Consents {
  /** Scopes allowed before; empty when never. */
  allowed(key: ConsentKey): ReadonlySet<string>;
  /** Adds to what was allowed before. */
  remember(key: ConsentKey, scopes: Iterable<string>): void;
  /** Everything a person allowed, newest first. */
  list(accountId: string): readonly GivenConsent[];
  /** Forgets it. Returns the grants that came of it and must end now: the caller ends them, so that who must know is told. */
  revoke(key: ConsentKey): readonly string[];
}

export interface GivenConsent {
  readonly clientId: string;
  readonly resource: string;
  readonly scopes: readonly string[];
  /** Milliseconds since the epoch. */
  readonly givenAt: number;
}

export function consents(db: DatabaseSync, clock: Clock): Consents {
  const select = db.prepare('SELECT scopes FROM consent WHERE account_id = ? AND client_id = ? AND resource = ?');
  const upsert = db.prepare(
    `INSERT INTO consent (account_id, client_id, resource, scopes, given_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (account_id, client_id, resource) DO UPDATE SET scopes = excluded.scopes, given_at = excluded.given_at`,
  );
  const all = db.prepare(
    'SELECT client_id, resource, scopes, given_at FROM consent WHERE account_id = ? ORDER BY given_at DESC, client_id, resource',
  );
  const remove = db.prepare('DELETE FROM consent WHERE account_id = ? AND client_id = ? AND resource = ?');
  const grants = db.prepare(
    `SELECT id, payload FROM entity WHERE model = 'Grant' AND account_id = ? AND client_id = ?`,
  );
  const allowed = (key: ConsentKey): ReadonlySet<string> => {
    const row = select.get(key.accountId, key.clientId, key.resource);
    return new Set(row ? String(row['scopes']).split(' ').filter(Boolean) : []);
  };
  return {
    allowed,
    remember: (key, scopes) => {
      const together = [...new Set([...allowed(key), ...scopes])].sort().join(' ');
      upsert.run(key.accountId, key.clientId, key.resource, together, Math.floor(clock.now() / 1_000));
    },
    list: (accountId) =>
      all.all(accountId).map((row) => ({
        clientId: String(row['client_id']),
        resource: String(row['resource']),
        scopes: String(row['scopes']).split(' ').filter(Boolean),
        givenAt: Number(row['given_at']) * 1_000,
      })),
    revoke: ({ accountId, clientId, resource }) => {
      remove.run(accountId, clientId, resource);
      return grants.all(accountId, clientId).flatMap((row) => {
        const { resources } = JSON.parse(String(row['payload'])) as { resources?: Record<string, string> };
        return resources !== undefined && Object.hasOwn(resources, resource) ? [String(row['id'])] : [];
      });
    },
  };
}
