/** What is done about which class, from a record and without one (CI-02 to CI-05); what no record can allow. */
import { describe, expect, test } from 'vitest';
import { InspectionPolicy } from '../../src/content/records.ts';
import { compileRules } from '../../src/content/rules.ts';
import type { TermsFor } from '../../src/content/rules.ts';

const asked = (over: Partial<TermsFor> = {}): TermsFor => ({
  direction: 'in',
  risk: 'read',
  server: 'docs',
  dataClasses: ['internal'],
  own: null,
  planted: null,
  ...over,
});
const policy = (rules: unknown[], more: object = {}): InspectionPolicy => InspectionPolicy.parse({ rules, ...more });
const problems = (value: unknown): string[] => {
  const parsed = InspectionPolicy.safeParse(value);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
};

describe('without a record', () => {
  const rules = compileRules(null);
  test.each([
    ['out', 'secret.github', 'block'],
    ['out', 'secret.entropy', 'label'],
    ['out', 'own_secret.c1', 'block'],
    ['out', 'honeytoken.h1', 'block'],
    ['out', 'personal.iban', 'label'],
    ['out', 'hidden.bidi', 'label'],
    ['out', 'link.image', 'label'],
    ['out', 'copied.crm', 'label'],
    ['in', 'secret.github', 'redact'],
    ['in', 'secret.entropy', 'label'],
    ['in', 'own_secret.c1', 'redact'],
    ['in', 'honeytoken.h1', 'redact'],
    ['in', 'personal.iban', 'label'],
    ['in', 'hidden.bidi', 'redact'],
    ['in', 'link.image', 'redact'],
    ['in', 'link.data', 'label'],
    ['in', 'instruction.override', 'label'],
    ['in', 'media.image', 'label'],
  ] as const)('CI-02: %s, %s: %s', (direction, findingClass, action) => {
    expect(rules.terms(asked({ direction })).actionFor(findingClass)).toBe(action);
  });
  test('CI-11: only reading goes on when a detector fails; what is not known counts as the most dangerous', () => {
    const modes = (['read', 'write', 'destructive', 'execute', 'regulated', null] as const).map(
      (risk) => rules.terms(asked({ risk })).onFault,
    );
    expect(modes).toEqual(['label', 'refuse', 'refuse', 'refuse', 'refuse', 'refuse']);
  });
  test('CI-03: the server that a credential belongs to is sent it, and no other; back it never comes', () => {
    const except = new Set(['c1']);
    const out = rules.terms(asked({ direction: 'out', except }));
    expect([out.actionFor('own_secret.c1'), out.actionFor('own_secret.c2')]).toEqual([null, 'block']);
    expect(rules.terms(asked({ except })).actionFor('own_secret.c1')).toBe('redact');
  });
  test('the same question has the same terms; another has others', () => {
    const first = rules.terms(asked());
    expect(rules.terms(asked())).toBe(first);
    expect(rules.terms(asked({ risk: 'write' }))).not.toBe(first);
    expect(rules.terms(asked({ own: { find: () => [] } }))).not.toBe(first);
    expect(rules.terms(asked({ except: new Set(['c1']) }))).not.toBe(first);
    expect(rules.terms(asked({ server: 'crm' }))).not.toBe(first);
  });
});

describe('with a record', () => {
  test('CI-02: the first rule that fits decides', () => {
    const { terms } = compileRules(
      policy([
        { classes: ['personal.iban'], direction: 'in', action: 'label' },
        { classes: ['personal.*'], direction: 'in', action: 'redact' },
      ]),
    );
    expect(terms(asked()).actionFor('personal.iban')).toBe('label');
    expect(terms(asked()).actionFor('personal.card')).toBe('redact');
    expect(terms(asked({ direction: 'out' })).actionFor('personal.card')).toBe('label');
  });
  test.each<[string, object, Partial<TermsFor>, boolean]>([
    ['its risk class', { risks: ['execute'] }, { risk: 'execute' }, true],
    ['another risk class', { risks: ['execute'] }, { risk: 'read' }, false],
    ['no item', { risks: ['execute'] }, { risk: null }, true],
    ['its server', { servers: ['docs'] }, {}, true],
    ['another server', { servers: ['crm'] }, {}, false],
    ['one of its data classes', { dataClasses: ['regulated', 'internal'] }, {}, true],
    ['none of its data classes', { dataClasses: ['regulated'] }, {}, false],
  ])('CI-05: a rule for %s', (_what, members, question, fits) => {
    const { terms } = compileRules(
      policy([{ classes: ['personal.*'], direction: 'in', action: 'withhold', ...members }]),
    );
    expect(terms(asked(question)).actionFor('personal.card')).toBe(fits ? 'withhold' : 'label');
  });
  test('CI-03: no rule lets an own or a planted secret pass, not even one that was stored without its check', () => {
    const weak = {
      ...policy([]),
      rules: [{ classes: ['own_secret.*', 'honeytoken.*'], direction: 'out', action: 'label' }],
    } as InspectionPolicy;
    const terms = compileRules(weak).terms(asked({ direction: 'out' }));
    expect([terms.actionFor('own_secret.c1'), terms.actionFor('honeytoken.h1')]).toEqual(['block', 'block']);
  });
});

describe('a record that cannot be meant', () => {
  test.each<[object, string]>([
    [
      { classes: ['secret.*'], direction: 'out', action: 'redact' },
      'rules.0.action: redact does not go with direction out; use label, hold, block',
    ],
    [
      { classes: ['secret.*'], direction: 'in', action: 'block' },
      'rules.0.action: block does not go with direction in; use label, redact, withhold',
    ],
    [
      { classes: ['own_secret.*'], direction: 'out', action: 'hold' },
      'rules.0.action: own_secret.* may not pass: use block',
    ],
    [
      { classes: ['honeytoken.x'], direction: 'in', action: 'label' },
      'rules.0.action: honeytoken.x may not pass: use redact or withhold',
    ],
    [
      { classes: ['media.image'], direction: 'in', action: 'redact' },
      'rules.0.action: nothing can be taken out of media.image: use label or withhold',
    ],
    [
      { classes: ['copied.crm'], direction: 'in', action: 'label' },
      'rules.0.direction: copied.crm is only looked for in what goes out',
    ],
    [
      { classes: ['secrets.*'], direction: 'in', action: 'label' },
      'rules.0.classes.0: there is no family secrets; the families are secret, own_secret, honeytoken, personal, hidden, link, instruction, media, copied',
    ],
    [
      { classes: ['*'], direction: 'in', action: 'label' },
      'rules.0.classes.0: write family.* or family.kind, for example secret.* or personal.iban',
    ],
  ])('%j', (rule, problem) => {
    expect(problems({ rules: [rule] })).toEqual([problem]);
  });
  test('every problem is named at once', () => {
    expect(
      problems({ rules: [{ classes: ['x.y'], direction: 'up', action: 'eat' }], linkHosts: ['https://a'], budgetMs: 0 })
        .length,
    ).toBe(5);
  });
  test('an empty one is the defaults', () => {
    expect(InspectionPolicy.parse({})).toEqual({
      rules: [],
      linkHosts: [],
      onFault: { read: 'label', write: 'refuse', destructive: 'refuse', execute: 'refuse', regulated: 'refuse' },
      budgetMs: 500,
    });
  });
});
