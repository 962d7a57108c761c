/** Precision, recall and false positives over the labelled set, with Wilson intervals (95 %), and the table of docs/guides/inspection.md. */
import { inspectMembers, inspectResult } from '../../../src/content/inspect.ts';
import { InspectionPolicy } from '../../../src/content/records.ts';
import { compileRules } from '../../../src/content/rules.ts';
import type { Terms } from '../../../src/content/terms.ts';
import { scanDefinition } from '../../../src/integrity/scan.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { BENIGN } from '../../integrity/corpus/labelled.ts';
import { DEFINITIONS, RESULTS } from './corpus.ts';
import type { Labelled } from './corpus.ts';

export interface Share {
  readonly hits: number;
  readonly of: number;
  readonly low: number;
  readonly high: number;
}

export function shareOf(hits: number, of: number): Share {
  if (of === 0) return { hits, of, low: 0, high: 1 };
  const z = 1.96;
  const p = hits / of;
  const centre = (p + (z * z) / (2 * of)) / (1 + (z * z) / of);
  const half = (z * Math.sqrt((p * (1 - p)) / of + (z * z) / (4 * of * of))) / (1 + (z * z) / of);
  return { hits, of, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

/** An organisation that wrote nothing but one host that it trusts with pictures. */
const TERMS = compileRules(InspectionPolicy.parse({ linkHosts: ['img.shields.io'] })).terms({
  direction: 'in',
  risk: 'read',
  server: 'docs',
  dataClasses: ['internal'],
  own: null,
  planted: null,
});

export const MEASURED = ['secret', 'personal', 'hidden', 'link', 'instruction'] as const;
/** Classes that only inform and claim nothing. */
const INFORMS: ReadonlySet<string> = new Set(['secret.entropy', 'link.data']);

const looked = (entry: Labelled, terms: Terms) =>
  inspectResult({ content: [{ type: 'text', text: entry.text }] }, undefined, terms);

export function quality(
  family: string,
  half: Labelled['half'],
  terms: Terms = TERMS,
): { precision: Share; recall: Share } {
  let right = 0;
  let found = 0;
  let real = 0;
  for (const entry of RESULTS) {
    if (entry.half !== half) continue;
    const holds = entry.holds.includes(family);
    const classes = looked(entry, terms).findings.map((finding) => finding.class);
    const finds = classes.some((one) => one.startsWith(`${family}.`) && (holds || !INFORMS.has(one)));
    real += Number(holds);
    found += Number(finds);
    right += Number(holds && finds);
  }
  return { precision: shareOf(right, found), recall: shareOf(right, real) };
}

/** Benign results about which more is done than to label them. */
export function touchedResults(
  half: Labelled['half'] | null = null,
  terms: Terms = TERMS,
): { share: Share; ids: string[] } {
  const set = RESULTS.filter((entry) => entry.set === 'benign' && (half === null || entry.half === half));
  const ids = set.filter((entry) => looked(entry, terms).verdict !== 'pass').map(({ id }) => id);
  return { share: shareOf(ids.length, set.length), ids };
}

/** Benign definitions that inspection changes, or that the definition scanner blocks. */
export function touchedDefinitions(): { share: Share; names: unknown[] } {
  const set: JsonObject[] = [...DEFINITIONS, ...BENIGN].map(({ definition }) => definition);
  const touched = set.filter(
    (definition) =>
      inspectMembers(definition, undefined, TERMS).verdict !== 'pass' ||
      scanDefinition(definition).some(({ severity }) => severity === 'block'),
  );
  return { share: shareOf(touched.length, set.length), names: touched.map(({ name }) => name) };
}

const percent = (value: number): string => `${(value * 100).toFixed(1)} %`;
const cell = ({ hits, of, low, high }: Share): string =>
  of === 0 ? 'n = 0' : `${hits}/${of} = ${percent(hits / of)} (${percent(low)} to ${percent(high)})`;

export function table(): string {
  const rows = MEASURED.map((family) => {
    const dev = quality(family, 'dev');
    const held = quality(family, 'held-out');
    return `| ${family} | ${cell(dev.precision)} | ${cell(dev.recall)} | ${cell(held.precision)} | ${cell(held.recall)} |`;
  });
  return [
    '| family | precision, dev | recall, dev | precision, held out | recall, held out |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    '| harmless, and yet more than labelled | |',
    '|---|---|',
    `| results, dev | ${cell(touchedResults('dev').share)} |`,
    `| results, held out | ${cell(touchedResults('held-out').share)} |`,
    `| definitions | ${cell(touchedDefinitions().share)} |`,
  ].join('\n');
}
