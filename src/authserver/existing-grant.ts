/**
 * Whether a request may go on without asking the person: only for a client whose redirect address proves who it is, and
 * for what the person allowed it before. Each flow gets a grant of its own. RFC 8252 section 8.6, RFC 9700 section 2.4.
 */
import type { Configuration } from 'oidc-provider';
import { CONSENTS_CLIENT } from './consents-page.ts';
import type { Consents } from './consents.ts';
import { grantScopes, wordsOf } from './scopes.ts';

/** @param silentNatives also for native clients, whose name any program on the machine can take: unsafe */
export function existingGrant(
  consents: Consents,
  silentNatives: boolean,
): NonNullable<Configuration['loadExistingGrant']> {
  return async (ctx) => {
    const { result, account, client, params } = ctx.oidc;
    const given = result?.consent?.grantId;
    if (given !== undefined) return ctx.oidc.provider.Grant.find(given);
    if (client?.clientId === CONSENTS_CLIENT && account !== undefined) {
      const grant = new ctx.oidc.provider.Grant({ accountId: account.accountId, clientId: client.clientId });
      grant.addOIDCScope('openid');
      await grant.save();
      return grant;
    }
    // Whoever asks by a code is somewhere else: nothing that the person allowed before says that it is theirs.
    if (ctx.oidc.route !== 'authorization' && ctx.oidc.route !== 'resume') return undefined;
    const silent = client?.applicationType !== 'native' || silentNatives;
    const resource = params?.['resource'];
    if (!silent || account === undefined || client === undefined || typeof resource !== 'string') return undefined;
    const asked = wordsOf(params?.['scope']);
    const before = consents.allowed({ accountId: account.accountId, clientId: client.clientId, resource });
    if (asked.length === 0 || !asked.every((scope) => before.has(scope))) return undefined;
    const grant = new ctx.oidc.provider.Grant({ accountId: account.accountId, clientId: client.clientId });
    grantScopes(grant, resource, asked);
    await grant.save();
    return grant;
  };
}
