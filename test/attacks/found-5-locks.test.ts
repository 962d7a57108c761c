/**
 * What was found against locks: more held calls than one commit takes, so that who has them could not be locked; and a lock made alone, after
 * others had changed what it falls on each time, that took nothing along. And a yes to what nobody can read. The oracle is the sink.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { MAX_WRITES } from '../../src/store/commit-request.ts';
import { ORG, startRig } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());
const idIn = ({ text }: Answer): string => /apr_[0-9a-z]+/.exec(text)?.[0] ?? '';
const remove = (text = 'old'): Promise<Answer> => rig.call('notes', 'delete_note', { text }, { as: 'omar' });
const made = (): number => rig.sink().calls().length;
const agree = async (id: string): Promise<Answer> => {
  const { call } = rig.view.get('approval', ORG, id)!.body;
  return rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: call! });
};
const lock = async (kind: string, value: string): Promise<JsonObject> => {
  const answer = await rig.admin('ada', 'POST', '/locks', { kind, value, reason: 'incident 9' });
  expect(answer.status, answer.text).toBe(201);
  return answer.body;
};
const open = (): number =>
  [...rig.view.records('approval', ORG)].filter(({ body }) => ['pending', 'approved'].includes(body['state'] as string))
    .length;

/** As many as some thousand clients of one person leave behind. */
async function heldCalls(count: number): Promise<void> {
  const one = rig.view.get('approval', ORG, idIn(await remove()))!.body;
  const many = Array.from({ length: count }, (_, at) => {
    const call = `sha256:${String(at).padStart(64, '0')}`;
    return {
      kind: 'approval',
      org: ORG,
      id: `apr_many${at}`,
      key: `open ${call}`,
      body: { ...one, agent: `client-${at % 1_001}`, call },
    };
  });
  for (let at = 0; at < many.length; at += 2_000) await rig.commit(many.slice(at, at + 2_000));
}

describe('NH-06: whoever has more calls held than one commit takes', () => {
  test.each([
    ['user', 'omar'],
    ['organisation', ORG],
  ])(
    'NH-06: on the %s: is locked, and all of them end',
    async (kind, value) => {
      rig = await startRig({ admin: true });
      await heldCalls(MAX_WRITES + 1);
      const agreed = idIn(await remove('agreed to'));
      expect((await agree(agreed)).status).toBe(200);
      const locked = await lock(kind, value);
      expect(locked['stopped']).toMatchObject({ heldCalls: MAX_WRITES + 3 });
      expect(open()).toBe(0);
      await remove('agreed to');
      await rig.call('notes', 'write_note', { text: 'after' }, { as: 'omar' });
      expect(made()).toBe(0);
    },
    60_000,
  );

  test('ID-04: loses their access by a change of their record, too', async () => {
    rig = await startRig({ admin: true });
    await heldCalls(MAX_WRITES + 1);
    const answer = await rig.admin('ada', 'POST', '/voids', {
      kind: 'person',
      value: 'omar',
      reason: 'sign out everywhere',
    });
    expect(answer.status, answer.text).toBe(201);
  }, 120_000);

  test('NH-06 twin: all of them in one commit are refused by the store, and the lock with them', async () => {
    rig = await startRig({ admin: true });
    const writes = Array.from({ length: MAX_WRITES + 1 }, (_, at) => ({
      kind: 'approval',
      org: ORG,
      id: `apr_many${at}`,
      body: {},
    }));
    await expect(rig.commit(writes)).rejects.toMatchObject({ code: 'store_invalid' });
  });
});

describe('NH-06: somebody changes what a lock falls on each time it is tried', () => {
  /** Before each of the next commits that carry a lock, the held call is opened anew by somebody else. */
  function storm(id: string, times: number): void {
    const { commit } = rig.state;
    let left = times;
    Object.assign(rig.state, {
      commit: async (request: Parameters<typeof commit>[0]) => {
        if (left > 0 && request.writes.some(({ kind }) => kind === 'lock')) {
          left--;
          const { body } = rig.view.get('approval', ORG, id)!;
          await commit({
            actor: 'omar',
            reason: 'again',
            writes: [
              {
                kind: 'approval',
                org: ORG,
                id,
                key: `open ${body['call'] as string}`,
                body: { ...body, ref: `again ${left}` },
              },
            ],
          });
        }
        return commit(request);
      },
    });
  }

  test('NH-06: what the lock takes along follows it; lifted, nothing has come back', async () => {
    rig = await startRig({ admin: true });
    const id = idIn(await remove());
    await agree(id);
    storm(id, 50);
    const locked = await lock('server', 'notes');
    expect(locked['stopped']).toMatchObject({ heldCalls: 1, outOfService: ['server/notes'] });
    expect((await rig.admin('ada', 'DELETE', `/locks/${locked['id'] as string}`, { reason: 'over' })).status).toBe(200);
    expect(rig.view.get('approval', ORG, id)?.body['state']).toBe('cancelled');
    expect(rig.view.get('server', ORG, 'notes')?.body['state']).toBe('suspended');
    await remove();
    expect(made()).toBe(0);
  });

  test('NH-06 twin: a lock that is made alone and stays so gives the call back when it is lifted', async () => {
    rig = await startRig({ admin: true });
    await agree(idIn(await remove()));
    const alone = await rig.lock({ kind: 'server', value: 'notes' });
    await rig.unlock(alone);
    await rig.look('notes');
    await remove();
    expect(made()).toBe(1);
  });
});

test('AP-02: what nobody can open any more is agreed to by nobody, whatever digest they name', async () => {
  rig = await startRig({ admin: true });
  const id = idIn(await remove());
  const { body } = rig.view.get('approval', ORG, id)!;
  const key = `open ${body['call'] as string}`;
  await rig.commit([{ kind: 'approval', org: ORG, id, key, body: { ...body, sealed: 'of-a-key-that-is-gone' } }]);
  const answer = await agree(id);
  expect(answer.status).toBe(409);
  expect(answer.error).toMatchObject({
    code: 'approval_unreadable',
    message: 'Nobody can read what this call would send.',
  });
  await remove();
  expect(made()).toBe(0);
  const { call } = body;
  expect((await rig.admin('petra', 'POST', `/approvals/${id}/deny`, { call: call! })).status).toBe(200);
});
