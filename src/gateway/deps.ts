/** What answering one message needs from the node: the guards' ports, the log, the way to servers, and what the operator sees. */
import type { AuditLog } from '../audit/audit-log.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { Connection, UpstreamReply } from '../upstream/connection.ts';
import type { Lane } from '../upstream/target.ts';
import type { ApprovalSettings } from './approval-desk.ts';
import type { AskDesk } from './ask-desk.ts';
import type { Call } from './call.ts';
import type { Cancels } from './cancels.ts';
import type { Elicited } from './elicited.ts';
import type { SealedExchange } from './exchange-box.ts';
import type { GreetingDeps } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import type { Incidents } from './incidents.ts';
import type { InflightRegistry } from './inflight.ts';
import type { NoiseCounter } from './noise.ts';
import type { Parking } from './parking.ts';
import type { Pipeline } from './pipeline.ts';
import type { Shadows } from './shadow.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import type { SseStreams } from './sse-endpoint.ts';
import type { Streams } from './streams.ts';
import type { Telemetry } from './telemetry.ts';
import type { Reply } from './wire.ts';

export interface AnswerDeps extends GreetingDeps {
  /** Id of this node, as it stands in states and questions that may come back to another one. */
  readonly node: string;
  readonly ports: GuardPorts;
  readonly pipeline: Pipeline;
  readonly snapshot: () => Snapshot;
  readonly audit: AuditLog;
  readonly inflight: InflightRegistry;
  readonly incidents: Incidents;
  readonly noise: NoiseCounter;
  readonly telemetry: Telemetry;
  readonly exchange: SealedExchange;
  readonly desk: AskDesk;
  readonly elicited: Elicited;
  /** How calls wait for a person's yes. */
  readonly approvals: ApprovalSettings;
  readonly parking: Parking;
  readonly shadows: Pick<Shadows, 'note'>;
  readonly streams: Streams;
  readonly cancels: Cancels;
  readonly sse: SseStreams;
  readonly connect: (server: ServerEntry, lane?: Lane) => Promise<Connection>;
  readonly maxResultBytes: number;
  /** Hands an answer to the node that asked; false: nobody there, or not in time. */
  readonly relayAnswer: (node: string, id: string, session: string, reply: UpstreamReply) => Promise<boolean>;
  /** Has the node where a call is parked take it up, and brings back what it says; null: it is not there. */
  readonly relayRetry: (
    call: Call,
    message: InboundRequest,
    park: { readonly node: string; readonly id: string },
  ) => Promise<Reply | null>;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void;
}
