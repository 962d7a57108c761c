/** Text that was seen before is recognised, and text that was not is not (CI-08). */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fingerprintsOf, overlap, SHINGLES } from '../../src/content/shingles.ts';

const LETTER = `The patient was admitted on the ninth with a fever of thirty-nine degrees and was given two grams of the usual medicine.
On the tenth the fever fell; the family was told that Mr Albrecht would go home before the weekend, and a letter was sent to his doctor in Bremen.`;
const OTHER = `Quarterly numbers rose again, and the board agreed to build a second hall beside the harbour as soon as the ground has been drained and paid for.`;
const book = new Set(fingerprintsOf(LETTER));
const GUARANTEED = SHINGLES.k + SHINGLES.w - 1;

describe('CI-08: copies', () => {
  test.each<[string, string]>([
    ['as it is', LETTER],
    ['in capitals', LETTER.toUpperCase()],
    ['without spaces and signs', LETTER.replaceAll(/\W/g, '')],
    ['in lines of ten', LETTER.replaceAll(/(.{10})/g, '$1\n')],
    ['inside other text', `${OTHER} ${LETTER} ${OTHER}`],
    ['one sentence of it', LETTER.slice(0, 110)],
    [
      'cut to the guaranteed length',
      Array.from(LETTER.replaceAll(/\W/g, ''))
        .slice(7, 7 + GUARANTEED)
        .join(''),
    ],
  ])('CI-08: recognised %s', (_what, text) => {
    const { known, longestRun } = overlap(book, text);
    expect(known).toBeGreaterThanOrEqual(1);
    expect(longestRun).toBeGreaterThanOrEqual(SHINGLES.k);
  });
  test.each<[string, string]>([
    ['another text', OTHER],
    ['nothing', ''],
    ['a run shorter than a shingle', LETTER.slice(0, 24)],
    ['the same words in another order', LETTER.split(' ').toSorted().join(' ')],
  ])('CI-08: not recognised: %s', (_what, text) => {
    expect(overlap(book, text)).toMatchObject({ known: 0, longestRun: 0 });
  });
  test('CI-08: GUARANTEE: any shared run of k + w - 1 letters is found, wherever it stands and whatever is around it', () => {
    const words = fc.stringMatching(/^[a-z ]{0,200}$/);
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z0-9]{40,60}$/), words, words, words, words, (run, a, b, c, d) => {
        const seen = new Set(fingerprintsOf(`${a}.${run}.${b}`));
        expect(overlap(seen, `${c} ${run.toUpperCase()}; ${d}`).known).toBeGreaterThanOrEqual(1);
      }),
      { seed: 8, numRuns: 500 },
    );
  });
  test('CI-08: twin: whole texts compared by equality find no cut copy', () => {
    expect(new Set([LETTER]).has(LETTER.slice(0, 110))).toBe(false);
  });
  test('other scripts count as letters', () => {
    const text = 'Отчёт о пациенте: температура тридцать девять градусов, лекарство дали дважды, завтра домой к семье.';
    expect(overlap(new Set(fingerprintsOf(text)), text.toUpperCase()).known).toBeGreaterThanOrEqual(1);
  });
  test('fingerprints are few, sorted, and each once', () => {
    const prints = [...fingerprintsOf(LETTER.repeat(20))];
    expect(prints).toEqual([...new Set(prints)].toSorted((a, b) => a - b));
    expect(prints.length).toBeLessThan(LETTER.length / 4);
  });
});
