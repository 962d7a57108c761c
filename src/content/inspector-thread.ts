/** The thread that looks at large values (inspector.ts). Knows nothing but what it is told; one job at a time. */
import { isDeepStrictEqual } from 'node:util';
import { parentPort } from 'node:worker_threads';
import type { JsonObject } from '../lib/json.ts';
import { Fault } from '../lib/fault.ts';
import type { Job, JobDone } from './inspector.ts';
import { KINDS } from './kinds.ts';
import { exactMatcher } from './matcher.ts';
import type { ExactMatcher } from './matcher.ts';
import { compileRules } from './rules.ts';
import type { ExactValue, Matcher, Terms } from './terms.ts';

interface Told extends Matcher {
  tell(values: readonly ExactValue[] | null): void;
}

function told(): Told {
  let matcher: ExactMatcher | null = exactMatcher([]);
  let book: readonly ExactValue[] = [];
  const known = (): Matcher => {
    if (matcher === null) throw new Fault('values_unknown', 'nobody knows what to look for');
    return matcher;
  };
  return {
    find: (text) => known().find(text),
    book() {
      known();
      return { revision: 0, values: book };
    },
    tell(values) {
      matcher = values === null ? null : exactMatcher(values, matcher);
      book = values ?? [];
    },
  };
}

const own = told();
const planted = told();
const made = new Map<number, Terms>();

parentPort!.on('message', (job: Job) => {
  if (job.own !== undefined) own.tell(job.own);
  if (job.planted !== undefined) planted.tell(job.planted);
  if (job.recipe && job.seeks) {
    const books = { own: job.seeks.own ? own : null, planted: job.seeks.planted ? planted : null };
    made.set(job.terms, compileRules(job.recipe.policy).terms({ ...job.recipe.asked, ...books }));
  }
  const value = JSON.parse(job.text) as JsonObject;
  const inspection = KINDS[job.kind](value, job.limits, made.get(job.terms)!);
  const { result, ...looked } = { result: null, ...inspection };
  const changed = result === null || isDeepStrictEqual(result, value) ? null : JSON.stringify(result);
  const done: JobDone = { looked, changed };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
  parentPort!.postMessage(done);
});
