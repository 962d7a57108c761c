/**
 * Gaps between parts: a review that says something else of a tool while a call is between its guards, and an agent that has only grants.
 * The oracle is the sink.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { itemIsTheirs } from '../../src/gateway/guards/item-is-theirs.ts';
import { ToolRecord } from '../../src/integrity/records.ts';
import type { Judgement } from '../../src/integrity/records.ts';
import { Agent } from '../../src/inventory/agents.ts';
import { Grant } from '../../src/policy/grants.ts';
import { ERAS, ORG, startRig, tableWith } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());

/** While the intent of the next call is durable and nothing is sent, somebody reviews the tool anew. */
function reviewedBetween(more: Partial<Judgement> & { readonly by?: string }): void {
  rig.faults.after = async (entry) => {
    if (entry.kind !== 'intent') return;
    rig.faults.after = null;
    const record = ToolRecord.parse(rig.view.get('tool', ORG, 'notes/write_note')!.body);
    const approved = { ...record.approved!, ...more };
    await rig.commit([{ kind: 'tool', org: ORG, id: 'notes/write_note', body: { ...record, approved } }]);
  };
}
const write = () => rig.call('notes', 'write_note', { text: '/data/../secret' });

const CHANGES: ReadonlyArray<readonly [string, Partial<Judgement>]> = [
  ['arguments are typed', { parameters: { '/text': 'path' } }],
  ['more must agree', { approvals: 2 }],
  ['it cannot be undone', { irreversible: true }],
  ['it runs as a task', { tasks: 'optional' }],
  ['another risk', { risk: 'read' }],
];

describe('TD-02: a call is made under the judgement that its guards read', () => {
  test.each(CHANGES)('TD-02: %s while it is recorded: it stops', async (_t, change) => {
    rig = await startRig();
    reviewedBetween(change);
    const answer = await write();
    expect(rig.sink().calls()).toHaveLength(0);
    const [, , denied] = await rig.about(answer.reference);
    expect(denied?.decision?.reason).toBe('tool_changed');
  });

  test('TD-02: the same judgement by somebody else, for other reasons, stops nothing', async () => {
    rig = await startRig();
    reviewedBetween({ by: 'sara', justification: 'looked again' });
    await write();
    expect(rig.sink().calls()).toHaveLength(1);
  });

  test('TD-02, the twin: a guard that does not look back lets it through', async () => {
    const decide = (call: Parameters<typeof itemIsTheirs.decide>[0], facts: unknown) => {
      const { tool: _, ...rest } = call.facts;
      return itemIsTheirs.decide({ ...call, facts: rest }, facts);
    };
    rig = await startRig({ table: tableWith({ 'item-is-theirs': decide }) });
    reviewedBetween({ approvals: 2 });
    await write();
    expect(rig.sink().calls()).toHaveLength(1);
  });
});

describe('AZ-08: an agent that acts alone and has the role member', () => {
  test.each(ERAS)('AZ-08: %s: reaches what it was granted and nothing else', async (era) => {
    rig = await startRig();
    const { issuer } = rig.issuer;
    const agent = (roles: Agent['roles']) => {
      const body = { issuer, clientId: 'job', title: 'Job', kind: 'autonomous', state: 'active', owner: 'ada' };
      const record = Agent.parse({ ...body, roles, ceiling: {} });
      return rig.commit([{ kind: 'agent', org: ORG, id: 'agent_job', key: `${issuer} job`, body: record }]);
    };
    const token = rig.token('', { claims: { sub: 'job', client_id: 'job' } });
    const call = async (tool: string): Promise<number> => {
      const before = rig.sink().calls().length;
      await rig.call('notes', tool, { text: 'x' }, { token, era });
      return rig.sink().calls().length - before;
    };
    await agent(['member']);
    expect([await call('read_note'), await call('write_note')]).toEqual([0, 0]);
    const granted = Grant.parse({
      who: { kind: 'agent', id: 'agent_job' },
      what: { server: 'notes', items: ['write_note'] },
      conditions: [],
      approval: 'by_risk',
      justification: 'TICKET-1',
      expiresAt: null,
      state: 'active',
      requestedBy: 'ada',
      requestedAt: 1,
      decidedBy: 'sven',
      decidedAt: 1,
      note: null,
    });
    await rig.commit([{ kind: 'grant', org: ORG, id: 'grant_job', body: granted }]);
    expect([await call('read_note'), await call('write_note')]).toEqual([0, 1]);
    // The twin: what a role gives it would have without any grant.
    await agent(['developer']);
    expect(await call('read_note')).toBe(1);
  });
});
