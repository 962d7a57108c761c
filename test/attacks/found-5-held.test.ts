/**
 * What was found against held calls: something sent along that nobody was shown, a yes given to one method and used by another, a yes whose
 * giver was locked between its use and the sending, and one that came back with its giver. The oracle is the sink.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { PASS, deny } from '../../src/gateway/guard.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import { PIPELINE } from '../../src/gateway/pipeline.ts';
import type { Row } from '../../src/gateway/pipeline.ts';
import { startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());
const start = async (more: RigOptions = {}): Promise<void> => void (rig = await startRig({ admin: true, ...more }));

const remove = (how: CallOptions = {}): Promise<Answer> =>
  rig.call('notes', 'delete_note', { text: 'old' }, { as: 'omar', ...how });
const made = (): number => rig.sink().calls().length;
const idIn = ({ text }: Answer): string => /apr_[0-9a-z]+/.exec(text)?.[0] ?? '';
async function agree(id: string): Promise<void> {
  const { call } = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
  const agreed = await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: call! });
  expect(agreed.status, agreed.text).toBe(200);
}
const lock = async (kind: string, value: string): Promise<string> => {
  const answer = await rig.admin('ada', 'POST', '/locks', { kind, value, reason: 'incident 9' });
  expect(answer.status, answer.text).toBe(201);
  return answer.body['id'] as string;
};
const lift = async (id: string): Promise<void> => {
  expect((await rig.admin('ada', 'DELETE', `/locks/${id}`, { reason: 'over' })).status).toBe(200);
};
/** When the intent is being written: the yes is spent, nothing has left. */
function beforeItLeaves(act: () => Promise<unknown>): void {
  rig.faults.before = async (entry) => {
    if (entry.kind !== 'intent') return;
    rig.faults.before = null;
    await act();
  };
}
const howItEnded = async ({ reference }: Answer): Promise<readonly string[]> =>
  (await rig.about(reference)).map(({ kind, outcome }) => [kind, outcome?.detail].join(' ').trim());
/** Lets what is agreed to through, and forgets that it was: nothing is spent, nothing is asked again. */
const unbound: Guard['decide'] = (_call, gathered) => {
  const { held } = gathered as { readonly held: { readonly state: string; readonly id: string } | null };
  if (held?.state !== 'pending') return PASS;
  return deny({ reason: 'approval_needed', approval: held.id, expiresAt: Date.now() + 60_000, page: null });
};

describe('AP-02: what nobody was shown does not go along', () => {
  const shown = { 'example.com/dry-run': true };
  const smuggled = { 'example.com/dry-run': 'SMUGGLED' };

  test('AP-02: what a caller attaches to an approved call stays here', async () => {
    await start();
    await agree(idIn(await remove({ meta: shown })));
    expect((await remove({ meta: smuggled })).result?.['isError']).not.toBe(true);
    expect(made()).toBe(1);
    expect(rig.sink().wire()).not.toContain('example.com/dry-run');
  });

  test('AP-02 twin: where nobody was asked, it goes along', async () => {
    await start({ table: tableWith({ 'person-agreed': unbound }) });
    await agree(idIn(await remove({ meta: shown })));
    await remove({ meta: smuggled });
    expect(rig.sink().wire()).toContain('SMUGGLED');
  });
});

describe('AP-02: a yes is for one method', () => {
  const servers = {
    notes: {
      tools: [textTool('read_note', 'read', 'notes:read')],
      risk: (key: string) => (key.startsWith('prompt ') ? ('destructive' as const) : ('read' as const)),
      script: (sink: ReturnType<Rig['sink']>): void => {
        sink.offer({ prompts: [{ name: 'wipe', arguments: [{ name: 'argument' }, { name: 'value' }] }] });
        sink.on('completion/complete', () => ({ completion: { values: ['done'] } }));
      },
    },
  } satisfies RigOptions['servers'];
  const ask = (method: string, params: JsonObject): Promise<Answer> =>
    rig.ask('notes', method, params, {
      as: 'omar',
      ...(method === 'prompts/get' && { headers: { 'mcp-name': 'wipe' } }),
    });
  const complete = (more: JsonObject = {}): Promise<Answer> =>
    ask('completion/complete', {
      ref: { type: 'ref/prompt', name: 'wipe' },
      argument: { name: 'argument', value: 'all' },
      ...more,
    });

  test('AP-02: of a completion, it gets no prompt and no completion with more filled in', async () => {
    await start({ servers });
    const held = idIn(await complete());
    await agree(held);
    const prompt = idIn(await ask('prompts/get', { name: 'wipe', arguments: { argument: 'argument', value: 'all' } }));
    const filled = idIn(await complete({ context: { arguments: { value: 'SMUGGLED' } } }));
    expect(new Set([held, prompt, filled, '']).size).toBe(4);
    expect(rig.sink().requests('prompts/get')).toHaveLength(0);
    expect(rig.sink().requests('completion/complete')).toHaveLength(0);
    const read = (await rig.admin('petra', 'GET', `/approvals/${filled}`)).body;
    expect(read['arguments']).toEqual({ argument: 'argument', value: 'all', context: { value: 'SMUGGLED' } });
    expect((await complete()).result).toBeDefined();
    expect(rig.sink().requests('completion/complete')).toHaveLength(1);
  });
});

describe('AP-03: a yes counts until the call has left', () => {
  test('AP-03: who agreed is locked after the yes was spent and before anything was sent: nothing is', async () => {
    await start();
    await agree(idIn(await remove()));
    beforeItLeaves(() => lock('user', 'petra'));
    const answer = await remove();
    expect(await howItEnded(answer)).toEqual(['intent', 'outcome approval_lost', 'denial']);
    expect(made()).toBe(0);
  });

  test('AP-07: the server holds other data from then on: the yes of before is none', async () => {
    await start();
    await agree(idIn(await remove()));
    beforeItLeaves(() => rig.setServer('notes', { dataClasses: ['regulated'] }));
    expect(await howItEnded(await remove())).toEqual(['intent', 'outcome approval_lost', 'denial']);
    expect(made()).toBe(0);
  });

  test('AP-03 twin: a yes that is not looked at again lets the call out', async () => {
    const table = PIPELINE.map((row): Row => {
      const gather: Guard['gather'] = (call, ports) => {
        Object.assign(ports.approvals, { stands: () => true });
        return row.guard.gather(call, ports);
      };
      return row.guard.name === 'person-agreed' ? { ...row, guard: { ...row.guard, gather } } : row;
    });
    await start({ table });
    await agree(idIn(await remove()));
    beforeItLeaves(() => lock('user', 'petra'));
    await remove();
    expect(made()).toBe(1);
  });
});

describe('NH-06: a lock on who agreed', () => {
  test('NH-06: ends what they agreed to; lifted, their yes does not come back', async () => {
    await start();
    const id = idIn(await remove());
    await agree(id);
    await lift(await lock('user', 'petra'));
    expect((await rig.admin('sven', 'GET', `/approvals/${id}`)).body['state']).toBe('cancelled');
    expect(idIn(await remove())).not.toBe(id);
    expect(made()).toBe(0);
  });

  test('NH-06 twin: where the lock falls on the person alone, the yes is back when it is lifted', async () => {
    await start();
    await agree(idIn(await remove()));
    const alone = await rig.lock({ kind: 'user', value: 'petra' });
    await rig.unlock(alone);
    await remove();
    expect(made()).toBe(1);
  });

  test('NH-06: the id of an agent’s record is refused with the client that is meant, and locks nothing falsely', async () => {
    await start();
    await rig.call('notes', 'read_note', { text: 'x' });
    const [agent] = [...rig.view.records('agent', 'default')].filter(({ body }) => body['clientId'] === 'agent-1');
    const answer = await rig.admin('ada', 'POST', '/locks', { kind: 'agent', value: agent!.id, reason: 'incident 9' });
    expect(answer.status).toBe(422);
    expect(answer.error).toMatchObject({ message: expect.stringContaining('a lock on it would stop nothing') });
    expect(answer.text).toContain('the client id of the agent, not the id of its record');
    // A client that never came can be locked before it comes.
    await lock('agent', 'never-came');
  });
});
