/**
 * The gateway's account at one server: which token its next request carries, and what a refusal means. Promises: one
 * request for a token at a time, renewed before it ends, dropped once it is refused; tokens live in memory only; a token
 * endpoint that refused is left alone for a while; a server that names another authorization server gets nothing of the old one's.
 * Longer than a page because it is one closure over one token.
 * Not done here: sending, and the consent of an operator (`consent.ts`).
 */
import type { AuthorizationServer } from 'oauth4webapi';
import type { Clock } from '../../lib/clock.ts';
import type { UpstreamFault } from '../connection.ts';
import { credentialFinder } from '../credentials.ts';
import { guardedRequest } from '../dial.ts';
import type { HttpTarget, SseTarget } from '../target.ts';
import type { AuthTarget } from './auth-target.ts';
import { type Challenge, readChallenge } from './challenge.ts';
import { type Identity, type ResolveSecret, configuredIdentity, secretIdentity } from './client.ts';
import { type Site, discover } from './discovery.ts';
import { type ProofKey, proofKey } from './dpop.ts';
import { asAuthFault, authFault, oauthError, unlinkedFault } from './faults.ts';
import { type GrantContext, type Obtained, endpointOf, ownToken } from './grants.ts';
import type { LiveToken } from './held-tokens.ts';
import type { Holder } from './holder.ts';
import { type Link, type LinkStore, linkKey, readLink } from './link.ts';
import { type HeldToken, NOTHING_HELD, type Revoked, revokeTokens } from './revocation.ts';
import { type Endpoint, type Token, requestToken } from './token-endpoint.ts';

export type AccountTarget = Pick<HttpTarget | SseTarget, 'url' | 'allowedNetworks'> & { readonly auth: AuthTarget };

export interface AccountOptions {
  readonly serverId: string;
  readonly target: AccountTarget;
  readonly clock: Clock;
  readonly resolveSecret: ResolveSecret;
  readonly links: LinkStore;
  /** Null: the account of the gateway itself. */
  readonly holder: Holder | null;
  /** Told of everything that lives now whenever that has changed, and before any of it is used. */
  readonly hold: (tokens: readonly LiveToken[]) => void;
}

type ReceivedHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** What one request carries. */
export interface Pass {
  readonly headers: Readonly<Record<string, string>>;
  readonly token: Token;
  /** Of its proof. */
  readonly nonce?: string | undefined;
}

export interface Account {
  /** @throws UpstreamFault `upstream_auth` and what stands between us and the authorization server */
  pass(method: string, url: string): Promise<Pass>;
  /**
   * What came back. True: the request was refused unread, and may be sent once more with a new pass.
   * @throws UpstreamFault `upstream_auth` when only an operator can help
   */
  judge(pass: Pass, url: string, status: number, headers: ReceivedHeaders): Promise<boolean>;
  /** Whether this repeats a token of ours (AN-12). */
  repeats(body: Uint8Array): boolean;
  /** For `consent.ts`: everything one request for consent is made of. */
  context(): Promise<GrantContext>;
  /** An operator's consent has come. */
  linked(link: Link, obtained: Obtained): Promise<void>;
  /** The call that is being made is theirs; its token takes the place of the one before. */
  present(holder: Holder): void;
  /** Gives back what is held (RFC 7009) and forgets it; `links`: what somebody consented to, too. Never throws for the other side's sake. */
  revoke(links: boolean): Promise<Revoked>;
}

const MARGIN_MS = 30_000;
/** Whatever an authorization server says, it is not asked more often. */
const SHORTEST_MS = 1_000;
const MAX_GIVEN = 6;
const SITE_HOLDS_MS = 3_600_000;
const REFUSAL_HOLDS_MS = 30_000;
const UNREACHABLE_HOLDS_MS = 2_000;
/** Growing demands of a server that are met within `STEPS_MS`. */
const MAX_STEPS = 3;
const STEPS_MS = 600_000;
const OFFLINE = 'offline_access';

export function serverAccount(options: AccountOptions): Account {
  const { serverId, target, clock, resolveSecret, links, hold } = options;
  const { auth } = target;
  const place = linkKey(serverId, options.holder?.person ?? null);
  let { holder } = options;
  /** Who we were when we got `token`: a credential that is locked since must not keep us from giving it back. */
  let obtainedAs: Endpoint | null = null;
  const rule = { allowedNetworks: target.allowedNetworks, requireHttps: true };
  let site: { readonly found: Site; readonly until: number } | null = null;
  let challenge: Challenge | null | undefined;
  let key: ProofKey | null = null;
  let token: Token | null = null;
  /** What `token` was renewed by. */
  let consented: Pick<Link, 'client' | 'refreshToken'> | null = null;
  /** Tokens that a server may still repeat, newest last. */
  let given: readonly string[] = [];
  let repeats: (body: Uint8Array) => boolean = () => false;
  /** Whether a request with the current token was ever let through. */
  let proven = false;
  let flight: Promise<Token> | null = null;
  /** Counts what was given back or replaced, so that a token on its way is not taken for a current one. */
  let forgotten = 0;
  /** Counts what became of the link meanwhile: a renewal that was under way does not bring back one that was given back or replaced. */
  let relinked = 0;
  let refusal: { readonly fault: UpstreamFault; readonly until: number } | null = null;
  /** What was asked for last, and what a server demanded on top. */
  let asked: readonly string[] = [];
  let demanded: readonly string[] = [];
  let steps: number[] = [];

  /** What a request without a token is answered with, which says where to go (RFC 9728 section 5.1). Nothing of a caller is in it. */
  async function probe(): Promise<Challenge | null> {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'server/discover', params: {} });
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': 'server/discover',
    };
    try {
      const answer = await guardedRequest(target.url, { rule, method: 'POST', headers, body });
      return answer.status === 401 ? readChallenge(answer.headers['www-authenticate']) : null;
    } catch {
      // Discovery asks at the well-known places, and says what is wrong.
      return null;
    }
  }

  async function located(): Promise<Site> {
    if (site !== null && clock.now() < site.until) return site.found;
    if (challenge === undefined) challenge = await probe();
    const found = await discover({
      url: target.url,
      rule,
      challenge,
      issuer: auth.issuer ?? null,
      originIsAuthorizationServer: auth.unsafeOriginIsAuthorizationServer,
    });
    site = { found, until: clock.now() + SITE_HOLDS_MS };
    return found;
  }

  /** The scopes of the record and never more; without any, what the server asks for. */
  function wanted({ scopes, server }: Site): readonly string[] {
    if (auth.scopes.length > 0) return auth.scopes;
    const offered = server.scopes_supported ?? [];
    const base = challenge?.scopes ?? scopes ?? [];
    const all = [...new Set([...demanded, ...base])].filter((scope) => scope !== OFFLINE || offered.includes(OFFLINE));
    const renewable = auth.grant === 'authorization_code' && offered.includes(OFFLINE) && !all.includes(OFFLINE);
    return renewable ? [...all, OFFLINE] : all;
  }

  async function context(): Promise<GrantContext> {
    const found = await located();
    if (auth.dpop) key ??= await proofKey(clock, auth.grant === 'authorization_code' ? 'new' : undefined);
    return { site: found, rule, clock, key, resolveSecret, scopes: wanted(found) };
  }

  async function obtain(): Promise<Obtained> {
    if (auth.grant === 'authorization_code') return renewed(auth);
    const asking = await context();
    asked = asking.scopes;
    return ownToken(auth, asking, holder);
  }

  function unlinked(why: string): UpstreamFault {
    return holder === null
      ? authFault(`${why}; an operator connects it with: remit server connect ${serverId}`)
      : unlinkedFault(`${why}; they link theirs with: remit server link ${serverId}`);
  }

  async function identityOf({ client: said }: Link, server: AuthorizationServer): Promise<Identity> {
    const client = auth.grant === 'authorization_code' ? auth.client : null;
    return client !== null && ('secret' in client || 'key' in client)
      ? configuredIdentity(client, server, resolveSecret)
      : secretIdentity(said.id, said.registered?.method ?? 'none', said.registered?.secret ?? '');
  }

  /** A new token by what an operator once agreed to. */
  async function renewed({ client }: Extract<AuthTarget, { grant: 'authorization_code' }>): Promise<Obtained> {
    const generation = relinked;
    const link = await readLink(links, place);
    if (link === null)
      throw unlinked(
        holder === null ? 'nobody has connected it to an account yet' : 'this person has linked no account of theirs',
      );
    if (link.key !== null && auth.dpop) key ??= await proofKey(clock, link.key);
    const found = await located();
    // The old one's credentials stay where they are: with nobody.
    if (found.server.issuer !== link.issuer || found.resource !== link.resource)
      throw unlinked('it has moved to another authorization server');
    if ('id' in client && client.id !== link.client.id) throw unlinked('its client is another one now');
    if (link.refreshToken === null) throw unlinked('its token has ended and cannot be renewed');
    const asking = { ...(await context()), scopes: link.scopes };
    const endpoint = endpointOf(asking, await identityOf(link, found.server));
    asked = link.scopes;
    try {
      const renewal = await requestToken(endpoint, 'refresh_token', {
        refresh_token: link.refreshToken,
        resource: found.resource,
      });
      if (generation !== relinked) return { token: renewal, endpoint };
      // CRASH: a rotated refresh token that was not kept means that an operator has to connect the server again.
      if (renewal.refreshToken !== null && renewal.refreshToken !== link.refreshToken)
        await links.write(place, JSON.stringify({ ...link, refreshToken: renewal.refreshToken }));
      consented = { client: link.client, refreshToken: renewal.refreshToken ?? link.refreshToken };
      return { token: renewal, endpoint };
    } catch (error) {
      if (oauthError(error) !== 'invalid_grant') throw asAuthFault(error, 'the renewal of the token');
      if (generation === relinked) {
        await links.write(place, null);
        consented = null;
        tell();
      }
      throw unlinked('its account was disconnected at the authorization server');
    }
  }

  function tell(): void {
    const until = (value: string | null | undefined, expiresAt: number | null): LiveToken[] =>
      value == null ? [] : [{ value, expiresAt }];
    hold([
      ...until(token?.value, token?.expiresAt ?? null),
      ...until(token?.refreshToken, null),
      ...until(consented?.refreshToken, null),
      ...until(consented?.client.registered?.secret, null),
    ]);
  }

  function take({ token: next, endpoint }: Obtained): void {
    token = next;
    obtainedAs = endpoint;
    proven = false;
    refusal = null;
    given = [...given, next.value, ...(next.refreshToken === null ? [] : [next.refreshToken])].slice(-MAX_GIVEN);
    repeats = credentialFinder(given);
    tell();
  }

  const isFresh = ({ issuedAt, expiresAt }: Token): boolean =>
    expiresAt === null ||
    clock.now() < Math.max(issuedAt + SHORTEST_MS, expiresAt - Math.min(MARGIN_MS, (expiresAt - issuedAt) / 5));

  async function fly(): Promise<Token> {
    try {
      const generation = forgotten;
      const next = await obtain();
      // Given back while it was on its way: it is not used any more.
      if (generation !== forgotten) {
        const isLinked = (await readLink(links, place)) !== null;
        await revokeTokens(next.endpoint, held(next.token, isLinked ? null : next.token.refreshToken));
        throw authFault('the account was given back');
      }
      take(next);
      return next.token;
    } catch (error) {
      const fault = asAuthFault(error, 'the token');
      // A person who links their account now is not told for half a minute that they have none.
      if (fault.code === 'upstream_unlinked') throw fault;
      const holdsMs = fault.code === 'upstream_auth' ? REFUSAL_HOLDS_MS : UNREACHABLE_HOLDS_MS;
      refusal = { fault, until: clock.now() + holdsMs };
      throw fault;
    } finally {
      flight = null;
    }
  }

  /** Single flight. */
  function current(): Promise<Token> | Token {
    if (token !== null && isFresh(token)) return token;
    if (refusal !== null && clock.now() < refusal.until) throw refusal.fault;
    flight ??= fly();
    return flight;
  }

  /** A token that never worked is not asked for again and again. */
  function refused(): boolean {
    if (proven) return true;
    const fault = authFault('the server refuses the tokens that its authorization server gives us');
    refusal = { fault, until: clock.now() + REFUSAL_HOLDS_MS };
    return false;
  }

  /** RFC 6750 section 3.1, `insufficient_scope`. True: there is a token now with what was missing. */
  async function stepUp(missing: readonly string[]): Promise<boolean> {
    const more = missing.filter((scope) => !asked.includes(scope));
    if (more.length === 0 || auth.scopes.length > 0) return false;
    const before = { asked, demanded, token };
    // More than an operator agreed to takes an operator: `consent.ts` asks for what is demanded by then.
    if (auth.grant === 'authorization_code') {
      demanded = [...new Set([...asked, ...missing])];
      throw unlinked('it wants more for this call than was agreed to');
    }
    steps = steps.filter((at) => clock.now() - at < STEPS_MS);
    if (steps.length >= MAX_STEPS) return false;
    steps.push(clock.now());
    demanded = [...new Set([...asked, ...missing])];
    token = null;
    try {
      await current();
      return true;
    } catch {
      // What we do not get for one call must not take from the others what they have.
      ({ asked, demanded } = before);
      token ??= before.token;
      refusal = null;
      return false;
    }
  }

  /** For a link whose token was never used by this process; null where we cannot say who we are. */
  async function endpointFor(link: Link): Promise<Endpoint | null> {
    try {
      const asking = await context();
      if (asking.site.server.issuer !== link.issuer) return null;
      return endpointOf(asking, await identityOf(link, asking.site.server));
    } catch {
      return null;
    }
  }

  return {
    context,
    repeats: (body) => repeats(body),
    pass: async (method, url) => {
      const using = await current();
      const { value, type } = using;
      if (type === 'bearer' || key === null) return { token: using, headers: { authorization: `Bearer ${value}` } };
      const nonce = key.nonceFor(url);
      const dpop = await key.proof(method, url, value);
      return { token: using, nonce, headers: { authorization: `DPoP ${value}`, dpop } };
    },
    judge: async ({ token: used, nonce }, url, status, headers) => {
      key?.takeNonce(url, headers['dpop-nonce']);
      if (status !== 401 && status !== 403) {
        if (used === token && status < 500) proven = true;
        return false;
      }
      const said = readChallenge(headers['www-authenticate']);
      if (status === 403) return said?.error === 'insufficient_scope' && stepUp(said.scopes ?? []);
      if (said?.error === 'use_dpop_nonce') return key !== null && key.nonceFor(url) !== nonce;
      if (used !== token) return true; // somebody else has seen to it
      const goOn = refused();
      token = null;
      site = null;
      if (said !== null) challenge = said;
      return goOn;
    },
    present: (now) => void (holder = now),
    revoke: async (alsoLinks) => {
      forgotten++;
      if (alsoLinks) relinked++;
      const kept = alsoLinks && auth.grant === 'authorization_code' ? await readLink(links, place) : null;
      // Forgotten first: whatever the other side does, nobody uses it here any more.
      const [tokens, before] = [held(token, kept?.refreshToken ?? null), obtainedAs];
      token = null;
      obtainedAs = null;
      if (alsoLinks) consented = null;
      tell();
      if (kept !== null) await links.write(place, null);
      if (tokens.length === 0) return NOTHING_HELD;
      return revokeTokens(before ?? (kept && (await endpointFor(kept))), tokens);
    },
    linked: async (link, next) => {
      forgotten++;
      relinked++;
      await links.write(place, JSON.stringify(link));
      consented = link;
      take(next);
      asked = link.scopes;
      demanded = [];
      steps = [];
    },
  };
}

const held = (token: Token | null, refreshToken: string | null): HeldToken[] => [
  // The refresh token first: most servers end with it what came of it.
  ...(refreshToken === null ? [] : [{ value: refreshToken, hint: 'refresh_token' as const }]),
  ...(token === null ? [] : [{ value: token.value, hint: 'access_token' as const }]),
];
