/** Small random organisations: policies, people, agents, items, and questions about them. Seeded by whoever draws them. */
import * as fc from 'fast-check';
import type { EffectAgent, EffectPerson } from '../../src/policy/effect.ts';
import type { PolicySource } from '../../src/policy/compile.ts';
import type { Question } from '../../src/policy/decide.ts';
import type { Label } from '../../src/policy/labels.ts';
import type { ToolFacts } from '../../src/policy/schema.ts';
import { tool } from './fixtures.ts';

export const AT = 1_800_000_000_000;

const HEADS = [
  'principal in Remit::Role::"developer"',
  'principal in Remit::Role::"operator"',
  'principal in Remit::Group::"group_red"',
  'principal in Remit::Group::"group_blue"',
  'principal == Remit::Person::"person_1"',
  'principal == Remit::Person::"agent/agent_3"',
  'principal',
];
const RESOURCES = [
  'resource',
  'resource in Remit::Server::"files"',
  'resource == Remit::Tool::"files/delete"',
  'resource == Remit::Tool::"mail/send"',
];
const KEPT = [
  'context.scopeHeld',
  'context.scopeHeld && context.approved',
  'resource.risk == Remit::Risk::"read" && context.scopeHeld',
  '[Remit::Risk::"destructive", Remit::Risk::"write"].contains(resource.risk)',
  'context.agent == Remit::Agent::"client-1"',
  'resource.dataClasses.contains(Remit::DataClass::"regulated")',
  'context.approved',
  'context.untrusted && context.private',
  'context.untrusted && resource.outward',
  'context.regulated && !context.secret',
  'context.confidential && resource.outward',
  'context.private && !context.approved',
];
const PER_CALL = [
  'context.arguments.strings.hasTag("/path") && context.arguments.strings.getTag("/path") like "/tmp/*"',
  'context.signIn.age <= 900',
  'context.signIn.secondFactor && context.scopeHeld',
  'context.alone',
  'context.alone && context.untrusted',
  'context.scopes.contains("extra")',
  'context.actors.contains("client-2")',
];

/** `calls`: with policies that read the call. */
export const policyText = (calls: boolean): fc.Arbitrary<string> =>
  fc
    .record({
      effect: fc.constantFrom('permit', 'permit', 'permit', 'forbid'),
      head: fc.constantFrom(...HEADS),
      resource: fc.constantFrom(...RESOURCES),
      clause: fc.constantFrom('when', 'when', 'unless'),
      condition: fc.constantFrom(...KEPT, ...(calls ? PER_CALL : [])),
    })
    .map(
      ({ effect, head, resource, clause, condition }) =>
        `${effect} (${head}, action == Remit::Action::"callTool", ${resource}) ${clause} { ${condition} };`,
    );

export const policies = (calls: boolean, max = 6): fc.Arbitrary<PolicySource[]> =>
  fc
    .array(policyText(calls), { maxLength: max })
    .map((texts) => texts.map((text, index) => ({ id: `policy.${index}`, text })));

export const ITEMS: readonly ToolFacts[] = [
  tool({ name: 'read' }),
  tool({ name: 'delete', risk: 'destructive', scope: 'files:delete' }),
  tool({ name: 'prompt hello', kind: 'prompt', environment: 'development' }),
  tool({ server: 'mail', name: 'send', risk: 'write', scope: 'mail:send', dataClasses: ['regulated'], outward: true }),
  tool({ server: 'mail', name: 'list', scope: 'mail:read' }),
];

const ISSUERS = ['https://one.example', 'https://two.example'];

export const people: fc.Arbitrary<EffectPerson[]> = fc
  .array(
    fc.record({
      roles: fc.subarray(['member', 'developer', 'operator', 'approver']),
      groups: fc.subarray(['group_red', 'group_blue', 'group_unnamed']),
      issuers: fc.subarray(ISSUERS, { minLength: 1 }),
    }),
    { minLength: 1, maxLength: 7 },
  )
  .map((all) => all.map((one, index) => ({ id: `person_${index}`, ...one })));

export const agents: fc.Arbitrary<EffectAgent[]> = fc
  .array(
    fc.record({
      issuer: fc.constantFrom(...ISSUERS),
      roles: fc.constantFrom(null, null, ['developer'], ['operator']),
      below: fc.constantFrom(null, null, 'files', 'mail'),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((all) =>
    all.map(({ issuer, roles, below }, index) => ({
      id: `agent_${index}`,
      client: `client-${index % 4}`,
      issuer,
      roles,
      bound: below ?? '',
      reaches: (item) => below === null || item.server === below,
    })),
  );

/** Whatever a call may bring. */
export const calls: fc.Arbitrary<
  Pick<Question, 'scopes' | 'approved' | 'arguments' | 'signIn' | 'actors' | Label> & {
    readonly at: number;
  }
> = fc.record({
  scopes: fc
    .subarray(['files:read', 'files:delete', 'mail:send', 'mail:read', 'extra'])
    .map((scopes): ReadonlySet<string> => new Set(scopes)),
  approved: fc.boolean(),
  untrusted: fc.boolean(),
  private: fc.boolean(),
  confidential: fc.boolean(),
  regulated: fc.boolean(),
  secret: fc.boolean(),
  arguments: fc.constantFrom({}, { path: '/tmp/a' }, { path: '/etc/a' }, { path: 7 }),
  signIn: fc.record({
    authTime: fc.constantFrom(null, AT / 1_000 - 100, AT / 1_000 - 5_000),
    amr: fc.constantFrom([], ['pwd'], ['pwd', 'otp']),
    acr: fc.constantFrom(null, 'urn:x'),
  }),
  actors: fc.constantFrom([], ['client-2']),
  at: fc.constantFrom(AT, AT),
});
