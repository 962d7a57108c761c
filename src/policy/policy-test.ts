/**
 * Policies tested by cases that people can read: who, with which agent, uses what, how, and what must be said. The same decisions as for calls,
 * over whatever set is handed in; guards before policy (locks, pins, ceilings) are not asked. A case that names what is not there fails, it is
 * never skipped.
 */
import { z } from 'zod';
import type { CompiledPolicy, PolicySet, PolicySource } from './compile.ts';
import { compilePolicies, withTools } from './compile.ts';
import type { Question } from './decide.ts';
import { explain } from './explain.ts';
import type { DecidingPolicy, NearestChange } from './explain.ts';
import { flowFrom } from './labels.ts';
import { POLICY_DATA_CLASSES, POLICY_ENVIRONMENTS, POLICY_KINDS, POLICY_RISKS, POLICY_ROLES } from './schema.ts';
import type { ToolFacts } from './schema.ts';

const VERDICTS = ['allow', 'deny', 'challenge', 'step_up', 'hold'] as const;

export const TestTool = z.strictObject({
  server: z.string().min(1).max(63),
  name: z.string().min(1).max(2_100),
  kind: z.enum(POLICY_KINDS).default('tool'),
  risk: z.enum(POLICY_RISKS),
  scope: z.string().min(1).max(128),
  environment: z.enum(POLICY_ENVIRONMENTS).default('production'),
  dataClasses: z.array(z.enum(POLICY_DATA_CLASSES)).min(1).default(['internal']),
  outward: z.boolean().default(false),
});

const Who = z.strictObject({
  /** Directory id; policies may name it. */
  person: z.string().min(1).max(200).default('somebody'),
  roles: z.array(z.enum(POLICY_ROLES)).default([]),
  /** Record ids. */
  groups: z.array(z.string().min(1).max(200)).default([]),
  /** An agent that acts by itself; `person` is then `agent/<record id>`. */
  alone: z.boolean().default(false),
});

export const TestCase = z.strictObject({
  name: z.string().min(1).max(300),
  /** A name under `people`, a directory id where a gateway is asked, or who it is. */
  who: z.union([z.string().min(1).max(200), Who]),
  agent: z.string().min(1).max(512).default('any-client'),
  /** `server/name`. */
  tool: z.string().min(3).max(2_200),
  arguments: z.record(z.string(), z.json()).default({}),
  /** Of the token; left out: the scope of the tool. */
  scopes: z.array(z.string()).max(500).optional(),
  approved: z.boolean().default(false),
  /** What the trace has received before; the last three are private, too. */
  untrusted: z.boolean().default(false),
  private: z.boolean().default(false),
  confidential: z.boolean().default(false),
  regulated: z.boolean().default(false),
  secret: z.boolean().default(false),
  /** Text that another server with such data gave is in the arguments; of which ones; whose output the trace has received. */
  copied: z.boolean().default(false),
  copiedFrom: z.array(z.string()).max(1_000).default([]),
  receivedFrom: z.array(z.string()).max(1_000).default([]),
  signIn: z
    .strictObject({
      /** Seconds ago; null: the token does not say. */
      age: z.number().int().min(0).nullable().default(0),
      amr: z.array(z.string()).max(20).default([]),
      acr: z.string().nullable().default(null),
    })
    .prefault({}),
  actors: z.array(z.string()).max(10).default([]),
  /** When; left out: now. */
  at: z.iso.datetime().optional(),
  expect: z.enum(VERDICTS),
  /** Exactly these policies decide. */
  by: z.array(z.string()).max(100).optional(),
});
export type TestCase = z.infer<typeof TestCase>;

export const TestCases = z.array(TestCase).min(1).max(1_000);

/** A file of cases. What the policies are is said beside it or by a gateway. */
export const TestSuite = z.strictObject({
  tools: z.array(TestTool).max(1_000).default([]),
  people: z.record(z.string(), Who).default({}),
  /** Files with one Cedar policy each, by id; `baseline` in force unless this says no. */
  policies: z.record(z.string(), z.string().min(1)).default({}),
  baseline: z.boolean().default(true),
  /** Files with one grant each, by id. */
  grants: z.record(z.string(), z.string().min(1)).default({}),
  cases: TestCases,
});
export type TestSuite = z.infer<typeof TestSuite>;

export interface CaseResult {
  readonly name: string;
  readonly passed: boolean;
  readonly expected: string;
  /** Null: it could not be asked, and `problem` says why. */
  readonly got: string | null;
  readonly problem: string | null;
  readonly reason: string | null;
  readonly policies: readonly DecidingPolicy[];
  readonly nearest: readonly NearestChange[];
}

/** The set that a suite speaks about. */
export function suiteSet(
  suite: Pick<TestSuite, 'tools'>,
  policies: readonly PolicySource[],
  grants: readonly CompiledPolicy[],
): ReturnType<typeof compilePolicies> {
  return compilePolicies({ policies, grants, tools: suite.tools });
}

/** `people`: whom a case may name. `at`: ms since the epoch. */
export function runCases(
  set: PolicySet,
  cases: readonly TestCase[],
  people: (name: string) => z.infer<typeof Who> | null,
  at: number,
): CaseResult[] {
  return cases.map((one) => runCase(set, one, people, at));
}

function runCase(
  set: PolicySet,
  one: TestCase,
  people: (name: string) => z.infer<typeof Who> | null,
  now: number,
): CaseResult {
  const base = { name: one.name, expected: one.expect, reason: null, policies: [], nearest: [] };
  const failed = (problem: string): CaseResult => ({ ...base, passed: false, got: null, problem });
  const who = typeof one.who === 'string' ? people(one.who) : one.who;
  if (!who) return failed(`there is nobody called ${JSON.stringify(one.who)}`);
  const slash = one.tool.indexOf('/');
  const tool: ToolFacts | undefined = set.tools.get(one.tool.slice(0, slash))?.get(one.tool.slice(slash + 1));
  if (!tool) return failed(`there is no tool ${JSON.stringify(one.tool)}`);
  const at = one.at === undefined ? now : Date.parse(one.at);
  const { age, amr, acr } = one.signIn;
  const question: Question = {
    org: 'test',
    person: { id: who.person, roles: who.roles, groups: who.groups },
    agent: one.agent,
    tool,
    scopes: new Set(one.scopes ?? [tool.scope]),
    approved: one.approved,
    ...flowFrom(one),
    arguments: one.arguments,
    signIn: { authTime: age === null ? null : Math.floor(at / 1_000) - age, amr, acr },
    alone: who.alone,
    actors: one.actors,
    at,
  };
  const { decision, policies, nearest } = explain(set, question);
  const wrong = [
    ...(decision.verdict === one.expect ? [] : [`said ${decision.verdict}, not ${one.expect}`]),
    ...(one.by === undefined || one.by.toSorted().join() === decision.rules.toSorted().join()
      ? []
      : [`decided by ${decision.rules.join(', ') || 'none'}, not by ${one.by.join(', ') || 'none'}`]),
    ...decision.errors,
  ];
  return {
    ...base,
    passed: wrong.length === 0,
    got: decision.verdict,
    problem: wrong.length === 0 ? null : wrong.join('; '),
    reason: decision.reason,
    policies,
    nearest,
  };
}

/** The same policies over these tools besides their own. */
export function withTestTools(set: PolicySet, tools: readonly ToolFacts[]): PolicySet {
  if (tools.length === 0) return set;
  const own = [...set.tools.values()].flatMap((ofServer) => [...ofServer.values()]);
  return withTools(set, [...own, ...tools]);
}
