/**
 * What gateways tell us (RFC 8935 at `/events`): sessions, grants and codes of who left end, before 202 is answered. A token that comes
 * again changes nothing. CRASH between effect and memory of the id: it comes again and ends the same things once more.
 */
import type { DatabaseSync } from 'node:sqlite';
import { eventVerifier } from '../../identity/security-event.ts';
import type { EventError, EventVerifier } from '../../identity/security-event.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { EventSubject, SecurityEvent } from '../../lib/security-event.ts';
import type { Endings } from '../endings.ts';
import { forgetFederated } from '../federation/accounts.ts';
import type { DisabledAccounts } from './accounts.ts';
import type { GatewayEvents } from './settings.ts';

export type Taken =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly code: EventError; readonly description: string }
  | { readonly kind: 'unavailable' };

export interface InboxParts {
  readonly issuer: string;
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly endings: Pick<Endings, 'endPerson' | 'endClient' | 'endGrant' | 'endSession'>;
  /** There is one organisation here, so that nobody speaks of another's people. */
  readonly oneOrganisation: boolean;
  /** Of which organisations somebody can be, also while they are inactive and before they first came. */
  readonly organisationsOf: (sub: string) => Promise<readonly string[]>;
  readonly disabled: DisabledAccounts;
  readonly fetchKeys: (url: string, allowedNetworks: readonly string[]) => Promise<unknown>;
  /** Grants that a gateway must hear of again: tokens may have been issued under them since it spoke. */
  readonly onEndedGrant: (grantId: string, sub: string) => void;
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}

export interface Inbox {
  /** `gateway`: whose bearer token came with it. Never rejects. */
  take(gateway: GatewayEvents, token: string): Promise<Taken>;
  sweep(): void;
}

/** As long as a token may be old (security-event.ts), and a day for clocks. */
const REMEMBER_SECONDS = 8 * 86_400;

export function eventInbox(parts: InboxParts): Inbox {
  const { db, clock, endings, issuer } = parts;
  const nowSeconds = (): number => Math.floor(clock.now() / 1_000);
  const find = db.prepare('SELECT 1 FROM event_seen WHERE id = ?');
  const remember = db.prepare('INSERT OR IGNORE INTO event_seen (id, forget_at) VALUES (?, ?)');
  const forget = db.prepare('DELETE FROM event_seen WHERE forget_at <= ?');
  const grantsOf = db.prepare(`SELECT id FROM entity WHERE model = 'Grant' AND account_id = ? LIMIT 1000`);
  const accountOf = db.prepare(
    `SELECT account_id FROM entity WHERE (model = 'Grant' AND id = ?1) OR (model = 'Session' AND uid = ?1)`,
  );
  const grantsOfClient = db.prepare(`SELECT id FROM entity WHERE model = 'Grant' AND client_id = ? LIMIT 100000`);
  const verifiers = new Map<string, EventVerifier>();

  function verifierOf({ issuer: gateway, jwksUri, allowedNetworks }: GatewayEvents): EventVerifier {
    let verifier = verifiers.get(gateway);
    if (verifier === undefined) {
      const sender = {
        issuer: gateway,
        audience: issuer,
        jwksUri: jwksUri ?? `${gateway}/events/jwks`,
        algorithms: ['ES256', 'RS256', 'PS256', 'EdDSA'] as const,
      };
      verifier = eventVerifier(sender, (url) => parts.fetchKeys(url, allowedNetworks), clock);
      verifiers.set(gateway, verifier);
    }
    return verifier;
  }

  /** Only of this issuer, and of the organisation that the gateway may speak of. */
  async function ours(gateway: GatewayEvents, subject: EventSubject | null): Promise<string | null> {
    const who = subject?.format === 'complex' ? subject.user : subject;
    if (who?.format !== 'iss_sub' || who.issuer !== issuer) return null;
    return (await isTheirs(gateway, who.subject)) ? who.subject : null;
  }

  async function isTheirs(gateway: GatewayEvents, sub: string): Promise<boolean> {
    if (parts.oneOrganisation) return true;
    return (await parts.organisationsOf(sub)).includes(gateway.organisation);
  }

  /** Of a grant or a browser session; what is gone already is nobody's any more. */
  async function ofTheirs(gateway: GatewayEvents, id: string): Promise<boolean> {
    const account = accountOf.get(id)?.['account_id'];
    return typeof account !== 'string' || isTheirs(gateway, account);
  }

  /** A client may be known to several organisations: a gateway ends what it has from the people of its own. */
  async function endClient(gateway: GatewayEvents, clientId: string): Promise<void> {
    if (parts.oneOrganisation) return endings.endClient(clientId, 'event');
    for (const row of grantsOfClient.all(clientId)) {
      const grant = String(row['id']);
      if (await ofTheirs(gateway, grant)) endings.endGrant(grant, 'event');
    }
  }

  function endPerson(sub: string): void {
    const grants = grantsOf.all(sub).map((row) => String(row['id']));
    endings.endPerson(sub, 'event');
    for (const grantId of grants) parts.onEndedGrant(grantId, sub);
  }

  /** False: it names nobody of ours. */
  async function apply(gateway: GatewayEvents, { name, subject, members }: SecurityEvent): Promise<boolean> {
    switch (name) {
      case 'session-revoked': {
        const session = subject?.format === 'complex' ? subject.session : subject;
        if (session?.format === 'opaque') {
          if (!(await ofTheirs(gateway, session.id))) return false;
          endings.endSession(session.id, 'event');
          return true;
        }
        break;
      }
      case 'token-revoked': {
        const grant = members['grant_id'];
        if (typeof grant !== 'string' || grant.length > 200 || !(await ofTheirs(gateway, grant))) return false;
        endings.endGrant(grant, 'event');
        return true;
      }
      case 'tokens-revoked':
      case 'client-disabled':
        if (subject?.format === 'opaque') {
          await endClient(gateway, subject.id);
          return true;
        }
        break;
      case 'account-disabled':
      case 'account-purged':
      case 'account-enabled': {
        const sub = await ours(gateway, subject);
        if (sub === null) return false;
        // Whoever is purged is nobody's any more, and barred for nothing: they may be hired again under the same account.
        parts.disabled.set(sub, name === 'account-disabled', gateway.issuer);
        if (name !== 'account-enabled') endPerson(sub);
        if (name === 'account-purged') forgetFederated(db, sub);
        return true;
      }
      case 'credential-change':
      case 'token-claims-change':
      case 'sessions-revoked':
        break;
      default:
        return false; // verification, and what means nothing here
    }
    const sub = await ours(gateway, subject);
    if (sub === null) return false;
    endPerson(sub);
    return true;
  }

  return {
    async take(gateway, token) {
      try {
        const verified = await verifierOf(gateway).verify(token);
        if (!verified.ok) {
          parts.note('security event refused', { gateway: gateway.issuer, ...verified.error });
          return verified.error.kind === 'refused' ? verified.error : { kind: 'unavailable' };
        }
        const event = verified.value;
        const facts = { gateway: gateway.issuer, event: event.type, jti: event.tokenId };
        const id = sha256Hex(`${gateway.issuer} ${event.tokenId}`);
        if (find.get(id) !== undefined) {
          parts.note('security event came again', facts);
          return { kind: 'accepted' };
        }
        const applied = await apply(gateway, event);
        remember.run(id, nowSeconds() + REMEMBER_SECONDS);
        parts.note(applied ? 'security event applied' : 'security event without effect', facts);
        return { kind: 'accepted' };
      } catch (fault) {
        parts.note('security event failed', { gateway: gateway.issuer, fault: String(fault) });
        return { kind: 'unavailable' };
      }
    },
    sweep: () => void forget.run(nowSeconds()),
  };
}
