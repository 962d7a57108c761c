/** The accounts of all servers of this process: one per server, of its definition as it is now, made when somebody needs it. */
import { digestOf } from '../../lib/canonical-json.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Account, type AccountTarget, serverAccount } from './account.ts';
import type { SecretReference } from '../target.ts';
import { type Consent, consents } from './consent.ts';
import { authFault } from './faults.ts';
import { type HeldTokens, heldTokens } from './held-tokens.ts';
import type { Holder } from './holder.ts';
import { type LinkStore, isLinkOf, linkKey, linksInMemory } from './link.ts';
import { type Revoked, sumOf } from './revocation.ts';

export interface AccountsOptions {
  readonly clock: Clock;
  readonly resolveSecret: (reference: SecretReference, serverId: string) => Promise<string>;
  /** Default: links end with this process. */
  readonly links?: LinkStore;
}

/** Of one person where the server's `auth` is per person; null or left out: of the gateway. */
export type ForWhom = Pick<Holder, 'person'> | null;

export interface ServerAccounts {
  /** The same one for the same definition and holder, however many connections there are. */
  of(serverId: string, target: AccountTarget, holder?: Holder | null): Account;
  /** The token that a call came with, for an account that exists already. */
  present(serverId: string, holder: Holder): void;
  /** For servers with the grant `authorization_code`. `redirectUri` gets the answer; only `by` may finish. @throws UpstreamFault */
  begin(
    serverId: string,
    target: AccountTarget,
    request: { readonly redirectUri: string; readonly by: string; readonly forWhom?: ForWhom },
  ): Promise<Consent>;
  /** @throws UpstreamFault */
  finish(serverId: string, target: AccountTarget, callback: string, by: string, forWhom?: ForWhom): Promise<void>;
  /** Whether there is a link; says nothing about whether it still holds. */
  isLinked(serverId: string, forWhom: ForWhom): Promise<boolean>;
  /** Gives one link back (RFC 7009) and forgets it. */
  unlink(serverId: string, target: AccountTarget, forWhom: ForWhom): Promise<Revoked>;
  /** Gives back every token that is held for a server, of everybody, and forgets it; `links`: what was consented to, too (NH-06). */
  revoke(serverId: string, target?: AccountTarget): Promise<Revoked>;
  /** The same for everything that is held for a person, at all servers. Links of servers that nobody used since the start are forgotten. */
  revokePerson(person: string): Promise<Revoked>;
  /** The server is gone, and so is what belonged to it. */
  forget(serverId: string): Promise<void>;
  /** What lives now, for whoever recognises it in content: in memory, never shown. */
  readonly held: Pick<HeldTokens, 'revision' | 'values'>;
}

/** More people at once than these ask for their tokens again. */
const MAX_ACCOUNTS = 10_000;

interface Kept {
  readonly serverId: string;
  readonly person: string | null;
  readonly definition: string;
  readonly account: Account;
}

export function serverAccounts({ clock, resolveSecret, links = linksInMemory() }: AccountsOptions): ServerAccounts {
  const accounts = new Map<string, Kept>();
  const held = heldTokens(clock);
  const flow = consents();
  const keyOf = (serverId: string, holder: Holder | null): string =>
    holder === null ? serverId : `${serverId}/${holder.key}`;

  function of(serverId: string, target: AccountTarget, holder: Holder | null = null): Account {
    const { url, allowedNetworks, auth } = target;
    const definition = digestOf({ url, allowedNetworks, auth });
    const key = keyOf(serverId, holder);
    const known = accounts.get(key);
    if (known?.definition === definition) {
      if (holder !== null) known.account.present(holder);
      return known.account;
    }
    const ofServer = (reference: SecretReference): Promise<string> => resolveSecret(reference, serverId);
    const account = serverAccount({
      serverId,
      target,
      clock,
      resolveSecret: ofServer,
      links,
      holder,
      hold: (tokens) => held.hold(key, serverId, tokens),
    });
    accounts.delete(key);
    if (accounts.size >= MAX_ACCOUNTS) accounts.delete(accounts.keys().next().value!);
    accounts.set(key, { serverId, person: holder?.person ?? null, definition, account });
    return account;
  }

  const linker = (forWhom: ForWhom | undefined): Holder | null =>
    forWhom == null ? null : { person: forWhom.person, key: forWhom.person, token: null };

  async function revokeAll(which: (kept: Kept) => boolean, alsoLinks: boolean): Promise<Revoked> {
    const found = [...accounts.values()].filter(which);
    return sumOf(await Promise.all(found.map(({ account }) => account.revoke(alsoLinks))));
  }

  return {
    of,
    held,
    present: (serverId, holder) => accounts.get(keyOf(serverId, holder))?.account.present(holder),
    begin: async (serverId, target, { forWhom, ...request }) => {
      const { auth } = target;
      if (auth.grant !== 'authorization_code')
        throw authFault(`the server gets its tokens by ${auth.grant}; there is nothing to agree to`);
      return flow.begin(serverId, of(serverId, target, linker(forWhom)), auth, request);
    },
    finish: (serverId, target, callback, by, forWhom) =>
      flow.finish(serverId, of(serverId, target, linker(forWhom)), callback, by),
    isLinked: async (serverId, forWhom) => (await links.read(linkKey(serverId, forWhom?.person ?? null))) !== null,
    unlink: (serverId, target, forWhom) => of(serverId, target, linker(forWhom)).revoke(true),
    revoke: async (serverId, target) => {
      // With the definition at hand links that nobody used since the start are given back, too.
      if (target?.auth.grant === 'authorization_code')
        for (const key of await links.keys())
          if (isLinkOf(key, serverId))
            of(serverId, target, key === serverId ? null : linker({ person: key.slice(serverId.length + 1) }));
      return revokeAll((kept) => kept.serverId === serverId, target !== undefined);
    },
    revokePerson: async (person) => {
      const done = await revokeAll((kept) => kept.person === person, true);
      let left = 0;
      for (const key of await links.keys()) {
        if (!key.endsWith(`/${person}`) || key.slice(key.indexOf('/') + 1) !== person) continue;
        await links.write(key, null);
        left++;
      }
      return { revoked: done.revoked, left: done.left + left };
    },
    forget: async (serverId) => {
      for (const [key, kept] of accounts) if (kept.serverId === serverId) accounts.delete(key);
      held.drop(serverId);
      for (const key of await links.keys()) if (isLinkOf(key, serverId)) await links.write(key, null);
    },
  };
}
