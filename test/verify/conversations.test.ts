/** A log in which servers asked, streams spoke and tasks ran verifies like any other: what they leave in it is a well-formed history. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CallFacts } from '../../src/audit/entry.ts';
import { intentEntry, outcomeEntry } from '../../src/audit/entries.ts';
import { exportLog } from '../../src/audit/export.ts';
import { digestOf } from '../../src/lib/canonical-json.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { parseVkey } from '../../src/verify/note.ts';
import { actor, allow, callFacts, fine, openLog, signer, tempDir } from '../audit/fixtures.ts';
import { ASKING_SERVERS, FORM, TOOL_CALL, askedIn, asksOnce, firstLeg, retry } from '../gateway/asks-support.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import { startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { ALLOW_ALL, JOBS, begin, reaches } from '../support/tasks.ts';

let rig: Rig;

beforeAll(async () => {
  rig = await startRig({ servers: { ...ASKING_SERVERS, jobs: { tools: JOBS } } });
  await rig.policy('all', ALLOW_ALL);
});
afterAll(() => rig.stop());

async function verified() {
  await rig.audit.checkpointNow();
  const vkey = readFileSync(join(rig.dir, 'keys', 'log.vkey'), 'utf8').trim();
  const dir = join(rig.dir, 'export');
  await exportLog({ ledger: rig.ledger, log: rig.audit.log, dir, vkeys: [parseVkey(vkey)] });
  return verifyLog(dir, { vkeys: [vkey] });
}

test('parked calls, retries, questions of modern servers, progress, streams and tasks leave no finding', async () => {
  asksOnce(rig.sink('old'));
  asksOnce(rig.sink('new'));
  for (const server of ['old', 'new']) {
    const done = await retry(rig, server, await firstLeg(rig, server));
    expect(done.text).toContain('told');
  }

  rig.sink('old').onCall(async ({ ask }) => {
    await ask('elicitation/create', FORM);
    await ask('elicitation/create', FORM);
    return { content: [{ type: 'text', text: 'asked twice' }] };
  });
  const second = askedIn(await retry(rig, 'old', await firstLeg(rig, 'old')));
  expect((await retry(rig, 'old', second)).text).toContain('asked twice');

  rig.sink('new').onCall((call) => {
    const { _meta } = call.message['params'] as { readonly _meta: { readonly progressToken: number } };
    call.notify('notifications/progress', { progressToken: _meta.progressToken, progress: 1 });
    return { content: [{ type: 'text', text: 'on the way' }] };
  });
  expect((await rig.ask('new', 'tools/call', TOOL_CALL, { meta: { progressToken: 'p' } })).text).toContain('progress');
  const streamed = await rig.entries('outcome');
  expect(streamed.at(-1)?.outcome?.sent).toMatchObject({ count: 1 });

  await reaches(rig, await begin(rig, 'optional_job', { server: 'jobs' }), 'completed', { server: 'jobs' });

  const report = await verified();
  expect(report.findings).toEqual([]);
  expect(report.verified).toBe(true);
  expect(report.unfinishedCount).toBe(0);
});

test('a parked call to which nobody came back yet is named as unfinished, its question is not', async () => {
  asksOnce(rig.sink('old'));
  const asked = await firstLeg(rig, 'old');
  const intents = await rig.entries('intent');
  const report = await verified();
  expect(report.findings).toEqual([]);
  expect(report.unfinished.map(({ call }) => call)).toEqual([intents.at(-1)!.call!.id]);
  await retry(rig, 'old', asked);
  expect((await verified()).unfinishedCount).toBe(0);
});

test('a stream whose listener is locked out while it is being recorded has an outcome', async () => {
  rig.faults.after = async (entry) => {
    if (entry.kind !== 'intent') return;
    rig.faults.after = null;
    await rig.lock({ kind: 'user', value: 'dora' });
  };
  const { reference, status } = await rig.ask(
    'new',
    'subscriptions/listen',
    { notifications: { toolsListChanged: true } },
    { as: 'dora' },
  );
  expect(status).toBe(403);
  const about = await rig.about(reference);
  expect(about.map(({ kind, outcome }) => [kind, outcome?.status])).toEqual([
    ['intent', undefined],
    ['outcome', 'not_dispatched'],
    ['denial', undefined],
  ]);
  const report = await verified();
  expect([report.findings, report.unfinishedCount]).toEqual([[], 0]);
});

test('a retry that is barred after its intent has an outcome', async () => {
  asksOnce(rig.sink('old'));
  const asked = await firstLeg(rig, 'old');
  const lockNext = (value: string): void => {
    rig.faults.after = async (entry) => {
      if (entry.kind !== 'intent') return;
      rig.faults.after = null;
      await rig.lock({ kind: 'tool', value });
    };
  };
  lockNext('old/write_note');
  const barred = await retry(rig, 'old', asked);
  const about = await rig.about(barred.reference);
  expect(about.map(({ kind, outcome }) => [kind, outcome?.status])).toEqual([
    ['intent', undefined],
    ['outcome', 'not_dispatched'],
    ['denial', undefined],
  ]);
  // The lock ended what was parked, too.
  await rig.until('nothing is open', async () => (await verified()).unfinishedCount === 0);
  expect((await verified()).findings).toEqual([]);
});

test('an intent may name the intent of another call only if person, agent, item and arguments are the same', async () => {
  const { audit, ledger } = await openLog(memoryLedger());
  const waits = callFacts('call_waits');
  const intent = await audit.record(intentEntry(audit.stamp(), { actor, call: waits, decision: allow }));
  const parked = { ...fine, status: 'input_required', detail: 'parked', result: null } as const;
  await audit.record(outcomeEntry(audit.stamp(), { actor, call: waits, outcome: parked, prev: intent.index }));
  const retryAs = (id: string, more: Partial<CallFacts>, who = actor) =>
    audit.record(
      intentEntry(audit.stamp(), {
        actor: who,
        call: { ...waits, id, ...more },
        decision: allow,
        prev: intent.index,
      }),
    );
  await retryAs('call_retry', {}, { ...actor, token: 'tok-78' });
  const others = [
    await retryAs('call_other_arguments', { args: digestOf('others') }),
    await retryAs('call_other_tool', { tool: 'delete_file' }),
    await retryAs('call_other_person', {}, { ...actor, subject: 'somebody else' }),
    await retryAs('call_other_agent', {}, { ...actor, client: 'another' }),
  ];
  await audit.checkpointNow();
  const dir = tempDir();
  await exportLog({ ledger, log: audit.log, dir, vkeys: [signer.vkey] });
  const report = await verifyLog(dir, { vkeys: [signer.vkey] });
  expect(report.findings.map(({ code, index }) => [code, index])).toEqual(
    others.map(({ index }) => ['link_broken', index]),
  );
  // What waits is unfinished until it has an outcome of its own, whatever became of the question.
  expect(report.unfinished.map(({ call }) => call)).toContain('call_waits');
});
