/** Cases of `remit policy test` against what is in force here, or what would be: real items, real people where they are named by id. Changes nothing. */
import { z } from 'zod';
import { standingRoles } from '../directory/roles.ts';
import { err, ok } from '../lib/result.ts';
import { candidateOf } from '../policy/candidate.ts';
import { TestCases, TestTool, runCases, withTestTools } from '../policy/policy-test.ts';
import { PolicyRecord } from '../policy/records.ts';
import { POLICIES_BROKEN } from './effects.ts';
import { invalid, notFound } from './problem.ts';
import { itemOf } from './records.ts';
import { handler } from './route.ts';

export const testPolicies = handler({
  body: z.strictObject({
    cases: TestCases,
    tools: z.array(TestTool).max(1_000).default([]).describe('Tools that are not here, for cases about them.'),
    candidate: z
      .union([
        z.strictObject({ policy: z.string().min(1).max(200).describe('A stored draft, with what it replaces.') }),
        z.strictObject({ text: PolicyRecord.shape.text, replaces: PolicyRecord.shape.replaces }),
      ])
      .optional()
      .describe('Left out: what is in force.'),
  }),
  run: async ({ ctx, body }) => {
    const view = ctx.snapshot();
    if (view.policies === null) return err(POLICIES_BROKEN);
    let set = view.policies;
    const { candidate } = body;
    if (candidate) {
      const draft =
        'policy' in candidate
          ? itemOf(ctx, 'policy', candidate.policy, PolicyRecord)
          : { id: 'candidate', ...candidate };
      if (!draft) return err(notFound('policy', 'policy' in candidate ? candidate.policy : ''));
      const made = candidateOf(set, { without: draft.replaces, add: [{ id: draft.id, text: draft.text }] });
      if (!made.ok) return err(invalid('candidate', made.error.map(({ message }) => message).join('; ')));
      set = made.value;
    }
    const results = runCases(
      withTestTools(set, body.tools),
      body.cases,
      (id) => {
        const person = view.people.byId(id);
        if (!person || person.state !== 'active') return null;
        const groups = (person.groups ?? []).filter((group) => view.groups.has(group));
        return { person: id, roles: [...standingRoles(person, view.groups)], groups, alone: false };
      },
      ctx.clock.now(),
    );
    const failed = results.filter(({ passed }) => !passed).length;
    return ok({ body: { revision: view.revision, passed: results.length - failed, failed, results } });
  },
});
