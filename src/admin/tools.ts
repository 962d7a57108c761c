/**
 * Tools and other items of a server: what it offers, what was approved, the difference. The review itself is tool-review.ts.
 */
import { z } from 'zod';
import { diffDefinitions } from '../integrity/diff.ts';
import { meaningOf } from '../integrity/meaning.ts';
import { ITEM_KINDS, ToolRecord, itemKey, toolId } from '../integrity/records.ts';
import { proposalDigest } from '../integrity/review.ts';
import { setOf } from '../integrity/set.ts';
import { suggestRisk } from '../integrity/risk-hint.ts';
import { scanDefinition } from '../integrity/scan.ts';
import { toolStanding } from '../integrity/standing.ts';
import { Server } from '../inventory/records.ts';
import type { JsonObject } from '../lib/json.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { AdminContext } from './context.ts';
import { aroundOf } from './neighbours.ts';
import { notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler } from './route.ts';

export const listTools = handler({
  query: z.strictObject({ kind: z.enum(ITEM_KINDS).optional().describe('Items of this kind only; left out: all.') }),
  run: async ({ ctx, params, query }) => {
    const server = params['server'] ?? '';
    if (itemOf(ctx, 'server', server, Server) === undefined) return err(notFound('server', server));
    const all = itemsOf(ctx, 'tool', ToolRecord).filter((tool) => tool.server === server);
    const around = aroundOf(ctx, server);
    const tools = all
      .filter((tool) => (query.kind ?? tool.kind) === tool.kind)
      .map((tool) => {
        const { kind, name, observed, approved, proposal, revision, driftedAt } = tool;
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
          proposed: proposal === undefined ? null : { risk: proposal.risk, by: proposal.by, at: proposal.at },
          suggestion: definition === null ? null : suggestRisk(kind, definition),
          findings:
            definition === null
              ? []
              : scanDefinition(definition, around).map(({ code, severity }) => ({ code, severity })),
          seenAt: observed?.seenAt ?? null,
          driftedAt: driftedAt ?? null,
        };
      });
    return ok({ body: { server, watching: ctx.catalogue.status(server), set: setOf(all), tools } });
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
        proposal: tool.proposal === undefined ? null : { ...tool.proposal, id: proposalDigest(tool.proposal) },
        driftedAt: tool.driftedAt ?? null,
        diff: diffDefinitions((tool.approved?.definition ?? null) as JsonObject | null, observed),
        meaning: meaningOf((tool.approved?.definition ?? null) as JsonObject | null, observed),
        findings: observed === null ? [] : scanDefinition(observed, aroundOf(ask.ctx, tool.server)),
        suggestion: observed === null ? null : suggestRisk(tool.kind, observed),
      },
    });
  },
});

/** The item that the path names. */
export function toolOf({
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
