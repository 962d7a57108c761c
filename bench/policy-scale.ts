/**
 * How decisions cost at scale: 1,000 servers, 20,000 tools, 50,000 people, 2,000 policies (written ones, grants with and without conditions on
 * arguments, forbids). Milliseconds of waiting; `cpuMean` is what the process used, which other work on the machine does not change. Cold: the first question of its kind. Warm: asked before. Numbers belong to the machine they were taken on; the ratio
 * and the goal (p99 below 1 ms, warm) are what to look at. `node bench/policy-scale.ts [--write]`
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { BASELINE } from '../src/policy/baseline.ts';
import type { PolicySource } from '../src/policy/compile.ts';
import { compilePolicies } from '../src/policy/compile.ts';
import { decide, visible } from '../src/policy/decide.ts';
import type { PersonFacts, Question } from '../src/policy/decide.ts';
import { compileGrant } from '../src/policy/grant-policies.ts';
import { Grant } from '../src/policy/grants.ts';
import { NO_FLOW } from '../src/policy/labels.ts';
import type { ToolFacts } from '../src/policy/schema.ts';

const SERVERS = 1_000;
const TOOLS_OF_EACH = 20;
const PEOPLE = 50_000;
const GROUPS = 500;
const AT = 1_800_000_000_000;
const GRANTS = 1_795;
const WRITTEN = 150;
const FORBIDS = 50;

/** Mulberry32: the same world every time. */
function randomness(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
const random = randomness(5);
const below = (bound: number): number => Math.floor(random() * bound);
const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;
/** A few are used by many. */
const popular = (bound: number): number => Math.floor(bound * random() ** 3);

const RISKS = ['read', 'read', 'read', 'write', 'write', 'destructive', 'execute', 'regulated'] as const;
const tools: ToolFacts[] = Array.from({ length: SERVERS * TOOLS_OF_EACH }, (_, index) => ({
  server: `s${Math.floor(index / TOOLS_OF_EACH)}`,
  name: `t${index % TOOLS_OF_EACH}`,
  kind: 'tool',
  risk: pick(RISKS),
  scope: `s${Math.floor(index / TOOLS_OF_EACH)}:${index % 3}`,
  environment: pick(['production', 'production', 'staging'] as const),
  dataClasses: pick([['internal'], ['internal'], ['regulated']] as const),
  ...(index % 4 === 0 && { parameters: { '/path': 'path', '/to': 'domain' } as const }),
}));
const people: PersonFacts[] = Array.from({ length: PEOPLE }, (_, index) => ({
  id: `p${index}`,
  roles: pick([['member'], ['member'], ['developer'], ['developer'], ['operator'], ['security_reviewer']]),
  groups: Array.from({ length: 1 + below(5) }, () => `g${popular(GROUPS)}`),
}));

const written: PolicySource[] = [
  ...BASELINE,
  ...Array.from({ length: WRITTEN }, (_, index) => ({
    id: `written.${index}`,
    text:
      index % 3 === 0
        ? `permit (principal in Remit::Group::"g${below(GROUPS)}", action, resource in Remit::Server::"s${popular(SERVERS)}")
           when { context.scopeHeld && context.arguments.strings.hasTag("/path") && context.arguments.strings.getTag("/path") like "/data/*" };`
        : `permit (principal in Remit::Group::"g${below(GROUPS)}", action, resource in Remit::Server::"s${popular(SERVERS)}") when { context.scopeHeld };`,
  })),
  ...Array.from({ length: FORBIDS }, (_, index) => ({
    id: `forbid.${index}`,
    text: `forbid (principal in Remit::Group::"g${below(GROUPS)}", action, resource in Remit::Server::"s${popular(SERVERS)}");`,
  })),
];
const grants = Array.from({ length: GRANTS }, (_, index) => {
  const tool = tools[popular(tools.length)]!;
  const conditional = index % 3 === 0;
  const compiled = compileGrant(
    `grant_${index}`,
    Grant.parse({
      who: index % 2 === 0 ? { kind: 'person', id: `p${below(PEOPLE)}` } : { kind: 'group', id: `g${below(GROUPS)}` },
      what: { server: tool.server, items: [tool.name] },
      conditions: conditional ? [{ argument: '/path', is: 'path_under', values: ['/data/a', '/tmp'] }] : [],
      approval: 'by_risk',
      justification: 'bench',
      expiresAt: index % 5 === 0 ? AT + 86_400_000 + index : null,
      state: 'active',
      requestedBy: 'a',
      requestedAt: 0,
      decidedBy: 'b',
      decidedAt: 0,
      note: null,
    }),
  );
  if (!compiled.ok) throw new Error(compiled.error);
  return compiled.value;
});

const ARGUMENTS = [{ path: '/data/a/x', to: 'a@b.com' }, { path: '/etc/passwd' }, {}];
/** Half of the questions are about somebody who has something there: those are the ones that cost. */
function ask(): Question {
  const head = grants[below(grants.length)]!.json;
  const granted = random() < 0.5;
  const target = granted && 'entity' in head.resource ? (head.resource.entity as { id: string }).id.split('/') : null;
  const tool = target ? { server: target[0]!, name: target[1]! } : tools[popular(tools.length)]!;
  const own =
    head.principal.op === '==' && 'entity' in head.principal ? (head.principal.entity as { id: string }).id : null;
  const person = granted && own !== null ? people[Number(own.slice(1))]! : people[below(PEOPLE)]!;
  return {
    org: 'bench',
    person,
    agent: 'client',
    tool,
    scopes: new Set([0, 1, 2].map((scope) => `${tool.server}:${scope}`)),
    approved: false,
    ...NO_FLOW,
    arguments: pick(ARGUMENTS),
    signIn: { authTime: null, amr: [], acr: null },
    alone: false,
    actors: [],
    at: AT,
  };
}

const percentile = (sorted: readonly number[], part: number): number =>
  Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0).toFixed(4));
function measured(run: (question: Question) => void, questions: readonly Question[]): object {
  const used = process.cpuUsage();
  const times = questions.map((question) => {
    const from = performance.now();
    run(question);
    return performance.now() - from;
  });
  const { user, system } = process.cpuUsage(used);
  times.sort((a, b) => a - b);
  return {
    questions: times.length,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    max: percentile(times, 1),
    cpuMean: Number(((user + system) / 1_000 / times.length).toFixed(4)),
  };
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, write: { type: 'boolean', default: false } },
});
const mb = (): number => {
  (globalThis as { gc?: () => void }).gc?.();
  return Math.round(process.memoryUsage().rss / 1_000_000);
};
const before = mb();
let from = performance.now();
const compiled = compilePolicies({ policies: written, tools, grants });
if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
const compileMs = performance.now() - from;
let set = compiled.value;
from = performance.now();
decide(set, ask());
const firstMs = performance.now() - from;

const questions: Question[] = Array.from({ length: 4_000 }, ask);
const cold = measured((question) => void decide(set, question), questions);
const coldDenied = questions.filter((question) => decide(set, question).verdict !== 'allow').length;
const warmAll = measured((question) => void decide(set, question), questions);
// Whoever has a grant with limits on arguments: these are evaluated for every call.
const limited: Question[] = grants
  .filter(({ reads }) => reads.perCall)
  .flatMap(({ json: { principal, resource } }) => {
    if (!('entity' in principal) || !('entity' in resource)) return [];
    const [{ id }, item] = [principal.entity as { id: string }, (resource.entity as { id: string }).id.split('/')];
    const person =
      principal.op === '==' ? people[Number(id.slice(1))] : people.find(({ groups }) => groups.includes(id));
    return person
      ? [
          {
            ...ask(),
            person,
            tool: { server: item[0]!, name: item[1]! },
            scopes: new Set([0, 1, 2].map((scope) => `${item[0]}:${scope}`)),
          },
        ]
      : [];
  });
const coldPerCall = measured((question) => void decide(set, question), limited);
const warmPerCall = measured((question) => void decide(set, question), limited);
from = performance.now();
const shown = tools.filter((tool) => visible(set, { person: people[7]!, agent: 'client', at: AT }, tool)).length;
const listMs = performance.now() - from;
from = performance.now();
const changed = compilePolicies({ policies: written, tools, grants: grants.slice(1), previous: set });
if (!changed.ok) throw new Error('no change');
set = changed.value;
const changeMs = performance.now() - from;
const afterChange = measured((question) => void decide(set, question), questions.slice(0, 1_000));

const result = {
  world: { servers: SERVERS, tools: tools.length, people: PEOPLE, policies: written.length + grants.length },
  node: process.version,
  compileMs: Math.round(compileMs),
  firstDecisionMs: Math.round(firstMs),
  oneGrantChangedMs: Math.round(changeMs),
  decisionMs: {
    cold,
    warm: warmAll,
    argumentLimitsCold: coldPerCall,
    argumentLimitsWarm: warmPerCall,
    afterOneGrantChanged: afterChange,
  },
  refusedOfCold: coldDenied,
  listOf20000Ms: Math.round(listMs),
  shown,
  memoryMb: { before, after: mb() },
};
process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
if (values.write)
  writeFileSync(new URL('policy-scale-baseline.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
