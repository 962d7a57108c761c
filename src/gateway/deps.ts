/** What answering one message needs from the node: the guards' ports, the log, the way to servers, and what the operator sees. */
import type { AuditLog } from '../audit/audit-log.ts';
import type { Connection } from '../upstream/connection.ts';
import type { GreetingDeps } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import type { InflightRegistry } from './inflight.ts';
import type { NoiseCounter } from './noise.ts';
import type { Pipeline } from './pipeline.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import type { Telemetry } from './telemetry.ts';

export interface AnswerDeps extends GreetingDeps {
  readonly ports: GuardPorts;
  readonly pipeline: Pipeline;
  readonly snapshot: () => Snapshot;
  readonly audit: AuditLog;
  readonly inflight: InflightRegistry;
  readonly noise: NoiseCounter;
  readonly telemetry: Telemetry;
  readonly connect: (server: ServerEntry) => Promise<Connection>;
  readonly maxResultBytes: number;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void;
}
