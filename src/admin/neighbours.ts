/** What the other servers of the organisation offer with an approval, prepared once per state of the records: the facts of TD-04 for the scanner. */
import type { Snapshot } from '../gateway/snapshot.ts';
import { nameIndex, type NameIndex } from '../integrity/scan-names.ts';
import type { Around } from '../integrity/scan.ts';
import type { AdminContext } from './context.ts';

const INDEXES = new WeakMap<Snapshot['servers'], NameIndex>();

export function aroundOf(ctx: Pick<AdminContext, 'snapshot'>, server: string): Around {
  const { servers } = ctx.snapshot();
  let names = INDEXES.get(servers);
  if (names === undefined) {
    const approved = [...servers].flatMap(([id, entry]) =>
      [...entry.tools.values()]
        .filter((item) => item.kind === 'tool' && item.approved !== null)
        .map(({ name }) => ({ server: id, name })),
    );
    INDEXES.set(servers, (names = nameIndex(approved)));
  }
  return { server, names };
}
