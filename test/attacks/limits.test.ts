/**
 * RL-01, RL-02, RL-07 from outside: what a caller may write buys no new bucket, a budget ends exactly where it ends, a loop is stopped and its
 * agent is not. The oracle is the sink. Twins run with the guard taken out, or with limits that always say yes.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { PASS } from '../../src/gateway/guard.ts';
import { ToolRecord } from '../../src/integrity/records.ts';
import type { Approved } from '../../src/integrity/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { approverOf } from '../gateway/held-support.ts';
import { ALL_SCOPES, ERAS, ORG, startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Rig, RigOptions } from '../support/rig.ts';

let rig: Rig;
afterEach(() => rig.stop());

const amountTool = textTool('pay_bill', 'write', 'notes:pay');
const PAY = {
  ...amountTool,
  definition: {
    ...amountTool.definition,
    inputSchema: {
      type: 'object',
      properties: { text: { type: 'string' }, amount: { type: 'number' } },
      additionalProperties: false,
    },
  },
};
const TOOLS = [
  textTool('read_note', 'read', 'notes:read'),
  textTool('delete_note', 'write', 'notes:delete'),
  textTool('wire_money', 'destructive', 'notes:pay'),
  textTool('job', 'write', 'notes:write', { execution: { taskSupport: 'optional' } }),
  PAY,
];
const starts = (more: Partial<RigOptions> = {}): Promise<Rig> =>
  startRig({ servers: { notes: { tools: TOOLS } }, ...more });

/** A review that says so, written behind the admin plane. */
async function budget(name: string, body: NonNullable<Approved['budget']>): Promise<void> {
  const stored = rig.view.get('tool', ORG, `notes/${name}`)!;
  const record = ToolRecord.parse(stored.body);
  const next = { ...record, approved: { ...record.approved!, budget: body } };
  await rig.commit([{ kind: 'tool', org: ORG, id: stored.id, body: next }]);
}
const sent = (name: string): number =>
  rig
    .sink()
    .calls()
    .filter(({ message }) => (message!['params'] as JsonObject)['name'] === name).length;
const reasonOf = async ({ reference }: Answer): Promise<string | null | undefined> =>
  (await rig.about(reference)).at(-1)?.decision?.reason;
const remove = (text: string, how: CallOptions = {}): Promise<Answer> =>
  rig.call('notes', 'delete_note', { text }, how);

describe('RL-01: a bucket is of a verified identity', () => {
  const LIMIT = 6;
  const tricks: ReadonlyArray<readonly [string, (n: number) => CallOptions]> = [
    ['the same request again and again', () => ({})],
    ['a token of its own every time', () => ({ token: rig.token('dana', { scopes: ALL_SCOPES }) })],
    ['another era every time', (n) => ({ era: n % 2 === 0 ? 'modern' : 'legacy' })],
    ['a session of its own every time', () => ({ era: 'legacy', token: rig.token('dana') })],
    [
      'headers that name somebody else, in several spellings',
      (n) => ({
        headers: {
          'x-forwarded-for': `10.0.0.${n}`,
          'X-Real-IP': `10.0.1.${n}`,
          'x-user': `user-${n}`,
          'X-MCP-CLIENT': `client-${n}`,
          'user-agent': `agent/${n}`,
        },
      }),
    ],
    ['other request ids and other `_meta`', (n) => ({ id: `id-${n}`, meta: { 'example/agent': `agent-${n}` } })],
    ['fewer scopes every time', (n) => ({ scopes: ALL_SCOPES.slice(0, 3 + (n % 3)) })],
  ];

  test.each(tricks)('RL-01: %s: six are admitted, whatever is written', async (_title, how) => {
    rig = await starts({ limits: { callsPerMinutePerAgent: LIMIT + 40, callsPerMinutePerTool: LIMIT } });
    const answers: Answer[] = [];
    for (let n = 0; n < LIMIT + 6; n++) answers.push(await remove(`n${n}`, how(n)));
    expect(sent('delete_note')).toBe(LIMIT);
    for (const answer of answers.slice(LIMIT)) {
      expect([answer.status, answer.error?.code]).toEqual([429, 4290]);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      expect(await reasonOf(answer)).toBe('rate_limited:tool');
    }
  });

  test.each([
    ['person', { callsPerMinutePerPerson: 5 }, { as: 'dora' }],
    ['agent', { callsPerMinutePerAgent: 5 }, { client: 'agent-2' }],
  ] as const)('RL-01: %s: the limit is named, and another one has its own', async (on, limits, other) => {
    rig = await starts({ limits });
    let last: Answer | undefined;
    for (let n = 0; n < 6; n++) last = await remove(`n${n}`);
    expect([last!.status, await reasonOf(last!), sent('delete_note')]).toEqual([429, `rate_limited:${on}`, 5]);
    expect((await remove('x', other)).status).toBe(200);
  });

  test('RL-01: organisation: the limit is of all people and agents together', async () => {
    rig = await starts({ limits: { callsPerMinutePerOrganisation: 5 } });
    const who = ['dana', 'dora', 'omar'].flatMap((as) => [{ as }, { as, client: 'agent-2' }]);
    let last: Answer | undefined;
    for (const [n, how] of who.entries()) last = await remove(`n${n}`, how);
    expect([last!.status, await reasonOf(last!), sent('delete_note')]).toEqual([429, 'rate_limited:organisation', 5]);
  });

  test.each(ERAS)('RL-01: %s: what a record says of its server holds', async (era) => {
    rig = await starts();
    await rig.call('notes', 'read_note', { text: 'opens a session' }, { era });
    await rig.setServer('notes', { limits: { callsPerMinute: 10 } });
    const answers: Answer[] = [];
    for (let n = 0; n < 16; n++) answers.push(await remove(`n${n}`, { era }));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(6);
    expect(await reasonOf(refused[0]!)).toBe('rate_limited:server');
    expect(sent('delete_note')).toBe(16 - refused.length);
  });

  test('RL-01 twin: with limits that always say yes, all of them arrive', async () => {
    rig = await starts({ limits: { callsPerMinutePerTool: LIMIT }, table: tableWith({ 'within-limits': () => PASS }) });
    for (let n = 0; n < LIMIT + 6; n++) await remove(`n${n}`);
    expect(sent('delete_note')).toBe(LIMIT + 6);
  });
});

describe('RL-02: budgets', () => {
  test.each(ERAS)(
    'RL-02: %s: fifty at once, five an hour: five arrive, and the rest hear when there are more',
    async (era) => {
      rig = await starts();
      await rig.call('notes', 'read_note', { text: 'opens a session' }, { era });
      await budget('delete_note', { calls: 5, perMinutes: 60 });
      const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => remove(`n${n}`, { era })));
      expect(sent('delete_note')).toBe(5);
      const refused = answers.filter(({ result }) => result?.['isError'] === true);
      expect(refused).toHaveLength(45);
      expect(refused[0]!.text).toMatch(/The budget of this tool is spent: no more of it until 20\d\d-/);
      expect(await reasonOf(refused[0]!)).toBe('budget_spent:calls');
      // Nobody else's, and no other tool's.
      expect((await remove('x', { as: 'dora', era })).result?.['isError']).toBeUndefined();
      expect((await remove('x', { client: 'agent-2', era })).result?.['isError']).toBeUndefined();
      expect((await rig.call('notes', 'read_note', { text: 'x' }, { era })).result?.['isError']).toBeUndefined();
    },
  );

  test('RL-02: both eras of one person with one agent have one budget, tasks included', async () => {
    rig = await starts();
    await budget('job', { calls: 3, perMinutes: 60 });
    const job = (text: string, how: CallOptions): Promise<Answer> => rig.call('notes', 'job', { text }, how);
    const tasks = { extensions: { 'io.modelcontextprotocol/tasks': {} } };
    await job('a', { era: 'modern' });
    await job('b', { era: 'legacy' });
    await job('c', { era: 'modern', capabilities: tasks });
    await rig.until('the task has run', () => sent('job') === 3);
    for (const how of [{ era: 'modern' }, { era: 'legacy' }, { era: 'modern', capabilities: tasks }] as const)
      expect(await reasonOf(await job('d', how))).toBe('budget_spent:calls');
    expect(sent('job')).toBe(3);
  });

  test('RL-02: a shared budget is of everybody together', async () => {
    rig = await starts();
    await budget('delete_note', { calls: 3, perMinutes: 60, shared: true });
    for (const as of ['dana', 'dora', 'dana', 'dora', 'dana']) await remove('x', { as, client: `agent-of-${as}` });
    expect(sent('delete_note')).toBe(3);
  });

  test('RL-02: a spend ends at its sum; what does not fit is refused, a smaller one is not; text and negative amounts are none', async () => {
    rig = await starts();
    await budget('pay_bill', { calls: 100, perMinutes: 60, sum: { argument: '/amount', max: 100 } });
    const pay = (amount: unknown): Promise<Answer> =>
      rig.call('notes', 'pay_bill', amount === undefined ? {} : ({ amount } as JsonObject));
    const outcomes: string[] = [];
    for (const amount of [60, 41, 0.1, -1_000, undefined, 39.9, 0.000_001, 0])
      outcomes.push((await reasonOf(await pay(amount))) ?? 'sent');
    expect(outcomes).toEqual([
      'sent',
      'budget_spent:sum',
      'sent',
      'arguments_invalid',
      'arguments_invalid',
      'sent',
      'budget_spent:sum',
      'sent',
    ]);
    const spent = rig
      .sink()
      .calls()
      .map(({ message }) => ((message!['params'] as JsonObject)['arguments'] as { amount: number }).amount);
    expect(spent.reduce((sum, one) => sum + one, 0)).toBe(100);
  });

  test('RL-02: a call that could not be sent costs nothing; one that was and failed does', async () => {
    rig = await starts();
    await budget('delete_note', { calls: 2, perMinutes: 60 });
    rig.faults.before = (entry) => {
      if (entry.kind === 'intent') throw new Error('the disk is full');
    };
    for (let n = 0; n < 4; n++) expect((await remove('x')).status).toBe(503);
    rig.faults.before = null;
    expect(sent('delete_note')).toBe(0);
    rig.sink().onCall(() => ({ content: [], isError: true }));
    await remove('x');
    await remove('x');
    expect(await reasonOf(await remove('x'))).toBe('budget_spent:calls');
    expect(sent('delete_note')).toBe(2);
  });

  test('RL-02: an approved call counts when it is made; one that finds the budget spent is not made', async () => {
    rig = await starts({ admin: true });
    await budget('wire_money', { calls: 1, perMinutes: 60 });
    const pay = (text: string): Promise<Answer> => rig.call('notes', 'wire_money', { text }, { as: 'omar' });
    const petra = approverOf(rig);
    // Both wait, which costs nothing, and both get their yes: there is room for one.
    for (const text of ['first', 'second']) expect(await reasonOf(await pay(text))).toBe('approval_needed');
    for (const text of ['first', 'second']) await petra.decide(text, 'approve');
    await rig.caughtUp();
    expect((await pay('first')).result?.['isError']).toBeUndefined();
    expect(await reasonOf(await pay('second'))).toBe('budget_spent:calls');
    expect(sent('wire_money')).toBe(1);
  });

  test('RL-02 twin: without the guard the fifty are carried out', async () => {
    rig = await starts({ table: tableWith({ 'within-budget': null }) });
    await budget('delete_note', { calls: 5, perMinutes: 60 });
    await Promise.all(Array.from({ length: 50 }, (_, n) => remove(`n${n}`)));
    expect(sent('delete_note')).toBe(50);
  });
});

describe('RL-07: loops', () => {
  const limits = { repeatsPerMinute: 5, readRepeatsPerMinute: 12 };
  const loop = async (times: number, how: CallOptions = {}): Promise<Answer[]> => {
    const answers: Answer[] = [];
    for (let n = 0; n < times; n++) answers.push(await remove('the same', how));
    return answers;
  };

  test.each(ERAS)(
    'RL-07: %s: the sixth of exactly one call is stopped, its agent goes on with others, and there is one incident',
    async (era) => {
      rig = await starts({ limits });
      const answers = await loop(30, { era });
      expect(sent('delete_note')).toBe(5);
      expect(answers[5]!.text).toContain('You have made exactly this call 6 times in a row, so it was not made again.');
      expect(await reasonOf(answers[29]!)).toBe('loop_stopped');
      expect((await remove('another', { era })).result?.['isError']).toBeUndefined();
      expect((await rig.call('notes', 'read_note', { text: 'the same' }, { era })).result?.['isError']).toBeUndefined();
      const incidents = await rig.entries('incident');
      expect(incidents.map(({ event }) => event)).toMatchObject([
        { what: 'loop', subject: 'tool/notes/delete_note', times: 6, person: 'dana' },
      ]);
      expect(incidents[0]!.call?.args).toMatch(/^sha256:/);
    },
  );

  test('RL-07: it is of one person with one agent: others make the same call', async () => {
    rig = await starts({ limits });
    await loop(9);
    await loop(1, { as: 'dora' });
    await loop(1, { client: 'agent-2' });
    expect(sent('delete_note')).toBe(7);
  });

  test('RL-07: two calls in turn are two loops', async () => {
    rig = await starts({ limits });
    for (let n = 0; n < 40; n++) await remove(n % 2 === 0 ? 'ping' : 'pong');
    expect(sent('delete_note')).toBe(10);
  });

  test('RL-07: who reads may ask more often', async () => {
    rig = await starts({ limits });
    for (let n = 0; n < 20; n++) await rig.call('notes', 'read_note', { text: 'status?' });
    expect(sent('read_note')).toBe(12);
  });

  test('RL-07 twin: without the guard all thirty are carried out', async () => {
    rig = await starts({ limits, table: tableWith({ 'no-loop': null }) });
    await loop(30);
    expect(sent('delete_note')).toBe(30);
  });
});
