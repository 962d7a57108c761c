/**
 * Tools and other items of a server: what it offers, what was approved, the difference, and the review itself (TD-03).
 * The rules (digest seen equals digest approved, findings that block) are `integrity/review.ts`; here they meet a person and a revision.
 */
import { z } from 'zod';
import { diffDefinitions } from '../integrity/diff.ts';
import {
  DigestText,
  ITEM_KINDS,
  RISK_CLASSES,
  TASK_SUPPORT,
  ToolRecord,
  itemKey,
  toolId,
} from '../integrity/records.ts';
import { approve, suggestRisk, withdraw, type ReviewProblem } from '../integrity/review.ts';
import { scanDefinition } from '../integrity/scan.ts';
import { toolStanding } from '../integrity/standing.ts';
import { Server } from '../inventory/records.ts';
import type { JsonObject } from '../lib/json.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { commitChange } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';

export const listTools = handler({
  query: z.strictObject({ kind: z.enum(ITEM_KINDS).optional().describe('Items of this kind only; left out: all.') }),
  run: async ({ ctx, params, query }) => {
    const server = params['server'] ?? '';
    if (itemOf(ctx, 'server', server, Server) === undefined) return err(notFound('server', server));
    const tools = itemsOf(ctx, 'tool', ToolRecord)
      .filter((tool) => tool.server === server && (query.kind ?? tool.kind) === tool.kind)
      .map((tool) => {
        const { kind, name, observed, approved, revision } = tool;
        const definition = (observed?.definition ?? null) as JsonObject | null;
        return {
          kind,
          name,
          key: itemKey(kind, name),
          revision,
          standing: toolStanding(tool),
          digest: observed?.digest ?? null,
          risk: approved?.risk ?? null,
          scope: approved?.scope ?? null,
          suggestion: definition === null ? null : suggestRisk(kind, definition),
          findings:
            definition === null ? [] : scanDefinition(definition).map(({ code, severity }) => ({ code, severity })),
          seenAt: observed?.seenAt ?? null,
        };
      });
    return ok({ body: { server, watching: ctx.catalogue.status(server), tools } });
  },
});

export const getTool = handler({
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id: _, revision, ...tool } = found.value;
    const observed = (tool.observed?.definition ?? null) as JsonObject | null;
    return ok({
      revision,
      body: {
        ...tool,
        key: itemKey(tool.kind, tool.name),
        revision,
        standing: toolStanding(tool),
        diff: diffDefinitions((tool.approved?.definition ?? null) as JsonObject | null, observed),
        findings: observed === null ? [] : scanDefinition(observed),
        suggestion: observed === null ? null : suggestRisk(tool.kind, observed),
      },
    });
  },
});

export const approveTool = handler({
  body: z.strictObject({
    digest: DigestText.describe('Digest of the definition that you read. Another one is refused.'),
    risk: z.enum(RISK_CLASSES),
    scope: z.string(),
    justification: z.string(),
    tasks: z
      .enum(TASK_SUPPORT)
      .optional()
      .describe('Whether it may, or must, run as a task. Left out: as its definition says.'),
  }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id, revision, ...tool } = found.value;
    const { digest, risk, scope, justification, tasks } = ask.body;
    const decided = approve(tool, {
      risk,
      scope,
      justification,
      ...(tasks && { tasks }),
      by: ask.who.person,
      at: ask.ctx.clock.now(),
      expectedDigest: digest,
    });
    if (!decided.ok) return err(reviewProblem(decided.error));
    return commitTool(ask, id, revision, decided.value, 'tool.approved', justification, { digest, risk, scope });
  },
});

export const withdrawTool = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const found = toolOf(ask);
    if (!found.ok) return found;
    const { id, revision, ...tool } = found.value;
    if (tool.approved === null)
      return err(
        conflict('not_approved', 'It has no approval to withdraw.', 'Nothing needs to be done: it cannot be used.'),
      );
    const digest = tool.approved.digest;
    return commitTool(ask, id, revision, withdraw(tool), 'tool.withdrawn', ask.body.reason, { digest });
  },
});

function toolOf({
  ctx,
  params,
}: {
  ctx: AdminContext;
  params: Readonly<Record<string, string>>;
}): Result<Item<ToolRecord>, Problem> {
  const id = toolId(params['server'] ?? '', params['tool'] ?? '');
  const tool = itemOf(ctx, 'tool', id, ToolRecord);
  return tool === undefined ? err(notFound('tool', id)) : ok(tool);
}

async function commitTool(
  ask: Ask<unknown, unknown>,
  id: string,
  expectedRevision: number,
  tool: ToolRecord,
  what: string,
  reason: string,
  facts: Record<string, string>,
) {
  const body = tool;
  const done = await commitChange(ask, {
    what,
    subject: `tool/${id}`,
    reason: reason.slice(0, 1000),
    facts,
    writes: [{ kind: 'tool', org: ask.ctx.org, id, body, expectedRevision }],
  });
  return done.ok
    ? ok({ body: { tool: id, standing: toolStanding(tool), revision: done.value }, revision: done.value })
    : done;
}

function reviewProblem(problem: ReviewProblem): Problem {
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
    default:
      return problem satisfies never;
  }
}
