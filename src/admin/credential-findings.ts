/** What somebody should look at about the values of credentials: ending, ended, too old, one secret in several places, exceptions that are over. */
import { Credential, SOON_MS, endOf, inUse, sharersOf } from '../inventory/credentials.ts';
import type { AdminContext } from './context.ts';
import { itemsOf } from './records.ts';

export interface CredentialFinding {
  readonly kind: 'credential';
  readonly id: string;
  readonly title: string;
  readonly code: string;
  readonly message: string;
}

export function credentialFindings(ctx: AdminContext): readonly CredentialFinding[] {
  const now = ctx.clock.now();
  const all = itemsOf(ctx, 'credential', Credential).filter(({ state }) => state !== 'retired' && state !== 'draft');
  return all.flatMap((credential) => {
    const { id, title, sharing, maxAgeDays } = credential;
    const list: CredentialFinding[] = [];
    const add = (code: string, message: string): void =>
      void list.push({ kind: 'credential', id, title, code, message });
    const version = inUse(credential);
    const endsAt = endOf(credential);
    if (version !== undefined && endsAt !== null) {
      const ended = version.expiresAt !== null && version.expiresAt <= now;
      if (ended) add('credential_expired', 'Its value has ended, so nothing is called with it. Give it a new one.');
      else if (endsAt <= now)
        add(
          'credential_too_old',
          `Its value is older than ${maxAgeDays} days, so nothing is called with it. Give it a new one.`,
        );
      else if (endsAt - now <= SOON_MS)
        add(
          'credential_expiring',
          `Its value is of no use from ${new Date(endsAt).toISOString().slice(0, 10)} on. Give it a new one.`,
        );
      if (version.expiresAt === null) add('credential_no_expiry', 'Its value has no end. Give it one that ends.');
    }
    const excepted = sharing !== undefined && sharing.until > now;
    if (sharing !== undefined && !excepted)
      add(
        'credential_sharing_over',
        'The exception by which it is shared is over. Use a secret for each server, or agree anew.',
      );
    if (!excepted) {
      const sharers = sharersOf(credential, all);
      if (sharers.length > 0)
        add(
          'credential_shared',
          `One secret reaches several servers: ${[...new Set(sharers.map((one) => one.id))].join(', ')}. Use one for each.`,
        );
    }
    return list;
  });
}
