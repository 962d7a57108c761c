/**
 * What an access token says of a person beyond RFC 9068: their organisation, how and when they signed in, and by which
 * grant and session the token came, so that either can be ended (docs/decisions/0009). Tokens without a person are not made here.
 */
import { errors } from 'oidc-provider';
import type { Configuration } from 'oidc-provider';
import { clientFacts } from './client-facts.ts';
import type { TokenClaims } from './client-facts.ts';
import { mayUse } from './federation/organisation.ts';
import type { TrustedGateway } from './resources.ts';
import type { UserDirectory } from './users.ts';

type ExtraTokenClaims = NonNullable<Configuration['extraTokenClaims']>;

/** What the engine keeps with a code and carries over to the refresh token. Its types leave `sessionUid` out of some. */
interface SignInFacts {
  readonly acr?: string | undefined;
  readonly amr?: string[] | undefined;
  readonly authTime?: number | undefined;
  readonly sessionUid?: string | undefined;
}

export function personClaims(
  directory: UserDirectory,
  more: TokenClaims,
  gateways: readonly TrustedGateway[],
): ExtraTokenClaims {
  return async (ctx, token) => {
    if (token.kind !== 'AccessToken' || token.accountId === undefined) return undefined;
    const person = await directory.find(token.accountId);
    if (person === null || token.client === undefined) throw new errors.InvalidGrant('the person is gone');
    // ID-01: every token for a person passes here, by whatever grant it comes.
    if (!mayUse(gateways, person, String(token.aud)))
      throw new errors.InvalidTarget('the person may not use this resource');
    const { AuthorizationCode, RefreshToken, DeviceCode } = ctx.oidc.entities;
    const signIn = (RefreshToken ?? AuthorizationCode ?? DeviceCode ?? {}) as SignInFacts;
    return {
      ...person.forwarded,
      ...more({ person, client: clientFacts(token.client), resource: String(token.aud) }),
      org: person.organisation ?? 'default',
      ...(token.grantId !== undefined && { grant_id: token.grantId }),
      ...(signIn.sessionUid !== undefined && { sid: signIn.sessionUid }),
      // Zero: the identity provider does not say when.
      ...(signIn.authTime !== undefined && signIn.authTime > 0 && { auth_time: signIn.authTime }),
      ...(signIn.acr !== undefined && { acr: signIn.acr }),
      ...(signIn.amr !== undefined && { amr: signIn.amr }),
      ...(person.groups !== undefined && { groups: person.groups }),
    };
  };
}
