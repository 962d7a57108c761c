/**
 * What would become of a call that nobody makes: the guards of the product's own table, in their order, over one picture, with a token that is
 * supposed. So it cannot disagree with the calls it speaks of. Asked are the rows that only read; limits, sessions and looking at the server
 * again are left out, and so is everybody's first time here: nothing is counted, opened, held or written.
 */
import type { Caller } from '../identity/caller.ts';
import type { ItemKind } from '../integrity/records.ts';
import type { JsonObject } from '../lib/json.ts';
import { err } from '../lib/result.ts';
import type { Decision } from '../policy/decide.ts';
import { decideCall } from '../policy/explain.ts';
import { flowFrom } from '../policy/labels.ts';
import type { SomeFlow } from '../policy/labels.ts';
import { methodRule } from '../protocol/methods.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { Call, Facts } from './call.ts';
import type { Denial } from './denial.ts';
import type { GuardPorts } from './guard.ts';
import type { Inspector } from '../content/inspector.ts';
import { KINDS } from '../content/kinds.ts';
import { argumentsAreClean } from './guards/arguments-are-clean.ts';
import { argumentsFit } from './guards/arguments-fit.ts';
import { inspectionBooks } from './inspection-books.ts';
import { traceIsKnown } from './guards/trace-is-known.ts';
import { PIPELINE } from './pipeline.ts';
import { questionOf } from './question.ts';
import type { Snapshot } from './snapshot.ts';

export interface SupposedCall {
  readonly server: string;
  readonly kind: ItemKind;
  /** As the server calls it. */
  readonly name: string;
  readonly caller: Caller;
  /** Null: not said; then nobody asks whether they fit, and policies see none. */
  readonly arguments: JsonObject | null;
  /** An approval of exactly this call exists. It counts where the call would be held without it, and nowhere else. */
  readonly approved: boolean;
  /** What the trace has received before; left out: nothing of the kind. */
  readonly labels?: SomeFlow;
}

export interface Judged {
  readonly verdict: Decision['verdict'];
  /** Guards in the order in which they were asked; the last one may have stopped it. */
  readonly path: ReadonlyArray<{ readonly guard: string; readonly passed: boolean }>;
  readonly denial: Denial | null;
  readonly facts: Partial<Facts>;
}

const ROWS = PIPELINE.filter(({ columns, again }) => again && columns.has('call')).map(({ guard }) => guard);

const METHODS: Readonly<Record<ItemKind, string>> = {
  tool: 'tools/call',
  prompt: 'prompts/get',
  resource: 'resources/read',
  template: 'resources/read',
  server: 'initialize',
};

export async function judgeCall(view: Snapshot, supposed: SupposedCall, at: number): Promise<Judged> {
  const call = callOf(view, supposed);
  const ports = portsOf(view, at);
  const path: Array<{ guard: string; passed: boolean }> = [];
  const flow = flowFrom(supposed.labels ?? {});
  for (const guard of ROWS) {
    if (guard === argumentsAreClean && !judgesArguments(supposed)) continue;
    if (guard === argumentsFit && !judgesArguments(supposed)) {
      Object.assign(call.facts, { arguments: supposed.arguments ?? {} });
      continue;
    }
    const verdict = guard.decide(call, guard === traceIsKnown ? flow : await guard.gather(call, ports));
    path.push({ guard: guard.name, passed: verdict.pass });
    if (!verdict.pass) return { verdict: wordFor(verdict.denial), path, denial: verdict.denial, facts: call.facts };
    if (verdict.learned) Object.assign(call.facts, verdict.learned);
  }
  const decided = call.facts.decision?.verdict ?? 'deny';
  const verdict = decided === 'allow' && call.facts.contentHold ? 'hold' : decided;
  if (verdict !== 'hold' || !supposed.approved) return { verdict, path, denial: null, facts: call.facts };
  const agreed = decideCall(view.policies!, questionOf(call, true, at)).verdict;
  // As `person-agreed` has it: what was agreed to and is still no plain yes is a no.
  path.push({ guard: 'person-agreed', passed: agreed === 'allow' });
  return { verdict: agreed === 'allow' ? agreed : 'deny', path, denial: null, facts: call.facts };
}

/** Of a template there is no URI yet, and of instructions nothing is sent. */
const judgesArguments = ({ kind, arguments: given }: SupposedCall): boolean =>
  kind === 'resource' || (given !== null && (kind === 'tool' || kind === 'prompt'));

function wordFor({ reason }: Denial): Decision['verdict'] {
  if (reason === 'scope_missing') return 'challenge';
  return reason === 'step_up' ? 'step_up' : 'deny';
}

function callOf(view: Snapshot, { server, kind, name, caller, arguments: given }: SupposedCall): Call {
  const method = METHODS[kind];
  const message = {
    kind: 'request',
    era: 'legacy',
    id: 0,
    method,
    rule: methodRule(method, 'legacy', 'request')!,
    params: { name, ...(given && { arguments: given }) },
    meta: { rest: {} },
  } as unknown as InboundRequest;
  return {
    id: 'supposed',
    endpoint: { org: view.org, server, resource: '', metadataUrl: '' },
    message,
    subject: { server, kind, name },
    headers: {},
    rawHeaders: [],
    snapshot: view,
    facts: { caller },
    inflight: { signal: NEVER },
    stoppedBy: null,
  } as unknown as Call;
}

const NO_BOOKS = inspectionBooks({ open: () => null });
/** Whoever asks waits for it; no thread is kept for questions. */
const LOOKS_HERE: Pick<Inspector, 'look'> = {
  look: (kind, value, limits, terms) => KINDS[kind](value, limits, terms),
};
const NEVER = new AbortController().signal;

/** What the server was seen to offer is what stands in the records, as on every node after a look. */
function portsOf(view: Snapshot, at: number): GuardPorts {
  const seen = (server: string) => {
    const items = [...(view.servers.get(server)?.tools.values() ?? [])];
    return {
      at,
      tools: new Map(items.flatMap(({ key, record }) => (record.observed ? [[key, record.observed.digest]] : []))),
    };
  };
  return {
    clock: { now: () => at },
    catalogue: { seen },
    newcomers: { admit: (_view: unknown, _caller: unknown, why: never) => err(why) },
    // What the exact values are that are looked for is nobody's to try out.
    inspection: { books: NO_BOOKS, inspector: LOOKS_HERE, report: () => undefined },
    snapshotAgeMs: () => 0,
    freshnessLimitMs: 1,
  } as unknown as GuardPorts;
}
