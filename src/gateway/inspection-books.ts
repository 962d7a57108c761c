/**
 * The exact values that are looked for in everything that goes through (CI-03, CI-04, CI-07): secrets that Remit itself presents to servers,
 * and planted ones. A value that came into use is recognised from the next text on: the matcher is made anew when the set changed, by whoever
 * looks next, and never per call. Values stay in memory; nothing here logs, stores or gives one back.
 */
import { exactMatcher } from '../content/matcher.ts';
import type { ExactBook, ExactValue, Matcher } from '../content/terms.ts';
import { Honeytoken } from '../inventory/honeytokens.ts';
import type { HoneytokenBox } from '../inventory/honeytokens.ts';
import type { StoredRecord } from '../store/state.ts';

/** What a broker has given to connections. */
export interface HeldSecrets {
  /** Changes with the values. */
  revision(): number;
  values(): Iterable<ExactValue>;
}

export interface InspectionBooks {
  readonly own: Matcher;
  readonly planted: Matcher;
  /** Who is told of a planted secret; null: it is not known here. */
  ownerOf(honeytoken: string): string | null;
  /** Records of kind `honeytoken` have changed. @returns ids of those that do not open or do not fit. */
  replant(records: Iterable<StoredRecord>): readonly string[];
}

const NOBODY: HeldSecrets = { revision: () => 0, values: () => [] };

export function inspectionBooks(box: Pick<HoneytokenBox, 'open'>, secrets: HeldSecrets = NOBODY): InspectionBooks {
  let own = exactMatcher([]);
  let ownBook: ExactBook = { revision: -1, values: [] };
  let planted = exactMatcher([]);
  let plantedBook: ExactBook = { revision: 0, values: [] };
  let owners: ReadonlyMap<string, string> = new Map();
  /** @throws what the source of secrets throws: then nobody knows what to look for. */
  const fresh = (): Matcher => {
    const now = secrets.revision();
    if (now !== ownBook.revision) {
      const values = [...secrets.values()];
      own = exactMatcher(values, own);
      ownBook = { revision: now, values };
    }
    return own;
  };
  return {
    own: {
      find: (text) => fresh().find(text),
      book() {
        fresh();
        return ownBook;
      },
    },
    planted: { find: (text) => planted.find(text), book: () => plantedBook },
    ownerOf: (id) => owners.get(id) ?? null,
    replant(records) {
      const values: ExactValue[] = [];
      const known = new Map<string, string>();
      const unread: string[] = [];
      for (const { id, body } of records) {
        const record = Honeytoken.safeParse(body).data;
        if (record?.retired) continue;
        const value = record ? box.open(record.sealed, id) : null;
        if (!record || value === null) {
          unread.push(id);
          continue;
        }
        values.push({ id, value });
        known.set(id, record.owner);
      }
      planted = exactMatcher(values, planted);
      plantedBook = { revision: plantedBook.revision + 1, values };
      owners = known;
      return unread;
    },
  };
}
