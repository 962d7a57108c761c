/** RL-04: large arguments are looked at once, also when the state moves while that is done; what could change the answer has them looked at anew. */
import { expect, test } from 'vitest';
import type { Inspector } from '../../src/content/inspector.ts';
import { KINDS } from '../../src/content/kinds.ts';
import { InspectionPolicy } from '../../src/content/records.ts';
import { compileRules } from '../../src/content/rules.ts';
import type { ExactValue } from '../../src/content/terms.ts';
import type { Call } from '../../src/gateway/call.ts';
import { inspectOut } from '../../src/gateway/inspection.ts';
import { inspectionBooks } from '../../src/gateway/inspection-books.ts';

const SECRET = 'Vq81-nR2x-77Lp-aaQz';
const FORBIDDING = { rules: [{ classes: ['personal.*'], direction: 'out', action: 'block' }] };

function world() {
  const held: ExactValue[] = [];
  const books = inspectionBooks({ open: () => null }, { revision: () => held.length, values: () => held });
  const seen = { looks: 0, faults: [] as readonly string[] };
  const look: Inspector['look'] = (kind, value, limits, terms) => {
    seen.looks++;
    return Promise.resolve({ ...KINDS[kind](value, limits, terms), faults: seen.faults });
  };
  const call = { message: {}, subject: {}, inflight: { signal: new AbortController().signal } } as unknown as Call;
  /** As after every change of the state: all of it is made anew. */
  const move = (policy: object = {}, ownSecrets: readonly string[] = []): void =>
    void Object.assign(call, {
      snapshot: { inspection: compileRules(InspectionPolicy.parse(policy)) },
      facts: {
        tool: { server: 'mail', facts: { risk: 'write' } },
        server: { record: { dataClasses: [] }, ownSecrets: new Set(ownSecrets) },
      },
    });
  const ask = (text: string) => inspectOut(call, { arguments: { text } }, { books, inspector: { look } as Inspector });
  move();
  return { held, seen, move, ask };
}

test('RL-04: the same is not looked at again on the same rules', async () => {
  const { seen, move, ask } = world();
  const first = await ask('harbour walls');
  for (let n = 0; n < 5; n++) {
    move();
    expect(await ask('harbour walls')).toEqual(first);
  }
  expect(seen.looks).toBe(1);
});

test.each<[what: string, change: (on: ReturnType<typeof world>) => void]>([
  ['a new own secret', ({ held, move }) => (held.push({ id: 'c1', value: SECRET }), move())],
  ['another rule', ({ move }) => move(FORBIDDING)],
])('CI-03: %s is', async (_what, change) => {
  const on = world();
  const text = `${SECRET} DE89 3704 0044 0532 0130 00`;
  expect(await on.ask(text)).toMatchObject({ verdict: 'pass' });
  change(on);
  expect(await on.ask(text)).toMatchObject({ verdict: 'block' });
});

test('CI-03: what was the own secret of the server and is not any more, other arguments, and what could not be looked at are', async () => {
  const { held, seen, move, ask } = world();
  held.push({ id: 'c1', value: SECRET });
  move({}, ['c1']);
  expect(await ask(SECRET)).toMatchObject({ verdict: 'pass' });
  move();
  expect(await ask(SECRET)).toMatchObject({ verdict: 'block' });
  seen.faults = ['inspector'];
  await ask('harbour walls');
  seen.faults = [];
  expect(await ask('harbour walls')).toMatchObject({ verdict: 'pass', faults: [] });
  expect(seen.looks).toBe(4);
});
