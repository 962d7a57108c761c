/**
 * What the upstream room is told, as plain facts: where a server is (`Target`), who starts its process (`StartProcess`),
 * and what it offers the rest of the house (`UpstreamPool`). The shapes match the server record of the inventory
 * and the process of the sandbox structurally; neither room is imported (DESIGN.md section 3).
 */
import type { Readable, Writable } from 'node:stream';
import type { JsonObject } from '../lib/json.ts';
import type { Connection, Era, UpstreamFaultCode } from './connection.ts';
import type { AuthTarget } from './oauth/auth-target.ts';
import type { Holder } from './oauth/holder.ts';

export type SecretReference = { readonly secret: string };

export interface HttpTarget {
  readonly transport: 'http';
  readonly url: string;
  readonly era: 'auto' | Era;
  /** Networks outside the public internet that it may resolve to, as CIDR. Empty: public addresses and https only. */
  readonly allowedNetworks: readonly string[];
  readonly headers: ReadonlyArray<{ readonly name: string; readonly value: SecretReference }>;
  /** `sha256:` of the public keys that it may show; left out: any that its certificate authority vouches for. */
  readonly pins?: readonly string[];
  /** What we show: certificate chain and key in PEM. */
  readonly clientCertificate?: { readonly certificate: SecretReference; readonly key: SecretReference };
  /** How we get tokens for it. Left out: it takes none, or `headers` hold what it takes. */
  readonly auth?: AuthTarget;
}

/** HTTP+SSE of 2024-11-05. */
export type SseTarget = Omit<HttpTarget, 'transport' | 'era'> & { readonly transport: 'sse'; readonly era: 'legacy' };

/** One way out of a sandbox (EX-04). */
export interface EgressRule {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port?: number;
  readonly methods?: readonly string[];
  readonly pathPrefix?: string;
}

export interface StdioTarget {
  readonly transport: 'stdio';
  readonly command: readonly string[];
  readonly era: 'auto' | Era;
  readonly env: Readonly<Record<string, string | SecretReference>>;
  readonly mounts: ReadonlyArray<{ readonly from: string; readonly to: string; readonly mode: 'read' | 'write' }>;
  readonly network: 'none' | 'host';
  readonly egress: readonly EgressRule[];
  readonly egressNetworks: readonly string[];
  /** By digest; only for a container engine. */
  readonly image?: string;
  readonly limits: {
    readonly memoryMb: number;
    readonly processes: number;
    readonly cpuSeconds: number;
    /** Bytes on stdout for one message, and on stderr for one minute. */
    readonly outputBytes: number;
    readonly openFiles: number;
    /** Of one processor. */
    readonly cpuPercent: number;
  };
}

export type Target = HttpTarget | SseTarget | StdioTarget;

export interface RunningSource {
  readonly package?: string;
  readonly version?: string;
  readonly digest?: string;
}

/** The part of a server record this room reads. */
export interface ServerTarget {
  /** Longest time one request may take, ms, whatever the caller's deadline says. */
  readonly timeoutMs: number;
  readonly upstream: Target;
  /** What runs (stdio): `digest` of its files as they are installed, checked before a process is started (TD-08). */
  readonly source?: RunningSource;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
  readonly reason?: string;
}

/** A running stdio server. Whoever started it owns it to the last descendant. */
export interface ServerProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<ProcessExit>;
  stop(reason?: string): Promise<ProcessExit>;
}

/** Starts the server isolated, or rejects: there is no other way to start one. `env` is `target.env` with its secrets resolved. */
export type StartProcess = (request: {
  readonly serverId: string;
  readonly target: StdioTarget;
  readonly env: Readonly<Record<string, string>>;
  /** What its files must be; left out: nobody has said. */
  readonly digest?: string;
  /** Which package in which version it is made of. */
  readonly source?: RunningSource;
}) => Promise<ServerProcess>;

/** Something an operator may want to read. Never carries a secret, an argument or a result. */
export interface UpstreamEvent {
  readonly level: 'debug' | 'info' | 'warn';
  readonly serverId: string;
  readonly event: 'connected' | 'closed' | 'stderr' | 'violation' | 'era' | 'backoff' | 'hint';
  readonly message: string;
}
export type UpstreamLog = (event: UpstreamEvent) => void;

export interface ServerStatus {
  readonly serverId: string;
  readonly state: 'connecting' | 'up' | 'down';
  readonly era: Era | null;
  readonly protocolVersion: string | null;
  /** ms since the epoch. */
  readonly since: number;
  /** Connections that ended or never came up since the last one that held. */
  readonly failures: number;
  /** Of the last failure; for the operator. */
  readonly lastFault: string | null;
  /** No attempt is made before this time, ms since the epoch; null when one may be made now. */
  readonly retryAt: number | null;
  /** `open`: nothing is sent to it; `half_open`: the next call tries it out (RL-04). */
  readonly breaker: 'closed' | 'open' | 'half_open';
}

/** A server is left alone from now on. */
export interface LeftAlone {
  readonly serverId: string;
  readonly code: UpstreamFaultCode;
  readonly forMs: number;
}

/** A connection of its own, beside the shared one: its session, process and state are nobody else's. */
export interface Lane {
  /** Whose it is; equal keys share. Never shown to the server. */
  readonly key: string;
  /** What a legacy server is told that we can do, at `initialize`. The shared lane declares nothing. */
  readonly capabilities: JsonObject;
  /** Where the server's `auth` is per person: whose account it is. */
  readonly holder?: Holder;
}

export interface UpstreamPool {
  /**
   * The one live connection of this server and lane; opens it when there is none (single flight). A changed definition closes
   * the old connections and opens new ones. Lanes end when idle, and after a longest life once nothing is in flight; the least
   * recently used idle one makes room beyond a cap. @throws UpstreamFault, at once and with `retryAfterMs` while the server is left alone.
   */
  connection(serverId: string, server: ServerTarget, lane?: Lane): Promise<Connection>;
  /** Looks again at the credentials of all servers: ends the connections of those that may not have them, replaces those with old ones. */
  recheck(): void;
  /** Ends all its lanes and everything in flight on them. Idempotent. */
  close(serverId: string, reason: string): Promise<void>;
  /** Ends all and refuses new ones. */
  closeAll(): Promise<void>;
  status(): readonly ServerStatus[];
  /** Whether calls to it may be in vain: it failed lately. */
  unwell(serverId: string): boolean;
  /** Calls back when a server that worked is left alone. @returns the unsubscribe function. */
  onLeftAlone(listener: (event: LeftAlone) => void): () => void;
}
