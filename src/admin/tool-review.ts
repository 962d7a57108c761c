/**
 * The review of tools and other items: propose, approve, withdraw (AP-01, TD-03). One person proposes what can do more than read, somebody
 * else agrees to exactly that proposal about exactly that definition. The rules are `integrity/review.ts`; here they meet people and a revision.
 */
import { z } from 'zod';
import { widerBudget } from '../integrity/judgement.ts';
import { DigestText, Judgement, itemKey, type ToolRecord } from '../integrity/records.ts';
import {
  agree,
  approve,
  propose,
  proposalDigest,
  takesTwo,
  withdraw,
  type ReviewProblem,
} from '../integrity/review.ts';
import { scanDefinition } from '../integrity/scan.ts';
import { toolStanding } from '../integrity/standing.ts';
import { cancelApprovals } from '../gateway/ended-approvals.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { EventFacts } from '../audit/entries.ts';
import { commitChange } from './commit.ts';
import { aroundOf } from './neighbours.ts';
import { conflict, forbidden, invalid, type Problem } from './problem.ts';
import type { Item } from './records.ts';
import { handler, Reason, type Answer, type Ask } from './route.ts';
import { toolOf } from './tools.ts';

const Digest = DigestText.describe('Digest of the definition that you read. Another one is refused.');
const said = Judgement.shape;

export const proposeTool = handler({
  body: z.strictObject({ digest: Digest, ...said }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id: _, revision: __, ...tool } = found.value;
    const { digest, ...judgement } = ask.body;
    const proposed = propose(tool, { ...judgement, ...byNow(ask), expectedDigest: digest });
    if (!proposed.ok) return err(reviewProblem(proposed.error));
    const { risk, scope, justification } = judgement;
    return commitTool(ask, found.value, proposed.value, 'tool.proposed', justification, { digest, risk, scope });
  },
});

/** What somebody says who agrees to a proposal. */
const WITH_PROPOSAL: ReadonlySet<string> = new Set(['digest', 'proposal', 'justification']);

export const approveTool = handler({
  body: z
    .strictObject({
      digest: Digest,
      proposal: DigestText.optional().describe(
        'Id of the proposal that you agree to; then give no judgement of your own, only why you agree as `justification`.',
      ),
      ...Judgement.partial().shape,
    })
    .refine((body) => body.proposal === undefined || Object.keys(body).every((member) => WITH_PROPOSAL.has(member)), {
      path: ['proposal'],
      message: 'Agree to a proposal as it is, or leave it out and give a judgement of your own.',
    }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id: _, revision: __, ...tool } = found.value;
    const { digest, proposal, ...own } = ask.body;
    const decided =
      proposal === undefined
        ? await alone(ask, found.value.id, tool, digest, own)
        : agreed(ask, tool, { expectedDigest: digest, proposal });
    if (!decided.ok) return decided;
    const { risk, scope, justification, proposedBy } = decided.value.approved!;
    const why = own.justification ?? justification;
    return commitTool(ask, found.value, decided.value, 'tool.approved', why, {
      digest,
      risk,
      scope,
      ...(proposedBy !== undefined && { proposedBy }),
    });
  },
});

export const withdrawTool = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id: _, revision: __, ...tool } = found.value;
    const digest = tool.approved?.digest ?? tool.proposal?.digest;
    if (digest === undefined)
      return err(
        conflict('not_approved', 'It has no approval to withdraw.', 'Nothing needs to be done: it cannot be used.'),
      );
    return commitTool(ask, found.value, withdraw(tool), 'tool.withdrawn', ask.body.reason, { digest });
  },
});

const byNow = ({ who, ctx }: Ask<unknown, unknown>): { readonly by: string; readonly at: number } => ({
  by: who.person,
  at: ctx.clock.now(),
});

function agreed(
  ask: Ask<unknown, unknown>,
  tool: ToolRecord,
  read: Pick<Parameters<typeof agree>[1], 'expectedDigest' | 'proposal'>,
): Result<ToolRecord, Problem> {
  const decided = agree(tool, { ...byNow(ask), ...read, mayBeOwn: ask.ctx.facts.unsafeOnePersonMayDecide });
  return decided.ok ? decided : err(reviewProblem(decided.error));
}

/** One person's own judgement, where that is enough. */
async function alone(
  ask: Ask<unknown, unknown>,
  id: string,
  tool: ToolRecord,
  expectedDigest: Parameters<typeof agree>[1]['expectedDigest'],
  own: { readonly [M in keyof Judgement]?: Judgement[M] | undefined },
): Promise<Result<ToolRecord, Problem>> {
  const judgement = Judgement.safeParse(own);
  if (!judgement.success) {
    const [issue] = judgement.error.issues;
    const remedy = 'Give risk, scope and justification, or the id of the `proposal` that you agree to.';
    return err(invalid(issue?.path.map(String).join('.') ?? '', issue?.message ?? 'is not valid', remedy));
  }
  const decided = approve(tool, { ...judgement.data, ...byNow(ask), expectedDigest });
  if (!decided.ok) return err(reviewProblem(decided.error));
  if (ask.ctx.facts.unsafeOnePersonMayDecide) return decided;
  const findings = scanDefinition(tool.observed?.definition ?? {}, aroundOf(ask.ctx, tool.server));
  const why = takesTwo(tool, judgement.data.risk, findings, await everStricter(ask, id, judgement.data));
  return why === null ? decided : err(NEEDS_TWO[why]);
}

/**
 * From the history: whoever withdraws it first must not thereby make a reading of it, nor trust what it returns, nor keep inside what it
 * is given, nor have more of it than people allowed.
 */
export async function everStricter(
  { ctx }: Pick<Ask<unknown, unknown>, 'ctx'>,
  id: string,
  { untrustedOutput, outward, budget }: Pick<Judgement, 'untrustedOutput' | 'outward' | 'budget'>,
): Promise<boolean> {
  const changes = await ctx.state.history('tool', ctx.org, id);
  return changes.some(({ body }) => {
    const before = body?.['approved'] as Readonly<Record<string, unknown>> | null | undefined;
    if (!before) return false;
    const laxer = (before['untrustedOutput'] === true && !untrustedOutput) || (before['outward'] === true && !outward);
    return laxer || widerBudget(before['budget'] as Judgement['budget'], budget) || before['risk'] !== 'read';
  });
}

const PROPOSE = 'Propose it with this judgement; somebody else with the role approves the proposal.';
const NEEDS_TWO: Readonly<Record<NonNullable<ReturnType<typeof takesTwo>>, Problem>> = {
  class: forbidden('needs_second_person', 'What can do more than read is not approved by one person.', PROPOSE),
  finding: forbidden(
    'needs_second_person',
    'The definition has findings that one person does not wave through.',
    PROPOSE,
  ),
  lowered: forbidden(
    'needs_second_person',
    'It was judged more strictly before, or its name or the server says that it does more than read: one person does not call it reading.',
    PROPOSE,
  ),
};

export async function commitTool(
  ask: Ask<unknown, unknown>,
  { id, revision: expectedRevision, approved: before }: Item<ToolRecord>,
  tool: ToolRecord,
  what: string,
  reason: string,
  facts: EventFacts,
): Promise<Result<Answer, Problem>> {
  const { ctx } = ask;
  // What people agreed to under the former review is agreed to no more (AP-07).
  const ended =
    tool.approved === before
      ? []
      : cancelApprovals(ctx.snapshot(), ctx.org, tool.server, new Set([itemKey(tool.kind, tool.name)]), what);
  const done = await commitChange(ask, {
    what,
    subject: `tool/${id}`,
    reason: reason.slice(0, 1000),
    facts: ended.length === 0 ? facts : { ...facts, approvalsEnded: ended.map((write) => write.id) },
    writes: [{ kind: 'tool', org: ctx.org, id, body: tool, expectedRevision }, ...ended],
  });
  if (!done.ok) return done;
  const { proposal } = tool;
  return ok({
    body: {
      tool: id,
      standing: toolStanding(tool),
      revision: done.value,
      ...(proposal !== undefined && { proposal: proposalDigest(proposal) }),
    },
    revision: done.value,
  });
}

export function reviewProblem(problem: ReviewProblem): Problem {
  switch (problem.code) {
    case 'nothing_to_review':
      return conflict(
        'nothing_to_review',
        'The server does not offer this now.',
        'Refresh the server, then read it again.',
      );
    case 'definition_moved':
      return conflict(
        'definition_moved',
        `The definition is now ${problem.observed}, not the one you read.`,
        'Read the difference again and decide anew.',
      );
    case 'definition_refused':
      return invalid(
        'digest',
        `The definition hides something from its reader: ${problem.findings.map(({ code, path }) => `${code} at ${path || '/'}`).join(', ')}.`,
        'It cannot be approved. Ask the owner of the server to correct it.',
      );
    case 'schema_refused':
      return invalid(
        'digest',
        `What callers send could not be checked: ${problem.message}.`,
        'Ask the owner of the server to correct the definition.',
      );
    case 'review_invalid':
      return invalid(problem.field, problem.message);
    case 'nothing_proposed':
      return conflict('nothing_proposed', 'Nothing is proposed about it.', PROPOSE);
    case 'proposal_moved':
      return conflict(
        'proposal_moved',
        'Something else is proposed by now.',
        'Read the proposal again and decide anew.',
      );
    case 'proposal_own':
      return forbidden('proposal_own', 'Nobody approves their own proposal.', 'Ask somebody else with the role.');
    default:
      return problem satisfies never;
  }
}
