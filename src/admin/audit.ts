/**
 * Reading the audit log. Every question is itself recorded first, with its filter: who reads about whom is evidence too.
 * If that record cannot be made durable the question is refused. Nothing here changes or removes an entry; no such route exists.
 */
import { z } from 'zod';
import { adminEntry, type EventFacts } from '../audit/entries.ts';
import { findEntries, reconstruct, showEntry } from '../audit/query.ts';
import { isFault } from '../lib/fault.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { notFound, type Problem } from './problem.ts';
import { handler, queryNumber, type Ask } from './route.ts';
import { statusOfLog } from './status.ts';

const KINDS = ['intent', 'outcome', 'call', 'denial', 'admin', 'key', 'clock', 'incident', 'gate'] as const;
const Word = z.string().min(1).max(512);
const count = (max: number, fallback: number) => queryNumber(1, max).default(fallback);
const Position = queryNumber(0, Number.MAX_SAFE_INTEGER);

export const queryAudit = handler({
  query: z.strictObject({
    limit: count(500, 50),
    kind: z.enum(KINDS).optional(),
    /** Every kind but this one: the clock says something every few seconds. */
    without: z.enum(KINDS).optional(),
    call: Word.optional(),
    ref: Word.optional(),
    person: Word.optional(),
    server: Word.optional(),
    tool: Word.optional(),
    since: z.iso.datetime().optional().describe('ISO 8601, inclusive'),
    until: z.iso.datetime().optional().describe('ISO 8601, exclusive'),
  }),
  run: async (ask) => {
    const { limit, kind, without, since, until, ...words } = ask.query;
    const asked = Object.fromEntries(
      Object.entries(ask.query).filter(([, value]) => value !== undefined),
    ) as EventFacts;
    const recorded = await recordQuestion(ask, 'audit.searched', asked);
    if (!recorded.ok) return recorded;
    const { ledger, log } = ask.ctx.audit;
    const filter = {
      ...defined(words),
      ...(kind === undefined && without === undefined
        ? {}
        : { kinds: KINDS.filter((known) => (kind ?? known) === known && known !== without) }),
      // Entry times have milliseconds and Z; so must what is compared with them.
      ...(since === undefined ? {} : { since: new Date(since).toISOString() }),
      ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
    };
    return ok({ body: await findEntries(ledger, log.log, filter, { limit }) });
  },
});

export const auditEntry = handler({
  run: async (ask) => {
    const index = indexOf(ask.params['index']);
    if (!index.ok) return index;
    const recorded = await recordQuestion(ask, 'audit.entry_read', { index: index.value });
    if (!recorded.ok) return recorded;
    const { ledger, log } = ask.ctx.audit;
    return orMissing(index.value, async () => {
      const { text } = await showEntry(ledger, log.log, index.value);
      return ok({ body: { index: index.value, text, entry: JSON.parse(text) as unknown } });
    });
  },
});

export const auditReceipt = handler({
  run: async (ask) => {
    const index = indexOf(ask.params['index']);
    if (!index.ok) return index;
    const recorded = await recordQuestion(ask, 'audit.receipt_read', { index: index.value });
    if (!recorded.ok) return recorded;
    return orMissing(index.value, async () =>
      ok({ body: await ask.ctx.audit.log.receipt(index.value), contentType: 'text/plain; charset=utf-8' }),
    );
  },
});

export const callChain = handler({
  run: async (ask) => {
    const call = ask.params['call'] ?? '';
    const recorded = await recordQuestion(ask, 'audit.call_read', { call });
    if (!recorded.ok) return recorded;
    const { ledger, log } = ask.ctx.audit;
    const chain = await reconstruct(ledger, log.log, call);
    return chain === null ? err(notFound('call', call)) : ok({ body: chain });
  },
});

/** Exact texts in log order; `remit audit export` writes them into a directory that anyone can verify. */
export const auditExport = handler({
  query: z.strictObject({ start: Position, count: count(2560, 256) }),
  run: async (ask) => {
    const { start, count: wanted } = ask.query;
    const recorded = await recordQuestion(ask, 'audit.exported', { start, count: wanted });
    if (!recorded.ok) return recorded;
    const { ledger, log } = ask.ctx.audit;
    return ok({ body: { entries: await ledger.read(log.log, start, wanted) } });
  },
});

/** Merkle hashes only: they say nothing about what was logged. */
export const auditHashes = handler({
  query: z.strictObject({
    level: queryNumber(0, 7),
    start: Position,
    count: count(4096, 256),
  }),
  run: async ({ ctx, query }) => {
    const hashes = await ctx.audit.ledger.hashes(ctx.audit.log.log, query.level, query.start, query.count);
    return ok({ body: { hashes: hashes.map((hash) => Buffer.from(hash).toString('base64')) } });
  },
});

export const auditCheckpoint = handler({
  run: async ({ ctx }) => {
    const { size, note } = await ctx.audit.log.checkpointNow();
    return ok({ body: { log: ctx.audit.log.log, size, note, verifierKey: ctx.audit.verifierKey } });
  },
});

export const auditStatus = handler({
  run: async ({ ctx }) => ok({ body: { ...statusOfLog(ctx.audit.log.status()), verifierKey: ctx.audit.verifierKey } }),
});

export async function recordQuestion(
  ask: Ask<unknown, unknown>,
  what: string,
  facts: EventFacts,
): Promise<Result<true, Problem>> {
  const { ctx, who, ref } = ask;
  try {
    await ctx.audit.log.record(adminEntry(ctx.audit.log.stamp({ ref }), { ...facts, what }, who.actor));
    return ok(true);
  } catch (fault) {
    ctx.log.error({ ref, what, err: fault }, 'reading the audit log could not be recorded');
    return err({
      status: 503,
      code: 'record_missing',
      message: 'Reading the audit log must itself be recorded, and that is not possible now.',
      remedy: 'Repair the audit log. Its files can be exported and verified offline meanwhile.',
    });
  }
}

function indexOf(text: string | undefined): Result<number, Problem> {
  if (text !== undefined && /^\d{1,15}$/.test(text)) return ok(Number(text));
  return err({ status: 400, code: 'invalid', field: 'index', message: 'An entry is named by its number in the log.' });
}

async function orMissing<T>(index: number, work: () => Promise<Result<T, Problem>>): Promise<Result<T, Problem>> {
  try {
    return await work();
  } catch (fault) {
    if (isFault(fault, 'log_index_unknown')) return err(notFound('entry', String(index)));
    throw fault;
  }
}

const defined = (words: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(Object.entries(words).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));
