/**
 * What the admin listener needs from the process it runs in, as plain functions. The composition root (`cli/serve.ts`) fills it.
 * Nothing here is optional: a part that is not there cannot be forgotten silently.
 */
import type { Actor, AuditEntry } from '../audit/entry.ts';
import type { Caller } from '../identity/caller.ts';
import type { Lock } from '../inventory/records.ts';
import type { Clock } from '../lib/clock.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import type { StateStore, StoredRecord } from '../store/state.ts';

export interface AdminContext {
  readonly facts: AdminFacts;
  readonly org: string;
  readonly node: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly snapshot: SnapshotView;
  readonly audit: AdminAudit;
  /**
   * Verifies one bearer token completely (signature, issuer, type, lifetime) for exactly this audience.
   * The error is a short code for the log; the caller learns only that the token is not accepted.
   */
  readonly verifyToken: (token: string, audience: string) => Promise<Result<Caller, { readonly code: string }>>;
  /** Called once a lock is committed and in force on this node: cancel what is in flight under it. */
  readonly onLock: (lock: Lock) => void;
  /** A held call was decided: wake whoever waits for it. Called after the decision is in force. */
  readonly onApproval: (id: string) => void;
  readonly catalogue: CatalogueControl;
  /** Prometheus text, or null when telemetry.prometheus is off. */
  readonly metrics: (() => Promise<string>) | null;
  /** Reason codes why this process should get no traffic; empty when ready. No detail: anyone may read them. */
  readonly notReady: () => readonly string[];
  readonly log: AdminLog;
}

/** Plain facts of configuration that the API uses or shows. Never a secret. */
export interface AdminFacts {
  readonly host: string;
  readonly port: number;
  /** Origin without trailing slash; null: `http://host:port` of the listener. */
  readonly publicUrl: string | null;
  readonly allowedHosts: readonly string[];
  /** Origin of the MCP listener, to show server URLs. */
  readonly mcpUrl: string;
  /** Issuers whose tokens are accepted: shown in the resource metadata. */
  readonly issuers: readonly string[];
  readonly maxBodyBytes: number;
  readonly version: string;
  /** Dotted names of `unsafe…` keys in force. */
  readonly unsafeKeys: readonly string[];
  readonly unsafeAuthorMayActivate: boolean;
  /** Further facts for `GET /status`: sandbox posture, store kind, … */
  readonly posture: JsonObject;
}

/** This node's view of governance state. Synchronous reads; never the database. */
export interface SnapshotView {
  revision(): number;
  /** Live records of one kind in `org`. */
  records(kind: string): readonly StoredRecord[];
  record(kind: string, id: string): StoredRecord | undefined;
  /** False: the view may be older than the limit; nobody's standing can be trusted. */
  fresh(): boolean;
  /** Resolves when this node decides by `revision` or a later one. @throws when that does not happen within `timeoutMs`. */
  advanceTo(revision: number, timeoutMs: number): Promise<void>;
}

/** What an admin request adds to an entry; time, node and org are filled in by the log. */
export interface AdminEntry {
  readonly kind: 'admin' | 'denial';
  readonly ref: string;
  readonly actor: Actor;
  readonly event: NonNullable<AuditEntry['event']>;
}

export interface AdminAudit {
  /** Resolves only after the entry is durable. @throws when it is not. */
  record(entry: AdminEntry): Promise<{ readonly index: number }>;
  /** Entries newest first, matching every filter given; `next` continues. Bounded work per call. */
  query(filter: AuditFilter): Promise<{ readonly entries: readonly IndexedEntry[]; readonly next: number | null }>;
  /** Exact entry texts in log order, for export; fewer at the end. */
  read(start: number, count: number): Promise<ReadonlyArray<{ readonly index: number; readonly text: string }>>;
  /** The offline-verifiable receipt of one entry (C2SP tlog-proof), or null when no checkpoint covers it yet. */
  receipt(index: number): Promise<string | null>;
  /** Newest signed checkpoint, or null when there is none yet. */
  checkpoint(): Promise<string | null>;
  /** Name of the log, public key (C2SP vkey), size, age of the checkpoint, gate. */
  status(): Promise<JsonObject>;
}

export interface AuditFilter {
  /** Continue below this index (exclusive); left out: from the newest. */
  readonly before?: number;
  readonly limit: number;
  readonly kind?: string;
  readonly call?: string;
  readonly ref?: string;
  readonly person?: string;
  readonly server?: string;
  readonly tool?: string;
  readonly verdict?: string;
  /** ms since the epoch, inclusive. */
  readonly since?: number;
  readonly until?: number;
}

export interface IndexedEntry {
  readonly index: number;
  readonly entry: AuditEntry;
}

export interface CatalogueControl {
  /** Fetches the definitions of one server now and stores what was seen. The error is neutral text for an operator. */
  refresh(
    server: string,
  ): Promise<Result<{ readonly tools: number }, { readonly code: string; readonly message: string }>>;
  status(server: string): { readonly state: string; readonly seenAt: number | null; readonly problem: string | null };
}

/** The part of pino that is used here. */
export interface AdminLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
