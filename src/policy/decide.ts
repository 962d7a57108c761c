/**
 * The decision over one call (AZ-01, AZ-02, AZ-12). Pure in what it answers: the same set and question give the same decision;
 * what it keeps inside the set only makes the second answer cheap.
 * Default deny; any error denies. *Challenge* and *hold* are not rules of their own: they are what the policies would say
 * with the tool's scope, or with an approval. Not checked here: locks, pins, argument schema, limits; the pipeline does that.
 */
import type { JsonObject } from '../lib/json.ts';
import type { PolicySet } from './compile.ts';
import type { ToolClass } from './prepare.ts';
import { classOf, kept, keptAnswer, listAnswer, perCallAnswer, preparedAt, whoFor } from './prepare.ts';
import type { Who } from './request.ts';
import { roleBits } from './request.ts';
import type { ToolFacts } from './schema.ts';
import { holds } from './scopes.ts';

export interface PersonFacts {
  /** Directory id. */
  readonly id: string;
  /** From the directory, never from a token. */
  readonly roles: readonly string[];
}

export interface Question {
  readonly org: string;
  readonly person: PersonFacts;
  /** OAuth client id. */
  readonly agent: string;
  /** Only the name is read; risk, scope and the rest are those of the set. */
  readonly tool: Pick<ToolFacts, 'server' | 'name'>;
  /** Scopes of the token. */
  readonly scopes: ReadonlySet<string>;
  /** An unused, unexpired approval bound to exactly this call exists. */
  readonly approved: boolean;
  readonly arguments: JsonObject;
  /** ms since the epoch. */
  readonly at: number;
}

export type DecisionReason =
  | 'scope_missing'
  | 'approval_missing'
  | 'not_permitted' // no policy permits it, and neither scope nor approval would change that
  | 'forbidden' // a forbid policy matched
  | 'policy_error'
  | 'role_missing'
  | 'role_unknown'
  | 'tool_unknown';

export interface Decision {
  readonly verdict: 'allow' | 'deny' | 'challenge' | 'hold';
  /** null when allowed. */
  readonly reason: DecisionReason | null;
  /** Ids of the policies that decided; empty when none matched. */
  readonly rules: readonly string[];
  /** With `challenge`: all and only the scopes of this operation (PROTOCOL.md O5). */
  readonly requiredScopes?: readonly string[];
  /** For the operator, never for the caller. */
  readonly errors: readonly string[];
}

const deny = (reason: DecisionReason, errors: readonly string[] = [], rules: readonly string[] = []): Decision =>
  Object.freeze({ verdict: 'deny', reason, rules, errors });

const TOOL_UNKNOWN = deny('tool_unknown');
const ROLE_UNKNOWN = deny('role_unknown');
const ROLE_MISSING = deny('role_missing');

/** Never throws. Costs a few Map lookups unless a policy that may concern this tool reads arguments, the scope list or the time. */
export function decide(set: PolicySet, question: Question): Decision {
  try {
    const { person, agent, at } = question;
    const tool = set.tools.get(question.tool.server)?.get(question.tool.name);
    if (!tool) return TOOL_UNKNOWN;
    const roles = roleBits(person.roles);
    if (roles === null) return ROLE_UNKNOWN;
    if (roles === 0) return ROLE_MISSING;
    const cls = classOf(preparedAt(set, at), tool);
    const who = whoFor(cls, roles, person.id, agent);
    const scopeHeld = holds(question.scopes, tool.scope);
    if (cls.perCall) return judge(cls, who, scopeHeld, tool.scope, question);
    const decisions = cls.decisions as Map<string, Map<number, KeptDecision>>;
    const { decision, challenged } = kept(decisions, who, scopeHeld, question.approved, () =>
      keep(cls, who, scopeHeld, question),
    );
    if (!challenged) return decision;
    // Tools of one class share answers but not scopes.
    return { ...decision, requiredScopes: [tool.scope] };
  } catch (error) {
    return deny('policy_error', [error instanceof Error ? error.message : String(error)]);
  }
}

/**
 * Whether any combination of scope and approval could let this person call the tool through this agent: the filter of lists.
 * Where policies read arguments it is an upper bound: a listed tool may be refused for its arguments, a hidden one can never be called.
 */
export function visible(
  set: PolicySet,
  who: { readonly person: PersonFacts; readonly agent: string; readonly at: number },
  tool: Pick<ToolFacts, 'server' | 'name'>,
): boolean {
  try {
    const facts = set.tools.get(tool.server)?.get(tool.name);
    const roles = roleBits(who.person.roles);
    if (!facts || roles === null || roles === 0) return false;
    const cls = classOf(preparedAt(set, who.at), facts);
    const seen = whoFor(cls, roles, who.person.id, who.agent);
    return COMBINATIONS.some(([scopeHeld, approved]) => {
      const answer = listAnswer(cls, seen, scopeHeld, approved);
      return answer.errors.length === 0 && answer.forbids.length === 0 && answer.permits.length > 0;
    });
  } catch {
    return false;
  }
}

const COMBINATIONS = [
  [true, true],
  [true, false],
  [false, true],
  [false, false],
] as const;

interface KeptDecision {
  readonly decision: Decision;
  readonly challenged: boolean;
}

function keep(cls: ToolClass, who: Who, scopeHeld: boolean, question: Question): KeptDecision {
  const decision = judge(cls, who, scopeHeld, '', question);
  return { decision: Object.freeze(decision), challenged: decision.verdict === 'challenge' };
}

interface Outcome {
  readonly allowed: boolean;
  readonly forbidden: boolean;
  readonly rules: readonly string[];
  readonly errors: readonly string[];
}

function judge(cls: ToolClass, who: Who, scopeHeld: boolean, scope: string, question: Question): Decision {
  const ask = (held: boolean, approved: boolean): Outcome => outcome(cls, who, held, approved, scope, question);
  const now = ask(scopeHeld, question.approved);
  if (now.allowed) return { verdict: 'allow', reason: null, rules: now.rules, errors: [] };
  if (now.errors.length > 0) return deny('policy_error', now.errors, now.rules);
  // With both missing the scope comes first: the caller can fetch it alone, and then the same call is held.
  if (!scopeHeld && (ask(true, question.approved).allowed || ask(true, true).allowed)) {
    return { verdict: 'challenge', reason: 'scope_missing', rules: now.rules, requiredScopes: [scope], errors: [] };
  }
  if (!question.approved && ask(scopeHeld, true).allowed) {
    return { verdict: 'hold', reason: 'approval_missing', rules: now.rules, errors: [] };
  }
  return deny(now.forbidden ? 'forbidden' : 'not_permitted', [], now.rules);
}

/** Kept and per-call policies together are the whole set: permitted by one, forbidden by none, and nothing erred. */
function outcome(
  cls: ToolClass,
  who: Who,
  scopeHeld: boolean,
  approved: boolean,
  scope: string,
  question: Question,
): Outcome {
  const answers = [keptAnswer(cls, who, scopeHeld, approved)];
  if (cls.perCall) {
    const scopes = new Set(question.scopes);
    if (scopeHeld) scopes.add(scope);
    const call = { scopeHeld, approved, scopes: [...scopes], arguments: question.arguments, at: question.at };
    answers.push(perCallAnswer(cls.perCall, cls, who, call));
  }
  const permits = answers.flatMap((answer) => answer.permits);
  const forbids = answers.flatMap((answer) => answer.forbids);
  const errors = answers.flatMap((answer) => answer.errors);
  const forbidden = forbids.length > 0;
  return {
    allowed: permits.length > 0 && !forbidden && errors.length === 0,
    forbidden,
    rules: forbidden ? forbids : permits,
    errors,
  };
}
