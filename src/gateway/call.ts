/**
 * One message on its way through the gateway: what came in, and the facts its guards have established so far.
 * Guards never change the call; what they learn is returned and added here by the pipeline, once, under a name.
 */
import type { Caller } from '../identity/caller.ts';
import type { Ceiling, KnownAgent } from '../inventory/agents.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { Fault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Decision } from '../policy/decide.ts';
import type { InboundMessage } from '../protocol/read-request.ts';
import type { RequestState } from '../protocol/request-state.ts';
import type { SessionFacts } from '../protocol/session.ts';
import type { Lane } from '../upstream/target.ts';
import type { Ticket } from './budgets.ts';
import type { TraceFlow } from './flow.ts';
import type { Inflight } from './inflight.ts';
import type { Content } from './inspection.ts';
import type { Outlet } from './outlet.ts';
import type { PersonEntry, ServerEntry, Snapshot, ToolEntry } from './snapshot.ts';
import type { Subject } from './subject.ts';
import type { KeptTask } from './kept-task.ts';

/** The protected resource that was addressed, from the request's path. */
export interface Endpoint {
  readonly org: string;
  /** Null: the aggregate of all servers of the organisation. */
  readonly server: string | null;
  /** Canonical resource URI: the audience every token must carry. */
  readonly resource: string;
  readonly metadataUrl: string;
}

export interface Facts {
  caller: Caller;
  /** With all roles that count; an agent that acts alone stands in this place itself. */
  person: PersonEntry;
  agent: KnownAgent;
  /** What the agents in the chain may at most. */
  ceiling: Ceiling | null;
  /** Who answers for an agent that acts alone. */
  owner: string | null;
  server: ServerEntry;
  session: SessionFacts;
  /** What this message takes up again (modern clients): opened, theirs, and about the same item. */
  resumed: RequestState;
  /** The state of a call that waits for a person's yes, brought back by its client: opened, theirs, and about the same item. */
  waits: RequestState;
  /** The approval for which this call waited here. */
  waitedFor: string;
  /** Log index of the entry that says this call was held. */
  heldAt: number;
  /** The item that is used: a tool, a prompt, a resource or a template. */
  tool: ToolEntry;
  /** What the item is given, as schemas and policies see it. */
  arguments: JsonObject;
  argumentsDigest: Digest;
  /** What the server was seen to offer when the item was found unchanged, and on which of its connections. */
  seen: ReadonlyMap<string, Digest>;
  lane: Lane | null;
  /** What the trace of this call has received before, and what of it this call carries. */
  flow: TraceFlow;
  decision: Decision;
  /** Classes of what was found in the arguments because of which a person has to agree; null: none. */
  contentHold: readonly string[] | null;
  /** What was found in its content so far. */
  content: Content;
  /** The task that is looked at, as it was then. */
  task: KeptTask;
  /** What it has taken of the tool's budget. */
  budget: Ticket;
  /** The approval this call will use, and the digest of the exact call it is bound to. */
  approval: { readonly id: string; readonly call: Digest };
}

export interface Call {
  /** Also the reference id that callers are shown. */
  readonly id: string;
  readonly startedAt: number;
  readonly endpoint: Endpoint;
  readonly message: InboundMessage;
  readonly subject: Subject;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly rawHeaders: readonly string[];
  readonly rawUrl: string;
  readonly httpMethod: string;
  readonly inflight: Inflight;
  /** The way to the client before the reply. */
  readonly outlet: Outlet;
  /** The picture every guard reads; replaced only between whole passes over the guards. */
  snapshot: Snapshot;
  readonly facts: Partial<Facts>;
  /** The guard that stopped it. */
  stoppedBy: string | null;
  trace: string | null;
}

/** @throws Fault `guard_order` when a guard asks for what no earlier guard established: a mistake in the table, never the caller's. */
export function known<K extends keyof Facts>(call: Call, name: K): Facts[K] {
  const value = call.facts[name];
  if (value === undefined) throw new Fault('guard_order', `no guard before this one established "${name}"`);
  return value;
}
