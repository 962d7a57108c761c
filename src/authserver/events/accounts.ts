/**
 * People whom a gateway reported as inactive: they cannot sign in, finish a sign-in or use a code until it reports them active again, or gone.
 * The gateway refuses them by its own records anyway; this spares them a sign-in that leads nowhere, and everybody else their tokens.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../lib/clock.ts';
import type { AuthServerSettings } from '../config.ts';
import { federatedOrganisation } from '../federation/accounts.ts';
import { DEFAULT_ORGANISATION } from '../federation/organisation.ts';
import { organisationsOf } from '../federation/settings.ts';
import type { UserDirectory } from '../users.ts';

export interface DisabledAccounts {
  has(sub: string): boolean;
  set(sub: string, disabled: boolean, by: string): void;
}

export function disabledAccounts(db: DatabaseSync, clock: Clock): DisabledAccounts {
  const find = db.prepare('SELECT 1 FROM event_disabled WHERE sub = ?');
  const add = db.prepare('INSERT OR IGNORE INTO event_disabled (sub, told_by, since) VALUES (?, ?, ?)');
  // Whoever said so takes it back; another gateway's word that somebody is active does not.
  const remove = db.prepare('DELETE FROM event_disabled WHERE sub = ? AND told_by = ?');
  return {
    has: (sub) => find.get(sub) !== undefined,
    set: (sub, disabled, by) => {
      if (disabled) add.run(sub, by, Math.floor(clock.now() / 1_000));
      else remove.run(sub, by);
    },
  };
}

/** The directory without them. It is asked at every step of a sign-in and for every token. */
export const enabledOnly = (directory: UserDirectory, disabled: Pick<DisabledAccounts, 'has'>): UserDirectory => ({
  find: async (sub) => (disabled.has(sub) ? null : directory.find(sub)),
});

/** Every organisation that the settings name, also one whose gateway sends no events. */
export const organisationsHere = (settings: AuthServerSettings): ReadonlySet<string> =>
  new Set([
    ...settings.events.gateways.map(({ organisation }) => organisation),
    ...settings.trustedGateways.map(({ organisation }) => organisation),
    ...settings.identityProviders.flatMap(organisationsOf),
    ...settings.grants.assertionIssuers.identityProviders.map(({ organisation }) => organisation),
  ]);

/** Of which organisations somebody can be. Who is not there (inactive, never seen) is of one that their provider serves, or of none. */
export const organisationsOfAccount =
  (db: DatabaseSync, settings: AuthServerSettings, directory: UserDirectory) =>
  async (sub: string): Promise<readonly string[]> => {
    const person = await directory.find(sub);
    if (person !== null) return [person.organisation ?? DEFAULT_ORGANISATION];
    const bar = sub.indexOf('|');
    if (bar < 0) return [DEFAULT_ORGANISATION];
    const known = federatedOrganisation(db, sub);
    if (known !== null) return [known];
    const id = sub.slice(0, bar);
    return [
      ...settings.identityProviders.filter((provider) => provider.id === id).flatMap(organisationsOf),
      ...settings.grants.assertionIssuers.identityProviders
        .filter((provider) => provider.id === id)
        .map(({ organisation }) => organisation),
    ];
  };
