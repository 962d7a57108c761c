/** The table is the product's promise about order and completeness, so it stands here a second time, as a literal. */
import { describe, expect, test } from 'vitest';
import { known } from '../../src/gateway/call.ts';
import type { Call } from '../../src/gateway/call.ts';
import { PASS, deny, guard, learn } from '../../src/gateway/guard.ts';
import type { Guard, GuardPorts } from '../../src/gateway/guard.ts';
import { COLUMN_OF, PIPELINE, pipelineOf } from '../../src/gateway/pipeline.ts';
import type { Column, Row } from '../../src/gateway/pipeline.ts';
import { Fault } from '../../src/lib/fault.ts';
import { methodRules } from '../../src/protocol/methods.ts';

const columnOf = (column: Column): readonly string[] =>
  PIPELINE.filter(({ columns }) => columns.has(column)).map(({ guard: one }) => one.name);

describe('the table', () => {
  test('has these guards in this order in these columns', () => {
    const every = [...new Set(Object.values(COLUMN_OF)), 'reply', 'kept', 'edge'] as const;
    const known = ['token-is-ours', 'snapshot-is-fresh', 'caller-stands', 'server-is-enabled'];
    const inSession = [...known, 'session-is-theirs'];
    expect(Object.fromEntries(every.map((column) => [column, columnOf(column)]))).toEqual({
      call: [
        ...inSession,
        'state-is-theirs',
        'item-is-theirs',
        'arguments-fit',
        'same-arguments',
        'arguments-are-clean',
        'trace-is-known',
        'caller-may',
        'within-limits',
        'no-loop',
        'item-is-unchanged',
        'person-agreed',
        'within-budget',
      ],
      fill: [
        ...inSession,
        'item-is-theirs',
        'arguments-fit',
        'arguments-are-clean',
        'trace-is-known',
        'caller-may',
        'within-limits',
        'item-is-unchanged',
        'person-agreed',
      ],
      watch: [
        ...inSession,
        'item-is-theirs',
        'arguments-fit',
        'arguments-are-clean',
        'trace-is-known',
        'caller-may',
        'within-limits',
        'item-is-unchanged',
        'person-agreed',
      ],
      list: [...inSession, 'within-limits'],
      task: [...inSession, 'within-limits', 'task-is-theirs'],
      hear: [...inSession, 'within-limits'],
      level: [...inSession, 'within-limits'],
      reply: inSession,
      hello: [...known, 'within-limits'],
      ping: inSession,
      note: inSession,
      kept: ['caller-stands', 'server-is-enabled', 'item-is-theirs', 'labelled-first'],
      edge: ['token-is-ours'],
    });
  });

  test('asks again exactly those that only read, and each of them belongs to calls', () => {
    const again = PIPELINE.filter((row) => row.again);
    expect(again.map(({ guard: one }) => one.name)).toEqual([
      'snapshot-is-fresh',
      'caller-stands',
      'server-is-enabled',
      'item-is-theirs',
      'arguments-fit',
      'arguments-are-clean',
      'trace-is-known',
      'caller-may',
    ]);
    for (const row of again) expect(row.columns.has('call')).toBe(true);
  });

  test('has a column for every family of methods, and none is without the first guard', () => {
    const families = new Set(methodRules().map(([, { family }]) => family));
    expect(new Set(Object.keys(COLUMN_OF))).toEqual(families);
    expect(COLUMN_OF).toEqual({
      initialize: 'hello',
      discover: 'hello',
      ping: 'ping',
      list: 'list',
      call: 'call',
      prompt: 'call',
      read: 'call',
      complete: 'fill',
      subscribe: 'watch',
      level: 'level',
      listen: 'hear',
      task: 'task',
      initialized: 'note',
      cancelled: 'note',
    });
    for (const column of new Set(Object.values(COLUMN_OF))) expect(columnOf(column)[0]).toBe('token-is-ours');
  });

  test('names every guard once', () => {
    const names = PIPELINE.map(({ guard: one }) => one.name);
    expect(new Set(names).size).toBe(names.length);
  });
});

const callOf = (): Call => ({ facts: {}, stoppedBy: null }) as unknown as Call;
const PORTS = {} as GuardPorts;
const row = (one: Guard, again = false): Row => ({ guard: one, columns: new Set(['call']), again });
const passing = (name: string, ran: string[]): Guard =>
  guard<null>({
    name,
    gather: () => (ran.push(`gather ${name}`), null),
    decide: () => (ran.push(`decide ${name}`), PASS),
  });

describe('running a column', () => {
  test('gathers and decides one guard after the other, and stops at the first no', async () => {
    const ran: string[] = [];
    const stop = guard<null>({ name: 'stop', gather: () => null, decide: () => deny({ reason: 'overloaded' }) });
    const call = callOf();
    const { admit } = pipelineOf([row(passing('a', ran)), row(stop), row(passing('b', ran))]);
    expect(await admit(call, 'call', PORTS)).toEqual({ reason: 'overloaded' });
    expect(call.stoppedBy).toBe('stop');
    expect(ran).toEqual(['gather a', 'decide a']);
  });

  test('adds what a guard learned to the facts of the call, under its name', async () => {
    const teacher = guard<null>({
      name: 'teacher',
      gather: () => null,
      decide: () => learn({ argumentsDigest: 'sha256:x' }),
    });
    const call = callOf();
    expect(await pipelineOf([row(teacher)]).admit(call, 'call', PORTS)).toBeNull();
    expect(known(call, 'argumentsDigest')).toBe('sha256:x');
  });

  test.each<[string, Partial<Guard>, string]>([
    [
      'gather throws',
      {
        gather: () => {
          throw new Fault('db_gone', 'secret text');
        },
      },
      'db_gone',
    ],
    ['gather rejects', { gather: () => Promise.reject(new Fault('db_gone', 'secret text')) }, 'db_gone'],
    ['gather rejects with no error', { gather: () => Promise.reject(new Error()) }, 'unexpected'],
    [
      'decide throws',
      {
        decide: () => {
          throw new TypeError('x');
        },
      },
      'unexpected',
    ],
    [
      'decide asks for what nobody established',
      { decide: (call) => learn({ person: known(call, 'person') }) },
      'guard_order',
    ],
  ])('refuses when %s, and no later guard runs', async (_title, broken, fault) => {
    const ran: string[] = [];
    const bad: Guard = { name: 'bad', gather: () => null, decide: () => PASS, ...broken };
    const call = callOf();
    const denial = await pipelineOf([row(bad), row(passing('later', ran))]).admit(call, 'call', PORTS);
    expect(denial).toEqual({ reason: 'guard_failed', guard: 'bad', fault });
    expect(call.stoppedBy).toBe('bad');
    expect(ran).toEqual([]);
  });

  test.each(PIPELINE.map(({ guard: one }) => one.name))(
    'refuses when the facts of %s cannot be gathered',
    async (name) => {
      const failing = PIPELINE.map((entry) => ({
        ...entry,
        guard: {
          ...entry.guard,
          gather: entry.guard.name === name ? () => Promise.reject(new Fault('port_down', 'x')) : () => null,
          decide: () => PASS,
        },
      }));
      const columns = failing.find((entry) => entry.guard.name === name)!.columns;
      for (const column of columns)
        expect(await pipelineOf(failing).admit(callOf(), column, PORTS)).toEqual({
          reason: 'guard_failed',
          guard: name,
          fault: 'port_down',
        });
    },
  );

  test('asked again, runs only the reading rows', async () => {
    const ran: string[] = [];
    const { readmit } = pipelineOf([row(passing('a', ran)), row(passing('b', ran), true)]);
    expect(await readmit(callOf(), 'call', PORTS)).toBeNull();
    expect(ran).toEqual(['gather b', 'decide b']);
  });
});
