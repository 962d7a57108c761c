/**
 * Why an approval is bound to all that it is bound to (AP-02, AP-07, AZ-09): each attack against the product, where it is held again or
 * refused, and against a table whose guard binds it to one thing less, where it lands at the sink. The lesser guards exist here alone.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { openKey } from '../../src/approvals/records.ts';
import type { Approval } from '../../src/approvals/records.ts';
import type { Call } from '../../src/gateway/call.ts';
import { known } from '../../src/gateway/call.ts';
import { PASS } from '../../src/gateway/guard.ts';
import type { Guard, GuardPorts } from '../../src/gateway/guard.ts';
import { personAgreed } from '../../src/gateway/guards/person-agreed.ts';
import { PIPELINE } from '../../src/gateway/pipeline.ts';
import type { Row } from '../../src/gateway/pipeline.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';
import { approverOf } from './held-support.ts';

const rigs: Rig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.stop();
});
async function start(table: readonly Row[] | null = null, more: RigOptions = {}): Promise<Rig> {
  const rig = await startRig({ admin: true, ...more, ...(table && { table }) });
  rigs.push(rig);
  return rig;
}

/** The last look at what was spent, which would find the lesser binding, is taken out with it. */
const trusting = (ports: GuardPorts): void => void Object.assign(ports.approvals, { stands: () => true });
const withGather = (gather: Guard['gather']): readonly Row[] =>
  PIPELINE.map((row) => (row.guard.name === personAgreed.name ? { ...row, guard: { ...row.guard, gather } } : row));
/** An approval is found and asked for as if the call were what `less` makes of it. */
const boundTo = (less: (call: Call) => Call['facts']): readonly Row[] =>
  withGather((call, ports) => {
    trusting(ports);
    if (known(call, 'decision').verdict !== 'hold') return personAgreed.gather(call, ports);
    return personAgreed.gather({ ...call, facts: { ...call.facts, ...less(call) } }, ports);
  });

const WITHOUT_ARGUMENTS = boundTo(() => ({ arguments: {} }));
/** Goes by the definition it met first. */
const withoutDefinition = (): readonly Row[] => {
  const first: { digest?: ReturnType<typeof digestIn> } = {};
  return boundTo((call) => {
    const tool = known(call, 'tool');
    return { tool: { ...tool, approved: { ...tool.approved!, digest: (first.digest ??= digestIn(call)) } } };
  });
};
const digestIn = (call: Call) => known(call, 'tool').approved!.digest;
const WITHOUT_TERMS = boundTo((call) => {
  const [tool, server] = [known(call, 'tool'), known(call, 'server')];
  const { source: _source, ...record } = server.record;
  return {
    tool: { ...tool, facts: { risk: tool.facts!.risk } as never },
    server: { ...server, record },
  };
});

const OMAR: CallOptions = { as: 'omar' };
const remove = (rig: Rig, text: string, how: CallOptions = OMAR, more: JsonObject = {}): Promise<Answer> =>
  rig.ask('notes', 'tools/call', { name: 'delete_note', arguments: { text }, ...more }, how);
const reached = (rig: Rig, text: string): number =>
  rig
    .sink()
    .calls()
    .filter(({ body }) => body.includes(text)).length;
const HELD = "waits for a person's approval";

/** Asked for the harmless call, and agreed to. */
async function agreedTo(rig: Rig, text: string): Promise<string> {
  const held = await remove(rig, text);
  expect(held.text).toContain(HELD);
  const id = /\((apr_[0-9a-z]+)/.exec(held.text)![1]!;
  const { call } = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
  expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: call! })).status).toBe(200);
  await rig.caughtUp();
  return id;
}

describe('approve A, send B', () => {
  const attack = async (rig: Rig): Promise<Answer> => {
    await agreedTo(rig, 'the draft');
    return remove(rig, 'the whole archive');
  };

  test('AP-02: other arguments are another call: held, and the yes stays good for its own call, once', async () => {
    const rig = await start();
    expect((await attack(rig)).text).toContain(HELD);
    expect(reached(rig, 'archive')).toBe(0);
    expect((await remove(rig, 'the draft')).result?.['isError']).not.toBe(true);
    expect((await remove(rig, 'the draft')).text).toContain(HELD);
    expect(reached(rig, 'draft')).toBe(1);
  });

  test('AP-02 twin: where a yes is not bound to the arguments, the archive is deleted', async () => {
    const rig = await start(WITHOUT_ARGUMENTS);
    const answer = await attack(rig);
    expect([answer.result?.['isError'], reached(rig, 'archive')], answer.text).toEqual([undefined, 1]);
  });

  test('AP-02 twin: where a yes is not spent, one is good for deleting three times', async () => {
    const table = withGather((call, ports) => {
      Object.assign(ports.approvals, { use: () => Promise.resolve(true), stands: () => true });
      return personAgreed.gather(call, ports);
    });
    const rig = await start(table);
    await agreedTo(rig, 'the draft');
    for (let time = 0; time < 3; time++) await remove(rig, 'the draft');
    expect(reached(rig, 'draft')).toBe(3);
  });
});

describe('approve, swap, call', () => {
  const swapped = textTool('delete_note', 'destructive', 'notes:delete', { description: 'Deletes every note.' });
  /**
   * The server says something else under the same name, and that was reviewed since, as a routine update. What drift did to the yes is
   * undone, so that nothing but its binding stands in the way.
   */
  const attack = async (rig: Rig): Promise<Answer> => {
    const id = await agreedTo(rig, 'one note');
    const before = rig.view.get('approval', 'default', id)!.body as unknown as Approval;
    rig.sink().setTools([swapped.definition]);
    await rig.look('notes');
    expect(rig.view.get('approval', 'default', id)?.body['state']).toBe('failed');
    await rig.approveTool('notes', 'delete_note', 'destructive', 'notes:delete');
    await rig.commit([{ kind: 'approval', org: 'default', id, key: openKey(before), body: before }]);
    return remove(rig, 'one note');
  };

  test('AP-07: a definition that changed voids the yes: the same arguments are held again', async () => {
    const rig = await start();
    expect((await attack(rig)).text).toContain(HELD);
    expect(reached(rig, 'one note')).toBe(0);
  });

  test('AP-07 twin: where the yes is not bound to the definition, the swapped tool runs on it', async () => {
    const rig = await start(withoutDefinition());
    const answer = await attack(rig);
    expect([answer.result?.['isError'], reached(rig, 'one note')], answer.text).toEqual([undefined, 1]);
  });

  test('AP-07: so does another word about data classes or version; where it is not bound to them (twin), it runs', async () => {
    for (const [table, calls] of [
      [null, 0],
      [WITHOUT_TERMS, 1],
    ] as const) {
      const rig = await start(table);
      for (const [text, change] of [
        ['first', { dataClasses: ['regulated' as const] }],
        ['second', { source: { vendor: 'Notes', version: '2.0.0' } }],
      ] as const) {
        await agreedTo(rig, text);
        await rig.setServer('notes', change as never);
        await rig.look('notes');
        const answer = await remove(rig, text);
        expect([text, answer.text.includes(HELD), reached(rig, text)], answer.text).toEqual([text, calls === 0, calls]);
      }
    }
  });
});

describe('the state of somebody else’s waiting call', () => {
  const SETTINGS: RigOptions = {
    people: { omar: ['operator'], olga: ['operator'], petra: ['approver'] },
    approvals: { holdMs: 200, rounds: 5 },
  };
  /** Omar asks and is agreed to; Olga, who may ask for the same, brings Omar's state. */
  const attack = async (rig: Rig): Promise<Answer> => {
    const first = await remove(rig, 'the ledger');
    const requestState = first.result!['requestState'] as string;
    await approverOf(rig).decide('the ledger', 'approve');
    await rig.caughtUp();
    return remove(rig, 'the ledger', { as: 'olga', client: 'agent-2' }, { requestState });
  };

  test('AZ-09: is refused, whatever became of the call', async () => {
    const rig = await start(null, SETTINGS);
    const answer = await attack(rig);
    expect(answer.error).toMatchObject({ code: -32602, message: expect.stringContaining('requestState is not valid') });
    expect(reached(rig, 'ledger')).toBe(0);
  });

  test('AZ-09 twin: where a state is good for whoever brings it, another person’s call runs on the yes', async () => {
    const bearer = withGather((call, ports) => {
      trusting(ports);
      const id = call.facts.waits?.held;
      const approval = typeof id === 'string' ? ports.approvals.read(id) : null;
      if (approval?.state !== 'approved') return personAgreed.gather(call, ports);
      return { held: { state: 'approved', id: id!, call: approval.call }, now: ports.clock.now() };
    });
    const unowned = tableWith({
      'state-is-theirs': (_call, opened) => {
        const state = opened as { readonly ok: boolean; readonly value: never } | null;
        return state?.ok ? { pass: true, learned: { waits: state.value } } : PASS;
      },
    });
    const table = unowned.map((row, at) => (row.guard.name === 'state-is-theirs' ? row : bearer[at]!));
    const rig = await start(table, SETTINGS);
    const answer = await attack(rig);
    expect([answer.result?.['isError'], reached(rig, 'ledger')], answer.text).toEqual([undefined, 1]);
    const [intent] = await rig.entries('intent');
    expect(intent?.actor).toMatchObject({ subject: 'olga@corp' });
  });
});
