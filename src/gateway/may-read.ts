/**
 * Whether the caller of a stream may hear of a resource: the reading guards of column `watch`, asked about that URI with the newest snapshot.
 * Nothing is counted, opened or looked at because of it. A resource that would need an approval or another scope first is not heard of.
 */
import type { InboundRequest } from '../protocol/read-request.ts';
import { methodRule } from '../protocol/methods.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { GuardPorts } from './guard.ts';
import type { Pipeline } from './pipeline.ts';
import type { Snapshot } from './snapshot.ts';
import { subjectOf } from './subject.ts';

export interface Located {
  readonly server: string;
  /** As the server calls it. */
  readonly uri: string;
  /** As this endpoint calls it. */
  readonly shown: string;
}

const SUBSCRIBE = methodRule('resources/subscribe', 'legacy', 'request')!;

function asking(call: Call, uri: string): InboundRequest {
  const { era, meta, protocolVersion } = call.message;
  return {
    kind: 'request',
    era,
    id: 0,
    method: 'resources/subscribe',
    rule: SUBSCRIBE,
    params: { uri },
    meta,
    name: null,
    protocolVersion,
    accepts: { json: false, sse: true },
  };
}

/** Where a URI leads from this endpoint; null: to no server. Says nothing about whose it is. */
export function locate(call: Call, shown: string): Located | null {
  const { server, name } = subjectOf(call.endpoint, asking(call, shown));
  return server === null || name === null ? null : { server, uri: name, shown };
}

export async function mayRead(
  call: Call,
  shown: string,
  deps: { readonly ports: GuardPorts; readonly pipeline: Pipeline; readonly snapshot: () => Snapshot },
): Promise<Located | null> {
  const message = asking(call, shown);
  const located = locate(call, shown);
  if (located === null) return null;
  const reading: Call = {
    ...call,
    message,
    subject: subjectOf(call.endpoint, message),
    snapshot: deps.snapshot(),
    facts: { caller: known(call, 'caller') },
    stoppedBy: null,
  };
  // Never seen by this node: nobody can tell whether it still is what was approved.
  if (!deps.ports.catalogue.seen(located.server)) return null;
  const denial = await deps.pipeline.readmit(reading, 'watch', deps.ports);
  return denial === null && reading.facts.decision?.verdict === 'allow' ? located : null;
}

/**
 * Keeps `watch` at those of a session's resources that its caller may read at the moment they are named: nothing is asked of a server for
 * somebody it was withdrawn from. The newest list counts.
 */
export function watchReadable(
  call: Call,
  watch: (resources: readonly Located[]) => unknown,
  deps: Parameters<typeof mayRead>[2],
): (uris: readonly string[]) => Promise<void> {
  let newest: readonly string[] = [];
  return async (uris) => {
    newest = uris;
    const theirs = await Promise.all(uris.map((uri) => mayRead(call, uri, deps)));
    if (newest === uris) watch(theirs.filter((one) => one !== null));
  };
}
