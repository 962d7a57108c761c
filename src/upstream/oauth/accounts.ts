/** The accounts of all servers of this process: one per server, of its definition as it is now, made when somebody needs it. */
import { digestOf } from '../../lib/canonical-json.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Account, type AccountTarget, serverAccount } from './account.ts';
import type { SecretReference } from '../target.ts';
import { type Consent, consents } from './consent.ts';
import { authFault } from './faults.ts';
import { type LinkStore, linksInMemory } from './link.ts';

export interface AccountsOptions {
  readonly clock: Clock;
  readonly resolveSecret: (reference: SecretReference, serverId: string) => Promise<string>;
  /** Default: links end with this process. */
  readonly links?: LinkStore;
}

export interface ServerAccounts {
  /** The same one for the same definition, however many connections there are. */
  of(serverId: string, target: AccountTarget): Account;
  /** For servers with the grant `authorization_code`. `redirectUri` gets the answer; only `by` may finish. @throws UpstreamFault */
  begin(
    serverId: string,
    target: AccountTarget,
    request: { readonly redirectUri: string; readonly by: string },
  ): Promise<Consent>;
  /** @throws UpstreamFault */
  finish(serverId: string, target: AccountTarget, callback: string, by: string): Promise<void>;
  /** The server is gone, and so is what belonged to it. */
  forget(serverId: string): Promise<void>;
}

export function serverAccounts({ clock, resolveSecret, links = linksInMemory() }: AccountsOptions): ServerAccounts {
  const accounts = new Map<string, { readonly definition: string; readonly account: Account }>();
  const flow = consents();

  function of(serverId: string, target: AccountTarget): Account {
    const { url, allowedNetworks, auth } = target;
    const definition = digestOf({ url, allowedNetworks, auth });
    const known = accounts.get(serverId);
    if (known?.definition === definition) return known.account;
    const ofServer = (reference: SecretReference): Promise<string> => resolveSecret(reference, serverId);
    const account = serverAccount({ serverId, target, clock, resolveSecret: ofServer, links });
    accounts.set(serverId, { definition, account });
    return account;
  }

  return {
    of,
    begin: async (serverId, target, request) => {
      const { auth } = target;
      if (auth.grant !== 'authorization_code')
        throw authFault(`the server gets its tokens by ${auth.grant}; there is nothing to agree to`);
      return flow.begin(serverId, of(serverId, target), auth, request);
    },
    finish: (serverId, target, callback, by) => flow.finish(serverId, of(serverId, target), callback, by),
    forget: async (serverId) => {
      accounts.delete(serverId);
      await links.write(serverId, null);
    },
  };
}
