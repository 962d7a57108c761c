/**
 * What somebody should look at in what servers offer: definitions that moved, items that came or went, proposals that wait (TD-02, TD-03, TD-09).
 * Read from the records at this moment; a drift is here with the commit that recorded it.
 */
import { ToolRecord } from '../integrity/records.ts';
import { setOf } from '../integrity/set.ts';
import { toolStanding } from '../integrity/standing.ts';
import { Server } from '../inventory/records.ts';
import type { AdminContext } from './context.ts';
import { itemOf, itemsOf, type Item } from './records.ts';

export interface ToolFinding {
  readonly kind: 'tool' | 'server';
  readonly id: string;
  readonly title: string;
  readonly code: 'definition_changed' | 'definition_gone' | 'items_unreviewed' | 'proposal_waits';
  readonly message: string;
}

/** A proposal that nobody answered for this long is one that somebody waits for. */
const WAITS_MS = 86_400_000;
const NAMED = 5;

/** Of servers that are enabled. */
export function toolFindings(ctx: AdminContext, now: number): readonly ToolFinding[] {
  const byServer = new Map<string, Array<Item<ToolRecord>>>();
  for (const tool of itemsOf(ctx, 'tool', ToolRecord))
    byServer.set(tool.server, [...(byServer.get(tool.server) ?? []), tool]);
  return [...byServer].flatMap(([id, tools]) => {
    const server = itemOf(ctx, 'server', id, Server);
    if (server?.state !== 'enabled') return [];
    const { unreviewed } = setOf(tools);
    return [
      ...(unreviewed.length === 0
        ? []
        : [
            {
              kind: 'server',
              id,
              title: server.title,
              code: 'items_unreviewed',
              message: `It offers what nobody has reviewed, and nobody can use: ${listed(unreviewed)}.`,
            } as const,
          ]),
      ...tools.flatMap((tool) => ofTool(tool, now)),
    ];
  });
}

function ofTool(tool: Item<ToolRecord>, now: number): readonly ToolFinding[] {
  const { id, name, proposal, driftedAt } = tool;
  const found = (code: ToolFinding['code'], message: string): ToolFinding => ({
    kind: 'tool',
    id,
    title: name,
    code,
    message,
  });
  const since = driftedAt === undefined ? '' : ` since ${new Date(driftedAt).toISOString()}`;
  const standing = toolStanding(tool);
  return [
    ...(standing === 'changed'
      ? [
          found(
            'definition_changed',
            `The server says something else than what was approved${since}; nobody can use it. Review the difference, or roll back.`,
          ),
        ]
      : []),
    ...(standing === 'gone'
      ? [found('definition_gone', `It was approved, and the server does not offer it any more${since}.`)]
      : []),
    ...(proposal !== undefined && now - proposal.at >= WAITS_MS
      ? [
          found(
            'proposal_waits',
            `A proposal of ${proposal.by} has waited for somebody else since ${new Date(proposal.at).toISOString()}.`,
          ),
        ]
      : []),
  ];
}

const listed = (keys: readonly string[]): string =>
  keys.length <= NAMED ? keys.join(', ') : `${keys.slice(0, NAMED).join(', ')} and ${keys.length - NAMED} more`;
