/**
 * The decision over one call (AZ-01, AZ-02, AZ-12). Pure in what it answers: the same set and question give the same decision;
 * what it keeps inside the set only makes the second answer cheap.
 * Default deny; any error denies. *Challenge*, *step_up* and *hold* are not rules of their own: they are what the policies would say
 * with the tool's scope, with a better sign-in, or with an approval. They are asked for in this order: first what the client can fetch
 * alone, then what its person can do, last what needs somebody else, who should not be asked to agree to a call that then is not made.
 * Not checked here: locks, pins, argument schema, limits; the pipeline does that.
 */
import type { JsonObject } from '../lib/json.ts';
import { SECOND_FACTOR_ACR } from '../lib/second-factor.ts';
import type { PolicySet } from './compile.ts';
import type { Flow } from './labels.ts';
import { ALL_BITS, COPIED, FROM, combinationsOf, flowBits } from './labels.ts';
import { situation } from './parts.ts';
import type { Standing } from './prepare.ts';
import { classOf, keptAnswers, listAnswer, perCallAnswer, preparedAt, standingOf, whoFor } from './prepare.ts';
import { labelsRead } from './reads.ts';
import type { Who } from './request.ts';
import { roleBits } from './request.ts';
import type { ToolFacts } from './schema.ts';
import { holds } from './scopes.ts';
import { NO_SIGN_IN, betterSignIns, signInAt } from './sign-in.ts';
import type { BetterSignIn, SignIn, SignInFacts } from './sign-in.ts';

export interface PersonFacts {
  /** Directory id. */
  readonly id: string;
  readonly roles: readonly string[];
  /** Record ids, from the directory and never from a token. */
  readonly groups: readonly string[];
}

export interface Question extends Flow {
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
  readonly signIn: SignIn;
  /** An agent acts by itself: there is no person who could sign in. */
  readonly alone: boolean;
  /** Who else acts in the chain (RFC 8693 `act`), outermost first. */
  readonly actors: readonly string[];
  /** ms since the epoch. */
  readonly at: number;
}

export type DecisionReason =
  | 'scope_missing'
  | 'sign_in_insufficient'
  | 'approval_missing'
  | 'not_permitted' // no policy permits it, and neither scope nor sign-in nor approval would change that
  | 'forbidden' // a forbid policy matched
  | 'policy_error'
  | 'role_missing'
  | 'role_unknown'
  | 'tool_unknown';

export interface Decision {
  readonly verdict: 'allow' | 'deny' | 'challenge' | 'step_up' | 'hold';
  /** null when allowed. */
  readonly reason: DecisionReason | null;
  /** Ids of the policies that decided; empty when none matched. */
  readonly rules: readonly string[];
  /** With `challenge`: all and only the scopes of this operation (PROTOCOL.md O5). */
  readonly requiredScopes?: readonly string[];
  /** With `step_up`. */
  readonly stepUp?: StepUp;
  /** For the operator, never for the caller. */
  readonly errors: readonly string[];
}

/** The sign-in that would do (RFC 9470 section 3). */
export interface StepUp {
  /** Null: its age is good enough. */
  readonly maxAgeSeconds: number | null;
  /** Any of them; empty: it need not be stronger. */
  readonly acrValues: readonly string[];
  /** What would be said then. */
  readonly after: 'allow' | 'hold';
}

const deny = (reason: DecisionReason, errors: readonly string[] = [], rules: readonly string[] = []): Decision =>
  Object.freeze({ verdict: 'deny', reason, rules, errors });

const TOOL_UNKNOWN = deny('tool_unknown');
const ROLE_UNKNOWN = deny('role_unknown');
const ROLE_MISSING = deny('role_missing');

/** Never throws. Costs a few Map lookups unless a policy that may concern this tool reads what only a call knows. */
export function decide(set: PolicySet, question: Question): Decision {
  try {
    const { person, agent, at } = question;
    const tool = set.tools.get(question.tool.server)?.get(question.tool.name);
    if (!tool) return TOOL_UNKNOWN;
    const roles = roleBits(person.roles);
    if (roles === null) return ROLE_UNKNOWN;
    if (roles === 0) return ROLE_MISSING;
    const cls = classOf(preparedAt(set, at), tool);
    const labels = flowBits(question);
    const who = whoFor(cls, roles, person, agent, labels);
    const standing = standingOf(cls, who);
    const scopeHeld = holds(question.scopes, tool.scope, set.scopes);
    if (standing.perCall) return judge(standing, who, scopeHeld, tool, question);
    const key = situation(roles, labels & standing.labels, scopeHeld, question.approved);
    let decision = standing.decisions.get(key) as Decision | undefined;
    if (!decision) {
      decision = Object.freeze(judge(standing, who, scopeHeld, tool, question));
      standing.decisions.set(key, decision);
    }
    // Tools of one class share answers but not scopes.
    return decision.verdict === 'challenge' ? { ...decision, requiredScopes: [tool.scope] } : decision;
  } catch (error) {
    return deny('policy_error', [error instanceof Error ? error.message : String(error)]);
  }
}

/**
 * Labels of a trace, and what flows into a call, that could make a difference to this question, as bits, whatever it says they are: only those does anybody need to know
 * for sure. What cannot be asked is denied anyway.
 */
export function labelsMatter(set: PolicySet, question: Question): number {
  try {
    const { person, agent, at } = question;
    const tool = set.tools.get(question.tool.server)?.get(question.tool.name);
    const roles = roleBits(person.roles);
    if (!tool || roles === null || roles === 0) return 0;
    const cls = classOf(preparedAt(set, at), tool);
    const who = whoFor(cls, roles, person, agent);
    const standing = standingOf(cls, who);
    if (standing.labels === 0) return 0;
    let matters = standing.labelsMatter.get(roles);
    if (matters === undefined) {
      matters = standing.perCallLabels;
      for (const [held, agreed] of COMBINATIONS) matters |= differing(standing, who, held, agreed);
      standing.labelsMatter.set(roles, matters);
    }
    return matters;
  } catch {
    return ALL_BITS | COPIED | FROM;
  }
}

const READ = new WeakMap<PolicySet, number>();
/** Labels, and what flows into calls, that any of these policies reads, as bits. */
export function readBy(set: PolicySet): number {
  let bits = READ.get(set);
  if (bits === undefined) READ.set(set, (bits = set.policies.reduce((all, { reads }) => all | labelsRead(reads), 0)));
  return bits;
}

/** Labels by which the kept answers differ: one of two combinations has it, in all else they are the same. */
function differing(standing: Standing, who: Who, scopeHeld: boolean, approved: boolean): number {
  const answers = combinationsOf(standing.labels).map((labels) => ({
    labels,
    answer: JSON.stringify(keptAnswers(standing, { ...who, labels }, scopeHeld, approved)),
  }));
  let found = 0;
  for (const one of answers)
    for (const other of answers) {
      const apart = one.labels ^ other.labels;
      if ((apart & (apart - 1)) === 0 && one.answer !== other.answer) found |= apart;
    }
  return found;
}

/**
 * Whether any combination of scope, sign-in, approval and labels could let this person call the tool through this agent: the filter of lists.
 * Where policies read the call it is an upper bound: a listed tool may be refused for its arguments, a hidden one can never be called.
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
    const seen = whoFor(cls, roles, who.person, who.agent);
    const { shown, labels: read } = standingOf(cls, seen);
    let answer = shown.get(roles);
    if (answer === undefined) {
      // A list is the same whatever its reader has received: what is held for it is there.
      answer = combinationsOf(read).some((labels) => {
        const labelled = { ...seen, labels };
        return COMBINATIONS.some(([scopeHeld, approved]) => {
          const { permits, forbids, errors } = listAnswer(cls, labelled, scopeHeld, approved);
          return errors.length === 0 && forbids.length === 0 && permits.length > 0;
        });
      });
      shown.set(roles, answer);
    }
    return answer;
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

interface Outcome {
  readonly allowed: boolean;
  readonly forbidden: boolean;
  readonly rules: readonly string[];
  readonly errors: readonly string[];
}

function judge(standing: Standing, who: Who, scopeHeld: boolean, tool: ToolFacts, question: Question): Decision {
  const { scope } = tool;
  const { approved } = question;
  const signIn = standing.signIn ? signInAt(question.signIn, question.at) : NO_SIGN_IN;
  const ask: Ask = (held, agreed, better = signIn) => outcome(standing, who, held, agreed, better, tool, question);
  const now = ask(scopeHeld, approved);
  if (now.allowed) return { verdict: 'allow', reason: null, rules: now.rules, errors: [] };
  if (now.errors.length > 0) return deny('policy_error', now.errors, now.rules);
  // Nobody can sign in for an agent that acts alone.
  const better = standing.signIn && !question.alone ? betterSignIns(signIn, standing.signIn.values()) : [];
  const withScope = (facts?: SignInFacts): boolean =>
    ask(true, approved, facts).allowed || ask(true, true, facts).allowed;
  if (!scopeHeld && (withScope() || better.some(({ facts }) => withScope(facts)))) {
    return { verdict: 'challenge', reason: 'scope_missing', rules: now.rules, requiredScopes: [scope], errors: [] };
  }
  const stepUp = (agreed: boolean): Decision | null => {
    const allows = (facts: SignInFacts): Outcome => ask(scopeHeld, agreed, facts);
    for (const one of better) {
      const then = allows(one.facts);
      if (!then.allowed) continue;
      const wanted = signInWanted(standing, one, [...now.rules, ...then.rules], better, allows);
      const asked = { ...wanted, after: agreed === approved ? ('allow' as const) : ('hold' as const) };
      return { verdict: 'step_up', reason: 'sign_in_insufficient', rules: now.rules, stepUp: asked, errors: [] };
    }
    return null;
  };
  const outright = stepUp(approved);
  if (outright) return outright;
  if (!approved) {
    if (ask(scopeHeld, true).allowed) {
      return { verdict: 'hold', reason: 'approval_missing', rules: now.rules, errors: [] };
    }
    const first = stepUp(true);
    if (first) return first;
  }
  return deny(now.forbidden ? 'forbidden' : 'not_permitted', [], now.rules);
}

type Ask = (scopeHeld: boolean, approved: boolean, signIn?: SignInFacts) => Outcome;

/**
 * What to ask the person for, from the literals of the policies that stood in the way or would permit. An age that they do not compare with
 * a literal is asked for as 0: now. Only values of `acr` that would do are named.
 */
function signInWanted(
  { signIn }: Standing,
  { fresh, stronger, facts }: BetterSignIn,
  rules: readonly string[],
  better: readonly BetterSignIn[],
  allows: (facts: SignInFacts) => Outcome,
): Omit<StepUp, 'after'> {
  const concerned = rules.flatMap((id) => signIn?.get(id) ?? []);
  const ages = concerned.flatMap(({ ages }) => ages);
  const maxAgeSeconds = !fresh ? null : ages.length > 0 ? Math.min(...ages) : 0;
  if (!stronger) return { maxAgeSeconds, acrValues: [] };
  const named = new Set(concerned.flatMap(({ acrs }) => acrs));
  const tried = better.filter((one) => one.stronger && one.fresh === fresh).map(({ facts }) => facts.acr);
  const acrValues = [...new Set(tried)].filter((acr) => named.has(acr) && allows({ ...facts, acr }).allowed);
  return { maxAgeSeconds, acrValues: acrValues.length > 0 ? acrValues : [SECOND_FACTOR_ACR] };
}

/** Kept and per-call policies together are the whole set: permitted by one, forbidden by none, and nothing erred. */
function outcome(
  standing: Standing,
  who: Who,
  scopeHeld: boolean,
  approved: boolean,
  signIn: SignInFacts,
  tool: ToolFacts,
  question: Question,
): Outcome {
  const answers = keptAnswers(standing, who, scopeHeld, approved);
  if (standing.perCall) {
    const scopes = new Set(question.scopes);
    if (scopeHeld) scopes.add(tool.scope);
    const { arguments: args, at, alone, actors, copiedFrom, receivedFrom } = question;
    const carries = { arguments: args, copiedFrom, receivedFrom };
    const call = { scopeHeld, approved, scopes: [...scopes], ...carries, at, signIn, alone, actors };
    answers.push(perCallAnswer({ ...standing, perCall: standing.perCall }, tool, who, call));
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
