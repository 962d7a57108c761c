/**
 * The name of exactly one call. An approval is bound to it, so that approving A can never run B (AP-02), and so that a change of the
 * tool voids what was approved before (AP-07).
 */
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';

export interface ExactCall {
  readonly org: string;
  /** Directory id. */
  readonly person: string;
  /** OAuth client id. */
  readonly agent: string;
  readonly server: string;
  readonly tool: string;
  /** Digest of the approved definition. */
  readonly definition: Digest;
  readonly arguments: JsonObject;
  /**
   * Everything else whose change must void an approval: risk class, scope, environment, data classes, what the server says of itself.
   * Any plain JSON; the same facts must be given when the call is held and when it is made.
   */
  readonly terms: JsonObject;
}

/** Every member counts; key order does not. @throws Fault `not_canonical` when arguments are not plain JSON. */
export function callDigest(call: ExactCall): Digest {
  const { org, person, agent, server, tool, definition, arguments: args, terms } = call;
  return digestOf({ v: 1, org, person, agent, server, tool, definition, arguments: args, terms });
}
