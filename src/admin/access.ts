/**
 * Would this person be allowed to call this tool, and by which policies: the same function that decides calls, over the same snapshot,
 * after the checks that stand before it (standing, locks, server state, pin). Nothing is called and nothing is held.
 */
import { z } from 'zod';
import { toolStanding } from '../integrity/standing.ts';
import { lockOn } from '../gateway/standing.ts';
import { err, ok } from '../lib/result.ts';
import { explain } from '../policy/explain.ts';
import { notFound } from './problem.ts';
import { handler } from './route.ts';

export const explainAccess = handler({
  body: z.strictObject({
    person: z.string().describe('Id of the person.'),
    server: z.string(),
    tool: z.string().describe('Name of a tool, or the key of another item, such as `prompt greeting`.'),
    agent: z.string().default('remit-explain').describe('Client id the person would use.'),
    scopes: z.array(z.string()).optional().describe('Scopes of the token. Left out: the scope of the tool is held.'),
    arguments: z.record(z.string(), z.json()).default({}),
    approved: z.boolean().default(false),
  }),
  run: async ({ ctx, body }) => {
    const view = ctx.snapshot();
    const at = ctx.clock.now();
    const person = view.people.byId(body.person);
    if (!person) return err(notFound('person', body.person));
    const server = view.servers.get(body.server);
    const tool = server?.tools.get(body.tool);
    if (server === undefined || tool === undefined) return err(notFound('tool', `${body.server}/${body.tool}`));

    // In the order of the pipeline: the first that says no is the answer.
    const lock = lockOn(view, { person: person.id, agent: body.agent, server: server.id, tool: tool.key }, at);
    const standing = toolStanding(tool.record);
    const before = [
      ['person_inactive', person.state !== 'active'],
      [`locked:${lock?.subject.kind ?? ''}`, lock !== null],
      [`server_${server.record.state}`, server.record.state !== 'enabled'],
      [`tool_${standing}`, standing !== 'approved'],
      ['policies_broken', view.policies === null],
    ] as const;
    const stop = before.find(([, stopped]) => stopped);
    const facts = {
      revision: view.revision,
      policy: view.policyDigest,
      person: person.id,
      roles: person.roles,
      risk: tool.approved?.risk ?? null,
      scope: tool.approved?.scope ?? null,
    };
    if (stop !== undefined || view.policies === null) {
      return ok({
        body: {
          verdict: 'deny',
          reason: stop?.[0] ?? 'policies_broken',
          rules: [],
          policies: [],
          nearest: [],
          stoppedBefore: 'policy',
          ...facts,
        },
      });
    }
    const scopes = new Set(body.scopes ?? (tool.approved === null ? [] : [tool.approved.scope]));
    const { decision, policies, nearest } = explain(view.policies, {
      org: ctx.org,
      person: { id: person.id, roles: person.roles },
      agent: body.agent,
      tool: { server: server.id, name: tool.key },
      scopes,
      approved: body.approved,
      arguments: body.arguments,
      at,
    });
    return ok({ body: { ...decision, policies, nearest, stoppedBefore: null, ...facts } });
  },
});
