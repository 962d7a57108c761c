/**
 * Reads the log forward and writes down when each grant was last used (record kind `evidence`), so that a campaign can ask with proof (NH-09).
 * Off the way of calls. CRASH: the cursor is committed together with what was learned up to it, so nothing is counted twice or missed;
 * without news it is committed rarely, and reading a part again is harmless. Of two nodes one wins, the other goes on from there.
 */
import type { Ledger } from '../../audit/ledger.ts';
import type { AuditEntry } from '../../audit/entry.ts';
import type { Indexed } from '../../audit/query.ts';
import { usesIn } from '../../insight/last-use.ts';
import type { Use } from '../../insight/last-use.ts';
import { isFault } from '../../lib/fault.ts';
import type { Write } from '../../store/state.ts';
import type { AdminContext } from '../context.ts';
import { lookEvery, type Looking } from '../looking.ts';
import { Evidence } from './records.ts';

const CURSOR = 'evidence_cursor';
const LOOK_EVERY_MS = 30_000;
const PAGE = 256;
const PAUSE_MS = 20;
/** Pages of one commit. */
const PAGES = 40;
/** Without news the cursor moves when this many entries would be read again. */
const SAVE_AFTER = 100_000;

export function readEvidence(ctx: Pick<AdminContext, 'org' | 'state' | 'follower' | 'audit' | 'log'>): Looking {
  const { org, state, follower, audit } = ctx;
  let read = -1;

  async function look(closed: AbortSignal): Promise<void> {
    const size = await audit.ledger.size(audit.log.log);
    for (;;) {
      const cursor = follower.records.get(CURSOR, org, audit.log.log);
      const from = Math.max(read, Number(cursor?.body['next'] ?? 0));
      if (from >= size || closed.aborted) return;
      // Without grants there is nothing to learn; what was called before the first one is no use of it.
      if (follower.records.list('grant', org).next().done === true) {
        read = size;
        return;
      }
      const found = new Map<string, Use>();
      let next = from;
      for (let page = 0; page < PAGES && next < size && !closed.aborted; page++) {
        const entries = await pageOf(audit.ledger, audit.log.log, next, Math.min(PAGE, size - next));
        for (const [grant, use] of usesIn(entries.indexed, (id) => found.get(id) ?? known(id))) found.set(grant, use);
        next = entries.next;
        // The ledger that is read is the one that calls wait for: it is not asked without a pause.
        if (next < size) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
      const writes = [...found].map(([id, use]): Write => ({ kind: 'evidence', org, id, body: { ...use } }));
      if (writes.length > 0 || next - Number(cursor?.body['next'] ?? 0) >= SAVE_AFTER) {
        try {
          const { revision } = await state.commit({
            actor: 'remit:evidence',
            reason: 'last uses, read from the log',
            writes: [
              { kind: CURSOR, org, id: audit.log.log, body: { next }, expectedRevision: cursor?.revision ?? null },
              ...writes,
            ],
          });
          await follower.advanceTo(revision);
        } catch (fault) {
          if (!isFault(fault, 'store_conflict')) throw fault;
          read = -1;
          await follower.advanceTo(await state.head());
          continue;
        }
      }
      read = next;
    }
  }

  const known = (id: string): Use | undefined =>
    Evidence.safeParse(follower.records.get('evidence', org, id)?.body).data;

  return lookEvery(LOOK_EVERY_MS, look, 'the last uses of grants could not be read', ctx.log);
}

/** Only entries that can matter are parsed. */
async function pageOf(
  ledger: Ledger,
  log: string,
  start: number,
  count: number,
): Promise<{ readonly indexed: readonly Indexed[]; readonly next: number }> {
  const entries = await ledger.read(log, start, count);
  const indexed = entries.flatMap(({ index, text }) =>
    text.includes('"grant.') ? [{ index, entry: JSON.parse(text) as AuditEntry }] : [],
  );
  return { indexed, next: (entries.at(-1)?.index ?? start + count - 1) + 1 };
}
