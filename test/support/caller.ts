/** A caller as a verified token of a person's client would give it; what a test is about replaces a member. */
import type { Caller } from '../../src/identity/caller.ts';

export function callerLike(members: Partial<Caller> = {}): Caller {
  return {
    issuer: 'https://issuer.example',
    subject: 'user-1',
    clientId: 'agent-1',
    alone: false,
    scopes: new Set(),
    tokenId: 'jti-1',
    issuedAt: 1,
    expiresAt: 2,
    actChain: [],
    grantId: null,
    sessionId: null,
    acr: null,
    amr: [],
    authTime: null,
    keyThumbprint: null,
    attributes: {},
    ...members,
  };
}
