/**
 * What flows into one call: the labels of its trace, and whether what it sends holds text of another server that may not go where it goes
 * (CI-08). That is so where the item can send out of the organisation, and where its server is not for data of that class.
 */
import type { Json } from '../lib/json.ts';
import { COPIED, NO_FLOW } from '../policy/labels.ts';
import type { Flow } from '../policy/labels.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { NOTHING_RECEIVED } from './trace-labels.ts';
import type { Received, TraceLabels } from './trace-labels.ts';
import type { Source } from './trace-reads.ts';

export interface TraceFlow extends Flow {
  /** What of it another agent received in the same W3C trace, and not this one; null or left out: nothing. */
  readonly joined?: Received['joined'];
}

/** `matters`: bits that can make a difference. `sent`: what is to leave. */
export function flowOf(call: Call, traces: TraceLabels, received: Received, matters: number, sent: Json): TraceFlow {
  if (received === NOTHING_RECEIVED) return NO_FLOW;
  const { labels, from, joined, books } = received;
  const flow = { ...labels, copied: false, copiedFrom: NO_FLOW.copiedFrom, receivedFrom: from, joined };
  if ((matters & COPIED) === 0) return flow;
  const { facts } = known(call, 'tool');
  const others = traces.recognise(books, sent).filter(({ server }) => server !== facts!.server);
  const outward = facts!.outward === true;
  return {
    ...flow,
    // What cannot be recognised counts as recognised where it would leave.
    copied: (outward && received.unknownText) || others.some((source) => outward || !isFor(facts!, source)),
    copiedFrom: others.map(({ server }) => server),
  };
}

/** Whether a server is for such data. */
const isFor = ({ dataClasses }: { readonly dataClasses: readonly string[] }, source: Source): boolean =>
  (!source.confidential || dataClasses.includes('confidential')) &&
  (!source.regulated || dataClasses.includes('regulated'));
