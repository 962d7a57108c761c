/**
 * What somebody should look at: agents and servers nobody answers for, secrets that are too old, clients that wait (NH-05, AN-14).
 * Read from the records at this moment, so an owner who leaves is in the list with the commit that took them away.
 */
import { Agent } from '../inventory/agents.ts';
import { ok } from '../lib/result.ts';
import { FINDINGS } from './agent-states.ts';
import { findingsOf } from './agents.ts';
import { itemsOf } from './records.ts';
import { handler } from './route.ts';

export const listFindings = handler({
  run: async ({ ctx }) => {
    const { people, servers } = ctx.snapshot();
    const agents = itemsOf(ctx, 'agent', Agent).flatMap((agent) =>
      findingsOf(ctx, agent).map((code) => ({
        kind: 'agent',
        id: agent.id,
        title: agent.title,
        code,
        message: FINDINGS[code],
      })),
    );
    const orphans = [...servers.values()]
      .filter(({ record }) => record.state !== 'retired' && record.state !== 'draft')
      .filter(({ record }) => people.byId(record.owner)?.state !== 'active')
      .map(({ id, record }) => ({
        kind: 'server',
        id,
        title: record.title,
        code: 'owner_gone',
        message: `Its owner ${record.owner} is gone or inactive. Name another owner, or suspend it.`,
      }));
    return ok({ body: { findings: [...orphans, ...agents] } });
  },
});
