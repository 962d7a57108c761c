/**
 * Large values, which are looked at on a thread of their own (content/inspector.ts), go through the gateway like small ones: the same is kept
 * back, the rest arrives whole, and a lock that falls meanwhile counts. Oracles: what the sink received, what the client read.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';

const OWN = 'own-9fK2mQ7xR4tW8zL3vB6n';
process.env['REMIT_SECRET_LARGE'] = OWN;
const HIDDEN = '\u202e\u200b';
const prose = 'the committee agreed that old harbour walls should be rebuilt before winter. '.repeat(2_000);

const inputSchema = { type: 'object' };
const tools = [
  textTool('send', 'write', 'notes:write', { inputSchema }),
  textTool('look', 'read', 'notes:read', { inputSchema }),
];
const header = { headers: [{ name: 'x-key', value: { secret: 'env:REMIT_SECRET_LARGE' } }] };

let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ admin: true, servers: { crm: { tools, upstream: header }, mail: { tools } } });
  await rig.policy('all', 'permit (principal, action, resource);');
  // From here on Remit holds it.
  await rig.call('crm', 'look', {});
});
afterAll(() => rig.stop());

const textOf = ({ result }: Answer): string =>
  ((result?.['content'] as ReadonlyArray<{ text: string }> | undefined) ?? []).map(({ text }) => text).join('\n');

describe.each(ERAS)('a %s client', (era) => {
  test('CI-03: a large result arrives whole but for what may not go on', async () => {
    rig.sink('mail').onCall(() => ({ content: [{ type: 'text', text: `${prose}${HIDDEN}${OWN}.` }] }));
    const answer = await rig.call('mail', 'look', {}, { era });
    const came = textOf(answer);
    expect([came.length - prose.length, came.slice(prose.length), came.startsWith(prose)]).toEqual([
      22,
      '[redacted:own_secret].',
      true,
    ]);
    const [{ outcome } = {}] = (await rig.about(answer.reference)).filter((entry) => entry.outcome);
    expect(outcome).toMatchObject({ status: 'ok', detail: 'redacted' });
    expect(outcome?.inspected).toEqual(expect.arrayContaining(['own@1', 'secrets@1']));
  });

  test('AE-10: large arguments arrive as they were sent', async () => {
    rig.sink('mail').onCall(() => ({ content: [{ type: 'text', text: 'sent' }] }));
    const text = `${era} ${prose}`;
    expect(textOf(await rig.call('mail', 'send', { text }, { era }))).toBe('sent');
    const sent = (rig.sink('mail').calls().at(-1)!.message as { params: { arguments: { text: string } } }).params
      .arguments;
    // Not shown in full where they differ.
    expect([Object.keys(sent), sent.text.length, sent.text === text]).toEqual([['text'], text.length, true]);
  });

  test.each([
    ['in one text', { text: `${prose}${OWN}` }],
    ['cut in two', { a: `${prose}${OWN.slice(0, 11)}`, b: OWN.slice(11) }],
  ])('CI-03: large arguments with a secret of ours %s do not leave', async (_how, args: JsonObject) => {
    const before = rig.sink('mail').calls().length;
    const answer = await rig.call('mail', 'send', args, { era });
    expect(answer.text).toContain('a credential');
    expect(rig.sink('mail').calls().length).toBe(before);
  });

  test('CI-09: an object with more members than anybody reads is withheld', async () => {
    const many = Object.fromEntries(Array.from({ length: 50_001 }, (_, n) => [`m${n}`, n]));
    rig.sink('mail').onCall(() => ({ content: [], structuredContent: many }));
    const answer = await rig.call('mail', 'look', {}, { era });
    expect(textOf(answer)).toContain('The result was withheld: it does not pass inspection.');
    const [{ outcome } = {}] = (await rig.about(answer.reference)).filter((entry) => entry.outcome);
    expect(outcome?.detail).toBe('inspection:result_too_many_members');
  });
});

test('PH-12: a lock that falls while a large result is looked at keeps it here', async () => {
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  rig.sink('mail').onCall(() => {
    resolve();
    // Takes the thread some hundred milliseconds.
    return { content: [{ type: 'text', text: `withdrawn ${'a\u200b'.repeat(500_000)}` }] };
  });
  const running = rig.call('mail', 'look', {});
  await answered;
  const lock = await rig.admin('ada', 'POST', '/locks', { kind: 'tool', value: 'mail/look', reason: 'incident 7' });
  expect(lock.status).toBe(201);
  const answer = await running;
  expect(answer.text).toContain('Access was withdrawn while the call ran');
  expect(answer.text).not.toContain('withdrawn aaaa');
});
