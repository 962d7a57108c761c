/**
 * The queries of the exchange, once, for both engines. Writes are statements of one transaction (statements.ts).
 *
 * INVARIANT: the first statement of an append takes the row of every topic it writes to, in the order of their names. Until that
 * transaction ends nobody else appends there: numbers have no gaps, become visible in order, and two batches cannot wait for each other.
 * INVARIANT: items are written and deleted only by the transaction that holds the row of their topic.
 * A topic whose end has passed is as good as deleted: it is not read, and the next append begins it anew at 1.
 */
import type { CompiledQuery, Kysely } from 'kysely';
import type { ExchangeItem } from './exchange.ts';
import type { ExchangeTables } from './schema.ts';
import type { Statements } from './statements.ts';
import { CHUNK, chunksOf, compiledBySize } from './statements.ts';

/** Plain data: crosses to the database thread. */
export interface PendingAppend {
  readonly topic: string;
  readonly texts: readonly string[];
  readonly expiresAt: number;
  readonly expect: number | null;
  readonly replaces: boolean;
}

/** The topics one sweep deletes at most, in one transaction. */
export const SWEPT_TOPICS = CHUNK;

/** A page ends with the item that reaches this; an item alone may be larger than that. */
const PAGE_BYTES = 4 * 1024 * 1024;

type TopicRow = ExchangeTables['exchange_topic'];

/** A topic while a batch writes to it: its row, what is new, and whether what stood there has expired. */
interface OpenTopic {
  row: TopicRow;
  texts: string[];
  emptied: boolean;
  changed: boolean;
}

export function exchangeWrites(db: Kysely<ExchangeTables>) {
  const topicRow: TopicRow = { topic: '', last: 0, expires_at: 0 };
  const itemRow = { topic: '', seq: 0, size: 0, text: '' };
  const many = <T>(rows: number, row: T): T[] => Array.from({ length: rows }, () => row);

  const take = compiledBySize((rows) =>
    db
      .insertInto('exchange_topic')
      .values(many(rows, topicRow))
      .onConflict((on) => on.column('topic').doUpdateSet((eb) => ({ topic: eb.ref('excluded.topic') })))
      .returning(['topic', 'last', 'expires_at'])
      .compile(),
  );
  const move = compiledBySize((rows) =>
    db
      .insertInto('exchange_topic')
      .values(many(rows, topicRow))
      .onConflict((on) =>
        on.column('topic').doUpdateSet((eb) => ({
          last: eb.ref('excluded.last'),
          expires_at: eb.ref('excluded.expires_at'),
        })),
      )
      .compile(),
  );
  const insert = compiledBySize((rows) => db.insertInto('exchange_item').values(many(rows, itemRow)).compile());
  const deleteItems = compiledBySize((rows) =>
    db.deleteFrom('exchange_item').where('topic', 'in', many(rows, '')).compile(),
  );
  const deleteTopics = compiledBySize((rows) =>
    db.deleteFrom('exchange_topic').where('topic', 'in', many(rows, '')).returning('topic').compile(),
  );
  const of = (query: CompiledQuery, parameters: readonly unknown[]): CompiledQuery => ({ ...query, parameters });

  /** All or nothing. The number of the last item of each append, or null where `expect` did not hold; and who has something new. */
  function* append(
    appends: readonly PendingAppend[],
    now: number,
  ): Statements<{ readonly numbers: readonly (number | null)[]; readonly changed: readonly string[] }> {
    const topics = new Map<string, OpenTopic>();
    for (const names of chunksOf([...new Set(appends.map(({ topic }) => topic))].sort())) {
      const taken = of(
        take(names.length),
        names.flatMap((topic) => [topic, 0, 0]),
      );
      for (const row of (yield taken) as readonly TopicRow[]) {
        topics.set(row.topic, { row: { ...row }, texts: [], emptied: false, changed: false });
      }
    }
    const numbers = appends.map((one) => appendTo(topics.get(one.topic)!, one, now));

    const changed = [...topics.values()].filter((topic) => topic.changed);
    for (const part of chunksOf(changed.filter(({ emptied }) => emptied))) {
      yield of(
        deleteItems(part.length),
        part.map(({ row }) => row.topic),
      );
    }
    for (const part of chunksOf(changed)) {
      yield of(
        move(part.length),
        part.flatMap(({ row }) => [row.topic, row.last, row.expires_at]),
      );
    }
    const items = changed.flatMap(({ row, texts }) =>
      texts.map((text, i) => [row.topic, row.last - texts.length + i + 1, Buffer.byteLength(text), text]),
    );
    for (const part of chunksOf(items)) yield of(insert(part.length), part.flat());
    return { numbers, changed: changed.map(({ row }) => row.topic) };
  }

  function* remove(topic: string): Statements<void> {
    const removed = yield of(deleteTopics(1), [topic]);
    // Without the row we do not hold the topic: items that appear now belong to somebody who does.
    if (removed.length > 0) yield of(deleteItems(1), [topic]);
  }

  /**
   * Deletes up to SWEPT_TOPICS topics that have expired; how many there were.
   * @param skipLocked PostgreSQL: leaves out what somebody writes to, so that a sweep waits for nobody. SQLite has one writer.
   */
  function* sweep(now: number, skipLocked: boolean): Statements<number> {
    const expired = db.selectFrom('exchange_topic').select('topic').where('expires_at', '<=', now).limit(SWEPT_TOPICS);
    const found = (yield (skipLocked ? expired.forUpdate().skipLocked() : expired).compile()) as readonly TopicRow[];
    if (found.length === 0) return 0;
    const names = found.map(({ topic }) => topic);
    yield of(deleteTopics(names.length), names);
    yield of(deleteItems(names.length), names);
    return names.length;
  }

  return { append, remove, sweep };
}

function appendTo(open: OpenTopic, { texts, expiresAt, expect, replaces }: PendingAppend, now: number): number | null {
  const { row } = open;
  const live = row.expires_at > now;
  const last = live ? row.last : 0;
  if (expect !== null && expect !== last) return null;
  if (texts.length === 0 && !live) return 0;
  if ((!live || (replaces && texts.length > 0)) && row.last > 0) {
    open.emptied = true;
    open.texts = [];
  }
  open.texts.push(...texts);
  row.last = last + texts.length;
  row.expires_at = live ? Math.max(row.expires_at, expiresAt) : expiresAt;
  open.changed = true;
  return row.last;
}

/** The sizes are read first, so that a page never holds much more than PAGE_BYTES, whatever stands in the topic. */
export function readItems(
  db: Kysely<ExchangeTables>,
  topic: string,
  after: number,
  limit: number,
  now: number,
): Promise<ExchangeItem[]> {
  const page = db
    .selectFrom('exchange_item')
    .select([
      'seq',
      'size',
      (eb) =>
        eb.fn
          .sum<number>('size')
          .over((over) => over.orderBy('seq'))
          .as('total'),
    ])
    .where('topic', '=', topic)
    .where('seq', '>', after)
    .where('seq', '<=', after + limit)
    .as('page');
  return db
    .selectFrom('exchange_item as item')
    .innerJoin('exchange_topic', 'exchange_topic.topic', 'item.topic')
    .select(['item.seq', 'item.text'])
    .where('item.topic', '=', topic)
    .where('exchange_topic.expires_at', '>', now)
    .where('item.seq', 'in', (eb) =>
      eb
        .selectFrom(page)
        .select('page.seq')
        .where((sub) => sub(sub('page.total', '-', sub.ref('page.size')), '<', PAGE_BYTES)),
    )
    .orderBy('item.seq')
    .execute();
}

export async function readLatest(db: Kysely<ExchangeTables>, topic: string, now: number): Promise<ExchangeItem | null> {
  const item = await db
    .selectFrom('exchange_topic')
    .innerJoin('exchange_item as item', (join) =>
      join.onRef('item.topic', '=', 'exchange_topic.topic').onRef('item.seq', '=', 'exchange_topic.last'),
    )
    .select(['item.seq', 'item.text'])
    .where('exchange_topic.topic', '=', topic)
    .where('exchange_topic.expires_at', '>', now)
    .executeTakeFirst();
  return item ?? null;
}

/** Where each of these topics stands; a change of it means that something was appended. A topic that is not there is left out. */
export async function readMarks(
  db: Kysely<ExchangeTables>,
  topics: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const marks = new Map<string, string>();
  for (const names of chunksOf(topics)) {
    const rows = await db.selectFrom('exchange_topic').selectAll().where('topic', 'in', names).execute();
    for (const row of rows) marks.set(row.topic, `${row.last} ${row.expires_at}`);
  }
  return marks;
}
