/** What every StateStore must do. Run by test/store for each engine; `open` gives a store on a place, and the same place again. */
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/lib/clock.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { CommitRequest, StateStore, Write } from '../../src/store/state.ts';
import { StoreFault } from '../../src/store/state.ts';

export interface StatePlace {
  /** Opens the store that lives at this place; the data survives `close`. */
  open(clock: Clock): Promise<StateStore>;
  remove(): Promise<void>;
}

const NOW = Date.UTC(2026, 10, 1);

export function server(id: string, body: JsonObject | null, more: Partial<Write> = {}): Write {
  return { kind: 'server', org: 'default', id, body, ...more };
}

export function by(actor: string, ...writes: Write[]): CommitRequest {
  return { actor, reason: 'because', writes };
}

export function stateStoreContract(name: string, newPlace: () => Promise<StatePlace>): void {
  describe(`state store contract: ${name}`, () => {
    let place: StatePlace;
    let store: StateStore;
    const clock = manualClock(NOW);

    beforeEach(async () => {
      place = await newPlace();
      store = await place.open(clock);
    });
    afterEach(async () => {
      await store.close();
      await place.remove();
    });

    const expectFault = (work: Promise<unknown>, code: string, message: RegExp) =>
      expect(work).rejects.toSatisfy((fault: unknown) => {
        expect(fault).toBeInstanceOf(StoreFault);
        expect(fault).toMatchObject({ code, message: expect.stringMatching(message) });
        return true;
      });

    test('an empty store is at revision 0', async () => {
      expect(await store.head()).toBe(0);
      expect(await store.load()).toEqual({ revision: 0, records: [] });
      expect(await store.changesAfter(0, 10)).toEqual([]);
    });

    test('a commit gets the next revision and its changes carry who, why and when', async () => {
      const commit = await store.commit(
        by('ann', server('files', { title: 'Files' }), server('mail', { title: 'Mail' })),
      );
      expect(commit).toEqual({
        revision: 1,
        at: NOW,
        changes: [
          { revision: 1, ordinal: 0, at: NOW, actor: 'ann', reason: 'because', ...server('files', { title: 'Files' }) },
          { revision: 1, ordinal: 1, at: NOW, actor: 'ann', reason: 'because', ...server('mail', { title: 'Mail' }) },
        ],
      });
      expect(await store.changesAfter(0, 10)).toEqual(commit.changes);
      expect(await store.head()).toBe(1);
    });

    test('load folds the history: newest bodies, no deleted records', async () => {
      await store.commit(by('ann', server('files', { v: 1 }), server('mail', { v: 1 })));
      await store.commit(by('ann', server('files', { v: 2 })));
      await store.commit(by('ann', server('mail', null)));
      expect(await store.load()).toEqual({ revision: 3, records: [{ ...server('files', { v: 2 }), revision: 2 }] });
    });

    test('bodies come back as the JSON they were, whatever the characters', async () => {
      const body = { text: 'e\u0301 \u0000 \u2028 🙂 "\\', n: [1e21, -0.5, null, true], ключ: { __proto__x: {} } };
      await store.commit(by('ann', server('odd', body)));
      expect((await store.load()).records[0]?.body).toEqual(body);
    });

    test('history keeps every version of one record, deletion included', async () => {
      await store.commit(by('ann', server('files', { v: 1 }), server('mail', { v: 9 })));
      await store.commit(by('bob', server('files', null)));
      await store.commit(by('eve', server('files', { v: 3 })));
      const history = await store.history('server', 'default', 'files');
      expect(history.map((change) => [change.revision, change.actor, change.body])).toEqual([
        [1, 'ann', { v: 1 }],
        [2, 'bob', null],
        [3, 'eve', { v: 3 }],
      ]);
    });

    describe('optimistic locking', () => {
      beforeEach(async () => {
        await store.commit(by('ann', server('files', { v: 1 })));
        await store.commit(by('ann', server('files', { v: 2 })));
      });

      const refused: readonly [string, Write, RegExp][] = [
        [
          'an older revision',
          server('files', { v: 3 }, { expectedRevision: 1 }),
          /expected at revision 1, but it is at revision 2/,
        ],
        ['a newer revision', server('files', { v: 3 }, { expectedRevision: 7 }), /expected at revision 7/],
        ['creating what exists', server('files', { v: 3 }, { expectedRevision: null }), /expected not to exist/],
        ['changing what is not there', server('mail', { v: 3 }, { expectedRevision: 2 }), /it does not exist/],
        ['deleting an older revision', server('files', null, { expectedRevision: 1 }), /it is at revision 2/],
        ['deleting what is not there', server('mail', null, { expectedRevision: 2 }), /it does not exist/],
      ];
      test.each(refused)('refuses %s', async (_title, write, message) => {
        await expectFault(store.commit(by('bob', write)), 'store_conflict', message);
        expect(await store.head()).toBe(2);
        expect((await store.load()).records.map((record) => record.body)).toEqual([{ v: 2 }]);
      });

      const accepted: readonly [string, Write][] = [
        ['the current revision', server('files', { v: 3 }, { expectedRevision: 2 })],
        ['no expectation', server('files', { v: 3 })],
        ['a new record that must not exist', server('mail', { v: 3 }, { expectedRevision: null })],
        ['deleting the current revision', server('files', null, { expectedRevision: 2 })],
        ['deleting what is not there without expectation', server('mail', null)],
      ];
      test.each(accepted)('accepts %s', async (_title, write) => {
        expect((await store.commit(by('bob', write))).revision).toBe(3);
      });
    });

    test('a commit with one bad write leaves nothing behind and takes no revision', async () => {
      await store.commit(by('ann', server('files', { v: 1 })));
      const bad = by('bob', server('new', { v: 1 }), server('files', { v: 2 }, { expectedRevision: 5 }));
      await expectFault(store.commit(bad), 'store_conflict', /files/);
      expect((await store.load()).records.map((record) => record.id)).toEqual(['files']);
      expect((await store.commit(by('ann', server('next', {})))).revision).toBe(2);
      expect((await store.changesAfter(0, 100)).map((change) => change.id)).toEqual(['files', 'next']);
    });

    describe('keys', () => {
      beforeEach(async () => {
        await store.commit(by('ann', server('one', {}, { key: 'https://a.example' }), server('two', {})));
      });

      test('refuses a second record with the same key in one organisation', async () => {
        const same = server('three', {}, { key: 'https://a.example' });
        await expectFault(
          store.commit(by('bob', same)),
          'store_conflict',
          /cannot have key "https:\/\/a\.example": one has it/,
        );
      });

      test('refuses the same key twice in one commit', async () => {
        const twice = by('bob', server('x', {}, { key: 'k' }), server('y', {}, { key: 'k' }));
        await expectFault(store.commit(twice), 'store_conflict', /cannot have key "k"/);
        expect(await store.head()).toBe(1);
      });

      test('another organisation or kind may use the same key; records without keys do not collide', async () => {
        const writes = [
          server('one', {}, { key: 'https://a.example', org: 'acme' }),
          server('one', {}, { key: 'https://a.example', kind: 'agent' }),
          server('three', {}),
        ];
        expect((await store.commit(by('bob', ...writes))).revision).toBe(2);
      });

      test('a key moves within one commit and is free after deletion', async () => {
        const swap = by('bob', server('one', {}, { key: 'k2' }), server('two', {}, { key: 'https://a.example' }));
        expect((await store.commit(swap)).revision).toBe(2);
        await store.commit(by('bob', server('two', null)));
        await store.commit(by('bob', server('three', {}, { key: 'https://a.example' })));
        expect((await store.load()).records.map((record) => record.id).sort()).toEqual(['one', 'three']);
      });
    });

    test('concurrent commits get consecutive revisions, in the order in which they become visible', async () => {
      const commits = await Promise.all(
        Array.from({ length: 40 }, (_, i) => store.commit(by('ann', server(`s${i}`, { i })))),
      );
      expect(commits.map((commit) => commit.revision).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
      expect((await store.changesAfter(0, 1000)).map((change) => change.revision)).toEqual(
        Array.from({ length: 40 }, (_, i) => i + 1),
      );
    });

    test('of concurrent commits that expect the same revision exactly one wins', async () => {
      const { revision } = await store.commit(by('ann', server('files', { v: 0 })));
      const tries = Array.from({ length: 10 }, (_, v) =>
        store.commit(by('bob', server('files', { v }, { expectedRevision: revision }))),
      );
      const results = await Promise.allSettled(tries);
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(await store.head()).toBe(2);
    });

    test('changesAfter returns whole commits, at least one, and pages through everything', async () => {
      for (let n = 1; n <= 4; n++) {
        await store.commit(by('ann', ...Array.from({ length: n }, (_, i) => server(`r${n}-${i}`, {}))));
      }
      const seen: string[] = [];
      let after = 0;
      for (let page = await store.changesAfter(after, 2); page.length > 0; page = await store.changesAfter(after, 2)) {
        const perRevision = Map.groupBy(page, (change) => change.revision);
        for (const [revision, changes] of perRevision) {
          expect(changes.map((change) => change.ordinal)).toEqual(Array.from({ length: revision }, (_, i) => i));
        }
        seen.push(...page.map((change) => change.id));
        after = page.at(-1)?.revision ?? after;
      }
      expect(seen).toHaveLength(10);
      expect(await store.changesAfter(4, 10)).toEqual([]);
    });

    test('a commit of 2,000 writes is one revision', async () => {
      const writes = Array.from({ length: 2000 }, (_, i) => server(`s${i}`, { i }, { key: `k${i}` }));
      const commit = await store.commit(by('import', ...writes));
      expect(commit.revision).toBe(1);
      expect((await store.load()).records).toHaveLength(2000);
      expect(await store.changesAfter(0, 1)).toHaveLength(2000);
    });

    test('any sequence of commits leaves what a plain map with the same rules holds', async () => {
      let org = 0;
      const id = fc.constantFrom('a', 'b', 'c');
      const write = fc.record({
        id,
        key: fc.option(fc.constantFrom('k1', 'k2'), { nil: undefined }),
        body: fc.option(fc.record({ v: fc.nat(99) }), { freq: 3 }),
        /** How many revisions ago the writer looked; -1 = expects nothing there; undefined = does not care. */
        seen: fc.option(fc.constantFrom(-1, 0, 0, 0, 1), { nil: undefined }),
      });
      const commits = fc.array(fc.uniqueArray(write, { selector: (w) => w.id, minLength: 1, maxLength: 3 }), {
        maxLength: 12,
      });
      await fc.assert(
        fc.asyncProperty(commits, async (sequence) => {
          const name = `org${org++}`;
          let model = new Map<string, { revision: number; key: string | undefined; body: JsonObject }>();
          for (const drawn of sequence) {
            const writes: Write[] = drawn.map(({ id, key, body, seen }) => {
              const standing = model.get(id)?.revision;
              const expected =
                seen === undefined
                  ? {}
                  : { expectedRevision: seen === -1 ? null : Math.max(1, (standing ?? 1) - seen) };
              return { kind: 'note', org: name, id, body, ...(key === undefined ? {} : { key }), ...expected };
            });
            const next = new Map(model);
            for (const { id, key, body } of writes) {
              next.delete(id);
              if (body !== null) next.set(id, { revision: (await store.head()) + 1, key, body });
            }
            const keys = [...next.values()].flatMap((record) => record.key ?? []);
            const holds =
              new Set(keys).size === keys.length &&
              writes.every(
                (w) => w.expectedRevision === undefined || w.expectedRevision === (model.get(w.id)?.revision ?? null),
              ) &&
              writes.every((w) => !(w.body === null && w.expectedRevision === null));
            const done = await store.commit(by('ann', ...writes)).then(
              () => true,
              (fault: StoreFault) => {
                expect(['store_conflict', 'store_invalid']).toContain(fault.code);
                return false;
              },
            );
            expect(done).toBe(holds);
            if (done) model = next;
          }
          const stored = (await store.load()).records.filter((record) => record.org === name);
          expect(new Map(stored.map((r) => [r.id, [r.revision, r.body]]))).toEqual(
            new Map([...model].map(([id, r]) => [id, [r.revision, r.body]])),
          );
        }),
        { numRuns: 40, seed: 7 },
      );
    });

    test('everything is there after close and open', async () => {
      await store.commit(by('ann', server('files', { v: 1 }, { key: 'k' })));
      await store.commit(by('ann', server('mail', { v: 1 })));
      const before = [await store.load(), await store.changesAfter(0, 10)];
      await store.close();
      store = await place.open(clock);
      expect([await store.load(), await store.changesAfter(0, 10)]).toEqual(before);
      expect((await store.commit(by('ann', server('x', {})))).revision).toBe(3);
    });

    test('onCommit wakes after a commit until unsubscribed', async () => {
      let woken = 0;
      const off = store.onCommit(() => void woken++);
      await store.commit(by('ann', server('files', {})));
      await expect.poll(() => woken, { timeout: 30_000 }).toBeGreaterThan(0);
      off();
      const before = woken;
      await store.commit(by('ann', server('mail', {})));
      await store.head();
      expect(woken).toBe(before);
    });

    const malformed: readonly [string, CommitRequest, RegExp][] = [
      ['no writes', by('ann'), /^writes holds at least one/],
      ['an empty actor', by('', server('x', {})), /^actor is a non-empty text/],
      ['a record named twice', by('ann', server('x', {}), server('x', null)), /^writes names each record at most once/],
      ['U+0000 in an id', by('ann', server('x\0', {})), /^writes\[0\]\.id is well-formed Unicode/],
      [
        'half a surrogate pair in a key',
        by('ann', server('x', {}, { key: '\ud800' })),
        /^writes\[0\]\.key is well-formed/,
      ],
      ['a body that is not JSON', by('ann', server('x', { n: Number.NaN })), /^writes\[0\]\.body is plain JSON/],
      [
        'a revision that is none',
        by('ann', server('x', {}, { expectedRevision: 0 })),
        /^writes\[0\]\.expectedRevision/,
      ],
      ['deleting what must not exist', by('ann', server('x', null, { expectedRevision: null })), /^writes\[0\]\.body/],
      ['a huge body', by('ann', server('x', { text: 'x'.repeat(4 * 1024 * 1024) })), /^writes\[0\]\.body has at most/],
    ];
    test.each(malformed)('refuses %s', async (_title, request, message) => {
      await expectFault(store.commit(request), 'store_invalid', message);
      expect(await store.head()).toBe(0);
    });

    test('after close everything is refused', async () => {
      await store.close();
      await store.close();
      await expectFault(store.commit(by('ann', server('x', {}))), 'store_closed', /closed/);
      await expectFault(store.head(), 'store_closed', /closed/);
      await expectFault(store.load(), 'store_closed', /closed/);
      await expectFault(store.changesAfter(0, 1), 'store_closed', /closed/);
    });

    test('close waits for the commits that were accepted', async () => {
      const accepted = Array.from({ length: 20 }, (_, i) => store.commit(by('ann', server(`s${i}`, {}))));
      await store.close();
      expect((await Promise.allSettled(accepted)).map((result) => result.status)).toEqual(Array(20).fill('fulfilled'));
      store = await place.open(clock);
      expect(await store.head()).toBe(20);
    });
  });
}
