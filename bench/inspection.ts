/**
 * What it costs to look at content: JSON, prose and two-byte text of 1 KB to 1 MB, everything on (200 own values, 50 planted) against nothing on
 * (the walk alone: size, depth, shape). Processor time of this process per value, the best of several turns; the ratio to nothing, and to
 * JSON.stringify of the same value, which every call pays anyway, are what to look at. `node bench/inspection.ts [--write]`
 */
import { cpus, loadavg } from 'node:os';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { inspectMembers } from '../src/content/inspect.ts';
import { exactMatcher } from '../src/content/matcher.ts';
import { InspectionPolicy } from '../src/content/records.ts';
import { compileRules } from '../src/content/rules.ts';
import { fingerprintsOf } from '../src/content/shingles.ts';
import type { Terms } from '../src/content/terms.ts';
import type { JsonObject } from '../src/lib/json.ts';

const { write } = parseArgs({ options: { write: { type: 'boolean', default: false } } }).values;
const SIZES = [1_024, 10_240, 102_400, 1_048_576];

let state = 6;
const random = (): number => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
};
const below = (bound: number): number => Math.floor(random() * bound);
const WORDS =
  'the committee agreed that old harbour walls should be rebuilt before winter although nobody could say who would pay for stone please send a note when you use any other tool and ask before the report is shown'.split(
    ' ',
  );
const RUSSIAN =
  'комитет решил что старые стены гавани надо перестроить до зимы хотя никто не мог сказать кто заплатит за камень'.split(
    ' ',
  );
const sentence = (words: readonly string[], length: number): string => {
  let text = '';
  while (text.length < length) text += `${words[below(words.length)]}${below(12) === 0 ? '. ' : ' '}`;
  return text.slice(0, length);
};
const hex = (length: number): string => Array.from({ length }, () => '0123456789abcdef'[below(16)]).join('');

/** About that many characters as JSON. */
const MAKE: Readonly<Record<string, (size: number) => JsonObject>> = {
  json: (size) => {
    const items: JsonObject[] = [];
    for (let length = 0; length < size;) {
      const item = {
        id: below(1e9),
        sha: hex(40),
        title: sentence(WORDS, 40),
        created_at: '2026-03-04T10:22:31Z',
        url: `https://api.corp.example/items/${below(1e6)}`,
        author: { login: `user${below(999)}`, email: `user${below(999)}@corp.example` },
        labels: ['open', 'triage'],
      };
      length += JSON.stringify(item).length;
      items.push(item);
    }
    return { items };
  },
  prose: (size) => ({ text: sentence(WORDS, size) }),
  twoByte: (size) => ({ text: sentence(RUSSIAN, size) }),
};

const values = (count: number, prefix: string) =>
  Array.from({ length: count }, (_, i) => ({ id: `${prefix}${i}`, value: `${prefix}_${hex(32)}` }));
const own = exactMatcher(values(200, 'own'));
const everything = compileRules(InspectionPolicy.parse({ budgetMs: 5_000 })).terms({
  direction: 'in',
  risk: 'read',
  server: 's',
  dataClasses: ['internal'],
  own,
  planted: exactMatcher(values(50, 'bait')),
});
const nothing: Terms = { ...everything, own: null, planted: null, actionFor: () => null };

/** Milliseconds of processor time, the best of nine turns of about 40 ms. */
function cost(run: () => unknown): number {
  const started = performance.now();
  let warm = 0;
  while (performance.now() - started < 150 || warm < 5) {
    run();
    warm++;
  }
  const each = (performance.now() - started) / warm;
  const times = Math.max(1, Math.round(40 / each));
  let best = Number.POSITIVE_INFINITY;
  for (let turn = 0; turn < 9; turn++) {
    const before = process.cpuUsage();
    for (let i = 0; i < times; i++) run();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1_000 / times);
  }
  return best;
}
const round = (value: number): number => Number(value.toPrecision(3));

const legs = Object.entries(MAKE).flatMap(([kind, make]) =>
  SIZES.map((size) => {
    const value = make(size);
    const all = cost(() => inspectMembers(value, undefined, everything));
    const none = cost(() => inspectMembers(value, undefined, nothing));
    const stringify = cost(() => JSON.stringify(value));
    const text = JSON.stringify(value);
    return {
      kind,
      size,
      everythingMs: round(all),
      nothingMs: round(none),
      ofNothing: round(all / none),
      ofStringify: round(all / stringify),
      exactValuesMs: round(cost(() => own.find(text))),
      fingerprintsMs: round(cost(() => fingerprintsOf(text))),
    };
  }),
);
console.table(legs);
const ten = legs.filter(({ size }) => size === 10_240);
const worst = Math.max(...ten.map(({ everythingMs }) => everythingMs));
console.log(`goal: at most 0.5 ms at 10 KB, everything on: ${worst <= 0.5 ? 'met' : 'MISSED'} (${worst} ms)`);
if (write) {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    node: process.version,
    load: round(loadavg()[0] ?? 0),
  };
  const baseline = { date: new Date().toISOString().slice(0, 10), machine, goalMsAt10Kb: 0.5, legs };
  writeFileSync(new URL('inspection-baseline.json', import.meta.url), `${JSON.stringify(baseline, null, 2)}\n`);
}
