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
}

export function consents(db: DatabaseSync, clock: Clock): Consents {
  const select = db.prepare('SELECT scopes FROM consent WHERE account_id = ? AND client_id = ? AND resource = ?');
  const upsert = db.prepare(
    `INSERT INTO consent (account_id, client_id, resource, scopes, given_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (account_id, client_id, resource) DO UPDATE SET scopes = excluded.scopes, given_at = excluded.given_at`,
  );
  const allowed = (key: ConsentKey): ReadonlySet<string> => {
    const row = select.get(key.accountId, key.clientId, key.resource);
    return new Set(row ? String(row['scopes']).split(' ').filter(Boolean) : []);
  };
  return {
    allowed,
    remember: (key, scopes) => {
      const all = [...new Set([...allowed(key), ...scopes])].sort().join(' ');
      upsert.run(key.accountId, key.clientId, key.resource, all, Math.floor(clock.now() / 1_000));
    },
  };
}
