/** A detector that fails or is late is said, and means what the risk class says (CI-11); what is said is bounded (AE-11). */
import { describe, expect, test } from 'vitest';
import { inspectArguments, inspectMembers, inspectResult, inspectText } from '../../src/content/inspect.ts';
import { DETECTORS } from '../../src/content/detectors/all.ts';
import { lookOver } from '../../src/content/look.ts';
import { InspectionPolicy } from '../../src/content/records.ts';
import { compileRules } from '../../src/content/rules.ts';
import type { Matcher, Terms } from '../../src/content/terms.ts';

const broken: Matcher = {
  find: () => {
    throw new Error('broken: the secret was hunter2');
  },
};
const terms = (over: { direction?: 'in' | 'out'; risk?: 'read' | 'write'; own?: Matcher | null }): Terms =>
  compileRules(null).terms({
    direction: 'in',
    risk: 'read',
    server: 's',
    dataClasses: ['internal'],
    own: null,
    planted: null,
    ...over,
  });
const result = { content: [{ type: 'text', text: 'A harmless text.' }] };

describe('CI-11: a detector that throws', () => {
  test('CI-11: reading goes on, marked', () => {
    expect(inspectResult(result, undefined, terms({ own: broken }))).toMatchObject({
      verdict: 'pass',
      result,
      faults: ['own'],
      labels: ['uninspected:own'],
      inspected: expect.arrayContaining(['uninspected:own', 'secrets@1']),
    });
  });
  test('CI-11: it is not said to have looked', () => {
    expect(inspectResult(result, undefined, terms({ own: broken })).inspected).not.toContain('own@1');
  });
  test('CI-11: nothing of anything else goes on, either way', () => {
    const expected = { reason: 'inspection_failed', faults: ['own'] };
    expect(inspectResult(result, undefined, terms({ risk: 'write', own: broken }))).toMatchObject({
      verdict: 'withhold',
      result: null,
      ...expected,
    });
    expect(inspectArguments({ a: 'harmless' }, terms({ direction: 'out', risk: 'write', own: broken }))).toMatchObject({
      verdict: 'block',
      ...expected,
    });
    expect(inspectText('harmless', terms({ risk: 'write', own: broken })).text).toBe('[withheld]');
  });
  test('CI-11: the others look all the same, and the fault says nothing', () => {
    const looked = inspectArguments({ a: 'postgres://app:s3cretpw@db/x' }, terms({ direction: 'out', own: broken }));
    expect(looked).toMatchObject({ verdict: 'block', reason: 'secret.url_password', faults: ['own'] });
    expect(JSON.stringify(looked)).not.toContain('hunter2');
  });
  test('CI-11: twin: without the fault it goes on', () => {
    expect(inspectResult(result, undefined, terms({ risk: 'write', own: { find: () => [] } }))).toMatchObject({
      verdict: 'pass',
      faults: [],
    });
  });
});

describe('CI-11: a value that takes too long', () => {
  const late = (mode: 'label' | 'refuse') => {
    let at = 0;
    const look = lookOver({ ...terms({}), onFault: mode, budgetMs: 10 }, DETECTORS, () => (at += 4));
    for (let i = 0; i < 20; i++) look.text('x'.repeat(5_000), () => '');
    return look;
  };
  test('CI-11: what was not looked at is named', () => {
    const look = late('label');
    expect(look.stop).toBe(null);
    expect(look.faults.toSorted()).toEqual(['instructions', 'links', 'personal', 'secrets']);
  });
  test('CI-11: or nothing goes on', () => {
    expect(late('refuse').stop).toBe('inspection_failed');
  });
});

describe('AE-11: what is said of it', () => {
  test('AE-11: at most sixteen findings, then how many more; decided is about all', () => {
    const mails = Array.from({ length: 300 }, (_, i) => `a${i}@corp.io`).join(' ');
    const looked = inspectResult({ content: [{ type: 'text', text: mails }] }, undefined, terms({}));
    expect(looked.findings.length).toBe(200);
    expect(looked.inspected.filter((one) => one.startsWith('found:')).length).toBe(17);
    expect(looked.inspected.at(-1)).toBe('found:more:284');
    const redacting = compileRules(
      InspectionPolicy.parse({ rules: [{ classes: ['personal.*'], direction: 'in', action: 'redact' }] }),
    );
    const clean = inspectMembers(
      { mails },
      undefined,
      redacting.terms({
        direction: 'in',
        risk: 'read',
        server: 's',
        dataClasses: ['internal'],
        own: null,
        planted: null,
      }),
    );
    expect(JSON.stringify(clean.result)).not.toContain('@corp');
  });
  test('AE-11: a pointer is bounded and plain', () => {
    const looked = inspectMembers({ ['ü'.repeat(100)]: { ['b'.repeat(200)]: 'anna@corp.io' } }, undefined, terms({}));
    const said = looked.inspected.find((one) => one.startsWith('found:')) ?? '';
    expect(said.length).toBeLessThan(190);
    expect(said).toMatch(/^[ -~]+$/);
  });
  test('AE-11: every detector is named with its version', () => {
    const matcher: Matcher = { find: () => [] };
    const both = compileRules(null).terms({
      direction: 'in',
      risk: 'read',
      server: 's',
      dataClasses: ['internal'],
      own: matcher,
      planted: matcher,
    });
    expect(inspectResult(result, undefined, both).inspected).toEqual([
      'size',
      'shape',
      'hidden@1',
      'planted@1',
      'own@1',
      'secrets@1',
      'links@1',
      'personal@1',
      'instructions@1',
    ]);
  });
});
