/**
 * What the admin listener needs from the process it runs in, as plain functions. The composition root (`cli/serve.ts`) fills it.
 * Nothing here is optional: a part that is not there cannot be forgotten silently.
 */
import type { ArgumentsBox } from '../approvals/sealed-arguments.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Ledger } from '../audit/ledger.ts';
import type { ClaimsReader, TokenVerifier } from '../identity/access-token.ts';
import type { HoneytokenBox } from '../inventory/honeytokens.ts';
import type { Lock } from '../inventory/records.ts';
import type { Clock } from '../lib/clock.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import type { ItemCounts } from '../gateway/catalogue.ts';
import type { Shadows } from '../gateway/shadow.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import type { RunningBook } from '../sandbox/running.ts';
import type { Follower, StateStore } from '../store/state.ts';
import type { DeliveryStatus } from '../upstream/event-delivery.ts';
import type { CredentialVault } from '../upstream/broker/broker.ts';
import type { ServerAccounts } from '../upstream/oauth/accounts.ts';
import type { Revoked } from '../upstream/oauth/revocation.ts';
import type { Artifacts } from './artifact-feed.ts';
import type { BreakGlass } from './break-glass.ts';
import type { ClaimCode } from './claim.ts';
import type { Refusals } from './refusals.ts';
import type { SignInRule } from './sign-in-rule.ts';
import type { GatewayEvents } from './events/transmit.ts';
import type { BrowserSignIn } from './session/code-flow.ts';

/** How a lock came to its end. */
export interface LockSettled {
  /** Calls that it ended on this node. */
  readonly calls: number;
  /** Of those, calls whose outcome was not yet recorded when we stopped waiting. */
  readonly unfinished: number;
  /** Tokens given back at upstreams (RFC 7009), and those that an upstream would not or could not take. */
  readonly tokensRevoked: number;
  readonly tokensLeft: number;
}

export interface AdminContext {
  readonly facts: AdminFacts;
  readonly org: string;
  readonly node: string;
  readonly clock: Clock;
  readonly state: StateStore;
  /** This node's copy of the records, in step with `state`; reads never touch the database. */
  readonly follower: Pick<Follower, 'records' | 'revision' | 'isFresh' | 'advanceTo' | 'onAdvance'>;
  /** The prepared picture that calls are decided by: standing, locks and policies here are the ones in force. */
  readonly snapshot: () => Snapshot;
  readonly audit: AdminAudit;
  readonly verifier: Pick<TokenVerifier, 'verify'> & ClaimsReader;
  /** What a lock that is in force on this node has stopped here, and the rest of its work: tokens at the upstream, where it takes them back. */
  readonly stopped: (id: string, lock: Lock) => { readonly calls: number; readonly settled: Promise<LockSettled> };
  /** Opens what a held call would send. Same keys as the gateway's. */
  readonly heldArguments: Pick<ArgumentsBox, 'open'>;
  /** Seals planted secrets. Same keys as the gateway's. */
  readonly honeytokens: Pick<HoneytokenBox, 'seal'>;
  /** A held call was decided: wake whoever waits for it. Called after the decision is in force. */
  readonly onApproval: (id: string) => void;
  readonly catalogue: CatalogueControl;
  /** The packages of local servers, and what is known of them. */
  readonly artifacts: Artifacts;
  /** What is in force for each running process of a server on this node; empty: none runs. */
  readonly isolation: RunningBook['of'];
  /** Seals values, compares them, and gives back what was got by them; never shows one. */
  readonly credentials: CredentialVault & {
    /** Gives back, at the upstreams that take them, the tokens got by this credential (RFC 7009), and forgets them. */
    revoke(credential: string): Promise<Revoked>;
  };
  /** Connects servers to accounts. After `finish` the server's next connection uses the new one. */
  readonly accounts: Pick<
    ServerAccounts,
    'begin' | 'finish' | 'forget' | 'isLinked' | 'unlink' | 'revoke' | 'revokePerson'
  >;
  /** How the first administrator comes in; null: there are people already, or the configuration names one. */
  readonly claim: ClaimCode | null;
  readonly breakGlass: BreakGlass;
  readonly refusals: Refusals;
  /** How people sign in to the pages; null: there is no issuer to sign in at, and there are no pages. */
  readonly pages: BrowserSignIn | null;
  /** What is told to authorization servers by security event; null: none is configured. */
  readonly events: GatewayEvents | null;
  /** What policies in shadow would have said of the calls of this node. */
  readonly shadows: Pick<Shadows, 'report' | 'reset'>;
  /** How notices reach their targets, by id. */
  readonly notices: () => ReadonlyMap<string, DeliveryStatus>;
  /** Prometheus text, or null when telemetry.prometheus is off. */
  readonly metrics: (() => Promise<string>) | null;
  /** Reason codes why this process should get no traffic; empty when ready. No detail: anyone may read them. */
  readonly notReady: () => readonly string[];
  readonly log: AdminLog;
}

/** Plain facts of configuration that the API uses or shows. Never a secret. */
interface AdminFacts {
  readonly host: string;
  readonly port: number;
  /** Origin without trailing slash; null: `http://host:port` of the listener. */
  readonly publicUrl: string | null;
  readonly allowedHosts: readonly string[];
  /** Origin of the MCP listener, to show server URLs. */
  readonly mcpUrl: string;
  /** Issuers whose tokens are accepted: shown in the resource metadata. */
  readonly issuers: readonly string[];
  readonly version: string;
  /** Dotted names of `unsafe…` keys in force. */
  readonly unsafeKeys: readonly string[];
  readonly unsafeAuthorMayActivate: boolean;
  /** Nobody else has to agree to what gives access. True only where the configuration says so. */
  readonly unsafeOnePersonMayDecide: boolean;
  /** How long something keeps working that nobody answers for (NH-05). */
  readonly ownerlessAfterHours: number;
  /** `governance.unusedGrantsEndAfterDays`; 0: never. */
  readonly unusedGrantsEndAfterDays: number;
  /** `admin.clients`: who else may be an active agent administers nothing (ID-09). */
  readonly clients: readonly string[];
  /** `admin.signIn`. */
  readonly signIn: SignInRule;
  /** `freshness.limitMs`. */
  readonly freshnessLimitMs: number;
  /** No token that is accepted lives longer than this, clock tolerance included: voids are kept so long. */
  readonly longestTokenMs: number;
  /** Further facts for `GET /status`: sandbox posture, store kind, … */
  readonly posture: JsonObject;
}

/** One organisation's log and the ledger it stands in; queries read the ledger, nothing else. */
interface AdminAudit {
  readonly log: AuditLog;
  readonly ledger: Ledger;
  /** The log's public key as a C2SP verifier key, for bundles. */
  readonly verifierKey: string;
}

interface CatalogueControl {
  /** Fetches the definitions of one server now and stores what was seen. The error is neutral text for an operator. */
  refresh(server: string): Promise<Result<ItemCounts, { readonly code: string; readonly message: string }>>;
  status(server: string): { readonly state: string; readonly seenAt: number | null; readonly problem: string | null };
}

/** The part of pino that is used here. */
interface AdminLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
