/** NH-11: what an advisory feed says of one version, by the rules of OSV; entries that say nothing readable are named and the rest stands. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advisoriesFor, advisoryReader, type AdvisoryFeed } from '../../src/inventory/advisories.ts';
import { MCP_REMOTE } from '../support/advisories.ts';

const feedOf = (...entries: readonly unknown[]): AdvisoryFeed => {
  const reader = advisoryReader();
  reader.add('feed.json', JSON.stringify(entries));
  return reader.feed();
};
const npm = (version: string, name = 'mail') => ({ ecosystem: 'npm', package: name, version });
const ids = (feed: AdvisoryFeed, asked: Parameters<typeof advisoriesFor>[1]) =>
  advisoriesFor(feed, asked).map(({ id }) => id);
const entry = (affected: object, more: object = {}) => ({
  id: 'X-1',
  affected: [{ package: { ecosystem: 'npm', name: 'mail' }, ...affected }],
  ...more,
});
const events = (...list: object[]) => entry({ ranges: [{ type: 'SEMVER', events: list }] });

test.each([
  ['0.0.4', []],
  ['0.0.5', ['GHSA-6xpm-ggf7-wc3p']],
  ['0.1.15', ['GHSA-6xpm-ggf7-wc3p']],
  ['0.1.16', []],
  ['0.1.16-beta.1', ['GHSA-6xpm-ggf7-wc3p']],
  ['1.0.0', []],
])('NH-11: mcp-remote %s and CVE-2025-6514: %j', (version, expected) => {
  const found = advisoriesFor(feedOf(MCP_REMOTE), npm(version, 'mcp-remote'));
  expect(found.map(({ id }) => id)).toEqual(expected);
  for (const hit of found) expect(hit).toMatchObject({ aliases: ['CVE-2025-6514'], fixed: '0.1.16' });
});

describe('ranges', () => {
  test.each<readonly [string, readonly object[], string, boolean]>([
    ['from the first', [{ introduced: '0' }], '0.0.0', true],
    ['never fixed', [{ introduced: '1.0.0' }], '99.0.0', true],
    ['before it began', [{ introduced: '1.0.0' }], '0.9.9', false],
    ['the fix itself', [{ introduced: '0' }, { fixed: '1.2.0' }], '1.2.0', false],
    ['the last one', [{ introduced: '0' }, { last_affected: '1.2.0' }], '1.2.0', true],
    ['after the last', [{ introduced: '0' }, { last_affected: '1.2.0' }], '1.2.1', false],
    [
      'between two',
      [{ introduced: '1.0.0' }, { fixed: '1.1.0' }, { introduced: '2.0.0' }, { fixed: '2.1.0' }],
      '1.5.0',
      false,
    ],
    [
      'in the second',
      [{ introduced: '1.0.0' }, { fixed: '1.1.0' }, { introduced: '2.0.0' }, { fixed: '2.1.0' }],
      '2.0.9',
      true,
    ],
    [
      'in any order',
      [{ fixed: '2.1.0' }, { introduced: '2.0.0' }, { fixed: '1.1.0' }, { introduced: '0' }],
      '1.0.0',
      true,
    ],
    ['fixed and begun at once', [{ introduced: '0' }, { fixed: '1.0.0' }, { introduced: '1.0.0' }], '1.0.0', true],
    ['ten is more than nine', [{ introduced: '0' }, { fixed: '1.10.0' }], '1.9.0', true],
    ['short versions', [{ introduced: '1' }, { fixed: '1.2' }], '1.1.9', true],
    ['a version that is none', [{ introduced: '1.0.0' }, { fixed: '1.0.1' }], 'deadbeef', true],
  ])('%s', (_title, list, version, affected) => {
    expect(ids(feedOf(events(...list)), npm(version))).toEqual(affected ? ['X-1'] : []);
  });

  test('ECOSYSTEM counts as SEMVER for npm; GIT says nothing; a listed version counts by itself', () => {
    const feed = feedOf(
      entry({ ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }, { fixed: '1.0.0' }] }] }),
      { ...entry({ ranges: [{ type: 'GIT', repo: 'x', events: [{ introduced: '0' }] }] }), id: 'X-2' },
      { ...entry({ versions: ['3.0.0'] }), id: 'X-3' },
    );
    expect([ids(feed, npm('0.9.0')), ids(feed, npm('2.0.0')), ids(feed, npm('3.0.0'))]).toEqual([['X-1'], [], ['X-3']]);
  });

  test('the nearest fix is named', () => {
    const feed = feedOf(events({ introduced: '0' }, { fixed: '1.1.0' }, { introduced: '2.0.0' }, { fixed: '2.1.0' }));
    expect(advisoriesFor(feed, npm('1.0.0'))[0]?.fixed).toBe('1.1.0');
    expect(advisoriesFor(feed, npm('2.0.0'))[0]?.fixed).toBe('2.1.0');
    expect(advisoriesFor(feedOf(events({ introduced: '0' })), npm('2.0.0'))[0]?.fixed).toBeNull();
  });
});

test('names are those of their ecosystem; where it is not known, each counts', () => {
  const python = {
    id: 'PYSEC-1',
    affected: [{ package: { ecosystem: 'PyPI', name: 'MCP_Server.Git' }, versions: ['2025.7.1'] }],
  };
  const feed = feedOf(python, events({ introduced: '0' }));
  const asked = { package: 'mcp-server-git', version: '2025.7.1' };
  expect(ids(feed, { ...asked, ecosystem: 'PyPI' })).toEqual(['PYSEC-1']);
  expect(ids(feed, { ...asked, ecosystem: null })).toEqual(['PYSEC-1']);
  expect(ids(feed, { ...asked, ecosystem: 'npm' })).toEqual([]);
  expect(ids(feed, npm('1.0.0', 'Mail'))).toEqual([]);
  expect(ids(feed, npm('1.0.0', 'constructor'))).toEqual([]);
});

test('what was withdrawn does not count', () => {
  expect(ids(feedOf({ ...events({ introduced: '0' }), withdrawn: '2026-01-01T00:00:00Z' }), npm('1.0.0'))).toEqual([]);
});

test('a bad entry is named with its field, and the rest is kept', () => {
  const feed = feedOf(
    { id: 'BAD-1', affected: 'x' },
    { affected: [] },
    { id: 'BAD-2', withdrawn: 'yesterday' },
    7,
    { id: 'BAD-3\n', affected: [] },
    { ...events({ introduced: 'one' }), id: 'ODD-1' },
    { ...events({ introduced: '0' }), database_specific: { anything: [1] }, schema_version: '9.9' },
  );
  expect(feed.problems).toEqual([
    { id: 'BAD-1', field: 'affected', message: 'is not as OSV says; the advisory is left out' },
    { id: 'feed.json[1]', field: 'id', message: expect.any(String) as string },
    { id: 'BAD-2', field: 'withdrawn', message: expect.any(String) as string },
    { id: 'feed.json[3]', field: '', message: expect.any(String) as string },
    { id: 'feed.json[4]', field: 'id', message: expect.any(String) as string },
    {
      id: 'ODD-1',
      field: 'affected.0.ranges.0.events',
      message: 'has versions that are none; every version counts as affected',
    },
  ]);
  expect([feed.entries, feed.bad]).toEqual([2, 6]);
  expect(ids(feed, npm('1.0.0'))).toEqual(['ODD-1', 'X-1']);
});

test('whatever a feed says, it is read or named, and a question has an answer', () => {
  const version = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('0', '1.0.0', '1.2.3-a.1', '2'));
  const event = fc.oneof(
    fc.record({ introduced: version }),
    fc.record({ fixed: version }),
    fc.record({ last_affected: version }),
    fc.anything(),
  );
  const range = fc.record({ type: fc.constantFrom('SEMVER', 'ECOSYSTEM', 'GIT', 'X'), events: fc.array(event) });
  const one = fc.record({
    id: fc.constantFrom('A-1', 'B-2'),
    affected: fc.array(
      fc.record({
        package: fc.constant({ ecosystem: 'npm', name: 'mail' }),
        ranges: fc.array(range),
        versions: fc.array(version),
      }),
    ),
  });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(fc.oneof(one, fc.anything())).map((all) => JSON.stringify(all) ?? ''),
        fc.string(),
      ),
      version,
      (text, asked) => {
        const reader = advisoryReader();
        reader.add('feed', text);
        const feed = reader.feed();
        expect(advisoriesFor(feed, npm(asked)).length).toBeLessThanOrEqual(2);
        expect(feed.entries + feed.bad).toBeGreaterThanOrEqual(text === '[]' ? 0 : 1);
      },
    ),
    { seed: 11, numRuns: 500 },
  );
});

test('twin: a comparison of texts would let 1.9.0 through a fix in 1.10.0', () => {
  const asText = (version: string, fixed: string): boolean => version < fixed;
  expect([
    asText('1.9.0', '1.10.0'),
    ids(feedOf(events({ introduced: '0' }, { fixed: '1.10.0' })), npm('1.9.0')),
  ]).toEqual([false, ['X-1']]);
});
