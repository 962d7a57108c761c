/**
 * The review of tools over the whole gateway: two people behind a consequential tool (AP-01), drift that ends what was agreed to (AP-07), what is
 * new stays off (TD-03), and the way back to the last good definition (TD-09). The oracle is the sink's calls.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { definitionDigest } from '../../src/integrity/definition.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startRig, textTool, type Answer, type Rig, type RigOptions } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());

const WRITE = textTool('write_note', 'write', 'notes:write').definition;
const READ = textTool('read_note', 'read', 'notes:read');
const NEWER: JsonObject = { ...WRITE, description: 'Does write_note, and tells others.' };
const PATH = '/servers/notes/tools/write_note';
const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;
const write = (): Promise<Answer> => rig.call('notes', 'write_note', { text: 'x' });
const start = async (options: RigOptions = {}): Promise<void> => {
  rig = await startRig({ admin: true, servers: {}, ...options });
};
const digestNow = async (): Promise<string> =>
  ((await rig.admin('sven', 'GET', PATH)).body['observed'] as { digest: string }).digest;
const review = async () => ({ digest: await digestNow(), risk: 'write', scope: 'notes:write', justification: 'x' });
/** Two people. */
async function reviewed(): Promise<string> {
  const body = await review();
  const proposed = await rig.admin('omar', 'POST', `${PATH}/propose`, body);
  const done = await rig.admin('sven', 'POST', `${PATH}/approve`, {
    digest: body.digest,
    proposal: proposed.body['proposal']!,
  });
  expect(done.status, done.text).toBe(200);
  return body.digest;
}
const offers = async (definition: JsonObject): Promise<void> => {
  rig.sink().setTools([definition, READ.definition]);
  const wanted = definitionDigest(definition);
  // The server says that its list changed, too: that look and this one may meet, and then one of them loses its commit.
  for (let looks = 0; looks < 5; looks++) {
    await rig.look('notes');
    await rig.caughtUp();
    const seen = rig.gateway
      .snapshot()
      .servers.get('notes')
      ?.tools.get(definition['name'] as string);
    if (seen?.record.observed?.digest === wanted) return;
  }
  throw new Error('the sighting was not recorded');
};
const fresh = (): Promise<unknown> =>
  rig.addServer('notes', {
    tools: [READ],
    script: (sink) => sink.setTools([WRITE, READ.definition]),
    risk: () => null,
  });

describe('AP-01: a tool that does more than read', () => {
  test('AP-01: one reviewer, however they try, brings no call to the server; two people do', async () => {
    await start();
    await fresh();
    const body = await review();
    const tries = [
      rig.admin('sven', 'POST', `${PATH}/approve`, body),
      rig
        .admin('sven', 'POST', `${PATH}/propose`, body)
        .then(({ body: proposed }) =>
          rig.admin('sven', 'POST', `${PATH}/approve`, { digest: body.digest, proposal: proposed['proposal']! }),
        ),
      rig.admin('sven', 'POST', `${PATH}/rollback`, { reason: 'x' }),
    ];
    for (const one of tries) expect((await one).status).toBeGreaterThanOrEqual(400);
    expect(passed(await write())).toBe(false);
    expect(rig.sink().calls()).toHaveLength(0);
    await reviewed();
    expect(passed(await write())).toBe(true);
    expect(rig.sink().calls()).toHaveLength(1);
  });

  test('AP-01: twin: pinned by one person, the same call lands', async () => {
    await start();
    await fresh();
    await rig.approveTool('notes', 'write_note', 'write', 'notes:write');
    expect(passed(await write())).toBe(true);
    expect(rig.sink().calls()).toHaveLength(1);
  });
});

describe('AP-07: drift ends what people agreed to', () => {
  const REMOVE = textTool('delete_note', 'destructive', 'notes:delete').definition;
  const remove = (): Promise<Answer> => rig.call('notes', 'delete_note', { text: 'x' }, { as: 'omar' });
  const idIn = (answer: Answer): string => /approval \((apr_[0-9a-z]+), until /.exec(answer.text)?.[1] ?? '';
  /** Held, agreed to, then the definition goes and comes back as if nothing had been. */
  async function agreedThenDrifted(): Promise<string> {
    await rig.addServer('notes', { tools: [textTool('delete_note', 'destructive', 'notes:delete')] });
    const id = idIn(await remove());
    const held = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
    const agreed = await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: held['call']! });
    expect(agreed.status, agreed.text).toBe(200);
    await offers({ ...REMOVE, description: 'Removes all.' });
    await offers(REMOVE);
    return id;
  }

  test('AP-07: also when the server goes back to what was approved: the next call is held anew', async () => {
    await start();
    const id = await agreedThenDrifted();
    const answer = await remove();
    expect(passed(answer)).toBe(false);
    expect(idIn(answer)).not.toBe(id);
    expect(rig.sink().calls()).toHaveLength(0);
    const ended = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
    expect([ended['state'], ended['ended']]).toEqual(['failed', 'what it was asked for has changed']);
  });

  test('AP-07: in the same commit as the sighting, and the log names both digests and what ended', async () => {
    await start();
    const id = await agreedThenDrifted();
    const history = await rig.state.history('approval', 'default', id);
    const tool = await rig.state.history('tool', 'default', 'notes/delete_note');
    const drift = tool.find(({ body }) => body?.['driftedAt'] !== undefined)!;
    expect(history.at(-1)?.revision).toBe(drift.revision);
    const told = (await rig.entries('admin')).find(
      ({ event }) => event?.['what'] === 'tools.sighted' && String(event['changed']).includes('delete_note'),
    );
    expect(told?.event).toMatchObject({ approvalsEnded: [id], revision: drift.revision });
    expect(String(told?.event?.['digests'])).toMatch(/delete_note sha256:[0-9a-f]{64} sha256:[0-9a-f]{64}/);
  });

  test('AP-07: twin: a sighting that leaves the approval alone lets the call run', async () => {
    await start({
      wrap: (deps) => ({
        ...deps,
        state: {
          ...deps.state,
          commit: (change) =>
            deps.state.commit(
              change.actor === 'remit:catalogue'
                ? { ...change, writes: change.writes.filter(({ kind }) => kind !== 'approval') }
                : change,
            ),
        },
      }),
    });
    await agreedThenDrifted();
    const answer = await remove();
    expect(passed(answer), answer.text).toBe(true);
    expect(rig.sink().calls()).toHaveLength(1);
  });
});

describe('TD-05: what hides something from its reader', () => {
  const HIDING: JsonObject = { ...WRITE, description: 'Does write_note.\u{E0072}\u{E0065}\u{E0061}\u{E0064}' };
  const hidden = (): Promise<unknown> =>
    rig.addServer('notes', {
      tools: [READ],
      script: (sink) => sink.setTools([HIDING, READ.definition]),
      risk: () => null,
    });

  test('TD-05: is approved by nobody, not by two, and so never called', async () => {
    await start();
    await hidden();
    const body = await review();
    for (const [who, verb] of [
      ['omar', 'propose'],
      ['sven', 'approve'],
    ] as const) {
      const refused = await rig.admin(who, 'POST', `${PATH}/${verb}`, body);
      expect([refused.status, refused.text.includes('hidden_tag at /description')]).toEqual([422, true]);
    }
    expect(passed(await write())).toBe(false);
    expect(rig.sink().calls()).toHaveLength(0);
  });

  test('TD-05: twin: pinned without the scan, it is called', async () => {
    await start();
    await hidden();
    const { revision, body } = rig.view.get('tool', 'default', 'notes/write_note')!;
    const { digest, definition } = body['observed'] as JsonObject;
    const approved = {
      digest,
      definition,
      risk: 'write',
      scope: 'notes:write',
      justification: 'x',
      by: 'sven',
      at: 1,
    } as JsonObject;
    await rig.commit([
      { kind: 'tool', org: 'default', id: 'notes/write_note', expectedRevision: revision, body: { ...body, approved } },
    ]);
    expect(passed(await write())).toBe(true);
    expect(rig.sink().calls()).toHaveLength(1);
  });
});

describe('TD-03: what is new', () => {
  test('TD-03: is off, is a finding at once, and the set of the server has another name', async () => {
    await start();
    await rig.addServer('notes', { tools: [textTool('write_note', 'write', 'notes:write')] });
    const set = async () => (await rig.admin('sven', 'GET', '/servers/notes/tools')).body['set'] as JsonObject;
    const before = await set();
    expect(before['approved']).toBe(before['offered']);
    const extra = textTool('send_all', 'write', 'notes:write').definition;
    rig.sink().setTools([WRITE, extra]);
    await rig.look('notes');
    const after = await set();
    expect([after['approved'], after['unreviewed']]).toEqual([before['approved'], ['send_all']]);
    expect(after['offered']).not.toBe(before['offered']);
    expect(await rig.names('notes')).toEqual(['write_note']);
    expect(passed(await rig.call('notes', 'send_all', { text: 'x' }))).toBe(false);
    expect(rig.sink().calls()).toHaveLength(0);
    const { findings } = (await rig.admin('omar', 'GET', '/findings')).body as { findings: JsonObject[] };
    expect(findings).toContainEqual(
      expect.objectContaining({
        kind: 'server',
        id: 'notes',
        code: 'items_unreviewed',
        message: expect.stringContaining('send_all'),
      }),
    );
    rig.sink().setTools([extra]);
    await rig.look('notes');
    expect((await set())['gone']).toEqual(['write_note']);
  });

  test('TD-03: twin: a server whose items are approved as they come lets the new one through', async () => {
    await start();
    await rig.addServer('notes', { tools: [textTool('write_note', 'write', 'notes:write')] });
    rig.sink().setTools([WRITE, textTool('send_all', 'write', 'notes:write').definition]);
    await rig.look('notes');
    await rig.approveTool('notes', 'send_all', 'write', 'notes:write');
    expect(passed(await rig.call('notes', 'send_all', { text: 'x' }))).toBe(true);
    expect(rig.sink().calls()).toHaveLength(1);
  });
});

describe('TD-09: the way back', () => {
  const listed = async (): Promise<string> =>
    (await rig.ask('notes', 'tools/list', {})).text.replace(/"id":\d+/, '"id":0');

  test('TD-09: a rollback restores the list byte for byte once the server offers that definition again, and not before', async () => {
    await start();
    await fresh();
    const first = await reviewed();
    const before = await listed();
    await offers(NEWER);
    await reviewed();
    expect(await listed()).not.toBe(before);
    const rolled = await rig.admin('sven', 'POST', `${PATH}/rollback`, { reason: 'it tells others' });
    expect([rolled.status, rolled.body['standing']]).toEqual([200, 'changed']);
    expect(await rig.names('notes')).toEqual(['read_note']);
    expect(passed(await write())).toBe(false);
    expect(rig.sink().calls()).toHaveLength(0);
    await offers(WRITE);
    expect(await listed()).toBe(before);
    expect(passed(await write())).toBe(true);
    const { steps, good } = (await rig.admin('sven', 'GET', `${PATH}/history`)).body as {
      steps: ReadonlyArray<{ what: string; digest: string }>;
      good: ReadonlyArray<{ digest: string }>;
    };
    expect(steps.map(({ what }) => what)).toEqual(
      'seen proposed approved changed proposed approved restored returned'.split(' '),
    );
    expect(steps.at(-1)?.digest).toBe(first);
    expect(good.map(({ digest }) => digest)).toEqual([steps[5]?.digest]);
  });

  test('TD-09: what was withdrawn does not come back by a rollback, nor what is in force, nor what nobody approved', async () => {
    await start();
    await fresh();
    const first = await reviewed();
    const roll = (to?: string) =>
      rig.admin('sven', 'POST', `${PATH}/rollback`, { reason: 'x', ...(to !== undefined && { to }) });
    expect((await roll(first)).status).toBe(409);
    await rig.admin('omar', 'POST', `${PATH}/withdraw`, { reason: 'incident' });
    await offers(NEWER);
    await reviewed();
    for (const to of [undefined, first, `sha256:${'0'.repeat(64)}`])
      expect((await roll(to)).body['error']).toMatchObject({ code: 'nothing_good' });
  });

  test('TD-09: what one person had approved by the setting for one is not brought back by one', async () => {
    await start();
    await fresh();
    await rig.approveTool('notes', 'write_note', 'write', 'notes:write');
    await offers(NEWER);
    await reviewed();
    const refused = await rig.admin('sven', 'POST', `${PATH}/rollback`, { reason: 'x' });
    expect(refused.body['error']).toMatchObject({ code: 'needs_second_person' });
  });

  test('TD-09: who is no reviewer rolls nothing back', async () => {
    await start();
    await fresh();
    for (const who of ['omar', 'ada', 'petra'])
      expect((await rig.admin(who, 'POST', `${PATH}/rollback`, { reason: 'x' })).status).toBe(403);
  });
});
