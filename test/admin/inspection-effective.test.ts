/** What is listed as done about content is what calls read, for every class, direction, risk class and server; and it says because of what. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { effectiveRows, type EffectiveRow } from '../../src/admin/inspection-effective.ts';
import { INSPECTED_RISKS, InspectionPolicy } from '../../src/content/records.ts';
import type { InspectedDataClass } from '../../src/content/records.ts';
import { compileRules } from '../../src/content/rules.ts';
import { FAMILIES } from '../../src/content/terms.ts';

const policy = (rules: readonly unknown[]): InspectionPolicy => InspectionPolicy.parse({ rules });
const rowsOf = (rules: readonly unknown[], direction: string, named: string): EffectiveRow[] =>
  effectiveRows(policy(rules))!.filter((row) => row.direction === direction && row.class === named);
const ALL = [...INSPECTED_RISKS, 'none'];

test('without a record every family has its default, in both directions, and so have the classes with another one', () => {
  const rows = effectiveRows(policy([]))!;
  const once = (direction: string) => rows.filter((row) => row.direction === direction).map((row) => row.class);
  expect(once('out').filter((one) => one.endsWith('.*'))).toEqual(FAMILIES.map((family) => `${family}.*`));
  expect(once('out').filter((one) => !one.endsWith('.*'))).toEqual(['secret.entropy', 'link.data', 'media.mismatch']);
  expect(once('in')).toEqual(once('out').filter((one) => one !== 'copied.*'));
  for (const row of rows) expect(row).toMatchObject({ risks: ALL, from: 'default' });
  expect(rows).toContainEqual({ direction: 'out', class: 'secret.*', risks: ALL, action: 'block', from: 'default' });
  expect(rows).toContainEqual({ direction: 'in', class: 'hidden.*', risks: ALL, action: 'redact', from: 'default' });
});

test('a rule stands where it decides, with its place; risk classes that it does not name keep what they had', () => {
  const rules = [
    { classes: ['personal.iban'], direction: 'out', risks: ['read'], action: 'hold' },
    { classes: ['personal.*'], direction: 'out', servers: ['crm'], dataClasses: ['regulated'], action: 'block' },
  ];
  const where = { servers: ['crm'], dataClasses: ['regulated'] };
  expect(rowsOf(rules, 'out', 'personal.*')).toEqual([
    { direction: 'out', class: 'personal.*', risks: ALL, ...where, action: 'block', from: 'record', rule: 1 },
    { direction: 'out', class: 'personal.*', risks: ALL, action: 'label', from: 'default' },
  ]);
  const iban = { direction: 'out', class: 'personal.iban' };
  const others = ['write', 'destructive', 'execute', 'regulated'];
  expect(rowsOf(rules, 'out', 'personal.iban')).toEqual([
    { ...iban, risks: ['read', 'none'], action: 'hold', from: 'record', rule: 0 },
    { ...iban, risks: others, ...where, action: 'block', from: 'record', rule: 1 },
    { ...iban, risks: others, action: 'label', from: 'default' },
  ]);
  expect(rowsOf(rules, 'in', 'personal.iban')).toEqual([]);
});

test('more than anybody reads is not listed', () => {
  const servers = Array.from({ length: 1_000 }, (_, at) => `s${at}`);
  const rules = Array.from({ length: 30 }, () => ({
    classes: ['personal.*'],
    direction: 'out',
    servers,
    action: 'block',
  }));
  expect(effectiveRows(policy(rules))).toBeNull();
  expect(effectiveRows(policy(rules.slice(0, 10)))).not.toBeNull();
});

describe('by chance', () => {
  const classes = ['secret.*', 'secret.github', 'secret.entropy', 'personal.*', 'personal.iban', 'honeytoken.*'];
  const dataClasses = ['public', 'internal', 'regulated'] as const satisfies readonly InspectedDataClass[];
  const some = <T>(...from: readonly T[]) => fc.option(fc.subarray([...from], { minLength: 1 }), { nil: undefined });
  const anyRule = fc
    .record({
      classes: fc.subarray(classes, { minLength: 1, maxLength: 3 }),
      direction: fc.constantFrom('in', 'out'),
      risks: some('read', 'write', 'execute'),
      servers: some('crm', 'mail'),
      dataClasses: some(...dataClasses),
      action: fc.constantFrom('label', 'redact', 'hold', 'withhold', 'block'),
    })
    .map((rule) => Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)))
    .filter((rule) => InspectionPolicy.safeParse({ rules: [rule] }).success);

  test('the first row that fits says what the rules do', () => {
    const asked = fc.record({
      direction: fc.constantFrom('in', 'out'),
      risk: fc.constantFrom('read', 'write', 'execute', null),
      server: fc.constantFrom('crm', 'mail', 'wiki'),
      held: fc.subarray([...dataClasses]),
      named: fc.constantFrom('secret.github', 'secret.entropy', 'secret.other', 'personal.iban', 'honeytoken.h1'),
    });
    fc.assert(
      fc.property(fc.array(anyRule, { maxLength: 6 }), asked, (rules, { direction, risk, server, held, named }) => {
        const said = policy(rules);
        const rows = effectiveRows(said)!.filter((row) => row.direction === direction);
        const own = rows.filter((row) => row.class === named);
        const found = (own.length > 0 ? own : rows.filter((row) => row.class === `${named.split('.')[0]}.*`)).find(
          (row) =>
            row.risks.includes(risk ?? 'none') &&
            (!row.servers || row.servers.includes(server)) &&
            (!row.dataClasses || row.dataClasses.some((one) => held.some((its) => its === one))),
        );
        const terms = compileRules(said).terms({
          direction,
          risk,
          server,
          dataClasses: held,
          own: null,
          planted: null,
        });
        expect(found?.action).toBe(terms.actionFor(named));
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});
