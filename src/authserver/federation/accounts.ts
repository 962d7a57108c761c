/**
 * What is known of people who signed in through a provider, kept so that refresh and consent work without asking the
 * provider again. Promises: somebody whose provider is gone, or no longer serves their organisation, is nobody.
 * What stands here is as old as the last sign-in; who may do what is the gateway's decision.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../lib/clock.ts';
import type { SignedInPerson, UserDirectory } from '../users.ts';
import type { FederatedPerson, Forwarded } from './mapping.ts';
import { organisationsOf } from './settings.ts';
import type { IdentityProvider } from './settings.ts';
import type { SignInFacts } from './step-up.ts';

export interface FederatedAccounts extends UserDirectory {
  save(person: FederatedPerson, facts: SignInFacts): void;
}

export function federatedAccounts(
  db: DatabaseSync,
  providers: readonly IdentityProvider[],
  clock: Clock,
): FederatedAccounts {
  const upsert = db.prepare(
    `INSERT INTO federated_account (sub, provider, organisation, name, email, claims, upstream_session, acr, amr, auth_time, signed_in_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (sub) DO UPDATE SET organisation = excluded.organisation, name = excluded.name, email = excluded.email,
       claims = excluded.claims, upstream_session = excluded.upstream_session, acr = excluded.acr, amr = excluded.amr,
       auth_time = excluded.auth_time, signed_in_at = excluded.signed_in_at`,
  );
  const select = db.prepare('SELECT * FROM federated_account WHERE sub = ?');

  return {
    find: async (sub): Promise<SignedInPerson | null> => {
      const row = select.get(sub);
      if (row === undefined) return null;
      const provider = providers.find(({ id }) => id === row['provider']);
      const organisation = String(row['organisation']);
      if (provider === undefined || !organisationsOf(provider).includes(organisation)) return null;
      const claims = JSON.parse(String(row['claims'])) as Forwarded;
      // A claim that the settings forward no more is not forwarded from memory.
      const { groups, ...forwarded } = Object.fromEntries(
        Object.entries(claims).filter(([name]) => provider.forward.includes(name)),
      );
      return {
        sub,
        name: String(row['name']),
        email: row['email'] === null ? '' : String(row['email']),
        organisation,
        ...(Array.isArray(groups) && { groups: groups as readonly string[] }),
        forwarded,
      };
    },
    save: (person, facts) => {
      upsert.run(
        person.account,
        person.account.slice(0, person.account.indexOf('|')),
        person.organisation,
        person.name,
        person.email,
        JSON.stringify(person.forwarded),
        person.upstreamSession,
        facts.acr,
        JSON.stringify(facts.amr),
        facts.authTime,
        Math.floor(clock.now() / 1_000),
      );
    },
  };
}

/** As of their last sign-in; null: they never came. Says nothing of whether they may come now. */
export function federatedOrganisation(db: DatabaseSync, sub: string): string | null {
  const row = db.prepare('SELECT organisation FROM federated_account WHERE sub = ?').get(sub);
  return row === undefined ? null : String(row['organisation']);
}

/** Somebody was purged where they belong: what is known of them goes. Does not end what runs (endings.ts). */
export function forgetFederated(db: DatabaseSync, sub: string): void {
  db.prepare('DELETE FROM federated_account WHERE sub = ?').run(sub);
}
