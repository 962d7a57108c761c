/**
 * Turns policy texts and tool facts into a `PolicySet`: parsed, validated strictly against the schema (an impossible policy is an
 * error, not a warning), and read once for what it looks at, so that decide.ts knows which answers may be kept.
 * Not checked here: whether a policy is wise; lint.ts refuses the sweeping ones before they are stored.
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { Link } from './engine.ts';
import type { Prepared } from './prepare.ts';
import { carryOver } from './prepare.ts';
import type { Reads } from './reads.ts';
import { readsOf, targetsOf, withoutCallContext } from './reads.ts';
import { CEDAR_SCHEMA } from './schema.ts';
import type { ToolFacts } from './schema.ts';
import type { ScopeIndex } from './scopes.ts';
import { nextSerial } from './serial.ts';

export interface PolicySource {
  readonly id: string;
  /** One Cedar policy. */
  readonly text: string;
}

export interface PolicyProblem {
  readonly policy: string;
  readonly code: 'policy_id' | 'policy_syntax' | 'policy_invalid' | 'policy_until';
  readonly message: string;
}

export interface CompiledPolicy extends PolicySource {
  /** Whole; of a grant with the link filled in. The text of a grant is ''. */
  readonly json: PolicyJson;
  readonly link: Link | null;
  /** Of what it says. */
  readonly digest: Digest;
  /** Of this compilation and no other. */
  readonly serial: number;
  readonly reads: Reads;
  /** A grant may begin later, ms since the epoch. */
  readonly startsAt: number | null;
  /** A `permit` with `@until` ends there, ms since the epoch. A `forbid` never ends by itself. */
  readonly expiresAt: number | null;
  /** Servers and tools it is about, `Remit::Server files`; empty: any. */
  readonly targets: readonly string[];
  /** For lists: the policy without the conditions that only a call can answer; null when a list must ignore it. */
  readonly forLists: PolicyJson | null;
}

/**
 * Policies and tools of one organisation at one revision. Answers are kept inside, so they die with it: make a new set
 * for every revision that changed a policy or a tool (AZ-02).
 */
export interface PolicySet {
  /** Over ids and texts, in no particular order. */
  readonly digest: Digest;
  readonly policies: readonly CompiledPolicy[];
  /** server, then tool name. */
  readonly tools: ReadonlyMap<string, ReadonlyMap<string, ToolFacts>>;
  /** INVARIANT: written by prepare.ts only; holds nothing that is not a function of `policies` and `tools`. */
  readonly prepared: Map<number, Prepared>;
  /** Which scopes have another one, too. */
  readonly scopes: ScopeIndex;
}

const POLICY_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/**
 * All problems at once, or the set. With no policies at all the set denies everything. What is in `previous` word for word is not
 * compiled again.
 */
export function compilePolicies(input: {
  readonly policies: readonly PolicySource[];
  readonly tools: readonly ToolFacts[];
  /** From `compileGrant`; whoever left one out has said so. */
  readonly grants?: readonly CompiledPolicy[];
  readonly scopes?: ScopeIndex;
  readonly previous?: PolicySet | null;
}): Result<PolicySet, PolicyProblem[]> {
  const problems: PolicyProblem[] = [];
  const compiled: CompiledPolicy[] = [];
  const ids = new Set<string>();
  const { grants = [], scopes = NO_SCOPES, previous = null } = input;
  const known = new Map(previous?.policies.map((policy) => [policy.id, policy]));
  for (const source of input.policies) {
    if (!POLICY_ID.test(source.id) || ids.has(source.id)) {
      problems.push({
        policy: source.id,
        code: 'policy_id',
        message: 'a policy id is unique, 1 to 128 letters, digits or . _ : - and begins with a letter or digit',
      });
      continue;
    }
    ids.add(source.id);
    const same = known.get(source.id);
    const policy = same?.link === null && same.text === source.text ? ok(same) : compileOne(source);
    if (policy.ok) compiled.push(policy.value);
    else problems.push(...policy.error);
  }
  if (problems.length > 0) return err(problems);
  // A written policy cannot take the name of a grant and so its place.
  const free = grants.filter(({ id }) => !ids.has(id));
  const policies = [...compiled, ...free];
  const set: PolicySet = {
    digest: digestOver(policies),
    policies,
    tools: toolIndex(input.tools),
    prepared: new Map(),
    scopes,
  };
  return ok(previous ? carryOver(previous, set) : set);
}

const NO_SCOPES: ScopeIndex = new Map();

/** Over ids and contents, in no particular order. */
const digestOver = (policies: readonly CompiledPolicy[]): Digest =>
  digestOf(policies.map(({ id, digest }) => [id, digest]).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)));

/** The same policies over other tools, without parsing anything again. */
export function withTools(set: PolicySet, tools: readonly ToolFacts[]): PolicySet {
  return carryOver(set, { ...set, tools: toolIndex(tools), prepared: new Map() });
}

function compileOne(source: PolicySource): Result<CompiledPolicy, PolicyProblem[]> {
  const problem = (code: PolicyProblem['code'], message: string): PolicyProblem => ({
    policy: source.id,
    code,
    message,
  });
  const parsed = cedar.policyToJson(source.text);
  if (parsed.type === 'failure') return err(parsed.errors.map((error) => problem('policy_syntax', error.message)));
  const checked = cedar.validate({
    schema: CEDAR_SCHEMA,
    policies: { staticPolicies: { [source.id]: source.text } },
    validationSettings: { mode: 'strict' },
  });
  if (checked.type === 'failure') return err(checked.errors.map((error) => problem('policy_invalid', error.message)));
  const findings = [
    ...checked.validationErrors.map(({ error }) => error),
    ...checked.validationWarnings.map(({ error }) => error),
    ...checked.otherWarnings,
  ];
  if (findings.length > 0) {
    return err(findings.map(({ message, help }) => problem('policy_invalid', help ? `${message} (${help})` : message)));
  }
  const { json } = parsed;
  const until = json.annotations?.['until'];
  const expiresAt = until === undefined ? null : parseDate(until);
  if (Number.isNaN(expiresAt)) {
    return err([
      problem('policy_until', '@until takes an ISO 8601 date such as "2027-01-31" or "2027-01-31T12:00:00Z"'),
    ]);
  }
  return ok({
    ...source,
    json,
    link: null,
    digest: digestOf(source.text),
    serial: nextSerial(),
    reads: readsOf(json),
    startsAt: null,
    targets: targetsOf(json),
    expiresAt: json.effect === 'permit' ? expiresAt : null,
    forLists: withoutCallContext(json),
  });
}

const ISO_DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2})?Z)?$/;

/** ms since the epoch; NaN when it is no ISO date. A day without a time begins at 00:00 UTC. */
export function parseDate(text: string): number {
  return ISO_DATE.test(text) ? Date.parse(text) : Number.NaN;
}

function toolIndex(tools: readonly ToolFacts[]): Map<string, Map<string, ToolFacts>> {
  const index = new Map<string, Map<string, ToolFacts>>();
  for (const tool of tools) {
    const ofServer = index.get(tool.server);
    if (ofServer) ofServer.set(tool.name, tool);
    else index.set(tool.server, new Map([[tool.name, tool]]));
  }
  return index;
}
