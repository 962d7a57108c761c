import { describe, expect, test } from 'vitest';
import type { Grant } from '../../src/policy/grants.ts';
import { lintGrant } from '../../src/policy/lint-grant.ts';
import { tool } from './fixtures.ts';

const AT = 1_800_000_000_000;
const DAY = 86_400_000;
const known = (key: string) => (key === 'read_file' ? tool({ parameters: { '/path': 'path' } }) : undefined);
const lint = (over: Partial<Grant>): string[] =>
  lintGrant(
    { what: { server: 'files', items: ['read_file'] }, conditions: [], expiresAt: null, ...over },
    known,
    AT,
  ).map(({ field, code, message, warning }) => `${warning ? 'warning ' : ''}${field} ${code}: ${message}`);

describe('AZ-05: a grant that is too wide is refused before it is stored', () => {
  test.each<[Partial<Grant>, string[]]>([
    [{}, []],
    [{ what: { server: 'files', risks: ['read', 'write'] }, expiresAt: AT + DAY }, []],
    [{ what: { server: 'files', risks: ['read'] }, lastsMs: 3_600_000 }, []],
    [
      { what: { server: 'files' } },
      [
        'what.items every_item: is left out, so it would be every item: name items, or risk classes and an end',
        'expiresAt without_end: a grant for a whole server needs an end, at most a year from now',
      ],
    ],
    [
      { what: { server: 'files', risks: ['read', 'destructive', 'execute'] }, expiresAt: AT + 400 * DAY },
      [
        'what.risks risk_without_items: destructive is not given for a whole server: name the items',
        'what.risks risk_without_items: execute is not given for a whole server: name the items',
        'expiresAt end_too_late: a grant for a whole server lasts at most a year',
      ],
    ],
    [{ expiresAt: AT }, ['expiresAt ended: lies in the past']],
    [{ startsAt: AT + DAY, expiresAt: AT + DAY }, ['startsAt begins_after_end: lies at or after its end']],
    [
      {
        conditions: [
          { argument: '/path', is: 'path_under', values: ['/data', '../x'] },
          { argument: '/to', is: 'host_in', values: ['*.example.com'] },
        ],
      },
      [
        'conditions.0.values.1 condition_unfit: is no folder or host that an argument can be in',
        'conditions.1.values.0 condition_unfit: is no folder or host that an argument can be in',
        'warning conditions.1.argument argument_untyped: /to of read_file is not reviewed as a URL or domain, so the grant permits nothing there',
      ],
    ],
    [
      { what: { server: 'files', items: ['gone'] } },
      ['warning what.items.0 item_unknown: is not an approved item of that server; it permits nothing'],
    ],
  ])('AZ-05: %j', (over, expected) => expect(lint(over)).toEqual(expected));
});
